"""rooms/switchboard.js with random tabs, readers and mishaps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.people import Person

MODEL = Path(__file__).with_name("switchboard_model.js").read_text()
STEPS = 400


@pytest.mark.parametrize("seeds", [range(1, 21), range(21, 41)], ids=str)
def test_each_reader_of_each_tab_is_told_everything_once_and_in_order(
    visit: Callable[..., Person], seeds: range
) -> None:
    page = visit().page
    page.goto("/accounts/login/")
    for seed in seeds:
        assert page.evaluate(MODEL, [seed, STEPS]) is None, f"seed {seed}"

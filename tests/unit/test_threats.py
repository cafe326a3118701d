"""docs/threats.md keeps its word: the tests that it names exist, and where there is none it says that nothing helps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threats.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and "---" not in line and not line.endswith("| shown by |")
]


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[f"{path}::{name}" for path, name in NAMED])
def test_a_named_test_exists(path: str, name: str) -> None:
    assert re.search(rf"^ *(async )?def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE)


def test_a_threat_without_a_test_says_what_is_missing() -> None:
    assert len(ROWS) > 50
    for threat, answer, *proof in ROWS:
        shown = re.findall(r"\.py::", " ".join(proof))
        assert shown or "**" in answer, threat

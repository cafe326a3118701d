"""What pages know without being pages, with random tabs, readers, people and mishaps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.support.people import Person

MODEL, STANDING, ROSTER = (
    Path(__file__).with_name(f"{name}_model.js").read_text(encoding="utf-8")
    for name in ("switchboard", "standing", "roster")
)
STEPS = 400


@pytest.fixture
def page(visit: Callable[..., Person]) -> Page:
    page = visit().page
    page.goto("/accounts/login/")
    return page


@pytest.mark.parametrize("seeds", [range(1, 21), range(21, 41)], ids=str)
def test_each_reader_of_each_tab_is_told_everything_once_and_in_order(page: Page, seeds: range) -> None:
    for seed in seeds:
        assert page.evaluate(MODEL, [seed, STEPS]) is None, f"seed {seed}"


def test_what_the_tabs_say_of_a_person_is_said_once(page: Page) -> None:
    for seed in range(1, 31):
        assert page.evaluate(STANDING, [seed, 150]) is None, f"seed {seed}"


def test_a_roster_is_the_room_as_it_was_told(page: Page) -> None:
    for seed in range(1, 31):
        assert page.evaluate(ROSTER, [seed, 300]) is None, f"seed {seed}"


TYPING = """async (names) => {
    const { TypingLine } = await import("/static/rooms/typing.js");
    window.line = document.createElement("p");
    const typing = new TypingLine(window.line, "me");
    return ["me", ...names].map((name) => {
        typing.hear({ user: { id: name, name }, typing: true });
        return window.line.textContent;
    });
}"""


def test_who_writes_is_said_in_a_sentence_for_six_seconds(page: Page) -> None:
    page.clock.install(time=0)
    page.clock.pause_at(3_600_000)  # it stands but for run_for()
    assert page.evaluate(TYPING, ["Ann", "Bob", "Cid", "Dan"]) == [
        "",
        "Ann is typing…",
        "Ann and Bob are typing…",
        "Ann, Bob, and Cid are typing…",
        "Several people are typing…",
    ]
    page.clock.run_for(5_999)
    assert page.evaluate("line.textContent") == "Several people are typing…"
    page.clock.run_for(1)
    assert page.evaluate("line.textContent") == ""

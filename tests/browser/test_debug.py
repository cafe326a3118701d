"""``live.debug``: what a developer has to see their page on a bad network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.people import Person

DEBUG = "document.querySelector('live-room').live.debug"


@pytest.fixture(params=["a worker holds it", "a tab holds it"])
def bob(request: pytest.FixtureRequest, visit: Callable[..., Person]) -> Person:
    person = visit("bob")
    return person if request.param == "a worker holds it" else person.without_workers()


def network(person: Person, **faults: Any) -> None:
    person.page.evaluate(f"faults => {DEBUG}.network(faults)", faults)


def transport(person: Person) -> Any:
    return person.page.evaluate("document.querySelector('live-room').live.state.transport")


def test_a_network_that_is_down_and_comes_back(bob: Person, room: str) -> None:
    bob.open(room)
    network(bob, down=True)
    expect(bob.status).to_have_text("Connection lost, trying again")
    bob.say("kept")
    expect(bob.page.locator("li.pending")).to_have_count(1)
    network(bob)
    bob.hurry()
    bob.sees("kept")


def test_a_transport_is_blocked(bob: Person, room: str) -> None:
    bob.open(room)
    assert transport(bob) == "websocket"
    network(bob, blocked=["websocket"])
    bob.say("around it")
    bob.sees("around it")
    assert transport(bob) == "sse"


def test_late_and_cut_now_and_then_nothing_is_lost(bob: Person, visit: Callable[..., Person], room: str) -> None:
    alice = visit("alice").open(room)
    bob.open(room)
    network(bob, latency=40, jitter=40, cut=1_000)
    for number in range(8):
        alice.say(f"{number} by alice")
        bob.say(f"{number} by bob")
        expect(alice.messages.get_by_text("by alice")).to_have_count(number + 1)
    network(bob)
    bob.hurry()
    expect(bob.messages).to_have_count(16, timeout=30_000)
    expect(bob.page.locator("li.pending")).to_have_count(0, timeout=30_000)
    said = alice.page.locator("[data-messages] [data-part=text]").all_text_contents()
    bob.sees(*said)
    for name in ("alice", "bob"):
        assert [text for text in said if name in text] == [f"{number} by {name}" for number in range(8)]


def test_the_log_says_what_happened_and_not_what_was_said(bob: Person, room: str) -> None:
    bob.open(room)
    bob.say("between us")
    bob.sees("between us")
    log = bob.page.evaluate(f"{DEBUG}.log")
    assert [entry["detail"]["state"] for entry in log if entry["what"] == "state"][-1] == "connected"
    assert {"name": "live.ok", "code": "resumed"}.items() <= next(
        entry["detail"].items() for entry in log if entry["detail"].get("code") == "resumed"
    )
    names = [(entry["what"], entry["detail"].get("name")) for entry in log]
    assert ("said", "chat.send") in names
    assert ("heard", "chat.message") in names
    assert "between us" not in str(log)

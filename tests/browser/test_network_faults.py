"""The client on bad networks: the real site behind a proxy that breaks one transport or another."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Route, expect

from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.people import Person
from tests.support.sites import Site

# Of a machine that does much besides, times what a quiet one may take; tests/acceptance/ways_through.py says the times.
BUSY = 4
# What a browser says of a network that does this to it.
EXPECTED = ("WebSocket connection to", "Failed to load resource")
LISTEN = """() => import("/static/rooms/shared.js").then(({ hold }) => {
    const user = document.querySelector("live-room").getAttribute("user-id");
    const { live } = hold(user);
    window.states = [live.state];
    live.on("state", (state) => window.states.push(state));
})"""
UNBROKEN = """() => {
    const states = window.states.map(({ state }) => state);
    return states.slice(states.indexOf("connected")).every((state) => state === "connected");
}"""
KEPT = "() => Object.keys(sessionStorage).filter((key) => key.startsWith('rooms.outbox:')).length"


@pytest.fixture
def network(demo: Site) -> Iterator[FaultProxy]:
    with fault_proxy(demo.nodes[0].port) as proxy:
        yield proxy


@pytest.fixture
def enter(
    browser: Browser, network: FaultProxy, rest: Callable[[str], httpx.Client]
) -> Iterator[Callable[[str], Person]]:
    """Somebody who is logged in, on that network."""
    people: list[Person] = []

    def enter(name: str) -> Person:
        context = browser.new_context(base_url=network.url)
        cookies = rest(name).cookies
        context.add_cookies([{"name": key, "value": value, "url": network.url} for key, value in cookies.items()])
        people.append(Person(context.new_page()))
        return people[-1]

    yield enter
    for person in people:
        person.forgive(*EXPECTED)
        person.page.context.close()
    assert [person.complaints for person in people] == [[] for _ in people]


def climbs_every(person: Person, ms: int) -> None:
    """Before a page is opened: how long it waits until it tries its first choice again."""

    def faster(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=re.sub(r"climb: [\d_]+", f"climb: {ms}", answer.text()))

    person.without_workers().page.route("**/rooms/times.js", faster)


def goto(person: Person, room: str) -> float:
    """Open a room's page; gives when it was there, as :func:`time.monotonic` counts."""
    person.page.goto(f"/t/{room}/")
    begun = time.monotonic()
    person.page.evaluate(LISTEN)
    return begun


def transport(person: Person) -> Any:
    return person.page.evaluate("window.states.at(-1).transport")


def uses(person: Person, name: str) -> None:
    comes(person, lambda: transport(person) == name)


def comes(person: Person, condition: Callable[[], bool]) -> None:
    """Wait for it from outside: a page's own polling would need `eval`, which its policy forbids."""
    deadline = time.monotonic() + 10 * BUSY
    while not condition():
        assert time.monotonic() < deadline
        person.page.wait_for_timeout(50)


def talk(one: Person, other: Person, *before: str) -> list[str]:
    """Each says something that both see."""
    said = [*before, f"{len(before)} by one", f"{len(before)} by the other"]
    one.say(said[-2])
    other.sees(*said[:-1])
    other.say(said[-1])
    one.sees(*said)
    other.sees(*said)
    return said


@pytest.mark.parametrize(
    ("faults", "name", "limit"),
    [
        ({}, "websocket", 5),
        ({"websocket": "refuse"}, "sse", 5),
        ({"websocket": "reset"}, "sse", 5),
        ({"websocket": "stall"}, "sse", 5),
        ({"websocket": "swallow"}, "sse", 5),
        ({"websocket": "refuse", "sse": "refuse"}, "poll", 10),
        ({"websocket": "swallow", "sse": "swallow"}, "poll", 10),
        ({"websocket": "stall", "sse": "reset"}, "poll", 10),
    ],
)
def test_they_talk_whatever_the_network_does(
    enter: Callable[[str], Person],
    visit: Callable[..., Person],
    network: FaultProxy,
    room: str,
    faults: dict[str, str],
    name: str,
    limit: float,
) -> None:
    network.faults.update(faults)
    other = visit("alice").open(room)
    bob = enter("bob")
    begun = goto(bob, room)
    bob.say("hello")
    other.sees("hello")
    took = time.monotonic() - begun
    assert transport(bob) == name
    assert took < BUSY * limit
    talk(bob, other, "hello")


def test_the_next_page_begins_with_what_worked(enter: Callable[[str], Person], network: FaultProxy, room: str) -> None:
    network.faults["websocket"] = "stall"
    bob = enter("bob")
    goto(bob, room)
    uses(bob, "sse")
    network.seen.clear()
    goto(bob, room)
    uses(bob, "sse")
    assert "websocket" not in network.seen


@pytest.mark.parametrize(("faults", "name"), [({}, "sse"), ({"sse": "stall"}, "poll")])
def test_it_climbs_back_and_loses_nothing_on_the_way(
    enter: Callable[[str], Person],
    visit: Callable[..., Person],
    network: FaultProxy,
    room: str,
    faults: dict[str, str],
    name: str,
) -> None:
    network.faults.update(faults, websocket="refuse")
    alice = visit("alice").open(room)
    bob = enter("bob")
    climbs_every(bob, 1500)
    goto(bob, room)
    uses(bob, name)
    said = talk(bob, alice)
    del network.faults["websocket"]
    while transport(bob) != "websocket":
        assert len(said) < 200
        said.append(f"number {len(said)}")
        alice.say(said[-1])
    said.append("the last")
    alice.say(said[-1])
    bob.sees(*said)
    assert bob.page.evaluate(UNBROKEN)
    talk(bob, alice, *said)


@pytest.mark.parametrize("name", ["websocket", "sse", "poll"])
def test_what_is_cut_goes_on_where_it_was(
    enter: Callable[[str], Person], visit: Callable[..., Person], network: FaultProxy, room: str, name: str
) -> None:
    others = {"websocket": [], "sse": ["websocket"], "poll": ["websocket", "sse"]}[name]
    network.faults.update(dict.fromkeys(others, "reset"))
    alice = visit("alice").open(room)
    bob = enter("bob")
    goto(bob, room)
    uses(bob, name)
    said = talk(bob, alice)
    for _ in range(3):
        network.cut(name)
        said.append(f"while away {len(said)}")
        alice.say(said[-1])
        bob.sees(*said)
        uses(bob, name)


def test_an_answer_that_is_lost_is_asked_for_again(
    enter: Callable[[str], Person], visit: Callable[..., Person], network: FaultProxy, room: str
) -> None:
    network.faults.update(websocket="refuse", commands="lose")
    alice = visit("alice").open(room)
    bob = enter("bob")
    goto(bob, room)
    uses(bob, "sse")
    bob.say("once")
    alice.sees("once")
    network.faults["commands"] = ""
    bob.sees("once")
    talk(bob, alice, "once")


@pytest.mark.parametrize("done", [False, True])
def test_a_reload_neither_loses_nor_repeats_what_was_said(
    enter: Callable[[str], Person], visit: Callable[..., Person], network: FaultProxy, room: str, done: bool
) -> None:
    """``done``: the server has done it, and the page has not heard of that."""
    network.faults.update(websocket="refuse", commands="lose" if done else "stall")
    alice = visit("alice").open(room)
    bob = enter("bob")
    goto(bob, room)
    uses(bob, "sse")
    bob.say("once")
    if done:
        alice.sees("once")
    expect(bob.page.locator("li.pending")).to_have_count(0 if done else 1)
    assert bob.page.evaluate(KEPT) == 1
    network.faults["commands"] = ""
    goto(bob, room)
    alice.sees("once")
    bob.sees("once")
    comes(bob, lambda: bob.page.evaluate(KEPT) == 0)
    goto(bob, room)
    talk(bob, alice, "once")


def test_nobody_says_what_another_person_left_in_the_tab(
    enter: Callable[[str], Person],
    visit: Callable[..., Person],
    network: FaultProxy,
    rest: Callable[[str], httpx.Client],
    room: str,
) -> None:
    network.faults.update(websocket="refuse", commands="stall")
    other = visit("bob").open(room)
    bob = enter("bob")
    goto(bob, room)
    uses(bob, "sse")
    bob.say("bob's alone")
    expect(bob.page.locator("li.pending")).to_have_count(1)
    network.faults["commands"] = ""
    cookies = rest("alice").cookies
    bob.page.context.add_cookies([{"name": key, "value": value, "url": network.url} for key, value in cookies.items()])
    goto(bob, room)
    uses(bob, "sse")
    assert bob.page.evaluate(KEPT) == 0
    talk(bob, other)


def test_another_log_in_does_not_speak_for_the_one_before(
    enter: Callable[[str], Person], network: FaultProxy, rest: Callable[[str], httpx.Client], room: str
) -> None:
    network.faults["websocket"] = "refuse"
    bob = enter("bob")
    goto(bob, room)
    uses(bob, "sse")
    cookies = rest("carol").cookies
    bob.page.context.add_cookies([{"name": key, "value": value, "url": network.url} for key, value in cookies.items()])
    bob.say("bob's alone")
    expect(bob.status).to_have_text("You are logged out here.")
    slug = room.partition("/")[2]
    assert rest("alice").get(f"/api/tenants/acme/rooms/{slug}/messages/").json()["results"] == []

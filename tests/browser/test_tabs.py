"""Several tabs of one browser: they share one connection, and lose nothing when the tab that holds it goes."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.support.cells import metric
from tests.support.people import Person
from tests.support.sites import Site

Visit = Callable[..., Person]
Rest = Callable[[str], httpx.Client]
TABS = 10
KEPT = "Object.keys(sessionStorage).filter((key) => key.startsWith('rooms.outbox:')).length"


@pytest.fixture(params=["a worker holds it", "a tab holds it"])
def bob(request: pytest.FixtureRequest, visit: Visit) -> Person:
    person = visit("bob")
    return person if request.param == "a worker holds it" else person.without_workers()


def another(context: BrowserContext, room: str) -> Person:
    return Person(context.new_page()).open(room)


def connections(site: Site) -> float:
    return sum(metric(node, 'rooms_connections{transport="ws"}') for node in site.nodes)


def says(rest: Rest, name: str, room: str, text: str) -> None:
    tenant, slug = room.split("/")
    answer = rest(name).post(f"/api/tenants/{tenant}/rooms/{slug}/messages/", json={"text": text})
    assert answer.status_code == 201, answer.text


def test_ten_tabs_are_one_connection(bob: Person, demo: Site, rest: Rest, room: str) -> None:
    before = connections(demo)
    tabs = [bob.open(room), *(another(bob.page.context, room) for _ in range(TABS - 1))]
    says(rest, "alice", room, "hello, tabs")
    for tab in tabs:
        tab.sees("hello, tabs")
    assert connections(demo) == before + 1
    said = ["hello, tabs"]
    for number, tab in enumerate(tabs):
        said.append(f"from tab {number}")
        tab.say(said[-1])
        tabs[0].sees(*said)
    for tab in tabs:
        tab.sees(*said)
    assert connections(demo) == before + 1
    assert [tab.complaints for tab in tabs] == [[]] * TABS


def test_the_tab_that_holds_it_closes_and_nothing_is_lost(bob: Person, rest: Rest, room: str) -> None:
    first = bob.open(room)
    second, third = another(bob.page.context, room), another(bob.page.context, room)
    said = []
    for tab in (first, second):
        tab.page.close()
        for _ in range(5):
            said.append(f"message {len(said)}")
            says(rest, "alice", room, said[-1])
            if tab is first:
                second.say(f"answer {len(said)}")
                third.page.wait_for_function(
                    "text => [...document.querySelectorAll('[data-part=text]')].some(e => e.textContent === text)",
                    arg=f"answer {len(said)}",
                )
                said.append(f"answer {len(said)}")
    third.sees(*said)
    third.is_connected()
    third.say("still here")
    third.sees(*said, "still here")


def test_nothing_of_the_first_person_is_left_after_another_log_in(bob: Person, rest: Rest, room: str) -> None:
    context = bob.page.context
    context.clear_cookies()
    bob.log_in("bob")
    old = [bob.open(room), another(context, room)]
    other = Person(context.new_page())
    other.page.goto("/accounts/login/")
    other.page.context.request.get("/")
    context.clear_cookies()  # as another log-in does: the browser is somebody else's from now on
    other.log_in("alice")
    other.open(room)
    for tab in old:
        tab.page.evaluate("() => void dispatchEvent(new Event('offline'))")
        expect(tab.status).to_have_text("You are logged out here.", timeout=30_000)
    other.say("only alice's")
    other.sees("only alice's")
    old[0].composer.fill("whose is this?")
    old[0].composer.press("Enter")
    says(rest, "alice", room, "after it")
    other.sees("only alice's", "after it")
    for tab in old:
        assert tab.messages.get_by_text("alice's").count() == 0


def test_a_room_may_be_on_a_page_twice(bob: Person, rest: Rest, room: str) -> None:
    bob.open(room)
    bob.page.evaluate("""() => {
        const element = document.querySelector("live-room");
        const other = document.createElement("live-room");
        other.setAttribute("room", element.getAttribute("room"));
        other.id = "other";
        element.after(other);
    }""")
    other = bob.page.locator("#other")
    expect(other.locator(".room-status")).to_have_attribute("data-state", "connected")
    says(rest, "alice", room, "to both")
    expect(bob.page.locator("li [data-part=text]")).to_have_text(["to both", "to both"])
    bob.page.evaluate("document.querySelector('#other').remove()")
    says(rest, "alice", room, "to the one")
    expect(bob.page.locator("li [data-part=text]")).to_have_text(["to both", "to the one"])


def test_what_waits_to_be_said_is_not_left_to_the_next_person(bob: Person, rest: Rest, room: str) -> None:
    bob.open(room)
    bob.page.evaluate("document.querySelector('live-room').live.debug.network({ down: true })")
    expect(bob.status).to_have_text("Connection lost, trying again")
    bob.say("bob's own")
    expect(bob.page.locator("li.pending")).to_have_count(1)
    assert bob.page.evaluate(KEPT) == 1
    bob.page.context.clear_cookies()
    bob.log_in("alice")
    bob.open(room)
    assert bob.page.evaluate(KEPT) == 0
    says(rest, "alice", room, "alice's")
    bob.sees("alice's")


def test_a_tab_that_is_frozen_with_the_connection_is_left_behind(visit: Visit, rest: Rest, room: str) -> None:
    frozen = visit("bob").without_workers().open(room)
    other = another(frozen.page.context, room)
    session = frozen.page.context.new_cdp_session(frozen.page)
    session.send("Page.setWebLifecycleState", {"state": "frozen"})
    says(rest, "alice", room, "while it is frozen")
    other.page.evaluate("() => void document.dispatchEvent(new Event('visibilitychange'))")  # somebody looks at it
    other.sees("while it is frozen")
    other.say("on it goes")
    other.sees("while it is frozen", "on it goes")
    session.send("Page.setWebLifecycleState", {"state": "active"})
    frozen.sees("while it is frozen", "on it goes")
    frozen.say("and I am back")
    other.sees("while it is frozen", "on it goes", "and I am back")

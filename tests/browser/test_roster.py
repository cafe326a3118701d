"""Who is in a room, on its page: everybody sees everybody, and says of themselves as little as can be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.support.people import Person

Visit = Callable[..., Person]

HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
AT_ONCE = """() => import("/static/rooms/times.js").then(({ TIMES }) => (TIMES.linger = 0))"""
# How the list of people has changed since: who was put into it and taken out.
WATCH = """() => {
    window.changes = [];
    new MutationObserver((records) => {
        for (const { addedNodes, removedNodes } of records) {
            for (const node of [...addedNodes, ...removedNodes]) window.changes.push(node.textContent);
        }
    }).observe(document.querySelector("[data-people]"), { childList: true });
}"""


def people(person: Person) -> Locator:
    return person.page.locator("live-roster li")


def of(person: Person, name: str) -> Locator:
    return people(person).filter(has_text=name)


class Said:
    """The statuses that the pages of a browser tell the server."""

    def __init__(self, context: BrowserContext) -> None:
        self.statuses: list[dict[str, Any]] = []
        context.on("page", self._follow)
        for page in context.pages:
            self._follow(page)

    def _follow(self, page: Page) -> None:
        page.on("websocket", lambda socket: socket.on("framesent", self._sent) and None)

    def _sent(self, frame: str | bytes) -> None:
        self.statuses += [data for name, data, *_ in json.loads(frame) if name == "presence.set"]


class Told:
    """What a page is told of who comes, goes and changes: how, and who."""

    def __init__(self, page: Page) -> None:
        self.news: list[tuple[str, str]] = []
        page.on("websocket", lambda socket: socket.on("framereceived", self._heard) and None)

    def _heard(self, frame: str | bytes) -> None:
        for name, data, *_ in json.loads(frame):
            if name == "presence.diff":
                self.news += [
                    (how, person["user"]["name"]) for how in ("joined", "left", "changed") for person in data[how]
                ]


def test_each_sees_the_other_and_how_they_are(visit: Visit, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob")
    expect(people(alice)).to_have_count(1)
    bob.open(room)
    for person in (alice, bob):
        expect(person.page.locator("live-roster [data-part=name]")).to_have_count(2)
        expect(person.page.get_by_role("heading", name="People here 2")).to_be_visible()
    expect(people(bob).first).to_contain_text("Bob Baker you")  # oneself first
    expect(of(alice, "Bob Baker")).to_contain_text("Active")
    expect(of(alice, "Bob Baker").get_by_text("On a computer (WebSocket), since")).to_have_count(1)

    alice.page.evaluate(WATCH)
    bob.page.get_by_text("My status").click()
    bob.page.get_by_label("Busy").check()
    bob.page.get_by_label("In words").fill("<b>deep</b> in code")
    bob.page.keyboard.press("Enter")
    expect(of(alice, "Bob Baker")).to_contain_text("Busy <b>deep</b> in code")
    bob.page.reload()
    bob.is_connected()
    expect(of(bob, "Bob Baker")).to_contain_text("Busy <b>deep</b> in code")
    expect(bob.page.get_by_label("Busy")).to_be_checked()
    assert alice.page.evaluate("changes") == [], "a reload is nothing to anybody"


def test_a_browser_says_once_how_a_person_is(visit: Visit, room: str) -> None:
    """However many tabs it has; and the person is away when all of them are."""
    alice, bob = visit("alice").open(room), visit("bob").without_workers()
    said = Said(bob.page.context)
    bob.open(room)
    bob.page.evaluate(AT_ONCE)
    second = Person(bob.page.context.new_page()).open(room)
    for tab in (bob, second):
        expect(of(tab, "Bob Baker")).to_contain_text("Active")
    bob.page.evaluate(HIDE, True)
    second.say("one tab is enough")
    alice.sees("one tab is enough")
    assert said.statuses == [], "who opens pages and looks at one of them is active: nothing to say"

    second.page.evaluate(HIDE, True)
    expect(of(alice, "Bob Baker")).to_contain_text("Away")
    second.page.evaluate(HIDE, False)
    expect(of(alice, "Bob Baker")).to_contain_text("Active")
    second.page.get_by_text("My status").click()
    second.page.get_by_label("Busy").check()
    expect(of(alice, "Bob Baker")).to_contain_text("Busy")
    expect(bob.page.locator("[data-part=busy]")).to_be_checked()
    bob.page.evaluate(HIDE, False)
    bob.page.evaluate(HIDE, True)
    bob.page.context.set_offline(True)
    expect(second.status).to_have_text("You are offline")
    bob.page.context.set_offline(False)
    second.is_connected()
    second.say("and again")
    alice.sees("one tab is enough", "and again")
    assert [each["status"] for each in said.statuses] == ["away", "active", "busy", "busy"], (
        "once on the new connection"
    )
    for tab in (bob, second):
        tab.forgive_absence()
        assert tab.complaints == []


def test_ten_tabs_and_a_reload_are_one_coming_and_one_going(visit: Visit, room: str) -> None:
    """The first tab holds the connection of all; when it is closed another takes that over."""
    alice, bob = visit("alice").without_workers(), visit("bob").without_workers()
    told = Told(alice.page)
    alice.open(room)
    bob.open(room)
    expect(of(alice, "Bob Baker")).to_have_count(1)
    tabs = [bob.page.context.new_page() for _ in range(9)]
    for tab in tabs:
        tab.goto(f"/t/{room}/", wait_until="commit")
    for tab in tabs:
        Person(tab).is_connected()
    for page in (bob.page, *tabs[:-1]):
        page.close()
    last = Person(tabs[-1])
    last.page.reload()
    last.is_connected()
    last.page.close()
    expect(people(alice)).to_have_count(1)
    assert told.news == [("joined", "Bob Baker"), ("left", "Bob Baker")]


@pytest.mark.parametrize(
    ("blocked", "means"), [(["websocket"], "event stream"), (["websocket", "sse"], "polling")], ids=["sse", "poll"]
)
def test_ones_own_status_goes_by_post_too(visit: Visit, room: str, blocked: list[str], means: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    bob.page.evaluate("faults => document.querySelector('live-room').live.debug.network(faults)", {"blocked": blocked})
    expect(of(alice, "Bob Baker")).to_contain_text(means)
    bob.page.get_by_text("My status").click()
    bob.page.get_by_label("Busy").check()
    bob.page.get_by_label("In words").fill("deep in code")
    bob.page.keyboard.press("Enter")
    for person in (alice, bob):
        expect(of(person, "Bob Baker")).to_contain_text("Busy deep in code")
    bob.page.get_by_label("Busy").uncheck()
    expect(of(alice, "Bob Baker")).to_contain_text("Active deep in code")


def test_one_goes_through_the_list_by_keyboard(visit: Visit, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    expect(people(bob)).to_have_count(2)
    assert alice.page.locator("[data-people]").evaluate("list => list.tabIndex") == 0
    bob.page.locator("[data-people]").focus()
    bob.page.keyboard.press("ArrowDown")
    bob.page.keyboard.press("ArrowDown")
    means = of(bob, "Alice Archer").locator("[data-part=means]")
    expect(of(bob, "Alice Archer")).to_be_focused()
    assert means.evaluate("line => line.offsetHeight") > 10, "what somebody is here by is seen where the focus is"
    bob.page.keyboard.press("Home")
    assert means.evaluate("line => line.offsetHeight") == 1


def test_on_a_phone_the_list_is_behind_a_button(visit: Visit, room: str) -> None:
    alice = visit("alice", viewport={"width": 390, "height": 844}).open(room)
    button = alice.page.get_by_role("button", name="1 person here")
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(people(alice)).to_be_hidden()
    button.click()
    expect(people(alice)).to_be_visible()
    assert alice.page.evaluate("document.documentElement.scrollHeight") <= 844
    alice.page.get_by_text("My status").focus()
    alice.page.keyboard.press("Escape")
    expect(people(alice)).to_be_hidden()
    expect(button).to_be_focused()

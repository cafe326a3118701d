"""``{% live_room %}``, ``{% live_roster %}`` and their elements on a page of a host's own, which knows nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from playwright.sync_api import Browser, expect

from tests.support.client import log_in
from tests.support.people import Person
from tests.support.sites import Site


def test_rooms_live_on_any_page(browser: Browser, live_site: Callable[..., Site]) -> None:
    site = live_site(demo=True, rooms={"ROSTER_LIMIT": 2})
    people = {}

    def come(name: str) -> Person:
        context = browser.new_context(base_url=site.url)
        with closing(log_in(site.url, name)) as client:
            cookies = [{"name": key, "value": value, "url": site.url} for key, value in client.cookies.items()]
        context.add_cookies(cookies)
        people[name] = Person(context.new_page())
        people[name].page.goto("/host/desk/")
        return people[name]

    alice, bob = come("alice"), come("bob")
    sockets = alice.page.evaluate("performance.getEntriesByType('resource').filter(e => e.name.includes('/ws')).length")
    assert sockets <= 1, "the rooms of a page share one connection"
    for person, number in ((alice, 3), (bob, 2)):  # the board is not for bob
        expect(person.page.locator("live-room .room-status[data-state=connected]")).to_have_count(number)
    expect(bob.page.locator("main").get_by_text("There is no room here for you.")).to_have_count(2)
    expect(bob.page.locator("live-room h2")).to_have_text(["General", "Random"])
    for slug in ("general", "random"):
        here = bob.page.locator(f"live-roster[room='acme/{slug}'] [data-part=name]")
        expect(here).to_have_text(["Bob Baker", "Alice Archer"])
    expect(alice.page.locator("live-roster[room='acme/board'] [data-part=name]")).to_have_text(["Alice Archer"])
    for slug in ("general", "random"):
        rooms = [person.page.locator(f"live-room[room='acme/{slug}']") for person in (alice, bob)]
        rooms[0].get_by_role("textbox").fill(f"hello, {slug}")
        rooms[0].get_by_role("textbox").press("Enter")
        expect(rooms[1].locator("[data-part=text]")).to_have_text([f"hello, {slug}"])

    # of a roster that is taken out nothing is left; put back, it begins afresh
    bob.page.evaluate("() => (window.roster = document.querySelector('live-roster')).remove()")
    bob.page.evaluate("() => document.querySelector('main').prepend(window.roster)")
    expect(bob.page.locator("main > live-roster:first-child [data-part=name]")).to_have_text(
        ["Bob Baker", "Alice Archer"]
    )

    # taken out and put back, it goes on, with what was said meanwhile
    bob.page.evaluate("() => (window.kept = document.querySelector('live-room')).remove()")
    general = alice.page.locator("live-room[room='acme/general']")
    general.get_by_role("textbox").fill("are you there?")
    general.get_by_role("textbox").press("Enter")
    expect(general.locator("li:not(.pending) [data-part=text]")).to_have_text(["hello, general", "are you there?"])
    bob.page.evaluate("() => document.querySelector('main').append(window.kept)")
    back = bob.page.locator("live-room[room='acme/general']")
    expect(back.locator("[data-part=text]")).to_have_text(["hello, general", "are you there?"])
    back.get_by_role("textbox").fill("I am")
    back.get_by_role("textbox").press("Enter")
    expect(general.locator("[data-part=text]").last).to_have_text("I am")

    # in a large room nobody is named by itself
    dave = come("dave")
    large = dave.page.locator("live-roster[room='acme/random']")
    expect(large.get_by_role("heading", name="People here 3")).to_be_visible()
    expect(large.get_by_role("listitem")).to_have_count(0)
    large.get_by_role("button", name="Show who").click()
    expect(large.get_by_role("listitem")).to_have_count(3)
    assert sorted(large.locator("[data-part=name]").all_text_contents()) == ["Alice Archer", "Bob Baker", "Dave Dyer"]
    for person in people.values():
        assert person.complaints == []
        person.page.context.close()

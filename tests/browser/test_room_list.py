"""My rooms as a page that one leaves open: news come by themselves, and nothing slips from under the reader."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from playwright.sync_api import Locator, expect

from tests.support.people import Person

Visit = Callable[..., Person]
Rest = Callable[[str], httpx.Client]


def say(client: httpx.Client, slug: str, text: str) -> None:
    answer = client.post(f"/api/tenants/acme/rooms/{slug}/messages/", json={"text": text})
    assert answer.status_code == 201, answer.text


def names(person: Person) -> list[str]:
    return person.page.locator(".room-list a").all_text_contents()


def first(person: Person) -> Locator:
    return person.page.locator(".room-list a").first


def test_where_something_is_said_goes_first_and_the_focus_stays(visit: Visit, rest: Rest) -> None:
    say(rest("alice"), "random", "the latest")
    bob = visit("bob")
    bob.page.goto("/")
    bob.is_connected()
    assert names(bob)[0] == "Random"
    general = bob.page.get_by_role("link", name="General")
    general.focus()
    say(rest("alice"), "general", "hello")
    expect(first(bob)).to_have_text("General")
    expect(general).to_be_focused()
    say(rest("alice"), "random", "and on")
    expect(first(bob)).to_have_text("Random")
    expect(general).to_be_focused()
    bob.page.reload()
    assert names(bob)[:2] == ["Random", "General"]


def test_no_room_moves_from_under_the_pointer(visit: Visit, rest: Rest) -> None:
    say(rest("alice"), "random", "the latest")
    bob = visit("bob")
    bob.page.goto("/")
    bob.is_connected()
    first(bob).hover()
    say(rest("alice"), "general", "hello")
    expect(bob.page.locator("[data-room='acme/general']")).to_contain_text("Alice Archer hello")
    assert names(bob)[0] == "Random"
    bob.page.get_by_role("heading", level=1).hover()
    expect(first(bob)).to_have_text("General")


def test_the_list_tells_how_many_people_are_in_a_room(visit: Visit, rest: Rest, room: str) -> None:
    bob = visit("bob")
    bob.page.goto("/")
    bob.is_connected()
    row = bob.page.locator(f"[data-people-of='{room}']")
    expect(row).to_be_hidden()  # who looks at the list is in none of its rooms
    alice = visit("alice").open(room)
    expect(row).to_have_text("1 here")
    bob.page.reload()
    expect(row).to_have_text("1 here")
    assert alice.complaints == []


def test_the_list_says_whether_it_is_connected(visit: Visit, rest: Rest) -> None:
    bob = visit("bob")
    bob.page.goto("/")
    bob.is_connected()
    bob.page.context.set_offline(True)
    expect(bob.status).to_have_text("You are offline")
    say(rest("alice"), "general", "while bob is away")
    bob.page.context.set_offline(False)
    bob.is_connected()
    expect(first(bob)).to_have_text("General")
    bob.forgive_absence()

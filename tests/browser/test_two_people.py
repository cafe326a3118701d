"""Two people talk in one room, each in a browser of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.support.people import AT_END, Person
from tests.support.sites import Site

Visit = Callable[..., Person]
Rest = Callable[[str], httpx.Client]

ODD = [
    "<img src=x onerror=alert(1)>",
    "</p><script>alert(1)</script>&amp;&lt;",
    "  outer white \t space  ",
    "two\n\n   lines\n",
    "\x01\x07\x1b[31mcontrol\x7f\x85\u202ereversed\u2028\ufeff",
    "naïve 日本語 👩‍👩‍👧",
    "x" * 8000,
]


def path(room: str, more: str = "") -> str:
    """Where REST has a room."""
    tenant, _, slug = room.partition("/")
    return f"/api/tenants/{tenant}/rooms/{slug}/{more}"


def say(client: httpx.Client, room: str, text: str) -> str:
    """By REST; gives the message's id."""
    answer = client.post(path(room, "messages/"), json={"text": text})
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


def shell(site: Site, room: str, *code: str) -> None:
    """Do something on the site's database, past its running process; ``room`` and ``bob`` are rows."""
    slug = room.partition("/")[2]
    lines = (
        "from django.contrib.auth.models import User",
        "from rooms import commands",
        "from rooms.models import *",
        f"room = Room.objects.select_related('tenant').get(tenant__slug='acme', slug={slug!r})",
        "bob = User.objects.get(username='bob')",
        *code,
    )
    site.manage("shell", "-v0", "-c", "\n".join(lines))


def bob_says(*texts: str) -> str:
    return f"for text in {texts!r}: commands.perform(bob.pk, 'chat.send', {{'text': text}}, room=room.address)"


def test_they_log_in_find_the_room_and_talk(visit: Visit) -> None:
    alice, bob = visit().log_in("alice"), visit().log_in("bob")
    for person in (alice, bob):
        person.page.get_by_role("link", name="General").click()
        person.is_connected()
        expect(person.page.get_by_role("heading", level=1)).to_have_text("General")
        expect(person.page.get_by_text("Nothing was said here yet.")).to_be_visible()

    alice.say("hello, bob")
    bob.sees("hello, bob")
    expect(bob.page.get_by_text("Nothing was said here yet.")).to_be_hidden()
    said = ["hello, bob"]
    for text in ODD:
        alice.say(text)
        said.append(text)
    bob.sees(*said)
    alice.sees(*said)
    bob.say("what was that?")
    said.append("what was that?")
    for person in (alice, bob):
        person.sees(*said)
        authors = person.page.locator("[data-messages] [data-part=author]")
        expect(authors).to_have_text(["Alice Archer"] * (len(said) - 1) + ["Bob Baker"])
        expect(person.page.locator("[data-messages] img, [data-messages] script")).to_have_count(0)
        person.page.reload()
        person.is_connected()
        person.sees(*said)


def test_many_messages_at_once_come_once_and_in_order(visit: Visit, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    for number in range(30):
        alice.say(f"alice {number}")
        bob.say(f"bob {number}")
    for person in (alice, bob):
        expect(person.page.locator("li.pending")).to_have_count(0)
        expect(person.messages).to_have_count(60)
    seen = [person.page.locator("[data-messages] [data-part=text]").all_text_contents() for person in (alice, bob)]
    assert seen[0] == seen[1]
    for name in ("alice", "bob"):
        assert [text for text in seen[0] if text.startswith(name)] == [f"{name} {number}" for number in range(30)]


def test_a_message_is_shown_at_once_and_settles(visit: Visit, room: str) -> None:
    alice = visit("alice").without_workers()
    held: list[Any] = []

    def between(page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        held.append(server)
        page.on_message(lambda frame: held.append(frame) if "chat.send" in frame else server.send(frame))

    alice.page.route_web_socket(re.compile("/live/ws"), between)
    alice.open(room)
    alice.say("on its way")
    expect(alice.page.locator("li.pending")).to_contain_text("on its way")
    expect(alice.messages.get_by_text("sending…")).to_be_visible()
    expect(alice.composer).to_have_value("")
    server, frame = held
    server.send(frame)
    alice.sees("on its way")
    expect(alice.messages.get_by_text("sending…")).to_be_hidden()


def test_what_was_refused_can_be_tried_again_or_discarded(visit: Visit, demo: Site, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    shell(demo, room, "Room.objects.filter(pk=room.pk).update(read_only=True)")  # nobody is told
    bob.say("once")
    bob.say("never")
    expect(bob.page.locator("li.failed")).to_have_count(2)
    first, second = bob.page.locator("li.failed").all()
    expect(first).to_contain_text("Not sent. You may not do this here.")
    second.get_by_role("button", name="Discard").click()
    shell(demo, room, "Room.objects.filter(pk=room.pk).update(read_only=False)")
    first.get_by_role("button", name="Try again").click()
    bob.sees("once")
    alice.sees("once")


def test_edits_and_deletions_of_others_come_live(visit: Visit, rest: Rest, room: str) -> None:
    bob, alice = visit("bob").open(room), rest("alice")
    first, second = say(alice, room, "frist"), say(alice, room, "second")
    bob.sees("frist", "second")
    assert alice.patch(path(room, f"messages/{first}/"), json={"text": "first"}).status_code == 200
    bob.sees("first", "second")
    expect(bob.messages.first.get_by_text("edited")).to_be_visible()
    assert alice.delete(path(room, f"messages/{second}/")).status_code == 204
    bob.sees("first")


def test_a_guest_reads_and_is_told_why_not_more(visit: Visit, rest: Rest, room: str) -> None:
    erin = visit("erin").open("acme/general")
    expect(erin.composer).to_be_hidden()
    expect(erin.page.get_by_text("You can read this room, but not write in it.")).to_be_visible()
    erin.open(room)
    say(rest("alice"), room, "hello, guests")
    erin.sees("hello, guests")
    expect(erin.composer).to_be_hidden()


def test_the_composer_follows_the_rights(visit: Visit, rest: Rest, room: str) -> None:
    bob, alice = visit("bob").open(room), rest("alice")
    bob.composer.fill("half a sent")
    for read_only in (True, False):
        changed = {"read_only": read_only, "name": f"Read only: {read_only}"}
        assert alice.patch(path(room), json=changed).status_code == 200
        expect(bob.page.get_by_role("heading", level=1)).to_have_text(f"Read only: {read_only}")
        expect(bob.composer).to_be_visible(visible=not read_only)
        expect(bob.page.get_by_text("This room is read-only")).to_be_visible(visible=read_only)
    expect(bob.composer).to_have_value("half a sent")


def test_a_room_that_is_archived_under_its_reader_says_so(visit: Visit, rest: Rest, room: str) -> None:
    bob = visit("bob").open(room)
    assert rest("alice").patch(path(room), json={"archived": True}).status_code == 200
    expect(bob.page.get_by_text("This room is archived.")).to_be_visible()
    expect(bob.composer).to_be_hidden()


# --- the site goes away and comes back


def test_a_restart_loses_and_doubles_nothing(visit: Visit, rest: Rest, demo: Site, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    alice.say("before")
    bob.sees("before")
    demo.kill()
    for person in (alice, bob):
        expect(person.status).to_have_text("Connection lost, trying again")
    alice.say("said while it was away")
    expect(alice.page.locator("li.pending")).to_have_count(1)
    away = [f"written while it was away {number}" for number in range(3)]
    shell(demo, room, bob_says(*away))
    demo.restart()
    bob.hurry()
    bob.is_connected()
    say(rest("bob"), room, "said while alice was away")
    alice.hurry()
    alice.is_connected()
    expect(alice.page.locator("li.pending")).to_have_count(0)  # what waited in her page is said
    # two of them race; the log says which one was first
    history = [message["text"] for message in rest("bob").get(path(room, "messages/")).json()["results"]][::-1]
    assert sorted(history) == sorted(["before", *away, "said while it was away", "said while alice was away"])
    bob.say("after")
    for person in (alice, bob):
        person.sees(*history, "after")
        person.forgive_absence()


def test_a_history_that_broke_is_read_afresh(visit: Visit, rest: Rest, demo: Site, room: str) -> None:
    bob, alice = visit("bob").open(room), rest("alice")
    say(alice, room, "gone")
    say(alice, room, "stays")
    bob.sees("gone", "stays")
    demo.kill()
    expect(bob.status).to_have_text("Connection lost, trying again")
    bob.say("mine")
    shell(
        demo,
        room,
        "Message.objects.filter(room=room, text='gone').delete()",
        "RoomLog.objects.filter(room=room).update(epoch='feed')",
        bob_says("new"),
    )
    demo.restart()
    bob.hurry()
    bob.is_connected()
    bob.sees("stays", "new", "mine")
    say(alice, room, "on it goes")
    bob.sees("stays", "new", "mine", "on it goes")
    bob.forgive_absence()


def test_a_network_that_is_gone_is_called_so(visit: Visit, room: str) -> None:
    bob = visit("bob").without_workers().open(room)
    bob.page.context.set_offline(True)
    expect(bob.status).to_have_text("You are offline")
    bob.say("kept")
    expect(bob.page.locator("li.pending")).to_have_count(1)
    bob.page.context.set_offline(False)
    bob.is_connected()
    bob.sees("kept")
    bob.forgive_absence()


# --- the page as one uses it


def test_reading_up_there_is_not_disturbed(visit: Visit, rest: Rest, room: str) -> None:
    for number in range(40):
        say(rest("bob"), room, f"line {number}\n\n")
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    scroller = bob.page.get_by_role("log")
    bob.page.wait_for_function(AT_END)
    alice.say("seen at once")
    bob.messages.get_by_text("seen at once").wait_for()
    bob.page.wait_for_function(AT_END)
    place = scroller.evaluate("e => new Promise(done => (e.onscroll = () => done(e.scrollTop), e.scrollTop = 100))")
    alice.say("further down")
    expect(bob.messages).to_have_count(42)
    assert scroller.evaluate("e => e.scrollTop") == place
    bob.say("back to the end")
    bob.page.wait_for_function(AT_END)


def test_all_of_it_works_by_keyboard(visit: Visit, room: str) -> None:
    alice = visit("alice").open(room)
    for _ in range(12):
        if alice.composer.evaluate("e => e === document.activeElement"):
            break
        alice.page.keyboard.press("Tab")
    alice.page.keyboard.type("one")
    alice.page.keyboard.press("Shift+Enter")
    alice.page.keyboard.type("two")
    alice.page.keyboard.press("Enter")
    alice.sees("one\ntwo")
    alice.page.keyboard.press("Enter")  # of nothing
    alice.sees("one\ntwo")


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_the_window(visit: Visit, rest: Rest, room: str, width: int) -> None:
    say(rest("bob"), room, "https://example.com/" + "x" * 500)
    bob = visit("bob", viewport={"width": width, "height": 700})
    for address in ("/", f"/t/{room}/", "/t/acme/nothing/"):
        bob.page.goto(address)
        assert bob.page.evaluate("document.documentElement.scrollWidth") <= width
    bob.complaints.remove("Failed to load resource: the server responded with a status of 404 (Not Found)")

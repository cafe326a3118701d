"""A room's page as people use it: answering, reacting, changing one's words, reading what was said before."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, expect

from tests.support.people import AT_END, Person
from tests.support.sites import Site

Visit = Callable[..., Person]
Rest = Callable[[str], httpx.Client]


def say(client: httpx.Client, room: str, text: str, **more: Any) -> str:
    """By REST; gives the message's id."""
    tenant, _, slug = room.partition("/")
    answer = client.post(f"/api/tenants/{tenant}/rooms/{slug}/messages/", json={"text": text, **more})
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


def events(client: httpx.Client, path: str) -> list[Any]:
    found: list[Any] = client.get(path).json()["events"]
    return found


def message(person: Person, text: str) -> Locator:
    return person.messages.filter(has=person.page.locator("[data-part=text]", has_text=text)).first


def do(person: Person, text: str, what: str) -> None:
    """Point at a message and press a button of its toolbar."""
    message(person, text).locator("[data-part=text]").hover()
    person.page.get_by_role("toolbar").get_by_role("button", name=what, exact=True).click()


# --- what one does to messages


def test_what_one_does_to_a_message_the_other_sees(visit: Visit, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    alice.say("shall we meet at noon?")
    bob.sees("shall we meet at noon?")

    do(bob, "noon", "React")
    bob.page.get_by_role("button", name="Thumbs up").click()
    reaction = alice.page.get_by_role("button", name="👍 1")
    expect(reaction).to_have_attribute("aria-pressed", "false")
    reaction.click()
    for person in (alice, bob):
        expect(person.page.get_by_role("button", name="👍 2")).to_have_attribute("aria-pressed", "true")
    bob.page.reload()
    bob.is_connected()
    bob.page.get_by_role("button", name="👍 2").click()
    expect(alice.page.get_by_role("button", name="👍 1")).to_be_visible()

    do(bob, "noon", "Reply")
    expect(bob.page.get_by_text("Replying to Alice Archer")).to_be_visible()
    bob.say("yes, at noon")
    for person in (alice, bob):
        expect(message(person, "yes").locator(".message-quote")).to_have_text("Alice Archer shall we meet at noon?")

    do(alice, "shall we", "Edit")
    alice.page.get_by_role("textbox", name="Edit message").fill("shall we meet at one?")
    alice.page.get_by_role("button", name="Save").click()
    for person in (alice, bob):
        person.sees("shall we meet at one?", "yes, at noon")
        expect(message(person, "shall we").get_by_text("edited")).to_be_visible()
        expect(message(person, "yes").locator(".message-quote")).to_contain_text("at one?")

    do(bob, "yes, at noon", "Delete")
    bob.page.get_by_role("button", name="Keep it").click()
    bob.sees("shall we meet at one?", "yes, at noon")
    do(bob, "yes, at noon", "Delete")
    bob.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    for person in (alice, bob):
        person.sees("shall we meet at one?")
        expect(person.messages.get_by_text("This message was deleted.").last).to_be_visible()
        person.page.reload()
        person.sees("shall we meet at one?")
        expect(person.messages.get_by_text("This message was deleted.").last).to_be_visible()


def test_one_changes_ones_own_and_moderators_delete_all(visit: Visit, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    alice.say("of alice")
    bob.say("of bob")
    for person, other, buttons in (
        (alice, "of bob", ["React", "Reply", "Delete"]),
        (bob, "of alice", ["React", "Reply"]),
    ):
        person.sees("of alice", "of bob")
        message(person, other).locator("[data-part=text]").hover()
        toolbar = person.page.get_by_role("toolbar").locator("[data-do]:visible")
        assert [button.get_attribute("aria-label") for button in toolbar.all()] == buttons
    do(alice, "of bob", "Delete")
    alice.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    bob.sees("of alice")


def test_an_edit_that_is_too_late_says_so_and_keeps_the_words(visit: Visit, rest: Rest, room: str) -> None:
    bob = visit("bob").open(room)
    id = say(rest("bob"), room, "first")
    bob.sees("first")
    do(bob, "first", "Edit")
    path = f"/api/tenants/acme/rooms/{room.partition('/')[2]}/messages/{id}/"
    assert rest("bob").patch(path, json={"text": "second"}).status_code == 200
    field = bob.page.get_by_role("textbox", name="Edit message")
    expect(message(bob, "second").get_by_text("edited")).to_be_attached()
    field.fill("third")
    field.press("Enter")
    expect(bob.page.get_by_text("Not saved.")).to_be_visible()
    expect(field).to_have_value("third")
    field.press("Escape")
    bob.sees("second")


def test_an_answer_that_was_refused_is_sent_again_as_an_answer(visit: Visit, rest: Rest, demo: Site, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    alice.say("a question")
    bob.sees("a question")
    do(bob, "a question", "Reply")
    code = f"from rooms.models import Room; Room.objects.filter(slug={room.partition('/')[2]!r}).update(read_only="
    demo.manage("shell", "-v0", "-c", code + "True)")
    bob.say("an answer")
    expect(bob.page.locator("li.failed")).to_contain_text("Not sent.")
    demo.manage("shell", "-v0", "-c", code + "False)")
    bob.page.get_by_role("button", name="Try again").click()
    alice.sees("a question", "an answer")
    expect(message(alice, "an answer").locator(".message-quote")).to_contain_text("a question")


def test_who_only_reads_sees_reactions_and_changes_none(visit: Visit, rest: Rest) -> None:
    bob = visit("bob").open("acme/general")
    bob.say("for all to see")
    do(bob, "for all to see", "React")
    bob.page.get_by_role("button", name="Heart").click()
    erin = visit("erin").open("acme/general")
    expect(erin.page.get_by_role("button", name="❤️ 1")).to_be_disabled()
    message(erin, "for all to see").hover()
    expect(erin.page.get_by_role("toolbar")).to_be_hidden()


def test_addresses_are_links_and_nothing_else_is(visit: Visit, room: str) -> None:
    bob = visit("bob").open(room)
    text = (
        "see https://example.com/a_(b)?c=1&d=<2>, (http://example.org/x). javascript:alert(1) "
        "https:// ftp://example.com https://\u202eexample.com"
    )
    bob.say(text)
    bob.sees(text)
    links = bob.page.locator("[data-messages] [data-part=text] a")
    expect(links).to_have_text(["https://example.com/a_(b)?c=1&d=", "http://example.org/x"])
    for link in links.all():
        assert link.get_attribute("rel") == "noopener noreferrer nofollow"


# --- reading


def test_older_messages_come_without_a_jump(visit: Visit, rest: Rest, room: str) -> None:
    first = say(rest("alice"), room, "the very first")
    for number in range(110):
        say(rest("alice"), room, f"line {number}")
    say(rest("alice"), room, "an answer to it", reply_to=first)
    bob = visit("bob").open(room)
    expect(bob.messages).to_have_count(50)
    place = bob.page.evaluate("""async () => {
        const log = document.querySelector("[role=log]");
        const paint = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)));
        await paint();
        const count = log.querySelectorAll("li").length;
        log.scrollTop = 300;
        const seen = document.elementFromPoint(innerWidth / 2, innerHeight / 2).closest("li");
        const before = seen.getBoundingClientRect().top;
        while (log.querySelectorAll("li").length === count) await paint();
        await paint();
        return Math.abs(seen.getBoundingClientRect().top - before);
    }""")
    assert place <= 2  # px
    expect(bob.messages).to_have_count(100)
    bob.page.locator(".message-quote:visible").click()
    expect(bob.messages).to_have_count(112)
    expect(message(bob, "the very first")).to_be_in_viewport()
    expect(bob.page.get_by_role("link", name="Older messages")).to_be_hidden()
    texts = bob.page.locator("[data-messages] [data-part=text]").all_text_contents()
    assert texts == ["the very first", *(f"line {number}" for number in range(110)), "an answer to it"]


def test_what_came_meanwhile_is_marked_and_a_pill_leads_to_it(visit: Visit, rest: Rest, room: str) -> None:
    for number in range(40):
        say(rest("alice"), room, f"line {number}")
    bob = visit("bob").open(room)
    bob.page.wait_for_function(AT_END)
    bob.page.get_by_role("log").evaluate("log => (log.scrollTop = 0)")
    expect(bob.page.get_by_role("button", name="To the newest")).to_be_visible()
    say(rest("alice"), room, "news")
    expect(bob.page.get_by_role("button", name="1 new message")).to_be_visible()
    say(rest("alice"), room, "more news")
    bob.page.get_by_role("button", name="2 new messages").click()
    bob.page.wait_for_function(AT_END)
    expect(bob.page.locator(".room-pill")).to_be_hidden()
    expect(bob.page.locator(".message-unread:visible")).to_have_count(1)
    expect(message(bob, "news").locator(".message-unread")).to_be_visible()
    # soon the server knows what was read: the next visit has no line, and the list no dot
    last = message(bob, "more news").get_attribute("data-seq")
    path = f"/api/tenants/acme/rooms/{room.partition('/')[2]}/events/?limit=1000"
    while not any(name == "chat.read" and str(data["seq"]) == last for name, data, _ in events(rest("bob"), path)):
        bob.page.wait_for_timeout(100)
    bob.open(room)
    expect(bob.page.locator(".message-unread:visible")).to_have_count(0)
    bob.page.goto("/")
    row = bob.page.locator(f"[data-room='{room}']")
    expect(row.get_by_text("unread")).to_be_hidden()
    say(rest("alice"), room, "while bob is elsewhere")
    expect(row.get_by_text("unread")).to_be_visible()
    expect(row).to_contain_text("Alice Archer while bob is elsewhere")
    bob.open(room)
    expect(message(bob, "while bob is elsewhere").locator(".message-unread")).to_be_visible()


def test_who_writes_is_seen_to_write(visit: Visit, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    bob.composer.press_sequentially("hm")
    expect(alice.page.get_by_text("Bob Baker is typing…")).to_be_visible()
    bob.composer.press("Enter")
    alice.sees("hm")
    expect(alice.page.get_by_text("Bob Baker is typing…")).to_be_hidden()
    expect(bob.page.get_by_text("is typing…")).to_be_hidden()


def test_one_sees_how_far_the_others_have_read(visit: Visit, rest: Rest, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    for number in range(3):
        alice.say(f"line {number}")
    expect(message(alice, "line 2").get_by_text("Seen by Bob Baker")).to_be_visible()
    bob.page.goto("/")
    alice.say("line 3")
    alice.sees(*(f"line {number}" for number in range(4)))
    expect(message(alice, "line 2").get_by_text("Seen by Bob Baker")).to_be_visible()
    alice.page.reload()
    alice.is_connected()
    expect(message(alice, "line 2").get_by_text("Seen by Bob Baker")).to_be_visible()
    say(rest("bob"), room, "mine")
    expect(message(alice, "mine")).to_be_visible()
    dave = visit("dave").open(room)
    expect(message(dave, "mine").get_by_text("Seen by Alice Archer")).to_be_visible()  # and not by who wrote it


def test_days_and_speakers_are_told_apart(visit: Visit, room: str) -> None:
    bob = visit("bob").open(room)
    bob.say("one")
    bob.say("two")
    bob.sees("one", "two")
    expect(bob.page.locator(".message-day:visible")).to_have_text(["Today"])
    expect(bob.messages.nth(1)).to_have_class(re.compile("goes-on"))


def test_without_javascript_one_reads_all_that_was_said(visit: Visit, rest: Rest, room: str) -> None:
    for number in range(60):
        say(rest("alice"), room, f"line {number}")
    bob = visit("bob", java_script_enabled=False)
    bob.page.goto(f"/t/{room}/")
    expect(bob.composer).to_be_hidden()
    bob.page.wait_for_function(AT_END)
    bob.page.get_by_role("link", name="Older messages").click()
    expect(bob.messages).to_have_count(10)
    expect(bob.page.get_by_text("line 0", exact=True)).to_be_visible()
    bob.page.get_by_role("link", name="To the newest messages").click()
    expect(bob.messages).to_have_count(50)


@pytest.mark.parametrize("address", ["/", "/t/acme/general/"])
def test_a_page_asks_at_once_for_all_the_modules_that_it_needs(visit: Visit, address: str) -> None:
    bob = visit("bob")
    bob.page.goto(address)
    bob.is_connected()
    addresses = {
        "asked": "() => [...document.querySelectorAll('[rel=modulepreload], script')].map((e) => e.href ?? e.src)",
        "loaded": "() => performance.getEntriesByType('resource').map((e) => e.name).filter((e) => e.endsWith('.js'))",
    }
    asked, loaded = (sorted(bob.page.evaluate(script)) for script in addresses.values())
    assert loaded == asked
    assert len(asked) > 20


# --- for everybody


def test_a_conversation_by_keyboard_alone(visit: Visit, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    keys = bob.page.keyboard
    alice.say("a question")
    bob.sees("a question")
    while not bob.page.get_by_role("log").evaluate("log => log === document.activeElement"):
        keys.press("Tab")
    keys.press("ArrowUp")  # to the newest message
    keys.press("Tab")  # to its toolbar
    keys.press("Enter")  # the picker
    keys.press("ArrowRight")
    keys.press("Enter")
    expect(alice.page.get_by_role("button", name="❤️ 1")).to_be_visible()
    expect(bob.page.get_by_role("button", name="React")).to_be_focused()
    keys.press("ArrowRight")
    keys.press("Enter")  # reply
    expect(bob.composer).to_be_focused()
    keys.type("an answr")
    keys.press("Enter")
    bob.sees("a question", "an answr")
    keys.press("ArrowUp")  # in the empty composer: edit the last of one's own
    keys.press("Backspace")
    keys.type("er")
    keys.press("Enter")
    alice.sees("a question", "an answer")
    expect(bob.composer).to_be_focused()
    keys.press("Shift+Tab")
    keys.press("Escape")  # back to where one writes
    expect(bob.composer).to_be_focused()


def test_new_words_are_read_out_and_the_page_is_not(visit: Visit, room: str) -> None:
    alice, bob = visit("alice").open(room), visit("bob").open(room)
    alice.say("hello")
    expect(bob.page.locator("[data-announcer]")).to_have_text("Alice Archer: hello")
    expect(alice.page.locator("[data-announcer]")).to_be_empty()
    expect(bob.page.get_by_role("log")).to_have_attribute("aria-live", "off")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: Visit, rest: Rest, room: str, scheme: str) -> None:
    """Past the content security policy: axe measures contrast with styles of its own."""
    first = say(rest("alice"), room, "https://example.com/")
    say(rest("alice"), room, "an answer", reply_to=first)
    bob = visit("bob", color_scheme=scheme, bypass_csp=True).open(room)
    do(bob, "an answer", "React")
    bob.page.get_by_role("button", name="Thumbs up").click()
    expect(bob.page.get_by_role("button", name="👍 1")).to_be_visible()
    found = {"room": Axe().run(bob.page)}
    do(bob, "an answer", "Reply")
    bob.page.get_by_role("log").evaluate("log => log.querySelector('li').focus()")
    found["room, in use"] = Axe().run(bob.page)
    for address in ("/", "/t/acme/announcements/", "/t/acme/nothing/"):
        bob.page.goto(address)
        found[address] = Axe().run(bob.page)
    bob.forgive("404")
    nobody = visit(color_scheme=scheme, bypass_csp=True)
    nobody.page.goto("/accounts/login/")
    found["login"] = Axe().run(nobody.page)
    assert {where: result.generate_report() for where, result in found.items() if result.violations_count} == {}

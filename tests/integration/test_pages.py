"""The pages: who gets to see them, what stands in them, what they cost."""

from __future__ import annotations

import gzip
import re
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.template import Context, RequestContext, Template
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone

from rooms import commands, contract, log, pages, services
from rooms.contract import Part, Role
from rooms.models import Message
from tests.support.world import World

LOGIN = "/accounts/login/"
SESSION = 2  # queries that every page of somebody who is logged in costs: the session and the user


class Page(HTMLParser):
    """A page as a browser has it: the attributes of ``<live-room>``, and the elements that hold data."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        assert answer.status_code == 200, answer.content
        self.html = answer.content.decode()
        self.room: dict[str, str | None] = {}
        self.tags: list[str] = []
        self.hidden: dict[str, bool] = {}  # by data-why, and the composer
        self.feed(self.html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.append(tag)
        if tag == "live-room":
            self.room = given
        if "data-why" in given:
            self.hidden[str(given["data-why"])] = "hidden" in given
        if "data-composer" in given:
            self.hidden["composer"] = "hidden" in given

    @property
    def texts(self) -> list[str]:
        """The messages, without the empty template."""
        found = re.findall(r'data-part="text" dir="auto">(.*?)</p>', self.html, re.DOTALL)
        return [unescape(text) for text in found][:-1]

    @property
    def said(self) -> list[str]:
        """The sentences that tell why one cannot write."""
        return [why for why, hidden in self.hidden.items() if why != "composer" and not hidden]


def page(world: World, name: str, path: str) -> Page:
    return Page(getattr(world, name).get(path))


# --- who gets to see what


@pytest.mark.parametrize("path", ["/", "/t/acme/general/", "/t/acme/board/", "/t/acme/lobby/", "/t/nowhere/at-all/"])
def test_nobody_is_sent_to_the_login_and_back(world: World, path: str) -> None:
    answer = Client().get(path)
    assert (answer.status_code, answer["Location"]) == (302, f"{LOGIN}?next={path}")


def test_the_login_lets_in_and_leads_back(world: World) -> None:
    world.users["alice"].set_password("demo")
    world.users["alice"].save()
    client = Client()
    data = {"username": "alice", "password": "demo"}
    assert client.post(f"{LOGIN}?next=/t/acme/general/", data)["Location"] == "/t/acme/general/"
    assert client.get("/t/acme/general/").status_code == 200
    assert client.post("/accounts/logout/")["Location"] == LOGIN
    assert client.get("/t/acme/general/").status_code == 302


def test_the_login_says_what_is_wrong(world: World) -> None:
    answer = Client().post(LOGIN, {"username": "alice", "password": "wrong"})
    assert 'role="alert"' in answer.content.decode()


HIDDEN = [
    "/t/acme/general/",
    "/t/acme/lobby/",
    "/t/acme/board/",
    "/t/acme/general~mods/",
    "/t/acme/~all/",
    "/t/acme/~me/",
    "/t/acme/~me.1/",
    "/t/acme/~me.{alice}/",
    "/t/globex/~me.{alice}/",
    "/t/ACME/general/",
    "/t/acme/%00/",
    "/t/acme/%2e%2e/",
    "/t/acme/" + "x" * 3000 + "/",
]


@pytest.mark.parametrize("path", HIDDEN)
@pytest.mark.parametrize("debug", [False, True])
def test_what_one_may_not_know_of_looks_like_what_is_not_there(world: World, path: str, debug: bool) -> None:
    with override_settings(DEBUG=debug):
        hidden = world.carol.get(path.format(alice=world.id("alice")))
        absent = world.carol.get("/t/nowhere/at-all/")
    assert hidden.status_code == absent.status_code == 404
    assert hidden.content == absent.content
    assert {**hidden.headers, "Expires": ""} == {**absent.headers, "Expires": ""}  # it is the time of day
    assert b"acme" not in hidden.content.lower()


def test_the_way_to_a_hidden_room_costs_what_the_way_to_nothing_costs(
    world: World, django_assert_num_queries: Any
) -> None:
    erin = world.erin
    for path in ("/t/acme/board/", "/t/acme/nothing/", "/t/nowhere/general/"):
        with django_assert_num_queries(SESSION + 1):
            assert erin.get(path).status_code == 404


def test_other_methods_say_nothing_of_a_room(world: World) -> None:
    answers = [world.carol.post(path, {}) for path in ("/t/acme/general/", "/t/nowhere/at-all/")]
    assert [answer.status_code for answer in answers] == [405, 405]
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize(
    ("name", "shown", "hidden"),
    [
        ("alice", ["Announcements", "Board", "General", "Lobby"], []),
        ("erin", ["Announcements", "General", "Lobby"], ["Board"]),
        ("carol", ["Globex", "General"], ["Acme", "Announcements", "Board", "Lobby"]),
    ],
)
def test_my_rooms_are_those_that_i_may_read(world: World, name: str, shown: list[str], hidden: list[str]) -> None:
    html = page(world, name, "/").html
    assert all(f">{text}<" in html for text in shown)
    assert not any(text in html for text in hidden)
    for path in set(re.findall(r'href="(/t/[^"]+)"', html)):
        assert getattr(world, name).get(path).status_code == 200


def test_who_belongs_nowhere_gets_a_friendly_sentence(world: World) -> None:
    services.members.remove(world.acme, world.users["erin"])
    assert "You are in no room yet" in page(world, "erin", "/").html


def test_a_guest_of_one_room_alone_finds_it(world: World) -> None:
    services.members.set_part(world.room("acme/board"), world.users["carol"])
    html = page(world, "carol", "/").html
    assert "Board" in html
    assert "Announcements" not in html
    services.members.set_part(world.room("acme/board"), world.users["carol"], Part.BANNED)
    assert "Acme" not in page(world, "carol", "/").html


def test_a_suspended_tenant_is_gone(world: World) -> None:
    services.tenants.update(world.acme, active=False)
    assert "Acme" not in page(world, "alice", "/").html
    assert world.alice.get("/t/acme/general/").status_code == 404


@override_settings(ROOMS={"PUBLIC_READ": True})
def test_nobody_reads_a_public_room_where_the_site_allows_it(world: World) -> None:
    world.say("alice", "welcome", "acme/lobby")
    shown = Page(Client().get("/t/acme/lobby/"))
    assert shown.texts == ["welcome"]
    assert (shown.said, shown.hidden["composer"]) == (["logged-out"], True)
    assert shown.room["user-id"] == ""
    assert f'<a href="{LOGIN}?next=/t/acme/lobby/">' in shown.html
    assert Client().get("/t/acme/general/").status_code == 302


# --- what stands in a room's page


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "</p></li></ol><script>alert(1)</script>",
        "{{ 1 }}{% now %}",
        "&amp; &lt; &#13;",
        "  outer \t whitespace \n\n",
        "\n\rCR and\r\nCRLF\r",
        "\x01\x02\x07\x1b[31m\x7f\x85\xa0\u200b\u202e\u2028\ufeff",
        "naïve 日本語 👩‍👩‍👧 \U000e0001",
    ],
)
def test_text_is_text(world: World, text: str) -> None:
    before = page(world, "alice", "/t/acme/general/")
    world.say("alice", text)
    shown = page(world, "alice", "/t/acme/general/")
    assert shown.texts == [text]
    assert "\r" not in shown.html, "a browser's parser would make it a line feed"
    item = ["li", "a", "div", "div", *["p"] * 7, "bdi", "bdi", "time", *["span"] * 6, *["button"] * 2]
    assert sorted(shown.tags) == sorted([*before.tags, *item])


def test_names_are_text(world: World) -> None:
    world.users["bob"].first_name = world.acme.name = "<script>"
    world.users["bob"].save()
    world.acme.save()
    services.rooms.update(world.room("acme/general"), name='"><script>')
    world.say("bob", "hello")
    for path in ("/", "/t/acme/general/"):
        assert page(world, "bob", path).tags.count("script") == 2  # what the page is for, and the people beside it


def test_the_page_has_the_newest_messages_in_order_and_the_places_of_the_deleted_ones(world: World) -> None:
    messages = [world.say("alice", f"message {number}") for number in range(pages.HISTORY + 5)]
    world.alice.delete(f"tenants/acme/rooms/general/messages/{messages[-1]['id']}/")
    world.alice.patch(f"tenants/acme/rooms/general/messages/{messages[-2]['id']}/", {"text": "edited"})
    shown = page(world, "bob", "/t/acme/general/")
    assert shown.texts == [f"message {number}" for number in range(5, pages.HISTORY + 3)] + ["edited"]
    last = messages[-1]["id"]
    (item,) = re.findall(rf'<li class="message deleted[^"]*" id="m-{last}".*?</li>', shown.html, re.DOTALL)
    assert re.search(r'data-part="text" dir="auto" hidden></p>', item)
    assert re.search(r'data-part="deleted">This message was deleted\.', item)
    assert all(re.search(rf'data-part="{part}"[^>]* hidden>', item) for part in ("edited", "quote", "reactions"))
    (address,) = re.findall(r'data-older><a href="([^"]+)"', shown.html)
    older = page(world, "bob", address)
    assert re.findall(r'data-part="text" dir="auto">(.*?)</p>', older.html) == [f"message {n}" for n in range(5)]


def test_the_cursor_was_taken_before_the_rows_were_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    position = log.position

    def look_then_speak(room: Any) -> Any:
        found = position(room)
        world.say("bob", "said in between")
        return found

    world.say("bob", "said before")
    head = world.room("acme/general").log.head
    monkeypatch.setattr(log, "position", look_then_speak)
    shown = page(world, "alice", "/t/acme/general/")
    assert shown.room["cursor"] == f"{world.room('acme/general').log.epoch}:{head}"
    assert shown.texts == ["said before", "said in between"]


def test_the_page_of_a_person_who_left_still_shows_what_they_said(world: World) -> None:
    world.say("dave", "goodbye")
    world.users["dave"].delete()
    assert "Someone who left" in page(world, "alice", "/t/acme/general/").html


@pytest.mark.parametrize(
    ("name", "room", "why"),
    [
        ("alice", "general", None),
        ("bob", "general", None),
        ("erin", "general", "listener"),
        ("erin", "lobby", None),
        ("alice", "announcements", None),
        ("bob", "announcements", "moderators"),
    ],
)
def test_who_cannot_write_reads_why(world: World, name: str, room: str, why: str | None) -> None:
    shown = page(world, name, f"/t/acme/{room}/")
    assert shown.hidden["composer"] == (why is not None)
    assert shown.said == ([why] if why else [])


def test_an_archived_room_can_be_read(world: World) -> None:
    world.say("alice", "the end")
    services.rooms.update(world.room("acme/general"), archived=True)
    shown = page(world, "alice", "/t/acme/general/")
    assert (shown.texts, shown.said) == (["the end"], ["archived"])
    assert "archived" in shown.room
    assert "archived" in page(world, "alice", "/").html


def test_moderators_have_a_room_of_their_own(world: World) -> None:
    assert page(world, "alice", "/t/acme/general~mods/").room["room"] == "acme/general~mods"
    assert world.bob.get("/t/acme/general~mods/").status_code == 404


@pytest.mark.parametrize("path", ["/", "/t/acme/general/", "/t/acme/nothing/", LOGIN])
def test_pages_hold_nothing_inline_and_are_kept_by_nobody(world: World, path: str) -> None:
    answer = (Client() if path == LOGIN else world.alice.client).get(path)
    html = answer.content.decode()
    assert re.findall(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=|javascript:", html) == []
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "no-store" in answer["Cache-Control"]


# --- what stands with a message


def test_the_page_has_answers_and_reactions(world: World) -> None:
    first = world.say("alice", "a <question>")
    answer = world.bob.post("tenants/acme/rooms/general/messages/", {"text": "an answer", "reply_to": first["id"]})
    assert answer.status_code == 201
    for name in ("alice", "bob"):
        data = {"message": first["id"], "emoji": "👍"}
        commands.perform(world.users[name].pk, "chat.react", data, room="acme/general", id=contract.new_command_id())
    html = page(world, "erin", "/t/acme/general/").html
    assert f'href="#m-{first["id"]}"' in html
    assert "a &lt;question&gt;</span></a>" in html
    users = f"{world.id('alice')} {world.id('bob')}"
    button = 'class="reaction" data-emoji="👍" data-users="{}" aria-pressed="{}"{}>👍 2</button>'
    assert button.format(users, "false", " disabled") in html
    assert button.format(users, "true", "") in page(world, "bob", "/t/acme/general/").html
    world.alice.delete(f"tenants/acme/rooms/general/messages/{first['id']}/")
    assert "a deleted message" in page(world, "bob", "/t/acme/general/").html


def test_how_far_everybody_has_read_is_told_in_rooms_that_are_not_large(world: World, settings: Any) -> None:
    seq = [Message.objects.get(pk=world.say("alice", text)["id"]).seq for text in ("one", "two")]
    for name, mark in (("bob", seq[1]), ("erin", seq[0])):
        commands.perform(world.users[name].pk, "chat.read", {"seq": mark}, room="acme/general")
    marks = '<li data-user="{}" data-seq="{}">'
    html = page(world, "alice", "/t/acme/general/").html
    assert html.index(marks.format(world.id("bob"), seq[1])) < html.index(marks.format(world.id("erin"), seq[0]))
    assert "data-seq" not in re.sub(r"<ol>.*?</ol>", "", page(world, "alice", "/t/acme/lobby/").html, flags=re.DOTALL)
    settings.ROOMS = {**settings.ROOMS, "ROSTER_LIMIT": 2}
    assert marks.format(world.id("bob"), seq[1]) not in page(world, "alice", "/t/acme/general/").html


def test_older_messages_have_pages_of_their_own(world: World) -> None:
    for number in range(pages.HISTORY + 5):
        world.say("alice", f"message {number}")
    newest = page(world, "bob", "/t/acme/general/")
    address = re.findall(r'data-older><a href="([^"]+)"', newest.html)[0]
    older = page(world, "bob", address)
    assert re.findall(r'data-part="text" dir="auto">(.*?)</p>', older.html) == [f"message {n}" for n in range(5)]
    assert re.search(r"data-older hidden><a", older.html)
    assert older.room == {}, "it does not go on live"
    assert world.carol.get(address).status_code == 404
    for nonsense in ("-1", "x", "9" * 40, "1%00"):
        assert page(world, "bob", f"/t/acme/general/?before={nonsense}").room["room"] == "acme/general"


def test_who_goes_on_is_not_named_again(world: World) -> None:
    first = world.say("alice", "first")
    for name, text in (("alice", "at once"), ("alice", "later"), ("bob", "another"), ("bob", "on"), ("bob", "and on")):
        world.say(name, text)
    world.bob.post("tenants/acme/rooms/general/messages/", {"text": "an answer", "reply_to": first["id"]})
    Message.objects.filter(text__in=["first", "at once"]).update(created_at=timezone.now() - timedelta(minutes=6))
    deleted = Message.objects.get(text="on")
    world.bob.delete(f"tenants/acme/rooms/general/messages/{deleted.pk}/")
    html = page(world, "bob", "/t/acme/general/").html
    items = re.findall(r'<li class="([^"]+)" id.*?data-part="text"[^>]*>(.*?)</p>', html, re.DOTALL)
    assert [text for classes, text in items if "goes-on" in classes] == ["at once", ""]
    assert len(items) == 7


def test_pages_of_rooms_come_compressed(world: World) -> None:
    for path in ("/", "/t/acme/general/"):
        answer = world.alice.client.get(path, headers={"Accept-Encoding": "gzip"})
        assert answer["Content-Encoding"] == "gzip"
        assert b"<!doctype html>" in gzip.decompress(answer.content)


@pytest.mark.parametrize("limit", [200, 1])
def test_what_one_has_read_is_known_in_small_rooms_and_in_large_ones(world: World, limit: int) -> None:
    with override_settings(ROOMS={"ROSTER_LIMIT": limit}):
        assert "read" not in page(world, "bob", "/t/acme/general/").room
        head = services_head(world)
        world.say("alice", "hello")
        assert 'class="unread"' in page(world, "bob", "/").html
        assert 'class="unread"' not in page(world, "alice", "/").html, "one's own words are not news"
        commands.perform(world.users["bob"].pk, "chat.read", {"seq": head + 1}, room="acme/general")
        assert page(world, "bob", "/t/acme/general/").room["read"] == str(head + 1)
        assert 'class="unread"' not in page(world, "bob", "/").html


def services_head(world: World) -> int:
    """Where the log of general stands."""
    head: int = world.room("acme/general").log.head
    return head


# --- the tag


@pytest.mark.parametrize("as_row", [False, True])
def test_the_tag_shows_a_room_on_any_page(world: World, as_row: bool) -> None:
    world.say("alice", "hello")
    request = RequestFactory().get("/desk/")
    request.user = world.users["bob"]
    room = world.room("acme/general") if as_row else "acme/general"
    html = Template("{% load rooms %}{% live_room room %}").render(RequestContext(request, {"room": room}))
    assert '<live-room room="acme/general"' in html
    assert re.search(r"<h2 [^>]*>General</h2>", html)
    assert ">hello</p>" in html
    assert re.findall(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", html) == []


def test_the_tag_tells_nobody_of_a_room_that_is_not_theirs(world: World) -> None:
    def shown(user: Any, address: str) -> str:
        request = RequestFactory().get("/desk/")
        request.user = user
        return Template("{% load rooms %}{% live_room room %}").render(RequestContext(request, {"room": address}))

    for user in (world.users["carol"], AnonymousUser()):
        hidden = shown(user, "acme/board")
        assert hidden == shown(user, "nowhere/at-all") == shown(user, "nonsense")
        assert "There is no room here for you." in hidden
        assert ("Log in" in hidden) == user.is_anonymous
    without = Template("{% load rooms %}{% live_room 'acme/general' %}").render(Context())
    assert "There is no room here for you." in without


# --- what it costs


def test_a_room_costs_the_same_whatever_is_in_it(world: World, django_assert_num_queries: Any) -> None:
    alice = world.alice
    for _ in range(2):
        # the gate, the room, its log's place, the messages, what was read, how many people it is for, how far they read
        with django_assert_num_queries(SESSION + 7):
            Page(alice.get("/t/acme/general/"))
        for name in ("alice", "bob", "ann"):
            world.say(name, "hello")


def test_my_rooms_cost_the_same_however_many_they_are(world: World, django_assert_num_queries: Any) -> None:
    alice = world.alice
    for number in range(2):
        # the tenants, my roles, the last words, what was read, who is where; in each tenant its rooms and the gate
        with django_assert_num_queries(SESSION + 5 + 2):
            Page(alice.get("/"))
        services.rooms.create(world.acme, f"more-{number}", name="More")
    services.members.set_role(world.globex, world.users["alice"], Role.GUEST)
    with django_assert_num_queries(SESSION + 5 + 4):
        Page(alice.get("/"))


def test_a_page_reads_one_tenant_only(world: World) -> None:
    world.say("carol", "a secret of globex", "globex/general")
    for path in ("/", "/t/acme/general/"):
        assert "globex" not in page(world, "alice", path).html.lower()


# --- errors


def test_a_broken_page_is_in_the_same_style(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(room: Any) -> Any:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(log, "position", fail)
    client = Client(raise_request_exception=False)
    client.force_login(world.users["alice"])
    answer = client.get("/t/acme/general/")
    assert answer.status_code == 500
    assert b"Something broke" in answer.content
    assert b"on purpose" not in answer.content


def test_a_form_without_its_token_is_refused_in_words(world: World) -> None:
    answer = Client(enforce_csrf_checks=True).post(LOGIN, {"username": "alice", "password": "demo"})
    assert answer.status_code == 403
    assert b"Please try again" in answer.content


def test_a_site_without_pages_of_its_own_gets_whole_documents(world: World) -> None:
    engine = {**settings.TEMPLATES[0], "DIRS": []}
    with override_settings(TEMPLATES=[engine]):
        shown = page(world, "alice", "/t/acme/general/")
    assert shown.html.lstrip().startswith("<!doctype html>")
    assert shown.room["room"] == "acme/general"

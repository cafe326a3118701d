"""What REST shows, a page at a time and in few statements."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from rooms import commands, contract, log, services
from rooms.models import Room
from tests.support.world import Rest

SESSION = 2  # statements: the session and its user
GENERAL = "tenants/acme/rooms/general/"


def pages(person: Any, path: str, link: str = "next") -> list[list[Any]]:
    """The results of this page and of all that its links lead to."""
    found = []
    while path:
        answer = person.get(path)
        assert answer.status_code == 200, answer.content
        found.append(answer.json()["results"])
        parts = urlsplit(answer.json()[link] or "")
        path = f"{parts.path}?{parts.query}" if parts.path else ""
    return found


class TestTenants:
    def test_a_person_sees_the_tenants_they_are_in_with_their_role(self, world):
        assert world.dave.get("tenants/").json() == {
            "results": [
                {"slug": "acme", "name": "Acme", "role": "member"},
                {"slug": "globex", "name": "Globex", "role": "member"},
            ],
            "next": None,
            "previous": None,
        }
        assert world.alice.get("tenants/acme/").json() == {"slug": "acme", "name": "Acme", "role": "owner"}

    def test_a_suspended_tenant_is_not_there(self, world):
        services.tenants.update(world.acme, active=False)
        assert [row["slug"] for row in world.dave.get("tenants/").json()["results"]] == ["globex"]
        assert world.dave.get("tenants/acme/").status_code == 404

    def test_nobody_in_particular_is_told_to_log_in_alike_for_what_is_there_and_what_is_not(self, world):
        answers = [Rest().get(path) for path in ("tenants/", "tenants/acme/", "tenants/nope/", f"{GENERAL}messages/")]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.content for answer in answers}) == 1
        assert answers[0].json() == {"code": "unauthenticated", "detail": "Log in to do this.", "temporary": False}
        assert answers[0]["WWW-Authenticate"]


class TestMembers:
    def test_members_read_who_the_members_are(self, world):
        answer = world.erin.get("tenants/acme/members/")
        assert [(row["user"]["name"], row["role"]) for row in answer.json()["results"]] == [
            ("alice", "owner"), ("ann", "admin"), ("bob", "member"), ("erin", "guest"), ("dave", "member"),
        ]  # fmt: skip
        assert world.erin.get(f"tenants/acme/members/{world.id('bob')}/").json() == {
            "user": {"id": world.id("bob"), "name": "bob"},
            "role": "member",
        }

    @pytest.mark.parametrize("id", ["0", "007", " 1", "1 ", "+1", "-1", "1_0", "٣", "x", "None", "9" * 40, "9" * 5000])
    def test_an_id_that_is_no_members_is_not_found(self, world, id):
        for path, role in ((f"tenants/acme/members/{id}/", "guest"), (f"{GENERAL}members/{id}/", "speaker")):
            answer = world.alice.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
            assert world.alice.delete(path).status_code in (400, 404)  # an id above 64 characters is bad_data
            assert world.alice.put(path, {"role": role}).status_code in (400, 404)

    def test_the_people_with_a_part_in_a_room(self, world):
        answer = world.bob.get("tenants/acme/rooms/board/members/")
        assert [(row["user"]["name"], row["role"]) for row in answer.json()["results"]] == [
            ("alice", "moderator"),
            ("bob", "speaker"),
        ]
        assert world.bob.get(f"tenants/acme/rooms/board/members/{world.id('alice')}/").json()["role"] == "moderator"
        assert world.bob.get(f"tenants/acme/rooms/board/members/{world.id('erin')}/").status_code == 404


class TestRooms:
    def test_each_sees_the_rooms_that_they_may_read(self, world):
        def slugs(name):
            return [row["slug"] for row in getattr(world, name).get("tenants/acme/rooms/").json()["results"]]

        assert slugs("alice") == slugs("bob") == ["announcements", "board", "general", "lobby"]
        assert slugs("erin") == slugs("dave") == ["announcements", "general", "lobby"]

    def test_a_room_shows_where_its_log_stands(self, world):
        room = world.room("acme/general")
        assert world.bob.get(GENERAL).json() == {
            "slug": "general",
            "tenant": "acme",
            "name": "General",
            "visibility": "tenant",
            "read_only": False,
            "archived": False,
            "epoch": room.log.epoch,
            "head": room.log.head,
        }

    def test_rooms_that_are_there_by_themselves_are_read_by_their_names(self, world):
        assert world.bob.get("tenants/acme/rooms/~all/").json()["slug"] == "~all"
        assert world.bob.get("tenants/acme/rooms/~me/").json()["slug"] == "~me"
        assert world.alice.get("tenants/acme/rooms/general~mods/").json()["slug"] == "general~mods"
        assert world.bob.get("tenants/acme/rooms/general~mods/").status_code == 404

    def test_no_spelling_but_its_owners_leads_to_a_me(self, world):
        log.append(world.room(f"acme/~me.{world.id('bob')}"), "room.announcement", {"text": "for bob alone"})
        for person in (world.alice, world.bob, world.carol):
            for spelling in (f"~me.{world.id('bob')}", f"%7Eme.{world.id('bob')}", "~me.", "~ME", "~me~mods"):
                for rest in ("", "events/", "messages/", "members/"):
                    assert person.get(f"tenants/acme/rooms/{spelling}/{rest}").status_code == 404
        assert [data["text"] for _, data, _ in world.events("bob", "acme/~me")] == ["for bob alone"]
        assert world.events("alice", "acme/~me") == []

    def test_pages_of_rooms_go_forward_and_back_and_lose_none_when_rooms_come_and_go(self, world):
        for number in range(12):
            services.rooms.create(world.globex, f"r{number:02}", name="R")
        expected = ["general", *(f"r{number:02}" for number in range(12))]
        found = pages(world.carol, "tenants/globex/rooms/?limit=5")
        assert [[row["slug"] for row in page] for page in found] == [expected[:5], expected[5:10], expected[10:]]

        first = world.carol.get("tenants/globex/rooms/?limit=5").json()
        Room.objects.filter(tenant=world.globex, slug="general").delete()
        services.rooms.create(world.globex, "a-new-one", name="A")
        second = world.carol.get(first["next"].partition("/api/")[2]).json()
        assert [row["slug"] for row in second["results"]] == expected[5:10]
        back = pages(world.carol, second["previous"].partition("/api/")[2], "previous")
        assert [[row["slug"] for row in page] for page in back] == [["a-new-one", *expected[1:5]]]


class TestMessages:
    def test_messages_come_newest_first_as_events_show_them(self, world):
        said = [world.say("bob", f"line {number}") for number in range(3)]
        answer = world.erin.get(f"{GENERAL}messages/").json()
        assert answer["results"] == said[::-1]
        assert [
            data["message"] for name, data, _ in world.events("erin", "acme/general") if name == "chat.message"
        ] == said
        one = world.erin.get(f"{GENERAL}messages/{said[0]['id']}/")
        assert (one.json(), one["ETag"]) == (said[0], '"1"')

    def test_pages_of_messages_have_each_once_while_people_talk(self, world):
        said = [world.say("bob", str(number))["id"] for number in range(7)]
        first = world.bob.get(f"{GENERAL}messages/?limit=3").json()
        world.say("bob", "in between")
        rest = pages(world.bob, first["next"].partition("/api/")[2])
        found = [*first["results"], *(row for page in rest for row in page)]
        assert [row["id"] for row in found] == said[::-1]
        assert first["previous"] is None

    def test_a_page_has_fifty_and_at_most_two_hundred(self, world):
        alice = world.users["alice"].pk
        said = [contract.request("chat.send", {"text": "x"}, room="acme/general", id=f"{n:016}") for n in range(210)]
        commands.perform_many([commands.Command(alice, request) for request in said])
        assert len(world.bob.get(f"{GENERAL}messages/").json()["results"]) == 50
        assert len(world.bob.get(f"{GENERAL}messages/?limit=200").json()["results"]) == 200
        assert len(world.bob.get(f"{GENERAL}messages/?limit=100000").json()["results"]) == 200

    def test_deleted_messages_are_left_out(self, world):
        gone, stays = world.say("bob", "gone"), world.say("bob", "stays")
        assert world.bob.delete(f"{GENERAL}messages/{gone['id']}/").status_code == 204
        assert world.bob.get(f"{GENERAL}messages/").json()["results"] == [stays]
        assert world.bob.get(f"{GENERAL}messages/{gone['id']}/").status_code == 404

    def test_the_moderators_have_messages_of_their_own(self, world):
        said = world.say("alice", "between us", "acme/general~mods")
        assert world.alice.get("tenants/acme/rooms/general~mods/messages/").json()["results"] == [said]
        assert world.bob.get("tenants/acme/rooms/general~mods/messages/").status_code == 404


class TestEvents:
    def test_the_log_after_a_seq_as_its_readers_got_it(self, world):
        world.say("bob", "one"), world.say("bob", "two")
        room = world.room("acme/general")
        answer = world.bob.get(f"{GENERAL}events/?after={room.log.head - 1}&limit=200").json()
        assert {**answer, "events": None} == {
            "epoch": room.log.epoch,
            "floor": 0,
            "head": room.log.head,
            "events": None,
        }
        ((name, data, meta),) = answer["events"]
        assert (name, data["message"]["text"]) == ("chat.message", "two")
        assert {**meta, "at": None} == {
            "room": "acme/general", "seq": room.log.head, "by": world.id("bob"), "at": None,
        }  # fmt: skip

    def test_limit_counts_from_the_cursor_on(self, world):
        events = world.events("bob", "acme/general")
        assert world.bob.get(f"{GENERAL}events/?after=1&limit=1").json()["events"] == events[1:2]
        assert world.bob.get(f"{GENERAL}events/?after=999999").json()["events"] == []

    def test_the_rooms_that_are_there_by_themselves_have_logs_too(self, world):
        assert {name for name, _, _ in world.events("erin", "acme/~all")} >= {"room.created", "member.added"}
        assert world.events("bob", "acme/~me") == []
        assert world.events("alice", "acme/general~mods") == []

    def test_nothing_of_a_private_room_is_told_to_everybody(self, world):
        told = world.erin.get("tenants/acme/rooms/~all/events/?limit=1000").content
        assert b"board" not in told
        assert b"general" in told


class TestPublicRooms:
    @pytest.fixture(autouse=True)
    def _public(self, settings):
        settings.ROOMS = {**settings.ROOMS, "PUBLIC_READ": True}

    def test_nobody_in_particular_reads_public_rooms_where_the_site_lets_them(self, world):
        said = world.say("bob", "welcome", "acme/lobby")
        nobody = Rest()
        assert nobody.get("tenants/acme/rooms/lobby/messages/").json()["results"] == [said]
        assert nobody.post("tenants/acme/rooms/lobby/messages/", {"text": "hi"}).status_code == 401
        hidden = [nobody.get(f"tenants/acme/rooms/{slug}/") for slug in ("general", "board", "nope", "~all", "~me")]
        assert {(answer.status_code, answer.content) for answer in hidden} == {(401, hidden[0].content)}
        assert nobody.get("tenants/acme/rooms/").status_code == 401
        assert nobody.get("tenants/").json()["results"] == []

    def test_somebody_of_another_tenant_reads_them_and_no_more(self, world):
        assert world.carol.get("tenants/acme/rooms/lobby/").status_code == 200
        assert world.carol.post("tenants/acme/rooms/lobby/messages/", {"text": "hi"}).status_code == 403
        assert world.carol.get("tenants/acme/rooms/general/").status_code == 404


@pytest.mark.parametrize(
    ("path", "address"),
    [
        (f"{GENERAL}messages/", "acme/general"),
        (f"{GENERAL}members/", "acme/general"),
        ("tenants/acme/rooms/", "acme/~all"),
        ("tenants/acme/members/", "acme/~all"),
        ("tenants/acme/rooms/general~mods/messages/", "acme/general~mods"),
    ],
)
def test_a_list_that_can_be_followed_says_from_where(world, path, address):
    world.say("bob", "hello")
    room = world.room(address)
    assert world.alice.get(path)["Live-Cursor"] == f"{address}@{room.log.epoch}:{room.log.head}"


def test_a_list_that_cannot_be_followed_says_nothing(world):
    assert "Live-Cursor" not in world.alice.get("tenants/")


def test_live_cursor_is_taken_before_the_rows_so_what_happens_in_between_is_not_missed(world, monkeypatch):
    """A message that is posted after the cursor was taken and before the rows are read is after the cursor."""
    positions = log.positions
    posted = []

    def then_somebody_speaks(rooms):
        found = positions(rooms)
        if not posted:
            posted.append(None)
            posted[0] = world.say("bob", "in between")
        return found

    monkeypatch.setattr(log, "positions", then_somebody_speaks)
    answer = world.erin.get(f"{GENERAL}messages/")
    seq = int(answer["Live-Cursor"].rpartition(":")[2])
    after = [data["message"] for _, data, _ in world.events("erin", "acme/general", seq)]
    assert after == posted
    assert answer.json()["results"] == posted  # twice is harmless: ids and versions show it


def test_live_cursor_of_a_list_of_rooms_and_members_is_before_their_rows_too(world, monkeypatch):
    for path in ("tenants/acme/rooms/", "tenants/acme/members/"):
        positions, done = log.positions, []

        def then_something_changes(rooms, positions=positions, done=done):
            found = positions(rooms)
            if not done:
                done.append(True)
                services.rooms.create(world.acme, f"new-{Room.objects.count()}", name="New")
            return found

        monkeypatch.setattr(log, "positions", then_something_changes)
        seq = int(world.alice.get(path)["Live-Cursor"].rpartition(":")[2])
        monkeypatch.undo()
        assert [name for name, _, _ in world.events("alice", "acme/~all", seq)] == ["room.created"]


@pytest.mark.parametrize(
    ("path", "statements"),
    [
        ("tenants/", 1),
        ("tenants/acme/", 1 + 1),
        ("tenants/acme/members/", 1 + 1 + 1),
        ("tenants/acme/rooms/", 1 + 1 + 1 + 2),  # the gate, the cursor, the tenant; the rooms and what each may do
        (GENERAL, 1 + 1),
        (f"{GENERAL}members/", 1 + 1 + 1),
        (f"{GENERAL}messages/", 1 + 1 + 1),
        (f"{GENERAL}events/", 1 + 1),
    ],
)
def test_a_read_is_few_statements_however_much_there_is(world, path, statements, django_assert_num_queries):
    def grow():
        for name in ("alice", "bob", "dave"):
            services.members.set_part(world.room("acme/general"), world.users[name], "moderator")
            world.say(name, "hello")
        services.rooms.create(world.acme, f"more-{Room.objects.count()}", name="More", by=world.users["alice"])

    person = world.alice
    for _ in range(2):
        grow()
        with django_assert_num_queries(SESSION + statements):
            assert person.get(path).status_code == 200


def test_answers_are_json_whatever_is_asked_for_and_are_not_kept(world):
    answer = world.alice.get(GENERAL, Accept="text/html")
    assert (answer["Content-Type"], answer["Cache-Control"]) == ("application/json", "no-store")
    assert world.alice.get(f"{GENERAL}?format=xml").status_code == 200

"""Every write is a command: its event in the same transaction, and one effect an Idempotency-Key."""

from __future__ import annotations

from typing import Any

import pytest

from rooms import log, models, services
from rooms.contract import new_command_id

ACME = "tenants/acme/"
ALL = "acme/~all"
GENERAL = f"{ACME}rooms/general/"
BOARD = f"{ACME}rooms/board/"


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# --- each write and its event ----------------------------------------------------------------------------------------


class TestMessages:
    def test_a_message_is_answered_with_the_object_and_told_in_the_room(self, world):
        text = "  \t kept to the byte \x03\u2028 \U0001f600 "
        answer = world.bob.post(f"{GENERAL}messages/", {"text": text})
        message = answer.json()
        assert answer.status_code == 201
        assert message["text"] == text
        assert message["author"] == {"id": world.id("bob"), "name": "bob"}
        assert (message["version"], message["reply_to"], answer["ETag"]) == (1, None, '"1"')
        name, data, meta = world.events("bob", "acme/general")[-1]
        assert (name, data, meta["by"]) == ("chat.message", {"message": message}, world.id("bob"))

    def test_a_reply_names_the_message_that_it_answers(self, world):
        first = world.say("bob", "question")
        answer = world.alice.post(f"{GENERAL}messages/", {"text": "answer", "reply_to": first["id"]})
        assert answer.json()["reply_to"] == first["id"]
        elsewhere = world.say("bob", "elsewhere", "acme/lobby")
        bad = world.alice.post(f"{GENERAL}messages/", {"text": "answer", "reply_to": elsewhere["id"]})
        assert refused(bad) == (404, "not_found")

    def test_an_edit_is_a_new_version(self, world):
        message = world.say("bob", "helo")
        answer = world.bob.patch(f"{GENERAL}messages/{message['id']}/", {"text": "hello"})
        assert (answer.status_code, answer["ETag"]) == (200, '"2"')
        assert answer.json() == {**message, "text": "hello", "version": 2}
        name, data, _ = world.events("bob", "acme/general")[-1]
        assert (name, data) == ("chat.edited", {"message": answer.json()})

    def test_a_delete_takes_the_text_out_of_the_log(self, world):
        message = world.say("bob", "a secret")
        assert world.bob.delete(f"{GENERAL}messages/{message['id']}/").content == b""
        assert b"a secret" not in world.bob.get(f"{GENERAL}events/?limit=1000").content
        name, data, _ = world.events("bob", "acme/general")[-1]
        assert (name, data) == ("chat.deleted", {"message": {"id": message["id"], "version": 2, "deleted": True}})

    def test_who_may_do_what(self, world):
        message = world.say("bob", "mine")
        path = f"{GENERAL}messages/{message['id']}/"
        assert refused(world.alice.patch(path, {"text": "yours"})) == (403, "forbidden")
        assert refused(world.dave.delete(path)) == (403, "forbidden")
        assert refused(world.erin.post(f"{GENERAL}messages/", {"text": "a guest"})) == (403, "forbidden")
        assert refused(world.bob.post(f"{ACME}rooms/announcements/messages/", {"text": "x"})) == (403, "forbidden")
        assert world.alice.delete(path).status_code == 204
        assert refused(world.alice.delete(path)) == (404, "not_found")


class TestRooms:
    def test_a_new_room_is_told_to_everybody(self, world):
        answer = world.ann.post(f"{ACME}rooms/", {"slug": "kitchen", "name": "Kitchen"})
        room = answer.json()
        assert answer.status_code == 201
        assert room == world.bob.get(f"{ACME}rooms/kitchen/").json()
        assert (room["visibility"], room["read_only"], room["archived"]) == ("tenant", False, False)
        name, data, meta = world.events("erin", ALL)[-1]
        assert (name, data["slug"], meta["by"]) == ("room.created", "kitchen", world.id("ann"))
        assert refused(world.ann.post(f"{ACME}rooms/", {"slug": "kitchen", "name": "Again"})) == (409, "conflict")

    def test_a_change_is_told_to_everybody_and_no_change_to_nobody(self, world):
        answer = world.alice.patch(GENERAL, {"name": "The general", "read_only": True})
        assert (answer.status_code, answer.json()["name"], answer.json()["read_only"]) == (200, "The general", True)
        assert world.events("bob", ALL)[-1][0] == world.events("bob", "acme/general")[-1][0] == "room.updated"
        before = len(world.events("bob", ALL))
        assert world.alice.patch(GENERAL, {"name": "The general"}).status_code == 200
        assert world.alice.patch(GENERAL, {}).status_code == 200
        assert len(world.events("bob", ALL)) == before

    def test_an_archived_room_is_read_and_not_written_until_it_is_opened_again(self, world):
        assert world.alice.patch(GENERAL, {"archived": True}).json()["archived"] is True
        assert world.events("bob", ALL)[-1][0] == "room.archived"
        assert refused(world.bob.post(f"{GENERAL}messages/", {"text": "x"})) == (403, "forbidden")
        assert world.alice.patch(GENERAL, {"archived": False}).json()["archived"] is False
        world.say("bob", "back")

    def test_who_may_do_what(self, world):
        for person in (world.bob, world.erin):
            assert refused(person.post(f"{ACME}rooms/", {"slug": "x", "name": "X"})) == (403, "forbidden")
            assert refused(person.patch(GENERAL, {"name": "X"})) == (403, "forbidden")
        assert refused(world.alice.patch(f"{ACME}rooms/~all/", {"name": "X"})) == (403, "forbidden")
        assert refused(world.alice.patch(f"{ACME}rooms/~me/", {"name": "X"})) == (403, "forbidden")
        assert refused(world.alice.patch(f"{ACME}rooms/general~mods/", {"name": "X"})) == (403, "forbidden")


class TestMembers:
    def test_a_new_member_is_told_to_everybody(self, world):
        answer = world.ann.post(f"{ACME}members/", {"user": world.id("carol"), "role": "guest"})
        assert answer.status_code == 201
        assert answer.json() == {"user": {"id": world.id("carol"), "name": "carol"}, "role": "guest"}
        name, data, _ = world.events("bob", ALL)[-1]
        assert (name, data) == ("member.added", answer.json())
        assert world.carol.get(GENERAL).status_code == 200

    @pytest.mark.parametrize("method", ["put", "patch"])
    def test_another_role(self, world, method):
        answer = world.ann(method, f"{ACME}members/{world.id('erin')}/", {"role": "member"})
        assert (answer.status_code, answer.json()["role"]) == (200, "member")
        assert world.events("bob", ALL)[-1][:2] == ["member.changed", answer.json()]
        assert refused(world.ann(method, f"{ACME}members/{world.id('erin')}/", {})) == (400, "bad_data")

    def test_the_end_of_a_membership(self, world):
        assert world.ann.delete(f"{ACME}members/{world.id('erin')}/").status_code == 204
        assert world.events("bob", ALL)[-1][0] == "member.removed"
        assert world.erin.get(GENERAL).status_code == 404
        assert refused(world.ann.delete(f"{ACME}members/{world.id('erin')}/")) == (404, "not_found")

    def test_who_may_do_what(self, world):
        erin, alice = f"{ACME}members/{world.id('erin')}/", f"{ACME}members/{world.id('alice')}/"
        assert refused(world.bob.put(erin, {"role": "owner"})) == (403, "forbidden")
        assert refused(world.bob.delete(erin)) == (403, "forbidden")
        assert refused(world.ann.put(erin, {"role": "owner"})) == (403, "forbidden")
        assert refused(world.ann.put(alice, {"role": "guest"})) == (403, "forbidden")
        assert refused(world.alice.delete(alice)) == (403, "forbidden")  # the last owner


class TestParticipants:
    def test_a_part_is_told_in_that_room_only(self, world):
        everybody = world.events("bob", ALL)
        answer = world.alice.post(f"{BOARD}members/", {"user": world.id("erin"), "role": "listener"})
        assert (answer.status_code, answer.json()["role"]) == (201, "listener")
        assert world.events("bob", "acme/board")[-1][:2] == ["member.added", answer.json()]
        assert world.events("bob", ALL) == everybody
        assert world.erin.get(BOARD).status_code == 200

    @pytest.mark.parametrize("method", ["put", "patch"])
    def test_another_part_and_its_end(self, world, method):
        path = f"{BOARD}members/{world.id('bob')}/"
        assert world.alice(method, path, {"role": "moderator"}).json()["role"] == "moderator"
        assert world.events("bob", "acme/board")[-1][0] == "member.changed"
        assert world.alice.delete(path).status_code == 204
        assert world.events("alice", "acme/board")[-1][0] == "member.removed"
        assert world.bob.get(BOARD).status_code == 404

    def test_who_may_do_what(self, world):
        path = f"{BOARD}members/{world.id('bob')}/"
        assert refused(world.bob.put(path, {"role": "moderator"})) == (403, "forbidden")
        assert refused(world.alice.post(f"{BOARD}members/", {"user": world.id("carol")})) == (404, "not_found")
        assert refused(world.alice.post(f"{ACME}rooms/~all/members/", {"user": world.id("bob")})) == (403, "forbidden")

    def test_a_moderator_who_shuts_themselves_out_is_told_that_it_was_done(self, world):
        services.members.set_part(world.room("acme/board"), world.users["bob"], "moderator")
        answer = world.bob.put(f"{BOARD}members/{world.id('bob')}/", {"role": "banned"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert world.bob.get(BOARD).status_code == 404


def test_a_tenant_is_renamed_by_those_who_manage_it(world):
    assert world.ann.patch(ACME, {"name": "Acme & Sons"}).json() == {
        "slug": "acme", "name": "Acme & Sons", "role": "admin",
    }  # fmt: skip
    assert refused(world.bob.patch(ACME, {"name": "Bob's"})) == (403, "forbidden")
    name, data, _ = world.ann.get(f"{ACME}rooms/~all/events/?limit=1000").json()["events"][-1]
    assert (name, data["slug"], data["name"]) == ("room.updated", "~all", "Acme & Sons")


# --- state + events = fresh state ------------------------------------------------------------------------------------


def fold(state: dict[str, Any], events: list[Any]) -> dict[str, Any]:
    """The rows by their keys, changed as a client would by these events."""
    for name, data, _ in events:
        match name:
            case "chat.message" | "chat.edited":
                state[data["message"]["id"]] = data["message"]
            case "chat.deleted":
                state.pop(data["message"]["id"], None)
            case "room.created" | "room.updated" | "room.archived":
                state[data["slug"]] = {**data, "head": None}
            case "member.added" | "member.changed":
                state[data["user"]["id"]] = data
            case "member.removed":
                state.pop(data["user"]["id"], None)
    return state


def snapshot(person: Any, path: str) -> tuple[dict[str, Any], int]:
    answer = person.get(f"{path}?limit=200")
    rows = {}
    for row in answer.json()["results"]:
        key = row.get("id") or row.get("slug") or row["user"]["id"]
        rows[key] = {**row, "head": None} if "head" in row else row
    return rows, int(answer["Live-Cursor"].rpartition(":")[2])


def test_a_list_and_the_events_after_its_cursor_are_the_list_as_it_is_then(world):
    kept, gone = world.say("bob", "kept"), world.say("bob", "gone")
    rooms, members, parts, messages = f"{ACME}rooms/", f"{ACME}members/", f"{BOARD}members/", f"{GENERAL}messages/"
    before = {path: snapshot(world.alice, path) for path in (rooms, members, parts, messages)}

    world.bob.patch(f"{messages}{kept['id']}/", {"text": "edited"})
    world.alice.delete(f"{messages}{gone['id']}/")
    world.say("alice", "new")
    world.alice.post(rooms, {"slug": "kitchen", "name": "Kitchen"})
    world.alice.patch(f"{rooms}lobby/", {"name": "The lobby"})
    world.alice.patch(f"{rooms}announcements/", {"archived": True})
    world.alice.put(f"{members}{world.id('carol')}/", {"role": "guest"})
    world.alice.put(f"{members}{world.id('erin')}/", {"role": "member"})
    world.alice.delete(f"{members}{world.id('dave')}/")
    world.alice.put(f"{parts}{world.id('erin')}/", {"role": "listener"})
    world.alice.put(f"{parts}{world.id('bob')}/", {"role": "moderator"})
    world.alice.delete(f"{parts}{world.id('alice')}/")

    told = {
        rooms: (ALL, "room."),
        members: (ALL, "member."),
        parts: ("acme/board", "member."),
        messages: ("acme/general", "chat."),
    }
    for path, (state, seq) in before.items():
        address, kind = told[path]
        events = [event for event in world.events("alice", address, seq) if event[0].startswith(kind)]
        assert events
        assert fold(state, events) == snapshot(world.alice, path)[0], path


# --- nothing of what failed ------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_write_that_fails_changes_nothing_and_announces_nothing(world, announced, monkeypatch):
    announced.clear()
    before = {room.address: room.log.head for room in models.Room.objects.select_related("tenant", "log")}

    def fails(*args, **kwargs):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(log.Batch, "flush", fails)
    for method, path, data in (
        ("post", f"{GENERAL}messages/", {"text": "lost"}),
        ("post", f"{ACME}rooms/", {"slug": "lost", "name": "Lost"}),
        ("put", f"{ACME}members/{world.id('erin')}/", {"role": "member"}),
        ("put", f"{BOARD}members/{world.id('erin')}/", {"role": "speaker"}),
    ):
        assert refused(world.alice(method, path, data)) == (503, "unavailable")
    monkeypatch.undo()

    assert announced == []
    assert {room.address: room.log.head for room in models.Room.objects.select_related("tenant", "log")} == before
    assert not models.Message.objects.exists()
    assert not models.CommandResult.objects.exists()
    assert world.erin.get(GENERAL).status_code == 200
    assert world.erin.get(BOARD).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_write_is_announced_once_with_the_bytes_that_the_log_has(world, announced):
    announced.clear()
    world.say("bob", "hello")
    (notice,) = announced
    (entry,) = notice.entries
    room = world.room("acme/general")
    assert (notice.room, notice.head, entry.name) == (room.pk, room.log.head, "chat.message")
    assert log.read(room.pk, room.log.head - 1, 1).entries[0].vector == entry.vector


# --- one effect an Idempotency-Key -----------------------------------------------------------------------------------

WRITES = [
    ("post", f"{GENERAL}messages/", {"text": "once"}, {"text": "twice"}),
    ("patch", f"{GENERAL}messages/{{message}}/", {"text": "edited"}, {"text": "otherwise"}),
    ("delete", f"{GENERAL}messages/{{message}}/", None, None),
    ("patch", ACME, {"name": "Once"}, {"name": "Twice"}),
    ("post", f"{ACME}rooms/", {"slug": "once", "name": "Once"}, {"slug": "twice", "name": "Twice"}),
    ("patch", GENERAL, {"name": "Once"}, {"name": "Twice"}),
    ("post", f"{ACME}members/", {"user": "{carol}"}, {"user": "{carol}", "role": "admin"}),
    ("put", f"{ACME}members/{{erin}}/", {"role": "member"}, {"role": "admin"}),
    ("delete", f"{ACME}members/{{erin}}/", None, None),
    ("post", f"{BOARD}members/", {"user": "{erin}"}, {"user": "{erin}", "role": "banned"}),
    ("patch", f"{BOARD}members/{{bob}}/", {"role": "moderator"}, {"role": "banned"}),
    ("delete", f"{BOARD}members/{{bob}}/", None, None),
]


@pytest.fixture
def fill(world):
    """Ids of people and of a message of alice's in place of their names."""
    ids = {name: world.id(name) for name in world.users} | {"message": world.say("alice", "a message")["id"]}

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fill(item) for name, item in value.items()}
        return value.format(**ids) if isinstance(value, str) else value

    return fill


def heads() -> dict[Any, int]:
    return dict(models.RoomLog.objects.values_list("room", "head"))


@pytest.mark.parametrize(("method", "path", "data", "other"), WRITES)
def test_a_repeat_of_any_write_is_answered_alike_and_done_once(world, fill, key, method, path, data, other):
    path, data, other = fill(path), fill(data), fill(other)
    first = world.alice(method, path, data, Idempotency_Key=key)
    assert first.status_code in (200, 201, 204), first.content
    after = heads()
    elsewhere = world.alice  # another client: another session
    again = elsewhere(method, path, data, Idempotency_Key=key)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert heads() == after

    if other is not None:
        assert refused(world.alice(method, path, other, Idempotency_Key=key)) == (409, "id_reused")
        assert heads() == after


def test_the_same_key_is_another_in_another_persons_hands(world, key):
    for person in (world.alice, world.bob):
        assert person.post(f"{GENERAL}messages/", {"text": "hi"}, Idempotency_Key=key).status_code == 201
    assert models.Message.objects.count() == 2


def test_the_same_key_for_another_room_is_reused(world, key):
    world.bob.post(f"{GENERAL}messages/", {"text": "hi"}, Idempotency_Key=key)
    answer = world.bob.post(f"{ACME}rooms/lobby/messages/", {"text": "hi"}, Idempotency_Key=key)
    assert refused(answer) == (409, "id_reused")


def test_without_a_key_a_repeat_is_another_message(world):
    assert world.say("bob", "hi")["id"] != world.say("bob", "hi")["id"]


@pytest.mark.parametrize("bad", ["", "short", "x" * 65, "no spaces in here", "ünïcödé-ünïcödé", 'a"quoted"key-of-16'])
def test_a_key_that_is_none_is_bad_data(world, bad):
    answer = world.bob.post(f"{GENERAL}messages/", {"text": "hi"}, Idempotency_Key=bad)
    assert refused(answer) == (400, "bad_data")
    assert not models.Message.objects.exists()


def test_what_was_refused_may_be_said_again_with_its_key(world, key):
    services.rooms.update(world.room("acme/general"), archived=True)
    assert world.bob.post(f"{GENERAL}messages/", {"text": "hi"}, Idempotency_Key=key).status_code == 403
    services.rooms.update(world.room("acme/general"), archived=False)
    assert world.bob.post(f"{GENERAL}messages/", {"text": "hi"}, Idempotency_Key=key).status_code == 201


def test_a_repeat_shows_the_object_as_it_is_now(world, key):
    def send():
        return world.bob.post(f"{GENERAL}messages/", {"text": "first"}, Idempotency_Key=key)

    message = send().json()
    world.bob.patch(f"{GENERAL}messages/{message['id']}/", {"text": "second"})
    assert (send().status_code, send().json()) == (201, {**message, "text": "second", "version": 2})
    world.bob.delete(f"{GENERAL}messages/{message['id']}/")
    gone = {name: value for name, value in message.items() if name != "text"}
    assert (send().status_code, send().json()) == (201, {**gone, "version": 3, "deleted": True})


def test_a_repeat_is_answered_when_the_right_was_lost_meanwhile_and_shows_nothing_new(world, key):
    def send():
        return world.bob.post(f"{BOARD}messages/", {"text": "first"}, Idempotency_Key=key)

    first = send()
    world.bob.patch(f"{BOARD}messages/{first.json()['id']}/", {"text": "second"})
    services.members.remove_part(world.room("acme/board"), world.users["bob"])
    assert world.bob.get(BOARD).status_code == 404
    assert (send().status_code, send().json()) == (201, first.json())


def test_a_repeat_whose_object_is_out_of_sight_was_done_and_shows_nothing(world, key):
    def create():
        return world.ann.post(
            f"{ACME}rooms/", {"slug": "den", "name": "Den", "visibility": "private"}, Idempotency_Key=key
        )

    assert create().status_code == 201
    services.members.remove(world.acme, world.users["ann"])
    answer = create()
    assert (answer.status_code, answer.content) == (204, b"")


# --- If-Match --------------------------------------------------------------------------------------------------------


def test_if_match_guards_against_an_older_version(world):
    message = world.say("bob", "one")
    path = f"{GENERAL}messages/{message['id']}/"
    assert world.bob.patch(path, {"text": "two"}, If_Match='"1"').status_code == 200
    for stale in (
        world.bob.patch(path, {"text": "three"}, If_Match='"1"'),
        world.bob.delete(path, If_Match='"1"'),
        world.bob.delete(path, If_Match='"7"'),
    ):
        assert stale.status_code == 409
        assert stale.json() == {
            "code": "conflict", "detail": "A newer version of the message exists.", "temporary": False, "version": 2,
        }  # fmt: skip
    assert world.bob.patch(path, {"text": "three"}, If_Match="*").status_code == 200
    assert world.bob.delete(path, If_Match='"3"').status_code == 204


@pytest.mark.parametrize("bad", ["", "1", 'W/"1"', '"1", "2"', '"x"', '""', '"-1"', '"0"', '"9999999999"', '"٣"', '"1'])
def test_an_if_match_that_is_no_version_is_bad_data(world, bad):
    path = f"{GENERAL}messages/{world.say('bob', 'one')['id']}/"
    assert refused(world.bob.patch(path, {"text": "two"}, If_Match=bad)) == (400, "bad_data")
    assert refused(world.bob.delete(path, If_Match=bad)) == (400, "bad_data")
    assert world.bob.get(path).json()["version"] == 1


def test_a_repeat_with_another_if_match_is_other_content(world):
    path, key = f"{GENERAL}messages/{world.say('bob', 'one')['id']}/", new_command_id()
    assert world.bob.patch(path, {"text": "two"}, If_Match='"1"', Idempotency_Key=key).status_code == 200
    assert world.bob.patch(path, {"text": "two"}, If_Match='"1"', Idempotency_Key=key).status_code == 200
    assert refused(world.bob.patch(path, {"text": "two"}, If_Match='"2"', Idempotency_Key=key)) == (409, "id_reused")

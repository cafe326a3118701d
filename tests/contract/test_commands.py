"""An effect happens once for an id, wherever and however often it is asked for; its answer is the same each time."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.cells import Cell, Links, path
from tests.support.conversation import new_id
from tests.support.live_clients import TRANSPORTS


def texts(cell: Cell, room: str) -> list[str]:
    """What was said in the room, by its log."""
    return [data["message"]["text"] for name, data, _ in cell.history(room) if name == "chat.message"]


async def test_the_same_id_gets_the_same_answer_everywhere(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    id, data = new_id(), {"text": "once"}
    first = await client.ask("chat.send", data, room, id=id)
    assert first[0] == "live.ok"
    assert first[1].keys() == {"seq", "message", "version", "created_at"}
    assert await client.ask("chat.send", data, room, id=id) == first
    for by in TRANSPORTS:
        for node in cell.site.nodes:
            other = await links.open("bob", by=by, on=node)  # joined to nothing
            assert await other.ask("chat.send", data, room, id=id) == first
    rest = cell.rest("bob").post(path(room, "messages/"), json=data, headers={"Idempotency-Key": id})
    assert (rest.status_code, rest.json()["id"]) == (201, first[1]["message"])
    assert texts(cell, room) == ["once"]


async def test_an_idempotency_key_of_rest_is_the_id_of_a_command(links: Links, cell: Cell, room: str) -> None:
    id, data = new_id(), {"text": "by REST"}
    rest = cell.rest("bob").post(path(room, "messages/"), json=data, headers={"Idempotency-Key": id})
    client = await links.open("bob")
    name, answer, _ = await client.ask("chat.send", data, room, id=id)
    assert (name, answer["message"]) == ("live.ok", rest.json()["id"])
    assert texts(cell, room) == ["by REST"]


async def test_the_same_id_with_something_else_is_refused(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob")
    id, other_room = new_id(), cell.room()
    sent = await client.ask("chat.send", {"text": "one"}, room, id=id)
    for name, data, where in [
        ("chat.send", {"text": "two"}, room),
        ("chat.send", {"text": "one"}, other_room),
        ("chat.send", {"text": "one", "reply_to": sent[1]["message"]}, room),
        ("chat.delete", {"message": sent[1]["message"]}, room),
    ]:
        refused = await client.ask(name, data, where, id=id)
        assert (refused[0], refused[1]["code"]) == ("live.error", "id_reused")
    assert texts(cell, room) == ["one"]
    assert texts(cell, other_room) == []


async def test_what_means_the_same_is_the_same(links: Links, cell: Cell, room: str) -> None:
    """The content is compared as it was understood, not as it was written."""
    client = await links.open("bob")
    id = new_id()
    first = await client.ask("chat.send", {"text": "é"}, room, id=id)
    client.answers.clear()
    await client.say(f'[ ["chat.send", {{"reply_to":null,"text":"\\u00e9"}}, {{"id":"{id}","room":"{room}"}}] ]')
    await client.until(lambda: id in client.answers)
    assert client.answers[id] == first


async def test_an_id_is_the_persons_own(links: Links, cell: Cell, room: str) -> None:
    id, data = new_id(), {"text": "mine"}
    bob, alice = await links.open("bob"), await links.open("alice")
    one = await bob.ask("chat.send", data, room, id=id)
    other = await alice.ask("chat.send", data, room, id=id)
    assert one[0] == other[0] == "live.ok"
    assert one[1]["message"] != other[1]["message"]
    assert texts(cell, room) == ["mine", "mine"]


async def test_the_same_id_twice_in_one_frame_is_one_effect(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    id, last = new_id(), new_id()
    vector = ["chat.send", {"text": "once"}, {"room": room, "id": id}]
    await client.send(vector, vector, ["chat.send", {"text": "last"}, {"room": room, "id": last}])
    await client.until(lambda: last in client.answers)
    await client.hears(room, "last")
    assert client.texts(room) == ["once", "last"]
    assert [name for name, _, meta in client.vectors if meta.get("re") == id] == ["live.ok"] * 2


async def test_the_same_id_at_once_from_everywhere_is_one_effect(links: Links, cell: Cell, room: str) -> None:
    clients = [await links.open("bob", by=by, on=node) for by in TRANSPORTS for node in cell.site.nodes]
    id = new_id()
    answers = await asyncio.gather(*(client.ask("chat.send", {"text": "once"}, room, id=id) for client in clients))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == "live.ok"
    assert texts(cell, room) == ["once"]


async def test_commands_that_are_asked_again_in_another_order(links: Links, cell: Cell, room: str) -> None:
    client, again = await links.open("bob"), await links.open("bob")
    commands = [["chat.send", {"text": str(n)}, {"room": room, "id": new_id()}] for n in range(10)]
    ids = [meta["id"] for _, _, meta in commands]
    await client.send(*commands)
    await client.until(lambda: all(id in client.answers for id in ids))
    await again.send(*reversed(commands), *commands[:3])
    await again.until(lambda: all(id in again.answers for id in ids))
    assert again.answers.keys() >= set(ids)
    assert all(again.answers[id] == client.answers[id] for id in ids)
    assert texts(cell, room) == [str(number) for number in range(10)]


async def test_a_lost_answer_is_asked_for_again(links: Links, cell: Cell, room: str) -> None:
    """Whether the first one arrived or not, it has happened once when the second is answered."""
    ids = [new_id() for _ in range(5)]
    for number, id in enumerate(ids):
        vector = ["chat.send", {"text": str(number)}, {"room": room, "id": id}]
        client = await links.open("bob")
        await client.send_and_vanish(vector)
        again = await links.open("bob", on=cell.far)
        name, answer, _ = await again.ask(*vector[:2], room, id=id)
        assert name == "live.ok"
        assert answer["seq"] == cell.history(room)[-1][2]["seq"]
    assert texts(cell, room) == list("01234")


async def test_every_effect_happens_once(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("alice")
    message = cell.say("alice", room, "first")[0]
    for name, data in [
        ("chat.edit", {"message": message, "text": "second", "version": 1}),
        ("chat.react", {"message": message, "emoji": "👍"}),
        ("chat.delete", {"message": message}),
    ]:
        id = new_id()
        first = await client.ask(name, data, room, id=id)
        head = cell.cursor(room)
        assert first[0] == "live.ok"
        assert await client.ask(name, data, room, id=id) == first
        assert cell.cursor(room) == head


async def test_a_refused_command_may_be_sent_again(links: Links, cell: Cell) -> None:
    room = cell.room(read_only=True)
    client = await links.open("bob")
    id, data = new_id(), {"text": "at last"}
    assert (await client.ask("chat.send", data, room, id=id))[1]["code"] == "forbidden"
    assert cell.rest("alice").patch(path(room), json={"read_only": False}).status_code == 200
    assert (await client.ask("chat.send", data, room, id=id))[0] == "live.ok"
    assert texts(cell, room) == ["at last"]


async def test_an_answer_is_given_again_when_the_right_is_lost(links: Links, cell: Cell) -> None:
    room = cell.room(visibility="private")
    admit(cell, room, "bob")
    client = await links.open("bob")
    id, data = new_id(), {"text": "while I may"}
    first = await client.ask("chat.send", data, room, id=id)
    assert first[0] == "live.ok"
    assert cell.rest("alice").delete(path(room, f"members/{cell.user('bob')}/")).status_code == 204
    assert (await client.ask("chat.send", data, room))[1]["code"] == "not_found"
    assert await client.ask("chat.send", data, room, id=id) == first


def admit(cell: Cell, room: str, name: str, role: str = "speaker") -> None:
    answer = cell.rest("alice").put(path(room, f"members/{cell.user(name)}/"), json={"role": role})
    assert answer.status_code == 200, answer.text


async def test_commands_need_the_right_and_not_the_join(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob")
    assert (await client.ask("chat.send", {"text": "from outside"}, room))[0] == "live.ok"
    erin = await links.open("erin", {room: None})  # a guest: joined, and may not
    assert (await erin.ask("chat.send", {"text": "hm"}, room))[1]["code"] == "forbidden"
    carol = await links.open("carol")
    assert (await carol.ask("chat.send", {"text": "hm"}, room))[1]["code"] == "not_found"
    assert texts(cell, room) == ["from outside"]


async def test_what_has_no_answer_is_answered_when_it_has_an_id(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    seq = cell.say("alice", room, "one") and int(cell.cursor(room).partition(":")[2])
    quiet: list[Any] = [["chat.typing", {"typing": True}, {"room": room}], ["chat.read", {"seq": seq}, {"room": room}]]
    for name, data, meta in quiet:
        assert (await client.ask(name, data, meta["room"]))[:2] == ["live.ok", {}]
    answered = len(client.answers)
    await client.send(*quiet)
    await client.ask("chat.send", {"text": "after"}, room)
    assert len(client.answers) == answered + 1
    assert client.errors == []


async def test_a_newer_version_is_a_conflict_that_names_it(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("alice")
    message = cell.say("alice", room, "one")[0]
    await client.ask("chat.edit", {"message": message, "text": "two", "version": 1}, room)
    for name, more in (("chat.edit", {"text": "three"}), ("chat.delete", {})):
        refused = await client.ask(name, {"message": message, "version": 1, **more}, room)
        assert (refused[1]["code"], refused[1]["version"], refused[1]["temporary"]) == ("conflict", 2, False)

"""The same conversation in MessagePack: `live.v1.msgpack`."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.cells import Cell, Links
from tests.support.conversation import new_id
from tests.support.live_clients import Caller, LiveClient, Packed, Socket


@pytest.fixture
def kind() -> type[LiveClient]:
    return Packed


async def test_it_says_what_json_says(links: Links, cell: Cell, room: str) -> None:
    cursor = cell.cursor(room)
    clients = [await links.open("bob", {room: cursor}, by=by) for by in (Packed, Socket)]
    assert clients[0].socket.subprotocol == "live.v1.msgpack"
    writer = clients[0]
    id, data = new_id(), {"text": "Grüße 👋 \u2028"}
    first = await writer.ask("chat.send", data, room, id=id)
    assert first[0] == "live.ok"
    assert await clients[1].ask("chat.send", data, room, id=id) == first
    await writer.ask("chat.react", {"message": first[1]["message"], "emoji": "👍"}, room)
    await writer.ask("chat.edit", {"message": first[1]["message"], "text": "edited"}, room)
    cell.say("alice", room, "last")
    for client in clients:
        await client.hears(room, "last")
        assert client.of(room) == cell.history(room, cursor)


async def test_one_resumes_from_one_format_to_the_other(links: Links, cell: Cell, room: str) -> None:
    cursor = cell.cursor(room)
    client = await links.open("bob", {room: cursor})
    cell.say("alice", room, "one")
    await client.hears(room, "one")
    await client.drop()
    cell.say("alice", room, "two")
    again = await links.resume(client, by=Socket)
    await again.hears(room, "two")
    assert client.of(room) + again.of(room) == cell.history(room, cursor)


async def test_a_ticket_stands_beside_it(links: Links, cell: Cell) -> None:
    client = await links.open(Caller(ticket=cell.ticket("bob")))
    assert client.socket.subprotocol == "live.v1.msgpack"
    assert client.hello["user"]["id"] == cell.user("bob")


async def test_of_several_subprotocols_the_first_is_taken(links: Links, cell: Cell) -> None:
    client = await links.open("bob", by=Socket, subprotocols=["live.v1", "live.v1.msgpack"])
    assert client.socket.subprotocol == "live.v1"


HOSTILE = [
    ("text", "[]", "bad_frame"),
    ("empty", b"", "bad_frame"),
    ("cut off", msgspec.msgpack.encode([["chat.send", {"text": "x"}]])[:-1], "bad_frame"),
    ("more than one", b"\x90\x90", "bad_frame"),
    ("no array", msgspec.msgpack.encode({"a": 1}), "bad_frame"),
    ("an extension", msgspec.msgpack.encode([msgspec.msgpack.Ext(5, b"x")]), "bad_frame"),
    ("invalid UTF-8", b"\x91\x91\xa2\xff\xfe", "bad_frame"),
    ("10,000 deep", b"\x91" * 10_000 + b"\x90", "bad_frame"),
    ("33 deep", b"\x91" * 32 + b"\x90", "bad_frame"),
    ("a length that is a lie", b"\xdd\xff\xff\xff\xff", "bad_frame"),
    (
        "bytes for a text",
        msgspec.msgpack.encode([["chat.send", {"text": b"x"}, {"room": "acme/general", "id": "0123456789abcdef"}]]),
        "bad_frame",
    ),
    (
        "U+0000",
        msgspec.msgpack.encode([["chat.send", {"text": "\0"}, {"room": "acme/general", "id": "0123456789abcdef"}]]),
        "bad_data",
    ),
    (
        "a key that is a number",
        msgspec.msgpack.encode([["chat.send", {1: "x"}, {"room": "acme/general", "id": "0123456789abcdef"}]]),
        "bad_frame",
    ),
    ("a number for a name", msgspec.msgpack.encode([[7, {}]]), "bad_data"),
]


async def test_hostile_input_is_answered_and_harms_nothing(links: Links, room: str) -> None:
    for number, (what, message, code) in enumerate(HOSTILE):
        if number % 4 == 0:  # before the fifth broken frame
            client = await links.open("bob", {room: None})
        client.errors.clear()
        client.answers.clear()
        await client.say(message)
        await client.until(lambda: client.errors or client.answers)  # noqa: B023 it is awaited here
        error = client.errors[0] if client.errors else next(iter(client.answers.values()))[1]
        assert (what, error.get("code")) == (what, code)
        assert (await client.ask("chat.send", {"text": what}, room))[0] == "live.ok"

"""What is wrong is answered, and harms nothing: not the connection, not the next command."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.cells import Cell, Links
from tests.support.conversation import new_id
from tests.support.live_clients import STATUS, LiveClient

ROOM, ID = "@room@", "@id@"  # put in where the case runs


def command(name: str = "chat.send", data: Any = None, **meta: Any) -> str:
    meta = {"room": ROOM, "id": ID, **meta}
    meta = {key: value for key, value in meta.items() if value is not None}
    return json.dumps([[name, {"text": "x"} if data is None else data, meta]])


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


# of the whole frame: over HTTP a status
FRAMES: list[tuple[str, str, str]] = [
    ("cut off", '[["chat.send"', "bad_frame"),
    ("empty", "", "bad_frame"),
    ("no array", '{"a": 1}', "bad_frame"),
    ("a number", "1", "bad_frame"),
    ("two frames", "[] []", "bad_frame"),
    ("no JSON: NaN", '[["chat.send", {"text": NaN}]]', "bad_frame"),
    ("10,000 deep", nested(10_000), "bad_frame"),
    ("33 deep", nested(33), "bad_frame"),
    ("a lone surrogate", command(data={"text": "\ud800"}), "bad_frame"),
    ("a lone surrogate in a name", command("chat.\udfff"), "bad_frame"),
    ("100 KB", command(data={"text": "x" * 100_000}), "too_large"),
]
# of one vector: answered in its place
VECTORS: list[tuple[str, str, str]] = [
    ("no vector", "[1]", "bad_data"),
    ("an empty vector", "[[]]", "bad_data"),
    ("a vector without data", '[["chat.send"]]', "bad_data"),
    ("a vector of four", '[["chat.send", {}, {}, {}]]', "bad_data"),
    ("a name that is none", "[[7, {}]]", "bad_data"),
    ("data that is none", command(data=[]), "bad_data"),
    ("meta that is none", '[["chat.send", {"text": "x"}, []]]', "bad_data"),
    ("an unknown name", command("chat.shout"), "unknown_name"),
    ("an unknown name of the protocol", command("live.shout"), "unknown_name"),
    ("an event is no command", command("chat.message"), "unknown_name"),
    ("what only REST offers", command("room.create", {"slug": "x", "name": "x"}), "unknown_name"),
    ("an effect without an id", command(id=None), "id_required"),
    ("a short id", command(id="short"), "bad_data"),
    ("a long id", command(id="x" * 65), "bad_data"),
    ("an id with a blank", command(id="0123456789 abcdef"), "bad_data"),
    ("an id that is a number", command(id=12345678901234567890), "bad_data"),
    ("no room", command(room=None), "bad_data"),
    ("a room that is a number", command(room=7), "bad_data"),
    ("a wrong type", command(data={"text": 7}), "bad_data"),
    ("no text", command(data={"text": ""}), "bad_data"),
    ("nothing", command(data={}), "bad_data"),
    ("8,001 characters", command(data={"text": "x" * 8_001}), "bad_data"),
    ("an unknown field", command(data={"text": "x", "colour": 1}), "bad_data"),
    ("U+0000", command(data={"text": "a\0b"}), "bad_data"),
    ("U+0000 in a room", command(room="acme/\0"), "bad_data"),
    ("U+0000 in a field's name", command(data={"text": "x", "\0": 1}), "bad_data"),
    ("a seq beyond the database", command("chat.read", {"seq": 2**70}), "bad_data"),
    ("a negative seq", command("chat.read", {"seq": -1}), "bad_data"),
    ("an unknown room", command(room="acme/no-such-room"), "not_found"),
    ("a room that is no address", command(room=""), "not_found"),
]


@pytest.mark.parametrize("group", ["frames", "vectors"])
async def test_hostile_input_is_answered_and_harms_nothing(
    links: Links, cell: Cell, room: str, kind: type[LiveClient], group: str
) -> None:
    client: Any = None
    for number, (what, message, code) in enumerate(FRAMES if group == "frames" else VECTORS):
        if number % 4 == 0:  # before the fifth broken frame
            client = await links.open("bob", {room: None})
        client.errors.clear()
        client.answers.clear()
        await client.say(message.replace(ROOM, room).replace(ID, new_id()))
        await client.until(lambda: client.errors or client.answers)  # noqa: B023 it is awaited here
        error = client.errors[0] if client.errors else next(iter(client.answers.values()))[1]
        assert (what, error.get("code")) == (what, code)
        assert error["temporary"] is False
        assert error["detail"] and "acme" not in error["detail"]
        if kind.transport != "ws":
            assert client.statuses[-1] == (STATUS[code] if group == "frames" else 200)
        text = f"after {what}"
        assert (await client.ask("chat.send", {"text": text}, room))[0] == "live.ok"
        await client.hears(room, text)
    assert len(cell.history(room)) == len(VECTORS if group == "vectors" else FRAMES) + 2  # the room itself, and alice


async def test_a_malformed_vector_refuses_only_itself(links: Links, room: str) -> None:
    client = await links.open("bob", {room: None})
    first, second, broken = new_id(), new_id(), new_id()
    await client.send(
        ["chat.send", {"text": "one"}, {"room": room, "id": first}],
        ["chat.send", 7, {"room": room, "id": broken}],
        "not a vector",
        None,
        ["chat.send", {"text": "two"}, {"room": room, "id": second}],
    )
    await client.until(lambda: {first, second, broken} <= client.answers.keys() and len(client.errors) >= 2)
    assert [client.answers[id][0] for id in (first, broken, second)] == ["live.ok", "live.error", "live.ok"]
    assert [error["code"] for error in client.errors] == ["bad_data"] * 2
    await client.hears(room, "two")
    assert client.texts(room) == ["one", "two"]


async def test_a_frame_of_the_largest_size_is_taken(links: Links, room: str) -> None:
    client = await links.open("bob")
    largest = client.hello["max_frame_bytes"]
    for blanks, taken in ((0, True), (1, False)):
        client.errors.clear()
        id = new_id()
        message = json.dumps([["chat.send", {"text": f"{blanks}"}, {"room": room, "id": id}]])
        await client.say(message + " " * (largest - len(message) + blanks))
        await client.until(lambda: id in client.answers or client.errors)  # noqa: B023 it is awaited here
        assert (id in client.answers) is taken
        assert taken or client.errors[0]["code"] == "too_large"


async def test_an_error_says_where(links: Links, room: str) -> None:
    client = await links.open("bob")
    refused = await client.ask("chat.send", {"text": 7}, room)
    assert "$.text" in refused[1]["detail"]


async def test_refusals_of_absent_and_of_forbidden_rooms_are_one(links: Links, cell: Cell, room: str) -> None:
    private = cell.room(visibility="private")
    client = await links.open("bob")
    for name, data in [
        ("chat.send", {"text": "hello?"}),
        ("chat.edit", {"message": "1", "text": "x"}),
        ("chat.react", {"message": "1", "emoji": "👍"}),
        ("chat.read", {"seq": 1}),
        ("chat.typing", {}),
    ]:
        answers = [await client.ask(name, data, there) for there in (private, "acme/no-such-room", "no/where")]
        assert answers[0][:2] == answers[1][:2] == answers[2][:2]
        assert answers[0][1]["code"] == "not_found"

"""Joining, and what the verdict promises."""

from __future__ import annotations

import json

import pytest

from tests.support.cells import MAX_REPLAY, Cell, Links

NOBODYS = ["acme/no-such-room", "acme/~nothing", "nobody/nowhere", "nowhere", "", "acme/", "/general", "acme/a/b"]


async def test_without_a_cursor_events_follow_from_now_on(links: Links, cell: Cell, room: str) -> None:
    cell.say("alice", room, "before")
    client = await links.open("bob", {room: None})
    answer = client.joins[room][1]
    assert answer.keys() == {"room", "verdict", "cursor", "epoch", "head", "can"}
    assert (answer["room"], answer["verdict"]) == (room, "live")
    assert answer["cursor"] == f"{answer['epoch']}:{answer['head']}" == cell.cursor(room)
    assert answer["can"] == ["read", "write"]
    cell.say("alice", room, "after")
    await client.until(lambda: client.texts(room))
    assert client.texts(room) == ["after"]


async def test_with_a_cursor_all_that_was_missed_follows(links: Links, cell: Cell, room: str) -> None:
    cursor = cell.cursor(room)
    cell.say("alice", room, "one", "two", "three")
    client = await links.open("bob", {room: cursor})
    assert client.verdict(room) == "resumed"
    cell.say("alice", room, "four")
    await client.until(lambda: len(client.texts(room)) >= 4)
    assert client.of(room) == cell.history(room, cursor)
    assert client.texts(room) == ["one", "two", "three", "four"]


async def test_a_cursor_at_the_head_goes_on_without_a_word(links: Links, cell: Cell, room: str) -> None:
    cell.say("alice", room, "read already")
    client = await links.open("bob", {room: cell.cursor(room)})
    assert client.verdict(room) == "resumed"
    cell.say("alice", room, "new")
    await client.until(lambda: client.texts(room))
    assert client.texts(room) == ["new"]


@pytest.mark.parametrize("how", ["another epoch", "beyond the log", "far beyond the log"])
async def test_a_cursor_that_fits_no_history_is_reset(links: Links, cell: Cell, room: str, how: str) -> None:
    cell.say("alice", room, "one", "two")
    epoch, _, head = cell.cursor(room).partition(":")
    other = {
        "another epoch": f"{'0' * 16}:1",
        "beyond the log": f"{epoch}:{int(head) + 1}",
        "far beyond the log": f"{epoch}:{2**52}",
    }
    client = await links.open("bob", {room: other[how]})
    answer = client.joins[room][1]
    assert (answer["verdict"], answer["cursor"]) == ("reset", f"{epoch}:{head}")
    assert client.of(room) == []
    cell.say("alice", room, "three")
    await client.until(lambda: client.texts(room))
    assert client.texts(room) == ["three"]


async def test_more_than_max_replay_is_reset_and_not_a_part_of_it(links: Links, cell: Cell) -> None:
    room, cursor = long(cell)
    epoch, _, seq = cursor.partition(":")
    late = await links.open("bob", {room: cursor})
    assert (late.verdict(room), late.joins[room][1]["cursor"]) == ("reset", cell.cursor(room))
    just = await links.open("bob", {room: f"{epoch}:{int(seq) + 1}"})
    assert just.verdict(room) == "resumed"
    await just.until(lambda: len(just.texts(room)) >= MAX_REPLAY)
    assert just.texts(room) == [str(number) for number in range(1, MAX_REPLAY + 1)]
    assert late.of(room) == []


def long(cell: Cell) -> tuple[str, str]:
    """A room, and a cursor one event more than ``max_replay`` behind its head; made once for all transports."""
    if "long" not in cell.kept:
        room = cell.room()
        cursor = cell.cursor(room)
        cell.say("alice", room, *map(str, range(MAX_REPLAY + 1)))
        cell.kept["long"] = (room, cursor)
    found: tuple[str, str] = cell.kept["long"]
    return found


async def test_a_history_that_was_trimmed_is_reset(links: Links, cell: Cell) -> None:
    room, before, middle = trimmed(cell)
    client = await links.open("bob", {room: before})
    assert (client.verdict(room), client.joins[room][1]["cursor"]) == ("reset", cell.cursor(room))
    just = await links.open("bob", {room: middle})
    assert just.verdict(room) == "resumed"
    await just.until(lambda: len(just.texts(room)) >= 5)
    assert just.texts(room)[-5:] == ["5", "6", "7", "8", "9"]


def trimmed(cell: Cell) -> tuple[str, str, str]:
    """A room whose older half is gone, a cursor before that and one after; made once for all transports."""
    if "trimmed" not in cell.kept:
        room = cell.room()
        before = cell.cursor(room)
        cell.say("alice", room, *map(str, range(5)))
        middle = cell.cursor(room)
        cell.say("alice", room, *map(str, range(5, 10)))
        cell.trim(room, middle)
        cell.kept["trimmed"] = (room, before, middle)
    found: tuple[str, str, str] = cell.kept["trimmed"]
    return found


async def test_after_a_reset_the_snapshot_and_what_came_make_the_history(links: Links, cell: Cell, room: str) -> None:
    """The client's part: hold what comes, load a snapshot, drop held events at or below its cursor."""
    cell.say("alice", room, "one", "two")
    client = await links.open("bob", {room: f"{'0' * 16}:1"})
    assert client.verdict(room) == "reset"
    cell.say("alice", room, "three")
    answer = cell.rest("bob").get(f"/api/tenants/acme/rooms/{room.partition('/')[2]}/messages/")
    snapshot = [message["text"] for message in reversed(answer.json()["results"])]
    seen = int(answer.headers["Live-Cursor"].rpartition(":")[2])
    cell.say("alice", room, "four")
    await client.hears(room, "four")
    held = [data["message"]["text"] for _, data, meta in client.of(room) if meta["seq"] > seen]
    assert snapshot + held == ["one", "two", "three", "four"]


@pytest.mark.parametrize("who", ["bob", "carol"])
async def test_what_one_may_not_know_of_is_what_does_not_exist(links: Links, cell: Cell, who: str) -> None:
    private = cell.room(visibility="private")
    secret = [private, f"{private}~mods", "globex/general" if who == "bob" else "acme/general"]
    client = await links.open(who, [(room, None) for room in (*secret, *NOBODYS[:3])])
    answers = [client.joins[room] for room in (*secret, *NOBODYS[:3])]
    assert {name for name, _, _ in answers} == {"live.error"}
    assert len({json.dumps(data, sort_keys=True) for _, data, _ in answers}) == 1
    assert answers[0][1]["code"] == "not_found"
    assert "acme" not in answers[0][1]["detail"]


async def test_a_cursor_does_not_tell_that_a_room_exists(links: Links, cell: Cell) -> None:
    private = cell.room(visibility="private")
    for cursor in (cell.cursor(private), f"{'0' * 16}:1"):
        client = await links.open("bob", {private: cursor, "acme/no-such-room": cursor})
        assert client.joins[private][:2] == client.joins["acme/no-such-room"][:2]
        assert client.verdict(private) == "not_found"


@pytest.mark.parametrize("name", NOBODYS[3:])
async def test_a_name_that_is_no_address_is_not_found(links: Links, room: str, name: str) -> None:
    client = await links.open("bob", [(name, None), (room, None)])
    assert (client.verdict(name), client.verdict(room)) == ("not_found", "live")


@pytest.mark.parametrize(
    "cursor", ["nonsense", "nonsense:1", "e7a1", "e7a1:", ":1", "e7a1:-1", "e7a1:99999999999999999"]
)
async def test_a_malformed_cursor_is_bad_data_and_harms_no_other_room(
    links: Links, cell: Cell, room: str, cursor: str
) -> None:
    other = cell.room()
    client = await links.open("bob", {room: cursor, other: None})
    assert (client.verdict(room), client.verdict(other)) == ("bad_data", "live")
    cell.say("alice", room, "unheard")
    cell.say("alice", other, "heard")
    await client.until(lambda: client.texts(other))
    assert client.of(room) == []


async def test_several_rooms_on_one_connection(links: Links, cell: Cell) -> None:
    rooms = [cell.room() for _ in range(5)]
    cursors = {room: cell.cursor(room) for room in rooms}
    for room in rooms:
        cell.say("alice", room, f"before, in {room}")
    client = await links.open("bob", {**cursors, rooms[0]: None, "acme/~me": None, "acme/~all": None})
    for room in reversed(rooms):
        cell.say("alice", room, f"after, in {room}")
    await client.until(lambda: all(f"after, in {room}" in client.texts(room) for room in rooms))
    assert client.texts(rooms[0]) == [f"after, in {rooms[0]}"]
    for room in rooms[1:]:
        assert client.of(room) == cell.history(room, cursors[room])


async def test_a_room_that_is_named_twice_is_heard_once(links: Links, cell: Cell, room: str) -> None:
    """By the rules that each vector is held against: nothing comes twice."""
    cursor = cell.cursor(room)
    cell.say("alice", room, "before")
    client = await links.open("bob", [(room, cursor), (room, cursor)])
    cell.say("alice", room, "after")
    await client.hears(room, "after")
    cell.say("alice", room, "last")
    await client.hears(room, "last")
    assert client.texts(room)[-2:] == ["after", "last"]


async def test_rights_are_told_with_the_join(links: Links, cell: Cell) -> None:
    read_only = cell.room(read_only=True)
    assert (await links.open("bob", {read_only: None})).joins[read_only][1]["can"] == ["read"]
    assert "manage" in (await links.open("alice", {read_only: None})).joins[read_only][1]["can"]
    erin = await links.open("erin", {read_only: None})  # a guest
    assert erin.joins[read_only][1]["can"] == ["read"]


async def test_an_archived_room_is_not_joined(links: Links, cell: Cell, room: str) -> None:
    slug = room.partition("/")[2]
    assert cell.rest("alice").patch(f"/api/tenants/acme/rooms/{slug}/", json={"archived": True}).status_code == 200
    assert (await links.open("bob", {room: None})).verdict(room) == "forbidden"

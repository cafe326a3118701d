"""What is special to server-sent events: ids, comments, and rooms that come and go."""

from __future__ import annotations

import pytest

from tests.support.cells import Cell, Links
from tests.support.live_clients import LiveClient, Stream, cursors


@pytest.fixture
def kind() -> type[LiveClient]:
    return Stream


async def test_each_frame_after_the_joins_has_an_id_that_is_the_place(links: Links, cell: Cell) -> None:
    rooms = [cell.room(), cell.room()]
    start = {room: cell.cursor(room) for room in rooms}
    cell.say("alice", rooms[0], "before")
    client = await links.open("bob", start)
    for number in range(5):
        cell.say("alice", rooms[number % 2], str(number))
        await client.hears(rooms[number % 2], str(number))
        assert cursors(client.last_id) == {room: str(place) for room, place in client.places.items()}
    first = next(number for number, id in enumerate(client.ids) if id is not None)
    assert None not in client.ids[first:]
    for id in client.ids[first:]:
        assert cursors(id).keys() == set(rooms)


async def test_last_event_id_wins_over_the_query(links: Links, cell: Cell) -> None:
    """A browser opens the same address again: what stands in it is old."""
    known, unknown = cell.room(), cell.room()
    old = {room: cell.cursor(room) for room in (known, unknown)}
    for room in (known, unknown):
        cell.say("alice", room, "one")
    id = f"{known}@{cell.cursor(known)}"
    for room in (known, unknown):
        cell.say("alice", room, "two")
    client = await links.open("bob", old, last_event_id=id)
    for room in (known, unknown):
        await client.hears(room, "two")
    assert client.texts(known) == ["two"]
    assert client.texts(unknown) == ["one", "two"]


async def test_rooms_come_from_the_query_alone(links: Links, cell: Cell, room: str) -> None:
    other = cell.room()
    client = await links.open("bob", {room: None}, last_event_id=f"{other}@{cell.cursor(other)}")
    cell.say("alice", other, "unheard")
    cell.say("alice", room, "heard")
    await client.hears(room, "heard")
    assert other not in client.places
    assert cursors(client.last_id).keys() == {room}


async def test_a_room_that_was_left_is_in_no_id(links: Links, cell: Cell, room: str) -> None:
    gone = cell.room()
    client = await links.open("bob", {room: None, gone: None})
    answer = cell.rest("alice").patch(f"/api/tenants/acme/rooms/{gone.partition('/')[2]}/", json={"archived": True})
    assert answer.status_code == 200
    await client.until(lambda: any(vector[0] == "live.left" for vector in client.of(gone)))
    cell.say("alice", room, "after")
    await client.hears(room, "after")
    assert cursors(client.last_id).keys() == {room}


async def test_a_refused_room_leaves_the_others(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None, "acme/no-such-room": None})
    assert [client.verdict(there) for there in (room, "acme/no-such-room")] == ["live", "not_found"]
    assert {meta["re"] for name, _, meta in client.vectors[1:3]} == {room, "acme/no-such-room"}


async def test_comments_keep_a_silent_stream(links: Links, hasty: Cell) -> None:
    client = await links.open(hasty.caller("bob"), {hasty.room(): None}, on=hasty.near)
    await client.until(lambda: client.comments >= 2)
    assert client.bye is None


async def test_no_proxy_and_no_browser_keeps_a_stream(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    headers = client._response.headers
    assert headers["content-type"] == "text/event-stream"
    assert "no-cache" in headers["cache-control"] or "no-store" in headers["cache-control"]
    assert "access-control-allow-origin" not in headers


async def test_joined_to_nothing_for_too_long_is_idle(links: Links, hasty: Cell) -> None:
    client = await links.open(hasty.caller("bob"), {"acme/no-such-room": None}, on=hasty.near)
    assert await client.ended() == 4440

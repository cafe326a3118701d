"""Connections end in every way; who says where it was misses nothing and hears nothing twice."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.cells import Cell, Links
from tests.support.live_clients import TRANSPORTS, LiveClient, Socket
from tests.support.sites import Node


@pytest.fixture(params=TRANSPORTS, ids=lambda by: f"by-{by.transport}")
def by(request: pytest.FixtureRequest) -> type[LiveClient]:
    """The transport that goes on."""
    found: type[LiveClient] = request.param
    return found


async def test_after_a_lost_connection_one_goes_on_by_any_transport(
    links: Links, cell: Cell, room: str, by: type[LiveClient]
) -> None:
    cursor = cell.cursor(room)
    client = await links.open("bob", {room: cursor})
    cell.say("alice", room, "one", "two")
    await client.until(lambda: client.texts(room))
    await client.drop()
    cell.say("alice", room, "three", "four")
    again = await links.resume(client, by=by)
    assert again.verdict(room) == "resumed"
    cell.say("alice", room, "five")
    await again.hears(room, "five")
    assert client.of(room) + again.of(room) == cell.history(room, cursor)


async def test_one_goes_on_at_another_node(
    links: Links, cell: Cell, room: str, by: type[LiveClient], other_node: Node
) -> None:
    cursor = cell.cursor(room)
    client = await links.open("bob", {room: cursor})
    cell.say("alice", room, "one", "two")
    await client.until(lambda: client.texts(room))
    await client.drop()
    cell.say("alice", room, "three")
    again = await links.resume(client, on=other_node, by=by)
    assert again.verdict(room) == "resumed"
    assert (await again.ask("chat.send", {"text": "four"}, room))[0] == "live.ok"
    await again.hears(room, "four")
    assert client.of(room) + again.of(room) == cell.history(room, cursor)


async def test_the_same_cursor_gives_the_same_events_as_often_as_one_asks(links: Links, cell: Cell, room: str) -> None:
    cursor = cell.cursor(room)
    cell.say("alice", room, *"abcde")
    for node in cell.site.nodes * 2:
        client = await links.open("bob", {room: cursor}, on=node)
        await client.hears(room, "e")
        assert client.of(room) == cell.history(room, cursor)
        await client.drop()


async def test_a_connection_that_is_lost_again_and_again_in_a_flood(links: Links, cell: Cell) -> None:
    rooms = [cell.room(), cell.room()]
    start = {room: cell.cursor(room) for room in rooms}
    writer = await links.open("alice", by=Socket, on=cell.far)
    client = await links.open("bob", start)
    parts = [client]

    async def flood() -> None:
        for number in range(60):
            for room in rooms:
                assert (await writer.ask("chat.send", {"text": str(number)}, room))[0] == "live.ok"

    async def hear_a_little(client: LiveClient) -> None:
        heard = len(client.events)
        await client.until(lambda: len(client.events) >= heard + 5 or flooding.done())

    flooding = asyncio.create_task(flood())
    for round in range(6):
        await hear_a_little(client)
        await client.drop()
        client = await links.resume(client, on=cell.site.nodes[round % len(cell.site.nodes)])
        assert [client.verdict(room) for room in rooms] == ["resumed"] * 2
        parts.append(client)
    await flooding
    truth = {room: cell.history(room, start[room]) for room in rooms}
    for room in rooms:
        await client.catches_up(room, truth[room][-1][2]["seq"])
        assert [vector for part in parts for vector in part.of(room)] == truth[room]
        assert len(truth[room]) == 60


async def test_several_rooms_go_on_each_from_its_place(links: Links, cell: Cell) -> None:
    rooms = [cell.room() for _ in range(3)]
    start = {room: cell.cursor(room) for room in rooms}
    client = await links.open("bob", start)
    for room in rooms[:2]:
        cell.say("alice", room, "one")
    await client.until(lambda: all(client.texts(room) for room in rooms[:2]))
    await client.drop()
    for room in rooms[1:]:
        cell.say("alice", room, "two")
    again = await links.resume(client)
    await again.until(lambda: all("two" in again.texts(room) for room in rooms[1:]))
    cell.say("alice", rooms[0], "three")
    await again.until(lambda: "three" in again.texts(rooms[0]))
    for room in rooms:
        assert client.of(room) + again.of(room) == cell.history(room, start[room])

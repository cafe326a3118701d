"""Nodes die, are replaced, and notice who is gone. All transports at once: a start takes seconds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.cells import Cell, Links, metric
from tests.support.conversation import PATIENCE
from tests.support.live_clients import TRANSPORTS, LiveClient, Socket


@pytest.fixture
def kind() -> type[LiveClient]:
    return Socket


async def test_a_node_that_is_killed_costs_nothing_but_time(links: Links, cell: Cell, room: str) -> None:
    cursor = cell.cursor(room)
    clients = [await links.open("bob", {room: cursor}, by=by) for by in TRANSPORTS]
    cell.say("alice", room, "one", "two")
    for client in clients:
        await client.hears(room, "two")
    ends = [asyncio.create_task(client.ended()) for client in clients]
    await asyncio.to_thread(cell.near.kill)
    assert [code for code in await asyncio.gather(*ends) if code is not None] == [1006]
    if cell.far is not cell.near:
        cell.say("alice", room, "three, elsewhere")
    await asyncio.to_thread(cell.near.start)
    cell.say("alice", room, "four")
    again = [await links.resume(client) for client in clients]
    assert [client.verdict(room) for client in again] == ["resumed"] * 3
    cell.say("alice", room, "five")
    for before, after in zip(clients, again, strict=True):
        await after.hears(room, "five")
        assert before.of(room) + after.of(room) == cell.history(room, cursor)


async def test_a_node_that_is_replaced_tells_everybody(links: Links, cell: Cell, room: str) -> None:
    if cell.server == "daphne":
        pytest.skip("daphne cannot do this: it is for development")
    cursor = cell.cursor(room)
    clients = [await links.open("bob", {room: cursor}, by=by) for by in TRANSPORTS]
    cell.say("alice", room, "before")
    for client in clients:
        await client.hears(room, "before")
    ends = [asyncio.create_task(client.ended()) for client in clients]
    await settled(cell, 3)  # one that comes later is refused, and goes elsewhere
    stopping = asyncio.create_task(asyncio.to_thread(cell.near.stop))
    codes = await asyncio.gather(*ends, return_exceptions=True)
    await stopping
    await asyncio.to_thread(cell.near.start)
    assert codes == [4412] * 3
    for client in clients:
        assert client.vectors[-1][0] == "live.bye"
        assert client.bye["code"] == 4412
        assert client.bye["retry_after_ms"] >= 0
    cell.say("alice", room, "after")
    for client in clients:
        again = await links.resume(client)
        assert again.verdict(room) == "resumed"
        await again.hears(room, "after")
        assert client.of(room) + again.of(room) == cell.history(room, cursor)


@pytest.mark.parametrize("by", TRANSPORTS, ids=lambda by: by.transport)
async def test_a_client_that_vanishes_is_noticed(links: Links, cell: Cell, room: str, by: type[LiveClient]) -> None:
    await settled(cell, 0)
    clients: list[Any] = [await links.open("bob", {room: None}, by=by) for _ in range(3)]
    if by.transport != "poll":  # between two polls there is nobody
        await settled(cell, 3)
    for client in clients:
        await client.drop()
    await settled(cell, 0)


async def settled(cell: Cell, connections: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while metric(cell.near, "rooms_connections") != connections:
            await asyncio.sleep(0)  # nothing tells of it but the next look

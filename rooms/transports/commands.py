"""``POST /live/commands``: what is said beside a stream or a poll. A frame comes in, a frame of answers goes out."""

from __future__ import annotations

import asyncio
from typing import Any

from rooms import contract
from rooms.commands import Command, Outcome
from rooms.contract import Refused
from rooms.delivery.frames import frame
from rooms.delivery.session import answerable, parse_frame, split_vector
from rooms.node.hub import Hub
from rooms.node.writer import told
from rooms.transports.exchange import Exchange, endpoint


@endpoint("POST", "post")
async def commands(exchange: Exchange) -> None:
    hub = exchange.hub
    exchange.knock("commands_per_user")
    who = await exchange.admit()
    limit = hub.config.max_frame_bytes
    items = parse_frame(await exchange.body(limit), limit)
    user = who.user if who else None
    connection = exchange.query().get("connection", [None])[-1]
    answers: list[bytes | None] = []
    at_once = hub.config.max_calls
    for start in range(0, len(items), at_once):
        answers += await asyncio.gather(
            *(_answer(hub, user, connection, item) for item in items[start : start + at_once])
        )
    await exchange.answer(frame(answer for answer in answers if answer is not None))


async def _answer(hub: Hub, user: Any, connection: str | None, item: Any) -> bytes | None:
    """One vector's answer. Vectors that are asked about together are submitted in their order."""
    id = answerable(item)
    outcome: Outcome
    try:
        name, data, meta = split_vector(item)
        if name.startswith("live."):
            raise Refused("unknown_name", "There is no such command, or a WebSocket alone takes it.")
        request = contract.request(name, data, room=meta.get("room"), id=meta.get("id"), wire=True)
        outcome = await hub.submit(Command(user, request, connection=connection))
    except Refused as refused:
        outcome = refused
    return told(id, outcome)

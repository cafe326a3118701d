"""The WebSocket consumer.

It joins and leaves room groups through the hub, which holds one membership of each group a node: one layer channel a
socket would deep-copy and decode every event once for each of them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import msgspec
from channels.consumer import AsyncConsumer
from django.db import DatabaseError

from rooms import contract, identity, metrics, tickets
from rooms.commands import Command, Outcome
from rooms.conf import Config
from rooms.contract import FORBIDDEN, PROTOCOL_ERROR, UNAUTHENTICATED, Close, Refused
from rooms.delivery.frames import frame, vector
from rooms.delivery.session import Credit, Join, Leave, Perform, Say, Session, Shut, Terms, bye, error, ok
from rooms.identity import Identity
from rooms.node import running
from rooms.node.connection import Connection

logger = logging.getLogger(__name__)

SUBPROTOCOLS = ("live.v1",)
TICKET = "ticket."  # a subprotocol that is a ticket; never the one that is chosen
TRANSPORT = "ws"
UNAVAILABLE = Close(1011, "the site cannot serve this now")


class LiveConsumer(AsyncConsumer):
    """One WebSocket. Its conversation is a :class:`Session`; this carries it out.

    Channels' own dispatch awaits a thread hop for every message, so the loop here calls the session itself. Whatever
    ends it, the readers are taken out of their feeds: an exception in a handler skips ``websocket.disconnect``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.connection: Connection | None = None
        self.calls = 0  # commands under way
        self.call_ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive, self.send_message = scope, receive, send
        if (await receive())["type"] != "websocket.connect":
            return
        self.hub = running.start()
        code = 1006
        self.task = asyncio.current_task()
        metrics.connects.labels(TRANSPORT).inc()
        metrics.connections.labels(TRANSPORT).inc()
        try:
            code = await self.converse()
        except asyncio.CancelledError:
            if self.connection is None or self.connection.closed is None:
                raise  # else the client took nothing, not even our goodbye, and was given up
        finally:
            metrics.connections.labels(TRANSPORT).dec()
            if self.connection is not None:
                code = self.connection.closed.code if self.connection.closed else code
                self.hub.detach(self.connection)
                self.connection.lost()
            metrics.disconnects.labels(TRANSPORT, str(code)).inc()

    async def converse(self) -> int:
        """From the accept to the end; gives the client's close code."""
        try:
            subprotocol, who = await self.admit()
        except _Unwelcome as unwelcome:
            return await self.turn_away(unwelcome.close)
        await self.send_message({"type": "websocket.accept", "subprotocol": subprotocol})
        self.connection = connection = self.open(who)
        while True:
            message = await self.receive()
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or 1005)
            if connection.closed is None:
                data = message.get("text")
                await self.carry_out(connection, data if data is not None else message.get("bytes"))

    # --- the handshake

    async def admit(self) -> tuple[str, Identity | None]:
        offered = self.scope.get("subprotocols", [])
        subprotocol = next((name for name in offered if name in SUBPROTOCOLS), None)
        if subprotocol is None:
            raise _Unwelcome(PROTOCOL_ERROR)
        ticket = next((name.removeprefix(TICKET) for name in offered if name.startswith(TICKET)), None)
        who = None
        try:
            if ticket is not None:  # needs no Origin, and cookies beside it are ignored
                who = await self.hub.database.control(tickets.identify, ticket)
            elif key := identity.session_key(self.scope["headers"]):
                if not identity.is_own_origin(self.scope["headers"], secure=self.scope.get("scheme") == "wss"):
                    raise _Unwelcome(FORBIDDEN)
                who = await self.hub.database.control(identity.by_session, key)
        except DatabaseError as failed:
            logger.warning("nobody can be identified now: %r", failed)
            raise _Unwelcome(UNAVAILABLE) from failed
        if who is None and (ticket is not None or not self.hub.config.public_read):
            raise _Unwelcome(UNAUTHENTICATED)
        return subprotocol, who

    async def turn_away(self, close: Close) -> int:
        """A browser cannot read a refused handshake: accept it, say why, close."""
        offered = self.scope.get("subprotocols", [])
        known = next((name for name in offered if name in SUBPROTOCOLS), None)
        await self.send_message({"type": "websocket.accept", "subprotocol": known})
        await self.send_message({"type": "websocket.send", "text": frame([bye(close)]).decode()})
        await self.send_message({"type": "websocket.close", "code": close.code, "reason": close.reason})
        return close.code

    def open(self, who: Identity | None) -> Connection:
        config = self.hub.config
        flow = parse_qs(self.scope.get("query_string", b"").decode("latin-1")).get("flow", [""])[-1]
        terms = terms_of(config, acknowledging=flow == "ack")
        connection = Connection(
            self.hub,
            Session(terms, time.monotonic()),
            id=secrets.token_urlsafe(12),
            user=who.user if who else None,
            transport=TRANSPORT,
            send=self.send_frame,
            shut=self.shut,
            abandon=self.abandon,
        )
        self.hub.connections[connection.id] = connection
        connection.say(hello(connection, who, terms))
        return connection

    # --- the conversation

    async def carry_out(self, connection: Connection, data: str | bytes | None) -> None:
        for action in connection.session.receive(data, time.monotonic()):
            match action:
                case Credit():
                    connection.serve()
                case Perform(request):
                    while self.calls >= self.hub.config.max_calls:  # unread input waits in the socket
                        self.call_ended.clear()
                        await self.call_ended.wait()
                    self.calls += 1
                    future = self.hub.writer.submit(Command(connection.user, request))
                    future.add_done_callback(partial(self.answer, connection, request.id))
                case Say(said):
                    connection.say(said)
                    await connection.breathe()
                case Join():
                    await self.all_answered()
                    await self.join(connection, action)
                case Leave(id, reader):
                    await self.all_answered()
                    self.hub.leave(reader)
                    connection.session.rooms.pop(reader.grant.address, None)
                    connection.say(ok(id, {}))
                case Shut(close):
                    connection.close(close)
            if connection.closed is not None:
                return

    async def join(self, connection: Connection, wanted: Join) -> None:
        try:
            joined = await self.hub.join(connection, wanted.room, wanted.cursor, wanted.state)
        except Refused as refused:
            metrics.joins.labels(refused.code).inc()
            connection.say(error(refused, wanted.id))
            return
        if connection.closed is not None:
            self.hub.leave(joined.reader)
            return
        rooms = connection.session.rooms
        if wanted.room in rooms:  # nothing of the old subscription follows the new answer
            self.hub.leave(rooms[wanted.room])
        rooms[wanted.room] = joined.reader
        answer = {
            "room": wanted.room,
            "verdict": joined.verdict,
            "cursor": str(joined.cursor),
            "epoch": joined.cursor.epoch,
            "head": joined.head,
            "can": sorted(joined.reader.grant.can),
        }
        connection.say(ok(wanted.id, answer))
        self.hub.attach(joined.reader)

    def answer(self, connection: Connection, id: str | None, future: asyncio.Future[Outcome]) -> None:
        self.calls -= 1
        self.call_ended.set()
        if future.cancelled() or connection.closed is not None:
            return
        outcome = future.result()
        if isinstance(outcome, Refused):
            connection.say(error(outcome, id))
        elif id is not None and isinstance(outcome, bytes):
            connection.say(ok(id, msgspec.Raw(outcome)))

    async def all_answered(self) -> None:
        """Vectors are handled in order: what was asked before a join is done before it."""
        while self.calls:
            self.call_ended.clear()
            await self.call_ended.wait()

    # --- the transport

    async def send_frame(self, data: bytes) -> None:
        await self.send_message({"type": "websocket.send", "text": data.decode()})

    async def shut(self, close: Close) -> None:
        await self.send_message({"type": "websocket.close", "code": close.code, "reason": close.reason})

    def abandon(self) -> None:
        """The client takes nothing, not even the goodbye: stop waiting for its end of the conversation."""
        if self.task is not None:
            self.task.cancel()


class _Unwelcome(Exception):
    def __init__(self, close: Close) -> None:
        super().__init__(close)
        self.close = close


def terms_of(config: Config, *, acknowledging: bool) -> Terms:
    return Terms(
        window=config.window if acknowledging else None,
        max_frame_bytes=config.max_frame_bytes,
        max_rooms=config.max_rooms,
        heartbeat=config.heartbeat * random.uniform(0.9, 1.1),  # noqa: S311 so that a node's sockets do not beat as one
        heartbeat_grace=config.heartbeat_grace,
        stall_timeout=config.stall_timeout,
        idle_timeout=config.idle_timeout,
    )


def hello(connection: Connection, who: Identity | None, terms: Terms) -> bytes:
    config = connection.hub.config
    data = {
        "protocol": contract.PROTOCOL,
        "connection": connection.id,
        "user": who.person if who else None,
        "transport": connection.transport,
        "heartbeat_s": config.heartbeat,
        "window": terms.window,
        "max_frame_bytes": terms.max_frame_bytes,
        "max_rooms": terms.max_rooms,
        "time": datetime.now(UTC),
    }
    return vector("live.hello", data)

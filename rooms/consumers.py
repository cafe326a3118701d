"""The WebSocket consumer.

It joins and leaves room groups through the hub, which holds one membership of each group a node: one layer channel a
socket would deep-copy and decode every event once for each of them.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from channels.consumer import AsyncConsumer

from rooms import audit, devices, edge, identity, metrics
from rooms.addresses import client_address, home
from rooms.commands import Command, Outcome
from rooms.contract import (
    FORBIDDEN,
    PROTOCOL_ERROR,
    REPLACED,
    TOO_MUCH,
    UNAUTHENTICATED,
    Close,
    Refused,
    Request,
    replaced,
    too_much,
)
from rooms.delivery.frames import EXTENSION, FORMATS, JSON, WINDOW, Format, frame
from rooms.delivery.session import Credit, Join, Leave, Perform, Renew, Say, Session, Shut, bye, error, ok
from rooms.identity import Identity
from rooms.node import running
from rooms.node.admission import admit, hello, sit, terms_of
from rooms.node.connection import StreamingConnection
from rooms.node.pressure import Pressure
from rooms.node.seats import Seat
from rooms.node.writer import told

TOO_MANY = 429
ABUSE = Close(TOO_MUCH.code, "too much for too long", retry_after_ms=30_000)
AT_ONCE = 8  # refusals, about a millisecond of the loop
TICKET = "ticket."  # a subprotocol that is a ticket; never the one that is chosen
# Codes of the protocol's own: below 3000 daphne sends 1000 alone, and keeps the socket open otherwise.
UNAVAILABLE = Close(REPLACED.code, "the site cannot serve this now", retry_after_ms=1_000)
UNWELCOME = {"unauthenticated": UNAUTHENTICATED, "forbidden": FORBIDDEN, "unavailable": UNAVAILABLE}


class Socket(StreamingConnection):
    """``live.v1`` in text messages, ``live.v1.msgpack`` in binary ones."""

    __slots__ = ("_format",)

    transport = "ws"

    def __init__(self, *args: Any, format: Format, direct: Any, **options: Any) -> None:
        """:param direct: the server's, where it has one."""
        shape = format.encode if direct is None else format.message
        # What is said to one alone stays plain: it would be made for one, and its length should tell nothing of it.
        shared = format.squeezed if direct is not None and direct.window >= WINDOW else shape
        super().__init__(*args, shape=shape, shared=shared, direct=direct, **options)
        self._format = format
        if direct is not None:
            direct.hear(self.hear)

    def hear(self, data: bytes, is_text: bool) -> bool:
        """An acknowledgement alone is taken at once: some clients send one for each frame.

        What is wrong with one, the session says.
        """
        frames = self._format.acknowledged(data)
        if frames is None or is_text is not (self._format.kind is str) or self.closed or self.hub.draining:
            return False
        session = self.session
        assert isinstance(session, Session)
        if not session.acknowledge(frames, time.monotonic()):
            return False
        if self._behind:
            self.serve()
        return True


class LiveConsumer(AsyncConsumer):
    """One WebSocket. Its conversation is a :class:`Session`; this carries it out.

    Channels' own dispatch awaits a thread hop for every message, so the loop here calls the session itself. Whatever
    ends it, the readers are taken out of their feeds: an exception in a handler skips ``websocket.disconnect``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0  # commands under way
        self.call_ended: asyncio.Future[None] | None = None  # an event has a queue of 700 bytes
        self.refusals = 0
        self.pressure: Pressure | None = None  # since something was refused

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive, self.send_message = scope, receive, send
        if (await receive())["type"] != "websocket.connect":
            return
        audit.arrive("live", client_address(scope))
        self.hub = running.start()
        offered = scope.get("subprotocols", [])
        chosen = next((name for name in offered if name in FORMATS), None)
        self.format = FORMATS[chosen] if chosen else JSON
        address = home(client_address(scope))
        self.direct = scope.get("extensions", {}).get(EXTENSION, {}).get("socket")
        try:
            if chosen is None:
                raise Refused("bad_data", "The subprotocol is live.v1 or live.v1.msgpack.")
            self.hub.meter.handshake(address, time.monotonic())
            who = await self.admit(offered)
            seat = sit(self.hub, who, address)
        except Refused as refused:
            if refused.code == "rate_limited":
                await self.hub.doorstep.wait(address)
            await self.turn_away(chosen, refused)
            return
        with seat:
            await self.send_message({"type": "websocket.accept", "subprotocol": chosen})
            connection, greeting = self.open(who, seat)
            scope["headers"].clear()  # nobody asks for them any more, and of a browser they are kilobytes
            with self.hub.holding(connection):
                connection.say(greeting)
                del greeting
                try:
                    async with asyncio.timeout(None) as self.patience:
                        code = await self.converse(connection)
                except TimeoutError:
                    code = 1006
                if connection.closed is None:
                    connection.closed = Close(code, "the client closed")

    async def converse(self, connection: Socket) -> int:
        """To the end; gives the client's close code."""
        while True:
            message = await self.receive()
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or 1005)
            if connection.closed is None and not self.hub.draining:
                data = message.get("text")
                await self.carry_out(connection, data if data is not None else message.get("bytes"))
                del data
            del message  # else it is kept until the next one comes

    # --- the handshake

    async def admit(self, offered: list[str]) -> Identity | None:
        edge.refuse_plain(self.scope)
        ticket = next((name.removeprefix(TICKET) for name in offered if name.startswith(TICKET)), None)
        headers, secure = self.scope["headers"], edge.is_secure(self.scope)
        return await admit(
            self.hub, headers, ticket=ticket, is_own=partial(identity.is_own_origin, headers, secure=secure)
        )

    async def turn_away(self, subprotocol: str | None, refused: Refused) -> None:
        """A browser cannot read a refused handshake: accept it, say why, close."""
        close = too_much(refused) if refused.http == TOO_MANY else UNWELCOME.get(refused.code, PROTOCOL_ERROR)
        if self.hub.draining:
            close = replaced(refused.retry_after_ms or 0)
        metrics.refused.labels(Socket.transport, str(close.code)).inc()
        await self.send_message({"type": "websocket.accept", "subprotocol": subprotocol})
        await self.send_frame(self.format.encode(frame([bye(close)])))
        await self.shut(close)

    def open(self, who: Identity | None, seat: Seat) -> tuple[Socket, bytes]:
        """The connection, and what it is told first."""
        config = self.hub.config
        flow = parse_qs(self.scope.get("query_string", b"").decode("latin-1")).get("flow", [""])[-1]
        terms = terms_of(
            config,
            window=config.window if flow == "ack" else None,
            heartbeat=config.heartbeat * random.uniform(0.9, 1.1),  # noqa: S311 so that sockets do not beat as one
        )
        connection = Socket(
            self.hub,
            Session(terms, time.monotonic(), self.format),
            id=secrets.token_urlsafe(12),
            who=who,
            seat=seat,
            device=devices.device(self.scope["headers"]),
            format=self.format,
            direct=self.direct,
            send=self.send_frame if self.direct is None else self.write_frame,
            shut=self.shut,
            abandon=self.abandon,
        )
        return connection, hello(connection, who, terms)

    # --- the conversation

    async def carry_out(self, connection: Socket, data: str | bytes | None) -> None:
        session = connection.session
        assert isinstance(session, Session)
        for action in session.receive(data, time.monotonic()):
            match action:
                case Credit():
                    connection.serve()
                case Perform(request):
                    await self.perform(connection, request)
                case Say(said):
                    connection.say(said)
                    await connection.breathe()
                    await self.hold_back(connection)
                case Join():
                    await self.all_answered()
                    if await connection.join(action):
                        await self.hold_back(connection)
                case Leave(id, reader):
                    await self.all_answered()
                    self.hub.leave(reader)
                    session.rooms.pop(reader.grant.address, None)
                    connection.say(ok(id, {}))
                case Renew(id, ticket):
                    await self.renew(connection, id, ticket)
                case Shut(close):
                    connection.close(close)
            if connection.closed is not None:
                return

    async def perform(self, connection: Socket, request: Request) -> None:
        while self.calls >= self.hub.config.max_calls:  # unread input waits in the socket
            await self.one_answered()
        self.calls += 1
        future = self.hub.submit(Command(connection.user, request, connection=connection.id))
        future.add_done_callback(partial(self.answer, connection, request.id))
        if future.done():  # a limit refused it
            await self.hold_back(connection)

    async def hold_back(self, connection: Socket) -> None:
        """It was refused something: read no more of it for a moment when it presses on, and end it when that is abuse.

        Others have their turn in any case: a frame may hold thousands that are refused at once.
        """
        self.refusals += 1
        amount = self.hub.meter.amounts.get("commands_per_user")
        wait, now = 0.0, time.monotonic()
        if amount is not None:
            self.pressure = self.pressure or Pressure(amount, now)
            wait = self.pressure.refused(now, self.hub.seats.count("connections_per_user", connection.speaker))
            if self.pressure.is_abuse(now):
                metrics.limited.labels("abuse").inc()
                connection.close(ABUSE)
        if wait or self.refusals % AT_ONCE == 0:
            await asyncio.sleep(wait)

    def answer(self, connection: Socket, id: str | None, future: asyncio.Future[Outcome]) -> None:
        self.calls -= 1
        if self.call_ended is not None and not self.call_ended.done():
            self.call_ended.set_result(None)
        if not future.cancelled() and (vector := told(id, future.result())):
            connection.say(vector)

    async def all_answered(self) -> None:
        """Vectors are handled in order: what was asked before a join is done before it."""
        while self.calls:
            await self.one_answered()

    async def one_answered(self) -> None:
        self.call_ended = self.hub.loop.create_future()
        await self.call_ended

    async def renew(self, connection: Socket, id: str, ticket: str) -> None:
        """The same person shows a newer ticket."""
        try:
            who = await admit(self.hub, (), ticket=ticket, is_own=lambda: False)
            if who is None or who.user != connection.user:
                raise Refused("forbidden", "The ticket is another person's.")
        except Refused as refused:
            connection.say(error(refused, id))
        else:
            connection.credential, connection.looked_at = who.credential, time.monotonic()
            connection.say(ok(id, {}))

    # --- the transport

    async def write_frame(self, data: bytes) -> None:
        """A whole message, when the server's socket takes it."""
        while not self.direct.write(data):
            await self.direct.drain()

    async def send_frame(self, data: bytes) -> None:
        if self.format.kind is str:
            await self.send_message({"type": "websocket.send", "text": data.decode()})
        else:
            await self.send_message({"type": "websocket.send", "bytes": data})

    async def shut(self, close: Close) -> None:
        await self.send_message({"type": "websocket.close", "code": close.code, "reason": close.reason})

    def abandon(self) -> None:
        """The client takes nothing, not even the goodbye: stop waiting for its end of the conversation."""
        self.patience.reschedule(0)
        if self.direct is not None:  # else the server waits for it to take what it never will
            self.direct.abort()

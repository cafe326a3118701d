"""``GET /live/poll``: long-poll. Nothing is kept between polls: the cursor that comes next is the acknowledgement."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from typing import Any

from rooms import devices
from rooms.contract import Close, Refused, replaced
from rooms.delivery.feed import Taken
from rooms.delivery.frames import encode
from rooms.delivery.reader import Reader
from rooms.delivery.session import Join, Listening, bye
from rooms.node.admission import hello, sit, terms_of
from rooms.node.connection import Connection
from rooms.transports.exchange import Exchange, endpoint
from rooms.transports.places import asked, composite, places

WAIT = 20.0  # seconds, when the client does not say
WAIT_MAX = 25.0  # much of what stands between gives up at 30
SNAPSHOT = 1.0  # seconds that a first answer waits for those who are here
ANSWERED = Close(1000, "answered")


class Poll(Connection):
    """What is told to one poll, collected into one frame. Something to tell ends the waiting.

    :param cursor: what the client came with; it keeps that place when the poll ends before its rooms are joined.
    :param resumes: it is not its client's first.
    :param continues: the id that ``live.hello`` gave its client, or what it takes for that.
    :param leave: to be called when there is something, or nothing more will come.
    """

    __slots__ = ("_began", "_bytes", "_cursor", "_joined", "_leave", "_told", "_vectors", "continues", "resumes")

    transport = "poll"
    returns = True

    def __init__(
        self,
        *args: Any,
        cursor: str,
        leave: Callable[[], None],
        resumes: bool = False,
        continues: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.resumes = resumes
        self.continues = continues
        self._leave = leave
        self._vectors: list[tuple[bytes, Reader | None]] = []
        self._began: dict[Reader, int] = {}  # their cursors before this poll told them anything
        self._bytes = 0
        self._cursor = cursor
        self._joined = False
        self._told = asyncio.Event()

    @property
    def has_room(self) -> bool:
        return self.closed is None and self._bytes < self.hub.config.max_frame_bytes

    def deliver(self, reader: Reader, taken: Taken, now: float) -> bool:
        if self._vectors and self._bytes + len(taken.frame) > self.hub.config.max_frame_bytes:
            return False  # the next poll gets it
        self._began.setdefault(reader, reader.cursor)
        return super().deliver(reader, taken, now)

    async def join(self, *wanted: Join) -> bool:
        late = await super().join(*wanted)
        self._joined = True
        return late

    async def settled(self) -> None:
        """The snapshots that are due were told, or take too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SNAPSHOT):
                while self.has_room and any(reader.stale for reader in self.session.rooms.values()):
                    self._told.clear()
                    await self._told.wait()

    def answer(self) -> bytes:
        """What was told, and where the client stands once it has it.

        What a reader took that is held now is left to a later poll.
        """
        for reader, cursor in self._began.items():
            if reader.held:
                reader.cursor = cursor
        self._settle()
        said = [data for data, reader in self._vectors if reader is None or not reader.held]
        return _answer(self._cursor, said)

    def _write(self, data: bytes) -> None:
        self._collect(data, None)

    def _hand(self, taken: Taken, reader: Reader) -> None:
        self._collect(taken.frame, reader)

    def _collect(self, data: bytes, reader: Reader | None) -> None:
        self._vectors.append((data[1:-1], reader))
        self._bytes += len(data)
        self._told.set()
        self._leave()

    def _closed(self, close: Close) -> None:
        self._settle()
        super()._closed(close)

    def _settle(self) -> None:
        """The place of the client, once; it stays good when the node does not."""
        if self._joined and self.closed is None:
            self._cursor = composite(self.session.rooms.values())

    def _end(self) -> None:
        self._leave()


@endpoint("GET", Poll.transport)
async def poll(exchange: Exchange) -> None:
    hub = exchange.hub
    query = exchange.query()
    wanted = places(query.get("room", []))
    first = "connection" not in query and not any(wanted.values())
    if first:
        exchange.handshake()
    joins, malformed = asked(wanted, max_rooms=hub.config.max_rooms, quiet=True, absent=query.get("absent", ()))
    cursor = " ".join(f"{join.room}@{join.cursor}" for join in joins if join.cursor is not None)
    try:
        who = await exchange.admit()
    except Refused as refused:
        if first or not hub.draining:
            raise
        await exchange.answer(_answer(cursor, [bye(replaced(refused.retry_after_ms or 0))]))
        return
    wait = seconds(query.get("wait", [""])[-1])
    terms = terms_of(hub.config, heartbeat=inf, idle_timeout=inf)  # a poll ends by itself
    seat = sit(hub, who, exchange.address, lingers=hub.config.feed_linger)
    connection = Poll(
        hub,
        Listening(terms, time.monotonic()),
        id=secrets.token_urlsafe(12),
        who=who,
        seat=seat,
        device=devices.device(exchange.scope["headers"]),
        resumes=not first,
        continues=query.get("connection", [None])[-1],
        cursor=cursor,
        leave=exchange.leave,
    )
    with seat, hub.holding(connection):
        if first:
            connection.say(hello(connection, who, terms))
        if malformed:
            connection.say(*malformed)
        if any(wanted.values()):  # it goes on: over the limit it is answered later
            pause = hub.meter.poll(connection.speaker, time.monotonic())
            if pause and not await exchange.stay(pause):
                return
        await connection.join(*joins)
        seat.settle()
        if None in wanted.values():
            await connection.settled()
            exchange.leave()
        if not await exchange.stay(wait):
            return
        answer = connection.answer()
        connection.closed = connection.closed or ANSWERED
    await exchange.answer(answer)


def _answer(cursor: str, said: Iterable[bytes]) -> bytes:
    return b'{"cursor":' + encode(cursor) + b',"frame":[' + b",".join(said) + b"]}"


def seconds(text: str) -> float:
    """:raises Refused: ``bad_data``."""
    if not text:
        return WAIT
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", text) or float(text) > WAIT_MAX:
        raise Refused("bad_data", f"A poll waits for 0 to {WAIT_MAX:.0f} seconds - at `$.wait`")
    return float(text)

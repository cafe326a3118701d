"""``GET /live/stream``: server-sent events. The rooms are chosen when it opens; commands go by POST."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import Any

from rooms import devices
from rooms.contract import Close, Refused
from rooms.delivery.feed import Taken
from rooms.delivery.frames import HEARTBEAT
from rooms.delivery.reader import Reader
from rooms.delivery.session import Listening
from rooms.node.admission import hello, sit, terms_of
from rooms.node.connection import StreamingConnection
from rooms.transports.exchange import URL_MAX, Exchange, endpoint
from rooms.transports.places import asked, composite, places

COMMENT = b":\n\n"
UNBUFFERED = (b"x-accel-buffering", b"no")  # nginx would collect events until a buffer is full


class Stream(StreamingConnection):
    """Each frame has as its ``id`` where the client stands once it has it, so the id is made with the frame."""

    __slots__ = ("_joined",)

    transport = "sse"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._joined = False

    def _write(self, data: bytes) -> None:
        self._put(COMMENT if data is HEARTBEAT else self._place() + _lines(data), None)

    def _hand(self, taken: Taken, reader: Reader) -> None:
        self._put(self._place() + taken.shaped(_lines), reader)

    def _place(self) -> bytes:
        readers: Iterable[Reader] = self.session.rooms.values()
        self._joined = self._joined or bool(readers)
        if not self._joined:  # an empty id would make a browser forget the place that it comes with
            return b""
        return b"id: " + composite(readers).encode() + b"\n"


def _lines(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


@endpoint("GET", Stream.transport)
async def stream(exchange: Exchange) -> None:
    hub = exchange.hub
    exchange.handshake()
    who = await exchange.admit()
    query = exchange.query()
    wanted = places(query.get("room", []))
    last = exchange.header(b"last-event-id")
    if len(last) > URL_MAX:
        raise Refused("too_large", f"Last-Event-ID has at most {URL_MAX} bytes.")
    wanted |= {room: cursor for room, cursor in places(last.split(" ")).items() if room in wanted and cursor}
    joins, malformed = asked(wanted, max_rooms=hub.config.max_rooms, absent=query.get("absent", ()))
    terms = terms_of(hub.config, heartbeat=hub.config.comment_interval - 1)  # it is looked at once a second

    async def shut(close: Close) -> None:
        await exchange.end()
        exchange.leave()

    seat = sit(hub, who, exchange.address)
    connection = Stream(
        hub,
        Listening(terms, time.monotonic()),
        id=secrets.token_urlsafe(12),
        who=who,
        seat=seat,
        device=devices.device(exchange.scope["headers"]),
        send=exchange.write,
        shut=shut,
        abandon=exchange.leave,
    )
    with seat:
        await exchange.begin("text/event-stream", UNBUFFERED)
        with hub.holding(connection):
            connection.say(hello(connection, who, terms), *malformed)
            await connection.join(*joins)
            await exchange.stay()

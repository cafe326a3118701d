"""One HTTP request and its answer, beside Django: it holds no thread and no database connection while it waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import cached_property, partial
from typing import Any
from urllib.parse import parse_qs

from rooms import audit, edge, identity, metrics
from rooms.addresses import client_address, home
from rooms.contract import Refused
from rooms.delivery.frames import encode
from rooms.identity import Identity
from rooms.node import running
from rooms.node.admission import admit
from rooms.node.hub import Hub

URL_MAX = 8_000  # bytes of the query and of Last-Event-ID
BODY_TIMEOUT = 30  # seconds that a body may take to come
FRESH = (b"cache-control", b"no-store, no-transform")
Handler = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """What a handler has of its request, and how it answers."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.hub: Hub = running.start()
        self._receive = receive
        self._send = send
        self._left = False
        self._patience: asyncio.Timeout | None = None

    # --- what was asked

    def header(self, name: bytes) -> str:
        return identity.header(self.scope["headers"], name)

    def query(self) -> dict[str, list[str]]:
        """:raises Refused: ``too_large``."""
        raw = self.scope.get("query_string", b"")
        if len(raw) > URL_MAX:
            raise Refused("too_large", f"The query has at most {URL_MAX} bytes: take several streams.")
        return parse_qs(raw.decode("latin-1"), keep_blank_values=True)

    @cached_property
    def address(self) -> str:
        """Of the client, as it is counted."""
        return home(client_address(self.scope))

    @cached_property
    def bearer(self) -> str:
        """Who asks, before anybody looks who that is: by a ticket, a session, or the address."""
        headers = self.scope["headers"]
        return identity.ticket(headers) or identity.session_key(headers) or self.address

    def handshake(self) -> None:
        """A connection begins.

        :raises Refused: ``rate_limited``.
        """
        self.hub.meter.handshake(self.address, time.monotonic())

    def knock(self, by: str, *, repeats: bool = True) -> None:
        """A request that is no connection, before anybody looks who it is.

        :raises Refused: ``rate_limited``; see :meth:`rooms.node.meter.Meter.request`.
        """
        self.hub.meter.request(self.bearer, time.monotonic(), by=by, repeats=repeats)

    async def admit(self) -> Identity | None:
        """:raises Refused: as :func:`rooms.node.admission.admit`."""
        edge.refuse_plain(self.scope)
        headers = self.scope["headers"]
        is_own: Callable[[], bool]
        if self.scope["method"] == "GET":
            is_own = partial(identity.is_own_read, headers, secure=edge.is_secure(self.scope))
        else:
            is_own = partial(identity.is_own_write, self.scope)
        return await admit(self.hub, headers, ticket=identity.ticket(headers), is_own=is_own)

    async def body(self, limit: int) -> bytes:
        """:raises Refused: ``too_large``, ``bad_frame`` when it does not come."""
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Refused("bad_frame", "The body ended too soon.")
                    body += message["body"]
                    if len(body) > limit:
                        raise Refused("too_large", f"A frame has at most {limit} bytes.")
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise Refused("bad_frame", "The body did not come in time.") from None

    async def stay(self, seconds: float | None = None) -> bool:
        """Wait for so long, or until :meth:`leave`; False when the client is gone before that."""
        if self._left:
            return True
        try:
            async with asyncio.timeout(seconds) as self._patience:
                while (await self._receive())["type"] != "http.disconnect":
                    pass
            return False
        except TimeoutError:
            return True
        finally:
            self._patience = None

    def leave(self) -> None:
        """Stay no longer."""
        self._left = True
        if self._patience is not None:
            self._patience.reschedule(0)
            self._patience = None

    # --- what is answered

    async def begin(self, content_type: str, *headers: tuple[bytes, bytes], status: int = 200) -> None:
        kind = (b"content-type", content_type.encode())
        given = [kind, FRESH, *edge.headers(self.scope), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": given})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": data})

    async def answer(self, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
        length = (b"content-length", b"%d" % len(body))
        await self.begin("application/json", length, *headers, status=status)
        await self.end(body)

    async def turn_away(self, refused: Refused) -> None:
        """Refuse it before anything was answered; whom a rate turns away, a moment later."""
        if refused.code == "rate_limited":
            await self.hub.doorstep.wait(self.address)
        await self.refuse(refused)

    async def refuse(self, refused: Refused, *headers: tuple[bytes, bytes], status: int | None = None) -> None:
        if refused.code == "unauthenticated":
            headers += ((b"www-authenticate", b'Bearer realm="rooms"'),)
        if refused.retry_after_ms is not None:
            headers += ((b"retry-after", b"%d" % -(-refused.retry_after_ms // 1000)),)
        await self.answer(encode(refused.as_data()), *headers, status=status or refused.http)


def endpoint(method: str, transport: str) -> Callable[[Handler], Callable[[Any, Any, Any], Awaitable[None]]]:
    """An ASGI application of one HTTP method. What the handler refuses before it answers is an HTTP status.

    :param transport: as the metrics have it.
    """

    def decorate(handler: Handler) -> Callable[[Any, Any, Any], Awaitable[None]]:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            audit.arrive("live", client_address(scope))
            exchange = Exchange(scope, receive, send)
            try:
                if scope["method"] != method:
                    refused = Refused("bad_data", f"This address takes {method} alone.")
                    await exchange.refuse(refused, (b"allow", method.encode()), status=405)
                else:
                    await handler(exchange)
            except Refused as refused:
                metrics.refused.labels(transport, refused.code).inc()
                await exchange.turn_away(refused)

        return application

    return decorate

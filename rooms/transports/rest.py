"""The REST API on its way to Django: refused early where it is a flood, and done on one thread in its turn.

Middleware, a log-in and a thread are some milliseconds a request, and all threads of a node share one processor: what
one person floods would delay everybody else.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.signals import request_started
from django.urls import NoReverseMatch, reverse, set_script_prefix

from rooms import metrics
from rooms.conf import config
from rooms.contract import Refused
from rooms.edge import Application
from rooms.node.places import Places
from rooms.transports.exchange import Exchange

READING = ("GET", "HEAD", "OPTIONS")


def guarded(django: Application) -> Application:
    """``django``, where nobody who is known by one session, ticket or address writes more than a user may.

    Twice as much passes with an ``Idempotency-Key``, for a repeat gets its first answer over the limit too. What passes
    is counted by whoever makes it. The plain ``django`` leaves the REST API to :class:`OneThread`; one that a host has
    wrapped is asked itself.
    """
    handler = OneThread() if type(django) is ASGIHandler else None

    async def application(scope: Any, receive: Any, send: Any) -> None:
        api = rest()
        if not (api and scope["path"].startswith(api)):
            await django(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        try:
            if scope["method"] not in READING:
                exchange.knock("writes_per_user", repeats=bool(exchange.header(b"idempotency-key")))
            if handler is None:
                await django(scope, receive, send)
            else:
                await handler.answer(scope, receive, send, tenant_of(scope["path"].removeprefix(api)), exchange.bearer)
        except Refused as refused:
            metrics.refused.labels("rest", refused.code).inc()
            await exchange.turn_away(refused)

    return application


class OneThread(ASGIHandler):
    """Django with the whole of a request on one thread of a few: middleware, the view and the end of the request.

    Django's own handler makes a thread for every request and goes there and back for each middleware that is not async:
    5 of a write's 12 ms.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def answer(self, scope: Any, receive: Any, send: Any, tenant: str, person: str) -> None:
        """:raises Refused: ``unavailable``, when too many wait."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            async with self._places.place(tenant, person, writes=scope["method"] not in READING):
                response = await sync_to_async(self._respond, thread_sensitive=False, executor=self._threads)(
                    scope, body
                )
            try:
                await self.send_response(response, send)
            finally:
                if response.streaming:
                    await sync_to_async(response.close)()

    def _respond(self, scope: Any, body: Any) -> Any:
        set_script_prefix(get_script_prefix(scope))
        request_started.send(sender=type(self), scope=scope)
        request, refused = self.create_request(scope, body)
        response: Any = refused if request is None else self.get_response(request)
        response._handler_class = type(self)
        if not response.streaming:  # all of it is here: the connection to the database goes back before it is sent
            response.close()
        return response

    @cached_property
    def _places(self) -> Places:
        return Places(config().threads)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(config().threads, "rooms-rest")


def rest() -> str:
    """Where the REST API is mounted; empty, when the site has none."""
    try:
        return reverse("schema").removesuffix("schema/")
    except NoReverseMatch:
        return ""


def tenant_of(path: str) -> str:
    """Whose turn it is that a request below the API's root waits for; nothing, where it names no tenant."""
    kind, _, rest = path.partition("/")
    return rest.partition("/")[0] if kind == "tenants" else ""

"""REST writes on their way to Django: a flood of them is refused before Django has looked at one.

Middleware, a log-in and a thread are some milliseconds a request, and all threads of a node share one processor: what
one person floods would delay everybody else.
"""

from __future__ import annotations

from typing import Any

from django.urls import NoReverseMatch, reverse

from rooms import metrics
from rooms.contract import Refused
from rooms.edge import Application
from rooms.transports.exchange import Exchange

READING = ("GET", "HEAD", "OPTIONS")


def guarded(django: Application) -> Application:
    """``django``, where nobody who is known by one session, ticket or address writes more than a user may.

    Twice as much passes with an ``Idempotency-Key``, for a repeat gets its first answer over the limit too. What passes
    is counted by whoever makes it.
    """

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] not in READING and scope["path"].startswith(rest()):
            exchange = Exchange(scope, receive, send)
            try:
                exchange.knock("writes_per_user", repeats=bool(exchange.header(b"idempotency-key")))
            except Refused as refused:
                metrics.refused.labels("rest", refused.code).inc()
                await exchange.refuse(refused)
                return
        await django(scope, receive, send)

    return application


def rest() -> tuple[str, ...]:
    """Where the REST API is mounted; nowhere, when the site has none."""
    try:
        return (reverse("schema").removesuffix("schema/"),)
    except NoReverseMatch:
        return ()

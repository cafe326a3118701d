"""Who comes in, and what they are told first: alike for every transport."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError

from rooms import contract, identity, tickets
from rooms.conf import Config
from rooms.contract import Refused, unavailable
from rooms.delivery.frames import vector
from rooms.delivery.session import Terms
from rooms.identity import Headers, Identity
from rooms.node.connection import Connection
from rooms.node.hub import Hub
from rooms.node.meter import shown
from rooms.node.seats import Seat

logger = logging.getLogger(__name__)


async def admit(hub: Hub, headers: Headers, *, ticket: str | None, is_own: Callable[[], bool]) -> Identity | None:
    """The person behind this handshake or request; None for nobody, where the site lets nobody in.

    A ticket needs no proof of where the request comes from, and cookies beside it are ignored.

    :param is_own: whether a request with cookies comes from a page that may use them; it is called on a thread.
    :raises Refused: ``unauthenticated``, ``forbidden`` for another site's page, ``unavailable``.
    """
    _refuse_when_leaving(hub)
    key = identity.session_key(headers)
    who = None
    if ticket is not None or key:
        try:
            who = await hub.database.control_for(ticket or key or "", _identify, ticket, key, is_own)
        except DatabaseError as failed:
            logger.warning("nobody can be identified now: %r", failed)
            raise unavailable() from failed
        _refuse_when_leaving(hub)  # it may have taken a while
    if who is None and (ticket is not None or not hub.config.public_read):
        raise Refused("unauthenticated", "Log in to do this.")
    return who


def sit(hub: Hub, who: Identity | None, address: str, *, lingers: float = 0) -> Seat:
    """A place for the connection that begins.

    :raises Refused: ``too_many_connections``.
    """
    return hub.seats.take(str(who.user) if who else None, address, lingers=lingers)


def _refuse_when_leaving(hub: Hub) -> None:
    if hub.draining:
        spread = round(hub.spread * 1000)
        raise Refused("unavailable", "This node is being replaced.", retry_after_ms=random.randint(0, spread))  # noqa: S311


def _identify(ticket: str | None, session_key: str | None, is_own: Callable[[], bool]) -> Identity | None:
    if ticket is not None:
        return tickets.identify(ticket)
    if not is_own():
        raise Refused("forbidden", "A page of another site may not do this.")
    return identity.by_session(session_key or "")


def terms_of(config: Config, **differing: Any) -> Terms:
    """What the settings say, but for what a transport has of its own."""
    terms = Terms(
        window=None,
        max_frame_bytes=config.max_frame_bytes,
        max_rooms=config.max_rooms,
        heartbeat=config.heartbeat,
        heartbeat_grace=config.heartbeat_grace,
        stall_timeout=config.stall_timeout,
        idle_timeout=config.idle_timeout,
    )
    return replace(terms, **differing)


def hello(connection: Connection, who: Identity | None, terms: Terms) -> bytes:
    config = connection.hub.config
    data: dict[str, Any] = {
        "protocol": contract.PROTOCOL,
        "connection": connection.id,
        "user": who.person if who else None,
        "transport": connection.transport,
        "heartbeat_s": config.heartbeat,
        "window": terms.window,
        "max_frame_bytes": terms.max_frame_bytes,
        "max_rooms": terms.max_rooms,
        "limits": shown(connection.hub.meter.amounts),
        "time": datetime.now(UTC),
    }
    return vector("live.hello", data)

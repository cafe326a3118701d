"""``rooms.publish()``: how a host's own code says something in a room."""

from __future__ import annotations

from typing import Any

import msgspec
from channels.db import database_sync_to_async

from rooms import log
from rooms.models import Room


def publish(
    room: Room | str,
    name: str,
    data: msgspec.Struct | dict[str, Any] | None,
    *,
    by: Any = None,
    key: str | None = None,
) -> int | None:
    """Append an event to a room's log, in the caller's transaction where one is open; it is announced after the commit.

    A transaction that is rolled back announces nothing. Publish late in it: writers to one room wait for each other.
    This is the site's own voice: no right is asked for.

    :param room: a room, or its address. One person's ``~me`` has no address but its reader's: give the row
        (``Room.objects.get(tenant=tenant, kind=Room.Kind.ME, owner=user)``).
    :param data: the event's Struct, or a dict of its shape; None, with ``key``, removes that key of a latest event.
    :param by: the user who did it, or the primary key.
    :returns: the event's seq; None for a transient event, which has none.
    :raises Room.DoesNotExist: no such room.
    :raises ValueError: an undeclared name, or data that its Struct refuses.
    """
    if isinstance(room, str):
        room = _find(room)
    return log.append(room, name, data, by=getattr(by, "pk", by), key=key, doubted=True)


async def apublish(
    room: Room | str,
    name: str,
    data: msgspec.Struct | dict[str, Any] | None,
    *,
    by: Any = None,
    key: str | None = None,
) -> int | None:
    """:func:`publish` for async code, on Django's thread for sync code; always a transaction of its own there."""
    return await database_sync_to_async(publish, thread_sensitive=True)(room, name, data, by=by, key=key)


def _find(address: str) -> Room:
    tenant, _, slug = address.partition("/")
    if "\0" in address:  # PostgreSQL would say so in another way
        raise Room.DoesNotExist
    rooms = Room.objects.select_related("tenant").exclude(kind=Room.Kind.ME)
    return rooms.get(tenant__slug=tenant, slug=slug)

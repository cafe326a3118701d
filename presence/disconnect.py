"""An administrator ends connections. Their clients come back when somebody acts: this is no ban.

The order is a mark in the connection's row. The channel layer tells the nodes at once; one that it did not reach sees
the mark within ``RENEWAL`` seconds. A long-poller between two polls is told at its next one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from presence import directory, store, tracker
from presence.models import Connection
from rooms import audit
from rooms.models import AuditEntry, Membership, Room
from rooms.signals import committed

OPEN, ENDED = "open", "ended"


def disconnect(connections: QuerySet[Connection], *, rooms: QuerySet[Room], by: Any) -> frozenset[UUID]:
    """End these; which there are. Recorded once for each person and tenant.

    :param rooms: that the administrator sees: in no other tenant's records are they named.
    """
    with transaction.atomic():
        rows = list(connections.select_related("user"))
        _order(rows)
        recorded: dict[tuple[Any, Any], Any] = {}
        places = directory.rooms_of(rows, seen=rooms)
        for row in rows:
            for room in places[row.pk]:
                recorded[row.user_id, room.tenant_id] = Membership(tenant=room.tenant, user=row.user)
            if not places[row.pk] and row.user is not None:
                recorded[row.user_id, None] = row.user
        AuditEntry.objects.bulk_create(
            audit.entry(what, AuditEntry.What.CONNECTION, OPEN, ENDED, by=by) for what in recorded.values()
        )
    return frozenset(row.pk for row in rows)


def disconnect_room(room: Room, *, by: Any) -> frozenset[UUID]:
    """End the connections of everybody in it; which there are. Recorded once."""
    seats = directory.open_seats().filter(room=room)
    with transaction.atomic():
        rows = list(directory.open_connections().filter(pk__in=seats.values("connection")))
        if rows:
            _order(rows)
            audit.entry(room, AuditEntry.What.CONNECTION, f"{len(rows)} {OPEN}", ENDED, by=by).save(force_insert=True)
    return frozenset(row.pk for row in rows)


def _order(rows: Collection[Connection]) -> None:
    store.mark([row.pk for row in rows])
    nodes = sorted({row.node_id for row in rows})
    if nodes:
        notices = [tracker.order(nodes)]
        transaction.on_commit(lambda: committed.send_robust(sender=Connection, notices=notices), robust=True)

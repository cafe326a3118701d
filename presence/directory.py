"""Who is here, for the site's own questions: ``rooms.connected``, REST and the admin. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from presence.census import present
from presence.contract import Present
from presence.models import Connection, RoomPresence, Seat, Visit
from rooms.models import Room

TRANSPORTS = ("ws", "sse", "poll")


def connected(tenant: str) -> dict[str, set[str]]:
    """See :func:`rooms.connected`."""
    rows = open_seats().filter(room__tenant__slug=tenant).values_list("transport", "user").distinct()
    found: dict[str, set[str]] = {transport: set() for transport in (*TRANSPORTS, "any")}
    for transport, user in rows.order_by():
        found.setdefault(transport, set()).add(str(user))
        found["any"].add(str(user))
    return found


# --- a room's people, page by page


class Place(NamedTuple):
    """Where a page ends: those who came later follow."""

    since: datetime
    visit: UUID


@dataclass(frozen=True, slots=True)
class Page:
    people: list[Present]
    count: int
    end: Place | None  # None: nobody follows


def page(room: UUID, after: Place | None, limit: int) -> Page:
    """Those who are here, in the order in which they came. Three statements.

    Who is here all the while is on exactly one of the pages.
    """
    counted = RoomPresence.objects.filter(pk=room).values_list("count", flat=True).first()
    rows = Visit.objects.filter(room=room, ended=None).select_related("user").order_by("since", "pk")
    if after is not None:
        rows = rows.filter(Q(since__gt=after.since) | Q(since=after.since, pk__gt=after.visit))
    visits = list(rows[: limit + 1])
    end = Place(visits[limit - 1].since, visits[limit - 1].pk) if len(visits) > limit else None
    people = present(visits[:limit]).get(room, {})
    return Page([people[str(visit.user_id)] for visit in visits[:limit]], counted or 0, end)


def visit(room: UUID, user: Any) -> Visit | None:
    """This person's present visit to the room, or the last one."""
    return Visit.objects.filter(pk=Visit.key(room, user)).select_related("user").first()


# --- connections


def open_connections() -> QuerySet[Connection]:
    """Those that are open now, long-pollers' between two polls too."""
    return Connection.objects.filter(_lasting(), node__lease_ends__gt=Now())


def open_seats() -> QuerySet[Seat]:
    """Of people in rooms; of somebody who left, not even while they may come back unnoticed."""
    return Seat.objects.filter(_lasting(), node__lease_ends__gt=Now(), open=True)


def rooms_of(connections: Sequence[Connection], *, seen: QuerySet[Room]) -> Mapping[UUID, list[Room]]:
    """The rooms that each of these is in, of those that are seen. One statement."""
    found: dict[UUID, list[Room]] = {each.pk: [] for each in connections}
    rows = Seat.objects.filter(connection__in=list(found), open=True, room__in=seen)
    for seat in rows.select_related("room__tenant").order_by("room__tenant__slug", "room__slug"):
        found[seat.connection].append(seat.room)
    return found


def _lasting() -> Q:
    return Q(leaves=None) | Q(leaves__gt=Now())

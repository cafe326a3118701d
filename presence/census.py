"""The people of rooms, read from the rows for rosters and for the site. Synchronous."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from presence.contract import Means, Present, Status
from presence.models import RoomPresence, Seat, Visit
from presence.state import together
from rooms.contract import Person

PAIRS = 10_000  # of rooms and people that a database may look at one by one; with more, rooms are read whole
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Found:
    """A room as it was read: its people by id, or None where it has more than the limit."""

    version: int
    count: int
    people: dict[str, Present] | None


def versions(rooms: Collection[UUID]) -> dict[UUID, int]:
    return dict(RoomPresence.objects.filter(pk__in=rooms).values_list("pk", "version"))


def find(wanted: Mapping[UUID, Collection[str] | None], limit: int) -> dict[UUID, Found]:
    """Who is in these rooms: of the named people, or everybody where it says None. Three statements for them all."""
    counted = {
        pk: (version, count)
        for pk, version, count in RoomPresence.objects.filter(pk__in=list(wanted)).values_list("pk", "version", "count")
    }
    every = [room for room, users in wanted.items() if users is None and counted.get(room, (0, 0))[1] <= limit]
    named = {Visit.key(room, user) for room, users in wanted.items() for user in users or ()}
    visits = list(Visit.objects.filter(room__in=every, ended=None).select_related("user")) if every else []
    if named:
        visits += Visit.objects.filter(pk__in=named, ended=None).select_related("user")
    people = present(visits)
    found = {}
    for room, users in wanted.items():
        version, count = counted.get(room, (0, 0))
        whole = users is None and count > limit
        found[room] = Found(version, count, None if whole else people.get(room, {}))
    return found


def present(visits: Collection[Visit]) -> dict[UUID, dict[str, Present]]:
    """These people, by room and id; with ``user`` selected. One statement."""
    seats: dict[tuple[UUID, Any], list[Seat]] = defaultdict(list)
    wanted = {(visit.room_id, visit.user_id) for visit in visits}
    rooms, users = {room for room, _ in wanted}, {user for _, user in wanted}
    rows = Seat.objects.filter(room__in=rooms)
    if len(rooms) * len(users) <= PAIRS:
        rows = rows.filter(user__in=users)
    for seat in rows if wanted else ():
        if (seat.room_id, seat.user_id) in wanted:
            seats[seat.room_id, seat.user_id].append(seat)
    people: dict[UUID, dict[str, Present]] = defaultdict(dict)
    for visit in visits:
        mine = seats[visit.room_id, visit.user_id]
        status, text = together((seat.status, seat.text, seat.told) for seat in _said(mine))
        mine = [seat for seat in mine if seat.open] or mine
        metas: dict[tuple[str, str], Means] = {}
        for seat in sorted(mine, key=lambda seat: seat.since):
            metas.setdefault((seat.transport, seat.device), Means(seat.transport, seat.since, seat.device))
        people[visit.room_id][str(visit.user_id)] = Present(
            user=Person.from_row(visit.user),
            status=Status(status),
            text=text,
            since=visit.since,
            metas=list(metas.values()),
        )
    return people


def _said(seats: list[Seat]) -> list[Seat]:
    """Those of one person whose status counts: of the closed ones what was said, until it is said anew on an open one
    of the same kind. So it outlasts a reload.
    """
    opened = [seat for seat in seats if seat.open]
    anew: dict[tuple[str, str], datetime] = {}
    for seat in opened:
        if seat.told is not None:
            kind = seat.transport, seat.device
            anew[kind] = max(seat.told, anew.get(kind, seat.told))
    still = [
        seat
        for seat in seats
        if not seat.open and seat.told is not None and seat.told > anew.get((seat.transport, seat.device), NEVER)
    ]
    return [*opened, *still] or seats

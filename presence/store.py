"""The rows of who is here, written in batches. Synchronous; nothing else changes them.

Each transaction takes its locks in one order: the node, rooms, connections, seats; within each by key.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Count, Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from presence import metrics
from presence.conf import config
from presence.models import Connection, Departure, Node, RoomPresence, Seat, Visit
from presence.signals import person_left
from presence.state import Batch, Sitting
from rooms import access, changes
from rooms.conf import config as rooms_config
from rooms.contract import Right
from rooms.log import writing
from rooms.models import Room
from rooms.node.database import chunks

CLEANED = 200  # rooms of a dead node in one transaction
BURIED = datetime(1970, 1, 1, tzinfo=UTC)  # the end of a lease that is not renewed any more: rows of it are gone
LATE = 2  # seconds after which somebody whose grace is over is left to whichever node sees it


class LeaseLost(Exception):
    """The node was taken for dead: another one has cleaned up, and it must register anew."""


@dataclass(frozen=True, slots=True)
class Change:
    """A room's new version, and who is to be looked at again."""

    version: int
    count: int
    users: list[str]


class Listed(NamedTuple):
    """A room in the list that everybody in its tenant sees: the tenant's ``~all`` and its address, and its slug."""

    everybody: UUID
    address: str
    slug: str


class Lost(NamedTuple):
    """A seat of somebody who may not read the room any more."""

    seat: UUID
    connection: UUID
    room: UUID


class Written(NamedTuple):
    changes: dict[UUID, Change]
    listed: dict[UUID, Listed]
    lapsed: bool  # of the long-pollers that were to be renewed some had been given up


def clock() -> datetime:
    """The database's: those of the nodes may be wrong. SQLite's is this machine's."""
    if connection.vendor == "sqlite":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return now  # type: ignore[no-any-return]


# --- nodes -----------------------------------------------------------------------------------------------------------


def register(node: str) -> None:
    now = clock()
    Node.objects.create(
        id=node, host=socket.gethostname()[:100], since=now, lease_ends=now + timedelta(seconds=config().lease)
    )


def renew(node: str) -> None:
    """:raises LeaseLost:"""
    _renew(node, clock())


def _renew(node: str, now: datetime) -> None:
    if not Node.objects.filter(pk=node, lease_ends__gt=BURIED).update(
        lease_ends=now + timedelta(seconds=config().lease)
    ):
        raise LeaseLost


def retire(node: str) -> None:
    """Nobody is connected here any more. Those who may come back elsewhere are kept until their grace is over."""
    with writing():
        latest = (
            Seat.objects.filter(node=node).order_by(F("leaves").desc(nulls_last=True)).values_list("leaves").first()
        )
        if latest is None:
            Node.objects.filter(pk=node).delete()
        else:
            Node.objects.filter(pk=node).update(lease_ends=Coalesce(latest[0], Now()))


# --- writing ---------------------------------------------------------------------------------------------------------


def write(node: str, batch: Batch) -> Written:
    """All of this in one transaction, and the node's lease with it.

    :param node: empty for a process that has no connections, and only something to say.
    :raises LeaseLost: nothing was written.
    """
    with writing():
        if connection.vendor == "postgresql":  # of a node that stands still in the middle of its own
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('lock_timeout', %s, true)", [f"{rooms_config().lock_timeout * 1000:.0f}"]
                )
        now = clock()
        if node:
            _renew(node, now)
        rooms = {sitting.room for sitting in batch.entered} | {said.room for said in batch.said} | batch.purged
        rooms |= {sitting.room for sitting in batch.left if not sitting.grace}
        _lock(rooms)
        _keep_connections(node, batch, now)
        touched: dict[UUID, set[Any]] = defaultdict(set)
        _enter(node, batch, now)
        for sitting in batch.entered:
            touched[sitting.room].add(sitting.holding.user)
        _leave(batch.left, now)
        for said in batch.said:
            if _say(said, now):
                touched[said.room].add(said.user)
        for room, users in _purge(node, rooms, now).items():
            touched[room] |= users
        lapsed = _renew_polls(batch, now)
        return Written(*_count(touched), lapsed)


def _lock(rooms: Collection[UUID]) -> None:
    if rooms:
        known = set(RoomPresence.objects.filter(pk__in=rooms).values_list("pk", flat=True))
        RoomPresence.objects.bulk_create(
            [RoomPresence(pk=room) for room in sorted(set(rooms) - known)], ignore_conflicts=True
        )
        list(RoomPresence.objects.select_for_update().filter(pk__in=rooms).order_by("pk").values_list("pk"))


def _keep_connections(node: str, batch: Batch, now: datetime) -> None:
    lease = now + timedelta(seconds=config().poll_lease)
    Connection.objects.bulk_create(
        [
            Connection(
                id=each.id,
                node_id=node,
                holder=each.holder,
                user_id=each.user,
                transport=each.transport,
                device=each.device,
                address=each.address,
                since=now,
                leaves=None if each.until is None else lease,
            )
            for each in batch.opened
        ],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["node", "holder", "transport", "device", "address", "leaves"],
    )
    if batch.closed:
        _delete(Connection.objects.filter(holder__in=[each.holder for each in batch.closed]))


def _enter(node: str, batch: Batch, now: datetime) -> None:
    """Where a seat has its row already, that knows best what was said: perhaps it was said to another node."""
    entered = batch.entered
    lease = now + timedelta(seconds=config().poll_lease)
    Seat.objects.bulk_create(
        [
            Seat(
                id=each.id,
                node_id=node,
                connection=each.holding.id,
                holder=each.holding.holder,
                room_id=each.room,
                user_id=each.holding.user,
                transport=each.holding.transport,
                device=each.holding.device,
                since=now,
                leaves=None if each.holding.until is None else lease,
                **_said(each, batch.at, now),
            )
            for each in entered
        ],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["node", "holder", "transport", "device", "leaves", "open"],
    )
    visits = {
        Visit.key(each.room, each.holding.user): Visit(
            id=Visit.key(each.room, each.holding.user), room_id=each.room, user_id=each.holding.user, since=now
        )
        for each in entered
    }
    if visits:
        Visit.objects.filter(pk__in=visits, ended__isnull=False).update(since=now, ended=None)
        Visit.objects.bulk_create([visits[key] for key in sorted(visits)], ignore_conflicts=True)


def _said(sitting: Sitting, at: float, now: datetime) -> dict[str, Any]:
    if sitting.said is None:
        return {}
    told = now - timedelta(seconds=at - sitting.said_at)
    return {"status": sitting.said.status, "text": sitting.said.text, "told": told}


def _leave(left: list[Sitting], now: datetime) -> None:
    by_grace: dict[float, list[Sitting]] = defaultdict(list)
    for sitting in left:
        by_grace[sitting.grace].append(sitting)
    for grace, sittings in by_grace.items():
        seats = Seat.objects.filter(
            pk__in=[each.id for each in sittings], holder__in=[each.holding.holder for each in sittings]
        )
        seats.update(open=False, leaves=now + timedelta(seconds=grace))


def _say(said: Any, now: datetime) -> bool:
    seats = Seat.objects.filter(room=said.room, user=said.user)
    if said.connection is not None:
        seats = seats.filter(connection=said.connection)
    return bool(seats.update(status=said.status, text=said.text, told=now))


def _renew_polls(batch: Batch, now: datetime) -> bool:
    if not batch.renewed:
        return False
    lease = now + timedelta(seconds=config().poll_lease)
    holders = [each.holder for each in batch.renewed]
    Seat.objects.filter(holder__in=holders, open=True).update(leaves=lease)
    return Connection.objects.filter(holder__in=holders).update(leaves=lease) < len(holders)


def _purge(node: str, rooms: Collection[UUID], now: datetime) -> dict[UUID, set[Any]]:
    """Take away whose time is over in these rooms, which are locked; whom it concerns."""
    if not rooms:
        return {}
    over = list(Seat.objects.filter(room__in=rooms, leaves__lte=now).values_list("pk", "room_id", "user_id"))
    for chunk in chunks(over):
        _delete(Seat.objects.filter(pk__in=[pk for pk, _, _ in chunk]))
    gone: dict[UUID, set[Any]] = defaultdict(set)
    for _, room, user in over:
        gone[room].add(user)
    _end_visits(node, {Visit.key(room, user) for room, users in gone.items() for user in users}, now)
    return gone


def _end_visits(node: str, visits: Collection[UUID], now: datetime) -> None:
    """Of these the ones that have no seat left."""
    for chunk in chunks(list(visits)):
        ended = Visit.objects.filter(pk__in=chunk, ended=None).filter(~_seated())
        if person_left.has_listeners():
            Departure.objects.bulk_create(
                [
                    Departure(node=node, room=visit.room_id, user=str(visit.user_id), since=visit.since, left=now)
                    for visit in ended
                ]
            )
        ended.update(ended=now)


def _seated() -> Exists:
    return Exists(Seat.objects.filter(room=OuterRef("room"), user=OuterRef("user")))


def _count(touched: Mapping[UUID, Iterable[Any]]) -> tuple[dict[UUID, Change], dict[UUID, Listed]]:
    """Count these rooms, which are locked, and give them their next version."""
    if not touched:
        return {}, {}
    here = (
        Visit.objects.filter(room=OuterRef("pk"), ended=None)
        .order_by()
        .values("room")
        .annotate(n=Count("pk"))
        .values("n")
    )
    RoomPresence.objects.filter(pk__in=list(touched)).update(
        version=F("version") + 1, count=Coalesce(Subquery(here), 0)
    )
    changes, listed = {}, {}
    everybody = Room.objects.filter(tenant=OuterRef("room__tenant"), slug="~all").values("pk")  # by the slug's index
    rows = RoomPresence.objects.filter(pk__in=list(touched)).annotate(everybody=Subquery(everybody[:1]))
    for room, version, count, kind, visibility, slug, tenant, address in rows.values_list(
        "pk", "version", "count", "room__kind", "room__visibility", "room__slug", "room__tenant__slug", "everybody"
    ):
        changes[room] = Change(version, count, [str(user) for user in touched[room]])
        if kind == Room.Kind.ROOM and visibility != "private" and address is not None:
            listed[room] = Listed(address, f"{tenant}/~all", slug)
    return changes, listed


def _delete(rows: Any) -> int:
    """Nothing hangs on these: no need to look."""
    return rows._raw_delete(rows.db) or 0  # None where the query is empty by itself


# --- ending connections ----------------------------------------------------------------------------------------------


def mark(connections: Collection[UUID]) -> None:
    """Their nodes are to close these."""
    for chunk in chunks(sorted(connections)):
        Connection.objects.filter(pk__in=chunk).update(disconnect=True)


def marked(node: str) -> set[UUID]:
    return set(Connection.objects.filter(node=node, disconnect=True).values_list("pk", flat=True))


def unmark(connections: Collection[UUID]) -> None:
    """They were closed: a long-poller who comes back by the same name is let in again."""
    Connection.objects.filter(pk__in=list(connections)).update(disconnect=False)


# --- rights that end -------------------------------------------------------------------------------------------------


def without_right(node: str, between: Collection[UUID], change: changes.Change | None) -> list[Lost]:
    """Who is counted on this node without a reader and may not read the room any more.

    :param between: connections that are between two polls; in a grace are those that the rows say.
    :param change: after which one; None for all of them.
    """
    rows = Seat.objects.filter(Q(open=False) | Q(connection__in=between), node=node).select_related("room__tenant")
    if change is not None:
        slugs = change.tenants | {address.partition("/")[0] for address in change.rooms}
        rows = rows.filter(Q(user__in=change.users) | Q(room__tenant__slug__in=slugs))
    asks = {
        seat: (seat.user_id, seat.room.address)
        for seat in rows
        if change is None or str(seat.user_id) in change.users or change.touches(seat.room.address)
    }
    grants = access.authorize_many(asks.values())
    lost = []
    for seat, ask in asks.items():
        grant = grants.get(ask)
        if grant is None or grant.archived or grant.room != seat.room_id or Right.READ not in grant.can:
            lost.append(Lost(seat.pk, seat.connection, seat.room_id))
    return lost


def expel(node: str, lost: Collection[Lost]) -> Written:
    """These leave now."""
    with writing():
        now = clock()
        rooms = {each.room for each in lost}
        _lock(rooms)
        Seat.objects.filter(pk__in=[each.seat for each in lost]).update(open=False, leaves=now)
        return Written(*_count(_purge(node, rooms, now)), False)


# --- cleaning up -----------------------------------------------------------------------------------------------------


def clean(node: str) -> Written:
    """Take away what dead nodes have left, and whose time is over without anybody having seen it."""
    changes: dict[UUID, Change] = {}
    listed: dict[UUID, Listed] = {}
    now = clock()
    dead = list(Node.objects.filter(lease_ends__lte=now).exclude(pk=node).values_list("pk", flat=True))
    for one in dead:
        _bury(node, one, changes, listed)
    late = now - timedelta(seconds=LATE)
    rooms = set(Seat.objects.filter(leaves__lte=late).values_list("room_id", flat=True).distinct()[:CLEANED])
    rooms |= set(Visit.objects.filter(~_seated(), ended=None).values_list("room_id", flat=True).distinct()[:CLEANED])
    if rooms:
        with writing():
            now = clock()
            _lock(rooms)
            touched = _purge(node, rooms, now)
            lone = list(
                Visit.objects.filter(~_seated(), room__in=rooms, ended=None).values_list("pk", "room_id", "user_id")
            )
            _end_visits(node, [pk for pk, _, _ in lone], now)
            for _, room, user in lone:
                touched.setdefault(room, set()).add(user)
            _add(_count(touched), changes, listed)
    _delete(Connection.objects.filter(leaves__lte=late))
    return Written(changes, listed, False)


def _bury(node: str, dead: str, changes: dict[UUID, Change], listed: dict[UUID, Listed]) -> None:
    """Whichever node comes first does it; the others pass it by."""
    while True:
        with writing():
            now = clock()
            rows = Node.objects.filter(pk=dead, lease_ends__lte=now)
            if connection.features.has_select_for_update_skip_locked:
                rows = rows.select_for_update(skip_locked=True)
            if rows.first() is None:
                return
            Node.objects.filter(pk=dead).update(lease_ends=BURIED)
            rooms = sorted(set(Seat.objects.filter(node=dead).values_list("room_id", flat=True)))[:CLEANED]
            if not rooms:
                _delete(Connection.objects.filter(node=dead))
                Departure.objects.filter(node=dead).update(node=node)
                _delete(Node.objects.filter(pk=dead))
                return
            _lock(rooms)
            mine = Seat.objects.filter(node=dead, room__in=rooms)
            over = list(mine.values_list("room_id", "user_id"))
            _delete(mine)
            touched: dict[UUID, set[Any]] = defaultdict(set)
            for room, user in over:
                touched[room].add(user)
            _end_visits(node, {Visit.key(room, user) for room, user in over}, now)
            _add(_count(touched), changes, listed)


def _add(counted: tuple[dict[UUID, Change], dict[UUID, Listed]], changes: Any, listed: Any) -> None:
    changes |= counted[0]
    listed |= counted[1]


def forget() -> int:
    """Drop what is left of accounts and rooms that are no more; how many visits there were.

    Where they end by Django's own hand, their rows go with them. Raw SQL takes accounts alone.
    """
    rooms = Room.objects.filter(pk=OuterRef("room"))
    people = get_user_model()._base_manager.filter(pk=OuterRef("user"))
    _delete(RoomPresence.objects.filter(~Exists(rooms)))
    return _delete(Visit.objects.filter(~Exists(rooms) | ~Exists(people)))


def next_end(node: str) -> float | None:
    """Seconds until the first lease of another node ends, should it die now."""
    first = Node.objects.exclude(pk=node).order_by("lease_ends").values_list("lease_ends", flat=True).first()
    return None if first is None else max(0.0, (first - clock()).total_seconds())


# --- telling the site ------------------------------------------------------------------------------------------------


def tell_departures(node: str, failed: Any) -> None:
    """Tell the site's own code who has left, at least once each.

    :param failed: called with each error of a receiver; that departure is told again later.
    """
    if person_left.has_listeners():  # what a process has seen that is no node
        Departure.objects.filter(node="").update(node=node)
    for departure in Departure.objects.filter(node=node).order_by("pk")[:CLEANED]:
        answers = person_left.send_robust(
            sender=Departure,
            room=departure.room,
            user=departure.user,
            since=departure.since,
            left=departure.left,
            departure=departure.pk,
        )
        errors = [answer for _, answer in answers if isinstance(answer, Exception)]
        if errors:
            failed(errors[0])
        else:
            departure.delete()
            metrics.departures.labels("told").inc()

"""The room's log: the only code that touches :class:`RoomLog` and :class:`Event`.

Every logged event takes its ``seq`` under the row lock of its room's :class:`RoomLog`, in the transaction of the change
it tells of: commit order is delivery order, there are no gaps, and a rollback leaves nothing. (Autoincrement ids would
not do: a reader that saw 11 can miss 10, which commits later.)

Writers to one room wait for each other, so append late in a transaction and never hold one open over a network call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial, reduce
from operator import or_
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, models, transaction
from django.db.models import Q
from django.utils import timezone

from rooms import contract
from rooms.contract import EVENTS, KEY_MAX, Cursor, EventType, Policy
from rooms.delivery.frames import Entry, Notice, encode, event_vector
from rooms.models import Event, Room, RoomLog, Tenant
from rooms.rows import columns, insert, marks, table
from rooms.signals import committed

NULL = "null"  # the data of a latest event that removes its key
CHUNK = 100  # terms in one OR
PATIENCE = 1.0  # seconds that a thread waits for another one of its process before it leaves it to SQLite


# --- writing ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Log:
    """A log whose row this transaction holds."""

    room: Room
    epoch: str
    head: int


@dataclass(slots=True)
class _Mark:
    rows: int  # ever, and so are the events
    events: int
    heads: dict[UUID, int]
    entries: dict[UUID, int]


class Batch:
    """Rows and events that are written together at the end of a transaction, in bulk.

    Made by :func:`batch`. What waits here can be taken back without a savepoint; what :meth:`flush` wrote cannot.
    """

    def __init__(self, outer: Batch | None = None) -> None:
        self._logs: dict[UUID, _Log] = {room: replace(log) for room, log in outer._logs.items()} if outer else {}
        self._written = {
            room: log.head for room, log in self._logs.items()
        }  # heads as the database has or will have them
        self._rows: list[models.Model] = []
        self._events: list[Event] = []
        self._entries: dict[UUID, list[Entry]] = {}
        self._flushed_rows = self._flushed_events = 0
        self._moved: set[UUID] = set()  # rooms whose head a batch within this one may have moved, if it was not undone
        self.depth = len(connection.savepoint_ids)  # of atomic() blocks
        self.broken = False
        self.now: datetime = timezone.now()

    def lock(self, rooms: Collection[UUID], *, skip_locked: bool = False) -> dict[UUID, Room]:
        """Take the row locks of these rooms' logs, in the order of their ids so that two transactions do not deadlock.

        Gives each room that exists, with its tenant; with ``skip_locked``, not those that another transaction holds.
        """
        missing = [room for room in rooms if room not in self._logs or room in self._moved]
        if missing:
            for room, epoch, written in _locked(missing, skip_locked=skip_locked):
                known = self._logs.get(room.pk)
                head = max(written, known.head) if known else written
                self._logs[room.pk] = _Log(room, epoch, head)
                self._written[room.pk] = written
                self._moved.discard(room.pk)
        return {room: self._logs[room].room for room in rooms if room in self._logs}

    def create(self, row: models.Model) -> None:
        """Insert this row with the batch, before its events. An event that names it needs its primary key now."""
        self._rows.append(row)

    def append(
        self,
        room: Room,
        name: str,
        data: msgspec.Struct | dict[str, Any] | None,
        *,
        by: Any = None,
        key: str | None = None,
        redacts: Sequence[int] = (),
        doubted: bool = False,
    ) -> int | None:
        """Append an event to the room's log; gives its seq, or None for a transient event, which has no place there.

        :param data: by the event's Struct, or a dict of its shape; None, with ``key``, removes the key of a latest one.
        :param by: the primary key of the user who did it.
        :param redacts: seqs of earlier events that :meth:`redact` changed.
        :param doubted: the data is a Struct that somebody else made: it is checked as a dict is.
        :raises ValueError: undeclared name, or data that its Struct refuses.
        """
        kind = _event_type(name)
        text, key = _checked(kind, data, key, doubted=doubted)
        by_id = None if by is None else str(by)
        render = partial(event_vector, name, text, room=room.address, at=self.now, by=by_id)
        if kind.policy is Policy.TRANSIENT:
            self._note(room.pk, Entry(None, name, render()))
            return None
        self.lock([room.pk])
        log = self._logs[room.pk]
        log.head += 1
        self._events.append(
            Event(
                log_id=room.pk,
                seq=log.head,
                name=name,
                key=key,
                data=text.decode(),
                redacts=list(redacts),
                at=self.now,
                by_id=by,
            )
        )
        self._note(room.pk, Entry(log.head, name, render(seq=log.head, key=key), key, tuple(redacts)))
        return log.head

    def head(self, room: Room) -> int:
        """The seq of the newest event, this batch's own ones counted in."""
        self.lock([room.pk])
        return self._logs[room.pk].head

    def log(self, room: Room) -> RoomLog:
        """The room's log as it stands in this batch, to be shown and not saved."""
        self.lock([room.pk])
        held = self._logs[room.pk]
        return RoomLog(room=room, epoch=held.epoch, head=held.head)

    def redact(self, room: Room, seqs: Collection[int], change: Callable[[Any], Any]) -> None:
        """Rewrite the data of earlier events in place; their seqs stay. Append an event that ``redacts`` them after."""
        self.lock([room.pk])
        self.flush()
        for event in Event.objects.filter(log=room.pk, seq__in=list(seqs)):
            event.data = encode(change(msgspec.json.decode(event.data))).decode()
            event.save(update_fields=["data"])

    def flush(self) -> None:
        """Write what waits. Needed before a query that must see it; done at the end by itself."""
        if not self._rows and not self._events:
            return
        events = self._newest_by_key()
        if self._moved:
            self.lock(list(self._moved))
        by_model: dict[type[models.Model], list[models.Model]] = {}
        for row in self._rows:
            by_model.setdefault(type(row), []).append(row)
        for alike in by_model.values():
            insert(alike)
        keyed = [Q(log=e.log_id, name=e.name, key=e.key) for e in events if e.key is not None]
        for start in range(0, len(keyed), CHUNK):
            superseded = Event.objects.filter(reduce(or_, keyed[start : start + CHUNK]))
            superseded._raw_delete(superseded.db)  # nothing refers to an event
        insert(events)
        for room, log in self._logs.items():
            if log.head != self._written[room]:
                _move(room, log.head)
                self._written[room] = log.head
        self._flushed_rows += len(self._rows)
        self._flushed_events += len(self._events)
        self._rows, self._events = [], []

    def step_aside(self) -> None:
        """A batch within this one goes on from our heads, and may be undone: look again at what the database has."""
        self._moved.update(self._logs)

    def notices(self) -> list[Notice]:
        """What to announce when this has been committed."""
        return [
            Notice(room, log.epoch if log else "", log.head if log else 0, entries)
            for room, entries in self._entries.items()
            for log in [self._logs.get(room)]
            if entries
        ]

    def mark(self) -> _Mark:
        return _Mark(
            self._flushed_rows + len(self._rows),
            self._flushed_events + len(self._events),
            {room: log.head for room, log in self._logs.items()},
            {room: len(entries) for room, entries in self._entries.items()},
        )

    def back_to(self, mark: _Mark) -> None:
        """Take back what came since the mark; where some of it is written already, the batch is broken."""
        rows, events = mark.rows - self._flushed_rows, mark.events - self._flushed_events
        if rows < 0 or events < 0:
            self.broken = True
            return
        del self._rows[rows:], self._events[events:]
        for room, log in self._logs.items():
            log.head = mark.heads.get(room, self._written[room])
        for room, entries in self._entries.items():
            del entries[mark.entries.get(room, 0) :]

    def _newest_by_key(self) -> list[Event]:
        """What waits, without values that were replaced within this batch, or in one inside it that wrote before."""
        newest: dict[tuple[UUID, str, str | None], int]
        newest = {(e.log_id, e.name, e.key): e.seq for e in self._events if e.key is not None}
        if newest and self._moved:
            for event in Event.objects.filter(log__in=self._moved, key__isnull=False):
                place = event.log_id, event.name, event.key
                newest[place] = max(event.seq, newest.get(place, 0))
        return [e for e in self._events if e.key is None or newest[e.log_id, e.name, e.key] == e.seq]

    def _note(self, room: UUID, entry: Entry) -> None:
        self._entries.setdefault(room, []).append(entry)


class _Current(threading.local):
    batch: Batch | None = None


_current = _Current()


_writer = threading.RLock()


@contextmanager
def writing() -> Iterator[None]:
    """``atomic()``, for a transaction that writes: on SQLite the threads of a process wait for each other here.

    SQLite has one writer, and whoever waits for it sleeps and looks again, up to 100 ms later and in no order. Whoever
    holds this for long (a hook of a host's after the commit may) loses its worth, not the others' writes.
    """
    alone = connection.vendor == "sqlite" and not connection.in_atomic_block and _writer.acquire(timeout=PATIENCE)
    try:
        with transaction.atomic():
            yield
    finally:
        if alone:
            _writer.release()


class BrokenBatch(Exception):
    """Part of the batch failed after it was written; nothing of the transaction can stay."""


@contextmanager
def batch() -> Iterator[Batch]:
    """A transaction with its events; it nests like ``atomic()``, the outermost one writes and announces.

    An exception that leaves an inner one takes back what came in it; caught outside, the rest goes on. One that is
    opened in an ``atomic()`` inside the outer one writes for itself, so that it is undone together with that block.

    :raises BrokenBatch: at the end of the outermost one, when something was caught that could not be taken back.
    """
    outer = _current.batch
    if outer is not None and outer.depth == len(connection.savepoint_ids):
        mark = outer.mark()
        try:
            yield outer
        except BaseException:
            outer.back_to(mark)
            raise
        return
    if outer is not None:
        outer.step_aside()
    with writing():
        own = _current.batch = Batch(outer)
        try:
            yield own
            if own.broken:
                raise BrokenBatch
            own.flush()
        finally:
            _current.batch = outer
        notices = own.notices()
        if notices:
            transaction.on_commit(partial(committed.send_robust, sender=Batch, notices=notices), robust=True)


def append(room: Room, name: str, data: msgspec.Struct | dict[str, Any] | None, **options: Any) -> int | None:
    """One event in a batch of its own, or in the one that is open; see :meth:`Batch.append`."""
    with batch() as current:
        return current.append(room, name, data, **options)


def create(rooms: Sequence[Room]) -> None:
    """Begin the logs of new rooms."""
    RoomLog.objects.bulk_create([RoomLog(room=room) for room in rooms])


def trim(room: UUID, *, keep: int, since: datetime) -> int:
    """Forget all but the newest ``keep`` events and what is older than ``since``; gives how many rows went.

    The newest value of a key stays for ever, the mark of a removed key until the floor has passed it.
    """
    with batch() as current:
        if room not in current.lock([room]):
            return 0
        log = RoomLog.objects.get(room=room)
        events = Event.objects.filter(log=room)
        old = events.filter(at__lt=since).aggregate(seq=models.Max("seq"))["seq"] or 0
        floor = max(log.floor, log.head - keep, old)
        gone, _ = events.filter(Q(key=None) | Q(data=NULL), seq__lte=floor).delete()
        if floor != log.floor:
            RoomLog.objects.filter(room=room).update(floor=floor)
        return gone


def _locked(rooms: Collection[UUID], *, skip_locked: bool) -> list[tuple[Room, str, int]]:
    """Each room with its tenant, and epoch and head of its log; the log's row is locked, where there are row locks."""
    room, tenant = columns(Room, "room"), columns(Tenant, "tenant")
    sql = f"""
        SELECT log.epoch, log.head, {room}, {tenant}
        FROM {table(RoomLog)} log
        JOIN {table(Room)} room ON room.id = log.room_id
        JOIN {table(Tenant)} tenant ON tenant.id = room.tenant_id
        WHERE log.room_id IN ({marks(rooms)})
        ORDER BY log.room_id
    """  # noqa: S608 the names are the models' own, the values are parameters
    if connection.features.has_select_for_update:
        sql += f"FOR UPDATE OF log {'SKIP LOCKED' if skip_locked else ''}"
    key = Room._meta.pk
    with connection.cursor() as cursor:
        cursor.execute(sql, [key.get_db_prep_value(each, connection) for each in rooms])
        found = cursor.fetchall()
    locked = []
    for epoch, head, *values in found:
        one = room.row(values[: len(room)])
        one.tenant = tenant.row(values[len(room) :])
        locked.append((one, epoch, head))
    return locked


def _move(room: UUID, head: int) -> None:
    key = Room._meta.pk.get_db_prep_value(room, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table(RoomLog)} SET head = %s WHERE room_id = %s", [head, key])  # noqa: S608


def _event_type(name: str) -> EventType:
    try:
        return EVENTS[name]
    except KeyError:
        raise ValueError(f"The event {name!r} is not declared: use @rooms.event") from None


def _checked(kind: EventType, data: Any, key: str | None, *, doubted: bool) -> tuple[bytes, str | None]:
    """The JSON of the data, and its key."""
    if data is None:
        if kind.policy is not Policy.LATEST or key is None:
            raise ValueError(f"{kind.name}: null data removes a key of a latest event, and names it")
        return NULL.encode(), _checked_key(kind, key)
    try:
        struct = msgspec.convert(data, kind.data) if isinstance(data, dict) else data
        text = encode(struct)
        if struct is data and (doubted or not isinstance(struct, kind.data)):  # its constructor checks nothing
            msgspec.json.decode(text, type=kind.data)
    except (msgspec.ValidationError, TypeError) as error:  # TypeError: what JSON has no word for
        raise ValueError(f"{kind.name}: {error}") from error
    if contract.holds_nul(text):
        raise ValueError(f"{kind.name}: U+0000 cannot be stored")
    return text, _checked_key(kind, kind.key(struct)) if kind.key else None


def _checked_key(kind: EventType, key: str) -> str:
    if len(key) > KEY_MAX or "\0" in key:
        raise ValueError(f"{kind.name}: a key has at most {KEY_MAX} characters, and not U+0000")
    return key


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """One consistent look at a log: where it stands, and some of its events in order."""

    epoch: str
    floor: int
    head: int
    entries: list[Entry]

    def follows(self, cursor: Cursor) -> bool:
        """Whether a reader at this cursor can go on without a loss."""
        return self.epoch == cursor.epoch and self.floor <= cursor.seq <= self.head


def read(room: UUID, after: int, limit: int) -> Reading | None:
    """The events after ``after``, at most ``limit``; None when the room is gone.

    One statement outside any transaction, so that epoch, floor, head and rows belong to one moment. Holes below the
    head are compaction: the successor of a key always lies above.
    """
    return _read(room, after, limit)


def state(room: UUID, after: int, limit: int) -> Reading | None:
    """The present value of each key, those with a seq above ``after`` in rising seq; None when the room is gone."""
    return _read(room, after, limit, which=f"AND event.key IS NOT NULL AND event.data <> '{NULL}'")


def positions(rooms: Iterable[UUID]) -> dict[UUID, tuple[str, int]]:
    """Epoch and head of each room that exists; one query."""
    rows = RoomLog.objects.filter(room__in=list(rooms)).values_list("room", "epoch", "head")
    return {room: (epoch, head) for room, epoch, head in rows}


def position(room: Room) -> Cursor:
    """The cursor after the newest event. Taken before rows are read, it is what ``Live-Cursor`` says."""
    epoch, head = RoomLog.objects.values_list("epoch", "head").get(room=room)
    return Cursor(epoch, head)


def latest(room: Room, name: str, key: str) -> Any:
    """The present data under a key of a latest event, or None."""
    text = Event.objects.filter(log=room.pk, name=name, key=key).values_list("data", flat=True).first()
    return None if text is None else msgspec.json.decode(text)


def _read(room: UUID, after: int, limit: int, *, which: str = "") -> Reading | None:
    event = columns(Event, "event", "seq", "name", "key", "data", "redacts", "at", "by")
    sql = f"""
        SELECT log.epoch, log.floor, log.head, tenant.slug, room.slug, room.kind, {event}
        FROM {table(RoomLog)} log
        JOIN {table(Room)} room ON room.id = log.room_id
        JOIN {table(Tenant)} tenant ON tenant.id = room.tenant_id
        LEFT JOIN {table(Event)} event ON event.log_id = log.room_id AND event.seq > %s {which}
        WHERE log.room_id = %s
        ORDER BY event.seq
        LIMIT %s
    """  # noqa: S608 the names are the models' own, the values are parameters
    with connection.cursor() as cursor:
        cursor.execute(sql, [after, Room._meta.pk.get_db_prep_value(room, connection), limit])
        rows = cursor.fetchall()
    reading = None
    for epoch, floor, head, tenant, slug, kind, *found in rows:
        reading = reading or Reading(epoch, floor, head, [])
        if found[0] is None:
            break
        seq, name, key, data, redacts, at, by = event.values(found)
        vector = event_vector(
            name,
            data.encode(),
            room=f"{tenant}/{'~me' if kind == Room.Kind.ME else slug}",
            at=at,
            by=None if by is None else str(by),
            seq=seq,
            key=key,
        )
        reading.entries.append(Entry(seq, name, vector, key, tuple(redacts)))
    return reading

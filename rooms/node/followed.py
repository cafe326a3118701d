"""A room that somebody on this node reads: its feed, its readers, and the reads of the log that keep both right."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID

from rooms import log, metrics
from rooms.conf import Config
from rooms.contract import Cursor, Refused, not_found, unavailable
from rooms.delivery.feed import MISSING, Feed, Taken, pack
from rooms.delivery.frames import Notice, frame, vector
from rooms.delivery.reader import Reader
from rooms.log import Reading
from rooms.node.database import Database
from rooms.node.flush import Flush

logger = logging.getLogger(__name__)

HISTORY = 256  # events in one read of the log


class Node(Protocol):
    """What a followed room needs of its hub."""

    config: Config
    loop: asyncio.AbstractEventLoop
    database: Database

    @property
    def sees(self) -> bool: ...

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]: ...

    def end(self, readers: Iterable[Reader], code: str) -> None: ...

    def snapshot(self, reader: Reader) -> bytes | None: ...


class Followed:
    """Events come in by :meth:`offer` in any order; readers get them by :meth:`serve` in the order of the log.

    Whatever is missing is read from the log, and each read serves everybody who waits for the same.
    """

    __slots__ = (
        "_closed",
        "_flush",
        "_gap_timer",
        "_leaving",
        "_mending",
        "_node",
        "_reads",
        "_told",
        "_waiting",
        "feed",
        "readers",
        "room",
    )

    def __init__(self, node: Node, room: UUID, address: str) -> None:
        self._node = node
        self.room = room
        self.feed = Feed(
            address,
            max_events=node.config.ring_events,
            max_bytes=node.config.ring_bytes,
            frame_bytes=node.config.max_frame_bytes,
            frame_events=node.config.frame_events,
        )
        self.readers: dict[Reader, None] = {}
        self._closed = False
        self._leaving: asyncio.TimerHandle | None = None
        self._flush = Flush(node, self.feed, self.readers)
        self._told = 0  # the highest head that anybody spoke of
        self._gap_timer: asyncio.TimerHandle | None = None
        self._mending: asyncio.Task[None] | None = None
        self._reads: dict[int, asyncio.Task[Reading]] = {}  # by cursor: shared while under way
        self._waiting: dict[tuple[int, bool], dict[Reader, None]] = {}  # by (cursor, state): readers behind the ring

    def linger(self, seconds: float, leave: Callable[[Followed], None]) -> None:
        """The last reader comes back in a moment: keep the feed until then, and leave if nobody does."""
        if self._leaving is not None:
            self._leaving.cancel()
        self._leaving = self._node.loop.call_later(seconds, leave, self)

    def close(self) -> None:
        self._closed = True
        for timer in (self._gap_timer, self._leaving):
            if timer is not None:
                timer.cancel()
        self._gap_timer = self._leaving = None

    # --- events come in

    def offer(self, notice: Notice) -> None:
        feed = self.feed
        if feed.offer(notice.epoch, notice.entries):
            self._flush.soon()
        if not notice.epoch:
            return  # transients alone
        if feed.head is not None and notice.epoch != feed.epoch:
            self.mend("epoch")
            return
        self._told = max(self._told, notice.head)
        self._expect()

    def compare(self, before: int, found: tuple[str, int]) -> None:
        """What the database says of the log, asked for when the feed's head was ``before``."""
        epoch, head = found
        assert self.feed.head is not None
        if epoch != self.feed.epoch or head < before:
            self.mend("history")
        elif head > self.feed.head:
            self.mend("behind")

    def _expect(self) -> None:
        """Events that were spoken of and are not here have ``gap_grace`` to come by themselves."""
        head = self.feed.head
        if head is not None and self._told > head and self._gap_timer is None:
            self._gap_timer = self._node.loop.call_later(self._node.config.gap_grace, self._gap)

    def _gap(self) -> None:
        self._gap_timer = None
        if self.feed.head is not None and self._told > self.feed.head:
            self.mend("gap")

    # --- a reader's place

    async def place(self, reader: Reader, cursor: Cursor | None, *, state: bool) -> str:
        """Put the reader where it goes on, and give the verdict of its join.

        What it misses is read later, by policy and as its credit allows.

        :raises Refused: ``unavailable``, ``not_found``.
        """
        feed = self.feed
        if feed.head is None:
            await self._begin(cursor)
        assert feed.head is not None
        verdict, start = "live", feed.head
        if cursor is not None:
            if cursor.epoch != feed.epoch or cursor.seq > feed.head:
                await self._mend()  # a fresh look, never an older one that is under way
            resumable = cursor.epoch == feed.epoch and cursor.seq <= feed.head
            resumable = resumable and feed.head - cursor.seq <= self._node.config.max_replay
            if resumable and cursor.seq < feed.tail:
                reading = await self._read_shared(cursor.seq)
                self._take_in(cursor.seq, reading)
                resumable = reading.follows(cursor)
            verdict, start = ("resumed", cursor.seq) if resumable else ("reset", feed.head)
        reader.cursor, reader.epoch = start, feed.epoch
        reader.state_after = 0 if state else None
        return verdict

    async def _begin(self, cursor: Cursor | None) -> None:
        """Read for the first time where the room stands, and with it what the first reader missed."""
        after = cursor.seq if cursor else 2**53
        reading = await self._read_shared(after)
        if self.feed.head is None:
            self.feed.begin(reading.epoch, reading.head)
            self.feed.keep(after, reading.entries, reading.head, floor=reading.floor)
            self._flush.soon()
            self._expect()

    # --- reading the log

    async def _read(self, after: int, *, state: bool = False) -> Reading:
        """:raises Refused: ``unavailable`` without the database, ``not_found`` when the room is gone."""
        metrics.log_reads.inc()
        try:
            tenant = self.feed.address.partition("/")[0]
            reading = await self._node.database.work_for(
                tenant, log.state if state else log.read, self.room, after, HISTORY
            )
        except Exception as error:
            logger.warning("the log could not be read: %r", error)
            raise unavailable() from error
        if reading is None:
            raise not_found()
        return reading

    async def _read_shared(self, after: int) -> Reading:
        """As :meth:`_read`; whoever asks for the same while it is under way gets the same answer."""
        task = self._reads.get(after)
        if task is None:
            task = self._reads[after] = self._node.run(self._read(after))
            task.add_done_callback(lambda _: self._reads.pop(after, None))
        return await asyncio.shield(task)

    def _take_in(self, after: int, reading: Reading) -> None:
        """Use what was read for everybody: newer events for the feed, older ones for its ring."""
        feed = self.feed
        if reading.epoch != feed.epoch or feed.head is None:
            return
        last = reading.head if len(reading.entries) < HISTORY else reading.entries[-1].seq
        assert last is not None
        if reading.floor > feed.head:  # trimmed before we read it, not superseded: readers below are reset
            feed.begin(reading.epoch, reading.head)
            self._flush.soon()
        elif after <= feed.head < last:
            feed.mend(reading.entries, last)
            self._flush.soon()
        feed.keep(after, reading.entries, reading.head, floor=reading.floor)

    def mend(self, reason: str) -> None:
        """Bring the feed to where the log is, soon."""
        if self._mending is None and self.feed.head is not None:
            metrics.heals.labels(reason).inc()
            self._mending = self._node.run(self._mend_later())

    async def _mend_later(self) -> None:
        try:
            await self._mend()
        except Refused as refused:  # without the database the next heal tries again
            if refused.code == "not_found":
                self._node.end(list(self.readers), "revoked")
        finally:
            self._mending = None

    async def _mend(self) -> None:
        """Read on from the feed's head until it is where the log is; another history resets the readers.

        :raises Refused: ``unavailable``, ``not_found``.
        """
        feed = self.feed
        while not self._closed:
            before = feed.head
            assert before is not None
            reading = await self._read(before)
            if reading.epoch != feed.epoch or reading.head < before:
                self._begin_again(reading)
                return
            if reading.head - before > self._node.config.ring_events:  # more than the ring holds: each reads for itself
                feed.begin(reading.epoch, max(reading.head, feed.head or 0))
                self._flush.soon()
                return
            self._take_in(before, reading)
            if len(reading.entries) < HISTORY:
                return

    def _begin_again(self, reading: Reading) -> None:
        """The room's history broke: another epoch, or a head that went back. Its readers are told."""
        metrics.heals.labels("reset").inc()
        self._told = 0
        self.feed.begin(reading.epoch, reading.head)
        for reader in list(self.readers):
            if reader.joined:
                _reset(reader, reading)

    # --- readers are served

    def wake(self) -> None:
        """Readers who missed a flush, or waited for a snapshot, are served."""
        for reader in list(self.readers):
            if reader.live and self.feed.head is not None and (reader.cursor < self.feed.head or reader.stale):
                reader.connection.wait(reader)

    def serve(self, reader: Reader) -> bool:
        """One frame for a reader who is behind and whose connection has room; whether it may want another one."""
        if not reader.live or not self._node.sees:
            return False
        state = reader.state_after is not None
        taken = MISSING if state else self.feed.take(reader.cursor)
        if taken is None:
            self._give_snapshot(reader)
            return False
        if taken is not MISSING:
            return _deliver(reader, taken)
        key = (reader.state_after if reader.state_after is not None else reader.cursor, state)
        if key in self._waiting:
            self._waiting[key][reader] = None
        else:
            self._waiting[key] = {reader: None}
            self._node.run(self._catch_up(*key))
        return False

    async def _catch_up(self, after: int, state: bool) -> None:
        """One read of the log for all readers at this place."""
        try:
            reading = await self._read(after, state=state)
        except Refused as refused:
            readers = list(self._waiting.pop((after, state)))
            if refused.code == "not_found":
                self._node.end(readers, "revoked")
            else:  # the database is away: ask again when it may be back
                self._node.loop.call_later(self._node.config.heal_interval, _serve_all, readers)
            return
        if not state:
            self._take_in(after, reading)
        outdated = reading.epoch == self.feed.epoch and self.feed.outdated(reading.head)
        for reader in self._waiting.pop((after, state)):
            if not outdated and reader.live and after == (reader.state_after if state else reader.cursor):
                if reading.epoch != reader.epoch:  # which of the two is older, a fresh look tells
                    self.mend("epoch")
                    continue
                if state:
                    self._give_state(reader, reading)
                elif reading.follows(Cursor(reader.epoch, after)):
                    self._give(reader, reading)
                else:  # trimmed away under a slow reader
                    _reset(reader, reading)
            serve_soon(reader)

    def _give(self, reader: Reader, reading: Reading) -> None:
        taken = pack(
            reader.grant.address,
            reading.entries,
            after=reader.cursor,
            end=reading.head if len(reading.entries) < HISTORY else None,
            frame_bytes=self._node.config.max_frame_bytes,
            frame_events=self._node.config.frame_events,
        )
        if taken is not None:
            _deliver(reader, taken)

    def _give_snapshot(self, reader: Reader) -> None:
        """The reader is at the head: what it was passed over, as a whole."""
        if not reader.stale or self._flush.is_unsettled:  # then the flush that comes, or goes on, serves it
            return
        snapshot = self._node.snapshot(reader)
        if snapshot is not None:
            taken = Taken(frame([snapshot]), reader.cursor, events=1, skipped=0)
            reader.stale = not _deliver(reader, taken)

    def _give_state(self, reader: Reader, reading: Reading) -> None:
        """The values up to the reader's cursor; newer ones come as events."""
        assert reader.state_after is not None
        entries = [entry for entry in reading.entries if entry.seq is not None and entry.seq <= reader.cursor]
        taken = pack(
            reader.grant.address,
            entries,
            after=reader.state_after,
            end=None,
            frame_bytes=self._node.config.max_frame_bytes,
            frame_events=self._node.config.frame_events,
            gaps=False,
        )
        if taken is None:
            reader.state_after = None
        elif _deliver(reader, replace(taken, cursor=reader.cursor)):
            rest = taken.events < len(entries) or len(reading.entries) == HISTORY
            reader.state_after = taken.cursor if rest else None


def _deliver(reader: Reader, taken: Taken) -> bool:
    if not reader.connection.deliver(reader, taken, time.monotonic()):
        return False
    metrics.deliveries.inc(taken.events)
    metrics.frames.inc()
    if taken.skipped:
        metrics.skipped.inc(taken.skipped)
    return True


def serve_soon(reader: Reader) -> None:
    """As soon as its connection has room."""
    if reader.live:
        reader.connection.wait(reader)


def _serve_all(readers: list[Reader]) -> None:
    for reader in readers:
        serve_soon(reader)


def _reset(reader: Reader, reading: Reading) -> None:
    reader.epoch, reader.cursor, reader.state_after = reading.epoch, reading.head, None
    cursor = str(Cursor(reading.epoch, reading.head))
    data = {"cursor": cursor, "reason": "The room's history is not the one that was read."}
    reader.connection.say(vector("live.reset", data, room=reader.grant.address))

"""Feeds ⇄ doorbell ⇄ log: what this node knows of its rooms, and how it mends what it missed.

The hub lives on one event loop and is touched from that loop only; :meth:`Hub.announce_from_thread` is the one way in
from elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import DatabaseError

from rooms import access, log, metrics
from rooms.access import Grant
from rooms.conf import Config, config
from rooms.contract import Cursor, Refused, Right, not_found, unavailable
from rooms.delivery.feed import MISSING, Feed, pack
from rooms.delivery.frames import Notice, vector
from rooms.delivery.reader import Reader
from rooms.log import Reading
from rooms.node.connection import Connection
from rooms.node.database import Database
from rooms.node.doorbell import Doorbell
from rooms.node.writer import Writer

logger = logging.getLogger(__name__)

HISTORY = 256  # events in one read of the log for readers who are behind
CHUNK = 500  # rooms or grants in one query of a heal
LEFT = {
    "revoked": "You may no longer read this room.",
    "archived": "This room was archived.",
    "tenant_suspended": "This tenant is suspended.",
}

T = TypeVar("T")


class Joined(NamedTuple):
    """The answer to a join, before it is written."""

    reader: Reader
    verdict: str
    cursor: Cursor
    head: int


class Followed:
    """A room that somebody here reads: its feed, its readers and the work under way for them."""

    __slots__ = ("feed", "flushing", "gap_timer", "mending", "readers", "reads", "room", "told", "waiting")

    def __init__(self, room: UUID, feed: Feed) -> None:
        self.room = room
        self.feed = feed
        self.readers: dict[Reader, None] = {}
        self.flushing = False
        self.told = 0  # the highest head that anybody spoke of
        self.gap_timer: asyncio.TimerHandle | None = None
        self.mending: asyncio.Task[None] | None = None
        self.reads: dict[int, asyncio.Task[Reading]] = {}  # by cursor: shared while under way
        self.waiting: dict[tuple[int, bool], dict[Reader, None]] = {}  # by (cursor, state): readers behind the ring


class Hub:
    def __init__(self, settings: Config | None = None) -> None:
        self.config = settings or config()
        self.loop = asyncio.get_running_loop()
        self.database = Database(threads=self.config.threads, control_threads=self.config.control_threads)
        self.writer = Writer(self.database, batch=self.config.batch)
        self.rooms: dict[UUID, Followed] = {}
        self.connections: dict[str, Connection] = {}
        self.doorbell = Doorbell(self.config, self.hear, self._heal_one)
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        self.doorbell.start()
        self._run(self._every(self.config.heal_interval, self.heal))
        self._run(self._every(self.config.grant_ttl / 3, self.sweep))
        self._run(self._tick())

    async def stop(self) -> None:
        """Finish the commands, leave the layer, end the threads."""
        await self.writer.drain()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.doorbell.stop()
        await asyncio.to_thread(self.database.close)

    # --- events come in

    def announce(self, notices: Iterable[Notice]) -> None:
        """Events that this process committed: to our own feeds at once, then to the other nodes."""
        for notice in notices:
            metrics.events.labels("own").inc(len(notice.entries))
            self._offer(notice)
            self.doorbell.ring(notice)

    def announce_from_thread(self, notices: Iterable[Notice]) -> None:
        self.loop.call_soon_threadsafe(self.announce, notices)

    def hear(self, notice: Notice) -> None:
        """Events that another node committed."""
        metrics.events.labels("layer").inc(len(notice.entries))
        self._offer(notice)

    def _offer(self, notice: Notice) -> None:
        followed = self.rooms.get(notice.room)
        if followed is None:
            return
        feed = followed.feed
        if feed.offer(notice.epoch, notice.entries):
            self._flush_soon(followed)
        if not notice.epoch:
            return  # transients alone
        if feed.head is not None and notice.epoch != feed.epoch:
            self._mend(followed, "epoch")
            return
        followed.told = max(followed.told, notice.head)
        self._expect(followed)

    def _expect(self, followed: Followed) -> None:
        """Events that were spoken of and are not here have ``gap_grace`` to come by themselves."""
        head = followed.feed.head
        if head is not None and followed.told > head and followed.gap_timer is None:
            followed.gap_timer = self.loop.call_later(self.config.gap_grace, self._gap, followed)

    def _gap(self, followed: Followed) -> None:
        followed.gap_timer = None
        if followed.feed.head is not None and followed.told > followed.feed.head:
            self._mend(followed, "gap")

    # --- joining and leaving

    async def join(self, connection: Connection, address: str, cursor: Cursor | None, state: bool) -> Joined:
        """Take a reader into the room's feed and find its place. It gets nothing before :meth:`attach`.

        :raises Refused: ``not_found``, ``forbidden``, ``unavailable``.
        """
        grant = await self._ask(access.authorize, connection.user, address)
        grant.require(Right.READ)
        if grant.archived:
            raise Refused("forbidden", "This room is archived.")
        followed = self._follow(grant)
        reader = Reader(connection, followed.feed, grant)
        followed.readers[reader] = None
        try:
            joined = await self._place(followed, reader, cursor, state)
            if reader not in followed.readers:  # the room ended meanwhile
                raise not_found()
        except BaseException:
            self.leave(reader)
            raise
        metrics.joins.labels(joined.verdict).inc()
        return joined

    def attach(self, reader: Reader) -> None:
        """The answer to the join is written: from now on the reader is served."""
        reader.live = True
        self._serve_soon(reader)

    def leave(self, reader: Reader) -> None:
        """Nothing more is delivered to this reader. Who leaves last closes the feed."""
        reader.live = False
        reader.connection.forget(reader)
        followed = self.rooms.get(reader.grant.room)
        if followed is None or reader not in followed.readers:
            return
        del followed.readers[reader]
        if not followed.readers:
            self._unfollow(followed)

    def detach(self, connection: Connection) -> None:
        """The connection is over: its readers leave."""
        for reader in list(connection.session.rooms.values()):
            self.leave(reader)
        connection.session.rooms.clear()
        self.connections.pop(connection.id, None)

    def _follow(self, grant: Grant) -> Followed:
        followed = self.rooms.get(grant.room)
        if followed is None:
            feed = Feed(
                grant.address,
                max_events=self.config.ring_events,
                max_bytes=self.config.ring_bytes,
                frame_bytes=self.config.max_frame_bytes,
            )
            followed = self.rooms[grant.room] = Followed(grant.room, feed)
            self.doorbell.follow(grant.room)
            metrics.feeds.set(len(self.rooms))
        return followed

    def _unfollow(self, followed: Followed) -> None:
        if self.rooms.get(followed.room) is followed:
            del self.rooms[followed.room]
            self.doorbell.unfollow(followed.room)
            metrics.feeds.set(len(self.rooms))
        if followed.gap_timer is not None:
            followed.gap_timer.cancel()
            followed.gap_timer = None

    async def _place(self, followed: Followed, reader: Reader, cursor: Cursor | None, state: bool) -> Joined:
        """The verdict. What the reader misses is read later, by policy and as its credit allows."""
        feed = followed.feed
        if feed.head is None:
            await self._begin(followed, cursor)
        assert feed.head is not None
        verdict, start = "live", feed.head
        if cursor is not None:
            if cursor.epoch != feed.epoch or cursor.seq > feed.head:
                await self._mend_now(followed)  # a fresh look, never an older one that is under way
            resumable = cursor.epoch == feed.epoch and cursor.seq <= feed.head <= cursor.seq + self.config.max_replay
            if resumable and cursor.seq < feed.tail:
                reading = await self._read_shared(followed, cursor.seq)
                self._take_in(followed, cursor.seq, reading)
                resumable = reading.follows(cursor)
            verdict, start = ("resumed", cursor.seq) if resumable else ("reset", feed.head)
        reader.cursor, reader.epoch = start, feed.epoch
        reader.state_after = 0 if state else None
        return Joined(reader, verdict, Cursor(feed.epoch, start), feed.head)

    # --- reading the log

    async def _begin(self, followed: Followed, cursor: Cursor | None) -> None:
        """Read for the first time where the room stands, and with it what the first reader missed."""
        feed = followed.feed
        after = cursor.seq if cursor else 2**53
        reading = await self._read_shared(followed, after)
        if feed.head is None:
            feed.begin(reading.epoch, reading.head)
            feed.keep(after, reading.entries, reading.head)
            self._flush_soon(followed)
            self._expect(followed)

    async def _read(self, followed: Followed, after: int, *, state: bool = False) -> Reading:
        """:raises Refused: ``unavailable`` without the database, ``not_found`` when the room is gone."""
        metrics.log_reads.inc()
        try:
            reading = await self.database.work(log.state if state else log.read, followed.room, after, HISTORY)
        except Exception as error:
            logger.warning("the log could not be read: %r", error)
            raise unavailable() from error
        if reading is None:
            raise not_found()
        return reading

    async def _read_shared(self, followed: Followed, after: int) -> Reading:
        """As :meth:`_read`; whoever asks for the same while it is under way gets the same answer."""
        task = followed.reads.get(after)
        if task is None:
            task = followed.reads[after] = self._run(self._read(followed, after))
            task.add_done_callback(lambda _: followed.reads.pop(after, None))
        return await asyncio.shield(task)

    def _take_in(self, followed: Followed, after: int, reading: Reading) -> None:
        """Use what was read for everybody: newer events for the feed, older ones for its ring."""
        feed = followed.feed
        if reading.epoch != feed.epoch or feed.head is None:
            return
        last = reading.head if len(reading.entries) < HISTORY else reading.entries[-1].seq
        assert last is not None
        if after <= feed.head < last:
            feed.mend(reading.entries, last)
            self._flush_soon(followed)
        feed.keep(after, reading.entries, reading.head)

    def _mend(self, followed: Followed, reason: str) -> None:
        if followed.mending is None and followed.feed.head is not None:
            metrics.heals.labels(reason).inc()
            followed.mending = self._run(self._mend_later(followed))

    async def _mend_later(self, followed: Followed) -> None:
        try:
            await self._mend_now(followed)
        except Refused as refused:  # without the database the next heal tries again
            if refused.code == "not_found":
                self._end(list(followed.readers), "revoked")
        finally:
            followed.mending = None

    async def _mend_now(self, followed: Followed) -> None:
        """Read on from the feed's head until it is where the log is; another history resets the readers.

        :raises Refused: ``unavailable``, ``not_found``.
        """
        feed = followed.feed
        while self.rooms.get(followed.room) is followed:
            before = feed.head
            assert before is not None
            reading = await self._read(followed, before)
            if reading.epoch != feed.epoch or reading.head < before:
                self._begin_again(followed, reading)
                return
            if reading.head - before > self.config.ring_events:  # more than the ring holds: each reads for itself
                feed.begin(reading.epoch, max(reading.head, feed.head or 0))
                self._flush_soon(followed)
                return
            self._take_in(followed, before, reading)
            if len(reading.entries) < HISTORY:
                return

    def _begin_again(self, followed: Followed, reading: Reading) -> None:
        """The room's history broke: another epoch, or a head that went back. Its readers are told."""
        metrics.heals.labels("reset").inc()
        followed.told = 0
        followed.feed.begin(reading.epoch, reading.head)
        for reader in list(followed.readers):
            if reader.live:
                self._reset(reader, reading)

    def _reset(self, reader: Reader, reading: Reading) -> None:
        reader.epoch, reader.cursor, reader.state_after = reading.epoch, reading.head, None
        cursor = str(Cursor(reading.epoch, reading.head))
        data = {"cursor": cursor, "reason": "The room's history is not the one that was read."}
        reader.connection.say(vector("live.reset", data, room=reader.grant.address))

    # --- readers are served

    def _flush_soon(self, followed: Followed) -> None:
        """In the next turn of the loop: what comes until then shares a frame."""
        if not followed.flushing:
            followed.flushing = True
            self.loop.call_soon(self._flush, followed)

    def _flush(self, followed: Followed) -> None:
        followed.flushing = False
        feed = followed.feed
        if feed.head is None:
            return
        sealed = feed.seal()
        for reader in list(followed.readers):
            if not reader.live:
                continue
            if sealed is not None and reader.cursor == sealed.base and reader.state_after is None:
                for part in sealed.parts:
                    if not reader.connection.deliver(reader, part):
                        break
            if reader.cursor < feed.head:
                reader.connection.wait(reader)

    def _serve_soon(self, reader: Reader) -> None:
        if reader.live:
            reader.connection.wait(reader)

    def _serve_all(self, readers: list[Reader]) -> None:
        for reader in readers:
            self._serve_soon(reader)

    def serve(self, reader: Reader) -> bool:
        """One frame for a reader who is behind and whose connection has room; whether it may want another one."""
        followed = self.rooms.get(reader.grant.room)
        if followed is None or not reader.live:
            return False
        taken = MISSING if reader.state_after is not None else reader.feed.take(reader.cursor)
        if taken is None:
            return False
        if taken is not MISSING:
            return reader.connection.deliver(reader, taken)
        state = reader.state_after is not None
        key = (reader.state_after if reader.state_after is not None else reader.cursor, state)
        waiting = followed.waiting.get(key)
        if waiting is None:
            followed.waiting[key] = {reader: None}
            self._run(self._catch_up(followed, *key))
        else:
            waiting[reader] = None
        return False

    async def _catch_up(self, followed: Followed, after: int, state: bool) -> None:
        """One read of the log for all readers at this place."""
        try:
            reading = await self._read(followed, after, state=state)
        except Refused as refused:
            readers = list(followed.waiting.pop((after, state)))
            if refused.code == "not_found":
                self._end(readers, "revoked")
            else:  # the database is away: ask again when it may be back
                self.loop.call_later(self.config.heal_interval, self._serve_all, readers)
            return
        if not state:
            self._take_in(followed, after, reading)
        for reader in followed.waiting.pop((after, state)):
            if reader.live and after == (reader.state_after if state else reader.cursor):
                if reading.epoch != reader.epoch:  # which of the two is older, a fresh look tells
                    self._mend(followed, "epoch")
                    continue
                if state:
                    self._give_state(reader, reading)
                elif reading.follows(Cursor(reader.epoch, after)):
                    self._give(reader, reading)
                else:  # trimmed away under a slow reader
                    self._reset(reader, reading)
            self._serve_soon(reader)

    def _give(self, reader: Reader, reading: Reading) -> None:
        taken = pack(
            reader.grant.address,
            reading.entries,
            after=reader.cursor,
            end=reading.head if len(reading.entries) < HISTORY else None,
            frame_bytes=self.config.max_frame_bytes,
        )
        if taken is not None:
            reader.connection.deliver(reader, taken)

    def _give_state(self, reader: Reader, reading: Reading) -> None:
        """The values up to the reader's cursor; newer ones come as events."""
        assert reader.state_after is not None
        entries = [entry for entry in reading.entries if entry.seq is not None and entry.seq <= reader.cursor]
        taken = pack(
            reader.grant.address,
            entries,
            after=reader.state_after,
            end=None,
            frame_bytes=self.config.max_frame_bytes,
            gaps=False,
        )
        if taken is None:
            reader.state_after = None
        elif reader.connection.deliver(reader, replace(taken, cursor=reader.cursor)):
            rest = taken.events < len(entries) or len(reading.entries) == HISTORY
            reader.state_after = taken.cursor if rest else None

    # --- looking after everything

    async def heal(self) -> None:
        """Compare every feed with its log. A publish that failed, a node that died between commit and announcement, a
        layer that was flushed: all mended here.
        """
        for chunk in _chunks([followed for followed in self.rooms.values() if followed.feed.head is not None]):
            before = {followed.room: followed.feed.head for followed in chunk}
            found = await self.database.control(log.positions, list(before))
            for followed in chunk:
                if self.rooms.get(followed.room) is followed:
                    self._compare(followed, before[followed.room], found.get(followed.room))

    def _compare(self, followed: Followed, before: int | None, found: tuple[str, int] | None) -> None:
        feed = followed.feed
        assert before is not None
        assert feed.head is not None
        if found is None:
            self._end(list(followed.readers), "revoked")
        elif found[0] != feed.epoch or found[1] < before:
            self._mend(followed, "history")
        elif found[1] > feed.head:
            self._mend(followed, "behind")

    def _heal_one(self, room: UUID) -> None:
        """Its group was joined: what was announced before that was not heard."""
        followed = self.rooms.get(room)
        if followed is not None:
            self._mend(followed, "joined_group")

    async def sweep(self) -> None:
        """Ask the gate again about every reader: rights that were changed behind our back end here."""
        readers = [reader for followed in self.rooms.values() for reader in followed.readers]
        for chunk in _chunks(readers):
            grants = await self.database.control(access.authorize_many, [_ask(reader) for reader in chunk])
            for reader in chunk:
                grant = grants.get(_ask(reader))
                if grant is None or grant.room != reader.grant.room or Right.READ not in grant.can:
                    self._end([reader], "revoked")
                elif grant.archived:
                    self._end([reader], "archived")
                else:
                    reader.grant = grant

    def _end(self, readers: list[Reader], code: str) -> None:
        """End these subscriptions, and say so."""
        for reader in readers:
            was_live = reader.live
            self.leave(reader)
            address = reader.grant.address
            rooms = reader.connection.session.rooms
            if rooms.get(address) is reader:
                del rooms[address]
            if was_live:
                reader.connection.say(vector("live.left", {"code": code, "reason": LEFT[code]}, room=address))

    async def _tick(self) -> None:
        """Once a second: heartbeats and time limits of every connection, and the budget of the rings."""
        due = time.monotonic()
        while True:
            due += 1
            await asyncio.sleep(max(0, due - time.monotonic()))
            now = time.monotonic()
            metrics.loop_lag.set(now - due)
            due = max(due, now - 1)
            for number, connection in enumerate(list(self.connections.values())):
                connection.tick(now)
                if number % CHUNK == CHUNK - 1:
                    await asyncio.sleep(0)
            self._keep_budget()

    def _keep_budget(self) -> None:
        """Take from the largest rings until the node's budget holds; their readers read the log."""
        used = sum(followed.feed.bytes for followed in self.rooms.values())
        if used > self.config.node_ring_bytes:
            for followed in sorted(self.rooms.values(), key=lambda followed: -followed.feed.bytes):
                used -= followed.feed.bytes
                followed.feed.shrink()
                used += followed.feed.bytes
                if used <= self.config.node_ring_bytes:
                    break
        metrics.ring_bytes.set(used)

    async def _every(self, interval: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311 so that nodes do not ask in step
            try:
                await work()
            except Exception as error:
                metrics.dropped.labels("upkeep_failed").inc()
                logger.warning("%s failed and is tried again: %r", work.__name__, error)

    async def _ask(self, function: Callable[..., T], *args: Any) -> T:
        """:raises Refused: ``unavailable`` without the database, and what the function itself refuses."""
        try:
            return await self.database.control(function, *args)
        except DatabaseError as error:
            logger.warning("the database does not answer: %r", error)
            raise unavailable() from error

    def _run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.debug("a task of the hub failed", exc_info=task.exception())


def _ask(reader: Reader) -> access.Ask:
    return reader.connection.user, reader.grant.address


def _chunks(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]

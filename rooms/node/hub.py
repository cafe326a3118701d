"""Feeds ⇄ doorbell ⇄ log: what this node knows of its rooms, and how it mends what it missed.

The hub lives on one event loop and is touched from that loop only; :meth:`Hub.announce_from_thread` is the one way in
from elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import DatabaseError

from rooms import access, changes, log, metrics
from rooms.access import Grant
from rooms.commands import Command, Outcome
from rooms.conf import Config, config, site_limits
from rooms.contract import UNAUTHENTICATED, Cursor, Refused, Right, not_found, unavailable
from rooms.delivery.frames import Notice, vector
from rooms.delivery.reader import Reader
from rooms.delivery.session import Join
from rooms.node import checkpoint
from rooms.node.attendance import Attendance
from rooms.node.connection import Connection
from rooms.node.database import CHUNK, Database, chunks
from rooms.node.doorbell import Doorbell
from rooms.node.doorstep import Doorstep
from rooms.node.followed import Followed, serve_soon
from rooms.node.meter import Meter
from rooms.node.seats import SLOT, Seats
from rooms.node.store import shared
from rooms.node.watch import Watch
from rooms.node.writer import Writer
from rooms.services import tenants

logger = logging.getLogger(__name__)

LEFT = {
    "revoked": "You may no longer read this room.",
    "archived": "This room was archived.",
    "tenant_suspended": "This tenant is suspended.",
}

BATCHES = 2  # of commands, committed at once
TIDY = 10  # seconds between the times that we forget who asked for nothing

T = TypeVar("T")


class Joined(NamedTuple):
    """A join that was admitted, before its answer is written."""

    reader: Reader
    verdict: str
    cursor: Cursor
    head: int

    def answer(self) -> dict[str, Any]:
        return {
            "room": self.reader.grant.address,
            "verdict": self.verdict,
            "cursor": str(self.cursor),
            "epoch": self.cursor.epoch,
            "head": self.head,
            "can": sorted(self.reader.grant.can),
        }


class Hub:
    def __init__(
        self, settings: Config | None = None, *, attendance: Callable[[Hub], Attendance] | None = None
    ) -> None:
        """
        :param attendance: begins what keeps count of who comes and goes here.
        """
        self.config = settings or config()
        self.loop = asyncio.get_running_loop()
        self.database = Database(threads=self.config.threads, control_threads=self.config.control_threads)
        self.store = shared(self.config)
        self.meter = Meter(site_limits(), store=self.store, run=self.run)
        self.seats = Seats(site_limits(), lambda: self.meter.tenants, store=self.store, run=self.run)
        self.doorstep = Doorstep()
        self.writer = Writer(
            self.database,
            batch=self.config.batch,
            batches=BATCHES if self.database.writes_at_once else 1,
            lanes=max(1, self.config.threads // 2),
        )
        self.rooms: dict[UUID, Followed] = {}
        self.connections: dict[str, Connection] = {}
        self.draining = False  # nothing new is begun, what comes in stays unanswered
        self.spread = 0.0  # seconds over which those come back who are sent elsewhere
        self.doorbell = Doorbell(self.config, self.hear, self._heal_one)
        self._listeners: dict[UUID, Callable[[Notice], None]] = {}
        self._deserted = asyncio.Event()
        self._deserted.set()
        self.watch = Watch(self)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._tidied = time.monotonic()
        self.attendance = None if attendance is None else attendance(self)

    def start(self) -> None:
        self.listen(changes.NODES, self._rights_changed)
        self.doorbell.start()
        if self.attendance is not None:
            self.attendance.start()
        self.run(self._every(self.config.heal_interval, self.heal))
        self.run(self._every(self.config.grant_ttl / 3, self.watch.sweep))
        self.run(self.read_limits())
        self.run(self._every(self.config.grant_ttl / 3, self.read_limits))
        if self.store is not None:
            self.run(self._every(SLOT / 2.5, self.seats.share))
        if checkpoint.begin():
            self.run(self._every(checkpoint.EVERY, self.checkpoint))
        self.run(self._tick())

    async def stop(self) -> None:
        """Finish the commands, leave the layer, end the threads."""
        checkpoint.end()
        await self.writer.drain()
        if self.attendance is not None:
            await self.attendance.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.doorbell.stop()
        if self.store is not None:
            await self.store.close()
        await asyncio.to_thread(self.database.close)

    # --- events come in

    def announce(self, notices: Iterable[Notice]) -> None:
        """Events that this process committed: to our own feeds at once, then to the other nodes."""
        for notice in notices:
            self._take(notice, "own")
            self.doorbell.ring(notice)

    def announce_from_thread(self, notices: Iterable[Notice]) -> None:
        self.loop.call_soon_threadsafe(self.announce, notices)

    def hear(self, notice: Notice) -> None:
        """Events that another node committed."""
        self._take(notice, "layer")

    def listen(self, address: UUID, heard: Callable[[Notice], None]) -> None:
        """What is said to this address, here and on other nodes, is for nodes and not for readers."""
        self._listeners[address] = heard
        self.doorbell.follow(address)

    def _rights_changed(self, notice: Notice) -> None:
        change = changes.opened(notice)
        self.watch.doubt(change)
        if self.attendance is not None:
            self.attendance.doubted(change)
        if change.tenants:
            self.run(self.read_limits())

    def _take(self, notice: Notice, source: str) -> None:
        listener = self._listeners.get(notice.room)
        if listener is not None:
            listener(notice)
            return
        metrics.events.labels(source).inc(len(notice.entries))
        followed = self.rooms.get(notice.room)
        if followed is not None:
            followed.offer(notice)

    # --- commands

    def submit(self, command: Command, *, by: str = "commands_per_user") -> asyncio.Future[Outcome]:
        """Remembered? → limits → the writer. The outcome is the answer as JSON, or a :class:`Refused`.

        :param by: the user's limit that counts.
        """
        refused = None
        if command.user is None:
            refused = Refused("unauthenticated", "Log in to do this.")
        else:
            tenant = command.request.room.partition("/")[0]
            over = self.meter.command(str(command.user), tenant, time.monotonic(), by=by)
            if over is not None and over.recall and command.request.type.remembered:
                command = replace(command, over=over.refused)
            elif over is not None:
                refused = over.refused
        if refused is None:
            return self.writer.submit(command)
        metrics.commands.labels(command.request.type.name, refused.code).inc()
        future: asyncio.Future[Outcome] = self.loop.create_future()
        future.set_result(refused)
        return future

    async def read_limits(self) -> None:
        """Those that tenants have of their own. Without the database they stay as they are."""
        try:
            self.meter.tenants = await self.database.control(tenants.limits)
        except DatabaseError as error:
            logger.warning("the limits of tenants could not be read and will be again: %r", error)

    # --- joining and leaving

    async def join(self, connection: Connection, wanted: Sequence[Join]) -> list[Joined | Refused]:
        """Take readers into the rooms' feeds and find their places. They get nothing before :meth:`attach`.

        One question to the gate for all of them. Refused, each for itself: ``rate_limited``, ``too_many_connections``
        (of the tenant), ``not_found``, ``forbidden``, ``unavailable``.
        """
        late = [self._late(connection, join) for join in wanted]
        admitted = [join for join, refused in zip(wanted, late, strict=True) if refused is None]
        joined = iter(await self._join(connection, admitted) if admitted else ())
        outcomes = [next(joined) if refused is None else refused for refused in late]
        for outcome in outcomes:
            metrics.joins.labels(outcome.code if isinstance(outcome, Refused) else outcome.verdict).inc()
        return outcomes

    def _late(self, connection: Connection, join: Join) -> Refused | None:
        if join.quiet and join.cursor is not None:  # a poll that goes on is counted as one
            return None
        return self.meter.join(connection.speaker, join.room.partition("/")[0], time.monotonic())

    async def _join(self, connection: Connection, wanted: Sequence[Join]) -> list[Joined | Refused]:
        asks = [(connection.user, join.room) for join in wanted]
        asked_at = self.watch.changes
        try:
            grants = await self.database.control_for(connection.speaker, access.authorize_many, asks)
        except DatabaseError as error:
            logger.warning("the database does not answer: %r", error)
            outcomes: list[Joined | Refused] = [unavailable()] * len(wanted)
        else:
            seats = [
                self._seat(connection, grants.get(ask), present=join.present)
                for ask, join in zip(asks, wanted, strict=True)
            ]
            try:
                outcomes = list(await asyncio.gather(*map(self._place, seats, wanted)))
            except BaseException:
                for seat in seats:
                    if isinstance(seat, Reader):
                        self.leave(seat)
                raise
            if self.watch.changes != asked_at:  # rights moved meanwhile: nothing goes out until we asked again
                self.watch.ask_again(seat for seat in seats if isinstance(seat, Reader) and self._holds(seat))
        return outcomes

    def _seat(self, connection: Connection, grant: Grant | None, *, present: bool) -> Reader | Refused:
        if grant is None:
            return not_found()
        if Right.READ not in grant.can or grant.archived:
            return Refused("forbidden", "This room is archived." if grant.archived else "You may not read this room.")
        if connection.seat is not None:
            refused = connection.seat.enter(grant.address.partition("/")[0])
            if refused is not None:
                return refused
        followed = self._follow(grant)
        reader = Reader(connection, followed.feed, grant, present=present)
        followed.readers[reader] = None
        return reader

    async def _place(self, reader: Reader | Refused, join: Join) -> Joined | Refused:
        if isinstance(reader, Refused):
            return reader
        followed = self.rooms[reader.grant.room]
        try:
            verdict = await followed.place(reader, join.cursor, state=join.state)
        except Refused as refused:
            self.leave(reader)
            return refused
        if reader not in followed.readers:  # the room ended meanwhile
            return not_found()
        head = followed.feed.head
        assert head is not None
        return Joined(reader, verdict, Cursor(reader.epoch, reader.cursor), head)

    def attach(self, reader: Reader, *, anew: bool = True) -> None:
        """The answer to the join is written: from now on the reader is served.

        :param anew: it does not go on, unasked, from where a poll before left it.
        """
        reader.join()
        if self.attendance is not None:
            reader.stale = self.attendance.joined(reader, anew=anew)
        serve_soon(reader)

    def snapshot(self, reader: Reader) -> bytes | None:
        return None if self.attendance is None else self.attendance.snapshot(reader)

    def serve(self, reader: Reader) -> bool:
        """One frame for a reader who is behind and whose connection has room; whether it may want another one."""
        followed = self.rooms.get(reader.grant.room)
        return followed is not None and followed.serve(reader)

    def leave(self, reader: Reader, *, ended: bool = False) -> None:
        """Nothing more is delivered to this reader. Who leaves last closes the feed.

        :param ended: it may not read the room any longer.
        """
        if reader.joined and self.attendance is not None:
            self.attendance.left(reader, ended=ended)
        reader.leave()
        reader.connection.forget(reader)
        followed = self.rooms.get(reader.grant.room)
        if followed is None or reader not in followed.readers:
            return
        del followed.readers[reader]
        if reader.connection.seat is not None:
            reader.connection.seat.leave(reader.grant.address.partition("/")[0])
        if not followed.readers:
            if reader.connection.returns:
                followed.linger(self.config.feed_linger, self._unfollow)
            else:
                self._unfollow(followed)

    @contextmanager
    def holding(self, connection: Connection) -> Iterator[None]:
        """While it is open: known, counted, looked after. Whatever ends it, its readers leave their feeds."""
        metrics.connects.labels(connection.transport).inc()
        metrics.connections.labels(connection.transport).inc()
        self.connections[connection.id] = connection
        self._deserted.clear()
        if self.attendance is not None:
            self.attendance.opened(connection)
        try:
            yield
        finally:
            self.detach(connection)
            connection.lost()
            del self.connections[connection.id]
            if self.attendance is not None:
                self.attendance.closed(connection)
            if not self.connections:
                self._deserted.set()
            assert connection.closed is not None
            metrics.connections.labels(connection.transport).dec()
            metrics.disconnects.labels(connection.transport, str(connection.closed.code)).inc()

    def detach(self, connection: Connection) -> None:
        """The connection is over: its readers leave."""
        for reader in list(connection.session.rooms.values()):
            self.leave(reader)
        connection.session.rooms.clear()

    async def deserted(self) -> None:
        """Returns when the last connection has ended."""
        await self._deserted.wait()

    def _holds(self, reader: Reader) -> bool:
        followed = self.rooms.get(reader.grant.room)
        return followed is not None and reader in followed.readers

    def _follow(self, grant: Grant) -> Followed:
        followed = self.rooms.get(grant.room)
        if followed is None:
            followed = self.rooms[grant.room] = Followed(self, grant.room, grant.address)
            self.doorbell.follow(grant.room)
            metrics.feeds.set(len(self.rooms))
        return followed

    def _unfollow(self, followed: Followed) -> None:
        if followed.readers:  # one came while it lingered
            return
        if self.rooms.get(followed.room) is followed:
            del self.rooms[followed.room]
            self.doorbell.unfollow(followed.room)
            metrics.feeds.set(len(self.rooms))
        followed.close()

    # --- looking after everything

    async def heal(self) -> None:
        """Compare every feed with its log. A publish that failed, a node that died between commit and announcement, a
        layer that was flushed: all mended here.
        """
        for chunk in chunks([followed for followed in self.rooms.values() if followed.feed.head is not None]):
            before = {followed.room: followed.feed.head for followed in chunk}
            found = await self.database.control(log.positions, list(before))
            for followed in chunk:
                head, position = before[followed.room], found.get(followed.room)
                if self.rooms.get(followed.room) is not followed or head is None:
                    continue
                if position is None:
                    self.end(list(followed.readers), "revoked")
                else:
                    followed.compare(head, position)

    async def checkpoint(self) -> None:
        await self.database.upkeep(checkpoint.run)

    def _heal_one(self, room: UUID) -> None:
        """Its group was joined: what was announced before that was not heard."""
        followed = self.rooms.get(room)
        if followed is not None:
            followed.mend("joined_group")

    @property
    def sees(self) -> bool:
        return self.watch.sees

    def end(self, readers: Iterable[Reader], code: str) -> None:
        """End these subscriptions, and say so."""
        for reader in readers:
            was_joined = reader.joined
            self.leave(reader, ended=True)
            address = reader.grant.address
            rooms = reader.connection.session.rooms
            if rooms.get(address) is reader:
                del rooms[address]
            if was_joined and reader.held and reader.connection.owes(reader):
                reader.connection.cut()  # what waits for its socket may not be handed to it any more
            elif was_joined:
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
            await self.tick(now)

    async def tick(self, now: float) -> None:
        wall = time.time()
        for number, connection in enumerate(list(self.connections.values())):
            try:
                connection.tick(now)
                if connection.credential is not None and connection.credential.expires <= wall:
                    connection.close(UNAUTHENTICATED)
            except Exception:  # of one connection must not end the heartbeats of all
                metrics.dropped.labels("upkeep_failed").inc()
                logger.exception("connection %s could not be looked after", connection.id)
            if number % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
        self._keep_budget()
        if now - self._tidied > TIDY:
            self._tidied = now
            self.meter.tidy(now)

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

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Refused):  # that one has been told to whoever asked
            logger.error("a task of the hub died", exc_info=error)

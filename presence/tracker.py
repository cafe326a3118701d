"""Who is here: what this node's connections do, told to the database; what the database knows, told to its readers.

Comings and goings are gathered for ``flush`` seconds and written in one transaction. What changed is named to the other
nodes by a hint; each reads the named people again and tells its own readers the difference. A hint that was lost shows
in the room's version, which is looked at every ``heal_interval``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec

from presence import census, store
from presence import metrics as ours
from presence.conf import config
from presence.contract import DISCONNECTED, PresenceCounts
from presence.models import Connection as Row
from presence.models import Seat
from presence.state import WHOLE, Batch, Hints, Holding, Ledger, Roster, Saying
from rooms import metrics
from rooms.changes import Change
from rooms.contract import COMMAND_ID, FORBIDDEN, IDLE, PROTOCOL_ERROR, REPLACED, UNAUTHENTICATED
from rooms.delivery.frames import Entry, Notice, encode, event_vector
from rooms.delivery.reader import Reader
from rooms.node.connection import Connection
from rooms.node.database import chunks
from rooms.node.followed import Followed
from rooms.node.hub import Hub

logger = logging.getLogger(__name__)

HINTS = UUID(int=1)  # the address of all nodes, for what changed in the rooms
CHANGED, DISCONNECT = "presence.changed", "presence.disconnect"  # what is said there; other names are passed over
NAMELESS = "~"  # the connection of a long-poller who does not say which one it goes on with
FINAL = {1006, IDLE.code, PROTOCOL_ERROR.code, UNAUTHENTICATED.code, FORBIDDEN.code}  # no next poll comes by itself
RENEWED = 5  # seconds within which a poll's lease need not be renewed again


class Changed(msgspec.Struct, array_like=True):
    """A hint: the rooms' new versions, their counts, and whom it concerns."""

    rooms: dict[UUID, tuple[int, int, list[str]]]


class Here:
    """A room that somebody reads on this node."""

    __slots__ = ("awaited", "followed", "hints", "quiet_until", "roster", "vector", "whole")

    def __init__(self, followed: Followed, limit: int) -> None:
        self.followed = followed
        self.roster = Roster(limit=limit)
        self.hints = Hints()
        self.whole = True  # to be read from the beginning
        self.awaited = False  # a reader waits for its snapshot
        self.quiet_until = 0.0
        self.vector: bytes | None = None  # the state as it is now, made once


class Tracker:
    """One hub's. See :class:`rooms.node.attendance.Attendance`."""

    def __init__(self, hub: Hub) -> None:
        self.node = ""  # its start id, once it is registered
        self._hub = hub
        self._config = config()
        self._limit = hub.config.roster_limit
        self._ledger = Ledger(grace=self._config.leave_grace)
        self._holdings: dict[Connection, Holding] = {}
        self._polls: dict[UUID, Connection] = {}  # by holding, the poll that came last
        self._polled: dict[Connection, set[UUID]] = {}  # the rooms that it asked for
        self._ending: set[UUID] = set()  # holdings of long-pollers whose next poll is their last
        self._told: dict[tuple[UUID, UUID], int] = {}  # the version that a long-poller has of a room
        self._here: dict[UUID, Here] = {}
        self._counts: dict[UUID, tuple[str, dict[str, int]]] = {}  # to be told in each ``~all``
        self._dirty = asyncio.Event()
        self._hinted = asyncio.Event()
        self._writing = asyncio.Lock()
        self._renewed = 0.0
        self._asked = 0.0  # when who has no reader was asked about, whatever was told of
        self._kept = hub.loop.time()  # when the leases were looked after
        self._judges = 0.0  # from when on this node may take others for dead

    def start(self) -> None:
        self._hub.listen(HINTS, self._heard)
        for work in (self._write_on, self._read_on, self._keep_on, self._heal_on):
            self._hub.run(work())

    async def stop(self) -> None:
        while self._ledger.due and await self._write():
            pass
        if self.node:
            await self._try(lambda: self._hub.database.work(store.retire, self.node))

    # --- connections come and go

    def opened(self, connection: Connection) -> None:
        if connection.returns:
            name = connection.continues or connection.id
            if connection.resumes and not (connection.continues and COMMAND_ID.match(connection.continues)):
                name = NAMELESS
            holding = self._polling(connection, Row.key(connection.user, name))
        else:
            holding = self._hold(connection, Row.key(connection.user, connection.id), None)
        self._holdings[connection] = holding
        if holding.id in self._ending:
            self._hub.run(self._try(self._obey))

    def _polling(self, connection: Connection, key: UUID) -> Holding:
        now = self._hub.loop.time()
        until = now + self._config.poll_lease
        holding = self._ledger.holdings.get(key)
        if holding is None:
            holding = self._hold(connection, key, until)
        elif holding.until is None or until - holding.until > RENEWED:
            self._ledger.renew(holding, until)
            self._dirty.set()
        self._polls[holding.id] = connection
        self._polled[connection] = set()
        return holding

    def _hold(self, connection: Connection, key: UUID, until: float | None) -> Holding:
        address = connection.seat.address if connection.seat is not None else ""
        holding = Holding(key, uuid4(), connection.user, connection.transport, connection.device, address, until)
        self._ledger.open(holding)
        self._dirty.set()
        return holding

    def closed(self, connection: Connection) -> None:
        holding = self._holdings.pop(connection)
        if not connection.returns:
            self._ledger.close(holding)
        else:
            polled = self._polled.pop(connection)
            if self._polls.get(holding.id) is not connection:  # another poll has taken over
                return
            del self._polls[holding.id]
            answered = _answered(connection)
            for room in [room for room in holding.seats if room not in polled or not answered]:
                self._ledger.leave(holding, room)
            if not answered:  # perhaps before its rooms were joined: it has left those of the polls before it
                self._ledger.close(holding)
        self._dirty.set()

    def joined(self, reader: Reader, *, anew: bool) -> bool:
        connection, room = reader.connection, reader.grant.room
        if reader.grant.address.endswith("/~me"):  # who is there is no question
            return False
        here = self._look(room)
        holding = self._holdings[connection]
        if connection.user is not None and reader.present:
            self._ledger.enter(holding, Seat.key(holding.id, room), room)
            self._dirty.set()
        if connection.returns:
            if reader.present:
                self._polled[connection].add(room)
            told = self._told.get((holding.id, room))
            return anew or told is None or told != here.roster.version
        return True

    def left(self, reader: Reader, *, ended: bool) -> None:
        connection, room = reader.connection, reader.grant.room
        holding = self._holdings[connection]
        if connection.returns and not ended:
            if self._polls.get(holding.id) is not connection:
                return
            if _answered(connection):
                self._remember(holding, reader)
                return
        grace: float | None = 0 if ended else None
        if connection.closed is not None and connection.closed.code == REPLACED.code:
            grace = self._config.leave_grace + (connection.closed.retry_after_ms or 0) / 1000
        self._ledger.leave(holding, room, grace=grace)
        self._dirty.set()

    def doubted(self, change: Change) -> None:
        self._hub.run(self._expel_surely(change))

    async def _expel_surely(self, change: Change) -> None:
        while True:
            try:
                await self._hub.watch.settled()  # a poll that is answered while it is in doubt has no reader then
                await self._write()  # what is not there yet would not be found
                await self._expel(change)
                return
            except Exception as error:
                metrics.dropped.labels("upkeep_failed").inc()
                logger.warning("who may still be here could not be asked and will be again: %r", error)
                await asyncio.sleep(self._hub.config.heal_interval)

    async def _expel(self, change: Change | None) -> None:
        """Who is here between two polls, or in a grace, has no reader whom the watch would end.

        :param change: None to ask about all of them.
        """
        async with self._writing:
            unread = {
                id
                for id, holding in self._ledger.holdings.items()
                if holding.until is not None and not all(self._is_read(holding, room) for room in holding.seats)
            }
            lost = await self._hub.database.control(store.without_right, self.node, unread, change)
            gone = []
            for each in lost:
                holding = self._ledger.holdings.get(each.connection)
                if holding is not None:
                    if self._is_read(holding, each.room):  # who came meanwhile was let in
                        continue
                    self._ledger.leave(holding, each.room, grace=0)
                    self._dirty.set()
                gone.append(each)
            if gone:
                self._announce(await self._hub.database.work(store.expel, self.node, gone))

    def _is_read(self, holding: Holding, room: UUID) -> bool:
        """Whether this holding has a reader in the room."""
        if holding.until is None:
            sitting = holding.seats.get(room)
            return sitting is not None and not sitting.left
        poll = self._polls.get(holding.id)
        readers = () if poll is None else poll.session.rooms.values()
        return any(reader.joined and reader.grant.room == room for reader in readers)

    def _remember(self, holding: Holding, reader: Reader) -> None:
        """What this poll's client knows of the room, for its next one."""
        here = self._here.get(reader.grant.room)
        key = holding.id, reader.grant.room
        if here is None or here.roster.version is None or reader.stale or reader.held or reader.feed.unsettled:
            self._told.pop(key, None)
        else:
            self._told[key] = here.roster.version

    def say(self, saying: Saying) -> None:
        self._ledger.say(saying, self._hub.loop.time())
        self._dirty.set()

    # --- what is to be written

    async def _write_on(self) -> None:
        while True:
            due = self._ledger.next_purge()
            try:
                async with asyncio.timeout_at(due):
                    await self._dirty.wait()
                await asyncio.sleep(self._config.flush)
            except TimeoutError:
                pass
            self._dirty.clear()
            if not await self._write():
                await asyncio.sleep(self._hub.config.heal_interval)
                self._dirty.set()

    async def _write(self) -> bool:
        """Everything that is due, in one transaction; False when it could not be done and is kept."""
        async with self._writing:
            batch = self._ledger.take(self._hub.loop.time())
            if not batch:
                return True
            try:
                await self._register()
                written = await self._hub.database.work(store.write, self.node, batch)
            except store.LeaseLost:
                ours.writes.labels("lease_lost").inc()
                self._begin_again(batch)
                return False
            except Exception as error:
                ours.writes.labels("failed").inc()
                metrics.dropped.labels("upkeep_failed").inc()
                logger.warning("who is here could not be written and will be again: %r", error)
                self._ledger.give_back(batch, self._hub.loop.time())
                return False
            ours.writes.labels("ok").inc()
            self._renewed = self._hub.loop.time()
            self._ledger.wrote(batch, self._renewed)
            for sitting in batch.entered:
                change = written.changes.get(sitting.room)  # none: the room is gone meanwhile
                sitting.version = None if change is None else change.version
            if written.lapsed:
                self._ledger.forgotten(batch.renewed)
                self._dirty.set()
            self._announce(written)
            self._hinted.set()
            if self._ledger.due:  # more than one batch takes
                self._dirty.set()
            return True

    async def _register(self) -> None:
        if not self.node:
            node = secrets.token_hex(8)
            await self._hub.database.work(store.register, node)
            self.node = node

    def _begin_again(self, batch: Batch | None = None) -> None:
        """This node was taken for dead: it comes back as another one, with all that it holds."""
        logger.warning("the lease of node %s is over: its connections are registered anew", self.node)
        self.node = ""
        if batch is not None:
            self._ledger.give_back(batch, self._hub.loop.time())
        self._ledger.forgotten(list(self._ledger.holdings.values()))
        self._dirty.set()

    def _announce(self, written: store.Written) -> None:
        if written.changes:
            ours.changes.inc(len(written.changes))
            self._hub.announce([hint(written)])
        for room, listed in written.listed.items():
            if not self._counts:
                self._hub.loop.call_later(self._config.counts_interval, self._tell_counts)
            _, counts = self._counts.setdefault(listed.everybody, (listed.address, {}))
            counts[listed.slug] = written.changes[room].count

    def _tell_counts(self) -> None:
        counted, self._counts = self._counts, {}
        for everybody, (address, counts) in counted.items():
            told = _entry("presence.counts", PresenceCounts(counts), address)
            self._hub.announce([Notice(everybody, "", 0, [told])])

    # --- looking after the leases

    async def _keep_on(self) -> None:
        """Renew this node's, and clean up after those that ended."""
        while True:
            ends = await self._try(self._keep)
            pause = self._config.renewal if ends is None else min(self._config.renewal, ends + 0.05)
            await asyncio.sleep(max(pause, self._config.flush))

    async def _keep(self) -> float | None:
        """Gives when the next lease of another node may end, in seconds."""
        now = self._hub.loop.time()
        if self._ledger.expire(now):
            self._dirty.set()
        self._forget()
        ours.people.set(len({each.user for each in self._ledger.holdings.values() if each.seats}))
        ours.seats.set(sum(len(each.seats) for each in self._ledger.holdings.values()))
        async with self._writing:
            await self._register()  # also one with nobody: it cleans up after others, and tells what they did not
        if now - self._renewed >= self._config.renewal * 0.9:
            try:
                await self._hub.database.control(store.renew, self.node)
                self._renewed = now
            except store.LeaseLost:
                async with self._writing:
                    self._begin_again()
                return 0
        if now - self._asked >= self._config.renewal * 0.9:
            self._asked = now
            await self._expel(None)
        await self._obey()
        if now - self._kept > self._config.renewal * 2:  # without the database: the others were too, perhaps
            self._judges = now + self._config.renewal * 2
        self._kept = now
        if now < self._judges:
            return self._judges - now
        self._announce(await self._hub.database.work(store.clean, self.node))
        await self._hub.database.work(store.tell_departures, self.node, _failed)
        return await self._hub.database.control(store.next_end, self.node)

    async def _obey(self) -> None:
        """Close the connections that an administrator ends; a long-poller's when there is a poll to be told."""
        marked = await self._hub.database.control(store.marked, self.node)
        closed = set()
        for connection, holding in list(self._holdings.items()) if marked else ():
            if holding.id in marked:
                connection.close(DISCONNECTED)
                closed.add(holding.id)
        self._ending = marked - closed
        if closed:
            ours.disconnected.inc(len(closed))
            await self._hub.database.control(store.unmark, closed)

    def _forget(self) -> None:
        """What nobody here asks for any more."""
        for room, here in list(self._here.items()):
            if self._hub.rooms.get(room) is not here.followed:
                del self._here[room]
        for key in [key for key in self._told if key[0] not in self._ledger.holdings]:
            del self._told[key]

    async def _try(self, work: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await work()
        except Exception as error:
            metrics.dropped.labels("upkeep_failed").inc()
            logger.warning("the upkeep of who is here failed and is tried again: %r", error)
            return None

    # --- what readers are told

    def _look(self, room: UUID) -> Here:
        followed = self._hub.rooms[room]
        here = self._here.get(room)
        if here is None or here.followed is not followed:
            here = self._here[room] = Here(followed, self._limit)
            if not self._ledger.due:  # else what is written next tells of it
                self._hinted.set()
        return here

    def snapshot(self, reader: Reader) -> bytes | None:
        """Everybody who is here, and the reader among them."""
        connection = reader.connection
        if connection.resumes and not connection.continues:  # nobody knows what its client knows
            return None
        here = self._look(reader.grant.room)
        sitting = self._holdings[connection].seats.get(reader.grant.room)
        since = 0 if sitting is None else sitting.version
        if here.roster.version is None or since is None or here.roster.version < since:
            here.awaited = True
            return None
        if here.vector is None:
            here.vector = _entry("presence.state", here.roster.state(), here.followed.feed.address).vector
        return here.vector

    def _heard(self, notice: Notice) -> None:
        for entry in notice.entries:
            if entry.name == DISCONNECT and self.node in msgspec.json.decode(entry.vector, type=list[str]):
                self._hub.run(self._try(self._obey))
            if entry.name != CHANGED:
                continue
            for room, (version, count, users) in msgspec.json.decode(entry.vector, type=Changed).rooms.items():
                here = self._here.get(room)
                if here is not None:
                    here.hints.add(version, count, users)
                    self._hinted.set()

    async def _read_on(self) -> None:
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            if not await self._read():
                await asyncio.sleep(self._hub.config.heal_interval)
                self._hinted.set()

    async def _read(self) -> bool:
        """Read again whom the hints name, and tell the readers; False when the database did not answer."""
        now = self._hub.loop.time()
        asked: list[tuple[Here, Hints, frozenset[str] | None]] = []
        for room, here in list(self._here.items()):
            if self._hub.rooms.get(room) is not here.followed or not (here.whole or here.hints.users):
                continue
            if here.roster.version is not None and here.roster.people is None and now < here.quiet_until:
                self._hub.loop.call_at(here.quiet_until, self._hinted.set)
                continue
            hints, here.hints = here.hints, Hints()
            wanted = None if here.whole else here.roster.wants(hints)
            here.whole = False
            if wanted is None or wanted:
                asked.append((here, hints, wanted))
            else:
                self._tell(here, here.roster.follow(hints, {}))
        for chunk in chunks(asked):
            try:
                found = await self._hub.database.control(
                    census.find, {here.followed.room: wanted for here, _, wanted in chunk}, self._limit
                )
            except Exception as error:
                metrics.dropped.labels("upkeep_failed").inc()
                logger.warning("who is here could not be read and will be again: %r", error)
                for here, _, _ in asked:
                    here.whole = True
                return False
            for here, hints, wanted in chunk:
                ours.reads.labels("everybody" if wanted is None else "changed").inc()
                now_here = found[here.followed.room]
                if wanted is not None:
                    self._tell(here, here.roster.follow(hints, now_here.people or {}))
                else:
                    people = None if now_here.people is None else now_here.people.values()
                    self._tell(here, here.roster.read(now_here.version, now_here.count, people))
        return True

    def _tell(self, here: Here, told: Any) -> None:
        followed = here.followed
        if told is WHOLE:
            for reader in followed.readers:
                reader.stale = reader.stale or reader.joined
        if told is WHOLE or here.awaited:
            here.awaited = False
            self._hub.loop.call_soon(followed.wake)  # when the difference is sealed
        if told is not None:
            here.vector = None
        if told is None or told is WHOLE:
            return
        if here.roster.people is None:
            here.quiet_until = self._hub.loop.time() + self._config.counts_interval
        ours.diffs.inc()
        followed.offer(
            Notice(followed.room, "", 0, [_entry("presence.diff", told, followed.feed.address, snapshot=True)])
        )

    async def _heal_on(self) -> None:
        while True:
            await asyncio.sleep(self._hub.config.heal_interval)
            await self._try(self._heal)

    async def _heal(self) -> None:
        """A hint that was lost shows in the version."""
        for chunk in chunks([here for here in self._here.values() if here.roster.version is not None]):
            before = {here.followed.room: here.roster.version for here in chunk}
            found = await self._hub.database.control(census.versions, list(before))
            for here in chunk:
                version = found.get(here.followed.room, 0)
                if here.roster.version == before[here.followed.room] != version and not here.hints.users:
                    metrics.heals.labels("presence").inc()
                    here.whole = True
                    self._hinted.set()


def hint(written: store.Written) -> Notice:
    """For all nodes: in which rooms something has changed."""
    changed = Changed({room: (each.version, each.count, each.users) for room, each in written.changes.items()})
    return Notice(HINTS, "", 0, [Entry(None, CHANGED, encode(changed))])


def order(nodes: list[str]) -> Notice:
    """For these nodes: some of their connections are marked."""
    return Notice(HINTS, "", 0, [Entry(None, DISCONNECT, encode(nodes))])


def _entry(name: str, data: Any, address: str, *, snapshot: bool = False) -> Entry:
    vector = event_vector(name, encode(data), room=address, at=datetime.now(UTC), by=None)
    return Entry(None, name, vector, snapshot=snapshot)


def _answered(connection: Any) -> bool:
    """Whether a poll ended with an answer after which its client comes back by itself."""
    return connection.closed is not None and connection.closed.code not in FINAL


def _failed(error: Exception) -> None:
    ours.departures.labels("failed").inc()
    metrics.dropped.labels("upkeep_failed").inc()
    logger.error("a receiver of person_left failed and is told again", exc_info=error)

"""Ledgers and rosters of three nodes over a database of a few dozen lines: whatever happens, all come to the truth.

Nodes write, or fail to, or do not hear that they did not fail; they stand still, die and come back; hints are lost,
doubled and late; long-pollers wander. At every moment: nobody is told that somebody left whose connection stands on a
node that is believed alive, and readers who were told states and differences have what their node has. And once all is
quiet: every roster is the truth, and what was said on a connection that stands is still so.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from presence.contract import Means, PresenceDiff, Present, Status
from presence.state import WHOLE, Batch, Hints, Holding, Ledger, Roster, Saying, Sitting, together
from rooms.contract import Person

GRACE, LEASE, POLL_LEASE, LIMIT = 2, 6, 9, 3
USERS = ["ann", "ben", "cyd", "dee", "eve"]
ROOMS = [UUID(int=1), UUID(int=2)]
T0 = datetime(2026, 1, 1, tzinfo=UTC)
index = st.integers(0, 1_000)
users, rooms = st.sampled_from(USERS), st.sampled_from(ROOMS)
statuses = st.sampled_from(["active", "away", "busy"])


# --- the database: what presence/store.py means


class LeaseLost(Exception):
    pass


@dataclass
class Row:
    node: int
    holder: UUID
    room: UUID
    user: str
    transport: str
    connection: UUID
    open: bool = True
    leaves: float | None = None
    status: str = "active"
    text: str = ""
    told: float | None = None


@dataclass
class Held:
    node: int
    holder: UUID
    leaves: float | None


@dataclass
class Hint:
    version: int
    count: int
    users: frozenset[str]


@dataclass
class Tables:
    now: float = 0
    leases: dict[int, float] = field(default_factory=dict)
    connections: dict[UUID, Held] = field(default_factory=dict)
    seats: dict[UUID, Row] = field(default_factory=dict)
    here: set[tuple[UUID, str]] = field(default_factory=set)
    versions: dict[UUID, int] = field(default_factory=lambda: defaultdict(int))

    def renew(self, node: int) -> None:
        if node not in self.leases:
            raise LeaseLost
        self.leases[node] = self.now + LEASE

    def write(self, node: int, batch: Batch) -> tuple[dict[UUID, Hint], bool]:
        self.renew(node)
        touched: dict[UUID, set[str]] = defaultdict(set)
        for each in batch.opened:
            self.connections[each.id] = Held(node, each.holder, None if each.until is None else self.now + POLL_LEASE)
        for each in batch.closed:
            if self._held_by(each):
                del self.connections[each.id]
        for sitting in batch.entered:
            self._enter(node, sitting, batch.at)
            touched[sitting.room].add(sitting.holding.user)
        for sitting in batch.left:
            row = self.seats.get(sitting.id)
            if row is not None and row.holder == sitting.holding.holder:
                row.open, row.leaves = False, self.now + sitting.grace
        for said in batch.said:
            self._say(said, touched)
        looked_at = {s.room for s in batch.entered} | {said.room for said in batch.said} | batch.purged
        self._purge(looked_at | {s.room for s in batch.left if not s.grace}, touched)
        lapsed = False
        for each in batch.renewed:
            lapsed |= not self._held_by(each)
            if self._held_by(each):
                self.connections[each.id].leaves = self.now + POLL_LEASE
            for row in self.seats.values():
                if row.holder == each.holder and row.open:
                    row.leaves = self.now + POLL_LEASE
        return self._count(touched), lapsed

    def _held_by(self, each: Holding) -> bool:
        return each.id in self.connections and self.connections[each.id].holder == each.holder

    def _enter(self, node: int, sitting: Sitting, at: float) -> None:
        each = sitting.holding
        row = Row(node, each.holder, sitting.room, each.user, each.transport, each.id)
        if sitting.said is not None:
            row.status, row.text, row.told = sitting.said.status, sitting.said.text, self.now - at + sitting.said_at
        row = self.seats.setdefault(sitting.id, row)
        row.node, row.holder, row.open = node, each.holder, True
        row.leaves = None if each.until is None else self.now + POLL_LEASE
        self.here.add((sitting.room, each.user))

    def _say(self, said: Saying, touched: dict[UUID, set[str]]) -> None:
        for row in self.seats.values():
            if (row.room, row.user) == (said.room, said.user) and said.connection in (None, row.connection):
                row.status, row.text, row.told = said.status, said.text, self.now
                touched[said.room].add(said.user)

    def _purge(self, looked_at: set[UUID], touched: dict[UUID, set[str]], *, late: float = 0) -> None:
        for id, row in list(self.seats.items()):
            if row.room in looked_at and row.leaves is not None and row.leaves <= self.now - late:
                self._remove(id, touched)

    def _remove(self, id: UUID, touched: dict[UUID, set[str]]) -> None:
        row = self.seats.pop(id)
        touched[row.room].add(row.user)
        if not any((other.room, other.user) == (row.room, row.user) for other in self.seats.values()):
            self.here.discard((row.room, row.user))

    def _count(self, touched: dict[UUID, set[str]]) -> dict[UUID, Hint]:
        found = {}
        for room, whom in touched.items():
            self.versions[room] += 1
            found[room] = Hint(self.versions[room], self.count(room), frozenset(whom))
        return found

    def count(self, room: UUID) -> int:
        return sum(where == room for where, _ in self.here)

    def clean(self, node: int) -> dict[UUID, Hint]:
        touched: dict[UUID, set[str]] = defaultdict(set)
        for dead in [one for one, ends in self.leases.items() if ends <= self.now and one != node]:
            for id in [id for id, row in self.seats.items() if row.node == dead]:
                self._remove(id, touched)
            self.connections = {id: held for id, held in self.connections.items() if held.node != dead}
            del self.leases[dead]
        self._purge(set(ROOMS), touched, late=1)
        over = [id for id, held in self.connections.items() if held.leaves is not None and held.leaves <= self.now - 1]
        for id in over:
            del self.connections[id]
        return self._count(touched)

    def find(self, room: UUID, wanted: frozenset[str] | None) -> tuple[int, int, dict[str, Present] | None]:
        version, number = self.versions[room], self.count(room)
        if wanted is None and number > LIMIT:
            return version, number, None
        found = {}
        for user in USERS if wanted is None else wanted:
            if (room, user) in self.here:
                mine = [row for row in self.seats.values() if (row.room, row.user) == (room, user)]
                mine = [row for row in mine if row.open] or mine
                status, text = together((row.status, row.text, row.told) for row in mine)
                means = [Means(kind, T0, "desktop") for kind in sorted({row.transport for row in mine})]
                found[user] = Present(Person(user, user), Status(status), text, T0, means)
        return version, number, found


# --- a node: what presence/tracker.py does with them


class Reader:
    """Who applies states and differences as the protocol says."""

    def __init__(self) -> None:
        self.people: dict[str, Present] | None = None
        self.count = 0

    def told(self, what: Any, roster: Roster) -> None:
        if what is WHOLE:
            state = roster.state()
            self.people, self.count = {each.user.id: each for each in state.people}, state.count
        elif isinstance(what, PresenceDiff):
            assert self.people is not None, "a difference before any state"
            assert all(each.user.id not in self.people for each in what.joined)
            assert all(each.user.id in self.people for each in (*what.changed, *what.left))
            for each in (*what.joined, *what.changed):
                self.people[each.user.id] = each
            for each in what.left:
                del self.people[each.user.id]
            self.count = what.count


class Node:
    def __init__(self, tables: Tables, ids: Any) -> None:
        self.tables = tables
        self.ids = ids
        self.ledger = Ledger(grace=GRACE)
        self.frozen = False
        self.sure = True  # it has not missed a lease since it was registered
        self.begin()
        self.rosters = {room: Roster(limit=LIMIT) for room in ROOMS}
        self.readers = {room: Reader() for room in ROOMS}
        self.hints: dict[UUID, Hints] = {room: Hints() for room in ROOMS}
        self.whole = set(ROOMS)
        self.polls: dict[str, Holding] = {}

    def begin(self) -> None:
        self.id = next(self.ids)
        self.tables.leases[self.id] = self.tables.now + LEASE

    def begin_again(self) -> None:
        self.begin()
        self.ledger.forgotten(list(self.ledger.holdings.values()))


@dataclass(eq=False)
class Socket:
    """``said`` is by room the last status that was said on it there, and on nothing else."""

    node: Node
    holding: Holding
    said: dict[UUID, str] = field(default_factory=dict)


@dataclass(eq=False)
class Poller:
    user: str
    key: UUID
    rooms: set[UUID]
    node: Node
    last: float


class PresenceMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = count(1_000)
        self.node_ids = count(1)
        self.tables = Tables()
        self.nodes = [Node(self.tables, self.node_ids) for _ in range(3)]
        self.sockets: list[Socket] = []
        self.pollers: list[Poller] = []
        self.network: list[tuple[Node, dict[UUID, Hint]]] = []  # hints on their way

    def id(self) -> UUID:
        return UUID(int=next(self.numbers))

    # --- people

    @rule(which=index, user=users, where=st.sets(rooms))
    @precondition(lambda self: len(self.sockets) < 12)
    def connect(self, which: int, user: str, where: set[UUID]) -> None:
        node = self.nodes[which % len(self.nodes)]
        if not node.frozen:
            holding = Holding(self.id(), self.id(), user, "ws", "desktop", "")
            node.ledger.open(holding)
            self.sockets.append(Socket(node, holding))
            for room in sorted(where):
                self.enter(node, holding, room)

    def enter(self, node: Node, holding: Holding, room: UUID) -> None:
        node.ledger.enter(holding, UUID(int=holding.id.int * 10 + room.int), room)

    @precondition(lambda self: self.sockets)
    @rule(which=index, room=rooms, comes=st.booleans(), ended=st.booleans())
    def join_or_leave(self, which: int, room: UUID, comes: bool, ended: bool) -> None:
        one = self.sockets[which % len(self.sockets)]
        if not one.node.frozen:
            if comes:
                self.enter(one.node, one.holding, room)
            else:
                one.node.ledger.leave(one.holding, room, grace=0 if ended else None)
                one.said.pop(room, None)

    @precondition(lambda self: self.sockets)
    @rule(which=index)
    def disconnect(self, which: int) -> None:
        """Of a frozen node's it is noticed when that goes on: then the socket is still counted here."""
        one = self.sockets[which % len(self.sockets)]
        if not one.node.frozen:
            self.sockets.remove(one)
            for room in one.holding.seats:
                one.node.ledger.leave(one.holding, room)
            one.node.ledger.close(one.holding)

    @precondition(lambda self: self.sockets)
    @rule(which=index, to=index)
    def reload(self, which: int, to: int) -> None:
        one = self.sockets[which % len(self.sockets)]
        where = {room for room, sitting in one.holding.seats.items() if not sitting.left}
        self.disconnect(which)
        self.connect(to, one.holding.user, where)

    @rule(user=users, room=rooms, status=statuses, which=index)
    def say(self, user: str, room: UUID, status: str, which: int) -> None:
        """Through a node that may not have the connections: what it says is known when it is written."""
        node = self.nodes[which % len(self.nodes)]
        node.ledger.say(Saying(user, room, None, status, status.upper()), self.tables.now)
        for one in self.sockets:
            if one.holding.user == user:
                one.said.pop(room, None)

    @precondition(lambda self: self.sockets)
    @rule(which=index, room=rooms, status=statuses)
    def say_of_a_connection(self, which: int, room: UUID, status: str) -> None:
        one = self.sockets[which % len(self.sockets)]
        sitting = one.holding.seats.get(room)
        if not one.node.frozen and sitting is not None and not sitting.left:
            one.node.ledger.say(Saying(one.holding.user, room, one.holding.id, status, ""), self.tables.now)
            one.said[room] = status

    @rule(user=users, which=index, where=st.sets(rooms, min_size=1))
    @precondition(lambda self: len(self.pollers) < 4)
    def begin_to_poll(self, user: str, which: int, where: set[UUID]) -> None:
        node = self.nodes[which % len(self.nodes)]
        if not node.frozen:
            self.pollers.append(Poller(user, self.id(), where, node, self.tables.now))
            self.poll(self.pollers[-1], node)

    @precondition(lambda self: self.pollers)
    @rule(who=index, which=index)
    def poll_again(self, who: int, which: int) -> None:
        self.poll(self.pollers[who % len(self.pollers)], self.nodes[which % len(self.nodes)])

    def poll(self, one: Poller, node: Node) -> None:
        if node.frozen:
            return
        one.node, one.last = node, self.tables.now
        holding = node.ledger.holdings.get(one.key)
        if holding is None:
            holding = Holding(one.key, self.id(), one.user, "poll", "desktop", "", self.tables.now + POLL_LEASE)
            node.ledger.open(holding)
        else:
            node.ledger.renew(holding, self.tables.now + POLL_LEASE)
        for room in sorted(one.rooms):
            self.enter(node, holding, room)

    @precondition(lambda self: self.pollers)
    @rule(who=index)
    def stop_polling(self, who: int) -> None:
        """Nothing tells of it."""
        self.pollers.pop(who % len(self.pollers))

    # --- nodes

    @rule(which=index, fails=st.sampled_from(["", "", "", "before", "after"]))
    def write(self, which: int, fails: str = "") -> None:
        node = self.nodes[which % len(self.nodes)]
        if not node.frozen:
            self.write_on(node, fails)

    def write_on(self, node: Node, fails: str = "") -> None:
        now = self.tables.now
        batch = node.ledger.take(now)
        if not batch:
            return
        if fails == "before":
            node.ledger.give_back(batch, now)
            return
        try:
            changes, lapsed = self.tables.write(node.id, batch)
        except LeaseLost:
            node.sure = False
            node.ledger.give_back(batch, now)
            node.begin_again()
            return
        if fails == "after":  # committed, and we do not hear of it
            node.ledger.give_back(batch, now)
            return
        node.ledger.wrote(batch, now)
        for sitting in batch.entered:
            sitting.version = changes[sitting.room].version
        if lapsed:
            node.ledger.forgotten(batch.renewed)
        self.announce(node, changes)

    def announce(self, node: Node, changes: dict[UUID, Hint]) -> None:
        if changes:
            self.hear(node, changes)
            self.network += [(other, changes) for other in self.nodes if other is not node]

    def hear(self, node: Node, changes: dict[UUID, Hint]) -> None:
        for room, hint in changes.items():
            node.hints[room].add(hint.version, hint.count, hint.users)

    @precondition(lambda self: self.network)
    @rule(which=index, doubled=st.booleans())
    def a_hint_arrives(self, which: int, doubled: bool) -> None:
        node, changes = self.network[which % len(self.network)]
        if not doubled:
            del self.network[which % len(self.network)]
        if not node.frozen:
            self.hear(node, changes)

    @precondition(lambda self: self.network)
    @rule(which=index)
    def a_hint_is_lost(self, which: int) -> None:
        del self.network[which % len(self.network)]

    @rule(which=index)
    def read(self, which: int) -> None:
        node = self.nodes[which % len(self.nodes)]
        if not node.frozen:
            self.read_on(node)

    def read_on(self, node: Node) -> None:
        for room, roster in node.rosters.items():
            hints, node.hints[room] = node.hints[room], Hints()
            if room not in node.whole and not hints.users:
                continue
            wanted = None if room in node.whole else roster.wants(hints)
            node.whole.discard(room)
            version, number, found = self.tables.find(room, wanted)
            if wanted is None:
                told = roster.read(version, number, None if found is None else found.values())
            else:
                told = roster.follow(hints, found or {})
            if isinstance(told, PresenceDiff):
                for person in told.left:
                    self.may_leave(person.user.id, room, roster)
            node.readers[room].told(told, roster)

    def may_leave(self, user: str, room: UUID, roster: Roster) -> None:
        """Nobody is said to have left whose seat was written by a node that is believed alive."""
        for one in self.sockets:
            sitting = one.holding.seats.get(room)
            stands = sitting is not None and not sitting.left and sitting.version is not None
            if one.holding.user == user and one.node.sure and stands and one.node.id in self.tables.leases:
                raise AssertionError(f"{user} is said to have left {room.int}")

    @rule(which=index)
    def heal(self, which: int) -> None:
        node = self.nodes[which % len(self.nodes)]
        if not node.frozen:
            self.heal_on(node)

    def heal_on(self, node: Node) -> None:
        for room, roster in node.rosters.items():
            if roster.version != self.tables.versions[room] and not node.hints[room].users:
                node.whole.add(room)

    @rule(which=index)
    def keep(self, which: int) -> None:
        node = self.nodes[which % len(self.nodes)]
        if not node.frozen:
            self.keep_on(node)

    def keep_on(self, node: Node) -> None:
        node.ledger.expire(self.tables.now)
        try:
            self.tables.renew(node.id)
        except LeaseLost:
            node.sure = False
            node.begin_again()
        self.announce(node, self.tables.clean(node.id))

    @rule(which=index)
    def freeze_or_thaw(self, which: int) -> None:
        node = self.nodes[which % len(self.nodes)]
        node.frozen = not node.frozen

    @rule(which=index)
    def is_taken_for_dead(self, which: int) -> None:
        """What standing still may come to, and by chance seldom does: it has written all that it knew."""
        node, other = (self.nodes[(which + number) % len(self.nodes)] for number in (0, 1))
        if not (node.frozen or other.frozen):
            self.write_on(node)
            self.tables.now += LEASE
            self.keep_on(other)
            self.keep_on(node)

    @rule(which=index)
    def die(self, which: int) -> None:
        """And be started again, with nobody."""
        self.kill(which % len(self.nodes))

    def kill(self, which: int) -> None:
        dead = self.nodes[which]
        self.sockets = [one for one in self.sockets if one.node is not dead]
        self.network = [(node, hint) for node, hint in self.network if node is not dead]
        self.nodes[which] = Node(self.tables, self.node_ids)
        for one in self.pollers:
            if one.node is dead:  # its client comes back with the next poll
                one.last = -1_000

    @rule(seconds=st.integers(1, 4))
    def time_passes(self, seconds: int) -> None:
        self.tables.now += seconds

    # --- what holds

    @invariant()
    def readers_have_what_their_node_has(self) -> None:
        for node in self.nodes:
            for room, roster in node.rosters.items():
                reader = node.readers[room]
                if roster.version is not None:
                    assert reader.people == (roster.people or {})
                    assert reader.count == roster.count
                    assert roster.people is None or len(roster.people) <= LIMIT

    def teardown(self) -> None:
        """Quiet: nobody comes or goes, long-pollers poll, nodes keep on. Then all agree on who is here."""
        for node in self.nodes:
            node.frozen = False
        for _ in range(2 * (LEASE + POLL_LEASE)):
            self.tables.now += 1
            for one in self.pollers:
                if self.tables.now - one.last >= 3:
                    self.poll(one, one.node if one.node in self.nodes else self.nodes[0])
            for node in self.nodes:
                self.keep_on(node)
                self.write_on(node)
                self.heal_on(node)
                self.read_on(node)
        for node in self.nodes:  # whatever the last of them said is on its way for ever
            self.heal_on(node)
            self.read_on(node)
        for room in ROOMS:
            truth = {one.user for one in self.pollers if room in one.rooms}
            for socket in self.sockets:
                sitting = socket.holding.seats.get(room)
                if sitting is not None and not sitting.left:
                    truth.add(socket.holding.user)
            assert {user for where, user in self.tables.here if where == room} == truth
            assert {row.user for row in self.tables.seats.values() if row.room == room} == truth
            for node in self.nodes:
                assert node.rosters[room].version == self.tables.versions[room]
                assert node.rosters[room].count == len(truth)
                if len(truth) <= LIMIT:
                    assert set(node.rosters[room].people or {}) == truth
        self.rows_have_what_was_said()
        assert set(self.tables.connections) == {each.holding.id for each in self.sockets} | {
            p.key for p in self.pollers
        }

    def rows_have_what_was_said(self) -> None:
        for one in self.sockets:
            for room, status in one.said.items():
                assert self.tables.seats[one.holding.seats[room].id].status == status


TestPresence = PresenceMachine.TestCase
TestPresence.settings = settings(
    max_examples=int(os.environ.get("MODEL_EXAMPLES", 50)), stateful_step_count=40, deadline=None
)

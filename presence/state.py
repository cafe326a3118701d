"""Who is here, as one node knows it. Pure: time and randomness come in as arguments.

:class:`Ledger` is what the node has to say: its own connections and the rooms that they are in, and what of that the
database was not told yet. :class:`Roster` is what it has heard: the people of one room, wherever they are connected.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from presence.contract import PresenceDiff, PresenceState, Present

T = TypeVar("T")

MOST = 500  # rows of a kind in one transaction: some 150 ms, in which SQLite takes no command

# --- what the node has to say ----------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Holding:
    """A connection that this node holds.

    :param holder: tells this holding from another node's of the same connection, which long-pollers move.
    :param until: when a long-poller's is over without a further poll; None for one that stays open.
    """

    id: UUID
    holder: UUID
    user: Any
    transport: str
    device: str
    address: str
    until: float | None = None
    seats: dict[UUID, Sitting] = field(default_factory=dict)  # by room
    written: bool = False


@dataclass(slots=True, eq=False)
class Sitting:
    """A holding in a room, until it has ``left``. ``version`` is the room's since which others see it.

    ``said`` is the last thing that was said of it here, and ``said_at`` when: where its row is gone, the next has it.
    """

    id: UUID
    holding: Holding
    room: UUID
    left: bool = False
    grace: float = 0
    written: bool = False
    version: int | None = None
    said: Saying | None = None
    said_at: float = 0


@dataclass(frozen=True, slots=True)
class Saying:
    """The status that somebody set in a room, on one connection or on all of theirs."""

    user: Any
    room: UUID
    connection: UUID | None
    status: str
    text: str


@dataclass(slots=True)
class Batch:
    """What is to be written in one transaction, taken ``at`` this time. Each list is in order of its keys."""

    at: float = 0
    opened: list[Holding] = field(default_factory=list)
    closed: list[Holding] = field(default_factory=list)
    entered: list[Sitting] = field(default_factory=list)
    left: list[Sitting] = field(default_factory=list)
    renewed: list[Holding] = field(default_factory=list)  # long-pollers who go on
    said: list[Saying] = field(default_factory=list)
    purged: set[UUID] = field(default_factory=set)  # rooms in which somebody's grace is over

    def __bool__(self) -> bool:
        return bool(self.opened or self.closed or self.entered or self.left or self.renewed or self.said or self.purged)


class Ledger:
    """The connections of one node, and what of them is not written yet.

    What came and went before it was written leaves no trace. A batch that could not be written is given back, and goes
    out again as things are then.

    :param grace: seconds that somebody who left may come back in.
    """

    def __init__(self, *, grace: float) -> None:
        self._grace = grace
        self.holdings: dict[UUID, Holding] = {}
        self._of: dict[Any, set[Holding]] = {}  # the same by user
        self._connections: dict[UUID, Holding] = {}  # not written as they are
        self._seats: dict[UUID, Sitting] = {}
        self._renewed: dict[UUID, Holding] = {}
        self._said: list[Saying] = []
        self._purges: dict[UUID, list[float]] = {}  # by room, when a grace is over

    def open(self, holding: Holding) -> None:
        self.holdings[holding.id] = holding
        self._of.setdefault(holding.user, set()).add(holding)
        self._connections[holding.id] = holding

    def renew(self, holding: Holding, until: float) -> None:
        """A long-poller has come back."""
        holding.until = until
        if holding.id not in self._connections:
            self._renewed[holding.id] = holding

    def close(self, holding: Holding) -> None:
        if self.holdings.get(holding.id) is holding:
            del self.holdings[holding.id]
            self._of[holding.user].discard(holding)
            if not self._of[holding.user]:
                del self._of[holding.user]
            self._connections[holding.id] = holding
            self._renewed.pop(holding.id, None)

    def enter(self, holding: Holding, seat: UUID, room: UUID) -> None:
        sitting = holding.seats.get(room)
        if sitting is None:
            sitting = holding.seats[room] = Sitting(seat, holding, room)
        elif not sitting.left:
            return
        sitting.left = False
        self._seats[sitting.id] = sitting

    def leave(self, holding: Holding, room: UUID, *, grace: float | None = None) -> None:
        """
        :param grace: seconds, where it is not the usual one: 0 for somebody who may not come back.
        """
        sitting = holding.seats.get(room)
        if sitting is None or sitting.left:
            return
        sitting.left, sitting.grace = True, self._grace if grace is None else grace
        self._seats[sitting.id] = sitting

    def say(self, saying: Saying, now: float) -> None:
        self._said.append(saying)
        for holding in self._of.get(saying.user, ()):
            sitting = holding.seats.get(saying.room)
            if sitting is not None and saying.connection in (None, holding.id):
                sitting.said, sitting.said_at = saying, now

    def expire(self, now: float) -> list[Holding]:
        """Long-pollers who did not come back."""
        gone = [each for each in self.holdings.values() if each.until is not None and each.until <= now]
        for holding in gone:
            for room in holding.seats:
                self.leave(holding, room, grace=0)
            self.close(holding)
        return gone

    def take(self, now: float) -> Batch:
        """What is to be written by now, of each kind :data:`MOST` at a time."""
        batch = Batch(at=now, said=self._said[:MOST])
        del self._said[:MOST]
        for holding in _some(self._connections):
            if self.holdings.get(holding.id) is holding:
                batch.opened.append(holding)
                holding.written = True
            elif holding.written:
                batch.closed.append(holding)
        for sitting in _some(self._seats):
            here = not sitting.left and self.holdings.get(sitting.holding.id) is sitting.holding
            if here:
                batch.entered.append(sitting)
                sitting.written = True
            else:
                sitting.holding.seats.pop(sitting.room, None)
                if sitting.written:
                    batch.left.append(sitting)
        batch.renewed = [each for each in _some(self._renewed) if self.holdings.get(each.id) is each]
        for room, dues in list(self._purges.items()):
            later = [due for due in dues if due > now]
            if len(later) < len(dues):
                batch.purged.add(room)
            if later:
                self._purges[room] = later
            else:
                del self._purges[room]
        for rows in (batch.opened, batch.closed, batch.entered, batch.left, batch.renewed):
            rows.sort(key=lambda row: row.id)
        return batch

    def wrote(self, batch: Batch, now: float) -> None:
        """It was written, before ``now``: the graces of those who left run since then."""
        for sitting in batch.left:
            if sitting.grace:
                self._purges.setdefault(sitting.room, []).append(now + sitting.grace)

    def give_back(self, batch: Batch, now: float) -> None:
        """It was not written: what of it is still so goes out with the next one."""
        for holding in (*batch.opened, *batch.closed):
            if holding.id not in self.holdings or self.holdings[holding.id] is holding:
                self._connections.setdefault(holding.id, holding)
        for sitting in (*batch.entered, *batch.left):
            taken_again = sitting.holding.seats.get(sitting.room)
            if taken_again is None or taken_again is sitting:
                self._seats.setdefault(sitting.id, sitting)
        for holding in batch.renewed:
            if self.holdings.get(holding.id) is holding:
                self._renewed.setdefault(holding.id, holding)
        self._said = [*batch.said, *self._said]
        for room in batch.purged:
            self._purges.setdefault(room, []).append(now)

    def forgotten(self, holdings: Iterable[Holding]) -> None:
        """The database has nothing of these any more: they are to be written as if they had just come."""
        for holding in holdings:
            if self.holdings.get(holding.id) is holding:
                self._connections[holding.id] = holding
                for sitting in holding.seats.values():
                    if not sitting.left:
                        self._seats[sitting.id] = sitting

    @property
    def due(self) -> bool:
        """Whether there is something to be written now."""
        return bool(self._connections or self._seats or self._renewed or self._said)

    def next_purge(self) -> float | None:
        return min((min(dues) for dues in self._purges.values()), default=None)


def _some(waiting: dict[UUID, T]) -> list[T]:
    """Take these out, the first of them."""
    return [waiting.pop(key) for key in list(islice(waiting, MOST))]


# --- what it has heard -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Whole:
    """Everybody is to be told the state anew: what was told before cannot be continued."""


@dataclass(slots=True)
class Hints:
    """What changed in a room after the version that the roster has: by version, who. The count is the newest one's."""

    users: dict[int, frozenset[str]] = field(default_factory=dict)
    count: int = 0

    def add(self, version: int, count: int, users: Iterable[str]) -> None:
        if not self.users or version > max(self.users):
            self.count = count
        self.users[version] = frozenset(users)


class Roster:
    """The people of one room as the readers of this node have been told.

    ``version`` is None until the database was read once. ``people`` is None in a room above the limit: nobody is named
    there.
    """

    __slots__ = ("_floor", "_limit", "count", "people", "version")

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._floor = limit - limit // 10  # so that one who comes and goes does not turn names into a number and back
        self.version: int | None = None
        self.people: dict[str, Present] | None = None
        self.count = 0

    def wants(self, hints: Hints) -> frozenset[str] | None:
        """Whose rows are to be read for these hints; None: everybody's, for something was missed.

        Nobody's where the room is above the limit and stays so.
        """
        version = self.version
        if version is None:
            return None
        newer = sorted(each for each in hints.users if each > version)
        if not newer:
            return frozenset()
        whole = newer == list(range(version + 1, version + 1 + len(newer)))
        if self.people is None:
            return frozenset() if hints.count > self._floor else None
        return frozenset().union(*(hints.users[each] for each in newer)) if whole else None

    def follow(self, hints: Hints, found: Mapping[str, Present]) -> PresenceDiff | Whole | None:
        """These changes are taken in: ``found`` are those of the users in :meth:`wants` who are here.

        Gives what the readers are to be told, None when they see no difference.
        """
        assert self.version is not None
        wanted = self.wants(hints)
        assert wanted is not None
        newer = [each for each in hints.users if each > self.version]
        if not newer:
            return None
        self.version = max(newer)
        if self.people is None:
            return self._count(hints.count)
        after = {user: person for user, person in self.people.items() if user not in wanted} | dict(found)
        return self._become(after, hints.count)

    def read(self, version: int, count: int, found: Collection[Present] | None) -> PresenceDiff | Whole | None:
        """The database's own answer, of when the room was at this version or later; ``found`` None above the limit."""
        first = self.version is None
        self.version = version
        if not first and self.people is None and count > self._floor:
            return self._count(count)
        if not first and self.people is not None and found is not None:
            return self._become({person.user.id: person for person in found}, count)
        self.people = None if found is None else {person.user.id: person for person in found}
        self.count = count if found is None else len(found)
        return WHOLE

    def state(self) -> PresenceState:
        people = (
            [] if self.people is None else sorted(self.people.values(), key=lambda each: (each.since, each.user.id))
        )
        return PresenceState(people, self.count)

    def _count(self, count: int) -> PresenceDiff | None:
        if count == self.count:
            return None
        self.count = count
        return PresenceDiff([], [], [], count)

    def _become(self, after: dict[str, Present], count: int) -> PresenceDiff | Whole | None:
        before = self.people
        assert before is not None
        if len(after) > self._limit:
            self.people, self.count = None, count
            return WHOLE
        joined = [person for user, person in after.items() if user not in before]
        left = [person for user, person in before.items() if user not in after]
        changed = [person for user, person in after.items() if user in before and not alike(person, before[user])]
        told = {person.user.id for person in (*joined, *changed)}
        self.people = {user: person if user in told else before[user] for user, person in after.items()}
        self.count = len(after)
        return PresenceDiff(joined, left, changed, self.count) if joined or left or changed else None


WHOLE = Whole()


def alike(one: Present, other: Present) -> bool:
    """Whether a reader sees no difference. A reload begins a connection of the same kind: that is none."""
    return _seen(one) == _seen(other)


def _seen(person: Present) -> tuple[Any, ...]:
    return person.user, person.status, person.text, frozenset((each.transport, each.device) for each in person.metas)


_RANK: Callable[[Any], int] = {"busy": 2, "active": 1, "away": 0}.__getitem__


def together(statuses: Iterable[tuple[str, str, Any]]) -> tuple[str, str]:
    """One person's status and text of those on their connections, each with the time when it was set, if it was.

    Who is busy anywhere is busy, who is active anywhere is not away; the text is the newest.
    """
    given = list(statuses)
    if not given:
        return "active", ""
    said = [each for each in given if each[2] is not None]  # another tab takes nothing away from what was said
    text = max(said, key=lambda each: each[2])[1] if said else ""
    return max((status for status, _, _ in given), key=_RANK), text

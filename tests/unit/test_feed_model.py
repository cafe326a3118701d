"""A feed against a model of the log: whatever the network does, each reader's history obeys the rules of the protocol.

Events reach the feed in any order, twice or never; log reads that began earlier end later; rings are tiny; the log is
trimmed, redacted and begun again. After every frame: the seq rises by exactly one unless a live.cursor explains it, no
durable event is passed over, nothing comes twice, and no text comes after its redaction did.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rooms.delivery.feed import MISSING, Feed, Sealed, Taken, pack
from rooms.delivery.frames import Entry, vector

ROOM = "acme/general"
FRAME_BYTES = 500
RING_EVENTS = 6
index = st.integers(0, 1_000)
arrives = st.sampled_from([True, True, True, False])


@dataclass
class Row:
    seq: int
    key: str | None
    redacts: tuple[int, ...]
    redacted_by: int | None = None


@dataclass
class Reading:
    epoch: str
    floor: int
    head: int
    after: int
    last: int
    entries: list[Entry]


class Log:
    """What the database holds, and all that was ever committed in this epoch."""

    def __init__(self, number: int, head: int = 0) -> None:
        self.epoch = f"e{number}"
        self.floor = self.head = head
        self.history: dict[int, Row] = {}
        self.rows: dict[int, Row] = {}

    def append(self, key: str | None = None, redacts: tuple[int, ...] = ()) -> Entry:
        self.head += 1
        row = self.history[self.head] = Row(self.head, key, redacts)
        for old in [seq for seq, other in self.rows.items() if key is not None and other.key == key]:
            del self.rows[old]
        for seq in redacts:
            self.history[seq].redacted_by = self.head
        self.rows[self.head] = row
        return self.entry(row)

    def entry(self, row: Row) -> Entry:
        text = "gone" if row.redacted_by else "text"
        data = {"epoch": self.epoch, "text": text}
        name = "poll.voted" if row.key else "chat.message"
        return Entry(row.seq, name, vector(name, data, room=ROOM, seq=row.seq), row.key, row.redacts)

    def read(self, after: int, limit: int = 4) -> Reading:
        rows = [self.rows[seq] for seq in sorted(self.rows) if seq > after][:limit]
        last = self.head if len(rows) < limit else rows[-1].seq
        return Reading(self.epoch, self.floor, self.head, after, last, [self.entry(row) for row in rows])

    def may_be_passed_over(self, seq: int) -> bool:
        row = self.history[seq]
        return row.key is not None and any(later.key == row.key and later.seq > seq for later in self.history.values())

    def trim(self, keep: int) -> None:
        self.floor = max(self.floor, self.head - keep)
        self.rows = {seq: row for seq, row in self.rows.items() if row.key or seq > self.floor}


@dataclass(eq=False)
class Reader:
    epoch: str
    place: int
    transients: set[int] = field(default_factory=set)


class FeedMachine(RuleBasedStateMachine):
    @initialize(head=st.integers(0, 5))
    def start(self, head: int) -> None:
        self.logs = {"e0": Log(0, head)}
        self.log = self.logs["e0"]
        self.feed = Feed(ROOM, max_events=RING_EVENTS, max_bytes=1_200, frame_bytes=FRAME_BYTES)
        self.network: list[tuple[str, Entry]] = []
        self.readings: list[Reading] = []
        self.readers: list[Reader] = []
        self.sealed: Sealed | None = None
        self.round: list[Reader] = []  # who has not had their turn yet
        self.transients: dict[int, int] = {}  # number: the feed's head when it was let through

    # --- what is committed

    @rule(key=st.sampled_from([None, None, "a", "b"]), arrives=arrives)
    def commit(self, key: str | None, arrives: bool) -> None:
        self.announce(self.log.epoch, self.log.append(key), arrives)

    @rule(back=st.integers(1, 5), arrives=arrives)
    def redact(self, back: int, arrives: bool) -> None:
        texts = [row.seq for row in self.log.history.values() if not (row.key or row.redacts or row.redacted_by)]
        if texts:
            self.announce(self.log.epoch, self.log.append(redacts=tuple(texts[-back:][:1])), arrives)

    @rule(arrives=arrives)
    def say_something_transient(self, arrives: bool) -> None:
        number = len(self.transients) + 1
        self.transients[number] = -1
        data = {"number": number}
        self.announce("", Entry(None, "chat.typing", vector("chat.typing", data, room=ROOM)), arrives)

    def announce(self, epoch: str, entry: Entry, arrives: bool) -> None:
        self.network.append((epoch, entry))
        if arrives:
            self.hear(-1, doubled=False)

    @precondition(lambda self: len(self.log.history) > 4)
    @rule(keep=st.integers(0, 8))
    def trim(self, keep: int) -> None:
        self.log.trim(keep)

    @precondition(lambda self: len(self.log.history) > 8)
    @rule(head=st.integers(0, 30))
    def begin_another_history(self, head: int) -> None:
        self.log = Log(len(self.logs), head)
        self.logs[self.log.epoch] = self.log

    # --- what the network does

    @precondition(lambda self: self.network)
    @rule(which=index, doubled=st.booleans())
    def hear(self, which: int, doubled: bool) -> None:
        epoch, entry = self.network[which % len(self.network)]
        if not doubled or entry.seq is None:  # a transient that is doubled is dropped by its envelope
            del self.network[which % len(self.network)]
        passed = self.feed.offer(epoch, [entry])
        if entry.seq is None and passed:
            self.transients[msgspec.json.decode(entry.vector)[1]["number"]] = self.feed.head or 0

    @precondition(lambda self: self.network)
    @rule(which=index)
    def lose(self, which: int) -> None:
        del self.network[which % len(self.network)]

    # --- reads of the log, some of which end late

    @rule(behind=st.integers(0, 12), limit=st.integers(1, 6))
    def read(self, behind: int, limit: int) -> None:
        self.readings.append(self.log.read(max(0, self.log.head - behind), limit))

    @precondition(lambda self: self.readers)
    @rule(who=index, limit=st.integers(3, 8))
    def read_for_a_reader(self, who: int, limit: int) -> None:
        reader = self.readers[who % len(self.readers)]
        self.readings.append(self.logs[reader.epoch].read(reader.place, limit))

    @precondition(lambda self: self.readings)
    @rule(which=index)
    def finish_reading(self, which: int) -> None:
        self.take_in(self.readings.pop(which % len(self.readings)))

    def take_in(self, reading: Reading) -> None:
        feed = self.feed
        if feed.head is None:
            feed.begin(reading.epoch, reading.head)
        if reading.epoch != feed.epoch:
            return
        if reading.floor > feed.head:
            feed.begin(reading.epoch, reading.head)
        elif reading.after <= feed.head < reading.last:
            feed.mend(reading.entries, reading.last)
        feed.keep(reading.after, reading.entries, reading.head, floor=reading.floor)

    @rule()
    def heal(self) -> None:
        """Compare with the log, and read on until the feed is where the log is."""
        feed, log = self.feed, self.log
        if feed.head is None:
            self.take_in(log.read(log.head))
        if feed.epoch != log.epoch:
            feed.begin(log.epoch, log.head)
            for reader in self.readers:
                reader.epoch, reader.place = log.epoch, log.head
        elif log.head - feed.head > 2 * RING_EVENTS:
            feed.begin(log.epoch, log.head)
        while feed.head < log.head:
            before = feed.head
            self.take_in(log.read(before))
            assert feed.head > before

    # --- readers

    @precondition(lambda self: self.feed.head is not None and len(self.readers) < 6)
    @rule(behind=st.integers(0, 20))
    def join(self, behind: int) -> None:
        assert self.feed.head is not None
        log = self.logs[self.feed.epoch]
        place = max(self.feed.head - behind, log.floor)
        self.readers.append(Reader(log.epoch, min(place, self.feed.head)))

    @precondition(lambda self: self.feed.head is not None)
    @rule(stops=st.lists(index, max_size=3))
    def flush(self, stops: list[int]) -> None:
        """``stops`` are readers whose credit ends with the first frame."""
        self.go_on(len(self.round), [])
        self.sealed, self.round = self.feed.seal(), list(self.readers)
        if self.sealed is None:
            self.round = []
        else:
            assert self.sealed.parts
            self.go_on(len(self.round) // 2, stops)

    @precondition(lambda self: self.round)
    @rule(count=st.integers(1, 6), stops=st.lists(index, max_size=3))
    def go_on(self, count: int, stops: list[int]) -> None:
        """The next readers of a large room have their turn; what happened meanwhile is not in it."""
        sealed, feed = self.sealed, self.feed
        now, self.round = self.round[:count], self.round[count:]
        for number, reader in enumerate(now):
            assert sealed is not None
            if feed.is_good(sealed) and reader.place == sealed.base:
                for part in sealed.parts[:1] if number in stops else sealed.parts:
                    self.receive(reader, part)

    @precondition(lambda self: self.readers)
    @rule(who=index, late=index)
    def take(self, who: int, late: int) -> None:
        reader = self.readers[who % len(self.readers)]
        fitting = [one for one in self.readings if one.after == reader.place and one.epoch == reader.epoch]
        self.serve(reader, fitting[late % len(fitting)] if fitting else None)

    def serve(self, reader: Reader, reading: Reading | None = None) -> bool:
        """One frame, from the ring or from the log; whether there was something."""
        assert reader.epoch == self.feed.epoch, "a new history resets everybody"
        taken = self.feed.take(reader.place)
        if taken is MISSING:
            reading = reading or self.logs[reader.epoch].read(reader.place)
            self.take_in(reading)
            if self.feed.outdated(reading.head):
                return True
            if not reading.floor <= reader.place <= reading.head:
                reader.place = reading.head
                return True
            taken = pack(ROOM, reading.entries, after=reader.place, end=reading.last, frame_bytes=FRAME_BYTES)
        if taken is None:
            return False
        assert isinstance(taken, Taken)
        self.receive(reader, taken)
        return True

    def receive(self, reader: Reader, taken: Taken) -> None:
        """What the protocol promises to every reader, read from the bytes."""
        log = self.logs[reader.epoch]
        assert len(taken.frame) <= FRAME_BYTES or taken.events <= 1
        for name, data, meta in msgspec.json.decode(taken.frame):
            if name == "live.cursor":
                assert data["seq"] == reader.place + data["skipped"]
                assert data["skipped"] > 0
                for seq in range(reader.place + 1, data["seq"] + 1):
                    assert log.may_be_passed_over(seq), f"{seq} was passed over"
                reader.place = data["seq"]
            elif name == "chat.typing":
                assert data["number"] not in reader.transients
                assert self.transients[data["number"]] == reader.place, "a transient reached a reader who was behind"
                reader.transients.add(data["number"])
            else:
                assert meta["seq"] == reader.place + 1
                assert data["epoch"] == reader.epoch
                row = log.history[meta["seq"]]
                if row.redacted_by and row.redacted_by <= (self.feed.head or 0):
                    assert data["text"] == "gone", "text was served after its redaction"
                reader.place = meta["seq"]
        assert reader.place == taken.cursor

    @rule()
    def shrink(self) -> None:
        self.feed.shrink()

    @invariant()
    def the_ring_is_bounded_and_its_bytes_are_counted(self) -> None:
        feed = self.feed
        assert len(feed._ring) <= RING_EVENTS
        assert feed.bytes == sum(len(entry.vector) for entry in feed._ring)
        assert len(feed._held) <= RING_EVENTS
        assert all(seq > (feed.head or 0) for seq in feed._held), "what was seen takes the place of what was not"

    def teardown(self) -> None:
        """Once the network is quiet and the log was read, everybody has everything."""
        if not hasattr(self, "feed"):
            return
        self.heal()
        self.flush([])
        for reader in self.readers:
            while self.serve(reader):
                pass
            assert reader.place == self.log.head
        soon, later = self.log.append(), self.log.append()
        assert [self.feed.offer(self.log.epoch, [entry]) for entry in (later, soon)] == [0, 2]


TestFeed = FeedMachine.TestCase
TestFeed.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)

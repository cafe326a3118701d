"""One room on this node: order, gaps, ring, newest-by-key.

The feed is told of events in any order, some twice, some never. It lets them through in the order of their seqs, each
once, keeps the newest of them in a ring that all readers of the room share, and knows when something is missing. What
the ring does not hold, the log does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from rooms.delivery.frames import Entry, frame, vector

FRAME_EVENTS = 200  # events in one frame, where nothing else is said: a client that catches up paints in between
SHARED_FRAMES = 64  # kept for readers who stand at one place; what they add to the ring's bytes is bounded by that


class Missing(Enum):
    """What the reader needs is not in the ring: read the log from its cursor."""

    IN_RING = 1


MISSING: Final = Missing.IN_RING


@dataclass(frozen=True, slots=True)
class Taken:
    """A finished frame, and where a reader stands who has got it."""

    frame: bytes
    cursor: int
    events: int
    skipped: int
    _shapes: dict[Callable[[bytes], bytes], bytes] = field(default_factory=dict, repr=False, compare=False)

    def shaped(self, shape: Callable[[bytes], bytes]) -> bytes:
        """The frame in this shape, made once for all who take it so."""
        shaped = self._shapes.get(shape)
        if shaped is None:
            shaped = self._shapes[shape] = shape(self.frame)
        return shaped


@dataclass(frozen=True, slots=True)
class Sealed:
    """What came since the last flush, for the readers whose cursor is ``base``; transients are in it.

    ``snapshot``: some of these have one, which is due to whoever does not get all parts. ``is_small``: there are
    several, and together they are no longer than a frame may be.
    """

    base: int
    parts: list[Taken]
    snapshot: bool
    is_small: bool
    history: int
    _shapes: dict[Callable[[bytes], bytes], bytes] = field(default_factory=dict, repr=False, compare=False)

    def shaped(self, shape: Callable[[bytes], bytes]) -> bytes:
        """All parts in this shape, one after the other."""
        shaped = self._shapes.get(shape)
        if shaped is None:
            shaped = self._shapes[shape] = b"".join(part.shaped(shape) for part in self.parts)
        return shaped


def pack(
    address: str,
    entries: Iterable[Entry],
    *,
    after: int,
    end: int | None,
    frame_bytes: int,
    frame_events: int = FRAME_EVENTS,
    gaps: bool = True,
) -> Taken | None:
    """As many of these entries as fit one frame, for a reader at ``after``; None when there is nothing to tell.

    A seq that is not the last one plus one is explained by a ``live.cursor`` before it. With ``end``, the entries are
    all there is up to there, and a reader who got them stands there. A vector larger than a frame goes alone. State
    (``gaps=False``) is not counted in "rises by one".
    """
    vectors: list[bytes] = []
    size = 1  # with each vector's comma, and the brackets
    events = skipped = 0
    place = after
    for entry in entries:
        gap = entry.seq - place - 1 if gaps and entry.seq is not None else 0
        told = [_cursor(address, place + gap, gap), entry.vector] if gap else [entry.vector]
        more = sum(len(one) + 1 for one in told)
        if vectors and (size + more > frame_bytes or events == frame_events):
            break
        vectors += told
        size += more
        events += 1
        skipped += gap
        if entry.seq is not None:
            place = entry.seq
    else:
        if end is not None and end > place:
            told = [_cursor(address, end, end - place)] if gaps else []
            if not vectors or size + sum(len(one) + 1 for one in told) <= frame_bytes:
                vectors += told
                skipped += end - place if gaps else 0
                place = end
    return Taken(frame(vectors), place, events, skipped) if vectors else None


def _cursor(address: str, seq: int, skipped: int) -> bytes:
    return vector("live.cursor", {"seq": seq, "skipped": skipped}, room=address)


class Feed:
    """The events of one room as this node knows them.

    ``head`` is None until the log was read once. Readers with a cursor from ``tail`` on are served from the ring.
    """

    __slots__ = (
        "_base", "_frame_bytes", "_frame_events", "_held", "_history", "_max_bytes", "_max_events", "_newest",
        "_pending", "_redacted_at", "_ring", "_stale", "_taken", "address", "bytes", "epoch", "head", "tail",
    )  # fmt: skip

    def __init__(
        self, address: str, *, max_events: int, max_bytes: int, frame_bytes: int, frame_events: int = FRAME_EVENTS
    ) -> None:
        self.address = address
        self.epoch = ""
        self.head: int | None = None
        self.tail = 0
        self.bytes = 0
        self._stale: set[int] = set()  # seqs in the ring whose bytes were redacted
        self._redacted_at = 0  # what was read when the log's head was below this may hold redacted text
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._frame_bytes = frame_bytes
        self._frame_events = frame_events
        self._ring: list[Entry] = []
        self._newest: dict[tuple[str, str], int] = {}
        self._held: dict[int, Entry] = {}  # above a gap
        self._pending: list[Entry] = []  # let through since the last seal
        self._base = 0  # the head at the last seal
        self._history = 0  # how often what had been let through was not good any more
        self._taken: dict[int, Taken] = {}  # by cursor: readers at one place share the bytes

    # --- events come in

    def begin(self, epoch: str, head: int) -> None:
        """The log says where the room stands. What was held for it is let through; another history starts afresh."""
        same = epoch == self.epoch and head >= (self.head or 0)
        held = self._held if same or not self.epoch else {}
        self.epoch, self.head, self.tail, self._base, self._redacted_at = epoch, head, head, head, head
        self._ring, self._newest, self._pending, self._held, self._taken = [], {}, [], {}, {}
        self._stale = set()
        self._history += 1
        self.bytes = 0
        self.offer(epoch, [held[seq] for seq in sorted(held)])

    def offer(self, epoch: str, entries: Sequence[Entry]) -> int:
        """Let through what is next, hold what lies above a gap, drop what was seen; gives how many were let through.

        Logged entries of another epoch are not taken: the log must say which one is true.
        """
        passed = 0
        for entry in entries:
            if entry.seq is None:
                if self.head is not None:
                    self._pending.append(entry)
                    passed += 1
            elif self.head is None or entry.seq > self.head + 1:
                if not self.epoch or epoch == self.epoch:
                    self._hold(entry)
                    self.epoch = epoch
            elif entry.seq == self.head + 1 and epoch == self.epoch:
                self._let_through(entry)
                passed += 1 + self._release()
        return passed

    def mend(self, entries: Sequence[Entry], end: int) -> int:
        """The log's own answer: these are all the entries after some seq up to ``end``; gives how many were new."""
        assert self.head is not None
        before = self.head
        passed = 0
        for entry in entries:
            assert entry.seq is not None
            if entry.seq > self.head:
                self._let_through(entry)
                passed += 1
        if end > self.head:  # compaction below the end
            self.head = end
            self._taken.clear()
        if self.head != before:
            passed += self._release()
        return passed

    def outdated(self, log_head: int) -> bool:
        """Whether what was read of this log when its head was ``log_head`` may hold text that was redacted since."""
        return log_head < self._redacted_at

    def keep(self, after: int, entries: Sequence[Entry], log_head: int, *, floor: int) -> None:
        """The log's own answer for older events: all above ``after``, read when its head was ``log_head``.

        Redacted bytes in the ring are replaced, and what joins the ring's tail and fits is kept for the next reader.
        What was read before a redaction is not: it may hold the text that is gone. Nor is what lies below the log's
        ``floor``: a hole there may have been a durable event.
        """
        if after < floor:
            after = floor
            entries = entries[bisect_right(entries, floor, key=_seq) :]
        if not entries or self.outdated(log_head):
            return
        self._taken.clear()
        if self._stale:
            fresh = {entry.seq: entry for entry in entries}
            for index, entry in enumerate(self._ring):
                if entry.seq in self._stale and entry.seq in fresh:
                    self._ring[index] = fresh[entry.seq]
                    self.bytes += len(fresh[entry.seq].vector)
                    self._stale.discard(entry.seq)
        last = entries[-1].seq
        if last is not None and after < self.tail <= last:
            self._prepend(after, entries)

    def _prepend(self, after: int, entries: Sequence[Entry]) -> None:
        room_events, room_bytes = self._max_events - len(self._ring), self._max_bytes - self.bytes
        older: list[Entry] = []
        tail = self.tail
        for entry in reversed(entries):
            assert entry.seq is not None
            if entry.seq > self.tail:
                continue
            room_events -= 1
            room_bytes -= len(entry.vector)
            if room_events < 0 or room_bytes < 0:
                break
            older.append(entry)
            tail = entry.seq - 1
        else:
            tail = after
        for entry in older:
            self.bytes += len(entry.vector)
            if entry.key is not None and entry.seq is not None:
                self._newest.setdefault((entry.name, entry.key), entry.seq)
        self._ring[:0] = reversed(older)
        self.tail = tail

    def _hold(self, entry: Entry) -> None:
        if len(self._held) < self._max_events:  # beyond that the log is cheaper
            assert entry.seq is not None
            self._held[entry.seq] = entry

    def _release(self) -> int:
        """Let through what was held and is next now; drop what the log was faster with."""
        passed = 0
        assert self.head is not None
        if self._held:
            while (entry := self._held.pop(self.head + 1, None)) is not None:
                self._let_through(entry)
                passed += 1
            for seq in [seq for seq in self._held if seq <= self.head]:
                del self._held[seq]
        return passed

    def _let_through(self, entry: Entry) -> None:
        assert entry.seq is not None
        self.head = entry.seq
        self._ring.append(entry)
        self._pending.append(entry)
        self.bytes += len(entry.vector)
        if entry.key is not None:
            self._newest[entry.name, entry.key] = entry.seq
        if entry.redacts:
            self._redact(entry.redacts)
        self._taken.clear()
        excess = len(self._ring) - self._max_events
        if excess > 0 or self.bytes > self._max_bytes:
            self._evict(max(excess, 0), self._max_bytes)

    def _redact(self, seqs: Sequence[int]) -> None:
        assert self.head is not None
        self._redacted_at = self.head
        self._history += 1
        gone = set(seqs)
        if any(entry.seq in gone for entry in self._pending):
            self._pending.clear()  # readers at the base take from the ring, which asks the log
            self._base = self.head
        for index, entry in enumerate(self._ring):
            if entry.seq in gone:
                self._stale.add(entry.seq)
                self.bytes -= len(entry.vector)
                self._ring[index] = Entry(entry.seq, entry.name, b"", entry.key)

    def shrink(self) -> None:
        """Give back half of the ring, for a node whose budget is used up."""
        self._evict((len(self._ring) + 1) // 2, self._max_bytes)

    def _evict(self, count: int, max_bytes: int) -> None:
        """Drop the oldest ``count`` entries, and more until the bytes fit."""
        size = self.bytes
        gone = 0
        while gone < len(self._ring) and (gone < count or size > max_bytes):
            entry = self._ring[gone]
            assert entry.seq is not None
            size -= len(entry.vector)
            self.tail = entry.seq
            self._stale.discard(entry.seq)
            if entry.key is not None and self._newest.get((entry.name, entry.key)) == entry.seq:
                del self._newest[entry.name, entry.key]
            gone += 1
        del self._ring[:gone]
        self.bytes = size
        self._taken.clear()

    # --- readers take

    @property
    def unsettled(self) -> bool:
        """Whether a snapshot that is taken now would hold changes that are still to be sealed."""
        return any(entry.snapshot for entry in self._pending)

    def seal(self) -> Sealed | None:
        """What came since the last time, as frames for readers who were at the head then; None when nothing did."""
        entries, base = self._pending, self._base
        assert self.head is not None
        self._pending, self._base = [], self.head
        self._taken.clear()
        if not entries:
            return None
        parts = []
        start, place = 0, base
        while start < len(entries):
            taken = self._pack(entries[start:], after=place, end=None)
            assert taken is not None
            parts.append(taken)
            start, place = start + taken.events, taken.cursor
        return Sealed(
            base,
            parts,
            snapshot=any(entry.snapshot for entry in entries),
            is_small=len(parts) > 1 and sum(len(part.frame) for part in parts) <= self._frame_bytes,
            history=self._history,
        )

    def is_good(self, sealed: Sealed) -> bool:
        """Whether this may still be handed out: nothing in it was redacted since, and the history is the same."""
        return sealed.history == self._history

    def take(self, cursor: int) -> Taken | Missing | None:
        """The next frame for a reader who is behind, by policy; None where the last seal was.

        What came since is left to the next: then whoever was behind is among those who get that one. A superseded value
        of a key is passed over. Readers at one place get the same bytes.
        """
        if self.head is not None and cursor >= self._base:
            return None
        if self.head is None or cursor < self.tail:
            return MISSING
        taken = self._taken.get(cursor)
        if taken is None:
            start = bisect_right(self._ring, cursor, key=_seq)
            entries = self._ring[start : bisect_right(self._ring, self._base, key=_seq)]
            if self._stale:
                fresh = next((i for i, entry in enumerate(entries) if entry.seq in self._stale), len(entries))
                if fresh == 0:
                    return MISSING
                wanted, end = entries[:fresh], entries[fresh - 1].seq
            else:
                wanted, end = entries, self._base
            newest = (e for e in wanted if e.key is None or self._newest[e.name, e.key] == e.seq)
            taken = self._pack(newest, after=cursor, end=end)
            assert taken is not None
            if len(self._taken) == SHARED_FRAMES:
                self._taken.clear()
            self._taken[cursor] = taken
        return taken

    def _pack(self, entries: Iterable[Entry], *, after: int, end: int | None) -> Taken | None:
        return pack(
            self.address,
            entries,
            after=after,
            end=end,
            frame_bytes=self._frame_bytes,
            frame_events=self._frame_events,
        )


def _seq(entry: Entry) -> int:
    assert entry.seq is not None
    return entry.seq

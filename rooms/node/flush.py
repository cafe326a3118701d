"""What came goes out to everybody in the room: soon, together, and never for long at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from rooms import metrics
from rooms.conf import Config
from rooms.delivery.feed import Feed, Sealed, Taken
from rooms.delivery.reader import Reader

SLICE = 0.002  # seconds of the loop for one room; then others have their turn
LOOK = 32  # readers between two looks at the clock: each takes some 4 µs, most of it the kernel's
CROWD = 100  # readers from which on waiting for more is worth it: below, the writes saved are less than a millisecond's


class Node(Protocol):
    """What a flush needs of its hub."""

    config: Config
    loop: asyncio.AbstractEventLoop

    @property
    def sees(self) -> bool: ...


class Flush:
    """Hands what a feed let through to the readers of its room.

    What comes until the next turn of the loop shares a frame; with a crowd of readers, what comes within
    ``flush_interval`` of the flush before: who speaks into silence waits for nobody. A large room is served in slices.
    What comes meanwhile goes out with the next flush, so each reader gets everything in order; who joins meanwhile is
    not in this one, and stands behind it.
    """

    __slots__ = ("_again", "_began", "_end", "_feed", "_is_due", "_node", "_place", "_readers", "_round", "_sealed")

    def __init__(self, node: Node, feed: Feed, readers: dict[Reader, None]) -> None:
        self._node = node
        self._feed = feed
        self._readers = readers
        self._is_due = False
        self._began = 0.0
        self._round: list[Reader] = []  # who is served by the one that is under way, and how far it is
        self._place = 0
        self._again = False  # something came meanwhile
        self._sealed: Sealed | None = None
        self._end = 0  # where its readers stand afterwards

    @property
    def is_unsettled(self) -> bool:
        """Whether a snapshot that is taken now would hold changes that are still to be handed out."""
        return self._feed.unsettled or (self._sealed is not None and self._sealed.snapshot)

    def soon(self) -> None:
        if self._round:
            self._again = True
        elif not self._is_due:
            self._is_due = True
            wait = 0.0
            if self._node.config.flush_interval and len(self._readers) >= CROWD:
                wait = self._began + self._node.config.flush_interval - time.monotonic()
            if wait > 0:
                self._node.loop.call_later(wait, self._begin)
            else:
                self._node.loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._is_due = False
        if self._feed.head is None:
            return
        self._began = time.monotonic()
        self._sealed, self._end = self._feed.seal(), self._feed.head
        self._round, self._place = list(self._readers), 0
        self._go_on()

    def _go_on(self) -> None:
        try:
            self._slice()
        finally:  # whoever failed, the others have their turn
            if self._place < len(self._round):
                self._node.loop.call_soon(self._go_on)
            else:
                self._over()

    def _slice(self) -> None:
        sealed, readers, end = self._sealed, self._round, self._end
        sees = self._node.sees  # else they are woken when it does again
        # After a deletion, or another history, that came between two slices, the rest read the log.
        good = sealed if sealed is not None and sees and self._feed.is_good(sealed) else None
        parts = good.parts if good is not None else ()
        base = sealed.base if sealed is not None else -1
        snapshot = sealed is not None and sealed.snapshot
        handed = [0] * (len(parts) + 1)  # readers, by how many parts they got
        now = time.monotonic()
        until = now + SLICE
        try:
            while self._place < len(readers):
                reader = readers[self._place]
                self._place += 1
                count = 0
                if (
                    reader.cursor == base
                    and reader.live
                    and not (reader.state_after is not None or snapshot and reader.stale)
                ):
                    count = 0 if good is None else _hand(reader, good, now)
                    handed[count] += 1
                if snapshot and (count == 0 or count < len(parts)):
                    reader.stale |= reader.joined
                if reader.cursor < end and sees and reader.live:
                    reader.connection.wait(reader)
                if self._place % LOOK == 0 and (now := time.monotonic()) > until:
                    break
        finally:
            _count(parts, handed)

    def _over(self) -> None:
        self._round, self._sealed = [], None
        if self._node.sees:
            for reader in list(self._readers):
                if reader.stale and reader.live:
                    reader.connection.wait(reader)
        if self._again:
            self._again = False
            self.soon()


def _hand(reader: Reader, sealed: Sealed, now: float) -> int:
    """How many of its parts the reader got."""
    if sealed.is_small and reader.connection.deliver_all(reader, sealed, now):
        return len(sealed.parts)
    deliver, count = reader.connection.deliver, 0
    for part in sealed.parts:
        if not deliver(reader, part, now):
            break
        count += 1
    return count


def _count(parts: Sequence[Taken], handed: Sequence[int]) -> None:
    """:param handed: how many readers got so many of the parts, from none to all."""
    got = sum(handed)
    for part, short in zip(parts, handed, strict=False):
        got -= short
        metrics.deliveries.inc(got * part.events)
        metrics.frames.inc(got)
        metrics.skipped.inc(got * part.skipped)

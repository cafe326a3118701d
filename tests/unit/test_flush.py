"""When a flush is due: soon, and in a busy room of many not sooner than the interval after the one before."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from rooms.conf import Config
from rooms.delivery.feed import Feed, Taken
from rooms.delivery.frames import Entry, vector
from rooms.delivery.reader import Reader
from rooms.node.flush import CROWD, Flush

ROOM = "acme/general"
INTERVAL = 0.1


class Loop:
    """What is to be called, and when."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def call_later(self, wait: float, call: Callable[[], None]) -> None:
        self.later.append((wait, call))

    def turn(self) -> None:
        calls, self.soon = self.soon, []
        for call in calls:
            call()


class Node:
    sees = True

    def __init__(self, interval: float) -> None:
        self.config, self.loop = Config(flush_interval=interval), cast(Any, Loop())


class Sink:
    """A connection that takes everything."""

    def __init__(self) -> None:
        self.frames: list[Taken] = []

    def deliver(self, reader: Reader, taken: Taken, now: float) -> bool:
        self.frames.append(taken)
        reader.cursor = taken.cursor
        return True


class Stage:
    def __init__(self, readers: int, *, interval: float = INTERVAL) -> None:
        self.node = Node(interval)
        self.loop: Loop = self.node.loop
        self.feed = Feed(ROOM, max_events=100, max_bytes=100_000, frame_bytes=65_536)
        self.feed.begin("e1", 0)
        self.readers = [Reader(Sink(), self.feed, None) for _ in range(readers)]
        for reader in self.readers:
            reader.join()
        self.flush = Flush(self.node, self.feed, dict.fromkeys(self.readers))

    def say(self, seq: int) -> None:
        self.feed.offer("e1", [Entry(seq, "chat.message", vector("chat.message", {}, room=ROOM, seq=seq))])
        self.flush.soon()

    @property
    def events(self) -> list[int]:
        """In each frame of the last reader; the others have the same."""
        told = [[taken.events for taken in reader.connection.frames] for reader in self.readers]
        assert all(each == told[-1] for each in told)
        return told[-1]


def test_what_comes_until_the_next_turn_shares_a_frame() -> None:
    stage = Stage(3)
    stage.say(1)
    stage.say(2)
    assert stage.events == []
    stage.loop.turn()
    assert stage.events == [2]
    stage.say(3)
    stage.loop.turn()
    assert stage.events == [2, 1]
    assert not stage.loop.later, "so few are served at once"


def test_in_a_busy_room_of_many_what_comes_within_the_interval_shares_a_frame() -> None:
    stage = Stage(CROWD)
    stage.say(1)
    stage.loop.turn()
    assert stage.events == [1], "the first waits for nobody"
    for seq in (2, 3, 4):
        stage.say(seq)
        stage.loop.turn()
    [(wait, call)] = stage.loop.later
    assert 0 < wait <= INTERVAL
    assert stage.events == [1]
    call()
    assert stage.events == [1, 3]


def test_who_speaks_after_a_silence_waits_for_nobody() -> None:
    stage = Stage(CROWD)
    stage.say(1)
    stage.loop.turn()
    stage.flush._began = time.monotonic() - INTERVAL
    stage.say(2)
    stage.loop.turn()
    assert stage.events == [1, 1]
    assert not stage.loop.later


@pytest.mark.parametrize(("readers", "interval"), [(CROWD - 1, INTERVAL), (CROWD, 0.0)])
def test_few_readers_or_no_interval_wait_for_nothing(readers: int, interval: float) -> None:
    stage = Stage(readers, interval=interval)
    for seq in (1, 2):
        stage.say(seq)
        stage.loop.turn()
    assert stage.events == [1, 1]
    assert not stage.loop.later


def test_a_flush_of_nobody_is_over_and_the_next_one_comes() -> None:
    stage = Stage(0)
    stage.say(1)
    stage.loop.turn()
    stage.say(2)
    assert len(stage.loop.soon) == 1

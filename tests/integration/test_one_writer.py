"""On SQLite the threads of a process write one after the other, and none sleeps until it may."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, RLock, Thread

import pytest
from django.db import connection

from rooms import log
from rooms.models import Room
from tests.support.logs import say

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's own"),
]


class Noted:
    """A lock that tells of somebody who waits for it, or gave up."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.taken = 0
        self.waits, self.given_up = Event(), Event()

    def acquire(self, timeout: float) -> bool:
        self.taken += 1
        if self.taken > 1:
            self.waits.set()
        found = self.lock.acquire(timeout=timeout)
        if not found:
            self.given_up.set()
        return found

    def release(self) -> None:
        self.lock.release()


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> Noted:
    noted = Noted()
    monkeypatch.setattr(log, "_writer", noted)
    return noted


@pytest.fixture
def heads(room: Room) -> Iterator[list[int]]:
    found: list[int] = []
    yield found
    assert log.position(room).seq == max(found)


def other(room: Room, heads: list[int], *, patient: bool) -> Thread:
    def write() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout = {20_000 if patient else 0}")
            with log.batch() as batch:
                heads.append(batch.head(room))
        finally:
            connection.close()

    return Thread(target=write)


def test_who_waits_for_another_thread_does_not_ask_sqlite(room: Room, lock: Noted, heads: list[int]) -> None:
    """It would say no at once: this one gives it no time."""
    thread = other(room, heads, patient=False)
    with log.batch():
        thread.start()
        assert lock.waits.wait(30)
        seq = say(room)
    thread.join(30)
    assert heads == [seq]


def test_who_has_waited_for_long_leaves_it_to_sqlite(
    room: Room, lock: Noted, heads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "PATIENCE", 0)
    thread = other(room, heads, patient=True)
    with log.batch():
        thread.start()
        assert lock.given_up.wait(30)
        seq = say(room)
    thread.join(30)
    assert heads == [seq]

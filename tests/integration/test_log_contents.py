"""What the log holds: the newest of each key, and what trimming and redacting leave; and how it is read."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rooms import log
from rooms.contract import Cursor
from rooms.delivery.frames import Notice
from rooms.models import Event, Room
from tests.support.logs import entries, say, vote

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("test_total")]


# --- latest


def test_the_log_keeps_the_newest_value_of_a_key_alone(room: Room, start: int) -> None:
    vote(room, "lunch", 1)
    vote(room, "dinner", 1)
    vote(room, "lunch", 2)
    assert entries(room, start) == [(start + 2, 1), (start + 3, 2)]


def test_and_of_several_in_one_transaction_the_last(room: Room, start: int, announced: list[Notice]) -> None:
    vote(room, "lunch", 1)
    announced.clear()
    with log.batch():
        vote(room, "lunch", 2)
        vote(room, "dinner", 1)
        vote(room, "lunch", 3)
    assert entries(room, start) == [(start + 3, 1), (start + 4, 3)]
    assert [entry.seq for notice in announced for entry in notice.entries] == [start + 2, start + 3, start + 4]


def test_the_state_is_the_present_values_without_removed_keys(room: Room, start: int) -> None:
    vote(room, "lunch", 1)
    vote(room, "dinner", 1)
    vote(room, "lunch", None)
    say(room)
    reading = log.state(room.pk, 0, 10)
    assert reading is not None
    assert [entry.seq for entry in reading.entries] == [start + 2]
    assert reading.head == start + 4
    assert log.latest(room, "test.total", "dinner") == {"poll": "dinner", "votes": 1}
    assert log.latest(room, "test.total", "lunch") is None
    assert entries(room, start) == [(start + 2, 1), (start + 3, None), (start + 4, "hello")]


# --- reading


def test_a_read_is_one_statement(room: Room, start: int) -> None:
    say(room)
    for read in (log.read, log.state):
        with CaptureQueriesContext(connection) as queries:
            read(room.pk, 0, 100)
        assert len(queries) == 1


def test_a_read_of_nothing_still_tells_where_the_log_stands(room: Room) -> None:
    here = log.position(room)
    reading = log.read(room.pk, here.seq, 10)
    assert reading is not None
    assert (reading.epoch, reading.head, reading.entries) == (here.epoch, here.seq, [])
    assert reading.follows(here)
    assert not reading.follows(Cursor(here.epoch, here.seq + 1))
    assert not reading.follows(Cursor("other", here.seq))


def test_a_read_of_a_room_that_is_gone_is_none(room: Room) -> None:
    room.delete()
    assert log.read(room.pk, 0, 10) is None
    assert log.positions([room.pk]) == {}


def test_a_read_gives_the_oldest_first_and_no_more_than_asked_for(room: Room, start: int) -> None:
    for _ in range(5):
        say(room)
    reading = log.read(room.pk, start + 1, 2)
    assert reading is not None
    assert [entry.seq for entry in reading.entries] == [start + 2, start + 3]
    assert reading.head == start + 5


# --- trimming and redacting


def test_trimming_never_removes_the_newest_value_of_a_key(room: Room, start: int) -> None:
    vote(room, "lunch", 1)
    vote(room, "dinner", 1)
    vote(room, "dinner", None)
    say(room)
    gone = log.trim(room.pk, keep=0, since=timezone.now())
    assert gone >= 2
    assert entries(room, 0) == [(start + 1, 1)]
    reading = log.read(room.pk, 0, 10)
    assert reading is not None
    assert (reading.floor, reading.head) == (start + 4, start + 4)
    assert not reading.follows(Cursor(reading.epoch, start + 3))
    assert say(room) == start + 5, "the sequence goes on"


def test_trimming_keeps_what_is_new_enough_and_not_too_much(room: Room, start: int) -> None:
    for _ in range(4):
        say(room)
    Event.objects.filter(log=room.pk, seq__lte=start + 1).update(at=timezone.now() - timedelta(days=40))
    log.trim(room.pk, keep=1_000, since=timezone.now() - timedelta(days=30))
    assert entries(room, 0)[0][0] == start + 2
    log.trim(room.pk, keep=2, since=timezone.now() - timedelta(days=30))
    assert entries(room, 0)[0][0] == start + 3
    assert log.trim(room.pk, keep=2, since=timezone.now() - timedelta(days=30)) == 0


def test_redacting_changes_the_rows_and_tells_which(room: Room, start: int, announced: list[Notice]) -> None:
    first, second = say(room, "secret"), say(room, "public")
    assert first is not None
    announced.clear()
    with log.batch() as batch:
        batch.redact(room, [first], lambda data: {**data, "text": "gone"})
        batch.append(room, "room.announcement", {"text": "redacted"}, redacts=[first])
    assert entries(room, start) == [(first, "gone"), (second, "public"), (start + 3, "redacted")]
    assert announced[0].entries[0].redacts == (first,)
    reading = log.read(room.pk, start, 10)
    assert reading is not None
    assert reading.entries[-1].redacts == (first,), "who reads the log later learns it too"


def test_what_is_said_and_redacted_in_one_transaction_is_redacted(room: Room, start: int) -> None:
    with log.batch() as batch:
        first = say(room, "secret")
        assert first is not None
        batch.redact(room, [first], lambda data: {**data, "text": "gone"})
        batch.append(room, "room.announcement", {"text": "redacted"}, redacts=[first])
    assert entries(room, start) == [(start + 1, "gone"), (start + 2, "redacted")]

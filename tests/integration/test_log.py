"""The log: one sequence a room, taken with the change that it tells of, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from rooms import log
from rooms.contract import Cursor
from rooms.delivery.frames import Notice
from rooms.models import Room, RoomLog
from tests.support.logs import Total, entries, say, vote

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("test_total")]


# --- one sequence


def test_each_event_has_the_next_seq_and_the_head_is_the_last(room: Room, start: int) -> None:
    assert [say(room), say(room), say(room)] == [start + 1, start + 2, start + 3]
    assert log.position(room) == Cursor(RoomLog.objects.get(room=room).epoch, start + 3)


def test_rooms_count_for_themselves(room: Room, start: int) -> None:
    other = Room.objects.get(tenant=room.tenant, slug="lobby")
    before = log.position(other).seq
    say(room)
    assert say(other) == before + 1
    assert say(room) == start + 2


def test_a_rollback_leaves_nothing_and_announces_nothing(room: Room, start: int, announced: list[Notice]) -> None:
    announced.clear()
    with pytest.raises(KeyError), transaction.atomic():
        say(room)
        raise KeyError
    with pytest.raises(KeyError), log.batch():
        say(room)
        raise KeyError
    assert announced == []
    assert entries(room, start) == []
    assert say(room) == start + 1


def test_a_transaction_is_announced_once_after_its_commit(room: Room, start: int, announced: list[Notice]) -> None:
    announced.clear()
    with log.batch():
        say(room, "one")
        say(room, "two")
        assert announced == []
    (notice,) = announced
    assert (notice.room, notice.head) == (room.pk, start + 2)
    assert [entry.seq for entry in notice.entries] == [start + 1, start + 2]


def test_what_was_announced_is_what_the_log_holds(room: Room, start: int, announced: list[Notice]) -> None:
    announced.clear()
    say(room, 'ä \U0001f600 \x01 " \\')
    vote(room, "lunch", 3)
    reading = log.read(room.pk, start, 10)
    assert reading is not None
    assert [entry for notice in announced for entry in notice.entries] == reading.entries


def test_a_transient_event_is_announced_and_not_logged(room: Room, start: int, announced: list[Notice]) -> None:
    announced.clear()
    data = {"user": {"id": "7", "name": "Ada"}, "typing": True}
    assert log.append(room, "chat.typing", data) is None
    assert [(notice.head, len(notice.entries)) for notice in announced] == [(0, 1)]
    assert log.position(room).seq == start


def test_a_receiver_that_fails_harms_nobody(room: Room, start: int, announced: list[Notice]) -> None:
    from rooms.signals import committed

    def fail(**kwargs: Any) -> None:
        raise RuntimeError

    committed.connect(fail)
    try:
        announced.clear()
        assert say(room) == start + 1
    finally:
        committed.disconnect(fail)
    assert entries(room, start) == [(start + 1, "hello")]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("nobody.declared", {"text": "x"}),
        ("room.announcement", {"text": ""}),
        ("room.announcement", {"text": "a\0b"}),
        ("room.announcement", {"level": "info"}),
        ("room.announcement", None),
        ("room.announcement", Total("a", 1)),
        ("test.total", {"poll": "x" * 201, "votes": 1}),
        ("test.total", None),
    ],
)
def test_what_may_not_be_said_is_refused_before_anything_is_written(
    room: Room, start: int, name: str, data: Any
) -> None:
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        log.append(room, name, data)
    assert entries(room, start) == []


@pytest.mark.parametrize("key", ["x" * 201, "a\0b"])
def test_a_key_that_cannot_be_stored_is_refused_where_it_is_removed_too(room: Room, key: str) -> None:
    with pytest.raises(ValueError, match=r"test\.total"):
        log.append(room, "test.total", None, key=key)


# --- batches


def test_what_is_taken_back_in_a_batch_leaves_no_gap_and_is_not_announced(
    room: Room, start: int, announced: list[Notice]
) -> None:
    announced.clear()
    with log.batch():
        say(room, "one")
        with pytest.raises(KeyError), log.batch():
            say(room, "two")
            with log.batch():
                say(room, "three")
            raise KeyError
        say(room, "four")
    assert entries(room, start) == [(start + 1, "one"), (start + 2, "four")]
    assert [entry.seq for notice in announced for entry in notice.entries] == [start + 1, start + 2]


def test_a_value_that_is_taken_back_gives_the_older_one_its_place_again(room: Room, start: int) -> None:
    with log.batch():
        vote(room, "lunch", 1)
        with pytest.raises(KeyError), log.batch():
            vote(room, "lunch", 2)
            raise KeyError
        say(room)
    assert entries(room, start) == [(start + 1, 1), (start + 2, "hello")]


def test_taking_back_survives_that_what_came_before_was_written_meanwhile(room: Room, start: int) -> None:
    """A command that looks something up has the batch written so far; that it is refused then costs nobody else."""
    with log.batch() as batch:
        say(room, "one")
        with pytest.raises(KeyError), log.batch():
            batch.flush()
            say(room, "two")
            raise KeyError
        say(room, "three")
    assert entries(room, start) == [(start + 1, "one"), (start + 2, "three")]


def test_what_was_written_and_then_caught_breaks_the_batch(room: Room, start: int, announced: list[Notice]) -> None:
    announced.clear()
    with pytest.raises(log.BrokenBatch), log.batch() as batch:
        with pytest.raises(KeyError), log.batch():
            say(room)
            batch.flush()
            raise KeyError
        say(room)
    assert entries(room, start) == []
    assert announced == []


def test_two_rooms_in_one_batch_have_a_notice_each(room: Room, start: int, announced: list[Notice]) -> None:
    announced.clear()
    other = Room.objects.get(tenant=room.tenant, slug="lobby")
    with log.batch():
        say(room)
        say(other)
        say(room)
    assert {notice.room: len(notice.entries) for notice in announced} == {room.pk: 2, other.pk: 1}

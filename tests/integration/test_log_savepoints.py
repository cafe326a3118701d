"""Batches inside ``atomic()`` blocks inside batches: what is undone with its block is never announced."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from rooms import log
from rooms.models import Event, Room
from rooms.services import rooms, tenants
from rooms.signals import committed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def room() -> Room:
    owner = get_user_model().objects.create(username="alice")
    return rooms.create(tenants.create("acme", name="Acme", owner=owner), "general", name="General")


@pytest.fixture
def announced() -> Iterator[list[Any]]:
    entries: list[Any] = []

    def hear(notices: Any, **kwargs: Any) -> None:
        entries.extend(entry for notice in notices for entry in notice.entries)

    committed.connect(hear)
    yield entries
    committed.disconnect(hear)


def say(room: Room, text: str) -> None:
    log.append(room, "room.announcement", {"text": text})


def texts(entries: Any) -> list[str]:
    return [part for entry in entries for part in ("one", "two", "three", "four") if part.encode() in entry.vector]


def test_a_block_that_is_undone_takes_its_events_along_and_leaves_no_gap(room: Room, announced: list[Any]) -> None:
    start = log.position(room).seq
    with log.batch():
        say(room, "one")
        with pytest.raises(KeyError), transaction.atomic():
            say(room, "two")
            raise KeyError
        with transaction.atomic():
            say(room, "three")
        say(room, "four")
    reading = log.read(room.pk, start, 10)
    assert reading is not None
    assert [entry.seq for entry in reading.entries] == [start + 1, start + 2, start + 3]
    assert texts(reading.entries) == ["one", "three", "four"]
    assert texts(sorted(announced, key=lambda entry: entry.seq)) == ["one", "three", "four"]
    assert reading.head == start + 3


def test_a_key_written_in_a_block_wins_over_the_older_value_that_still_waits(room: Room) -> None:
    def mark(seq: int) -> None:
        log.append(room, "chat.read", {"user": {"id": "1", "name": "alice"}, "seq": seq})

    with log.batch():
        mark(1)
        with transaction.atomic():
            mark(2)
    assert log.latest(room, "chat.read", "1")["seq"] == 2
    assert Event.objects.filter(log=room.pk, name="chat.read").count() == 1

"""Words for tests of a room's log: what is said in it, and what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from rooms import contract, log
from rooms.contract import EVENTS
from rooms.models import Room


class Total(msgspec.Struct):
    poll: str
    votes: int


@contextmanager
def with_totals() -> Iterator[None]:
    """``test.total`` is an event, the newest of each poll counts; gone afterwards."""
    contract.event("test.total", policy="latest", key=lambda data: data.poll)(Total)
    yield
    del EVENTS["test.total"]


def say(room: Room, text: str = "hello") -> int | None:
    return log.append(room, "room.announcement", {"text": text})


def vote(room: Room, poll: str, votes: int | None) -> int | None:
    return log.append(room, "test.total", None if votes is None else {"poll": poll, "votes": votes}, key=poll)


def entries(room: Room, after: int) -> list[tuple[int | None, Any]]:
    """(seq, text or votes) of what the log holds."""
    reading = log.read(room.pk, after, 1_000)
    assert reading is not None
    found = [(entry.seq, msgspec.json.decode(entry.vector)[1]) for entry in reading.entries]
    return [(seq, data and data.get("text", data.get("votes"))) for seq, data in found]

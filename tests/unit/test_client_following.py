"""One room's place: each event once, in order, or word that something is not told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.client.errors import Broken
from rooms.client.events import Event, Left, PassedOver, Reset
from rooms.client.following import Following, Standing
from rooms.client.frames import Meta, Vector

ROOM = "acme/general"


def vector(name: str, data: Any = None, **meta: Any) -> Vector:
    return Vector(name, {} if data is None else data, Meta(room=ROOM, **meta))


def message(seq: int) -> Vector:
    return vector("chat.message", seq=seq)


def joined(cursor: str | None = None, at: str = "e1:10") -> Following:
    room = Following(ROOM, cursor)
    room.ask()
    room.welcomed({"room": ROOM, "verdict": "resumed" if cursor == at else "live", "cursor": at, "can": ["read"]})
    return room


def test_from_now_on() -> None:
    room = joined()
    assert (room.standing, room.cursor, room.can) == (Standing.JOINED, "e1:10", {"read"})
    event = room.hear(message(11))
    assert isinstance(event, Event)
    assert (event.name, event.seq, event.cursor, event.room) == ("chat.message", 11, "e1:11", ROOM)


def test_what_comes_again_is_dropped() -> None:
    room = joined()
    assert room.hear(message(11))
    assert room.hear(message(11)) is None
    assert room.hear(message(10)) is None
    assert room.repeated == 2
    assert room.cursor == "e1:11"


def test_a_gap_is_a_broken_rule_and_the_place_stays_good() -> None:
    room = joined()
    with pytest.raises(Broken, match="seq 12 after 10"):
        room.hear(message(12))
    assert room.cursor == "e1:10"


def test_unless_something_was_passed_over() -> None:
    room = joined()
    passed = room.hear(vector("live.cursor", {"seq": 14, "skipped": 4}))
    assert isinstance(passed, PassedOver)
    assert (passed.seq, passed.skipped, passed.cursor) == (14, 4, "e1:14")
    assert room.hear(message(15))
    assert room.hear(vector("live.cursor", {"seq": 15, "skipped": 0})) is None


def test_transient_events_move_nothing() -> None:
    room = joined()
    event = room.hear(vector("chat.typing"))
    assert isinstance(event, Event)
    assert (event.seq, event.cursor) == (None, "e1:10")


def test_a_reset_under_a_live_reader() -> None:
    room = joined()
    reset = room.hear(vector("live.reset", {"cursor": "e2:3", "reason": "trimmed"}))
    assert isinstance(reset, Reset)
    assert (reset.cursor, reset.reason) == ("e2:3", "trimmed")
    assert room.hear(message(4))


def test_a_reset_as_the_answer() -> None:
    room = joined("e1:10")
    room.lost()
    room.ask()
    reset = room.welcomed({"verdict": "reset", "cursor": "e2:40"})
    assert isinstance(reset, Reset)
    assert reset.cursor == room.cursor == "e2:40"


def test_resumed_elsewhere_is_a_broken_rule() -> None:
    room = Following(ROOM, "e1:10")
    room.ask()
    with pytest.raises(Broken, match="resumed at e1:12"):
        room.welcomed({"verdict": "resumed", "cursor": "e1:12"})
    assert room.cursor == "e1:10"


def test_left() -> None:
    room = joined()
    left = room.hear(vector("live.left", {"code": "revoked", "reason": "No longer."}))
    assert isinstance(left, Left)
    assert (left.code, left.reason, room.standing) == ("revoked", "No longer.", Standing.OVER)
    assert room.hear(message(11)) is None


def test_nothing_before_the_answer() -> None:
    room = Following(ROOM)
    assert room.hear(message(1)) is None
    room.ask()
    assert room.hear(message(1)) is None


def test_refused_for_good() -> None:
    room = Following(ROOM)
    room.ask()
    assert room.refused({"code": "not_found", "detail": "No.", "temporary": False}, 0, 0.5) is None
    assert room.standing is Standing.OVER
    assert room.error is not None
    assert room.error.code == "not_found"


def test_a_right_that_was_lost_meanwhile_is_told_as_such() -> None:
    room = joined()
    room.lost()
    room.ask()
    left = room.refused({"code": "not_found", "detail": "No.", "temporary": False}, 0, 0.5)
    assert isinstance(left, Left)
    assert left.code == "not_found"
    assert room.error is None


def test_refused_for_now() -> None:
    room = Following(ROOM)
    room.ask()
    room.refused({"code": "unavailable", "detail": "Later.", "temporary": True, "retry_after_ms": 1500}, 10, 0.5)
    assert not room.due(11)
    assert room.due(11.5)
    room.ask()
    room.refused({"code": "unavailable", "detail": "Later.", "temporary": True}, 20, 1.0)
    assert 20.5 <= room.not_before <= 22


@pytest.mark.parametrize(
    "bad",
    [
        vector("live.cursor", {"seq": "x", "skipped": 1}),
        vector("live.reset", {"cursor": "nonsense"}),
        vector("live.reset", {}),
        vector("live.left", {}),
    ],
)
def test_nonsense_is_a_broken_rule(bad: Vector) -> None:
    room = joined()
    with pytest.raises(Broken):
        room.hear(bad)
    assert room.cursor == "e1:10"


def test_what_we_do_not_know_of_the_protocol_is_passed_over() -> None:
    assert joined().hear(vector("live.news", {})) is None


def test_a_cursor_that_is_none() -> None:
    with pytest.raises(ValueError, match="no cursor"):
        Following(ROOM, "yesterday")


@given(st.lists(st.tuples(st.sampled_from(["event", "skip", "typing", "lose"]), st.integers(1, 4)), max_size=60))
def test_over_any_number_of_connections_each_once(steps: list[tuple[str, int]]) -> None:
    """A server that repeats up to three events after each resume, and passes some over, is heard without a hole."""
    room, head, told = joined(), 10, []
    for step, number in steps:
        if step == "event":
            head += 1
            told.append(room.hear(message(head)))
        elif step == "skip":
            head += number
            told.append(room.hear(vector("live.cursor", {"seq": head, "skipped": number})))
        elif step == "typing":
            told.append(room.hear(vector("chat.typing")))
        else:
            room.lost()
            room.ask()
            room.welcomed({"verdict": "resumed", "cursor": f"e1:{head}"})
            for seq in range(max(1, head - number), head + 1):
                assert room.hear(message(seq)) is None
    place = 10
    for event in told:
        assert event is not None
        if isinstance(event, PassedOver):
            assert event.seq == place + event.skipped
            place = event.seq
        elif event.seq is not None:
            assert event.seq == place + 1
            place = event.seq
    assert room.cursor == f"e1:{place}" == f"e1:{head}"

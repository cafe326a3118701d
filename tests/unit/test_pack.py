"""Events into frames: complete, bounded, and every step of the seq explained."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rooms.delivery.feed import FRAME_EVENTS, pack
from rooms.delivery.frames import Entry, vector

ROOM = "acme/general"


def entry(seq: int | None, size: int = 10) -> Entry:
    return Entry(seq, "chat.message", vector("chat.message", {"text": "x" * size}, room=ROOM, seq=seq))


def test_nothing_makes_no_frame() -> None:
    assert pack(ROOM, [], after=5, end=None, frame_bytes=1_000) is None
    assert pack(ROOM, [], after=5, end=5, frame_bytes=1_000) is None


def test_an_end_beyond_the_last_event_is_told_as_passed_over() -> None:
    taken = pack(ROOM, [], after=5, end=9, frame_bytes=1_000)
    assert taken is not None
    assert msgspec.json.decode(taken.frame) == [["live.cursor", {"seq": 9, "skipped": 4}, {"room": ROOM}]]
    assert (taken.cursor, taken.events, taken.skipped) == (9, 0, 4)


def test_a_vector_larger_than_a_frame_goes_alone() -> None:
    large = [entry(1), entry(2, 5_000), entry(3)]
    taken = pack(ROOM, large, after=0, end=3, frame_bytes=1_000)
    assert taken is not None
    assert taken.cursor == 1
    taken = pack(ROOM, large[1:], after=1, end=3, frame_bytes=1_000)
    assert taken is not None
    assert (taken.cursor, taken.events) == (2, 1)


def test_a_frame_holds_no_more_events_than_a_client_paints_at_once() -> None:
    taken = pack(ROOM, [entry(seq) for seq in range(1, 500)], after=0, end=None, frame_bytes=10**6)
    assert taken is not None
    assert (taken.events, taken.cursor) == (FRAME_EVENTS, FRAME_EVENTS)


def test_state_is_not_counted_in_rises_by_one() -> None:
    taken = pack(ROOM, [entry(3), entry(9)], after=0, end=None, frame_bytes=1_000, gaps=False)
    assert taken is not None
    assert [name for name, *_ in msgspec.json.decode(taken.frame)] == ["chat.message", "chat.message"]
    assert (taken.cursor, taken.skipped) == (9, 0)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300)), max_size=60),
    st.integers(0, 5),
    st.integers(0, 1_500),
    st.integers(0, 2**50),
)
def test_frame_after_frame_everything_goes_out_once_in_order_and_within_the_size(
    steps: list[tuple[int, int]], beyond: int, frame_bytes: int, after: int
) -> None:
    """``steps`` are (how far the seq rises, 0 for a transient; how long the text is)."""
    entries, seq = [], after
    for rise, size in steps:
        seq += rise
        entries.append(entry(seq if rise else None, size))
    end = seq + beyond
    seen, place, rest = [], after, entries
    while (taken := pack(ROOM, rest, after=place, end=end, frame_bytes=frame_bytes)) is not None:
        vectors = msgspec.json.decode(taken.frame)
        skipped = 0
        for name, data, meta in vectors:
            assert meta["room"] == ROOM
            if name == "live.cursor":
                assert data["seq"] == place + data["skipped"]
                place, skipped = data["seq"], skipped + data["skipped"]
            elif meta["seq"] is not None:
                assert meta["seq"] == place + 1
                place = meta["seq"]
                seen.append(place)
            else:
                seen.append(None)
        assert taken.cursor == place
        assert taken.skipped == skipped
        assert taken.events == sum(name != "live.cursor" for name, *_ in vectors)
        assert len(taken.frame) <= frame_bytes or taken.events <= 1
        rest = rest[taken.events :]
        if not rest and place == end:
            break
    assert seen == [one.seq for one in entries]
    assert place == end

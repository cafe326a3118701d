"""One room on one node: order, gaps, ring, newest by key, redactions. What a reader gets is read from the bytes."""

from __future__ import annotations

import msgspec

from rooms.delivery.feed import MISSING, Feed, Taken
from rooms.delivery.frames import Entry, vector

ROOM = "acme/general"


def entry(seq: int | None, *, key: str | None = None, redacts: tuple[int, ...] = (), text: str = "") -> Entry:
    name = "poll.voted" if key else "chat.message" if seq else "chat.typing"
    meta = {"seq": seq} if seq else {}
    return Entry(seq, name, vector(name, {"text": text or f"event {seq}"}, room=ROOM, **meta), key, redacts)


def entries(*seqs: int) -> list[Entry]:
    return [entry(seq) for seq in seqs]


def begun(head: int = 0, *, max_events: int = 100, max_bytes: int = 100_000, frame_bytes: int = 65_536) -> Feed:
    feed = Feed(ROOM, max_events=max_events, max_bytes=max_bytes, frame_bytes=frame_bytes)
    feed.begin("e1", head)
    return feed


def told(taken: object) -> list[object]:
    """What a frame says: seqs, ``"typing"`` for a transient, ``("skipped", n, seq)`` for a live.cursor."""
    assert isinstance(taken, Taken)
    said: list[object] = []
    for name, data, meta in msgspec.json.decode(taken.frame):
        if name == "live.cursor":
            said.append(("skipped", data["skipped"], data["seq"]))
        else:
            said.append(meta.get("seq", "typing"))
    return said


def sealed(feed: Feed) -> list[object]:
    found = feed.seal()
    return [] if found is None else [item for part in found.parts for item in told(part)]


# --- order


def test_events_that_come_in_order_go_out_in_one_frame() -> None:
    feed = begun()
    assert feed.offer("e1", entries(1, 2, 3)) == 3
    found = feed.seal()
    assert found is not None
    assert found.base == 0
    assert [told(part) for part in found.parts] == [[1, 2, 3]]
    assert found.parts[0].cursor == 3


def test_an_event_above_a_gap_waits_for_what_is_missing() -> None:
    feed = begun()
    assert feed.offer("e1", entries(2, 3)) == 0
    assert feed.head == 0
    assert feed.seal() is None
    assert feed.offer("e1", entries(1)) == 3
    assert feed.head == 3
    assert sealed(feed) == [1, 2, 3]


def test_an_event_that_was_seen_is_dropped() -> None:
    feed = begun(5)
    assert feed.offer("e1", entries(4, 5, 6, 6)) == 1
    assert sealed(feed) == [6]


def test_the_log_fills_a_gap_and_what_was_held_follows() -> None:
    feed = begun()
    feed.offer("e1", entries(1, 4))
    assert feed.mend(entries(2, 3), end=3) == 3
    assert sealed(feed) == [1, 2, 3, 4]


def test_a_hole_that_the_log_confirms_is_told_as_passed_over() -> None:
    feed = begun()
    feed.mend([entry(1), entry(4)], end=6)
    assert feed.head == 6
    assert sealed(feed) == [1, ("skipped", 2, 3), 4]
    assert told(feed.take(4)) == [("skipped", 2, 6)]


def test_events_of_another_epoch_are_not_taken() -> None:
    feed = begun(5)
    assert feed.offer("e2", entries(6, 7)) == 0
    assert feed.offer("e1", entries(6)) == 1, "7 was not held either"
    assert feed.head == 6


def test_what_comes_before_the_log_was_read_is_let_through_after_it() -> None:
    feed = Feed(ROOM, max_events=10, max_bytes=10_000, frame_bytes=65_536)
    assert feed.offer("e1", [*entries(7, 8, 9), entry(None)]) == 0
    feed.begin("e1", 7)
    assert sealed(feed) == [8, 9]
    assert feed.take(6) is MISSING


def test_what_was_held_of_a_history_that_is_over_is_forgotten() -> None:
    feed = begun(50)
    feed.offer("e1", entries(52))
    feed.begin("e2", 50)
    feed.offer("e2", entries(51))
    assert feed.head == 51


def test_what_was_held_is_forgotten_when_the_head_goes_back() -> None:
    """A database that was restored may keep the epoch: seq 52 of the lost history is not seq 52 of the new one."""
    feed = begun(50)
    feed.offer("e1", [entry(52, text="lost")])
    feed.begin("e1", 40)
    feed.mend(entries(*range(41, 52)), end=51)
    assert feed.head == 51


# --- transients


def test_a_transient_goes_to_those_at_the_head_in_its_place() -> None:
    feed = begun()
    feed.offer("e1", [entry(1), entry(None), entry(2)])
    assert sealed(feed) == [1, "typing", 2]


def test_a_transient_does_not_reach_a_reader_who_is_behind() -> None:
    feed = begun()
    feed.offer("e1", [entry(1), entry(None), entry(2)])
    feed.seal()
    assert told(feed.take(0)) == [1, 2]


def test_who_was_behind_stands_with_the_others_at_the_next_seal() -> None:
    """Else who takes between two seals would be beside them as long as something comes, and served alone."""
    feed = begun()
    feed.offer("e1", entries(1, 2))
    feed.seal()
    feed.offer("e1", entries(3))
    assert told(feed.take(0)) == [1, 2]
    assert feed.take(2) is None
    found = feed.seal()
    assert found is not None and found.base == 2


def test_a_lone_transient_moves_nobody() -> None:
    feed = begun(3)
    feed.offer("e1", [entry(None)])
    found = feed.seal()
    assert found is not None
    assert (found.base, found.parts[0].cursor) == (3, 3)
    assert feed.seal() is None


# --- readers who are behind


def test_a_reader_at_the_head_has_nothing_to_take() -> None:
    assert begun(5).take(5) is None


def test_readers_at_one_place_share_the_bytes() -> None:
    feed = begun()
    feed.offer("e1", entries(1, 2))
    first, second = feed.take(0), feed.take(0)
    assert first is second


def test_a_superseded_value_is_passed_over_and_the_passing_is_told() -> None:
    feed = begun()
    feed.offer("e1", [entry(1, key="a"), entry(2), entry(3, key="a"), entry(4, key="b")])
    assert sealed(feed) == [1, 2, 3, 4], "who is at the head gets each of them"
    assert told(feed.take(0)) == [("skipped", 1, 1), 2, 3, 4]


def test_the_same_key_of_two_events_is_two_keys() -> None:
    feed = begun()
    one = entry(1, key="a")
    feed.offer("e1", [one, msgspec.structs.replace(entry(2, key="a"), name="poll.closed")])
    feed.seal()
    assert told(feed.take(0)) == [1, 2]


def test_frames_of_a_catch_up_are_bounded_and_follow_on() -> None:
    feed = begun(frame_bytes=200)
    feed.offer("e1", entries(*range(1, 11)))
    feed.seal()
    cursor, seen = 0, []
    while (taken := feed.take(cursor)) is not None:
        assert isinstance(taken, Taken)
        seen += told(taken)
        cursor = taken.cursor
        assert len(taken.frame) <= 200
    assert seen == list(range(1, 11))


def test_frames_kept_for_readers_at_many_places_are_bounded() -> None:
    """A storm of readers who each stand elsewhere must not hold a frame each beside the ring's own bytes."""
    feed = begun(max_events=1_000)
    feed.offer("e1", entries(*range(1, 1_001)))
    feed.seal()
    for cursor in range(1_000):
        feed.take(cursor)
    assert len(feed._taken) <= 64


# --- the ring's bounds


def test_the_oldest_leave_the_ring_and_a_reader_below_is_sent_to_the_log() -> None:
    feed = begun(max_events=3)
    feed.offer("e1", entries(1, 2, 3, 4))
    feed.seal()
    assert feed.take(0) is MISSING
    assert told(feed.take(1)) == [2, 3, 4]


def test_the_ring_keeps_its_bytes_within_the_bound() -> None:
    feed = begun(max_bytes=300)
    feed.offer("e1", entries(*range(1, 20)))
    assert feed.bytes <= 300
    assert feed.bytes == sum(len(one.vector) for one in feed._ring)
    assert sealed(feed) == list(range(1, 20)), "what leaves the ring was let through all the same"


def test_an_event_larger_than_the_ring_goes_out_and_is_not_kept() -> None:
    feed = begun(max_bytes=300)
    feed.offer("e1", [entry(1, text="x" * 1_000), entry(2)])
    assert sealed(feed) == [1, 2]
    assert feed.take(0) is MISSING


def test_shrinking_gives_half_of_the_ring_back() -> None:
    feed = begun()
    feed.offer("e1", entries(*range(1, 11)))
    feed.seal()
    before = feed.bytes
    feed.shrink()
    assert feed.bytes < before
    assert feed.take(4) is MISSING
    assert told(feed.take(5)) == [6, 7, 8, 9, 10]


def test_what_is_held_above_a_gap_is_bounded() -> None:
    feed = begun(max_events=10)
    feed.offer("e1", entries(*range(2, 1_000)))
    assert len(feed._held) <= 10


# --- older events from the log


def test_what_was_read_for_one_reader_serves_the_next() -> None:
    feed = begun(10)
    feed.keep(4, entries(*range(5, 11)), 10, floor=0)
    assert told(feed.take(4)) == [5, 6, 7, 8, 9, 10]
    assert feed.take(3) is MISSING


def test_what_was_read_and_does_not_reach_the_ring_is_not_kept() -> None:
    feed = begun(10)
    feed.keep(4, entries(5, 6, 7), 10, floor=0)
    assert feed.take(4) is MISSING


def test_of_what_was_read_the_ring_takes_the_newest_that_fit() -> None:
    feed = begun(10, max_events=3)
    feed.keep(0, entries(*range(1, 11)), 10, floor=0)
    assert feed.take(6) is MISSING
    assert told(feed.take(7)) == [8, 9, 10]


def test_an_older_value_from_the_log_does_not_pass_for_the_newest() -> None:
    feed = begun(2)
    feed.offer("e1", [entry(3, key="a")])
    feed.seal()
    feed.keep(0, [entry(1, key="a"), entry(2)], 2, floor=0)
    assert told(feed.take(0)) == [("skipped", 1, 1), 2, 3]


def test_a_ring_does_not_reach_below_what_the_log_has_trimmed() -> None:
    """Else a reader below the floor would be told that trimmed events were merely superseded."""
    feed = begun(10)
    feed.keep(0, [entry(2, key="a"), *entries(8, 9, 10)], 10, floor=7)
    assert feed.take(0) is MISSING
    assert feed.take(6) is MISSING
    assert told(feed.take(7)) == [8, 9, 10]

"""A redaction takes bytes out of the ring: after it has passed through a feed, the text is not served again."""

from __future__ import annotations

from rooms.delivery.feed import MISSING, Feed
from tests.unit.test_feed import begun, entries, entry, sealed, told

SECRET = "what was deleted"


def serves(feed: Feed, cursor: int) -> bytes:
    taken = feed.take(cursor)
    assert taken is not None
    assert taken is not MISSING
    return taken.frame


def test_a_redacted_event_is_read_from_the_log_again() -> None:
    feed = begun()
    feed.offer("e1", [entry(1), entry(2, text=SECRET), entry(3, redacts=(2,))])
    assert told(feed.take(0)) == [1]
    assert feed.take(1) is MISSING
    assert told(feed.take(2)) == [3]


def test_the_bytes_are_gone_from_the_memory_too() -> None:
    feed = begun()
    feed.offer("e1", [entry(1, text=SECRET), entry(2, redacts=(1,))])
    assert all(SECRET.encode() not in one.vector for one in feed._ring)
    assert feed.bytes == sum(len(one.vector) for one in feed._ring)


def test_what_waits_for_the_next_flush_is_redacted_too() -> None:
    feed = begun()
    feed.offer("e1", [entry(1, text=SECRET), entry(2, redacts=(1,)), entry(3)])
    assert sealed(feed) == [3]
    assert feed.take(0) is MISSING


def test_what_waits_for_the_next_flush_is_redacted_even_where_the_ring_has_dropped_it() -> None:
    feed = begun(max_events=2)
    feed.offer("e1", [entry(1, text=SECRET), *entries(2, 3, 4), entry(5, redacts=(1,))])
    found = feed.seal()
    assert all(SECRET.encode() not in part.frame for part in (found.parts if found else ()))


def test_the_redacted_row_from_the_log_takes_the_place() -> None:
    feed = begun()
    feed.offer("e1", [entry(1, text=SECRET), entry(2, redacts=(1,))])
    feed.keep(0, [entry(1, text="gone"), entry(2)], 2, floor=0)
    assert told(feed.take(0)) == [1, 2]
    assert SECRET.encode() not in serves(feed, 0)
    assert feed.bytes == sum(len(one.vector) for one in feed._ring)


def test_a_reading_older_than_the_redaction_is_not_kept() -> None:
    feed = begun()
    feed.offer("e1", [entry(1, text=SECRET), entry(2, redacts=(1,))])
    feed.keep(0, [entry(1, text=SECRET)], 1, floor=0)
    assert feed.take(0) is MISSING


def test_a_reading_older_than_the_redaction_does_not_lengthen_the_ring() -> None:
    feed = begun(5)
    feed.offer("e1", [entry(6, redacts=(3,))])
    feed.keep(2, [entry(3, text=SECRET), *entries(4, 5)], 5, floor=0)
    assert feed.take(2) is MISSING


def test_whoever_packs_a_reading_for_a_reader_can_ask_whether_it_is_outdated() -> None:
    """A log read that began before the redaction may end after it: its bytes must not go to anybody."""
    feed = begun(5)
    assert not feed.outdated(5)
    feed.offer("e1", [entry(6, redacts=(3,)), entry(7)])
    assert feed.outdated(5)
    assert not feed.outdated(6)


def test_a_redaction_of_what_is_not_in_the_ring_does_not_send_readers_to_the_log_for_ever() -> None:
    feed = begun()
    feed.mend([entry(1), entry(4)], end=4)
    feed.offer("e1", [entry(5, redacts=(2, 3))])
    feed.seal()
    assert told(feed.take(4)) == [5]
    assert feed.take(5) is None
    feed.mend([], end=7)
    feed.seal()
    assert told(feed.take(5)) == [("skipped", 2, 7)]


def test_another_history_does_not_inherit_the_redactions() -> None:
    feed = begun()
    feed.offer("e1", [*entries(1, 2), entry(3, redacts=(1,))])
    feed.begin("e2", 2)
    feed.keep(0, entries(1, 2), 2, floor=0)
    assert told(feed.take(0)) == [1, 2]


def test_a_redaction_found_in_the_log_counts_as_one_that_was_heard() -> None:
    feed = begun()
    feed.offer("e1", [entry(1, text=SECRET)])
    feed.mend([entry(2), entry(3, redacts=(1,))], end=3)
    assert sealed(feed) == []
    assert feed.take(0) is MISSING

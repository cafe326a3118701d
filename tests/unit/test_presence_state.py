"""What a node has to say of its people, and what it makes of what it hears: each rule by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from presence import state
from presence.contract import Means, PresenceDiff, Present, Status
from presence.state import WHOLE, Batch, Hints, Holding, Ledger, Roster, Saying, alike, together
from rooms.contract import Person

ROOM, OTHER = UUID(int=1), UUID(int=2)
SEAT = UUID(int=100)
T0 = datetime(2026, 1, 1, tzinfo=UTC)
GRACE = 5.0


def holding(number: int = 1, *, holder: int = 0, until: float | None = None) -> Holding:
    return Holding(UUID(int=number), UUID(int=holder or number), f"user-{number}", "ws", "desktop", "", until)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(grace=GRACE)


def seats(batch: Batch) -> tuple[list[UUID], list[UUID]]:
    return [each.id for each in batch.entered], [each.id for each in batch.left]


# --- the ledger


def test_who_comes_is_written_once_and_in_the_order_of_the_keys(ledger: Ledger) -> None:
    for number in (3, 1, 2):
        each = holding(number)
        ledger.open(each)
        ledger.enter(each, UUID(int=100 + number), ROOM)
    assert ledger.due
    batch = ledger.take(0)
    assert [each.id.int for each in batch.opened] == [1, 2, 3]
    assert [each.id.int for each in batch.entered] == [101, 102, 103]
    assert not ledger.due
    assert not ledger.take(0)


def test_a_crowd_is_written_so_many_at_a_time(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST", 2)
    for number in range(1, 6):
        each = holding(number)
        ledger.open(each)
        ledger.enter(each, UUID(int=100 + number), ROOM)
    batches = [ledger.take(0), ledger.take(0)]
    assert ledger.due
    batches.append(ledger.take(0))
    assert not ledger.due
    assert [[each.id.int for each in batch.opened] for batch in batches] == [[1, 2], [3, 4], [5]]
    assert [[each.id.int for each in batch.entered] for batch in batches] == [[101, 102], [103, 104], [105]]


def test_what_came_and_went_before_it_was_written_leaves_no_trace(ledger: Ledger) -> None:
    one = holding()
    ledger.open(one)
    ledger.enter(one, SEAT, ROOM)
    ledger.leave(one, ROOM)
    ledger.close(one)
    assert not ledger.take(0)


def test_who_left_and_came_back_before_it_was_written_has_not_left(ledger: Ledger) -> None:
    one = holding()
    ledger.open(one)
    ledger.enter(one, SEAT, ROOM)
    ledger.take(0)
    ledger.leave(one, ROOM)
    ledger.enter(one, SEAT, ROOM)
    assert seats(ledger.take(1)) == ([SEAT], [])


def test_who_enters_twice_or_leaves_twice_does_so_once(ledger: Ledger) -> None:
    one = holding()
    ledger.open(one)
    ledger.enter(one, SEAT, ROOM)
    ledger.take(0)
    ledger.enter(one, SEAT, ROOM)
    assert not ledger.due
    ledger.leave(one, OTHER)
    assert not ledger.due
    ledger.leave(one, ROOM)
    ledger.leave(one, ROOM, grace=0)
    batch = ledger.take(1)
    assert seats(batch) == ([], [SEAT])
    assert batch.left[0].grace == GRACE


def test_a_room_is_to_be_looked_at_when_a_grace_is_over_and_not_before(ledger: Ledger) -> None:
    one = holding()
    ledger.open(one)
    ledger.enter(one, SEAT, ROOM)
    ledger.wrote(ledger.take(0), 0.1)
    ledger.leave(one, ROOM)
    ledger.wrote(ledger.take(10), 10.1)
    assert ledger.next_purge() == 10.1 + GRACE
    assert not ledger.take(15)
    assert ledger.take(15.1).purged == {ROOM}
    assert ledger.next_purge() is None


def test_who_may_not_come_back_has_no_grace_that_would_be_over(ledger: Ledger) -> None:
    one = holding()
    ledger.open(one)
    ledger.enter(one, SEAT, ROOM)
    ledger.wrote(ledger.take(0), 0)
    ledger.leave(one, ROOM, grace=0)
    batch = ledger.take(1)
    ledger.wrote(batch, 1)
    assert batch.left[0].grace == 0
    assert ledger.next_purge() is None


def test_a_batch_that_was_not_written_goes_out_again_as_things_are_then(ledger: Ledger) -> None:
    stays, goes = holding(1), holding(2)
    for number, each in enumerate((stays, goes)):
        ledger.open(each)
        ledger.enter(each, UUID(int=100 + number), ROOM)
    said = Saying("user-1", ROOM, None, "busy", "")
    ledger.say(said, 0)
    lost = ledger.take(0)
    later = Saying("user-1", ROOM, None, "away", "")
    ledger.say(later, 0)
    ledger.close(goes)
    ledger.give_back(lost, 1)
    again = ledger.take(1)
    assert again.opened == [stays]
    assert again.closed == [goes], "it may have been written after all"
    assert [each.id.int for each in again.entered] == [100]
    assert [each.id.int for each in again.left] == [101]
    assert again.said == [said, later]


def test_what_is_given_back_does_not_undo_what_came_after_it(ledger: Ledger) -> None:
    one = holding()
    ledger.open(one)
    ledger.enter(one, SEAT, ROOM)
    ledger.take(0)
    ledger.leave(one, ROOM)
    lost = ledger.take(1)
    assert seats(lost) == ([], [SEAT])
    ledger.enter(one, SEAT, ROOM)
    ledger.give_back(lost, 2)
    assert seats(ledger.take(3)) == ([SEAT], [])


def test_a_purge_that_was_not_written_is_due_again_at_once(ledger: Ledger) -> None:
    ledger.give_back(Batch(purged={ROOM}), 7)
    assert ledger.next_purge() == 7
    assert ledger.take(7).purged == {ROOM}


def test_a_long_poller_who_comes_back_is_renewed_and_not_opened(ledger: Ledger) -> None:
    one = holding(until=40)
    ledger.open(one)
    ledger.renew(one, 45)
    batch = ledger.take(0)
    assert (batch.opened, batch.renewed) == ([one], [])
    ledger.renew(one, 60)
    batch = ledger.take(20)
    assert (batch.opened, batch.renewed) == ([], [one])


def test_a_long_poller_who_does_not_come_back_is_gone_without_grace(ledger: Ledger) -> None:
    one, socket = holding(1, until=40), holding(2)
    for number, each in enumerate((one, socket)):
        ledger.open(each)
        ledger.enter(each, UUID(int=100 + number), ROOM)
    ledger.take(0)
    assert ledger.expire(39.9) == []
    assert ledger.expire(40) == [one]
    batch = ledger.take(40)
    assert batch.closed == [one]
    assert [(each.id.int, each.grace) for each in batch.left] == [(100, 0)]
    assert ledger.expire(1_000) == []


def test_a_connection_that_is_taken_anew_is_not_ended_with_the_one_before(ledger: Ledger) -> None:
    """A long-poller whose poll was lost comes again under the same name, before the end of it was written."""
    before, after = holding(1, holder=7, until=40), holding(1, holder=8, until=50)
    ledger.open(before)
    ledger.enter(before, SEAT, ROOM)
    ledger.take(0)
    ledger.leave(before, ROOM)
    ledger.close(before)
    ledger.open(after)
    ledger.enter(after, SEAT, ROOM)
    ledger.close(before)
    batch = ledger.take(1)
    assert (batch.opened, batch.closed) == ([after], [])
    assert [each.holding for each in batch.entered] == [after]
    assert not batch.left


def test_when_the_database_has_nothing_of_us_all_that_we_hold_is_written_anew(ledger: Ledger) -> None:
    stays, goes = holding(1), holding(2)
    for number, each in enumerate((stays, goes)):
        ledger.open(each)
        ledger.enter(each, UUID(int=100 + number), ROOM)
    ledger.enter(stays, UUID(int=200), OTHER)
    ledger.take(0)
    ledger.leave(stays, OTHER)
    ledger.close(goes)
    ledger.take(1)
    ledger.forgotten([stays, goes])
    batch = ledger.take(2)
    assert batch.opened == [stays]
    assert [each.id.int for each in batch.entered] == [100]
    assert not batch.left
    assert not batch.closed


# --- the roster


def person(user: str, *, status: str = "active", text: str = "", transport: str = "ws", since: int = 0) -> Present:
    at = T0 + timedelta(seconds=since)
    return Present(Person(user, user.title()), Status(status), text, at, [Means(transport, at, "desktop")])


def people(*users: str) -> dict[str, Present]:
    return {user: person(user) for user in users}


def hints(*changes: tuple[int, int, str]) -> Hints:
    """Version, count, users."""
    made = Hints()
    for version, count, users in changes:
        made.add(version, count, users.split())
    return made


def roster(*users: str, version: int = 5, limit: int = 10) -> Roster:
    made = Roster(limit=limit)
    assert made.read(version, len(users), people(*users).values()) is WHOLE
    return made


def test_nothing_is_known_before_the_first_read() -> None:
    assert Roster(limit=10).wants(hints((1, 1, "ann"))) is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([(6, 2, "ann")], {"ann"}),
        ([(6, 2, "ann"), (7, 2, "ben ann")], {"ann", "ben"}),
        ([(7, 2, "ben"), (6, 2, "ann")], {"ann", "ben"}),
        ([(5, 2, "ann")], set()),
        ([(4, 2, "ann"), (6, 3, "cyd")], {"cyd"}),
        ([(7, 2, "ann")], None),
        ([(6, 2, "ann"), (8, 2, "ben")], None),
        ([], set()),
    ],
)
def test_the_named_are_looked_at_and_everybody_when_a_version_is_missing(given: Any, wanted: Any) -> None:
    assert roster("ann", "ben").wants(hints(*given)) == wanted


def test_what_changed_is_told_once() -> None:
    here = roster("ann", "ben")
    change = hints((6, 2, "ann ben cyd"))
    busy = person("ben", status="busy")
    told = here.follow(change, {"ben": busy, "cyd": person("cyd")})
    assert told == PresenceDiff([person("cyd")], [person("ann")], [busy], 2)
    assert here.version == 6
    assert [each.user.id for each in here.state().people] == ["ben", "cyd"]
    assert here.follow(change, {"ben": busy, "cyd": person("cyd")}) is None


def test_a_reload_is_no_difference_but_its_version_is_taken() -> None:
    here = roster("ann")
    assert here.follow(hints((6, 1, "ann")), {"ann": person("ann", since=60)}) is None
    assert here.version == 6


def test_what_readers_were_not_told_they_are_not_told_later_as_if_they_had_been() -> None:
    """Of two reads of the same person that look alike, the first stays: state and differences agree."""
    here = roster("ann")
    here.follow(hints((6, 1, "ann")), {"ann": person("ann", since=60)})
    assert here.state().people == [person("ann")]


def test_what_was_missed_is_told_as_a_difference_when_everybody_was_read() -> None:
    here = roster("ann", "ben")
    assert here.read(9, 2, people("ben", "cyd").values()) == PresenceDiff([person("cyd")], [person("ann")], [], 2)
    assert here.version == 9
    assert here.read(10, 2, people("ben", "cyd").values()) is None


def test_the_state_is_in_the_order_of_coming() -> None:
    here = Roster(limit=10)
    here.read(1, 3, [person("cyd", since=2), person("ben", since=1), person("ann", since=2)])
    assert [each.user.id for each in here.state().people] == ["ben", "ann", "cyd"]


def test_a_room_above_the_limit_has_a_number_and_no_names() -> None:
    here = Roster(limit=10)
    assert here.read(1, 11, None) is WHOLE
    assert here.state().people == []
    assert here.state().count == 11
    change = hints((2, 12, "ann"))
    assert here.wants(change) == frozenset(), "nobody is looked at"
    assert here.follow(change, {}) == PresenceDiff([], [], [], 12)
    assert here.follow(hints((3, 12, "ben")), {}) is None
    assert here.version == 3


def test_above_the_limit_a_missed_version_costs_nothing() -> None:
    here = Roster(limit=10)
    here.read(1, 11, None)
    assert here.wants(hints((9, 14, "ann"))) == frozenset()
    assert here.follow(hints((9, 14, "ann")), {}) == PresenceDiff([], [], [], 14)


def test_of_hints_in_any_order_the_newest_count_is_taken() -> None:
    here = Roster(limit=10)
    here.read(1, 11, None)
    assert here.follow(hints((3, 13, "ben"), (2, 12, "ann")), {}) == PresenceDiff([], [], [], 13)


def test_a_room_that_grows_above_the_limit_is_told_anew_and_so_is_one_that_shrinks_well_below_it() -> None:
    names = [f"user-{number}" for number in range(10)]
    here = roster(*names)
    assert here.follow(hints((6, 11, "eve")), people("eve")) is WHOLE
    assert (here.people, here.count) == (None, 11)
    assert here.wants(hints((7, 10, "eve"))) == frozenset(), "not at the limit"
    here.follow(hints((7, 10, "eve")), {})
    assert here.wants(hints((8, 9, "eve"))) is None, "but a tenth below it"
    assert here.read(8, 9, people(*names[:9]).values()) is WHOLE
    assert here.count == len(here.state().people) == 9


def test_a_room_that_is_found_above_the_limit_while_it_had_names_is_told_anew() -> None:
    here = roster("ann")
    assert here.read(9, 11, None) is WHOLE
    assert here.state().count == 11


# --- persons


def test_who_is_here_in_the_same_way_looks_the_same() -> None:
    one = person("ann")
    assert alike(one, person("ann", since=99))
    assert not alike(one, person("ann", status="away"))
    assert not alike(one, person("ann", text="lunch"))
    assert not alike(one, person("ann", transport="sse"))
    assert not alike(one, Present(Person("ann", "Another Name"), one.status, "", one.since, one.metas))


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ([], ("active", "")),
        ([("away", "", 1)], ("away", "")),
        ([("away", "", 2), ("active", "", 1)], ("active", "")),
        ([("busy", "lunch", 1), ("active", "", None)], ("busy", "lunch")),
        ([("away", "", 1), ("active", "", None)], ("active", "")),
        ([("active", "", None)], ("active", "")),
        ([("busy", "old", 1), ("away", "new", 2)], ("busy", "new")),
    ],
)
def test_one_person_has_one_status(given: Any, status: Any) -> None:
    assert together(given) == status

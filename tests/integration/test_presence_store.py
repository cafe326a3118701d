"""The rows of who is here: what a moment costs, what a dead node leaves, and who may take what from whom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from presence import census, store
from presence.conf import config
from presence.contract import Present
from presence.models import Connection, Departure, Node, RoomPresence, Seat, Visit
from presence.signals import person_left
from presence.state import Batch, Holding, Ledger, Saying, alike
from presence.store import LeaseLost, Written
from rooms.models import Room
from rooms.services import rooms
from tests.support.world import World

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """The database's, which a test sets forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return REAL_CLOCK() + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


REAL_CLOCK = store.clock


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(store, "clock", clock)
    return clock


class Desk:
    """What a node does, by hand."""

    def __init__(self, clock: Clock, node: str) -> None:
        self.clock = clock
        self.node = node
        self.ledger = Ledger(grace=config().leave_grace)
        store.register(node)

    @property
    def now(self) -> float:
        return self.clock().timestamp()

    def come(self, user: Any, *rooms: Room, transport: str = "ws", key: UUID | None = None) -> Holding:
        until = self.now + config().poll_lease if transport == "poll" else None
        holding = Holding(key or uuid4(), uuid4(), user.pk, transport, "desktop", "127.0.0.1", until)
        self.ledger.open(holding)
        for room in rooms:
            self.ledger.enter(holding, Seat.key(holding.id, room.pk), room.pk)
        return holding

    def go(self, holding: Holding, *, grace: float | None = None) -> None:
        for room in holding.seats:
            self.ledger.leave(holding, room, grace=grace)
        self.ledger.close(holding)

    def write(self) -> Written:
        batch = self.ledger.take(self.now)
        written = store.write(self.node, batch)
        self.ledger.wrote(batch, self.now)
        return written


@pytest.fixture
def desk(clock: Clock, world: World) -> Desk:
    return Desk(clock, "near")


@pytest.fixture
def far(clock: Clock, world: World) -> Desk:
    return Desk(clock, "far")


def here(room: Room) -> dict[str, Present]:
    found = census.find({room.pk: None}, 200)[room.pk]
    assert found.people is not None
    assert found.count == len(found.people)
    return found.people


def crowd(size: int) -> list[Any]:
    users = get_user_model()._default_manager
    return [users.create(username=f"one-{number}") for number in range(size)]


# --- what a moment costs


def test_a_moments_joins_and_leaves_are_as_many_statements_for_thirty_people_as_for_two(
    desk: Desk, world: World, room: Room, clock: Clock
) -> None:
    lobby = world.room("acme/lobby")
    people = crowd(32)
    desk.come(world.users["alice"], room, lobby)
    desk.write()
    counts = []
    for some in (people[:2], people[2:]):
        told = []

        def write(told: list[int] = told) -> Written:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                written = desk.write()
            told.append(len(queries))
            return written

        came = [desk.come(user, room, lobby) for user in some]
        assert set(write().changes[room.pk].users) == {str(user.pk) for user in some}
        for each in came:
            desk.go(each)
        write()
        clock.forward(config().leave_grace)
        assert set(write().changes[room.pk].users) == {str(user.pk) for user in some}
        came = [desk.come(user, room, lobby) for user in some]
        write()
        for each in came:
            desk.go(each, grace=0)
        write()
        counts.append(told)
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 25
    assert here(room).keys() == {world.id("alice")}


def test_reading_many_rooms_with_many_people_is_three_statements(desk: Desk, world: World, room: Room) -> None:
    places = [room, world.room("acme/lobby"), world.room("acme/board")]
    for user in crowd(20):
        desk.come(user, *places)
    desk.write()
    with CaptureQueriesContext(connection) as queries:
        found = census.find({place.pk: None for place in places}, 200)
    assert [len(each.people or ()) for each in found.values()] == [20, 20, 20]
    assert len(queries) == 3


def test_above_the_limit_nobody_is_read(desk: Desk, room: Room) -> None:
    people = crowd(3)
    for user in people:
        desk.come(user, room)
    desk.write()
    found = census.find({room.pk: None}, 2)[room.pk]
    assert (found.count, found.people) == (3, None)
    assert (census.find({room.pk: None}, 3)[room.pk].people or {}).keys() == {str(user.pk) for user in people}


# --- leaving


def test_who_comes_back_within_the_grace_was_never_gone(desk: Desk, world: World, room: Room, clock: Clock) -> None:
    bob = world.users["bob"]
    before = desk.come(bob, room)
    version = desk.write().changes[room.pk].version
    since = here(room)[world.id("bob")]
    desk.go(before)
    assert desk.write().changes == {}, "nobody is to be looked at again"
    clock.forward(config().leave_grace * 0.9)
    desk.come(bob, room)
    desk.write()
    assert alike(here(room)[world.id("bob")], since)
    assert here(room)[world.id("bob")].since == since.since
    clock.forward(config().leave_grace * 0.2)
    assert desk.write().changes[room.pk].version == version + 2
    assert alike(here(room)[world.id("bob")], since)
    assert Seat.objects.count() == 1


def test_who_does_not_come_back_leaves_when_the_grace_is_over(
    desk: Desk, world: World, room: Room, clock: Clock
) -> None:
    gone = desk.come(world.users["bob"], room)
    desk.write()
    desk.go(gone)
    desk.write()
    clock.forward(config().leave_grace * 0.9)
    desk.write()
    assert here(room)
    clock.forward(config().leave_grace * 0.2)
    assert desk.write().changes[room.pk].users == [world.id("bob")]
    assert not here(room)
    assert Visit.objects.get().ended is not None


def test_who_may_not_come_back_leaves_at_once(desk: Desk, world: World, room: Room) -> None:
    gone = desk.come(world.users["bob"], room)
    desk.write()
    desk.go(gone, grace=0)
    assert desk.write().changes[room.pk].users == [world.id("bob")]
    assert not here(room)


def test_a_grace_whose_node_forgot_it_is_ended_by_another(
    desk: Desk, far: Desk, world: World, room: Room, clock: Clock
) -> None:
    gone = desk.come(world.users["bob"], room)
    desk.write()
    desk.go(gone)
    desk.write()
    clock.forward(config().leave_grace + store.LATE + 0.1)
    store.renew("near")
    assert store.clean("far").changes[room.pk].users == [world.id("bob")]
    assert not here(room)


# --- leases


def test_a_dead_nodes_people_leave_when_its_lease_ends_and_not_before(
    desk: Desk, far: Desk, world: World, room: Room, clock: Clock
) -> None:
    desk.come(world.users["bob"], room)
    desk.come(world.users["dave"], room)
    far.come(world.users["dave"], room)
    desk.write()
    far.write()
    clock.forward(config().lease - 0.5)
    store.renew("far")
    assert store.clean("far").changes == {}
    assert here(room).keys() == {world.id("bob"), world.id("dave")}
    clock.forward(1)
    told = store.clean("far").changes[room.pk]
    assert set(told.users) == {world.id("bob"), world.id("dave")}
    assert here(room).keys() == {world.id("dave")}, "who is elsewhere too has not left"
    assert not Node.objects.filter(pk="near").exists()
    assert Connection.objects.count() == 1
    assert store.clean("far").changes == {}


def test_a_node_that_was_taken_for_dead_writes_nothing(
    desk: Desk, far: Desk, world: World, room: Room, clock: Clock
) -> None:
    desk.come(world.users["bob"], room)
    desk.write()
    clock.forward(config().lease + 1)
    store.renew("far")
    store.clean("far")
    desk.come(world.users["erin"], room)
    with pytest.raises(LeaseLost):
        desk.write()
    with pytest.raises(LeaseLost):
        store.renew("near")
    assert not Seat.objects.exists()


def test_a_node_whose_lease_has_ended_and_that_nobody_missed_goes_on(desk: Desk, world: World, clock: Clock) -> None:
    clock.forward(config().lease + 1)
    store.renew("near")


def test_a_node_that_is_half_buried_does_not_come_back_to_life(
    desk: Desk, far: Desk, world: World, room: Room, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rooms go by parts; with some of them gone it must not believe that all are there."""
    monkeypatch.setattr(store, "CLEANED", 1)
    desk.come(world.users["bob"], room, world.room("acme/lobby"))
    desk.write()
    clock.forward(config().lease + 1)
    store.renew("far")
    locked = count()
    lock = store._lock

    def dies(rooms: Any) -> None:
        if next(locked):
            raise KeyboardInterrupt
        lock(rooms)

    with monkeypatch.context() as patch:
        patch.setattr(store, "_lock", dies)
        with pytest.raises(KeyboardInterrupt):
            store.clean("far")
    assert Seat.objects.count() == 1
    with pytest.raises(LeaseLost):
        store.renew("near")
    assert len(store.clean("far").changes) == 1
    assert not Node.objects.filter(pk="near").exists()


def test_a_node_that_stops_leaves_those_who_may_come_back_until_their_grace_is_over(
    desk: Desk, far: Desk, world: World, room: Room, clock: Clock
) -> None:
    gone = desk.come(world.users["bob"], room)
    desk.write()
    desk.go(gone, grace=0.8)
    desk.write()
    store.retire("near")
    assert store.clean("far").changes == {}
    assert here(room)
    clock.forward(1)
    assert store.clean("far").changes[room.pk].users == [world.id("bob")]


def test_a_node_that_stops_with_nobody_is_gone(desk: Desk) -> None:
    store.retire("near")
    assert not Node.objects.exists()


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite's clock is this machine's")
def test_a_clock_that_is_wrong_buries_nobody(
    desk: Desk, far: Desk, world: World, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.come(world.users["bob"], room)
    desk.write()
    for hours in (1, -2):
        wrong = timezone.now() + timedelta(hours=hours)
        with monkeypatch.context() as patch:
            patch.setattr(timezone, "now", lambda wrong=wrong: wrong)
            assert store.clean("far").changes == {}
            far.come(world.users["dave"], room)
            far.write()
            store.renew("far")
    assert here(room).keys() == {world.id("bob"), world.id("dave")}
    ends = Node.objects.values_list("lease_ends", flat=True)
    assert all(abs((end - timezone.now()).total_seconds() - config().lease) < 60 for end in ends)


# --- long-pollers


def test_a_poller_whom_another_node_has_taken_over_is_not_ended_by_the_first(
    desk: Desk, far: Desk, world: World, room: Room, clock: Clock
) -> None:
    key = Connection.key(world.users["bob"].pk, "a-tab")
    before = desk.come(world.users["bob"], room, transport="poll", key=key)
    desk.write()
    clock.forward(5)
    far.come(world.users["bob"], room, transport="poll", key=key)
    far.write()
    for name in ("near", "far"):
        store.renew(name)
    clock.forward(config().poll_lease - 7)
    clock.forward(2)
    assert desk.ledger.expire(desk.now) == [before]
    assert desk.write().changes.get(room.pk) is None
    assert here(room).keys() == {world.id("bob")}
    assert Connection.objects.get().node_id == Seat.objects.get().node_id == "far"


def test_a_poller_who_wanders_back_is_taken_back(desk: Desk, far: Desk, world: World, room: Room) -> None:
    key = Connection.key(world.users["bob"].pk, "a-tab")
    polling = desk.come(world.users["bob"], room, transport="poll", key=key)
    desk.write()
    far.come(world.users["bob"], room, transport="poll", key=key)
    far.write()
    desk.ledger.renew(polling, desk.now + config().poll_lease)
    assert desk.write().lapsed
    desk.ledger.forgotten([polling])
    assert desk.write().changes[room.pk].count == 1
    assert Connection.objects.get().node_id == Seat.objects.get().node_id == "near"


def test_a_poller_who_goes_on_stays_and_one_who_does_not_leaves_without_grace(
    desk: Desk, world: World, room: Room, clock: Clock
) -> None:
    goes_on = desk.come(world.users["bob"], room, transport="poll")
    stops = desk.come(world.users["erin"], room, transport="poll")
    desk.write()
    clock.forward(config().poll_lease - 10)
    desk.ledger.renew(goes_on, desk.now + config().poll_lease)
    desk.write()
    clock.forward(10.1)
    assert desk.ledger.expire(desk.now) == [stops]
    assert desk.write().changes[room.pk].users == [world.id("erin")]
    assert here(room).keys() == {world.id("bob")}


# --- accounts and rooms that end


def test_who_is_deleted_in_the_middle_of_a_batch_does_not_take_the_others_along(
    desk: Desk, world: World, room: Room
) -> None:
    desk.come(world.users["bob"], room)
    desk.come(world.users["erin"], room)
    world.users["erin"].delete()
    desk.write()
    assert census.find({room.pk: None}, 200)[room.pk].people.keys() == {world.id("bob")}  # type: ignore[union-attr]


@pytest.mark.parametrize("grace", [0, None])
def test_who_is_deleted_is_said_to_have_left(
    desk: Desk, world: World, room: Room, clock: Clock, grace: float | None
) -> None:
    """Rosters have them; nothing else would make anybody look."""
    gone, bob = desk.come(world.users["erin"], room), desk.come(world.users["bob"], room)
    desk.write()
    erin = world.id("erin")
    world.users["erin"].delete()
    desk.go(gone, grace=grace)
    told = desk.write().changes
    if grace is None:
        clock.forward(config().leave_grace)
        told = desk.write().changes
    assert told[room.pk].users == [erin]
    assert here(room).keys() == {world.id("bob")}
    assert Seat.objects.get().connection == bob.id


def test_who_is_deactivated_stays_until_the_connection_ends(desk: Desk, world: World, room: Room) -> None:
    desk.come(world.users["erin"], room)
    get_user_model().objects.filter(username="erin").update(is_active=False)
    desk.write()
    assert here(room).keys() == {world.id("erin")}


def test_a_room_that_is_deleted_in_the_middle_of_a_batch_does_not_take_the_others_along(
    desk: Desk, world: World, room: Room
) -> None:
    lobby = world.room("acme/lobby")
    one = desk.come(world.users["bob"], room, lobby)
    Room.objects.filter(pk=lobby.pk).delete()
    written = desk.write()
    assert written.changes.keys() == {room.pk}
    desk.go(one, grace=0)
    assert desk.write().changes.keys() == {room.pk}
    assert not Seat.objects.exists()


# --- two at once


def at_once(*work: Callable[[], Any]) -> list[Any]:
    """Each on a thread of its own."""
    done: list[Any] = [None] * len(work)

    def do(number: int) -> None:
        try:
            done[number] = work[number]()
        except Exception as error:
            done[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=do, args=(number,)) for number in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return done


def test_two_nodes_that_change_one_person_at_once_agree(desk: Desk, far: Desk, world: World, room: Room) -> None:
    bob, lobby = world.users["bob"], world.room("acme/lobby")
    versions: list[int] = []
    holdings = [one.come(bob, room, lobby) for one in (desk, far)]
    for _ in range(5):
        written = at_once(desk.write, far.write)
        assert all(isinstance(each, Written) for each in written), written
        versions += sorted(each.changes[room.pk].version for each in written)
        assert here(room).keys() == {world.id("bob")}
        desk.go(holdings[0], grace=0)
        holdings = [desk.come(bob, lobby, room), holdings[1]]
        far.ledger.leave(holdings[1], room.pk, grace=0)
        written = at_once(desk.write, far.write)
        assert all(isinstance(each, Written) for each in written), written
        versions += sorted(each.changes[room.pk].version for each in written)
        assert here(room).keys() == {world.id("bob")}
        desk.go(holdings[0], grace=0)
        desk.write()
        versions.append(RoomPresence.objects.get(pk=room.pk).version)
        assert not here(room)
        holdings[0] = desk.come(bob, room, lobby)
        far.ledger.enter(holdings[1], Seat.key(holdings[1].id, room.pk), room.pk)
    assert versions == list(range(1, len(versions) + 1)), "each change is a version of its own"


def test_two_nodes_that_clean_up_at_once_do_it_once(
    clock: Clock, desk: Desk, far: Desk, world: World, room: Room
) -> None:
    third = Desk(clock, "third")
    for user in (world.users["bob"], world.users["erin"]):
        third.come(user, room)
    third.write()
    clock.forward(config().lease + 1)
    for name in ("near", "far"):
        store.renew(name)
    done = at_once(lambda: store.clean("near"), lambda: store.clean("far"))
    assert all(isinstance(each, Written) for each in done), done
    told = [user for each in done for change in each.changes.values() for user in change.users]
    assert sorted(told) == sorted([world.id("bob"), world.id("erin")])
    assert not here(room)


# --- status


def test_a_status_is_of_the_connection_and_of_the_person_together(desk: Desk, world: World, room: Room) -> None:
    bob = world.users["bob"]
    tabs = [desk.come(bob, room), desk.come(bob, room)]
    desk.write()

    def says(status: str, text: str = "", tab: Holding | None = None) -> tuple[str, str]:
        desk.ledger.say(Saying(bob.pk, room.pk, None if tab is None else tab.id, status, text), desk.now)
        assert desk.write().changes[room.pk].users == [world.id("bob")]
        person = here(room)[world.id("bob")]
        return person.status, person.text

    assert says("away", tab=tabs[0]) == ("active", "")
    assert says("away", tab=tabs[1]) == ("away", "")
    assert says("busy", "lunch", tabs[0]) == ("busy", "lunch")
    assert says("active", "", tabs[1]) == ("busy", "")
    assert says("active") == ("active", "")


def test_another_tab_takes_nothing_away_from_what_was_said(desk: Desk, world: World, room: Room) -> None:
    bob = world.users["bob"]
    tab = desk.come(bob, room)
    desk.write()
    desk.ledger.say(Saying(bob.pk, room.pk, tab.id, "busy", "lunch"), desk.now)
    desk.write()
    desk.come(bob, room)
    desk.write()
    person = here(room)[world.id("bob")]
    assert (person.status, person.text) == ("busy", "lunch")


def test_a_node_that_comes_back_from_the_dead_brings_what_was_said_and_when(
    desk: Desk, far: Desk, world: World, room: Room, clock: Clock
) -> None:
    bob = world.users["bob"]
    one, other = desk.come(bob, room), far.come(bob, room)
    for each in (desk, far):
        each.write()
    desk.ledger.say(Saying(bob.pk, room.pk, one.id, "busy", "lunch"), desk.now)
    desk.write()
    clock.forward(1)
    far.ledger.say(Saying(bob.pk, room.pk, other.id, "active", "back soon"), far.now)
    far.write()
    clock.forward(config().lease - 0.5)
    store.clean("far")
    person = here(room)[world.id("bob")]
    assert (person.status, person.text) == ("active", "back soon")
    clock.forward(3)
    desk.node = "near again"
    store.register(desk.node)
    desk.ledger.forgotten([one])
    desk.write()
    person = here(room)[world.id("bob")]
    assert (person.status, person.text) == ("busy", "back soon"), "the newest text is not what was written last"


def test_what_a_row_says_of_a_status_is_not_overwritten_by_what_a_node_remembers(
    desk: Desk, far: Desk, world: World, room: Room
) -> None:
    """Of a connection's commands some may go to another node."""
    bob = world.users["bob"]
    one = desk.come(bob, room)
    desk.ledger.say(Saying(bob.pk, room.pk, one.id, "busy", "lunch"), desk.now)
    desk.write()
    far.ledger.say(Saying(bob.pk, room.pk, one.id, "away", ""), desk.now)
    far.write()
    desk.ledger.forgotten([one])
    desk.write()
    assert here(room)[world.id("bob")].status == "away"


def test_a_status_outlasts_a_reload(desk: Desk, world: World, room: Room, clock: Clock) -> None:
    """Until the grace is over, in which the page says it again."""
    bob = world.users["bob"]
    tab = desk.come(bob, room)
    desk.write()
    desk.ledger.say(Saying(bob.pk, room.pk, tab.id, "busy", "lunch"), desk.now)
    desk.write()
    before = here(room)[world.id("bob")]
    desk.go(tab)
    again = desk.come(bob, room)
    desk.write()
    assert alike(here(room)[world.id("bob")], before)
    desk.ledger.say(Saying(bob.pk, room.pk, again.id, "away", ""), desk.now)
    desk.write()
    assert here(room)[world.id("bob")].status == "away", "what is said now is so now"


def test_what_somebody_says_who_is_not_here_changes_nothing(desk: Desk, world: World, room: Room) -> None:
    desk.ledger.say(Saying(world.users["bob"].pk, room.pk, None, "busy", ""), desk.now)
    assert desk.write().changes == {}


# --- the site is told


@pytest.fixture
def told() -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []

    def hear(sender: Any, signal: Any, **left: Any) -> None:
        found.append(left)
        if len(found) == 1 and left.get("user") == "fails":
            raise LookupError

    person_left.connect(hear)
    yield found
    person_left.disconnect(hear)


def no_failures(error: Exception) -> None:
    raise error


def test_who_leaves_is_told_of_once_the_last_connection_is_gone(
    desk: Desk, world: World, room: Room, told: list[dict[str, Any]]
) -> None:
    tabs = [desk.come(world.users["bob"], room), desk.come(world.users["bob"], room)]
    desk.write()
    desk.go(tabs[0], grace=0)
    desk.write()
    store.tell_departures("near", no_failures)
    assert told == []
    desk.go(tabs[1], grace=0)
    desk.write()
    store.tell_departures("near", no_failures)
    store.tell_departures("near", no_failures)
    [left] = told
    assert (left["room"], left["user"]) == (room.pk, world.id("bob"))
    assert left["since"] <= left["left"]


def test_what_a_node_did_not_come_to_tell_another_one_tells(
    desk: Desk, far: Desk, world: World, room: Room, clock: Clock, told: list[dict[str, Any]]
) -> None:
    """It was killed between the commit and the telling."""
    gone = desk.come(world.users["bob"], room)
    desk.write()
    desk.go(gone, grace=0)
    desk.write()
    clock.forward(config().lease + 1)
    store.renew("far")
    store.clean("far")
    store.tell_departures("far", no_failures)
    assert [left["user"] for left in told] == [world.id("bob")]


def test_a_departure_that_a_receiver_failed_at_is_told_again_under_the_same_number(
    desk: Desk, world: World, room: Room
) -> None:
    numbers: list[int] = []
    errors: list[Exception] = []

    def fails_once(sender: Any, departure: int, **left: Any) -> None:
        numbers.append(departure)
        if len(numbers) == 1:
            raise LookupError

    person_left.connect(fails_once)
    try:
        gone = desk.come(world.users["bob"], room)
        desk.write()
        desk.go(gone, grace=0)
        desk.write()
        for _ in range(3):
            store.tell_departures("near", errors.append)
    finally:
        person_left.disconnect(fails_once)
    assert len(numbers) == 2
    assert numbers[0] == numbers[1]
    assert [type(error) for error in errors] == [LookupError]


def test_what_nobody_listens_to_is_not_kept(desk: Desk, world: World, room: Room) -> None:
    gone = desk.come(world.users["bob"], room)
    desk.write()
    desk.go(gone, grace=0)
    desk.write()
    assert not Departure.objects.exists()


# --- the list of rooms


def test_only_rooms_that_the_whole_tenant_may_know_of_are_counted_in_public(
    desk: Desk, world: World, room: Room
) -> None:
    board = world.room("acme/board")
    desk.come(world.users["bob"], room, board, world.room("acme/~all"))
    written = desk.write()
    assert written.changes.keys() == {room.pk, board.pk, world.room("acme/~all").pk}
    assert [(each.address, each.slug) for each in written.listed.values()] == [("acme/~all", "general")]
    rooms.update(room, visibility="private")
    desk.come(world.users["erin"], room)
    assert desk.write().listed == {}


def test_an_empty_batch_is_nothing(desk: Desk) -> None:
    assert store.write("near", Batch()).changes == {}

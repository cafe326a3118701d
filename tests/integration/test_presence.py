"""Who is here, through nodes of this process: what readers are told, and what they are spared."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model
from django.db import OperationalError

from presence import census, store
from presence.conf import config
from presence.models import Node, Seat
from presence.signals import person_left
from presence.state import Saying
from presence.tracker import Tracker
from rooms.conf import Config
from rooms.contract import UNAUTHENTICATED, Person
from rooms.delivery.session import Join, Listening
from rooms.identity import Identity
from rooms.models import Membership, Room
from rooms.node import running
from rooms.node.hub import Hub
from rooms.services import members
from rooms.transports.poll import ANSWERED, Poll
from tests.support.listeners import TERMS, Visitor, until
from tests.support.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]

GENERAL = "acme/general"
# Graces as short as a test may wait for, and upkeep that comes when a test asks for it.
PRESENCE = {"LEAVE_GRACE": 0.3, "FLUSH": 0.02, "LEASE": 7_200, "RENEWAL": 3_600}
QUIET = {"heal_interval": 3_600, "grant_ttl": 3_600}


class Town:
    """Nodes, and people who come to them; all of them leave in the end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.hubs: list[Hub] = []
        self.visitors: list[Visitor] = []
        self.polls = 0

    def node(self, **options: Any) -> Hub:
        hub = Hub(Config(**{**QUIET, **options}), attendance=Tracker)
        hub.start()
        self.hubs.append(hub)
        return hub

    async def comes(self, name: str, hub: Hub, *rooms: str) -> Visitor:
        visitor = Visitor(hub, self.world.users[name].pk, len(self.visitors))
        self.visitors.append(visitor)
        for room in rooms or (GENERAL,):
            await visitor.join(room)
        return visitor

    async def polls_once(
        self,
        name: str,
        hub: Hub,
        *,
        tab: str | None = None,
        cursor: str | None = None,
        lost: bool = False,
        room: str = GENERAL,
        during: Callable[[], Any] | None = None,
    ) -> tuple[str, list[Any]]:
        """A whole poll: its cursor and its vectors. ``lost``: the client is gone before the answer."""
        import msgspec

        from rooms.contract import Cursor

        self.polls += 1
        user = self.world.users[name].pk
        place = None if cursor is None else Cursor.parse(cursor.partition("@")[2])
        poll = Poll(
            hub,
            Listening(TERMS, time.monotonic()),
            id=f"poll-{self.polls}",
            who=Identity(user, Person(str(user), name), None),
            cursor=cursor or "",
            leave=lambda: None,
            resumes=tab is not None,
            continues=tab,
        )
        with hub.holding(poll):
            await poll.join(Join(room, room, place, False, quiet=True))
            if tab is None:
                await poll.settled()
            if during is not None:
                await during()
            if lost:
                return cursor or "", []
            answer = msgspec.json.decode(poll.answer())
            poll.closed = poll.closed or ANSWERED
        return answer["cursor"], answer["frame"]

    async def close(self) -> None:
        for visitor in self.visitors:
            visitor.goes()
        for hub in self.hubs:
            await hub.stop()


@pytest_asyncio.fixture
async def town(world: World, settings: Any) -> AsyncIterator[Town]:
    settings.PRESENCE = PRESENCE
    town = Town(world)
    yield town
    await town.close()


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the database's clock forward by so many seconds."""
    clock, by = store.clock, timedelta()
    monkeypatch.setattr(store, "clock", lambda: clock() + by)

    def forward(seconds: float) -> None:
        nonlocal by
        by += timedelta(seconds=seconds)

    return forward


def tracker(hub: Hub) -> Tracker:
    assert isinstance(hub.attendance, Tracker)
    return hub.attendance


async def graces_over(*hubs: Hub) -> None:
    """All that was to be written is, and no grace is under way."""
    for one in map(tracker, hubs):
        while True:
            await until(lambda one=one: not one._ledger.due and one._ledger.next_purge() is None)
            async with one._writing:
                if not one._ledger.due and one._ledger.next_purge() is None:
                    break


# --- what readers are told


async def test_two_nodes_know_of_each_others_people(town: Town, world: World) -> None:
    near, far = town.node(), town.node()
    alice = await town.comes("alice", near)
    bob = await town.comes("bob", far)
    for one in (alice, bob):
        await one.knows(world.users["alice"], world.users["bob"])
    bob.goes()
    await alice.knows(world.users["alice"])
    assert [name for name, *_ in alice.presence].count("presence.state") == 1


async def test_a_reload_a_change_of_network_and_ten_tabs_are_not_noticed(town: Town, world: World) -> None:
    """The next thing that is told is what really happens."""
    near, far = town.node(), town.node()
    alice = await town.comes("alice", near)
    bob = await town.comes("bob", near)
    await alice.knows(world.users["alice"], world.users["bob"])
    told = len(alice.presence)
    bob.goes()
    reloaded = await town.comes("bob", near)
    await graces_over(near, far)
    elsewhere = await town.comes("bob", far)
    reloaded.goes()
    await graces_over(near, far)
    tabs = [await town.comes("bob", hub) for hub in (near, far) * 5]
    for tab in tabs:
        tab.goes()
    await graces_over(near, far)
    assert await near.database.work(Seat.objects.count) == 2
    await town.comes("erin", far)
    await alice.knows(*(world.users[name] for name in ("alice", "bob", "erin")))
    [[name, data, _]] = alice.presence[told:]
    assert name == "presence.diff"
    assert [person["user"]["id"] for person in data["joined"]] == [world.id("erin")]
    assert data["left"] == data["changed"] == []
    assert elsewhere.people is not None


async def test_a_reader_who_was_passed_over_gets_the_state_and_no_difference_before_it(
    town: Town, world: World
) -> None:
    hub = town.node()
    alice = await town.comes("alice", hub)
    await alice.knows(world.users["alice"])
    alice.takes.clear()
    reader = alice.connection.session.rooms[GENERAL]
    fill = "x" * 40_000
    for number in range(3):  # the socket takes nothing: the first is under way, the second waits, then there is no room
        await hub.database.work(lambda number=number: world.say("bob", f"{number}{fill[:7_000]}"))
    while alice.connection.has_room:
        alice.connection.say(b'["live.cursor",{"fill":"' + fill.encode() + b'"}]')
    bob = await town.comes("bob", hub)
    await until(lambda: reader.stale)
    assert tracker(hub)._here[reader.grant.room].roster.count == 2
    bob.goes()
    erin = await town.comes("erin", hub)
    await erin.knows(world.users["alice"], world.users["erin"])
    before = len(alice.presence)
    alice.takes.set()
    await alice.knows(world.users["alice"], world.users["erin"])
    assert [name for name, *_ in alice.presence[before:]] == ["presence.state"]
    await town.comes("dave", hub)
    await alice.knows(*(world.users[name] for name in ("alice", "erin", "dave")))
    assert [name for name, *_ in alice.presence[before:]] == ["presence.state", "presence.diff"]


async def test_above_the_limit_there_is_a_number_and_well_below_it_there_are_names_again(
    town: Town, world: World, settings: Any
) -> None:
    settings.PRESENCE = {**PRESENCE, "COUNTS_INTERVAL": 0.05}
    hub = town.node(roster_limit=10)

    def make() -> list[Any]:
        users = [get_user_model().objects.create(username=f"one-{number}") for number in range(10)]
        for user in users:
            members.set_role(world.acme, user)
        return users

    users = await hub.database.work(make)
    world.users |= {user.username: user for user in users}
    alice = await town.comes("alice", hub)
    crowd = [await town.comes(user.username, hub) for user in users]
    await alice.until(lambda one: one.presence and one.presence[-1][1]["count"] == 11)
    assert alice.people == {}
    assert alice.presence[-1][0] == "presence.state"
    crowd[0].goes()
    await alice.until(lambda one: one.presence[-1][1]["count"] == 10)
    assert alice.presence[-1][:2] == ["presence.diff", {"joined": [], "left": [], "changed": [], "count": 10}]
    told = len(alice.presence)
    crowd[1].goes()
    await alice.knows(world.users["alice"], *users[2:])
    assert [name for name, *_ in alice.presence[told:]] == ["presence.state"]


async def test_without_a_single_hint_rosters_come_right_by_healing(town: Town, world: World) -> None:
    near, far = (town.node(layer="nowhere", heal_interval=0.05) for _ in range(2))
    alice = await town.comes("alice", near)
    bob = await town.comes("bob", far)
    await alice.knows(world.users["alice"], world.users["bob"])
    bob.goes()
    await alice.knows(world.users["alice"])


async def test_without_a_hint_and_without_healing_they_do_not(town: Town, world: World) -> None:
    """Else the test before this one proves nothing."""
    near, far = (town.node(layer="nowhere") for _ in range(2))
    alice = await town.comes("alice", near)
    await alice.knows(world.users["alice"])
    bob = await town.comes("bob", far)
    await bob.knows(world.users["alice"], world.users["bob"])
    assert alice.people is not None and alice.people.keys() == {world.id("alice")}


# --- leases, and a database that is away


async def test_a_node_that_was_taken_for_dead_registers_all_that_it_holds_anew(
    town: Town, world: World, ahead: Callable[[float], None]
) -> None:
    near, far = town.node(), town.node()
    alice, bob = await town.comes("alice", near), await town.comes("bob", far)
    await alice.knows(world.users["alice"], world.users["bob"])
    before = tracker(far).node
    await tracker(near)._keep()
    ahead(config().lease + 1)
    await near.database.work(store.renew, tracker(near).node)
    await tracker(near)._keep()
    await alice.knows(world.users["alice"])
    await tracker(far)._write()  # nothing is due: it does not know yet
    await near.database.work(lambda: Node.objects.filter(pk=before).exists())
    tracker(far)._renewed = 0
    assert await tracker(far)._keep() == 0
    await alice.knows(world.users["alice"], world.users["bob"])
    await bob.knows(world.users["alice"], world.users["bob"])
    assert tracker(far).node != before


async def test_who_is_busy_on_a_node_that_was_taken_for_dead_is_busy_when_it_is_back(
    town: Town, world: World, ahead: Callable[[float], None]
) -> None:
    near, far = town.node(), town.node()
    alice, bob = await town.comes("alice", near), await town.comes("bob", far)
    await alice.knows(world.users["alice"], world.users["bob"])
    room = bob.connection.session.rooms[GENERAL].grant.room
    tracker(far).say(Saying(world.users["bob"].pk, room, None, "busy", "lunch"))
    await alice.until(lambda one: one.people[world.id("bob")]["status"] == "busy")
    await tracker(near)._keep()
    ahead(config().lease + 1)
    await near.database.work(store.renew, tracker(near).node)
    await tracker(near)._keep()
    await alice.knows(world.users["alice"])
    tracker(far)._renewed = 0
    assert await tracker(far)._keep() == 0
    await alice.knows(world.users["alice"], world.users["bob"])
    person = alice.people[world.id("bob")]
    assert (person["status"], person["text"]) == ("busy", "lunch")


async def test_when_the_database_was_away_for_all_nobody_takes_the_others_for_dead(
    town: Town, world: World, ahead: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = town.node(), town.node()
    alice, bob = await town.comes("alice", near), await town.comes("bob", far)
    await alice.knows(world.users["alice"], world.users["bob"])
    for hub in (near, far):
        await tracker(hub)._keep()
    told = len(alice.presence)
    ahead(config().lease + 1)
    for hub in (near, far):  # neither could look after its lease for so long
        tracker(hub)._kept -= config().lease
        tracker(hub)._renewed -= config().lease
    assert await tracker(near)._keep() == pytest.approx(2 * config().renewal)
    await tracker(far)._keep()
    ahead(2 * config().renewal)
    tracker(near)._judges = 0
    await far.database.work(store.renew, tracker(far).node)
    await tracker(near)._keep()
    await town.comes("erin", far)
    await alice.knows(*(world.users[name] for name in ("alice", "bob", "erin")))
    assert len(alice.presence) == told + 1
    assert bob.people is not None


async def test_what_could_not_be_written_is_written_when_the_database_is_back(
    town: Town, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = town.node(heal_interval=0.05)
    alice = await town.comes("alice", hub)
    await alice.knows(world.users["alice"])
    failed = asyncio.Event()
    write, find = store.write, census.find

    def away(*args: Any) -> Any:
        hub.loop.call_soon_threadsafe(failed.set)
        raise OperationalError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", away)
        patch.setattr(census, "find", away)
        bob = await town.comes("bob", hub)
        erin = await town.comes("erin", hub)
        await asyncio.wait_for(failed.wait(), 20)
        erin.goes()
    assert (store.write, census.find) == (write, find)
    await alice.knows(world.users["alice"], world.users["bob"])
    await bob.knows(world.users["alice"], world.users["bob"])


# --- rights that end


async def test_who_is_revoked_leaves_at_once_on_all_connections(town: Town, world: World, settings: Any) -> None:
    settings.PRESENCE = {**PRESENCE, "LEAVE_GRACE": 600, "FLUSH": 0.02}
    near, far = town.node(), town.node()
    running._hub = near
    try:
        alice = await town.comes("alice", near)
        bobs = [await town.comes("bob", hub) for hub in (near, far, far)]
        await alice.knows(world.users["alice"], world.users["bob"])
        bobs[2].goes()  # and is in the grace of it
        await town.polls_once("bob", near)
        await until(lambda: not tracker(near)._ledger.due)
        await near.database.work(lambda: members.remove(world.acme, world.users["bob"]))
        await alice.knows(world.users["alice"])
    finally:
        running._hub = None
    assert not await near.database.work(lambda: Seat.objects.filter(user=world.users["bob"]).exists())


async def test_who_lost_the_right_untold_between_two_polls_leaves_with_the_next_upkeep(
    town: Town, world: World
) -> None:
    hub = town.node()
    alice = await town.comes("alice", hub)
    await town.polls_once("bob", hub)
    await alice.knows(world.users["alice"], world.users["bob"])
    await hub.database.work(lambda: Membership.objects.filter(user=world.users["bob"]).delete())
    tracker(hub)._asked = -config().renewal
    tracker(hub)._renewed = hub.loop.time()  # a busy node renews its lease with what it writes
    await tracker(hub)._keep()
    assert not await hub.database.work(lambda: Seat.objects.filter(user=world.users["bob"]).exists())
    await alice.knows(world.users["alice"])


async def test_who_lost_the_right_leaves_while_a_poll_waits_that_did_not_ask_for_the_room(
    town: Town, world: World
) -> None:
    """The client had left the room, and the poll would have told so at its end."""
    hub = town.node()
    alice = await town.comes("alice", hub)
    await town.polls_once("bob", hub, tab="bob-tab-1")
    await alice.knows(world.users["alice"], world.users["bob"])

    async def expelled() -> None:
        await hub.database.work(lambda: Membership.objects.filter(user=world.users["bob"]).delete())
        await tracker(hub)._expel(None)
        await alice.knows(world.users["alice"])

    await town.polls_once("bob", hub, tab="bob-tab-1", room="acme/lobby", during=expelled)


async def test_a_poll_that_comes_while_rights_are_asked_about_keeps_what_it_was_let_in_for(
    town: Town, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = town.node()
    alice = await town.comes("alice", hub)
    cursor, _ = await town.polls_once("bob", hub, tab="bob-tab-1")
    await alice.knows(world.users["alice"], world.users["bob"])
    asked, answer = threading.Event(), threading.Event()
    without_right = store.without_right

    def late(*args: Any) -> Any:
        lost = without_right(*args)
        asked.set()
        assert answer.wait(60)
        return lost

    monkeypatch.setattr(store, "without_right", late)
    await hub.database.work(lambda: members.remove(world.acme, world.users["bob"]))
    expelling = asyncio.create_task(tracker(hub)._expel(None))
    assert await asyncio.to_thread(asked.wait, 60)
    await hub.database.work(lambda: members.set_role(world.acme, world.users["bob"], "member"))

    async def asked_before() -> None:
        answer.set()
        await expelling

    await town.polls_once("bob", hub, tab="bob-tab-1", cursor=cursor, during=asked_before)
    assert await hub.database.work(lambda: Seat.objects.filter(user=world.users["bob"]).exists())
    assert len(alice.people) == 2


async def test_a_long_poller_whose_login_ended_leaves_with_the_poll_that_is_told_so(town: Town, world: World) -> None:
    hub = town.node()
    alice = await town.comes("alice", hub)
    cursor, _ = await town.polls_once("bob", hub, tab="bob-tab-1")
    await alice.knows(world.users["alice"], world.users["bob"])

    async def logged_out() -> None:
        for connection in hub.connections.values():
            if connection.transport == "poll":
                connection.close(UNAUTHENTICATED)

    await town.polls_once("bob", hub, tab="bob-tab-1", cursor=cursor, during=logged_out)
    await alice.knows(world.users["alice"])


async def test_whose_account_is_deleted_leaves(town: Town, world: World) -> None:
    hub = town.node()
    running._hub = hub
    try:
        alice = await town.comes("alice", hub)
        await town.comes("bob", hub)
        await alice.knows(world.users["alice"], world.users["bob"])
        await hub.database.work(world.users["bob"].delete)
        await alice.until(lambda one: len(one.people) == 1)
    finally:
        running._hub = None


async def test_a_room_that_is_deleted_under_its_people_stops_nothing(town: Town, world: World) -> None:
    hub = town.node()
    alice = await town.comes("alice", hub, GENERAL, "acme/lobby")
    await town.comes("bob", hub, "acme/lobby")
    await hub.database.work(lambda: Room.objects.get(slug="lobby", tenant=world.acme).delete())
    await town.comes("erin", hub)
    await alice.until(lambda one: world.id("erin") in str(one.presence))


# --- long-pollers


async def test_a_long_poller_is_here_between_polls_and_wherever_the_next_one_goes(town: Town, world: World) -> None:
    near, far = town.node(), town.node()
    alice = await town.comes("alice", near)
    cursor, _ = await town.polls_once("bob", near)
    await alice.knows(world.users["alice"], world.users["bob"])
    told = len(alice.presence)
    for hub in (far, near, far):
        cursor, _ = await town.polls_once("bob", hub, tab="poll-1", cursor=cursor)
        await graces_over(near, far)
    assert await near.database.work(lambda: Seat.objects.filter(user=world.users["bob"]).count()) == 1
    await town.comes("erin", near)
    await alice.knows(*(world.users[name] for name in ("alice", "bob", "erin")))
    assert len(alice.presence) == told + 1


# --- the site is told


async def test_a_node_with_nobody_tells_of_those_whom_a_dead_one_left(
    town: Town, world: World, ahead: Callable[[float], None]
) -> None:
    told: list[str] = []

    def hear(sender: Any, user: str, **left: Any) -> None:
        told.append(user)

    person_left.connect(hear)
    try:
        dead, empty = town.node(), town.node()
        bob = await town.comes("bob", dead)
        await bob.knows(world.users["bob"])
        ahead(config().lease + 1)
        tracker(dead)._dirty.clear()
        await empty.database.work(lambda: None)
        await tracker(empty)._keep()
        await tracker(empty)._keep()
        assert set(told) == {world.id("bob")}, "at least once"
    finally:
        person_left.disconnect(hear)

"""A node's rooms: verdicts, histories that break, and what must not reach a reader."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from rooms import commands, log
from rooms.conf import Config
from rooms.contract import Cursor, Refused
from rooms.delivery.feed import pack
from rooms.delivery.reader import Flow
from rooms.models import Room, RoomLog
from rooms.node import running
from rooms.node.hub import Hub
from rooms.services import members, rooms
from rooms.signals import committed
from tests.support.listeners import Listener, until
from tests.support.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]

GENERAL = "acme/general"


async def say(hub: Hub, room: Room, *texts: str) -> None:
    def write() -> None:
        for text in texts:
            log.append(room, "room.announcement", {"text": text})

    await hub.database.work(write)


@contextmanager
def nobody_hears() -> Iterator[None]:
    """As if the announcements of another node were lost."""
    committed.disconnect(running.announce)
    yield
    committed.connect(running.announce)


async def settled(hub: Hub, room: Room) -> None:
    """The group of the room is joined, and what was missed until then is mended: nothing looks at the log by itself."""
    followed = hub.rooms[room.pk]
    await until(lambda: not hub.doorbell._unsettled and followed._mending is None)


def here(room: Room) -> Cursor:
    return log.position(room)


class Gate:
    """Log reads that begin while it is closed are made at once and handed over when it opens."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.is_open.set()
        self.read = 0

    def __call__(self, *args: Any) -> log.Reading | None:
        reading = REAL_READ(*args)
        self.read += 1
        assert self.is_open.wait(timeout=60)
        return reading


REAL_READ = log.read


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(log, "read", gate)
    yield gate
    gate.is_open.set()


# --- verdicts


async def test_a_cursor_below_what_was_trimmed_is_reset_for_the_first_and_for_the_next(
    hub: Hub, world: World, room: Room
) -> None:
    """A ring that is filled from a trimmed log must not pass for the whole history."""
    before = await hub.database.work(here, room)
    await say(hub, room, *"abcdef")
    await hub.database.work(lambda: log.trim(room.pk, keep=3, since=room.created_at))
    for number in range(3):
        joined = await Listener(hub, world.users["bob"].pk, number).join(GENERAL, before)
        assert joined.verdict == "reset"
    floor = Cursor(before.epoch, before.seq + 3)
    follower = Listener(hub, world.users["bob"].pk, 7)
    assert (await follower.join(GENERAL, floor)).verdict == "resumed"
    await follower.until(lambda one: len(one.seqs) == 3)
    assert follower.seqs == [floor.seq + 1, floor.seq + 2, floor.seq + 3]


@pytest.mark.parametrize(
    ("epoch", "offset", "verdict"),
    [
        ("same", 0, "resumed"),
        ("same", 1, "reset"),
        ("same", 10**9, "reset"),
        ("other", 0, "reset"),
        ("other", -1, "reset"),
    ],
)
async def test_verdicts_of_cursors_at_the_edges(
    hub: Hub, room: Room, bob: Listener, epoch: str, offset: int, verdict: str
) -> None:
    head = await hub.database.work(here, room)
    joined = await bob.join(GENERAL, Cursor(head.epoch if epoch == "same" else "f00", head.seq + offset))
    assert joined.verdict == verdict
    assert joined.cursor == head


async def test_more_than_may_be_replayed_is_a_reset(world: World, room: Room) -> None:
    hub = running._hub = Hub(Config(heal_interval=3_600, max_replay=5))
    hub.start()
    start = await hub.database.work(here, room)
    await say(hub, room, *"abcdef")
    early, late = (Listener(hub, world.users["bob"].pk, number) for number in (1, 2))
    assert (await early.join(GENERAL, start)).verdict == "reset"
    assert (await late.join(GENERAL, Cursor(start.epoch, start.seq + 1))).verdict == "resumed"
    await late.until(lambda one: len(one.seqs) == 5)
    await running.stop()


async def test_a_cursor_that_is_ahead_of_this_node_asks_the_log_and_not_an_older_read(
    hub: Hub, world: World, room: Room, bob: Listener
) -> None:
    """Another node committed, and its announcement was lost."""
    await bob.join(GENERAL)
    await settled(hub, room)
    with nobody_hears():
        await say(hub, room, "unheard")
    ahead = await hub.database.work(here, room)
    other = Listener(hub, world.users["alice"].pk, 2)
    assert (await other.join(GENERAL, ahead)).verdict == "resumed"
    await bob.until(lambda one: ahead.seq in one.seqs)


# --- histories that break


async def test_what_was_trimmed_under_a_node_that_lags_is_a_reset_and_never_passed_over(
    hub: Hub, room: Room, bob: Listener
) -> None:
    await bob.join(GENERAL)
    await settled(hub, room)
    with nobody_hears():
        await say(hub, room, *"abcdef")
    await hub.database.work(lambda: log.trim(room.pk, keep=2, since=room.created_at))
    await hub.heal()
    await bob.until(lambda one: any(vector[0] == "live.reset" for vector in one.vectors))
    assert [vector for vector in bob.events if vector[0] == "live.cursor"] == []
    head = await hub.database.work(here, room)
    (reset,) = [vector[1] for vector in bob.vectors if vector[0] == "live.reset"]
    assert reset["cursor"] == str(head)
    await say(hub, room, "after")
    await bob.until(lambda one: head.seq + 1 in one.seqs)


@pytest.mark.parametrize("change", [{"epoch": "0123456789abcdef"}, {"head": 1, "floor": 0}])
async def test_another_history_resets_its_readers(hub: Hub, room: Room, bob: Listener, change: dict[str, Any]) -> None:
    """A database that was restored, or a log that was begun again."""
    await bob.join(GENERAL)

    def restore() -> None:
        log.Event.objects.filter(log=room.pk, seq__gt=1).delete()
        RoomLog.objects.filter(room=room).update(**change)

    await hub.database.work(restore)
    await hub.heal()
    await bob.until(lambda one: any(vector[0] == "live.reset" for vector in one.vectors))
    head = await hub.database.work(here, room)
    await say(hub, room, "after")
    await bob.until(lambda one: head.seq + 1 in one.seqs)


async def test_a_room_that_is_gone_ends_its_subscriptions(hub: Hub, room: Room, bob: Listener) -> None:
    await bob.join(GENERAL)
    await hub.database.work(room.delete)
    await hub.heal()
    await bob.until(lambda one: any(vector[0] == "live.left" for vector in one.vectors))
    assert not hub.rooms


# --- what must not reach a reader


async def test_a_log_read_that_is_older_than_a_redaction_reaches_nobody(world: World, room: Room, gate: Gate) -> None:
    """It began before the text was removed, and ends after the removal was announced."""
    user = world.users["bob"].pk
    hub = running._hub = Hub(Config(heal_interval=3_600, ring_events=1))  # so that who is behind reads the log
    hub.start()

    def send() -> Any:
        return msgspec.json.decode(commands.perform(user, "chat.send", {"text": "secret"}, room=GENERAL))

    def delete() -> None:
        commands.perform(user, "chat.delete", {"message": sent["message"]}, room=GENERAL)

    start = await hub.database.work(here, room)
    sent = await hub.database.work(send)
    await say(hub, room, "x", "y")
    witness, reader = Listener(hub, world.users["alice"].pk, 1), Listener(hub, user, 2)
    await witness.join(GENERAL)
    assert (await reader.join(GENERAL, start)).verdict == "resumed"
    gate.is_open.clear()
    reads = gate.read
    await until(lambda: gate.read > reads)
    await hub.database.control(delete)
    await witness.until(lambda one: one.vectors[-1][0] == "chat.deleted")
    gate.is_open.set()
    await reader.until(lambda one: one.vectors[-1][0] == "chat.deleted")
    assert "secret" not in str(reader.vectors)
    assert reader.seqs == [sent["seq"] + n for n in range(4)]
    await running.stop()


async def test_a_right_that_ends_during_a_join_ends_the_join(hub: Hub, world: World, room: Room, gate: Gate) -> None:
    first = Listener(hub, world.users["alice"].pk, 1)
    await first.join(GENERAL)
    start = await hub.database.work(here, room)
    await say(hub, room, "x")
    reader = Listener(hub, world.users["bob"].pk, 2)
    gate.is_open.clear()
    reads = gate.read
    joining = asyncio.create_task(reader.join(GENERAL, Cursor(start.epoch, start.seq - 1)))
    await until(lambda: gate.read > reads)
    await hub.database.control(members.set_part, room, world.users["bob"], "banned")
    await hub.watch.sweep()
    gate.is_open.set()
    with pytest.raises(Refused) as refused:
        await joining
    assert refused.value.code == "not_found"
    assert reader.vectors == []
    (followed,) = hub.rooms.values()
    assert len(followed.readers) == 1


@pytest.mark.parametrize("code", ["revoked", "archived"])
async def test_the_sweep_ends_what_was_changed_behind_our_back(
    hub: Hub, world: World, room: Room, bob: Listener, code: str
) -> None:
    await bob.join(GENERAL)

    def change() -> None:
        if code == "revoked":
            members.remove(world.acme, world.users["bob"])
        else:
            rooms.update(room, archived=True)

    await hub.database.work(change)
    await hub.watch.sweep()
    await bob.until(lambda one: one.vectors[-1][0] == "live.left")
    assert bob.vectors[-1][1]["code"] == code
    assert not bob.connection.session.rooms
    told = len(bob.vectors)
    await say(hub, room, "secret")
    assert len(bob.vectors) == told
    assert not hub.rooms


async def test_a_room_is_named_as_its_reader_names_it(hub: Hub, world: World, bob: Listener) -> None:
    await bob.join("acme/~me")
    own = await hub.database.work(lambda: Room.objects.get(kind="me", owner=world.users["bob"], tenant=world.acme))
    await say(hub, own, "for you alone")
    await bob.until(lambda one: bool(one.seqs))
    assert bob.vectors[-1][2]["room"] == "acme/~me"


# --- flow


async def test_a_frame_without_an_event_takes_no_credit(hub: Hub, world: World, bob: Listener) -> None:
    """The client does not count it, so the window would be smaller by one for ever."""
    joined = await bob.join(GENERAL)
    flow = bob.connection.session.flow = Flow(window=1)
    place = joined.reader.cursor
    taken = pack(GENERAL, [], after=place, end=place + 3, frame_bytes=1_000)
    assert taken is not None
    assert bob.connection.deliver(joined.reader, taken, time.monotonic())
    assert (flow.sent, flow.has_credit) == (0, True)


async def test_a_reader_without_credit_costs_a_place_and_catches_up_by_policy(
    hub: Hub, world: World, room: Room, bob: Listener
) -> None:
    await bob.join(GENERAL)
    flow = bob.connection.session.flow = Flow(window=1)
    await say(hub, room, "one")
    await bob.until(lambda one: len(one.seqs) == 1)
    await say(hub, room, *"abcdefgh")
    await hub.heal()
    assert len(bob.seqs) == 1
    flow.acknowledge(1)
    bob.connection.serve()
    await bob.until(lambda one: len(one.seqs) == 9)
    assert bob.seqs == list(range(bob.seqs[0], bob.seqs[0] + 9))


# --- looking after everything


async def test_a_connection_that_cannot_be_looked_after_ends_no_other_ones_heartbeat(
    hub: Hub, world: World, bob: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "rooms.node.hub")
    broken, well = bob, Listener(hub, world.users["alice"].pk, 2)
    assert list(hub.connections.values()) == [broken.connection, well.connection]
    monkeypatch.setattr(broken.connection.session, "flow", None)
    await hub.tick(time.monotonic() + 30)
    await asyncio.wait_for(well.heard.wait(), 20)
    assert (well.vectors, well.closed) == ([], None), "an empty frame: the heartbeat"


async def test_the_largest_rings_give_way_when_the_node_has_too_much(world: World, room: Room) -> None:
    hub = running._hub = Hub(Config(heal_interval=3_600, node_ring_bytes=3_000))
    hub.start()
    reader = Listener(hub, world.users["bob"].pk, 1)
    start = await hub.database.work(here, room)
    await reader.join(GENERAL)
    await say(hub, room, *("x" * 100 for _ in range(40)))
    await reader.until(lambda one: len(one.seqs) == 40)
    feed = hub.rooms[room.pk].feed
    while feed.bytes > 3_000:
        before = feed.bytes
        await hub.tick(time.monotonic())
        assert feed.bytes < before
    late = Listener(hub, world.users["alice"].pk, 2)
    assert (await late.join(GENERAL, start)).verdict == "resumed"
    await late.until(lambda one: len(one.seqs) == 40)
    await running.stop()


# --- starting and stopping


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 10, 50])
async def test_a_node_stops_whenever_it_is_told_to(db: None, turns: int) -> None:
    running.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await running.stop()
    assert running.current() is None

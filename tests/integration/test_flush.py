"""What came goes out: in slices of a large room, to a socket that takes finished bytes at once, and to a full one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec
import pytest
import pytest_asyncio

from rooms import commands, log
from rooms.contract import TOO_SLOW
from rooms.delivery.frames import Notice
from rooms.delivery.reader import Flow
from rooms.models import Room
from rooms.node import flush, running
from rooms.node.hub import Hub
from rooms.services import members
from rooms.signals import committed
from tests.support.listeners import Listener, until
from tests.support.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]

GENERAL = "acme/general"


async def write(hub: Hub, work: Callable[[], object]) -> list[Notice]:
    """What would be announced of this; nobody hears of it before the test says so."""
    heard: list[Notice] = []

    def hear(sender: object, notices: list[Notice], **kwargs: object) -> None:
        heard.extend(notices)

    committed.disconnect(running.announce)
    committed.connect(hear)
    try:
        await hub.database.work(work)
    finally:
        committed.disconnect(hear)
        committed.connect(running.announce)
    return heard


async def said(hub: Hub, room: Room, *texts: str) -> list[Notice]:
    def say() -> None:
        for text in texts:
            log.append(room, "room.announcement", {"text": text})

    return await write(hub, say)


# --- a large room


@pytest_asyncio.fixture
async def crowd(hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Listener]]:
    """Five readers of the room, each of whom is a slice of its own."""
    monkeypatch.setattr(flush, "SLICE", -1)
    monkeypatch.setattr(flush, "LOOK", 1)
    found = [Listener(hub, world.users["bob"].pk, number, direct=number % 2 == 0) for number in range(5)]
    for listener in found:
        await listener.join(GENERAL)
    await until(lambda: not hub.doorbell._unsettled)
    yield found


async def some_have(crowd: list[Listener], text: str) -> int:
    """Wait until the flush is between two slices; gives how many have got it."""
    await until(lambda: any(text in str(one.vectors) for one in crowd))
    count = sum(text in str(one.vectors) for one in crowd)
    assert 0 < count < len(crowd)
    return count


async def test_what_comes_between_two_slices_reaches_each_once_and_in_order(
    hub: Hub, room: Room, crowd: list[Listener]
) -> None:
    first, second, third = await said(hub, room, "one", "two", "three")
    hub.hear(first)
    await some_have(crowd, "one")
    hub.hear(second)
    hub.hear(third)
    for listener in crowd:
        await listener.until(lambda one: len(one.seqs) == 3)
        assert [data["text"] for _, data, _ in listener.events] == ["one", "two", "three"]


async def test_who_leaves_between_two_slices_gets_nothing_more_and_who_joins_starts_behind_them(
    hub: Hub, world: World, room: Room, crowd: list[Listener]
) -> None:
    first, second = await said(hub, room, "one", "two")
    newcomer = Listener(hub, world.users["alice"].pk, 9)
    hub.hear(first)
    await some_have(crowd, "one")
    hub.leave(crowd[-1].connection.session.rooms[GENERAL])
    joined = await newcomer.join(GENERAL)
    hub.hear(second)
    await newcomer.until(lambda one: len(one.seqs) == 1)
    assert newcomer.seqs == [joined.cursor.seq + 1]
    for listener in crowd[:-1]:
        await listener.until(lambda one: len(one.seqs) == 2)
    assert crowd[-1].seqs == []


async def test_a_deletion_between_two_slices_is_in_time_for_the_rest(
    hub: Hub, world: World, room: Room, crowd: list[Listener]
) -> None:
    user, answers = world.users["bob"].pk, []
    send = partial(commands.perform, user, "chat.send", {"text": "secret"}, room=GENERAL)
    [said_it] = await write(hub, lambda: answers.append(msgspec.json.decode(send())))
    [answer] = answers
    delete = partial(commands.perform, user, "chat.delete", {"message": answer["message"]}, room=GENERAL)
    [took_back] = await write(hub, delete)
    hub.hear(said_it)
    late = crowd[await some_have(crowd, "secret") :]
    hub.hear(took_back)
    for listener in crowd:
        await listener.until(lambda one: len(one.seqs) == 2)
    assert not any("secret" in str(listener.vectors) for listener in late)


async def test_a_connection_that_fails_does_not_keep_it_from_the_others(
    hub: Hub, room: Room, crowd: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[object] = []
    hub.loop.set_exception_handler(lambda loop, context: failures.append(context["exception"]))
    monkeypatch.setattr(crowd[1].connection.session, "flow", None)
    [notice] = await said(hub, room, "one")
    hub.hear(notice)
    for listener in crowd[2:]:
        await listener.until(lambda one: len(one.seqs) == 1)
    assert len(failures) == 1
    monkeypatch.undo()


# --- a socket that takes finished bytes


@pytest_asyncio.fixture
async def bob(hub: Hub, world: World) -> Listener:
    listener = Listener(hub, world.users["bob"].pk, direct=True)
    await listener.join(GENERAL)
    await until(lambda: not hub.doorbell._unsettled)
    return listener


async def test_it_needs_no_turn_of_the_loop(hub: Hub, room: Room, bob: Listener) -> None:
    bob.connection.say(b'["live.ok",{}]')
    assert bob.vectors[-1][0] == "live.ok"
    assert bob.connection._task is None


@pytest.mark.parametrize("window", [None, 2, 8])
async def test_small_frames_go_there_together_where_there_is_credit_for_all(
    hub: Hub, world: World, room: Room, window: int | None
) -> None:
    hub.config = msgspec.structs.replace(hub.config, frame_events=1)
    bob = Listener(hub, world.users["bob"].pk, direct=True)
    bob.connection.session.flow = Flow(window)
    await bob.join(GENERAL)
    await until(lambda: not hub.doorbell._unsettled)
    notices = await said(hub, room, *"abc")
    before = bob.writes
    for notice in notices:
        hub.hear(notice)
    at_once = 2 if window == 2 else 3
    await bob.until(lambda one: len(one.seqs) == at_once)
    assert bob.writes - before == (2 if window == 2 else 1)
    assert [[data["text"] for _, data, _ in frame] for frame in bob.frames[-at_once:]] == [*map(list, "abc"[:at_once])]
    if window == 2:
        bob.connection.session.flow.acknowledge(1)
        bob.connection.serve()
        await bob.until(lambda one: len(one.seqs) == 3)
    assert bob.connection.session.flow.sent == 3


async def test_a_full_socket_costs_a_place_and_its_reader_catches_up_in_one_frame(
    hub: Hub, room: Room, bob: Listener
) -> None:
    bob.takes.clear()
    for notice in await said(hub, room, *"abc"):
        hub.hear(notice)
        await asyncio.sleep(0)
    reader = bob.connection.session.rooms[GENERAL]
    assert not bob.connection.owes(reader) and not bob.connection._unsent
    bob.takes.set()
    await bob.until(lambda one: len(one.seqs) == 3)
    assert [data["text"] for _, data, _ in bob.frames[-1]] == ["a", "b", "c"]
    await until(lambda: bob.connection._task is None)


async def test_answers_wait_for_a_full_socket_in_their_order_and_before_what_comes_later(
    hub: Hub, room: Room, bob: Listener
) -> None:
    told = len(bob.vectors)
    bob.takes.clear()
    bob.connection.say(b'["live.ok",1]')
    bob.connection.say(b'["live.ok",2]')
    [notice] = await said(hub, room, "event")
    hub.hear(notice)
    bob.takes.set()
    bob.connection.say(b'["live.ok",3]')  # the socket is open already, and this has its turn all the same
    await bob.until(lambda one: len(one.vectors) == told + 4)
    assert [vector[1] for vector in bob.vectors[told:] if vector[0] == "live.ok"] == [1, 2, 3]


async def test_what_it_had_no_room_for_does_not_leave_while_its_reader_is_in_doubt(
    hub: Hub, room: Room, bob: Listener
) -> None:
    bob.takes.clear()
    [notice] = await said(hub, room, "in doubt")
    hub.hear(notice)
    await asyncio.sleep(0)
    reader = bob.connection.session.rooms[GENERAL]
    reader.hold()
    bob.takes.set()
    await until(lambda: bob.connection._task is None)
    assert "in doubt" not in str(bob.vectors)
    reader.release()
    bob.connection.wait(reader)
    await bob.until(lambda one: "in doubt" in str(one.vectors))


async def test_nor_after_a_revocation_and_the_client_is_told(hub: Hub, world: World, room: Room, bob: Listener) -> None:
    bob.takes.clear()
    [notice] = await said(hub, room, "secret")
    hub.hear(notice)
    await hub.database.work(members.set_part, room, world.users["bob"], "banned")
    await until(lambda: GENERAL not in bob.connection.session.rooms)
    bob.takes.set()
    await bob.until(lambda one: one.vectors[-1][0] == "live.left")
    assert "secret" not in str(bob.vectors)
    assert bob.connection.closed is None, "nothing of it waited here, so it may stay"


async def test_who_takes_nothing_for_too_long_is_too_slow(hub: Hub, room: Room, bob: Listener) -> None:
    bob.takes.clear()
    [notice] = await said(hub, room, "event")
    hub.hear(notice)
    await until(lambda: bob.connection._task is not None)
    bob.connection.tick(time.monotonic() + hub.config.stall_timeout - 5)
    assert bob.connection.closed is None
    bob.connection.tick(time.monotonic() + hub.config.stall_timeout + 5)
    assert bob.connection.closed == TOO_SLOW


async def test_credit_that_comes_while_the_socket_is_full_is_used_when_it_is_not(
    hub: Hub, room: Room, bob: Listener
) -> None:
    flow = bob.connection.session.flow = Flow(window=1)
    for notice in await said(hub, room, "one", "two"):
        hub.hear(notice)
        await asyncio.sleep(0)
    assert len(bob.seqs) == 1
    bob.takes.clear()
    flow.acknowledge(1)
    bob.connection.serve()
    assert len(bob.seqs) == 1
    bob.takes.set()
    await bob.until(lambda one: len(one.seqs) == 2)


async def test_a_socket_that_is_lost_while_it_is_full_ends_the_connection(
    hub: Hub, room: Room, bob: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob.takes.clear()

    async def gone() -> None:
        raise OSError

    monkeypatch.setattr(bob.connection._direct, "drain", gone)
    [notice] = await said(hub, room, "event")
    hub.hear(notice)
    await until(lambda: bob.connection.closed is not None)
    assert bob.connection.closed is not None and bob.connection.closed.code == 1006
    assert not bob.connection.session.rooms

"""What Channels' own parts get wrong (measured), asked of ours: one test or more for each trap."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import pkgutil
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import channels.consumer
import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.generic.http import AsyncHttpConsumer
from channels.layers import get_channel_layer
from django.test import Client

import rooms
from rooms import contract
from rooms.contract import COMMANDS, Call
from rooms.delivery.frames import Entry, Notice, vector
from rooms.delivery.session import Session
from rooms.node import running
from rooms.node.doorbell import Sender
from rooms.node.hub import Hub
from tests.support.listeners import until
from tests.support.sockets import Socket
from tests.support.world import World

pytestmark = pytest.mark.django_db(transaction=True)

GENERAL = "acme/general"


@pytest.fixture
def world(world: World, settings: Any) -> World:
    settings.ALLOWED_HOSTS = ["localhost"]
    return world


@pytest.fixture
def keys(world: World) -> dict[str, str]:
    """Session keys by name."""
    found = {}
    for name, user in world.users.items():
        client = Client()
        client.force_login(user)
        found[name] = client.session.session_key
    return found


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[Hub]:
    yield running.start()
    await running.stop()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """``test.wait`` blocks its thread and its transaction until this is set."""
    gate = threading.Event()

    @contract.command("test.wait", contract.Empty)
    def wait(call: Call, data: contract.Empty) -> None:
        assert gate.wait(timeout=60)

    yield gate
    gate.set()
    del COMMANDS["test.wait"]


async def opened(key: str | None, *joins: str) -> Socket:
    socket = Socket(key)
    assert (await socket.open())[0] == "live.hello"
    for room in joins:
        assert (await socket.ask("live.join", {}, room))[0] == "live.ok"
    return socket


def is_clean(hub: Hub) -> bool:
    return not hub.rooms and not hub.connections


# --- a thread hop for every message, and one thread for everybody's ORM


@pytest.mark.asyncio
async def test_a_message_costs_no_thread_hop_of_channels(
    keys: dict[str, str], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hop() -> None:
        raise AssertionError("a thread hop")

    assert hasattr(channels.consumer, "aclose_old_connections")
    monkeypatch.setattr(channels.consumer, "aclose_old_connections", hop)
    socket = await opened(keys["bob"], GENERAL)
    assert (await socket.ask("chat.send", {"text": "hi"}))[0] == "live.ok"
    await socket.close()
    assert socket.task.exception() is None


@pytest.mark.asyncio
async def test_a_slow_command_of_one_socket_delays_no_other(
    keys: dict[str, str], hub: Hub, gate: threading.Event
) -> None:
    slow, other = await opened(keys["bob"], GENERAL), await opened(keys["alice"], "acme/lobby")
    slow.send(["test.wait", {}, {"room": GENERAL, "id": contract.new_command_id()}])
    other.send(["live.ack", {"frames": 0}])
    assert (await other.ask("nobody.knows", {}))[1]["code"] == "unknown_name"
    assert (await other.ask("live.join", {}, GENERAL))[0] == "live.ok", "a join asks the database"
    assert (await other.ask("live.leave", {}, GENERAL))[0] == "live.ok"
    third = await opened(keys["dave"], "acme/lobby")  # a handshake does too
    assert all(vector[0] != "live.ok" for vector in slow.vectors), "it was answered: nothing was slow"
    gate.set()
    assert (await slow.vector("live.ok"))[0] == "live.ok"
    for socket in (slow, other, third):
        await socket.close()


@pytest.mark.asyncio
async def test_sockets_do_not_wait_for_the_thread_that_all_of_asgiref_shares(keys: dict[str, str], hub: Hub) -> None:
    gate, occupied = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def occupy() -> None:
        loop.call_soon_threadsafe(occupied.set)
        assert gate.wait(timeout=60)

    occupant = asyncio.create_task(sync_to_async(occupy, thread_sensitive=True)())
    await occupied.wait()
    try:
        socket = await opened(keys["bob"], GENERAL)
        assert (await socket.ask("chat.send", {"text": "hi"}))[0] == "live.ok"
        assert (await socket.vector("chat.message"))[1]["message"]["text"] == "hi"
        assert not occupant.done()
    finally:
        gate.set()
    await occupant
    await socket.close()


@pytest.mark.asyncio
async def test_control_work_has_threads_of_its_own(hub: Hub) -> None:
    """Commands and log reads that wait must not hold up grants, heals and handshakes, however many they are."""
    gate = threading.Event()
    waiting = [asyncio.create_task(hub.database.work(gate.wait, 60)) for _ in range(hub.config.threads * 3)]
    try:
        assert await hub.database.control(lambda: 7) == 7
        assert not any(task.done() for task in waiting)
    finally:
        gate.set()
    await asyncio.gather(*waiting)


# --- an exception in a handler ends a consumer without disconnect()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "message",
    [
        {"text": "{"},
        {"text": ""},
        {"bytes": b"[]"},
        {"bytes": b""},
        {},
        {"text": None, "bytes": None},
        {"text": "[" * 10_000},
        {"text": '["\ud800"]'},
    ],
    ids=["bad JSON", "empty", "binary", "empty binary", "nothing", "null", "deep", "surrogate"],
)
async def test_hostile_input_is_answered_and_nothing_stays_behind(
    keys: dict[str, str], hub: Hub, message: dict[str, Any]
) -> None:
    socket = await opened(keys["bob"], GENERAL, "acme/lobby")
    socket.raw(**message)
    assert (await socket.vector("live.error"))[1]["code"] == "bad_frame"
    assert (await socket.ask("chat.send", {"text": "still here"}))[0] == "live.ok"
    await socket.close()
    assert socket.task.exception() is None
    assert is_clean(hub)


@pytest.mark.asyncio
async def test_a_frame_of_nothing_but_refusals_is_answered_and_closes_nothing(keys: dict[str, str], hub: Hub) -> None:
    """The answers are fifty times as long as the frame, and more than may wait for a client that reads nothing."""
    socket = await opened(keys["bob"])
    bad = hub.config.max_frame_bytes // 2 - 1
    socket.raw(text="[" + "1," * (bad - 1) + "1]")
    assert (await socket.ask("live.join", {}, GENERAL))[0] == "live.ok"
    assert [vector[1]["code"] for vector in socket.vectors] == ["bad_data"] * bad
    await socket.close()


@pytest.mark.asyncio
async def test_a_bug_of_ours_ends_one_socket_and_leaves_nothing_behind(
    keys: dict[str, str], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = await opened(keys["bob"], GENERAL), await opened(keys["alice"], GENERAL)
    receive = Session.receive

    def fail(self: Session, data: Any, now: float) -> Any:
        if data == "bug":
            raise RuntimeError("a bug")
        return receive(self, data, now)

    monkeypatch.setattr(Session, "receive", fail)
    broken.raw(text="bug")
    await asyncio.wait([broken.task], timeout=20)
    assert isinstance(broken.task.exception(), RuntimeError), "the server logs it"
    assert len(hub.connections) == 1
    (followed,) = hub.rooms.values()
    assert len(followed.readers) == 1
    assert (await other.ask("chat.send", {"text": "hi"}))[0] == "live.ok"
    assert (await other.vector("chat.message"))[0] == "chat.message"
    await other.close()
    assert is_clean(hub)


@pytest.mark.asyncio
async def test_a_server_that_gives_a_socket_up_leaves_nothing_behind(
    keys: dict[str, str], hub: Hub, gate: threading.Event
) -> None:
    """Cancelled at rest, and while it waits for a command before a join."""
    resting, waiting = await opened(keys["alice"], GENERAL), await opened(keys["bob"], GENERAL)
    waiting.send(
        ["test.wait", {}, {"room": GENERAL, "id": contract.new_command_id()}],
        ["live.join", {}, {"room": "acme/lobby", "id": "1"}],
    )
    for socket in (resting, waiting):
        socket.task.cancel()
        await asyncio.wait([socket.task], timeout=20)
    assert is_clean(hub)
    gate.set()
    await hub.writer.drain()
    assert is_clean(hub)


@pytest.mark.asyncio
async def test_a_client_that_goes_during_its_join_leaves_nothing_behind(keys: dict[str, str], hub: Hub) -> None:
    socket = await opened(keys["bob"])
    socket.send(*(["live.join", {}, {"room": room, "id": "1"}] for room in (GENERAL, "acme/lobby", "acme/nothing")))
    await socket.close()
    assert is_clean(hub)


@pytest.mark.asyncio
async def test_messages_of_the_layer_that_nobody_knows_end_nothing(
    keys: dict[str, str], hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "rooms.node.doorbell")
    socket = await opened(keys["bob"], GENERAL)
    await until(lambda: bool(hub.doorbell._members))
    (room,) = hub.rooms
    layer = get_channel_layer()
    assert layer is not None
    strange: list[dict[str, Any]] = [
        {"type": "nobody.knows"},
        {"type": "room.events", "version": 99},
        {"type": "room.events", "version": 1},
        {"type": "room.events", "version": 1, "sender": "x", "count": 1, "notice": b"\xc1"},
        {"type": "room.events", "version": 1, "sender": "x", "count": 2, "notice": "text"},
        {"type": "room.events", "version": 1, "sender": ["x"], "count": 3, "notice": b""},
    ]
    for message in strange:
        await layer.group_send(f"rooms.v1.{room.hex}", message)
    typing = vector("chat.typing", {"typing": True}, room=GENERAL)
    await Sender(layer, hub.config).publish(Notice(room, "", 0, [Entry(None, "chat.typing", typing)]))
    assert (await socket.vector("chat.typing"))[1] == {"typing": True}, "what another node says is heard as before"
    await socket.close()
    assert is_clean(hub)


@pytest.mark.asyncio
async def test_what_was_forged_on_the_layer_is_taken_back(keys: dict[str, str], hub: Hub) -> None:
    """Whoever can write to the layer can speak in its rooms; the log tells, a heal interval later."""
    socket = await opened(keys["bob"], GENERAL)
    await until(lambda: bool(hub.doorbell._members))
    (room,) = hub.rooms
    epoch, head = hub.rooms[room].feed.epoch, hub.rooms[room].feed.head
    assert head is not None
    seq = head + 1
    forged = vector("room.announcement", {"text": "forged", "level": "info"}, room=GENERAL, seq=seq)
    layer = get_channel_layer()
    assert layer is not None
    entry = Entry(seq, "room.announcement", forged)
    await Sender(layer, hub.config).publish(Notice(room, epoch, seq, [entry]))
    assert (await socket.vector("room.announcement"))[1]["text"] == "forged"
    await hub.heal()
    assert (await socket.vector("live.reset"))[1]["cursor"] == f"{epoch}:{head}"
    await socket.close()


# --- AsyncHttpConsumer does not see the client go


def test_no_consumer_of_ours_is_an_http_consumer() -> None:
    for found in pkgutil.walk_packages(rooms.__path__, "rooms."):
        if ".migrations." in found.name:
            continue
        module = importlib.import_module(found.name)
        for name, value in inspect.getmembers(module, inspect.isclass):
            assert not issubclass(value, AsyncHttpConsumer), f"{found.name}.{name}"

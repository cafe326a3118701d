"""Group commit: the commands of a room in their order, and nobody waits for a room that is not theirs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from rooms import contract, log, metrics
from rooms.commands import Command, Outcome
from rooms.contract import COMMANDS, Call, Refused
from rooms.models import Message, Room
from rooms.node.database import Database
from rooms.node.writer import Writer
from tests.support.threads import held_elsewhere, postgresql_only
from tests.support.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]

GENERAL, LOBBY, ANNOUNCEMENTS = "acme/general", "acme/lobby", "acme/announcements"
THREADS = 2


@pytest.fixture
def world(world: World, settings: Any) -> World:
    settings.ROOMS = {"LOCK_TIMEOUT": 30}  # longer than any of this takes: who waits, waits
    return world


@pytest_asyncio.fixture
async def database() -> AsyncIterator[Database]:
    database = Database(threads=THREADS, control_threads=1)
    yield database
    await asyncio.to_thread(database.close)


@pytest_asyncio.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    writer = Writer(database, batch=10, batches=1, lanes=THREADS // 2)
    yield writer
    await writer.drain()


@pytest.fixture
def crash(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    caplog.set_level(logging.CRITICAL, "rooms.commands")

    @contract.command("test.crash", contract.Empty)
    def crash(call: Call, data: contract.Empty) -> None:
        raise RuntimeError

    yield "test.crash"
    del COMMANDS["test.crash"]


class Stuck:
    """A command that stays in its transaction until the gate is open."""

    name = "test.wait"

    def __init__(self) -> None:
        self.began, self.gate = threading.Event(), threading.Event()


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    stuck = Stuck()

    @contract.command(stuck.name, contract.Empty)
    def wait(call: Call, data: contract.Empty) -> None:
        stuck.began.set()
        assert stuck.gate.wait(timeout=60)

    yield stuck
    stuck.gate.set()
    del COMMANDS["test.wait"]


def send(world: World, text: str, room: str = GENERAL) -> Command:
    request = contract.request("chat.send", {"text": text}, room=room, id=contract.new_command_id())
    return Command(world.users["alice"].pk, request)


def lock(*addresses: str) -> None:
    found = [Room.objects.get(tenant__slug="acme", slug=address.partition("/")[2]).pk for address in addresses]
    with log.batch() as batch:
        batch.lock(found)


def seqs(outcomes: list[Outcome]) -> list[int]:
    assert all(isinstance(one, bytes) for one in outcomes), outcomes
    return [msgspec.json.decode(one)["seq"] for one in outcomes if isinstance(one, bytes)]


def texts(address: str) -> list[str]:
    slug = address.partition("/")[2]
    return list(Message.objects.filter(room__slug=slug, room__tenant__slug="acme").values_list("text", flat=True))


async def test_the_commands_of_a_room_take_effect_in_their_order(
    world: World, database: Database, writer: Writer
) -> None:
    said = [(str(n), GENERAL if n % 3 else LOBBY) for n in range(60)]
    outcomes = await asyncio.gather(*(writer.submit(send(world, text, room)) for text, room in said))
    for address in (GENERAL, LOBBY):
        wanted = [text for text, room in said if room == address]
        assert await database.work(texts, address) == wanted
        mine = seqs([one for one, (_, room) in zip(outcomes, said, strict=True) if room == address])
        assert mine == sorted(mine)


async def test_what_comes_while_a_batch_is_committed_goes_into_the_next_one(world: World, writer: Writer) -> None:
    before = metrics.batches._value.get()
    await asyncio.gather(*(writer.submit(send(world, str(n))) for n in range(40)))
    assert metrics.batches._value.get() - before <= 5, "40 commands, 10 a batch, and perhaps the first one alone"


async def test_a_command_that_fails_is_an_outcome_and_the_writer_goes_on(
    world: World, writer: Writer, crash: str
) -> None:
    request = contract.request(crash, {}, room=GENERAL, id=contract.new_command_id())
    first = writer.submit(send(world, "one"))
    failed = writer.submit(Command(world.users["alice"].pk, request))
    last = writer.submit(send(world, "two"))
    outcome = await failed
    assert isinstance(outcome, Refused)
    assert outcome.code == "unavailable"
    assert len(seqs([await first, await last])) == 2


async def test_a_client_that_is_gone_does_not_undo_its_commands(
    world: World, database: Database, writer: Writer
) -> None:
    abandoned = writer.submit(send(world, "one"))
    abandoned.cancel()
    await writer.submit(send(world, "two"))
    assert await database.work(texts, GENERAL) == ["one", "two"]


async def test_drained_means_that_everything_has_its_outcome(world: World, writer: Writer) -> None:
    futures = [writer.submit(send(world, str(n), room)) for n in range(25) for room in (GENERAL, LOBBY)]
    await writer.drain()
    assert all(future.done() for future in futures)


@postgresql_only
async def test_another_tenant_is_committed_beside_a_batch_that_takes_long(
    world: World, database: Database, stuck: Stuck
) -> None:
    writer = Writer(database, batch=10, batches=2, lanes=1)
    request = contract.request(stuck.name, {}, room=GENERAL, id=contract.new_command_id())
    flood = [writer.submit(Command(world.users["alice"].pk, request))]
    assert await asyncio.to_thread(stuck.began.wait, 60)
    flood += [writer.submit(send(world, str(n))) for n in range(25)]
    for _ in range(2):
        request = contract.request("chat.send", {"text": "hi"}, room="globex/general", id=contract.new_command_id())
        assert isinstance(await writer.submit(Command(world.users["carol"].pk, request)), bytes)
    assert not any(future.done() for future in flood), "a tenant is in one batch at a time"
    stuck.gate.set()
    outcomes = await asyncio.gather(*flood)
    assert seqs(outcomes[1:]) == sorted(seqs(outcomes[1:]))
    assert await database.work(texts, GENERAL) == [str(n) for n in range(25)]
    await writer.drain()


@postgresql_only
async def test_a_room_that_is_held_waits_in_order_and_the_others_do_not(
    world: World, database: Database, writer: Writer
) -> None:
    with held_elsewhere(partial(lock, GENERAL)) as end:
        waiting = [writer.submit(send(world, f"early {n}")) for n in range(3)]
        await writer.submit(send(world, "free", LOBBY))
        waiting += [writer.submit(send(world, f"late {n}")) for n in range(15)]
        await writer.submit(send(world, "free too", LOBBY))
        assert not any(future.done() for future in waiting)
        await asyncio.to_thread(end)
        outcomes = await asyncio.gather(*waiting)
    wanted = [*(f"early {n}" for n in range(3)), *(f"late {n}" for n in range(15))]
    assert await database.work(texts, GENERAL) == wanted
    assert seqs(outcomes) == sorted(seqs(outcomes))
    await writer.submit(send(world, "afterwards"))


@postgresql_only
async def test_more_held_rooms_than_threads_hold_up_neither_other_rooms_nor_reads(
    world: World, database: Database, writer: Writer
) -> None:
    with held_elsewhere(partial(lock, GENERAL, ANNOUNCEMENTS, "acme/board")) as end:
        held = (GENERAL, ANNOUNCEMENTS, "acme/board")
        waiting = [writer.submit(send(world, "x", room)) for room in held]
        await writer.submit(send(world, "free", LOBBY))
        await writer.submit(send(world, "free", LOBBY))
        assert await database.work(texts, LOBBY) == ["free", "free"]
        assert not any(future.done() for future in waiting)
        await asyncio.to_thread(end)
        assert len(seqs(list(await asyncio.gather(*waiting)))) == 3

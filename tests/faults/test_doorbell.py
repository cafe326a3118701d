"""The channel layer may lie: readers' histories are the log's all the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from channels.layers import channel_layers
from django.contrib.auth import get_user_model

from rooms import contract, log
from rooms.commands import Command
from rooms.conf import Config
from rooms.contract import Cursor, Part
from rooms.models import Room
from rooms.node import running
from rooms.node.hub import Hub
from rooms.services import members, rooms, tenants
from tests.support.faulty_layer import FaultyLayer
from tests.support.listeners import Listener, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]

ADDRESS = "acme/general"
HEALING = Config(heal_interval=0.1, gap_grace=0.01, publish_timeout=0.2, breaker_pause=0.1)
NOT_HEALING = Config(heal_interval=3600, gap_grace=3600, publish_timeout=0.2, breaker_pause=0.1)


@pytest.fixture
def people() -> list[Any]:
    users = [get_user_model().objects.create(username=name) for name in ("alice", "bob")]
    tenant = tenants.create("acme", name="Acme", owner=users[0])
    members.set_role(tenant, users[1])
    room = rooms.create(tenant, "general", name="General")
    members.set_part(room, users[1], Part.SPEAKER)
    return [user.pk for user in users]


@asynccontextmanager
async def nodes(layer: FaultyLayer, config: Config) -> AsyncIterator[tuple[Hub, Hub]]:
    """Two nodes on one layer and one log. The first one announces what this process commits."""
    before = channel_layers.set("default", layer)
    first, second = Hub(config), Hub(config)
    running._hub = first
    first.start()
    second.start()
    try:
        yield first, second
    finally:
        running._hub = None
        await first.stop()
        await second.stop()
        channel_layers.set("default", before)


async def say(hub: Hub, user: Any, text: str) -> None:
    id = contract.new_command_id()
    outcome = await hub.writer.submit(Command(user, contract.request("chat.send", {"text": text}, room=ADDRESS, id=id)))
    assert isinstance(outcome, bytes), outcome


async def talk(hub: Hub, people: list[Any], lines: int) -> None:
    async def one(user: Any) -> None:
        for number in range(lines):
            await say(hub, user, f"{user} says {number}")

    await asyncio.gather(*map(one, people))


async def history(hub: Hub, after: int) -> list[Any]:
    room = await hub.database.work(Room.objects.get, slug="general")
    reading = await hub.database.work(log.read, room.pk, after, 10_000)
    assert reading is not None
    return [msgspec.json.decode(entry.vector) for entry in reading.entries]


@pytest.mark.parametrize("seed", range(5))
async def test_histories_are_the_log_when_the_layer_drops_doubles_and_reorders(people: list[Any], seed: int) -> None:
    layer = FaultyLayer(seed)
    async with nodes(layer, HEALING) as (first, second):
        listeners = [
            Listener(hub, user, n) for n, (hub, user) in enumerate([(first, people[0]), (second, people[1])] * 3)
        ]
        for listener in listeners:
            await listener.join(ADDRESS)
        start = listeners[0].place_joined
        await asyncio.gather(talk(first, people, 40), talk(second, people, 40))
        truth = await history(first, start)
        assert len(truth) == 160
        for listener in listeners:
            await listener.until(lambda l: l.place >= truth[-1][2]["seq"])
            assert listener.events == truth
    assert min(layer.faults["dropped"], layer.faults["doubled"], layer.faults["reordered"]) > 0


async def test_rooms_stay_live_while_the_layer_is_dead_and_after_it_came_back(people: list[Any]) -> None:
    layer = FaultyLayer(drop=0, double=0, reorder=0)
    async with nodes(layer, HEALING) as (first, second):
        far = Listener(second, people[1])
        joined = await far.join(ADDRESS)
        layer.dead = True
        await talk(first, people, 20)
        late = Listener(second, people[0], 2)  # a join does not wait for the layer
        await late.join(ADDRESS, Cursor(joined.cursor.epoch, joined.head))
        truth = await history(first, joined.head)
        for listener in (far, late):
            await listener.until(lambda l: l.place >= truth[-1][2]["seq"])
            assert listener.events == truth
        layer.dead = False
        await talk(first, people, 20)
        truth = await history(first, joined.head)
        await far.until(lambda l: l.place >= truth[-1][2]["seq"])
        assert far.events == truth
    assert layer.faults["refused"] > 0


async def test_without_healing_a_lying_layer_would_lose_events(people: list[Any]) -> None:
    """What the tests above prove is the healing's work, and not the layer's good behaviour."""
    layer = FaultyLayer(seed=0)
    async with nodes(layer, NOT_HEALING) as (first, second):
        near, far = Listener(first, people[0]), Listener(second, people[1], 1)
        await near.join(ADDRESS)
        await far.join(ADDRESS)
        await until(
            lambda: set(second.doorbell._members) >= set(second.rooms)
        )  # what is lost then is the layer's doing
        await talk(first, people, 40)
        truth = await history(first, near.place_joined)
        await near.until(lambda l: l.place >= truth[-1][2]["seq"])
        await until(lambda: not first.doorbell._outgoing)  # everything that will ever be sent was sent,
        heard = layer.channels.get(second.doorbell._channel)
        await until(lambda: heard is None or heard.empty())  # and heard
        assert near.events == truth
        assert far.events != truth
        assert far.seqs == [vector[2]["seq"] for vector in truth[: len(far.seqs)]]  # in order, as far as it goes
    assert layer.faults["dropped"] > 0

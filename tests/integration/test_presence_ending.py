"""A node ends what an administrator has marked, whether or not it was told of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_asyncio
from django.db import transaction

from presence import directory, store
from presence.conf import config
from presence.contract import DISCONNECTED
from presence.disconnect import disconnect
from presence.models import Connection
from presence.tracker import Tracker
from rooms.contract import Person
from rooms.delivery.session import Join, Listening
from rooms.identity import Identity
from rooms.models import AuditEntry, Room
from rooms.node import running
from rooms.node.hub import Hub
from rooms.transports.poll import ANSWERED, Poll
from tests.integration.conftest import QUIET
from tests.support.listeners import TERMS, Listener, until
from tests.support.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=[3_600, 0.1], ids=["told", "not told"])
def renewal(request: pytest.FixtureRequest, settings: Any) -> float:
    """Seconds between the looks of a node that hears nothing."""
    period: float = request.param
    settings.PRESENCE = {"RENEWAL": period, "LEASE": period * 2 + 60, "LEAVE_GRACE": 0.2, "FLUSH": 0.01}
    config()
    return period


@pytest_asyncio.fixture
async def node(renewal: float) -> AsyncIterator[Hub]:
    """This process is a node that keeps count of people."""
    hub = running._hub = Hub(QUIET, attendance=Tracker)
    hub.start()
    yield hub
    await running.stop()


async def test_a_marked_connection_is_closed_and_the_others_stay(
    node: Hub, world: World, room: Room, renewal: float
) -> None:
    ann, bob = (Listener(node, world.users[name].pk, number) for number, name in enumerate(("ann", "bob")))
    with ExitStack() as stack:
        for listener in (ann, bob):
            stack.enter_context(node.holding(listener.connection))
            await listener.join("acme/general")
        await bob.until(lambda heard: any(len(people(vector)) == 2 for vector in heard.vectors))
        if renewal < 1:
            await node.database.work(store.mark, await node.database.work(keys, "bob"))  # the order is lost on its way
        else:
            assert await node.database.work(order, "bob") == 1
        await bob.until(lambda heard: heard.closed is not None)
        assert bob.closed == DISCONNECTED
        assert ann.closed is None
        assert ["live.bye", {"code": 4440, "reason": "disconnected by an administrator"}] in bob.vectors


@pytest.mark.parametrize("renewal", [3_600], indirect=True)
@pytest.mark.parametrize("how", ["lost", "disconnected"])
async def test_a_poll_that_ends_before_its_rooms_are_joined_leaves_them(
    node: Hub, world: World, room: Room, how: str
) -> None:
    ann = Listener(node, world.users["ann"].pk)
    with node.holding(ann.connection):
        await ann.join("acme/general")
        first = poll(node, world.users["bob"].pk, "poll-1")
        with node.holding(first):
            await first.join(Join("acme/general", "acme/general", None))
            first.closed = ANSWERED
        await ann.until(
            lambda heard: any(told(vector, "joined") or len(people(vector)) == 2 for vector in heard.vectors)
        )
        if how == "disconnected":
            assert await node.database.work(order, "bob") == 1
        second = poll(node, world.users["bob"].pk, "poll-2", continues="poll-1")
        with node.holding(second):
            if how == "disconnected":
                await until(lambda: second.closed == DISCONNECTED)
        await ann.until(lambda heard: any(told(vector, "left") for vector in heard.vectors), seconds=20)


def poll(hub: Hub, user: Any, id: str, continues: str | None = None) -> Poll:
    who = Identity(user, Person(str(user), "somebody"), None)
    resumes = continues is not None
    listening = Listening(TERMS, time.monotonic())
    return Poll(hub, listening, id=id, who=who, cursor="", leave=list, resumes=resumes, continues=continues)


def told(vector: Any, change: str) -> list[Any]:
    """The people in this part of a difference."""
    name, data, *_ = vector
    return list(data[change]) if name == "presence.diff" else []


def people(vector: Any) -> list[Any]:
    """Of the state that a vector tells."""
    name, data, *_ = vector
    return list(data["people"]) if name == "presence.state" else []


def keys(name: str) -> list[Any]:
    return list(Connection.objects.filter(user__username=name).values_list("pk", flat=True))


def order(name: str) -> int:
    with transaction.atomic():
        rows = directory.open_connections().filter(user__username=name)
        ended = disconnect(rows, rooms=Room.objects.all(), by=None)
        assert not AuditEntry.objects.filter(what="connection").exclude(subject_name=name).exists()
    return len(ended)

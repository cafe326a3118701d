"""A world to read and write, and what is heard of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from rooms import log
from rooms.conf import Config
from rooms.contract import new_command_id
from rooms.delivery.frames import Notice
from rooms.models import Room
from rooms.node import running
from rooms.node.hub import Hub
from rooms.signals import committed
from tests.support.listeners import Listener
from tests.support.logs import with_totals
from tests.support.world import World, make_world

QUIET = Config(heal_interval=3_600, grant_ttl=3_600)  # nothing happens but what a test does


@pytest.fixture
def world(db: None) -> World:
    """Where a test is marked with ``transaction=True``, all of it is committed."""
    return make_world()


@pytest.fixture
def room(world: World) -> Room:
    return world.room("acme/general")


@pytest.fixture
def start(room: Room) -> int:
    """Where its log stands."""
    return log.position(room).seq


@pytest.fixture
def test_total() -> Iterator[None]:
    with with_totals():
        yield


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[Hub]:
    """This process is a node."""
    hub = running._hub = Hub(QUIET)
    hub.start()
    yield hub
    await running.stop()


@pytest_asyncio.fixture
async def bob(hub: Hub, world: World) -> Listener:
    """A connection of bob's, joined to nothing."""
    return Listener(hub, world.users["bob"].pk)


@pytest.fixture
def announced() -> Iterator[list[Notice]]:
    """What was announced: the notices of each commit, in order."""
    heard: list[Notice] = []

    def hear(sender: Any, notices: list[Notice], **kwargs: Any) -> None:
        heard.extend(notices)

    committed.connect(hear)
    yield heard
    committed.disconnect(hear)


@pytest.fixture
def key() -> str:
    """An Idempotency-Key."""
    return new_command_id()

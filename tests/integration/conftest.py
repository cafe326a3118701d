"""A world to read and write, and what is heard of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rooms.contract import new_command_id
from rooms.delivery.frames import Notice
from rooms.signals import committed
from tests.support import world as worlds
from tests.support.world import World


@pytest.fixture
def make_world() -> Callable[[], World]:
    """For tests with a mark of their own for the database."""
    return worlds.make_world


@pytest.fixture
def world(db: None) -> World:
    return worlds.make_world()


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

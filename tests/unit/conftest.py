"""No database here: what a test needs is data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from rooms import contract
from rooms.delivery.session import Session, Terms

TERMS = Terms(
    window=8,
    max_frame_bytes=1_000,
    max_rooms=2,
    heartbeat=25,
    heartbeat_grace=10,
    stall_timeout=30,
    idle_timeout=120,
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.any_backend)


@pytest.fixture
def terms() -> Terms:
    return TERMS


@pytest.fixture
def session(terms: Terms) -> Session:
    return Session(terms, now=0)


class Vote(msgspec.Struct, forbid_unknown_fields=True):
    option: int


@pytest.fixture
def host_commands() -> Iterator[None]:
    """``test.vote``, and ``test.rest_only`` that no frame may name; gone afterwards."""
    before = dict(contract.COMMANDS)
    contract.command("test.vote", Vote)(lambda call, data: None)
    contract.command("test.rest_only", Vote, wire=False)(lambda call, data: None)
    yield
    contract.COMMANDS.clear()
    contract.COMMANDS.update(before)

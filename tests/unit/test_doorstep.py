"""Whom a limit turns away waits a moment; not all of them."""

from __future__ import annotations

import asyncio

import pytest

from rooms.node import doorstep
from rooms.node.doorstep import WAITING, Doorstep


async def test_so_many_of_an_address_wait_and_the_next_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorstep, "MOMENT", 3_600)
    step = Doorstep()
    tasks = [asyncio.ensure_future(step.wait(address)) for address in ["192.0.2.1"] * (WAITING + 5) + ["192.0.2.2"]]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(step)) == (5, WAITING + 1)
    for task in waiting:  # their clients go
        task.cancel()
    await asyncio.wait(waiting)
    assert len(step) == 0


async def test_a_moment_later_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorstep, "MOMENT", 0)
    step = Doorstep()
    async with asyncio.timeout(30):
        await asyncio.gather(*(step.wait("192.0.2.1") for _ in range(WAITING)))
    assert len(step) == 0

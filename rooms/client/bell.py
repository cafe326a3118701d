"""Waking those who wait, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


class Bell:
    """Rung when something may have changed; each listener looks for itself what it was."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Event] = set()

    def ring(self) -> None:
        for listener in self._listeners:
            listener.set()

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """What rings after this is not missed."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


async def rung(listener: asyncio.Event, until: float | None) -> None:
    """Wait for the bell, or for this time of the loop's clock; None for no time."""
    try:
        async with asyncio.timeout_at(until):
            await listener.wait()
    except TimeoutError:
        pass
    listener.clear()


async def first(*coroutines: Coroutine[Any, Any, Result]) -> Result:
    """What the first of these to end gives or raises; the others are cancelled, and have ended when this returns."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task.result() for task in tasks if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

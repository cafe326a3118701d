"""The node's threads for ORM work: a bounded pool, and a few of its own for control work.

Outside an HTTP request asgiref runs all ``sync_to_async`` of a process on one thread: one slow query there delays every
socket. These pools share nothing with it, and heals, grants and handshakes never queue behind commands.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import connection, connections

from rooms.node.turns import Turns

P = ParamSpec("P")
T = TypeVar("T")

CHUNK = 500  # rooms, grants or credentials that are asked about in one query

_open: weakref.WeakSet[Database] = weakref.WeakSet()


class Database:
    """Two bounded pools, and a thread for upkeep; what does not fit waits, and tenants have turns.

    A thread keeps a SQLite connection open between jobs (opening one takes longer than a commit); any other one goes
    back to the driver's pool after each job, so that the node holds no more of them than it has threads at work.
    """

    def __init__(self, *, threads: int, control_threads: int) -> None:
        self._work = _Pool(threads, "rooms-work")
        self._control = _Pool(control_threads, "rooms-control")
        self._upkeep = _Pool(1, "rooms-upkeep")
        _open.add(self)

    @property
    def writes_at_once(self) -> bool:
        """Whether transactions can write beside each other: SQLite has one writer."""
        return connection.vendor != "sqlite"

    async def work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run on a thread for commands and log reads; exceptions come back."""
        return await self._work.run("", lambda: _job(function, *args, **kwargs))

    async def work_for(self, whose: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As :meth:`work`, in this tenant's turn."""
        return await self._work.run(whose, lambda: _job(function, *args, **kwargs))

    async def control(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run on a thread kept for heals, grants and handshakes."""
        return await self._control.run("", lambda: _job(function, *args, **kwargs))

    async def control_for(self, whose: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As :meth:`control`, in the turn of whoever asks: what one person floods delays another by a job."""
        return await self._control.run(whose, lambda: _job(function, *args, **kwargs))

    async def upkeep(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run on the thread that may wait for the disk, while nobody waits for it."""
        return await self._upkeep.run("", lambda: _job(function, *args, **kwargs))

    def close(self) -> None:
        """Finish what runs, drop what waits. May be called twice."""
        for pool in (self._work, self._control, self._upkeep):
            pool.close()
        _open.discard(self)


class _Pool:
    """Threads, and who waits for one. It is used from one event loop."""

    def __init__(self, threads: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._waiting: Turns[asyncio.Future[None]] = Turns()

    async def run(self, whose: str, job: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        if self._free:
            self._free -= 1
        else:
            turn = loop.create_future()
            self._waiting.put(turn, whose)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # it had just come
                    self._next()
                raise
        try:
            running = loop.run_in_executor(self._executor, job)
        except BaseException:
            self._next()
            raise
        running.add_done_callback(lambda _: self._next())
        return await running

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _next(self) -> None:
        """A thread is free."""
        while self._waiting:
            (turn,) = self._waiting.take()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def chunks(items: list[T]) -> Iterator[list[T]]:
    """As many at a time as go into one query."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def close() -> None:
    """Close all pools of this process; for the teardown of test databases."""
    for database in list(_open):
        database.close()


def _job(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return function(*args, **kwargs)
    finally:
        for each in connections.all(initialized_only=True):
            if each.vendor != "sqlite" or each.errors_occurred:
                each.close()

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

from django.db import connections

P = ParamSpec("P")
T = TypeVar("T")

CHUNK = 500  # rooms, grants or credentials that are asked about in one query

_open: weakref.WeakSet[Database] = weakref.WeakSet()


class Database:
    """Two bounded pools; what does not fit waits in their queues.

    A thread keeps a SQLite connection open between jobs (opening one takes longer than a commit); any other one goes
    back to the driver's pool after each job, so that the node holds no more of them than it has threads at work.
    """

    def __init__(self, *, threads: int, control_threads: int) -> None:
        self._work = ThreadPoolExecutor(threads, thread_name_prefix="rooms-work")
        self._control = ThreadPoolExecutor(control_threads, thread_name_prefix="rooms-control")
        _open.add(self)

    async def work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run on a thread for commands and log reads; exceptions come back."""
        return await asyncio.get_running_loop().run_in_executor(self._work, lambda: _job(function, *args, **kwargs))

    async def control(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run on a thread kept for heals, grants and handshakes."""
        return await asyncio.get_running_loop().run_in_executor(self._control, lambda: _job(function, *args, **kwargs))

    def close(self) -> None:
        """Finish what runs, drop what waits. May be called twice."""
        for pool in (self._work, self._control):
            pool.shutdown(wait=True, cancel_futures=True)
        _open.discard(self)


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
        for connection in connections.all(initialized_only=True):
            if connection.vendor != "sqlite" or connection.errors_occurred:
                connection.close()

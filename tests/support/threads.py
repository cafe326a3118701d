"""Other connections to the database: each thread here has one of its own, and gives it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, connections, transaction

postgresql_only = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="row locks: SQLite has one writer at a time (--backend servers)"
)


@contextmanager
def elsewhere() -> Iterator[Callable[..., Future[Any]]]:
    """A thread that does what it is given, one after the other, over one connection: another process, as it were."""
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit
        finally:
            pool.submit(connections.close_all).result()


@contextmanager
def held_elsewhere(function: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """A transaction elsewhere in which ``function`` was called; it is rolled back at the end, or by what this gives."""
    with elsewhere() as do:
        block = transaction.atomic()
        do(block.__enter__).result()
        do(function).result()
        is_open = True

        def end() -> None:
            nonlocal is_open
            if is_open:
                is_open = False
                do(transaction.set_rollback, True).result()
                do(block.__exit__, None, None, None).result()

        try:
            yield end
        finally:
            end()


def at_once(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call each in a thread of its own, all of them started together; what they gave, in the order of the functions."""
    start = Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        try:
            start.wait(timeout=30)
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


def waits_for_a_lock() -> bool:
    """Whether some connection to this database waits for another one's lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])

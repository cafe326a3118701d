"""What a peer is to the benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.load import Talk


@dataclass(frozen=True)
class Server:
    """One that runs.

    :param pids: what it takes to serve, Valkey and PostgreSQL too; what these have started counts as well.
    """

    port: int
    talk: Talk
    pids: tuple[int, ...]


@dataclass(frozen=True)
class Peer:
    """
    :param start: on the core that the caller is on, until the block ends; raises ``Failed``.
    :param largest: readers in a room that it is asked to serve, so that a run ends.
    :param largest_resting: readers who say nothing.
    """

    name: str
    title: str
    start: Callable[[Bench], AbstractContextManager[Server]]
    largest: int = 5_000
    largest_resting: int = 10_000

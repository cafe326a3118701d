"""Group commit: the commands of all connections of this node, many in one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import Any

import msgspec

from rooms import commands, metrics
from rooms.commands import Command, Outcome, Postponed
from rooms.contract import Refused
from rooms.delivery.session import error, ok
from rooms.node.database import Database
from rooms.node.turns import Turns

logger = logging.getLogger(__name__)


Waiting = tuple[Command, "asyncio.Future[Outcome]"]


def told(id: str | None, outcome: Outcome) -> bytes | None:
    """The vector that answers a command; None for one without an id that was done."""
    if isinstance(outcome, Refused):
        return error(outcome, id)
    return ok(id, msgspec.Raw(outcome)) if id is not None and isinstance(outcome, bytes) else None


class Writer:
    """Takes commands in the order in which they come and commits them in batches.

    While one batch is being committed the next one gathers, so a batch is as large as the load makes it and a lone
    command waits for nobody. Where more wait than a batch takes, tenants have turns, and the people of a tenant: one
    who floods is committed as fast as there is room. Commands of one person in a tenant keep their order, for a tenant
    is in one batch at a time. A room whose row another transaction holds gets a lane of its own, where its commands
    wait for it in that order; nobody else waits with them.

    :param batches: how many are committed at once: with a second one nobody waits for what others flood.
    :param lanes: how many of them may wait in the database at once: each takes a thread, and some must stay free.
    :param waiting: commands of one tenant that may wait; one more is refused.
    """

    def __init__(self, database: Database, *, batch: int, batches: int, lanes: int, waiting: int = 10_000) -> None:
        self._database = database
        self._batch = batch
        self._free = batches
        self._at_work: set[str] = set()  # tenants whose commands are being committed
        self._most = waiting
        self._queue: Turns[Waiting] = Turns()
        self._lanes: dict[str, deque[Waiting]] = {}
        self._patient = asyncio.Semaphore(lanes)
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, command: Command) -> asyncio.Future[Outcome]:
        """The outcome is the answer as JSON, or a :class:`Refused`; the future never fails."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        room = command.request.room
        tenant = room.partition("/")[0]
        lane = self._lanes.get(room)
        if max(self._queue.of(tenant), len(lane or ())) >= self._most:
            metrics.limited.labels("waiting_per_tenant").inc()
            future.set_result(Refused("unavailable", "Too much of this tenant waits already.", retry_after_ms=1_000))
        elif lane is not None:
            lane.append((command, future))
        else:
            self._queue.put((command, future), tenant, command.user)
            if self._free and tenant not in self._at_work:
                self._free -= 1
                self._start(self._run())
        return future

    async def drain(self) -> None:
        """Wait until everything that was submitted has its outcome."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self) -> None:
        try:
            while taken := self._queue.take(self._batch, but=self._at_work):
                tenants = {command.request.room.partition("/")[0] for command, _ in taken}
                self._at_work |= tenants
                try:
                    postponed = await self._commit(taken, skip_locked=True)
                finally:
                    self._at_work -= tenants
                if postponed:
                    self._to_lanes(postponed)
        finally:
            self._free += 1

    def _to_lanes(self, postponed: list[Waiting]) -> None:
        """Give each held room its lane, with what was queued behind the postponed commands after them."""
        rooms = {command.request.room for command, _ in postponed}
        behind = self._queue.remove(lambda waiting: waiting[0].request.room in rooms)
        for waiting in [*postponed, *behind]:
            room = waiting[0].request.room
            if room not in self._lanes:
                self._lanes[room] = deque()
                self._start(self._run_lane(room))
            self._lanes[room].append(waiting)

    async def _run_lane(self, room: str) -> None:
        lane = self._lanes[room]
        try:
            while lane:
                async with self._patient:
                    taken = [lane.popleft() for _ in range(min(self._batch, len(lane)))]
                    await self._commit(taken, skip_locked=False)
        finally:
            del self._lanes[room]

    async def _commit(self, taken: list[Waiting], *, skip_locked: bool) -> list[Waiting]:
        """Gives what was postponed."""
        metrics.batches.inc()
        outcomes: list[Outcome]
        try:
            outcomes = await self._database.work(
                commands.perform_many, [command for command, _ in taken], skip_locked=skip_locked
            )
        except Exception:
            logger.exception("a batch of %d commands failed", len(taken))
            outcomes = [Refused("unavailable", "This could not be done now.")] * len(taken)
        postponed = []
        for waiting, outcome in zip(taken, outcomes, strict=True):
            if isinstance(outcome, Postponed):
                postponed.append(waiting)
            elif not waiting[1].done():
                waiting[1].set_result(outcome)
        return postponed

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

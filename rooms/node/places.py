"""Places for requests that each take a thread: a bounded number at once, and nobody has them all.

Threads of Python share one processor, and whoever is not on it waits up to 5 ms each time for who is. So what one
person asks for at once delays everybody else more than the same one after the other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from rooms import metrics
from rooms.contract import Refused
from rooms.node.turns import Turns

READS, WRITES = 2, 1  # of a person at once
WAITING = 1_000  # of one tenant; one more is refused

Person = tuple[Hashable, bool]  # who, and whether they write


class Places:
    """Half of them at most for one tenant, and for one person there :data:`READS` and :data:`WRITES`. Who finds none
    waits: tenants have turns, and the people of a tenant.

    It is used from one event loop.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._of_a_tenant = max(1, count // 2)
        self._busy: Counter[str] = Counter()
        self._at: Counter[tuple[str, Person]] = Counter()
        self._waiting: Turns[tuple[asyncio.Future[None], str, Person]] = Turns()

    @asynccontextmanager
    async def place(self, tenant: str, name: Hashable, *, writes: bool = False) -> AsyncIterator[None]:
        """:raises Refused: ``unavailable``, when too many of this tenant wait."""
        if self._waiting.of(tenant) >= WAITING:
            metrics.limited.labels("waiting_per_tenant").inc()
            raise Refused("unavailable", "Too much of this tenant waits already.", retry_after_ms=1_000)
        turn, person = asyncio.get_running_loop().create_future(), (name, writes)
        self._waiting.put((turn, tenant, person), tenant, person)
        self._give()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():  # it has had its place, or had just got it
                self._free += 1
                self._busy -= Counter({tenant: 1})  # which forgets those that have none
                self._at -= Counter({(tenant, person): 1})
                self._give()

    def _may(self, tenant: str, person: Hashable) -> bool:
        assert isinstance(person, tuple)
        most = WRITES if person[1] else READS
        return self._busy[tenant] < self._of_a_tenant and self._at[tenant, person] < most

    def _give(self) -> None:
        while self._free and (found := self._waiting.take_one(self._may)) is not None:
            turn, tenant, person = found
            if not turn.done():
                self._free -= 1
                self._busy[tenant] += 1
                self._at[tenant, person] += 1
                turn.set_result(None)

"""How many connections are open, and whose: every one has a seat.

An address and the node are counted here alone. A user and a tenant are counted over all nodes where these share a
store: whoever has more than a few here is told of, as a number in a slot of time that is over in seconds. So what a
node that was killed had told is forgotten by itself.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, NamedTuple

from rooms import metrics
from rooms.contract import Refused
from rooms.limits import LIMITS, Amounts
from rooms.node.store import Store

SLOT = 4  # seconds; what another node had open is forgotten within two of them
UNTOLD = 16  # a user or a tenant with less than this part of the limit on one node is not told of
COME_BACK = (2.0, 10.0)  # seconds: somebody has to leave first, and does not say when

Key = tuple[str, str]  # the limit, and whose


class Seat:
    """One connection's. It is given back when the block ends; a long-poller's is kept until the next poll takes it."""

    __slots__ = ("_seats", "_timer", "address", "lingers", "tenants", "user")

    def __init__(self, seats: Seats, user: str, address: str, *, lingers: float) -> None:
        self._seats = seats
        self._timer: asyncio.TimerHandle | None = None
        self.user = user
        self.address = address
        self.lingers = lingers
        self.tenants: Counter[str] = Counter()  # rooms joined in each

    def enter(self, tenant: str) -> Refused | None:
        """Join one more room of this tenant."""
        if tenant not in self.tenants:
            refused = self._seats.enter(self.user, tenant)
            if refused is not None:
                return refused
        self.tenants[tenant] += 1
        return None

    def leave(self, tenant: str) -> None:
        self.tenants[tenant] -= 1
        if self.tenants[tenant] <= 0 and not self.lingers:
            self._forget(tenant)

    def settle(self) -> None:
        """A poll has joined its rooms: the tenants of the poll before it that it did not ask for are left."""
        for tenant in [tenant for tenant, rooms in self.tenants.items() if rooms <= 0]:
            self._forget(tenant)

    def wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self.lingers, self.end)

    def take_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        for tenant in list(self.tenants):
            self._forget(tenant)
        self._seats.end(self)

    def _forget(self, tenant: str) -> None:
        del self.tenants[tenant]
        self._seats.exit(self.user, tenant)

    def __enter__(self) -> Seat:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.lingers:
            self._seats.keep(self)
        else:
            self.end()


class Seats:
    """Of one node; they live on its loop.

    :param tenants: the limits of tenants that have some of their own, as they are now.
    """

    def __init__(
        self,
        amounts: Amounts,
        tenants: Callable[[], Mapping[str, Amounts]],
        *,
        store: Store | None = None,
        run: Callable[[Coroutine[Any, Any, None]], Any] | None = None,
    ) -> None:
        self._amounts = amounts
        self._tenants = tenants
        self._store = store
        self._run = run
        self._counts: Counter[Key] = Counter()
        self._elsewhere: dict[Key, int] = {}  # on the other nodes
        self._told: dict[Key, _Told] = {}
        self._telling: set[Key] = set()
        self._lingering: dict[str, list[Seat]] = {}  # of long-pollers who are about to come back, by user
        self.kept_at = -math.inf  # when the last of them was answered, by the loop's clock

    # --- coming and going

    def take(self, user: str | None, address: str, *, lingers: float = 0) -> Seat:
        """A seat for a connection of this user, or of nobody in particular.

        :param lingers: seconds that the seat is kept when the connection has ended.
        :raises Refused: ``too_many_connections``.
        """
        person = user if user is not None else f"@{address}"
        if lingers and (waiting := self._lingering.get(person)):
            seat = waiting.pop()
            if not waiting:
                del self._lingering[person]
            seat.take_over()
            return seat
        wanted = [
            ("connections_per_node", ""),
            ("connections_per_address", address),
            ("connections_per_user", user or ""),
        ]
        keys: list[Key] = [(name, whose) for name, whose in wanted if whose or name == "connections_per_node"]
        for key in keys:
            self._require(self._amounts, key)
        for key in keys:
            self._change(key, 1)
        return Seat(self, person, address, lingers=lingers)

    def keep(self, seat: Seat) -> None:
        loop = asyncio.get_running_loop()
        self._lingering.setdefault(seat.user, []).append(seat)
        self.kept_at = loop.time()
        seat.wait(loop)

    def end(self, seat: Seat) -> None:
        waiting = self._lingering.get(seat.user, [])
        if seat in waiting:
            waiting.remove(seat)
            if not waiting:
                del self._lingering[seat.user]
        self._change(("connections_per_node", ""), -1)
        if seat.address:
            self._change(("connections_per_address", seat.address), -1)
        if not seat.user.startswith("@"):
            self._change(("connections_per_user", seat.user), -1)

    # --- tenants

    def enter(self, user: str, tenant: str) -> Refused | None:
        """A connection joins its first room of this tenant."""
        amounts = self._tenants().get(tenant, self._amounts)
        keys = [("connections_per_tenant", tenant)]
        if amounts is not self._amounts:
            keys.append(("connections_per_user", f"{user}/{tenant}"))
        try:
            for key in keys:
                self._require(amounts, key)
        except Refused as refused:
            return refused
        self._change(("connections_per_tenant", tenant), 1)
        self._change(("connections_per_user", f"{user}/{tenant}"), 1)
        return None

    def exit(self, user: str, tenant: str) -> None:
        self._change(("connections_per_tenant", tenant), -1)
        self._change(("connections_per_user", f"{user}/{tenant}"), -1)

    # --- counting

    def count(self, name: str, whose: str = "") -> int:
        """Here, and on the other nodes as far as they have told."""
        return self._counts[name, whose] + self._elsewhere.get((name, whose), 0)

    def _require(self, amounts: Amounts, key: Key) -> None:
        """:raises Refused: ``too_many_connections``."""
        amount = amounts.get(key[0])
        if amount is not None and self.count(*key) >= amount.amount:
            metrics.limited.labels(key[0]).inc()
            raise LIMITS[key[0]].refused(random.uniform(*COME_BACK))  # noqa: S311 not all at once

    def _change(self, key: Key, by: int) -> None:
        self._counts[key] += by
        if self._counts[key] <= 0:
            del self._counts[key]
        if by > 0 and self._is_told_of(key) and self._run is not None and key not in self._telling:
            self._telling.add(key)
            self._run(self._tell(key))

    # --- the other nodes

    def _is_told_of(self, key: Key) -> bool:
        name, whose = key
        if self._store is None or name not in ("connections_per_user", "connections_per_tenant"):
            return False
        if key in self._told:
            return True
        tenant = whose if name == "connections_per_tenant" else whose.partition("/")[2]
        own = self._tenants().get(tenant)
        if "/" in whose and own is None:  # the user's other number is the one that counts
            return False
        amount = (self._amounts if own is None else own).get(name)
        return amount is not None and self._counts[key] >= max(2, amount.amount // UNTOLD)

    async def share(self) -> None:
        """To be called at least twice in a :data:`SLOT`."""
        for key in [key for key in {*self._counts, *self._told} if self._is_told_of(key) and key not in self._telling]:
            self._telling.add(key)
            await self._tell(key)

    async def _tell(self, key: Key) -> None:
        """Tell what is here now, and hear of what is elsewhere.

        Each node tells its number in every slot, so the last whole slot has them all, and this one what is new.
        """
        assert self._store is not None
        try:
            slot = int(time.time()) // SLOT
            name = "/".join(key)
            here = self._counts[key]
            told = self._told.get(key, _Told(0, 0, 0)).at(slot)
            before = await self._store.get(f"{name}/{slot - 1}")
            now = await self._store.add(f"{name}/{slot}", here - told.now, 4 * SLOT)
            if before is None or now is None:  # the store is away: what is elsewhere, nobody knows
                self._elsewhere.pop(key, None)
                return
            self._told[key] = _Told(slot, here, told.before)
            self._elsewhere[key] = max(before - told.before, now - here, 0)
            if not (here or told.now or told.before):
                del self._told[key], self._elsewhere[key]
        finally:
            self._telling.discard(key)


class _Told(NamedTuple):
    """What this node told in a slot, and in the one before."""

    slot: int
    now: int
    before: int

    def at(self, slot: int) -> _Told:
        if slot == self.slot:
            return self
        return _Told(slot, 0, self.now if slot == self.slot + 1 else 0)

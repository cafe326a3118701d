"""Who may go on, and who has to wait: the rates of people and tenants on this node.

A rate is a bucket: it holds ``burst``, and gains ``amount`` a second. Taking from it costs about a microsecond and
waits for nobody. (The strategies of ``limits`` cost 10 to 90 µs in memory, more the more people there are, and a round
trip each on a server.) Where the nodes share a store, a bucket tells it what was taken here, a twentieth of the burst
at a time, and what the other nodes took is taken from it too. So on a site of *n* nodes a limit lets through what one
node would, and at most *n* twentieths of a burst more, and what comes while the store answers; that is a debt, paid
back before anything more passes. Without the store each node holds the limit by itself.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from rooms import metrics
from rooms.contract import Refused
from rooms.limits import DEFAULTS, LIMITS, Amount, Amounts
from rooms.node.store import Store

PARTS = 20  # of a burst are told to the other nodes at once
PATIENCE = 30.0  # seconds that a handshake is put off for, at most
RECALL = "recall"  # looking up an answer that was given, for somebody who is over a limit
HERE = "handshakes"  # what is counted on each node for itself
REQUESTS = "requests"  # before anybody is identified


class Bucket:
    """A rate with a burst. Pure: the time is an argument.

    Who is refused is told when it is their turn, one after the other: a hundred who come too early do not all come back
    for the one place that is free by then.
    """

    __slots__ = ("_at", "_burst", "_left", "_promised", "_rate", "amount", "busy", "seen", "slot", "untold")

    def __init__(self, amount: Amount, now: float) -> None:
        assert amount.burst is not None
        self.amount = amount
        self._rate, self._burst = float(amount.amount), float(amount.burst)
        self._left = self._burst
        self._at = now
        self._promised = now
        self.untold = 0  # taken, and not told to the other nodes
        self.busy = False  # telling them
        self.slot = self.seen = 0  # what they all had taken in this slot of time, when we asked last

    @property
    def window(self) -> float:
        """Seconds in which an empty one fills."""
        return self._burst / self._rate

    def wait(self, now: float) -> float:
        """Seconds until one may be taken."""
        self._fill(now)
        return 0.0 if self._left >= 1 else (1 - self._left) / self._rate

    def take(self) -> None:
        """One that :meth:`wait` allowed."""
        self._left -= 1
        self.untold += 1

    def owe(self, taken: int) -> None:
        """Others took so many."""
        self._left = max(self._left - taken, -self._burst)

    def promise(self, now: float, most: float) -> float:
        """Seconds after which somebody who was refused comes back: when it is their turn, after ``most`` at last."""
        step = 1 / self._rate
        self._promised = min(max(self._promised + step, now + self.wait(now)), now + max(most, step))
        return self._promised - now

    def is_full(self, now: float) -> bool:
        self._fill(now)
        return self._left >= self._burst and not self.busy

    def _fill(self, now: float) -> None:
        if now > self._at:
            left = self._left + (now - self._at) * self._rate
            self._left = left if left < self._burst else self._burst
            self._at = now


@dataclass(frozen=True, slots=True)
class Over:
    """Over a limit. ``recall``: an answer that was given before is looked up all the same."""

    refused: Refused
    recall: bool = False


Key = tuple[str, str, str]  # the limit; of whom; the tenant whose own limit it is, or nothing


class Meter:
    """All rates of a node. It lives on the node's loop.

    :param amounts: of the site.
    :param run: starts a task, to tell the store.
    """

    def __init__(
        self,
        amounts: Amounts,
        *,
        store: Store | None = None,
        run: Callable[[Coroutine[Any, Any, None]], Any] | None = None,
    ) -> None:
        self.amounts = amounts
        self.tenants = {}
        self._store = store
        self._run = run
        self._buckets: dict[Key, Bucket] = {}

    @property
    def tenants(self) -> Mapping[str, Amounts]:
        """Those that have limits of their own."""
        return self._tenants

    @tenants.setter
    def tenants(self, tenants: Mapping[str, Amounts]) -> None:
        self._tenants = tenants
        # What somebody may do at most, of whom nobody knows yet in which tenant; a limit that one lifts is none.
        self._most: dict[str, Amount] = {}
        for name in self.amounts:
            there = [amounts.get(name) for amounts in (self.amounts, *tenants.values())]
            found = [amount for amount in there if amount is not None]
            if len(found) == len(there):
                self._most[name] = max(found, key=lambda amount: (amount.amount, amount.burst or 0))

    # --- what is asked

    def command(self, user: str, tenant: str, now: float, *, by: str = "commands_per_user") -> Over | None:
        """One command of this user in this tenant.

        Over the limit it is refused, and as many again are looked up: the repeat of one that was done gets its first
        answer. Whatever is beyond twice the limit is refused unseen.
        """
        asked = self._asked((by, user), ("commands_per_tenant", tenant), tenant=tenant, now=now)
        late = self._late(asked, now)
        if late is None:
            return None
        name, bucket = late
        recalls = self._asked((by, user), ("commands_per_tenant", tenant), tenant=tenant, now=now, of=RECALL)
        recall = not any(other.wait(now) for _, other, _ in recalls)
        if recall:
            for _, other, _ in recalls:
                other.take()
        return Over(self._refused(name, bucket, now), recall)

    def write(self, user: str, now: float) -> None:
        """A REST write that is no command.

        :raises Refused: ``rate_limited``.
        """
        self._take(self._asked(("writes_per_user", user), now=now), now)

    def join(self, speaker: str, tenant: str, now: float) -> Refused | None:
        """One join."""
        late = self._late(self._asked(("joins_per_user", speaker), tenant=tenant, now=now), now)
        return None if late is None else self._refused(*late, now)

    def poll(self, speaker: str, now: float) -> float:
        """A poll that goes on: the seconds until it is answered. It counts as one join, and is put off, not refused:
        its client would only ask again.
        """
        for _, bucket, key in self._asked(("joins_per_user", speaker), now=now):
            if bucket.wait(now):
                return bucket.promise(now, bucket.window)
            self._took(bucket, key)
        return 0

    def handshake(self, address: str, now: float) -> None:
        """A connection that wants to begin.

        :raises Refused: ``rate_limited``.
        """
        asked = [("handshakes_per_node", ""), *([("handshakes_per_address", address)] if address else [])]
        self._take(self._asked(*asked, now=now), now)

    def request(self, bearer: str, now: float, *, by: str, repeats: bool = True) -> None:
        """A request with this ticket, this session or from this address, before anybody looks who that is: beyond twice
        what its user may do it is refused, so that a flood costs no look into the database.

        :param repeats: whether it may be the repeat of one that was done; else it is refused beyond once.
        :raises Refused: ``rate_limited``.
        """
        amount = self._most.get(by)
        if amount is None or amount.burst is None:
            return
        times = 2 if repeats else 1
        bucket = self._bucket((REQUESTS * times, by, bearer), Amount(times * amount.amount, times * amount.burst), now)
        if bucket.wait(now):
            raise self._refused(by, bucket, now)
        bucket.take()

    # --- upkeep

    def tidy(self, now: float) -> None:
        """Forget those who have asked for nothing for a while."""
        for key in [key for key, bucket in self._buckets.items() if bucket.is_full(now)]:
            del self._buckets[key]

    def __len__(self) -> int:
        return len(self._buckets)

    # --- buckets

    def _asked(
        self, *asked: tuple[str, str], now: float, tenant: str = "", of: str = ""
    ) -> list[tuple[str, Bucket, Key]]:
        """The buckets of these limits. A tenant that has a limit of its own has a bucket of its own."""
        amounts = self.tenants.get(tenant, self.amounts)
        found = []
        for name, whom in asked:
            amount = amounts.get(name)
            if amount is not None:
                own = tenant if amounts is not self.amounts and amount != self.amounts.get(name) else ""
                key = (of + name, whom, own)
                found.append((name, self._bucket(key, amount, now), key))
        return found

    def _bucket(self, key: Key, amount: Amount, now: float) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is None or bucket.amount != amount:
            bucket = self._buckets[key] = Bucket(amount, now)
        return bucket

    def _late(self, asked: list[tuple[str, Bucket, Key]], now: float) -> tuple[str, Bucket] | None:
        """Take one from all of them, or from none and give the one that waits longest."""
        late, longest = None, 0.0
        for name, bucket, _ in asked:
            wait = bucket.wait(now)
            if wait > longest:
                late, longest = (name, bucket), wait
        if late is not None:
            return late
        for _, each, key in asked:
            self._took(each, key)
        return None

    def _take(self, asked: list[tuple[str, Bucket, Key]], now: float) -> None:
        late = self._late(asked, now)
        if late is not None:
            raise self._refused(*late, now)

    def _took(self, bucket: Bucket, key: Key) -> None:
        bucket.take()
        if self._store is None or self._run is None or bucket.busy or key[0].startswith(HERE):
            return
        if bucket.untold * PARTS >= (bucket.amount.burst or 0):
            bucket.busy = True
            self._run(self._tell(self._store, bucket, key))

    def _refused(self, name: str, bucket: Bucket, now: float) -> Refused:
        metrics.limited.labels(name).inc()
        limit = LIMITS[name]
        wait = bucket.promise(now, PATIENCE if limit.by == "node" else max(1.0, bucket.window))
        if limit.by != "user":  # those of a tenant, and all who want to come in, do not come back as one
            wait *= random.uniform(1, 1.5)  # noqa: S311
        return limit.refused(wait)

    # --- the other nodes

    async def _tell(self, store: Store, bucket: Bucket, key: Key) -> None:
        """Tell what was taken here, and take what the others took.

        The counters are of slots of time as long as an empty bucket takes to fill: what was taken before is filled up.
        """
        try:
            while bucket.untold * PARTS >= (bucket.amount.burst or 0):
                mine, bucket.untold = bucket.untold, 0
                seconds = max(1, -(-(bucket.amount.burst or 1) // bucket.amount.amount))
                slot = int(time.time()) // seconds
                total = await store.add("/".join((*key, str(slot))), mine, 2 * seconds)
                if total is None:
                    return
                seen = bucket.seen if bucket.slot == slot else 0
                bucket.slot, bucket.seen = slot, total
                bucket.owe(max(0, total - seen - mine))
        finally:
            bucket.busy = False


def shown(amounts: Amounts) -> dict[str, dict[str, int]]:
    """What ``live.hello`` says: the rates that a client should keep to."""
    names = {"commands": "commands_per_user", "joins": "joins_per_user", "writes": "writes_per_user"}
    return {
        name: {"rate": amounts[limit].amount, "burst": amounts[limit].burst or 0}
        for name, limit in names.items()
        if limit in amounts and DEFAULTS[limit].burst is not None
    }

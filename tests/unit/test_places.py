"""Who gets a place among the requests that are done at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from rooms.contract import Refused
from rooms.node import places
from rooms.node.places import Places


class Asks:
    """Requests that keep their places until they are told to go."""

    def __init__(self, count: int) -> None:
        self.places = Places(count)
        self.here: Counter[tuple[str, str]] = Counter()
        self.order: list[tuple[str, str]] = []
        self._end = asyncio.Event()

    async def one(self, tenant: str, person: str, *, writes: bool = False) -> None:
        async with self.places.place(tenant, person, writes=writes):
            self.here[tenant, person] += 1
            self.order.append((tenant, person))
            await self._end.wait()
            self.here[tenant, person] -= 1

    async def settle(self) -> None:
        """Everything that can happen without another one has."""
        for _ in range(5):
            await asyncio.sleep(0)

    def release(self) -> None:
        self._end.set()


async def test_one_person_has_two_and_a_tenant_half_of_them() -> None:
    asks = Asks(8)
    async with asyncio.TaskGroup() as tasks:
        for tenant, person in [("acme", "alice")] * 5 + [("acme", "bob")] * 5 + [("acme", "dave"), ("globex", "carol")]:
            tasks.create_task(asks.one(tenant, person))
        await asks.settle()
        assert +asks.here == {("acme", "alice"): 2, ("acme", "bob"): 2, ("globex", "carol"): 1}
        asks.release()
    assert len(asks.order) == 12 and not +asks.here


async def test_what_one_person_writes_is_done_one_after_the_other_and_holds_up_no_reading() -> None:
    asks = Asks(8)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(asks.one("acme", "alice", writes=True))
        await asks.settle()
        assert asks.here["acme", "alice"] == 1
        tasks.create_task(asks.one("acme", "alice"))
        tasks.create_task(asks.one("acme", "bob", writes=True))
        await asks.settle()
        assert +asks.here == {("acme", "alice"): 2, ("acme", "bob"): 1}
        asks.release()
    assert len(asks.order) == 5 and not +asks.here


async def test_who_has_one_request_waits_for_one_of_each_other_tenant() -> None:
    asks = Asks(2)
    async with asyncio.TaskGroup() as tasks:
        for whose in [("acme", "alice"), ("initech", "peter"), *[("acme", "alice")] * 50, ("globex", "carol")]:
            tasks.create_task(asks.one(*whose))
        await asks.settle()
        asks.release()
    assert ("globex", "carol") in asks.order[2:4]
    assert [whose for whose in asks.order if whose[0] == "acme"] == [("acme", "alice")] * 51


async def test_who_leaves_the_queue_takes_no_place() -> None:
    """Nor does one that is told to go in the very moment in which it gets its place."""
    queue = Places(1)
    first = AsyncExitStack()
    await first.enter_async_context(queue.place("acme", "alice"))

    async def wait() -> None:
        async with queue.place("globex", "carol"):
            raise AssertionError("it was told to go")

    early, late = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.wait([early])
    await first.aclose()  # the place is the late one's now
    late.cancel()
    await asyncio.wait([late])
    assert early.cancelled() and late.cancelled()
    async with asyncio.timeout(5), queue.place("acme", "alice"):
        pass


async def test_a_tenant_of_whom_too_many_wait_is_refused_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "WAITING", 3)
    asks = Asks(2)  # one for acme
    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(asks.one("acme", "alice"))
        await asks.settle()
        with pytest.raises(Refused) as refused:
            await asks.one("acme", "bob")
        assert refused.value.code == "unavailable" and refused.value.retry_after_ms
        tasks.create_task(asks.one("globex", "carol"))
        await asks.settle()
        assert asks.here["globex", "carol"] == 1
        asks.release()

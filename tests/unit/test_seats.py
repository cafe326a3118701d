"""Counts of connections: by user, address, tenant and node, and what other nodes have."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from rooms import limits
from rooms.contract import Refused
from rooms.limits import Amounts
from rooms.node import seats as seating
from rooms.node.seats import SLOT, Seats

SITE = limits.site(
    {
        "connections_per_user": 3,
        "connections_per_address": 5,
        "connections_per_tenant": 4,
        "connections_per_node": 8,
    },
    "",
)


def seats(tenants: Mapping[str, Amounts] | None = None) -> Seats:
    return Seats(SITE, lambda: tenants or {})


def refused(found: Seats, user: str | None, address: str) -> str:
    with pytest.raises(Refused) as error:
        found.take(user, address)
    assert error.value.code == "too_many_connections" and error.value.retry_after_ms
    return error.value.detail


def test_a_user_has_so_many_and_gets_another_when_one_ends() -> None:
    found = seats()
    with ExitStack() as stack:
        first = found.take("7", "a")
        for address in ("b", "c"):
            stack.enter_context(found.take("7", address))
        assert refused(found, "7", "d").startswith("You have too many")
        with first:
            pass
        with found.take("7", "d"):
            assert found.count("connections_per_user", "7") == 3
    assert found.count("connections_per_user", "7") == found.count("connections_per_node") == 0


def test_an_address_counts_everybody_and_nobody_in_particular() -> None:
    found = seats()
    for number in range(5):
        found.take(None if number % 2 else f"user {number}", "a")
    assert "address" in refused(found, None, "a")
    found.take(None, "b")
    for _ in range(2):
        found.take(None, "")  # nobody knows from where: it is not counted with others of the kind
    assert "node" in refused(found, "9", "c")


def test_a_tenant_counts_connections_not_rooms() -> None:
    found = seats()
    held = [found.take(str(number), "") for number in range(5)]
    for seat in held[:4]:
        assert seat.enter("acme") is None and seat.enter("acme") is None
    error = held[4].enter("acme")
    assert error is not None and error.code == "too_many_connections" and "tenant" in error.detail
    assert held[4].enter("globex") is None  # a connection counts for each of its tenants
    held[0].leave("acme")
    assert held[4].enter("acme") is not None
    held[0].leave("acme")
    assert held[4].enter("acme") is None
    for seat in held:
        seat.end()
    assert found.count("connections_per_tenant", "acme") == found.count("connections_per_tenant", "globex") == 0


def test_a_tenant_may_give_a_user_fewer() -> None:
    found = seats({"acme": limits.of_tenant({"connections_per_user": 1}, SITE)})
    one, two = found.take("7", ""), found.take("7", "")
    assert one.enter("acme") is None and two.enter("globex") is None
    error = two.enter("acme")
    assert error is not None and error.detail.startswith("You have too many")


async def test_a_poller_keeps_its_seat_until_it_comes_back() -> None:
    found = seats()
    with found.take("7", "a", lingers=60) as first:
        assert first.enter("acme") is None and first.enter("globex") is None
        for tenant in ("acme", "globex"):
            first.leave(tenant)
    assert found.count("connections_per_user", "7") == found.count("connections_per_tenant", "acme") == 1
    with found.take("7", "a", lingers=60) as second:
        assert second is first and found.count("connections_per_user", "7") == 1
        assert second.enter("acme") is None
        second.settle()
        assert found.count("connections_per_tenant", "globex") == 0
        second.leave("acme")
    second.end()  # as its time brings it about
    assert found.count("connections_per_user", "7") == found.count("connections_per_tenant", "acme") == 0


async def test_a_poller_who_does_not_come_back_is_forgotten() -> None:
    found = seats()
    ended = asyncio.Event()
    with found.take("7", "a", lingers=0.01) as seat:
        pass
    end = seat.end
    seat._timer.cancel()  # type: ignore[union-attr]
    asyncio.get_running_loop().call_later(0.01, lambda: (end(), ended.set()))
    await asyncio.wait_for(ended.wait(), 5)
    assert found.count("connections_per_user", "7") == 0 and not found._lingering


# --- several nodes


class Memory:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.away = False

    async def add(self, key: str, amount: int, seconds: int) -> int | None:
        if self.away:
            return None
        self.counts[key] += amount
        return self.counts[key]

    async def get(self, key: str) -> int | None:
        return None if self.away else self.counts[key]


class Nodes:
    def __init__(self, count: int, clock: pytest.MonkeyPatch) -> None:
        self.store = Memory()
        self.tasks: list[Coroutine[Any, Any, None]] = []
        store: Any = self.store
        self.seats = [Seats(SITE, dict, store=store, run=self.tasks.append) for _ in range(count)]
        self.now = 1_000_000.0 // SLOT * SLOT
        clock.setattr(seating.time, "time", lambda: self.now)

    def close(self) -> None:
        """What nobody told stays untold."""
        for task in self.tasks:
            task.close()

    def settle(self) -> None:
        while self.tasks:
            asyncio.run(self.tasks.pop(0))  # type: ignore[arg-type]

    def pass_time(self, seconds: float, *, without: Seats | None = None) -> None:
        """Each shares twice in a slot, but for one that was killed."""
        end = self.now + seconds
        while self.now < end:
            self.now += SLOT / 2
            for each in self.seats:
                if each is not without:
                    asyncio.run(each.share())


@pytest.fixture
def make_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Nodes]]:
    made: list[Nodes] = []
    yield lambda count: made.append(Nodes(count, monkeypatch)) or made[-1]  # type: ignore[func-returns-value]
    for nodes in made:
        nodes.close()


def test_a_user_has_so_many_on_all_nodes(make_nodes: Callable[[int], Nodes]) -> None:
    nodes = make_nodes(2)
    here, there = nodes.seats
    held = [here.take("7", ""), here.take("7", ""), there.take("7", "")]
    nodes.settle()
    nodes.pass_time(3 * SLOT)
    held.append(there.take("7", ""))  # it has but one here, and has not asked
    nodes.settle()
    refused(there, "7", "")
    nodes.pass_time(10 * SLOT)
    refused(there, "7", "")
    refused(here, "7", "")
    for seat in held[:2]:
        seat.end()
    nodes.pass_time(2 * SLOT)
    with there.take("7", ""):
        pass


def test_what_a_killed_node_had_is_forgotten(make_nodes: Callable[[int], Nodes]) -> None:
    nodes = make_nodes(2)
    dead, living = nodes.seats
    for _ in range(3):
        dead.take("7", "")
    nodes.settle()
    living.take("7", "")
    living.take("8", "")
    living._counts["connections_per_user", "7"] = 2  # enough to ask about
    nodes.pass_time(SLOT, without=dead)
    refused(living, "7", "")
    nodes.pass_time(2 * SLOT, without=dead)
    living.take("7", "")


def test_who_leaves_and_comes_back_is_not_counted_twice(make_nodes: Callable[[int], Nodes]) -> None:
    nodes = make_nodes(1)
    (here,) = nodes.seats
    for _ in range(8):
        held = [here.take("7", "") for _ in range(3)]
        nodes.settle()
        nodes.pass_time(SLOT / 2)
        assert here.count("connections_per_user", "7") == 3
        for seat in held:
            seat.end()
    nodes.pass_time(4 * SLOT)
    assert not here._told and not here._elsewhere and not here._counts


def test_without_the_store_each_node_counts_for_itself(make_nodes: Callable[[int], Nodes]) -> None:
    nodes = make_nodes(2)
    here, there = nodes.seats
    for _ in range(3):
        here.take("7", "")
    nodes.settle()
    there.take("7", ""), there.take("7", "")
    nodes.settle()
    refused(there, "7", "")
    nodes.store.away = True
    nodes.pass_time(SLOT)
    there.take("7", "")
    refused(there, "7", "")

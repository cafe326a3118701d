"""Rates: what passes, what is told to whom has to wait, and what nodes tell each other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms import limits
from rooms.contract import Refused
from rooms.limits import Amount
from rooms.node import meter as metering
from rooms.node.meter import PATIENCE, Bucket, Meter, shown
from rooms.node.pressure import LONG, TIMES, Pressure

SITE = limits.site({}, "")


def send(meter: Meter, times: int, now: float, *, user: str = "7", tenant: str = "acme") -> Counter[str]:
    """What became of so many commands."""
    found: Counter[str] = Counter()
    for _ in range(times):
        over = meter.command(user, tenant, now)
        found["passed" if over is None else "recalled" if over.recall else "refused"] += 1
    return found


def test_a_burst_passes_then_the_rate() -> None:
    meter = Meter(SITE)
    assert send(meter, 150, 0) == {"passed": 100, "recalled": 50}
    assert send(meter, 30, 1)["passed"] == 20
    assert send(meter, 1_000, 1_000)["passed"] == 100


def test_what_is_over_the_limit_is_looked_up_as_often_as_the_limit_and_no_more() -> None:
    assert send(Meter(SITE), 1_000, 0) == {"passed": 100, "recalled": 100, "refused": 800}


def test_a_tenant_has_a_limit_of_its_people_together() -> None:
    meter = Meter(limits.site({"commands_per_tenant": "10/50"}, ""))
    assert send(meter, 40, 0, user="1") == {"passed": 40}
    assert send(meter, 40, 0, user="2")["passed"] == 10
    assert send(meter, 40, 0, user="2", tenant="globex") == {"passed": 40}  # what was refused cost nothing


def test_a_tenant_with_a_limit_of_its_own_changes_no_other() -> None:
    meter = Meter(SITE)
    meter.tenants = {"acme": limits.of_tenant({"commands_per_user": "5/5"}, SITE)}
    assert send(meter, 10, 0)["passed"] == 5
    assert send(meter, 200, 0, tenant="globex")["passed"] == 100
    meter.tenants = {}
    assert send(meter, 10, 1)["passed"] == 10  # and is forgotten at once


def test_without_a_limit_everything_passes() -> None:
    meter = Meter({})
    assert send(meter, 10_000, 0) == {"passed": 10_000}
    assert meter.join("7", "acme", 0) is None and meter.poll("7", 0) == 0 and len(meter) == 0
    meter.handshake("203.0.113.9", 0)


def test_who_is_refused_is_told_when_it_is_their_turn() -> None:
    meter = Meter(SITE)
    send(meter, 100, 0)
    waits = [over.refused.retry_after_ms for _ in range(40) if (over := meter.command("7", "acme", 0))]
    assert waits == [50 * place for place in range(1, 41)]  # at 20 a second
    assert all(meter.command("7", "acme", wait / 1000 + 0.001) is None for wait in waits if wait)


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=300))
def test_no_more_passes_than_the_burst_and_the_rate(pauses: list[float]) -> None:
    meter, now, passed = Meter(SITE), 0.0, 0
    for pause in pauses:
        now += pause
        passed += meter.command("7", "acme", now) is None
    assert passed <= 100 + 20 * now + 1e-6
    assert passed >= min(len(pauses), 100)


def test_a_storm_of_handshakes_is_spread_and_one_address_takes_no_more_than_its_own() -> None:
    meter, waits = Meter(SITE), []
    for number in range(3_000):
        try:
            meter.handshake(f"203.0.{number // 200}.9", 0)
        except Refused as refused:
            waits.append((refused.retry_after_ms or 0) / 1000)
    assert len(waits) == 2_500
    assert 4.5 < max(waits) < 5 * 1.5 + 0.1  # 2,500 at 500 a second, and spread
    assert sum(wait < 1 for wait in waits) < 600
    with pytest.raises(Refused):
        for _ in range(300):
            meter.handshake("198.51.100.7", 100)
    meter.handshake("198.51.100.8", 100)  # the node's own is not used up


def test_nobody_is_put_off_for_longer_than_half_a_minute() -> None:
    meter, longest = Meter(SITE), 0.0
    for number in range(30_000):
        try:
            meter.handshake(f"10.0.{number // 200}.1", 0)
        except Refused as refused:
            longest = max(longest, (refused.retry_after_ms or 0) / 1000)
    assert PATIENCE <= longest <= PATIENCE * 1.5


def test_a_poll_that_goes_on_is_put_off() -> None:
    meter = Meter(SITE)
    assert [meter.poll("7", 0) for _ in range(200)] == [0] * 200
    assert [round(meter.poll("7", 0), 3) for _ in range(3)] == [0.05, 0.1, 0.15]
    refused = meter.join("7", "acme", 0)
    assert refused is not None and refused.code == "rate_limited"


def test_a_flood_with_one_session_is_refused_before_anybody_looks() -> None:
    meter = Meter(SITE)
    for _ in range(200):
        meter.request("session", 0, by="commands_per_user")
    with pytest.raises(Refused, match="too many commands"):
        meter.request("session", 0, by="commands_per_user")
    meter.request("another", 0, by="commands_per_user")


def test_what_is_no_repeat_is_refused_sooner() -> None:
    meter = Meter(SITE)
    for _ in range(100):
        meter.request("session", 0, by="writes_per_user", repeats=False)
    with pytest.raises(Refused):
        meter.request("session", 0, by="writes_per_user", repeats=False)
    meter.request("session", 0, by="writes_per_user")


def test_before_anybody_is_known_the_most_generous_tenant_counts() -> None:
    meter = Meter(SITE)
    meter.tenants = {"acme": limits.of_tenant({"commands_per_user": "1/1", "writes_per_user": "500/500"}, SITE)}
    for _ in range(1_000):
        meter.request("session", 0, by="writes_per_user")
    with pytest.raises(Refused):
        meter.request("session", 0, by="writes_per_user")
    for _ in range(200):
        meter.request("session", 0, by="commands_per_user")
    meter.tenants = {"acme": limits.of_tenant({"commands_per_user": 0}, SITE)}
    meter.request("session", 0, by="commands_per_user")


def test_who_asks_for_nothing_is_forgotten() -> None:
    meter = Meter(SITE)
    for user in range(90):
        send(meter, 1 + user, 0, user=str(user))
    assert len(meter) == 91  # and the tenant
    meter.tidy(1)
    assert 65 < len(meter) < 91
    meter.tidy(10)
    assert len(meter) == 0


# --- several nodes


class Memory:
    """What the store of a site keeps, without one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.asked = 0
        self.away = False

    async def add(self, key: str, amount: int, seconds: int) -> int | None:
        self.asked += 1
        if self.away:
            return None
        self.counts[key] += amount
        return self.counts[key]


class Nodes:
    """Meters on one store; what they have to tell is told when the test says so."""

    def __init__(self, count: int, clock: pytest.MonkeyPatch) -> None:
        self.store = Memory()
        self.tasks: list[Coroutine[Any, Any, None]] = []
        store: Any = self.store
        self.meters = [Meter(SITE, store=store, run=self.tasks.append) for _ in range(count)]
        self.now = 1_000_000.0
        clock.setattr(metering.time, "time", lambda: self.now)

    def close(self) -> None:
        """What nobody told stays untold."""
        for task in self.tasks:
            task.close()

    def settle(self) -> None:
        while self.tasks:
            asyncio.run(self.tasks.pop(0))  # type: ignore[arg-type]


@pytest.fixture
def make_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Nodes]]:
    made: list[Nodes] = []
    yield lambda count: made.append(Nodes(count, monkeypatch)) or made[-1]  # type: ignore[func-returns-value]
    for nodes in made:
        nodes.close()


def test_nodes_share_a_limit(make_nodes: Callable[[int], Nodes]) -> None:
    nodes = make_nodes(2)
    first, second = nodes.meters
    assert send(first, 100, 0)["passed"] == 100
    nodes.settle()
    assert send(second, 5, 0)["passed"] == 5  # it has not asked yet
    nodes.settle()
    assert send(second, 50, 0)["passed"] == 0
    assert nodes.store.asked <= 40  # for a hundred commands of a user


def test_over_time_many_nodes_let_through_what_one_would(make_nodes: Callable[[int], Nodes]) -> None:
    nodes, passed = make_nodes(4), 0
    start = nodes.now
    for step in range(600):  # a minute
        nodes.now = start + step / 10
        for meter in nodes.meters:
            passed += send(meter, 5, step / 10)["passed"]
        nodes.settle()
    assert 0.85 * 60 * 20 <= passed <= 1.2 * (100 + 60 * 20)


def test_without_the_store_each_node_holds_the_limit(make_nodes: Callable[[int], Nodes]) -> None:
    nodes = make_nodes(2)
    nodes.store.away = True
    for meter in nodes.meters:
        assert send(meter, 150, 0)["passed"] == 100
        nodes.settle()
        assert send(meter, 150, 1)["passed"] == 20


# --- pressing on


def test_who_presses_on_for_ten_seconds_is_abusive() -> None:
    pressure, now = Pressure(Amount(20, 100), 0), 0.0
    while not pressure.is_abuse(now):
        now += pressure.refused(now)
        assert now < 60
    assert LONG <= now <= LONG + 2
    assert pressure.refused(now) == pytest.approx(1 / (20 * TIMES), abs=1e-6)


def test_who_pauses_is_not() -> None:
    pressure = Pressure(Amount(20, 100), 0)
    for second in range(60):
        for _ in range(150):
            pressure.refused(second)
        assert not pressure.is_abuse(second)
    for minute in range(1, 10):
        now = minute * 60.0
        for _ in range(1_000):  # a frame full of them
            now += pressure.refused(now)
        assert not pressure.is_abuse(now)


def test_several_connections_of_a_user_are_read_as_fast_as_one() -> None:
    pressure = Pressure(Amount(20, 100), 0)
    for _ in range(200):
        pressure.refused(0)
    assert pressure.refused(0, connections=10) == pytest.approx(10 * pressure.refused(0), rel=0.6)


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = Bucket(Amount(1, 1), 5)
    bucket.take()
    assert bucket.wait(5) == 1 and bucket.wait(4) == 1 and bucket.wait(6) == 0


def test_hello_shows_the_rates_that_hold() -> None:
    assert shown(SITE)["commands"] == {"rate": 20, "burst": 100}
    assert shown(limits.site({"joins_per_user": 0}, "")).keys() == {"commands", "writes"}

"""Three nodes on PostgreSQL and Valkey, people on three transports, and everything that can happen to either.

Rounds of faults, all at once; after each round all that was stopped goes on, and every reader's roster, at whichever
node, must become the truth: nobody is missing, and no ghost outlives its lease by more than a busy machine takes.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable

import pytest

from tests.acceptance.presence_crowd import Knowing, KnowingPoll, KnowingSocket, KnowingStream
from tests.support import crowd, multitude, stages
from tests.support.backends import BACKEND
from tests.support.multitude import Soul
from tests.support.sites import Site, Sites

ROUNDS = int(os.environ.get("MODEL_ROUNDS", 2))  # hundreds by `make nightly`
SEED = int(os.environ.get("MODEL_SEED", 0)) or random.randrange(1, 1_000_000)
ROOM = "acme/general"
LEASE = 2.0
PATIENCE = LEASE + 28  # seconds until the rosters are right: the machine may be busy
PRESENCE = {"LEASE": LEASE, "RENEWAL": 0.7, "LEAVE_GRACE": 0.6, "FLUSH": 0.05}
PEOPLE, MEMBERS = 8, 16  # some of them on several connections


class Trouble:
    def __init__(self, site: Site, souls: list[Soul]) -> None:
        self.site = site
        self.souls = souls
        self.chance = random.Random(SEED)
        self.members: list[Knowing] = []
        self.dead: set[int] = set()
        self.history: list[str] = []

    async def come(self, *, node: int | None = None, kind: type[Knowing] | None = None) -> None:
        if len(self.members) < MEMBERS:
            addresses = [stages.address(each) for each in self.site.nodes]
            soul = self.chance.choice(self.souls)
            kind = kind or self.chance.choice((KnowingSocket, KnowingStream, KnowingPoll))
            alive = [number for number in range(3) if number not in self.dead]
            start = addresses[self.chance.choice(alive) if node is None else node]
            member = kind(addresses, soul.badge, ROOM, start, jitter=0.1)
            member.user = soul.id
            self.members.append(member)
            await crowd.enter([member])  # until it is in, it tries that node alone

    async def go(self) -> None:
        """Not a long-poller, who between two polls says nothing of it; its lease is longer than a test."""
        going = [each for each in self.members if not isinstance(each, KnowingPoll)]
        if len(going) > 3:
            member = self.chance.choice(going)
            self.members.remove(member)
            await member.leave()
            assert not member.wrong, member.wrong

    async def kill(self) -> None:
        if not self.dead:
            number = self.chance.randrange(3)
            self.dead.add(number)
            await asyncio.to_thread(self.site.kill, number)

    async def restart(self) -> None:
        for number in self.dead:
            await asyncio.to_thread(self.site.nodes[number].start)
        self.dead.clear()

    async def freeze(self) -> None:
        """For longer than its lease: the others take it for dead."""
        number = self.chance.choice([number for number in range(3) if number not in self.dead])
        pid = self.site.nodes[number].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(LEASE * self.chance.choice((0.5, 1.5)))  # that is the fault
        finally:
            os.kill(pid, signal.SIGCONT)

    async def without_layer(self) -> None:
        valkey = self.site.valkey
        assert valkey is not None
        await asyncio.to_thread(valkey.stop)
        for _ in range(3):
            await self.chance.choice((self.come, self.go))()
        await asyncio.to_thread(valkey.start)

    async def round(self) -> None:
        happens: list[Callable[[], Awaitable[None]]] = [self.come] * 3 + [self.go] * 2
        happens += [self.freeze, self.without_layer, self.restart if self.dead else self.kill]
        self.chance.shuffle(happens)
        for one in happens:
            self.history.append(one.__name__)
            await one()

    async def settle(self) -> None:
        self.history.append("settle")

        def right() -> bool:
            truth = {each.user for each in self.members}
            return all(each.joined.is_set() and each.people == truth for each in self.members)

        try:
            await crowd.until(right, PATIENCE, "all rosters are right")
        except TimeoutError as late:
            truth = {each.user for each in self.members}
            wrong = [
                f"{each.transport} at {each.at}: {len((each.people or set()) - truth)} too many, "
                f"{len(truth - (each.people or set()))} missing"
                for each in self.members
                if each.people != truth or not each.joined.is_set()
            ]
            raise AssertionError(f"{late}; seed {SEED}, after {self.history}: {wrong}") from None
        assert not [what for each in self.members for what in each.wrong]


async def test_whatever_happens_to_three_nodes_every_roster_becomes_the_truth(
    sites: Sites, pytestconfig: pytest.Config
) -> None:
    if pytestconfig.stash[BACKEND].postgres is None:
        pytest.skip("several nodes share a PostgreSQL")
    with sites.running(nodes=3, demo=True, rooms={"HEAL_INTERVAL": 0.5}, presence=PRESENCE) as site:
        souls = multitude.make(site, [f"one-{number}" for number in range(PEOPLE)])
        trouble = Trouble(site, souls)
        try:
            for node in range(3):
                for kind in (KnowingSocket, KnowingStream, KnowingPoll):
                    await trouble.come(node=node, kind=kind)
            await trouble.settle()
            for _ in range(ROUNDS):
                await trouble.round()
                await trouble.settle()
        finally:
            await crowd.leave(trouble.members)

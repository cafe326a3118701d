"""What clients that only wait cost a node, and how soon it notices that they are gone.

::

    python -m tests.acceptance.idle_crowd [--clients 2000] [--database postgresql|sqlite]

One ``manage.py serve`` each time: so many idle WebSockets, SSE streams, waiting polls, each alone; then streams and
polls together. Counted are threads (``/proc/<pid>/status``), database connections (``pg_stat_activity``) and resident
memory, against the same process before they came. Then 200 clients of each kind vanish, half of them with a reset and
half with TCP's own end, and ``rooms_connections`` in ``/metrics`` must have fallen within 1 s.

Starts everything itself and stops it. Exits with 1 when the promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support import crowd, stages
from tests.support.crowd import Member, PollMember, SocketMember, StreamMember
from tests.support.sites import Sites
from tests.support.stages import Stage

WARM = 100  # clients that come and go before anything is measured
NOTICED = 1.0  # seconds
THREADS = 40  # that a node may have: its pools and uvicorn's, whatever the number of its clients
CONNECTIONS = 20  # to the database: the pool of one process
GAUGE = re.compile(r'rooms_connections\{transport="(\w+)"\} ([0-9.e+]+)')


@dataclass
class Seen:
    threads: int
    database: int
    memory: float  # KB, resident


@dataclass
class Row:
    what: str
    clients: int
    before: Seen
    after: Seen
    took: float
    cpu: float  # seconds of the process in 10 s of rest, a share
    noticed: dict[str, float]

    @property
    def per_client(self) -> float:
        return (self.after.memory - self.before.memory) / self.clients


async def idle_crowd(stage: Stage, kinds: Sequence[type[Member]], clients: int, vanish: int) -> Row:
    pid = stage.site.nodes[0].pid
    async with httpx.AsyncClient(base_url=stage.site.url, timeout=30) as metrics:
        warm = stage.crowd(WARM, kinds)
        await crowd.enter(warm)
        await crowd.leave(warm)
        await gauge(metrics, {kind.transport: 0 for kind in kinds})
        before = look(stage, pid)
        members = stage.crowd(clients * len(kinds), kinds)
        began = time.monotonic()
        try:
            await crowd.enter(members)
            took = time.monotonic() - began
            await gauge(metrics, {kind.transport: clients for kind in kinds})
            ticks = cpu(pid)
            await asyncio.sleep(10)
            resting = (cpu(pid) - ticks) / 10
            after = look(stage, pid)
            noticed = {}
            for kind in kinds:
                gone = [member for member in members if member.transport == kind.transport][:vanish]
                noticed[kind.transport] = await _vanish(metrics, kind.transport, gone, clients - vanish)
        finally:
            await crowd.leave(members)
    what = " and ".join(kind.transport for kind in kinds)
    return Row(what, len(members), before, after, took, resting, noticed)


async def _vanish(metrics: httpx.AsyncClient, transport: str, gone: Sequence[Member], left: int) -> float:
    """Cut these off; gives the seconds until the node counts so many as are left."""
    began = time.monotonic()
    for number, member in enumerate(gone):
        member.abandon(reset=number % 2 == 0)
    while True:
        # Others' polls end and begin meanwhile: each is away for a moment.
        if (await counted(metrics))[transport] <= left:
            return time.monotonic() - began
        if time.monotonic() - began > 30:
            return float("inf")
        await asyncio.sleep(0.01)


async def counted(metrics: httpx.AsyncClient) -> dict[str, float]:
    return {name: float(value) for name, value in GAUGE.findall((await metrics.get("/metrics")).text)}


async def gauge(metrics: httpx.AsyncClient, wanted: dict[str, int]) -> None:
    """Wait until the node holds so many, but for polls that are just between two."""
    async with asyncio.timeout(60):
        while True:
            found = await counted(metrics)
            if all(0.99 * count <= found.get(name, 0) <= count for name, count in wanted.items()):
                return
            await asyncio.sleep(0.1)


def look(stage: Stage, pid: int) -> Seen:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    database = 0
    if not stage.site.database_url.startswith("sqlite:"):
        ((database,),) = stage.read(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    return Seen(int(status["Threads"]), database, float(status["VmRSS"].split()[0]))


def cpu(pid: int) -> float:
    """Seconds of the process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def table(rows: Sequence[Row]) -> str:
    lines = [
        "clients                 came in   threads      database      resident MB     KB a     CPU at  gone after, s",
        "                         within   before/with  before/with   before/with     client   rest",
    ]
    for row in rows:
        gone = ", ".join(f"{name} {seconds:.2f}" for name, seconds in row.noticed.items())
        lines.append(
            f"{row.clients:5} {row.what:16}{row.took:7.1f} s   {row.before.threads:4} / {row.after.threads:<4} "
            f"{row.before.database:5} / {row.after.database:<5} {row.before.memory / 1024:7.0f} / "
            f"{row.after.memory / 1024:<7.0f}{row.per_client:6.1f}{row.cpu:9.1%}   {gone}"
        )
    return "\n".join(lines)


def complaints(rows: Sequence[Row], vanish: int) -> list[str]:
    found = []
    for row in rows:
        if row.after.threads > THREADS:
            found.append(f"{row.what}: {row.after.threads} threads")
        if row.after.database > CONNECTIONS:
            found.append(f"{row.what}: {row.after.database} database connections")
        for name, seconds in row.noticed.items():
            if seconds > NOTICED:
                found.append(f"{row.what}: {vanish} {name} that vanished were noticed after {seconds:.2f} s")
    return found


def measure(sites: Sites, kinds: Sequence[type[Member]], clients: int, vanish: int) -> Row:
    """In a fresh process."""
    with stages.staged(sites, rooms=10) as stage:
        return asyncio.run(idle_crowd(stage, kinds, clients, vanish))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=2000, help="of each transport (default: 2000)")
    parser.add_argument("--vanish", type=int, default=200)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    options = parser.parse_args()
    crowd.room_for(3 * options.clients + 500)
    cases = [[SocketMember], [StreamMember], [PollMember], [StreamMember, PollMember]]
    with stages.sites(options.database) as sites:
        rows = [measure(sites, kinds, options.clients, options.vanish) for kinds in cases]
    print(f"--- {options.database}, one process\n{table(rows)}")
    problems = complaints(rows, options.vanish)
    for problem in problems:
        print(f"WRONG: {problem}")
    print(
        "WRONG" if problems else f"No thread and no database connection is theirs; gone ones go within {NOTICED:g} s."
    )
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

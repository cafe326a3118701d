"""What it costs to know who is in a large room, and what a storm of joins costs more with presence than without.

::

    python -m tests.acceptance.presence_large [--people 5000] [--moves 500] [--storm 600] [--pairs 6]

So many people in one room, each on a WebSocket of one node. In ten seconds so many of them leave, or come anew, by
turns. Counted is what readers are told of it, in vectors and bytes, and what PostgreSQL is asked meanwhile, beside the
same seconds with nobody moving. Beside it stands what a classic presence would send, computed: each coming and going to
everybody as a difference of its own, and everybody to each who comes.

Then two sites side by side, one with presence and one without. A storm of joins on one, then on the other, in changing
order, again and again: the ratio of their times, pair by pair, with an interval of 95 %.

Starts everything itself and stops it. Figures alone: it exits with 1 only when a reader's count is wrong in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from psycopg import sql

from tests.support import crowd, multitude, stages
from tests.support.crowd import SocketMember
from tests.support.multitude import Soul
from tests.support.servers import Postgres
from tests.support.sites import Site, Sites

SECONDS = 10.0
ROOM = "acme/general"
WITHOUT = "tests.support.settings_without_presence"
# of the t distribution at 97.5 %, by degrees of freedom
T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


class Counting(SocketMember):
    """``told`` and ``bytes`` are the presence vectors that came and their size; ``count`` the number of the last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.told = self.bytes = 0
        self.count = 0

    def _take(self, frame: list[Any]) -> None:
        super()._take(frame)
        for vector in frame:
            if vector[0] in ("presence.state", "presence.diff"):
                self.told += 1
                self.bytes += len(msgspec.json.encode(vector))
                self.count = vector[1]["count"]


def members(site: Site, souls: Sequence[Soul]) -> list[Counting]:
    addresses = [stages.address(node) for node in site.nodes]
    return [Counting(addresses, soul.badge, ROOM) for soul in souls]


# --- a large room


@contextmanager
def statements(postgres: Postgres) -> Iterator[list[int]]:
    """How many it was asked in the block, from its log."""

    def logging(what: str) -> None:
        postgres.run(sql.SQL("ALTER SYSTEM SET log_statement = {}").format(what))
        postgres.run(sql.SQL("SELECT pg_reload_conf()"))

    found: list[int] = []
    start = postgres.log.stat().st_size
    logging("all")
    yield found
    logging("none")
    with postgres.log.open("rb") as lines:
        lines.seek(start)
        found.append(sum(b"execute " in line or b"statement: " in line for line in lines))


async def large_room(site: Site, postgres: Postgres, people: int, moves: int) -> tuple[list[str], list[str]]:
    souls = multitude.make(site, [f"one-{number}" for number in range(people + moves // 2)])
    everybody = members(site, souls)
    here, newcomers = everybody[:people], everybody[people:]
    story = []
    began = time.monotonic()
    try:
        await crowd.enter(here, seconds=1_200)
        await crowd.until(lambda: all(each.count == people for each in here), 120, "everybody has the number")
        story.append(f"{people} people came in within {time.monotonic() - began:.0f} s, and all have the number")
        with statements(postgres) as idle:
            await asyncio.sleep(SECONDS)
        for each in here:
            each.told = each.bytes = 0
        leavers, stay = here[: moves // 2], here[moves // 2 :]
        with statements(postgres) as asked:
            began = time.monotonic()
            for number, (leaver, newcomer) in enumerate(zip(leavers, newcomers, strict=True)):
                await leaver.leave()
                newcomer.enter()
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, began + SECONDS * number / len(leavers) - time.monotonic())):
                        await asyncio.Event().wait()
            moved = time.monotonic() - began
            late = []
            try:
                await crowd.until(lambda: all(each.count == people for each in stay), 60, "all have the number again")
            except TimeoutError as error:
                late = [str(error)]
            settled = time.monotonic() - began
    finally:
        await crowd.leave(everybody)
    told, size = sum(each.told for each in stay), sum(each.bytes for each in stay)
    person = 230 + 2 * 40  # bytes of one with its metas, and of a difference around it, as measured with few people
    naive_told, naive = moves * people, moves * people * (person + 120) + moves // 2 * people * person
    story.append(
        f"{moves} comings and goings in {moved:.1f} s; {settled:.1f} s until all {len(stay)} readers had the number"
    )
    story.append(
        f"each was told {told / len(stay):.1f} vectors, {size / len(stay):,.0f} bytes; all of them {told:,} vectors, "
        f"{size / 1e6:,.1f} MB"
    )
    story.append(
        f"a classic presence would send {naive_told:,} vectors and {moves // 2} states, about {naive / 1e6:,.0f} MB: "
        f"{naive_told / max(told, 1):,.0f} times the vectors, {naive / max(size, 1):,.0f} times the bytes"
    )
    story.append(
        f"PostgreSQL was asked {asked[0]:,} statements in {settled:.0f} s, {asked[0] / moves:.1f} a move, handshakes "
        f"and joins counted in; {idle[0]:,} in {SECONDS:.0f} s when nobody moved"
    )
    return story, late


# --- a storm of joins


async def storm(site: Site, souls: Sequence[Soul]) -> float:
    """Seconds until all have joined."""
    crew = members(site, souls)
    began = time.monotonic()
    try:
        await crowd.enter(crew, at_once=100, seconds=600)
        return time.monotonic() - began
    finally:
        await crowd.leave(crew)
        await asyncio.sleep(2)  # what their leaving gives to do is not the next storm's


async def storms(sites: Sites, count: int, pairs: int) -> list[str]:
    options: dict[str, Any] = {"demo": True, "limits": "off"}
    with sites.running(**options) as with_presence, sites.running(settings=WITHOUT, **options) as without:
        names = [f"storm-{number}" for number in range(count)]
        crews = {id(site): (site, multitude.make(site, names)) for site in (with_presence, without)}
        for site, souls in crews.values():
            await storm(site, souls[:50])
        ratios: list[float] = []
        rates: dict[int, list[float]] = {id(site): [] for site in (with_presence, without)}
        for pair in range(pairs):
            order = [with_presence, without] if pair % 2 else [without, with_presence]
            took = {}
            for one in order:
                took[id(one)] = await storm(*crews[id(one)])
                rates[id(one)].append(count / took[id(one)])
            ratios.append(math.log(took[id(without)] / took[id(with_presence)]))
    mean, spread = statistics.mean(ratios), 0.0
    if pairs > 1:
        spread = T[min(pairs - 1, max(T))] * statistics.stdev(ratios) / math.sqrt(pairs)
    fast, slow = (statistics.median(rates[id(site)]) for site in (without, with_presence))
    lines = [
        f"a storm of {count} joins, {pairs} pairs: {slow:.0f} a second with presence, {fast:.0f} without (medians)"
    ]
    low, middle, high = (math.exp(mean + by) for by in (-spread, 0, spread))
    lines.append(f"throughput with presence is {middle:.2f} of that without, 95 %: {low:.2f} to {high:.2f}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--people", type=int, default=5_000)
    parser.add_argument("--moves", type=int, default=500)
    parser.add_argument("--storm", type=int, default=600)
    parser.add_argument("--pairs", type=int, default=6)
    options = parser.parse_args()
    crowd.room_for(3 * options.people + 2_000)
    story, problems = [], []
    with stages.sites("postgresql") as sites:
        if options.people:
            postgres = sites._backend.postgres
            assert postgres is not None
            with sites.running(demo=True, limits="off") as site:
                told, problems = asyncio.run(large_room(site, postgres, options.people, options.moves))
                story += told
        if options.pairs:
            story += asyncio.run(storms(sites, options.storm, options.pairs))
    print("\n".join(story))
    for problem in problems:
        print(f"WRONG: {problem}")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

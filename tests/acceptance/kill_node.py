"""Kill a node under a crowd, start it again, and prove that nobody lost anything.

::

    python -m tests.acceptance.kill_node [--clients 500] [--database sqlite|postgresql]

Two nodes on one Valkey and one database, clients over WebSocket, SSE and long-poll, messages from all three. One node
gets SIGKILL in the middle of it and is started again. Each of its clients returns with full jitter, to whichever node,
and resumes by its cursor; what it had said without an answer it says again under the same id. In the end everybody must
hold what the log holds: nothing lost, nothing twice, nothing out of order, and each message must be there once.

Starts everything itself and stops it. Exits with 1 when the promise is broken. The clients are written from
``docs/protocol.md`` and the expectation comes from REST and the tables.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass

from tests.support import crowd, stages, tally
from tests.support.crowd import Member
from tests.support.stages import Stage


@dataclass
class Result:
    report: str
    problems: list[str]


async def kill_node(stage: Stage, *, clients: int, rate: float, seconds: float, jitter: float = 0.5) -> Result:
    """Traffic for so long before the kill, while the node is away, and after it is back."""
    site = stage.site
    members = stage.crowd(clients, jitter=jitter)
    began = time.monotonic()
    try:
        await crowd.enter(members)
        report = [f"{clients} clients came in within {time.monotonic() - began:.1f} s"]
        stop = asyncio.Event()
        talking = asyncio.create_task(crowd.talk(members, rate, stop))
        await asyncio.sleep(seconds)
        orphans = [member for member in members if member.at == stage.addresses[1]]
        killed = time.monotonic()
        await asyncio.to_thread(site.kill, 1)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(site.nodes[1].start)
        restarted = time.monotonic()
        await asyncio.sleep(seconds)
        stop.set()
        said = await talking
        problems = []
        try:
            await crowd.until(lambda: all(member.joined.is_set() for member in members), 40, "everybody is back")
            await crowd.until(lambda: not any(member.pending for member in members), 60, "all commands are answered")
            logs = await asyncio.to_thread(stage.logs)
            await crowd.until(
                lambda: all(member.has_all(logs[member.room]) for member in members), 30, "everybody has everything"
            )
        except TimeoutError as late:
            problems.append(str(late))
            logs = await asyncio.to_thread(stage.logs)
    finally:
        await crowd.leave(members)

    found = tally.Tally()
    for member in members:
        found.count(member, logs[member.room])
    report.append(f"{len(said)} messages were said, {rate:g} a second; {found}")
    without_event, forgotten, effects = stages.half_done(stage, set(said))
    again = {id for member in members for id in member.said_again}
    report.append(f"{len(again)} were said again; each is in the log once: {effects == dict.fromkeys(said, 1)}")
    if not found.is_right:
        problems += [f"what was heard is not the log: {found}", *found.wrong[:10]]
    if without_event or forgotten or effects != dict.fromkeys(said, 1):
        problems.append(
            f"{len(without_event)} are remembered without an event, {len(forgotten)} the reverse, "
            f"{len(set(said) - effects.keys())} missing, {sum(count > 1 for count in effects.values())} twice"
        )
    problems += _returns(orphans, members, killed, restarted, report)
    return Result("\n".join(report), problems)


def _returns(
    orphans: list[Member], members: list[Member], killed: float, restarted: float, out: list[str]
) -> list[str]:
    """What came of those whose node was killed."""
    strangers = [end for member in members if member not in orphans for end in member.ends]
    ends = [end for member in orphans for end in member.ends if end.at >= killed - 0.1]
    back = [end.back - killed for end in ends if end.back is not None]
    out.append(f"{len(orphans)} clients were on the killed node, which was away for {restarted - killed:.1f} s")
    for kind in ("ws", "sse", "poll"):
        took = [end.back - killed for m in orphans if m.transport == kind for end in m.ends if end.back is not None]
        out.append(f"  {kind:5}{len(took):5} back after seconds: {tally.quantiles(took)}")
    out.append(f"Back in the room, from the kill on:\n{tally.histogram(back, step=0.5)}")
    problems = []
    if len(back) < len(orphans):
        problems.append(f"{len(orphans) - len(back)} clients of the killed node never returned")
    if strangers:
        problems.append(f"{len(strangers)} connections of the other node ended: {strangers[0]}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rooms", type=int, default=10)
    parser.add_argument("--rate", type=float, default=15, help="messages a second in all (default: 15)")
    parser.add_argument("--seconds", type=float, default=6, help="of each of the three parts (default: 6)")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    crowd.room_for(4 * options.clients + 500)
    with (
        stages.sites(options.database) as sites,
        stages.staged(sites, rooms=options.rooms, nodes=2, layer="valkey") as stage,
    ):
        done = asyncio.run(kill_node(stage, clients=options.clients, rate=options.rate, seconds=options.seconds))
    print(f"--- {options.database}, two nodes\n{done.report}")
    for problem in done.problems:
        print(f"WRONG: {problem}")
    print("WRONG" if done.problems else "Nothing lost, nothing twice, nothing out of order.")
    return bool(done.problems)


if __name__ == "__main__":
    sys.exit(main())

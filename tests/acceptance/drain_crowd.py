"""Stop a node under a crowd, start it again: it took its leave from everybody and left nothing half done.

::

    python -m tests.acceptance.drain_crowd [--clients 500] [--database sqlite|postgresql]

One node, clients over WebSocket, SSE and long-poll, messages from all three. The node gets SIGTERM in the middle of it.
Each client must be told ``live.bye`` 4412 with a ``retry_after_ms``, spread. While the node is away the tables are
looked at: every answered message is in the log, and none is remembered without an event or the other way round. Then
the node is started again; what was not answered is said again under the same id, and must be there once.

Starts everything itself and stops it. Exits with 1 when the promise is broken. The clients are written from
``docs/protocol.md`` and the expectation comes from REST and the tables.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass

from tests.support import crowd, stages, tally
from tests.support.crowd import End, Member
from tests.support.stages import Stage

STOPS = 12  # seconds that a node may take, whatever its clients do
TOLD = {
    "ws": ["live.bye 4412, closed with 4412"],
    "sse": ["live.bye 4412"],
    "poll": ["live.bye 4412", "503 unavailable"],  # the latter to one that was between two polls
}


@dataclass
class Result:
    report: str
    problems: list[str]


async def drain_crowd(stage: Stage, *, clients: int, rate: float, seconds: float, jitter: float = 0.5) -> Result:
    """Traffic for so long before the node is stopped, and after it is back."""
    node = stage.site.nodes[0]
    members = stage.crowd(clients, jitter=jitter)
    began = time.monotonic()
    try:
        await crowd.enter(members)
        report = [f"{clients} clients came in within {time.monotonic() - began:.1f} s"]
        stop = asyncio.Event()
        talking = asyncio.create_task(crowd.talk(members, rate, stop))
        await asyncio.sleep(seconds)
        stopped = time.monotonic()
        status = await asyncio.to_thread(node.stop)
        took = time.monotonic() - stopped
        report.append(f"SIGTERM: the process ended with {status} after {took:.1f} s")
        problems = [f"it took {took:.1f} s to stop"] if took > STOPS else []
        problems += _nothing_half_done(stage, members, report)
        await asyncio.to_thread(node.start)
        report.append(f"It was away for {time.monotonic() - stopped:.1f} s")
        await asyncio.sleep(seconds)
        stop.set()
        said = await talking
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

    problems += _goodbyes(members, stopped, report)
    found = tally.Tally()
    for member in members:
        found.count(member, logs[member.room])
    again = {id for member in members for id in member.said_again}
    report.append(f"{len(said)} messages were said, {rate:g} a second, {len(again)} of them again; {found}")
    if not found.is_right:
        problems += [f"what was heard is not the log: {found}", *found.wrong[:10]]
    without_event, forgotten, effects = stages.half_done(stage, set(said))
    if without_event or forgotten or effects != dict.fromkeys(said, 1):
        problems.append(
            f"in the end {len(without_event)} are remembered without an event, {len(forgotten)} the reverse, "
            f"{len(set(said) - effects.keys())} missing, {sum(count > 1 for count in effects.values())} twice"
        )
    return Result("\n".join(report), problems)


def _nothing_half_done(stage: Stage, members: list[Member], report: list[str]) -> list[str]:
    """While the node is away."""
    answered = {id for member in members for id in member.answered}
    pending = {id for member in members for id in member.pending}
    without_event, forgotten, effects = stages.half_done(stage, answered | pending)
    report.append(
        f"While it is away: {len(answered)} messages were answered, {len(answered - effects.keys())} of them missing; "
        f"{len(pending)} were not, {len(pending & effects.keys())} of them done; "
        f"{len(without_event) + len(forgotten)} half done"
    )
    problems = []
    if missing := answered - effects.keys():
        problems.append(f"{len(missing)} answered messages are not in the log")
    if without_event or forgotten:
        problems.append(f"half done: {len(without_event)} remembered without an event, {len(forgotten)} the reverse")
    return problems


def _goodbyes(members: list[Member], stopped: float, report: list[str]) -> list[str]:
    problems = []
    waits: list[int] = []
    for kind in ("ws", "sse", "poll"):
        crew = [member for member in members if member.transport == kind]
        ends = [end for member in crew for end in member.ends[:1]]
        how = Counter(map(_how, ends))
        back = [end.back - stopped for end in ends if end.back is not None]
        waits += [wait for end in ends if (wait := _retry_after(end)) is not None]
        told = tally.quantiles(end.at - stopped for end in ends)
        listed = ", ".join(f"{count} {what}" for what, count in how.most_common())
        report.append(f"  {kind:5}{len(crew):5} clients: {listed}\n        ended after seconds: {told}")
        report.append(f"        back after seconds: {tally.quantiles(back)}")
        if untold := len(crew) - sum(how[what] for what in TOLD[kind]):
            problems.append(f"{untold} of {kind} were not told: {listed}")
        if len(back) != len(crew):
            problems.append(f"{len(crew) - len(back)} of {kind} did not return")
    step = max(100, (max(waits, default=0) + 1) // 12)
    report.append(f"retry_after_ms, from:\n{tally.histogram(waits, step=step, unit='ms')}")
    if len(set(waits)) < len(waits) / 3:
        problems.append(f"retry_after_ms is not spread: {len(set(waits))} values for {len(waits)} clients")
    return problems


def _how(end: End) -> str:
    if end.bye:
        return f"live.bye {end.bye['code']}" + (f", closed with {end.close_code}" if end.close_code else "")
    return f"{end.refused.status} {end.refused.code}" if end.refused else f"cut off: {end.how}"


def _retry_after(end: End) -> int | None:
    if end.bye:
        return end.bye.get("retry_after_ms")
    return end.refused.retry_after_ms if end.refused else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rooms", type=int, default=10)
    parser.add_argument("--rate", type=float, default=15, help="messages a second in all (default: 15)")
    parser.add_argument("--seconds", type=float, default=6, help="before and after (default: 6)")
    parser.add_argument("--workers", type=int, default=1, help="processes; more need Valkey, which is started")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    crowd.room_for(4 * options.clients + 500)
    layer = "valkey" if options.workers > 1 else "memory"
    with (
        stages.sites(options.database) as sites,
        stages.staged(sites, rooms=options.rooms, workers=options.workers, layer=layer) as stage,
    ):
        done = asyncio.run(drain_crowd(stage, clients=options.clients, rate=options.rate, seconds=options.seconds))
    print(f"--- {options.database}, one node of {options.workers} processes\n{done.report}")
    for problem in done.problems:
        print(f"WRONG: {problem}")
    print("WRONG" if done.problems else "Everybody was told, nothing is half done, nothing lost.")
    return bool(done.problems)


if __name__ == "__main__":
    sys.exit(main())

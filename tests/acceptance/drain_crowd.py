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

import asyncio
import sys
import time
from collections import Counter

from tests.support import crowd, stages, tally
from tests.support.crowd import End, Member
from tests.support.stages import Play, Stage

STOPS = 12  # seconds that a node may take, whatever its clients do
TOLD = {
    "ws": ["live.bye 4412, closed with 4412"],
    "sse": ["live.bye 4412"],
    "poll": ["live.bye 4412", "503 unavailable"],  # the latter to one that was between two polls
}


async def drain_crowd(stage: Stage, *, clients: int, rate: float, seconds: float, jitter: float = 0.5) -> Play:
    """Traffic for so long before the node is stopped, and after it is back."""
    node = stage.site.nodes[0]
    play = Play(stage, stage.crowd(clients, jitter=jitter))
    stopped = 0.0

    async def stop() -> None:
        nonlocal stopped
        await asyncio.sleep(seconds)
        stopped = time.monotonic()
        status = await asyncio.to_thread(node.stop)
        took = time.monotonic() - stopped
        play.story.append(f"SIGTERM: the process ended with {status} after {took:.1f} s")
        play.problems += [f"it took {took:.1f} s to stop"] if took > STOPS else []
        play.problems += _nothing_half_done(stage, play.members, play.story)
        await asyncio.to_thread(node.start)
        play.story.append(f"It was away for {time.monotonic() - stopped:.1f} s")
        await asyncio.sleep(seconds)

    await play.run(rate, stop)
    play.problems += _goodbyes(play.members, stopped, play.story)
    return play


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
    parser = stages.play_options(str(__doc__))
    parser.add_argument("--workers", type=int, default=1, help="processes; more need Valkey, which is started")
    options = parser.parse_args()
    crowd.room_for(4 * options.clients + 500)
    layer = "valkey" if options.workers > 1 else "memory"
    with (
        stages.sites(options.database) as sites,
        stages.staged(sites, rooms=options.rooms, workers=options.workers, layer=layer) as stage,
    ):
        play = asyncio.run(drain_crowd(stage, clients=options.clients, rate=options.rate, seconds=options.seconds))
    title = f"{options.database}, one node of {options.workers} processes"
    return stages.tell(title, play, "Everybody was told, nothing is half done, nothing lost.")


if __name__ == "__main__":
    sys.exit(main())

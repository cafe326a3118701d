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

import asyncio
import sys
import time

from tests.support import crowd, stages, tally
from tests.support.crowd import Member
from tests.support.stages import Play, Stage


async def kill_node(stage: Stage, *, clients: int, rate: float, seconds: float, jitter: float = 0.5) -> Play:
    """Traffic for so long before the kill, while the node is away, and after it is back."""
    play = Play(stage, stage.crowd(clients, jitter=jitter))
    orphans: list[Member] = []
    killed = restarted = 0.0

    async def kill() -> None:
        nonlocal killed, restarted
        await asyncio.sleep(seconds)
        orphans.extend(member for member in play.members if member.at == stage.addresses[1])
        killed = time.monotonic()
        await asyncio.to_thread(stage.site.kill, 1)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(stage.site.nodes[1].start)
        restarted = time.monotonic()
        await asyncio.sleep(seconds)

    await play.run(rate, kill)
    play.problems += _returns(orphans, play.members, killed, restarted, play.story)
    return play


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
    options = stages.play_options(str(__doc__)).parse_args()
    crowd.room_for(4 * options.clients + 500)
    with (
        stages.sites(options.database) as sites,
        stages.staged(sites, rooms=options.rooms, nodes=2, layer="valkey") as stage,
    ):
        play = asyncio.run(kill_node(stage, clients=options.clients, rate=options.rate, seconds=options.seconds))
    return stages.tell(f"{options.database}, two nodes", play, "Nothing lost, nothing twice, nothing out of order.")


if __name__ == "__main__":
    sys.exit(main())

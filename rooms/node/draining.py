"""A node leaves: it finishes what it has begun, and sends its clients to another one, not all at once."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from rooms.contract import replaced
from rooms.node.hub import Hub

FINISH = 5.0  # seconds that commands under way may take
GOODBYE = 6.0  # seconds that clients may take to hang up; a little more than a connection gives them
SLICE = 250  # connections told in one turn: some milliseconds of the loop
RETURNS = 250  # clients a second that a node takes in: handshakes cost it about 4 ms each
SHORTEST = 1.0  # seconds over which even a few come back
LONGEST = 30.0  # seconds that nobody waits longer than: clients of a node that died wait as long at most
TURN = 1.0  # seconds that the next poll may take to follow an answer: a slow line, and what a page does first
LATE = 0.1  # seconds until we look for handshakes that were under way


async def drain(hub: Hub) -> None:
    """To be called when nothing new is accepted any more; the server stops after it.

    Commands that were handed in are finished and answered. What comes in from now on stays unanswered: its sender says
    it again, under the same id, to whichever node takes it in. Then everybody is told ``live.bye`` 4412, with
    ``retry_after_ms`` spread so that the other nodes can take them in. Who was answered a poll a moment ago finds us
    here with the next one, and is told the same.
    """
    hub.draining = True
    # Polls that are between two turns come back too.
    seats = hub.seats.count("connections_per_node")
    hub.spread = min(max(SHORTEST, seats / RETURNS), LONGEST)
    with suppress(TimeoutError):
        async with asyncio.timeout(FINISH):
            await hub.writer.drain()
    until = hub.seats.kept_at + TURN  # not of those who are answered with the goodbye
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE):
            while hub.connections:
                await _say_goodbye(hub)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LATE):
                        await hub.deserted()
    await asyncio.sleep(until - hub.loop.time())  # at once, when nobody is between two turns


async def _say_goodbye(hub: Hub) -> None:
    """To all who have not heard it."""
    staying = [connection for connection in hub.connections.values() if connection.closed is None]
    for number, connection in enumerate(staying, start=1):
        connection.close(replaced(random.randint(0, round(hub.spread * 1000))))  # noqa: S311
        if number % SLICE == 0:
            await asyncio.sleep(0)

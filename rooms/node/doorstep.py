"""Those who are refused at the door."""

from __future__ import annotations

import asyncio
from collections import Counter

MOMENT = 0.25  # seconds
WAITING = 20  # of one address: a socket each, and some kilobytes


class Doorstep:
    """Whom a limit turns away before anybody knows them, they hear of it a moment later.

    A refusal is cheap, not free: a millisecond for a handshake. Whoever asks again at once has waited between, which
    costs nothing. Of one address so many wait at a time, and the next ones hear of it at once.
    """

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()

    async def wait(self, address: str) -> None:
        if self._waiting[address] >= WAITING:
            return
        self._waiting[address] += 1
        try:
            await asyncio.sleep(MOMENT)
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]

    def __len__(self) -> int:
        """How many wait."""
        return self._waiting.total()

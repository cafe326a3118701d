"""How the connection is, for those who show or log it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum

KEPT = 100  # states that a slow observer is still told; of more, the latest


class Phase(StrEnum):
    CONNECTING = "connecting"  # for the first time
    OPEN = "open"
    RECONNECTING = "reconnecting"
    IDLE = "idle"  # the server closed it because it followed no room; the next use opens it again
    CLOSED = "closed"  # for good


@dataclass(frozen=True, slots=True)
class State:
    """:ivar reason: why the last connection ended; empty while all is well.
    :ivar code: the close code that goes with it.
    :ivar retry_at: when the next attempt begins, in seconds since 1970; None while one is under way.
    """

    phase: Phase
    reason: str = ""
    code: int | None = None
    retry_at: float | None = None


class Board:
    """Shows the present state, and each change of it to everyone who watches."""

    def __init__(self) -> None:
        self.state = State(Phase.CONNECTING)
        self._watchers: set[_Watcher] = set()

    def show(self, phase: Phase, reason: str = "", code: int | None = None, wait: float | None = None) -> None:
        """:param wait: seconds to the next attempt."""
        retry_at = None if wait is None else time.time() + wait
        state = State(phase, reason, code, retry_at)
        if state != self.state:
            self.state = state
            for watcher in self._watchers:
                watcher.states.append(state)
                watcher.news.set()

    async def watch(self) -> AsyncGenerator[State, None]:
        """The present state, and each that follows; ends with ``closed``."""
        watcher = _Watcher(self.state)
        self._watchers.add(watcher)
        try:
            while True:
                while watcher.states:
                    state = watcher.states.popleft()
                    yield state
                    if state.phase is Phase.CLOSED:
                        return
                watcher.news.clear()
                await watcher.news.wait()
        finally:
            self._watchers.discard(watcher)


class _Watcher:
    def __init__(self, state: State) -> None:
        self.states: deque[State] = deque([state], maxlen=KEPT)
        self.news = asyncio.Event()

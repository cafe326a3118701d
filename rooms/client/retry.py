"""Whether to come back, and when. Pure: time and chance come in as arguments. See "Errors and closings"."""

from __future__ import annotations

from dataclasses import dataclass

FIRST, LONGEST = 0.5, 30.0  # seconds
STEADY = 10.0  # seconds that a connection without rooms lasts to count as a success
NEVER = frozenset({1002, 1003, 1007, 1009})
LOST, BROKEN = 1006, 1002
IDLE, UNAUTHENTICATED, PROTOCOL_ERROR, FORBIDDEN = 4440, 4501, 4500, 4503


@dataclass(frozen=True, slots=True)
class End:
    """Why a connection ended: a close code, a reason, and the seconds that the server asks to wait.

    ``broken``: it was we who ended it, because the server broke a rule.
    """

    code: int
    reason: str
    retry_after: float | None = None
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Return:
    """Connect again after so many seconds."""

    wait: float


@dataclass(frozen=True, slots=True)
class Renew:
    """Connect again after so many seconds, once, with a renewed ticket or session."""

    wait: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Connect again when there is something to do."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Never again."""


Verdict = Return | Renew | Rest | Stop


def may_return(code: int) -> bool:
    return not 4500 <= code <= 4999 and code not in NEVER


def backoff(tries: int, chance: float) -> float:
    """Full jitter: a node that comes back does not meet all its clients at once.

    :param tries: that failed before this one.
    :param chance: from 0 to 1.
    :return: seconds.
    """
    return chance * min(LONGEST, FIRST * 2.0 ** min(tries, 10))


def http_end(status: int, reason: str, retry_after: float | None = None) -> End:
    """A refused HTTP request or handshake as the end of a connection."""
    if status == 401:
        code = UNAUTHENTICATED
    elif status == 403:
        code = FORBIDDEN
    elif status in (408, 425, 429) or status >= 500:
        code = LOST
    else:
        code = PROTOCOL_ERROR
    return End(code, f"{status} {reason}".strip(), retry_after)


class Retries:
    """What is remembered from one connection to the next.

    The count of failures begins anew only after a connection has proved itself: a room was joined, or it lasted
    :data:`STEADY` seconds. A server that says hello and falls over is not hammered.
    """

    def __init__(self, *, renewable: bool) -> None:
        """:param renewable: there is a fresh ticket or session to be had."""
        self.tries = 0
        self._broken = 0  # connections in a row that ended with a broken rule, proved as they may have been
        self._renewable = renewable
        self._renewed = False
        self._opened: float | None = None

    def opened(self, now: float) -> None:
        """``live.hello`` came."""
        self._opened = now

    def proved(self) -> None:
        """A room was joined."""
        self.tries = 0
        self._renewed = False

    def ended(self, end: End, now: float, chance: float) -> Verdict:
        """:param chance: from 0 to 1."""
        if self._opened is not None and now - self._opened >= STEADY:
            self.proved()
            self._broken = 0
        self._opened = None
        if end.broken:
            self.tries = max(self.tries, self._broken)
            self._broken += 1
        wait = backoff(self.tries, chance) if end.retry_after is None else end.retry_after
        if end.code == UNAUTHENTICATED:
            if not self._renewable or self._renewed:
                return Stop()
            self._renewed = True
            self.tries += 1
            return Renew(wait)
        if not may_return(end.code):
            return Stop()
        if end.code == IDLE:
            return Rest()
        self.tries += 1
        return Return(wait)

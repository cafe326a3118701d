"""A client that goes on beyond its limits. Pure: the time is an argument."""

from __future__ import annotations

from rooms.limits import Amount
from rooms.node.meter import Bucket

TIMES = 10  # as much as the limit
LONG = 10.0  # seconds


class Pressure:
    """How hard one connection presses.

    Refusals are cheap, not free: a connection is read at ten times its user's limit and no faster, all connections of
    the user on this node together. Who fills that for ten seconds without a pause does it on purpose.
    """

    def __init__(self, amount: Amount, now: float) -> None:
        rate = TIMES * amount.amount
        self._bucket = Bucket(Amount(rate, rate), now)
        self._since: float | None = None

    def refused(self, now: float, connections: int = 1) -> float:
        """One more was refused; the seconds until the connection is read on.

        :param connections: that the user has here.
        """
        wait = self._bucket.wait(now)
        self._bucket.take()
        if not wait:
            self._since = None
        elif self._since is None:
            self._since = now
        return wait * max(1, connections)

    def is_abuse(self, now: float) -> bool:
        return self._since is not None and now - self._since >= LONG

"""Where a connection stands: its place in each feed, and the credit that its client has left."""

from __future__ import annotations

from typing import Any

from rooms.contract import Refused
from rooms.delivery.feed import Feed


class Flow:
    """The window of one connection: counted frames that are out and not acknowledged.

    ``window`` is None for a client that does not acknowledge; then the transport's own back-pressure must do.
    """

    __slots__ = ("_out", "acknowledged", "sent", "window")

    def __init__(self, window: int | None) -> None:
        self.window = window
        self.sent = 0
        self.acknowledged = 0
        self._out: list[tuple[int, float]] = []  # (count, when) of unacknowledged frames, one a second is enough

    @property
    def has_credit(self) -> bool:
        return self.has_credit_for(1)

    def has_credit_for(self, frames: int) -> bool:
        return self.window is None or self.sent - self.acknowledged + frames <= self.window

    def count(self, now: float, frames: int = 1) -> None:
        """Counted frames go out."""
        if self.window is not None and (not self._out or now - self._out[-1][1] >= 1):
            self._out.append((self.sent + 1, now))
        self.sent += frames

    def acknowledge(self, frames: int) -> None:
        """:raises Refused: ``bad_data``, without a window; :raises ValueError: more than was sent."""
        if self.window is None:
            raise Refused("bad_data", "This connection was opened without flow=ack.")
        if frames > self.sent:
            raise ValueError("more was acknowledged than was sent")
        self.acknowledged = max(frames, self.acknowledged)
        if self.acknowledged == self.sent:
            self._out.clear()
        while len(self._out) > 1 and self._out[1][0] <= self.acknowledged + 1:
            self._out.pop(0)

    def stalled_for(self, now: float) -> float:
        """Age in seconds of the oldest unacknowledged frame, up to a second too old; 0 when there is none."""
        return now - self._out[0][1] if self._out else 0


class Reader:
    """One connection's place in one feed.

    ``cursor`` is the seq of the last event that went to the transport. ``state_after`` is set while the present
    ``latest`` values are sent, those up to ``cursor``; it is the seq of the last one that went. A ``stale`` one is due
    the room's snapshot, and gets no changes of it before. One that is not ``present`` only looks in.
    """

    __slots__ = (
        "connection", "cursor", "epoch", "feed", "grant", "held", "joined", "live", "present", "stale", "state_after",
    )  # fmt: skip

    def __init__(self, connection: Any, feed: Feed, grant: Any, *, present: bool = True) -> None:
        self.connection = connection
        self.feed = feed
        self.grant = grant
        self.cursor = 0
        self.epoch = ""
        self.state_after: int | None = None
        self.present = present
        self.stale = False
        self.joined = False  # from the live.ok of its join to its end
        self.held = False  # while it is not known whether it may still read
        self.live = False  # joined and not held: only then is anything delivered

    def join(self) -> None:
        self.joined, self.live = True, not self.held

    def leave(self) -> None:
        self.joined = self.live = False

    def hold(self) -> None:
        self.held, self.live = True, False

    def release(self) -> None:
        self.held, self.live = False, self.joined

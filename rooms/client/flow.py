"""What came and is not yet handled. Pure: time comes in as an argument, seconds of any steady clock."""

from __future__ import annotations

from collections import deque

LATEST = 1.0  # seconds that an acknowledgement waits for more; the protocol's limit is 5
STEPS = 4  # acknowledgements a window


class Receipt:
    """One frame. ``waiting``: its events that the application has not taken."""

    __slots__ = ("connection", "counted", "waiting")

    def __init__(self, connection: int, counted: bool) -> None:
        self.connection = connection
        self.counted = counted
        self.waiting = 0


class Flow:
    """The frames that came, in order, until the application has taken what is in them.

    A frame counts as handled when its events and those of all earlier frames are taken: ``live.ack`` has one number. So
    the slowest room of a connection holds up the others, which is what bounds the memory: never more than the window
    waits here, and what an earlier connection left.
    """

    def __init__(self) -> None:
        self._receipts: deque[Receipt] = deque()
        self._connection = 0
        self._window: int | None = None
        self._handled = 0  # counted frames of this connection
        self._acknowledged = 0
        self._since: float | None = None  # when the oldest of those that are handled and not acknowledged was handled

    def __len__(self) -> int:
        """Frames that are not yet handled, whichever connection they came on."""
        return len(self._receipts)

    @property
    def leftover(self) -> int:
        """Frames of earlier connections that are not yet handled."""
        return sum(receipt.connection != self._connection for receipt in self._receipts)

    def begin(self) -> None:
        """A new connection counts from 0."""
        self._connection += 1
        self._window = self._since = None
        self._handled = self._acknowledged = 0

    def open(self, window: int | None) -> None:
        """:param window: as ``live.hello`` has it; None when nothing is acknowledged."""
        self._window = window

    def arrived(self, counted: bool) -> Receipt:
        """A frame came: raise ``waiting`` for each of its events that waits, then say that it is :meth:`complete`."""
        return Receipt(self._connection, counted)

    def complete(self, receipt: Receipt, now: float) -> None:
        if receipt.counted or receipt.waiting:
            self._receipts.append(receipt)
            self._settle(now)

    def taken(self, receipt: Receipt, now: float) -> bool:
        """The application took one of its events, or never will; whether a frame is handled by that."""
        receipt.waiting -= 1
        if receipt.waiting or self._receipts[0] is not receipt:
            return False
        self._settle(now)
        return True

    def _settle(self, now: float) -> None:
        """See which frames are handled by now."""
        while self._receipts and self._receipts[0].waiting == 0:
            receipt = self._receipts.popleft()
            if receipt.counted and receipt.connection == self._connection:
                self._handled += 1
                if self._since is None:
                    self._since = now

    def acknowledge(self, now: float) -> int | None:
        """What ``live.ack`` has to say now; it counts as said."""
        due = self.next_due()
        if due is None or now < due:
            return None
        self._acknowledged, self._since = self._handled, None
        return self._handled

    def next_due(self) -> float | None:
        """When :meth:`acknowledge` has something to say."""
        if self._window is None or self._since is None:
            return None
        if self._handled - self._acknowledged >= max(1, self._window // STEPS):
            return self._since
        return self._since + LATEST

"""One room as this client follows it. Pure: time and chance come in as arguments."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

import msgspec

from rooms.client.errors import Broken, LiveError
from rooms.client.events import Event, Left, PassedOver, Reset
from rooms.client.flow import Receipt
from rooms.client.frames import Meta, Vector
from rooms.client.retry import backoff
from rooms.contract import Cursor, Refused

Shape = TypeVar("Shape", bound=msgspec.Struct)

LEAST = 0.5  # seconds before a room that was refused for now is asked for again, when the server does not say


class Standing(Enum):
    WANTED = "wanted"  # this connection was not asked for it yet
    ASKED = "asked"
    JOINED = "joined"
    OVER = "over"  # refused, left or ended: it is not asked for again


class _Joined(msgspec.Struct):
    cursor: str
    verdict: str
    can: frozenset[str] = frozenset()


class _Cursor(msgspec.Struct):
    seq: int
    skipped: int


class _Reset(msgspec.Struct):
    cursor: str
    reason: str = ""


class _Left(msgspec.Struct):
    code: str
    reason: str = ""


class Following:
    """A room's place in its log, and what comes of each thing that the server says of it.

    Guarantees: what :meth:`hear` returns are events of which each logged one comes once, in rising ``seq``, with
    nothing missing that no :class:`PassedOver` or :class:`Reset` tells of, over any number of connections. What the
    server says against that is :class:`Broken`, and leaves the place where it was.
    """

    def __init__(self, name: str, cursor: str | None = None, *, present: bool = True) -> None:
        """
        :param present: whether it is to count as being there.
        :raises ValueError: when the cursor is none.
        """
        self.name = name
        self.present = present
        self.standing = Standing.WANTED
        self.place = None if cursor is None else _parse(cursor, ValueError)
        self.not_before = 0.0  # when it may be asked for
        self.can: frozenset[str] = frozenset()  # what we may do there, from the last answer
        self.inbox: deque[tuple[Event, Receipt]] = deque()  # what the application has not taken; Flow bounds it
        self.error: LiveError | None = None  # why it is over, to be raised when the inbox is empty
        self.wake: Callable[[], object] = lambda: None  # there is something to see in one of the two
        self.repeated = 0  # events that came again, and were dropped
        self._tries = 0
        self._has_joined = False

    @property
    def cursor(self) -> str | None:
        """Where to go on; None when it begins with the next connection."""
        return None if self.place is None else str(self.place)

    # --- asking

    def due(self, now: float) -> bool:
        return self.standing is Standing.WANTED and now >= self.not_before

    def ask(self) -> None:
        self.standing = Standing.ASKED

    def resumes(self) -> bool:
        """It was asked for with a cursor and goes on there, if so it was."""
        if self.standing is not Standing.ASKED or self.place is None:
            return False
        self._joined()
        return True

    def lost(self) -> None:
        """The connection is gone."""
        if self.standing is not Standing.OVER:
            self.standing = Standing.WANTED

    def end(self, error: LiveError | None = None) -> None:
        if self.standing is not Standing.OVER:
            self.standing, self.error = Standing.OVER, error
            self.wake()

    # --- the answer

    def welcomed(self, data: Any) -> Reset | None:
        """The answer to the join: where events follow from.

        :raises Broken: when it goes on elsewhere than where we were and does not say ``reset``.
        """
        answer = _as(data, _Joined)
        place = _parse(answer.cursor, Broken)
        began, self.place = self.place, place
        if answer.verdict == "resumed" and began != place:
            self.place = began
            raise Broken(f"resumed at {place}, not at {began}")
        self.can = answer.can
        self._joined()
        if began is None or answer.verdict == "resumed":
            return None
        return self._reset(Vector("live.reset", data), "the place is no longer there")

    def refused(self, data: Any, now: float, chance: float) -> Left | None:
        """The join is refused: for now, and the room is asked for again; or for good. Of a room that was joined before
        that is a right that was lost meanwhile.

        :param chance: from 0 to 1.
        """
        error = LiveError.from_data(data)
        if not error.temporary:
            left = self._has_joined and self.place is not None
            self.end(None if left else error)
            return self._left(Vector("live.left", data), error.code, error.detail) if left else None
        wait = LEAST + backoff(self._tries, chance) if error.retry_after is None else error.retry_after
        self._tries += 1
        self.standing, self.not_before = Standing.WANTED, now + wait
        return None

    # --- what happens

    def hear(self, vector: Vector) -> Event | None:
        """What this says to the application, which may be nothing: a repeat, or something not of this subscription.

        :raises Broken: ``seq`` does not rise by one, or the vector is not what its name says.
        """
        if self.standing is not Standing.JOINED or self.place is None:
            return None
        match vector.name:
            case "live.cursor":
                return self._passed_over(vector, self.place)
            case "live.reset":
                told = _as(vector.data, _Reset)
                self.place = _parse(told.cursor, Broken)
                return self._reset(vector, told.reason)
            case "live.left":
                left = _as(vector.data, _Left)
                self.end()
                return self._left(vector, left.code, left.reason)
            case name if name.startswith("live."):
                return None
        if vector.meta.seq is not None:
            if vector.meta.seq <= self.place.seq:
                self.repeated += 1
                return None
            if vector.meta.seq != self.place.seq + 1:
                raise Broken(f"seq {vector.meta.seq} after {self.place.seq}")
            self.place = Cursor(self.place.epoch, vector.meta.seq)
        return Event(**self._common(vector))

    # --- within

    def _joined(self) -> None:
        self.standing, self._tries, self._has_joined = Standing.JOINED, 0, True
        self.wake()

    def _passed_over(self, vector: Vector, place: Cursor) -> PassedOver | None:
        told = _as(vector.data, _Cursor)
        if told.seq <= place.seq:
            return None
        self.place = Cursor(place.epoch, told.seq)
        return PassedOver(**{**self._common(vector), "seq": told.seq}, skipped=told.skipped)

    def _reset(self, vector: Vector, reason: str) -> Reset:
        return Reset(**self._common(vector), reason=reason)

    def _left(self, vector: Vector, code: str, reason: str) -> Left:
        return Left(**self._common(vector), code=code, reason=reason)

    def _common(self, vector: Vector) -> dict[str, Any]:
        meta: Meta = vector.meta
        return {
            "name": vector.name,
            "data": vector.data,
            "room": self.name,
            "cursor": str(self.place),
            "seq": meta.seq,
            "at": meta.at,
            "by": meta.by,
            "key": meta.key,
        }


def _parse(cursor: str, failure: type[Exception]) -> Cursor:
    try:
        return Cursor.parse(cursor)
    except Refused as refused:
        raise failure(f"{cursor!r} is no cursor: <epoch>:<seq>") from refused


def _as(data: Any, shape: type[Shape]) -> Shape:
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise Broken(f"{shape.__name__}: {error}") from error

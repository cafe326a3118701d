"""What a room's stream yields: events, and notices of what is not told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in a room.

    :ivar data: the object as decoded; None in a ``latest`` event whose ``key`` is removed.
    :ivar seq: its number in the room's log; None for a transient one.
    :ivar at: when, in UTC.
    :ivar by: the id of the user who did it, or None.
    :ivar cursor: the place after it. A program that keeps it goes on from there another day.
    """

    name: str
    data: Any
    room: str
    cursor: str
    seq: int | None = None
    at: datetime | None = None
    by: str | None = None
    key: str | None = None


class Notice(Event, frozen=True, kw_only=True):
    """Not an event but word of the stream itself; its name begins with ``live.``."""


class Reset(Notice, frozen=True, kw_only=True):
    """What happened between the place where we were and ``cursor`` will not be told: load the room afresh.

    Over REST, for instance: the answer's ``Live-Cursor`` says up to where it tells, and events up to there are dropped.
    """

    reason: str


class PassedOver(Notice, frozen=True, kw_only=True):
    """``skipped`` events up to ``seq`` were let go, as their policy allows; never a durable one."""

    skipped: int


class Left(Notice, frozen=True, kw_only=True):
    """The server ended this subscription, and the stream ends: ``revoked``, ``archived``, ``tenant_suspended``; or the
    error code with which the room was refused when a new connection asked for it.
    """

    code: str
    reason: str

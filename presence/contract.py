"""Who is here, as clients are told it, and what they may say of themselves."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from rooms.contract import IDLE, Close, Person, Time, event

TEXT_MAX = 200  # characters of a status's own text
DISCONNECTED = Close(IDLE.code, "disconnected by an administrator")  # the client comes back when its user acts
StatusText = Annotated[str, Meta(max_length=TEXT_MAX)]


class Status(StrEnum):
    ACTIVE = "active"
    AWAY = "away"
    BUSY = "busy"


class Means(msgspec.Struct, frozen=True):
    """What a person is here by: one of each transport and device, since the first of them came."""

    transport: str
    since: Time
    device: str


class Present(msgspec.Struct, frozen=True):
    """One person who is here, however many connections they have."""

    user: Person
    status: Status
    text: str
    since: Time
    metas: list[Means]


@event("presence.state", policy="transient")
class PresenceState(msgspec.Struct, frozen=True):
    """Everybody who is here. In a room above ``roster_limit`` nobody is named and ``count`` alone is true."""

    people: list[Present]
    count: int


@event("presence.diff", policy="transient")
class PresenceDiff(msgspec.Struct, frozen=True):
    """What has changed; its snapshot is ``presence.state``. Above ``roster_limit`` only ``count`` is told."""

    joined: list[Present]
    left: list[Present]
    changed: list[Present]
    count: int


@event("presence.counts", policy="transient")
class PresenceCounts(msgspec.Struct, frozen=True):
    """In ``~all``: how many people are in rooms that the whole tenant may know of, by slug; those that changed."""

    rooms: dict[str, int]


class SetStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status: Status
    text: StatusText = ""

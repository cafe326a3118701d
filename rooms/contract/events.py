"""What may happen in a room: every event with its shape and its policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from rooms.contract.objects import DeletedMessage, Member, Message, Person, Room
from rooms.contract.values import EVENT_NAME, Policy, Seq, Text

StructType = TypeVar("StructType", bound=type[msgspec.Struct])


@dataclass(frozen=True, slots=True)
class EventType:
    name: str
    data: type[msgspec.Struct]
    policy: Policy
    key: Callable[[Any], str] | None


EVENTS: dict[str, EventType] = {}


def event(
    name: str, *, policy: str | Policy = Policy.DURABLE, key: Callable[[Any], str] | None = None
) -> Callable[[StructType], StructType]:
    """Declare an event: the decorated Struct is the shape of its data.

    :param policy: ``durable``, ``latest`` or ``transient``.
    :param key: for ``latest`` and only there: the data's key, at most 200 characters.
    :raises ValueError: at import, when the name is taken or is not lower case and dotted, or key and policy disagree.
    """
    policy = Policy(policy)
    if not EVENT_NAME.match(name) or name.startswith("live."):
        raise ValueError(f"{name!r} is not an event name: lower case, dotted, not live.*")
    if name in EVENTS:
        raise ValueError(f"The event {name!r} is declared already")
    if (policy is Policy.LATEST) != (key is not None):
        raise ValueError(f"{name!r}: a key belongs to a latest event, and to no other")

    def declare(data: StructType) -> StructType:
        EVENTS[name] = EventType(name, data, policy, key)
        return data

    return declare


@event("chat.message")
class ChatMessage(msgspec.Struct, frozen=True):
    message: Message


@event("chat.edited")
class ChatEdited(msgspec.Struct, frozen=True):
    message: Message


@event("chat.deleted")
class ChatDeleted(msgspec.Struct, frozen=True):
    message: DeletedMessage


@event("chat.reaction", policy=Policy.LATEST, key=lambda data: f"{data.message}:{data.emoji}")
class ChatReaction(msgspec.Struct, frozen=True):
    message: str
    emoji: str
    users: list[str]


@event("chat.read", policy=Policy.LATEST, key=lambda data: f"{data.user.id}:{data.room}" if data.room else data.user.id)
class ChatRead(msgspec.Struct, frozen=True):
    """``room`` is the slug of the room that was read, where the mark is kept in the reader's own ``~me``."""

    user: Person
    seq: Seq
    room: str | UnsetType = UNSET


@event("chat.typing", policy=Policy.TRANSIENT)
class ChatTyping(msgspec.Struct, frozen=True):
    """Lapses after 6 s."""

    user: Person
    typing: bool


class RoomEvent(Room, frozen=True):
    """A room as the least privileged reader of the log may see it."""


event("room.created")(RoomEvent)
event("room.updated")(RoomEvent)
event("room.archived")(RoomEvent)


@event("room.removed")
class RoomRemoved(msgspec.Struct, frozen=True):
    """A room left the list that everybody in the tenant sees. It does not say why: what is private stays so."""

    slug: str


@event("room.announcement")
class RoomAnnouncement(msgspec.Struct, frozen=True):
    text: Text
    level: Literal["info", "warning", "critical"] = "info"


event("member.added")(Member)
event("member.changed")(Member)
event("member.removed")(Member)

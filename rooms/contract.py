"""The wire contract: every object, event, command, error and close code, declared once.

Each shape is one :class:`msgspec.Struct`. REST shows it, events carry it, commands are checked against it, and the
schemas are generated from it. A host declares its own with :func:`event` and :func:`command`::

    @event("poll.voted", policy="latest", key=lambda data: data.poll)
    class PollVoted(Struct):
        poll: str
        votes: int

This module imports nothing of Django: models and settings take their lengths and choices from here.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

if TYPE_CHECKING:
    from rooms import models

PROTOCOL = 1
MAX_NESTING = 32  # arrays and objects inside each other in one frame
TEXT_MAX = 8_000  # characters of a message
SLUG_MAX = 50
SLUG_PATTERN = r"^[a-z0-9][a-z0-9_-]*\Z"
NAME_MAX = 200
KEY_MAX = 200
EMOJI_MAX = 32
REACTIONS_MAX = 32  # different emoji on one message
EVENT_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z")
COMMAND_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
EFFECT_ID_MIN = 16  # characters: 96 random bits in base64

Seq = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # the largest integer that JavaScript holds exactly
Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Time = Annotated[datetime, Meta(tz=True)]
Text = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
Slug = Annotated[str, Meta(pattern=SLUG_PATTERN, max_length=SLUG_MAX)]
Id = Annotated[str, Meta(min_length=1, max_length=64)]


class Policy(StrEnum):
    """What the log and a reader who is behind do with an event."""

    DURABLE = "durable"  # logged; each reader gets each one, once, in order
    LATEST = "latest"  # logged under a key; only the newest of a key is kept and caught up on
    TRANSIENT = "transient"  # not logged, worth nothing later


class Right(StrEnum):
    """What a grant may hold for one room."""

    READ = "read"
    WRITE = "write"
    MODERATE = "moderate"  # delete what others wrote, change who takes part
    MANAGE = "manage"  # change and archive the room; in ``~all``: rooms and members of the tenant


class Visibility(StrEnum):
    PUBLIC = "public"
    TENANT = "tenant"
    PRIVATE = "private"


class Role(StrEnum):
    """A person's place in a tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    GUEST = "guest"


class Part(StrEnum):
    """A person's part in one room; it overrides the role."""

    MODERATOR = "moderator"
    SPEAKER = "speaker"
    LISTENER = "listener"
    BANNED = "banned"


def holds_nul(text: bytes) -> bool:
    """Whether U+0000 is in the strings of this JSON: PostgreSQL refuses it in text, so nobody may say it."""
    return b"\\u0000" in text and any_nul(msgspec.json.decode(text))


def any_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or any_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(map(any_nul, value))


# --- errors and closings ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ErrorCode:
    http: int
    temporary: bool = False


ERRORS: dict[str, ErrorCode] = {
    "bad_frame": ErrorCode(400),
    "bad_data": ErrorCode(400),
    "unknown_name": ErrorCode(400),
    "id_required": ErrorCode(400),
    "id_reused": ErrorCode(409),
    "too_large": ErrorCode(413),
    "unauthenticated": ErrorCode(401),
    "forbidden": ErrorCode(403),
    "not_found": ErrorCode(404),
    "not_joined": ErrorCode(409),
    "conflict": ErrorCode(409),
    "rate_limited": ErrorCode(429, temporary=True),
    "too_many_rooms": ErrorCode(429, temporary=True),
    "unavailable": ErrorCode(503, temporary=True),
}


class Refused(Exception):
    """A command or request that is refused: a code of :data:`ERRORS` and a sentence that names no room."""

    def __init__(
        self, code: str, detail: str, *, version: int | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.version = version
        self.retry_after_ms = retry_after_ms

    @property
    def http(self) -> int:
        return ERRORS[self.code].http

    def as_data(self) -> Error:
        return Error(
            code=self.code,
            detail=self.detail,
            temporary=ERRORS[self.code].temporary,
            retry_after_ms=UNSET if self.retry_after_ms is None else self.retry_after_ms,
            version=UNSET if self.version is None else self.version,
        )


def not_found() -> Refused:
    """The one answer for a room that is not there and for one that this user may not know of."""
    return Refused("not_found", "There is no such room.")


def unavailable() -> Refused:
    return Refused("unavailable", "The database cannot serve this now.")


class Close(msgspec.Struct, frozen=True):
    """A close code and its reason, as ``live.bye`` tells it before the socket closes."""

    code: int
    reason: str
    retry_after_ms: int | UnsetType = UNSET


TOO_SLOW = Close(4408, "too slow")
IDLE = Close(4440, "idle")
PROTOCOL_ERROR = Close(4500, "protocol error")
UNAUTHENTICATED = Close(4501, "unauthenticated")
FORBIDDEN = Close(4503, "forbidden")
BY_CODE = {close.code: close for close in (TOO_SLOW, IDLE, PROTOCOL_ERROR, UNAUTHENTICATED, FORBIDDEN)}


# --- objects ---------------------------------------------------------------------------------------------------------


class Person(msgspec.Struct, frozen=True):
    """A user as others see them: the id as a string, the full name, else the username."""

    id: str
    name: str

    @classmethod
    def from_row(cls, user: Any) -> Person:
        return cls(id=str(user.pk), name=user.get_full_name() or user.get_username())


class Message(msgspec.Struct, frozen=True):
    """A chat message. A deleted one has ``deleted`` in place of its text; without the account there is no author."""

    id: str
    author: Person | None
    created_at: Time
    version: Version
    reply_to: str | None
    text: str | UnsetType = UNSET
    deleted: Literal[True] | UnsetType = UNSET

    @classmethod
    def from_row(cls, row: models.Message) -> Message:
        return cls(
            id=str(row.pk),
            author=Person.from_row(row.author) if row.author else None,
            created_at=row.created_at,
            version=row.version,
            reply_to=str(row.reply_to_id) if row.reply_to_id else None,
            text=UNSET if row.deleted else row.text,
            deleted=True if row.deleted else UNSET,
        )


class DeletedMessage(msgspec.Struct, frozen=True):
    id: str
    version: Version
    deleted: Literal[True] = True

    @classmethod
    def from_row(cls, row: models.Message) -> DeletedMessage:
        return cls(id=str(row.pk), version=row.version)


class Room(msgspec.Struct, frozen=True):
    slug: str
    tenant: str
    name: str
    visibility: Visibility
    read_only: bool
    archived: bool
    epoch: str
    head: Seq

    @classmethod
    def from_row(cls, row: models.Room) -> Room:
        """From a room with its tenant and log selected."""
        return cls(
            slug=row.address.partition("/")[2],  # a ~me is named ~me, whoever's it is
            tenant=row.tenant.slug,
            name=row.name,
            visibility=Visibility(row.visibility),
            read_only=row.read_only,
            archived=row.archived,
            epoch=row.log.epoch,
            head=row.log.head,
        )


class Tenant(msgspec.Struct, frozen=True):
    """A tenant with the reader's own role in it."""

    slug: str
    name: str
    role: Role

    @classmethod
    def from_row(cls, row: models.Membership) -> Tenant:
        """From the reader's membership with its tenant selected."""
        return cls(slug=row.tenant.slug, name=row.tenant.name, role=Role(row.role))


class Member(msgspec.Struct, frozen=True):
    """A person and their role in the tenant, or their part in the room."""

    user: Person
    role: Literal["owner", "admin", "member", "guest", "moderator", "speaker", "listener", "banned"]
    # each Role and each Part, spelled out: msgspec has no union of two enums

    @classmethod
    def from_row(cls, row: models.Membership | models.Participant) -> Member:
        """From a membership or a part with its user selected."""
        return cls(user=Person.from_row(row.user), role=cast(Any, row.role))


class Error(msgspec.Struct, frozen=True):
    """The data of ``live.error``, and the body of a refused HTTP request."""

    code: str
    detail: str
    temporary: bool
    retry_after_ms: int | UnsetType = UNSET
    version: Version | UnsetType = UNSET


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``{}``"""


# --- events ----------------------------------------------------------------------------------------------------------

StructType = TypeVar("StructType", bound=type[msgspec.Struct])
StructValue = TypeVar("StructValue", bound=msgspec.Struct)


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


@event("room.announcement")
class RoomAnnouncement(msgspec.Struct, frozen=True):
    text: Text
    level: Literal["info", "warning", "critical"] = "info"


event("member.added")(Member)
event("member.changed")(Member)
event("member.removed")(Member)


# --- commands --------------------------------------------------------------------------------------------------------


class LiveJoin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cursor: str | UnsetType = UNSET
    state: bool = False


class LiveAck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    frames: Seq


class LiveAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ticket: str


class ChatSend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: Text
    reply_to: Id | None = None


class ChatEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    message: Id
    text: Text
    version: Version | UnsetType = UNSET


class ChatDelete(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    message: Id
    version: Version | UnsetType = UNSET


class ChatReact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    message: Id
    emoji: Annotated[str, Meta(min_length=1, max_length=EMOJI_MAX)]
    on: bool = True


class SetTyping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    typing: bool = True


class MarkRead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seq: Seq


class CreateRoom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    slug: Slug
    name: Name
    visibility: Visibility = Visibility.TENANT
    read_only: bool = False


class UpdateRoom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    visibility: Visibility | UnsetType = UNSET
    read_only: bool | UnsetType = UNSET
    archived: bool | UnsetType = UNSET


class UpdateTenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name


class SetMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user: Id
    role: Role = Role.MEMBER


class SetParticipant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user: Id
    role: Part = Part.SPEAKER


class Remove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Take a person out of the tenant, or out of the room's participants."""

    user: Id


class Sent(msgspec.Struct, frozen=True):
    """The answer to ``chat.send``."""

    seq: Seq
    message: str
    version: Version
    created_at: Time


class Changed(msgspec.Struct, frozen=True):
    """The answer to ``chat.edit`` and ``chat.delete``."""

    seq: Seq
    version: Version


class Logged(msgspec.Struct, frozen=True):
    """The answer to a command whose effect is one event."""

    seq: Seq


@dataclass(frozen=True, slots=True)
class Call:
    """One command as it reaches its effect, inside the effect's transaction and under the room's row lock.

    ``user`` and ``room`` are rows; ``can`` holds the rights as they stand under the lock.
    """

    user: Any
    room: models.Room
    can: frozenset[Right]
    id: str | None


Effect = Callable[[Call, Any], msgspec.Struct | None]


@dataclass(frozen=True, slots=True)
class CommandType:
    name: str
    data: type[msgspec.Struct]
    right: Right
    effect: Effect
    remembered: bool
    transient: bool
    wire: bool


COMMANDS: dict[str, CommandType] = {}


def command(
    name: str,
    data: type[msgspec.Struct],
    *,
    right: str | Right = Right.WRITE,
    remembered: bool = True,
    transient: bool = False,
    wire: bool = True,
) -> Callable[[Effect], Effect]:
    """Declare a command: the decorated function is its effect, ``effect(call, data)``.

    The effect runs in a transaction under the room's row lock, after the caller's ``right`` was checked there. It
    changes rows and appends events, raises :class:`Refused` *before* it has changed anything, and returns the answer:
    a Struct of ids and numbers (it is stored), or None for ``{}``. It may run again after a failed transaction.

    :param remembered: it needs an id and happens once; its answer is given again for a day. False for what may as well
        happen twice, such as a read mark.
    :param transient: it appends nothing to the log (typing): no id, no room lock.
    :param wire: False for what only REST offers.
    :raises ValueError: at import, when the name is taken or not a name.
    """
    if not EVENT_NAME.match(name) or name.startswith("live."):
        raise ValueError(f"{name!r} is not a command name: lower case, dotted, not live.*")
    if name in COMMANDS:
        raise ValueError(f"The command {name!r} is declared already")

    def declare(effect: Effect) -> Effect:
        COMMANDS[name] = CommandType(name, data, Right(right), effect, remembered and not transient, transient, wire)
        return effect

    return declare


def new_command_id() -> str:
    """128 random bits."""
    return secrets.token_urlsafe(16)


class Request(msgspec.Struct, frozen=True):
    """A command that was understood: its shape is right, nothing else is known of it yet."""

    type: CommandType
    data: Any
    room: str  # the address
    id: str | None


def request(name: str, data: Any, *, room: Any, id: Any, wire: bool = False) -> Request:
    """Check a command's name, room, id and data.

    :param data: plain values as decoded, or the command's Struct.
    :param wire: it came from a client in a frame, for whom what only REST offers does not exist.
    :raises Refused: ``unknown_name``, ``id_required`` or ``bad_data``.
    """
    kind = COMMANDS.get(name)
    if kind is None or (wire and not kind.wire):
        raise Refused("unknown_name", "There is no such command.")
    if id is not None and not (isinstance(id, str) and COMMAND_ID.match(id)):
        raise Refused("bad_data", "An id has 1 to 64 characters of A-Z a-z 0-9 _ - - at `$.meta.id`")
    if kind.remembered:
        if id is None:
            raise Refused("id_required", "This command needs an id.")
        if len(id) < EFFECT_ID_MIN:
            raise Refused("bad_data", f"The id of an effect has at least {EFFECT_ID_MIN} characters - at `$.meta.id`")
    if not isinstance(room, str):
        raise Refused("bad_data", "This command needs a room - at `$.meta.room`")
    if not isinstance(data, kind.data):
        data = checked(data, kind.data)
    return Request(kind, data, room, id)


def checked(data: Any, shape: type[StructValue]) -> StructValue:
    """Plain values as this Struct.

    :raises Refused: ``bad_data``, with the place of what is wrong.
    """
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise Refused("bad_data", str(error)) from None


# --- addresses and cursors -------------------------------------------------------------------------------------------


class Cursor(msgspec.Struct, frozen=True):
    """A place in a room's log: the epoch and the seq after which a reader goes on."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """:raises Refused: ``bad_data``, when it is no cursor."""
        match = _CURSOR.match(text)
        if not match:
            raise Refused("bad_data", "The cursor is not <epoch>:<seq>.")
        return cls(match[1], int(match[2]))


_CURSOR = re.compile(r"([0-9a-f]{1,16}):([0-9]{1,16})\Z")

"""What a client may say: every command with its shape, its answer and the right that it takes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from rooms.contract.errors import Refused
from rooms.contract.values import (
    COMMAND_ID,
    EFFECT_ID_MIN,
    EMOJI_MAX,
    EVENT_NAME,
    Id,
    Name,
    Part,
    Right,
    Role,
    Seq,
    Slug,
    Text,
    Time,
    Version,
    Visibility,
)

if TYPE_CHECKING:
    from rooms import models


StructValue = TypeVar("StructValue", bound=msgspec.Struct)


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``{}``"""


class LiveJoin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``present`` is false for a page that only looks in, such as a list of rooms: it is nobody who is here."""

    cursor: str | UnsetType = UNSET
    state: bool = False
    present: bool = True


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

    ``user`` and ``room`` are rows; ``can`` holds the rights as they stand under the lock. ``connection`` is the id of
    the one over which it came, as its client has it: it proves nothing.
    """

    user: Any
    room: models.Room
    can: frozenset[Right]
    id: str | None
    connection: str | None = None


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

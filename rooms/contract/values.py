"""Numbers, names and small types that the shapes are made of."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

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

"""Bodies and answers that only REST has."""

from __future__ import annotations

from typing import Any

import msgspec

from rooms.contract import Part, Role, Seq, Text


class MessageText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What replaces a message's text."""

    text: Text


class MemberRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member's new role."""

    role: Role


class ParticipantRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A participant's new part."""

    role: Part


class Events(msgspec.Struct, frozen=True):
    """A look at a room's log at one moment. Events up to ``floor`` may be gone; an event is ``[name, data, meta]``."""

    epoch: str
    floor: Seq
    head: Seq
    events: list[tuple[str, dict[str, Any] | None, dict[str, Any]]]

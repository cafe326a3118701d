"""Rooms and cursors as a URL and ``Last-Event-ID`` have them: ``acme/general@e7a1…:41``, with spaces between."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from rooms.contract import Cursor, Refused
from rooms.delivery.reader import Reader
from rooms.delivery.session import Join, error

_PLACE = re.compile(r"([^@]*)(?:@(.*))?", re.DOTALL)


def places(parts: Iterable[str]) -> dict[str, str | None]:
    """The rooms of these parts with their cursors, which may be none; of a room that is named twice the last."""
    matches = [match for part in parts if (match := _PLACE.fullmatch(part))]
    return {match[1]: match[2] for match in matches}


def asked(
    wanted: dict[str, str | None], *, max_rooms: int, quiet: bool = False, absent: Collection[str] = ()
) -> tuple[list[Join], list[bytes]]:
    """What is to be joined, and a vector for each room whose cursor is none. An answer names the room as it was given.

    :param absent: the rooms of them that are read without being there.
    :raises Refused: ``too_many_rooms``.
    """
    if len(wanted) > max_rooms:
        raise Refused("too_many_rooms", f"A connection joins at most {max_rooms} rooms.")
    joins, refused = [], []
    for room, cursor in wanted.items():
        try:
            place = None if cursor is None else Cursor.parse(cursor)
            joins.append(Join(room, room, place, quiet=quiet, present=room not in absent))
        except Refused as malformed:
            refused.append(error(malformed, room))
    return joins, refused


def composite(readers: Iterable[Reader]) -> str:
    """Where all of these stand."""
    return " ".join(f"{reader.grant.address}@{reader.epoch}:{reader.cursor}" for reader in readers)

"""Places in the pages of rooms that other apps fill with templates of theirs. Rooms know of none of them."""

from __future__ import annotations

from enum import StrEnum


class Slot(StrEnum):
    """Where in a page. What stands there has the page's context."""

    BESIDE_ROOM = "beside-room"  # on the page of a room: ``page``, ``room``
    ROOM_LIST = "room-list"  # once on the page of my rooms, before the lists: ``tenants``
    ROOM_ROW = "room-row"  # in the line of each room there: ``row``


_filled: dict[Slot, list[str]] = {slot: [] for slot in Slot}


def fill(slot: Slot, template: str) -> None:
    """From ``AppConfig.ready()``. Several apps may fill one slot, each adds to it."""
    if template not in _filled[slot]:
        _filled[slot].append(template)


def templates(slot: Slot) -> tuple[str, ...]:
    return tuple(_filled[slot])

"""``{% load presence %}``"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django import template

from presence.models import RoomPresence
from rooms.models import Room
from rooms.templatetags.rooms import live_session

register = template.Library()


@register.inclusion_tag("presence/live_roster.html", takes_context=True)
def live_roster(context: template.Context, room: Room | str, heading: int = 2, folds: bool = False) -> dict[str, Any]:
    """``{% live_roster "acme/general" %}``: who is in a room, on any page of a site, with its style and its script.

    It says nothing of the room by itself: the browser joins it, and the gate decides. Who may not know of the room
    reads that there is none.

    :param room: its address, or its row.
    :param heading: the level of its title among the page's headings.
    :param folds: beside a room: in a narrow window it is behind a button.
    """
    user = getattr(context.get("request"), "user", None)
    return {
        "address": room.address if isinstance(room, Room) else room,
        "user": "" if user is None or user.pk is None else user.pk,
        "session": live_session(context),
        "heading": heading,
        "folds": folds,
        "id": f"roster-{uuid4().hex[:8]}",
    }


@register.simple_tag(takes_context=True)
def people_here(context: template.Context, room: Room) -> int:
    """How many people are in a room of the page's list. All rooms of the page are counted together, with the first."""
    counts: dict[Any, int] | None = context.get("people_here")
    if counts is None:
        shown = [row.room.pk for _, rows in context["tenants"] for row in rows]
        counts = dict(RoomPresence.objects.filter(room__in=shown).values_list("room", "count"))
        context.dicts[0]["people_here"] = counts
    return counts.get(room.pk, 0)

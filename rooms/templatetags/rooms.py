"""``{% load rooms %}``"""

from __future__ import annotations

from typing import Any

from django import template
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from rooms import models, modules, pages

register = template.Library()
register.simple_tag(modules.preloads)


@register.filter
def exact(text: str) -> SafeString:
    """Escaped so that the browser has the very same text: its parser would make a bare CR an LF."""
    return mark_safe(escape(text).replace("\r", "&#13;"))  # noqa: S308 escaped in this line


@register.inclusion_tag("rooms/live_room.html", takes_context=True)
def live_room(context: template.Context, room: models.Room | pages.RoomPage | str, heading: int = 2) -> dict[str, Any]:
    """``{% live_room "acme/general" %}``: a room on any page of a site, with its style and its script.

    It shows what the user of the request may see and lets them do what they may do. A room that they may not know of
    looks like one that is not there: a sentence in its place.

    :param room: its address, its row, or what :func:`rooms.pages.room_page` gave.
    :param heading: the level of its title among the page's headings.
    """
    request = context.get("request")
    user = getattr(request, "user", AnonymousUser())
    if isinstance(room, pages.RoomPage):
        page: pages.RoomPage | None = room
    else:
        address = room.address if isinstance(room, models.Room) else room
        page = pages.room_page(user, address)
    login = redirect_to_login(request.get_full_path()).url if request is not None else ""
    return {"page": page, "heading": heading, "login": login, "nobody": not user.is_authenticated}

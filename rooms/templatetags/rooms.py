"""``{% load rooms %}``"""

from __future__ import annotations

from typing import Any

from django import template
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.utils.crypto import salted_hmac
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from rooms import models, modules, pages, slots

register = template.Library()
register.simple_tag(modules.preloads)


@register.filter
def exact(text: str) -> SafeString:
    """Escaped so that the browser has the very same text: its parser would make a bare CR an LF."""
    return mark_safe(escape(text).replace("\r", "&#13;"))  # noqa: S308 escaped in this line


@register.simple_tag(takes_context=True)
def slot(context: template.Context, name: str) -> SafeString:
    """``{% slot "beside-room" %}``: what other apps have put here, see :mod:`rooms.slots`."""
    assert context.template is not None
    engine = context.template.engine
    filled = slots.templates(slots.Slot(name))
    return mark_safe("".join(engine.get_template(each).render(context) for each in filled))  # noqa: S308 rendered


@register.simple_tag(takes_context=True)
def live_session(context: template.Context) -> str:
    """A name for the log-in of this page, for ``connect({ user, session })``; empty for nobody.

    Tabs of one log-in share a connection. The name tells nothing of the session's key, and is another after each
    log-in.
    """
    session = getattr(context.get("request"), "session", None)
    key = session.session_key if session is not None else None
    return salted_hmac("rooms.live_session", key, algorithm="sha256").hexdigest()[:32] if key else ""


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
    session = live_session(context)
    return {"page": page, "heading": heading, "login": login, "nobody": not user.is_authenticated, "session": session}

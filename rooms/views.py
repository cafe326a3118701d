"""The pages: my rooms, and a room with its chat."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_resolver, get_urlconf
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from rooms import pages

SEQ = re.compile(r"[0-9]{1,15}", re.ASCII)


@gzip_page  # 85 KB of a room with its history are 6 so; Django adds bytes by chance, against BREACH
@require_safe
@never_cache
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """My tenants and rooms, with what happened in them."""
    login = redirect_to_login(request.get_full_path()).url  # where a page leads whose log-in has ended
    return render(request, "rooms/home.html", {"tenants": pages.my_rooms(request.user.pk), "login": login})


@gzip_page  # 85 KB of a room with its history are 6 so; Django adds bytes by chance, against BREACH
@require_safe
@never_cache
def room(request: HttpRequest, tenant: str, room: str) -> HttpResponse:
    """A room's newest messages, which go on live; or with ``?before=<seq>`` a page of older ones, which do not."""
    before = request.GET.get("before", "")
    older = SEQ.fullmatch(before) is not None
    page = pages.room_page(request.user, f"{tenant}/{room}", before=int(before) if older else None)
    if page is None:
        return _nothing_here(request) if request.user.is_authenticated else redirect_to_login(request.get_full_path())
    return render(request, "rooms/history.html" if older else "rooms/room.html", {"page": page, "room": page.room})


def _nothing_here(request: HttpRequest) -> HttpResponse:
    """The site's own 404, the same whether there is no such room or one that this person may not know of.

    Not by raising: Django's page for developers would tell where in the code it was raised.
    """
    handler: Any = get_resolver(get_urlconf()).resolve_error_handler(404)
    response: HttpResponse = handler(request, exception=Http404())
    return response

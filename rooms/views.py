"""The pages: my rooms, and a room with its chat."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_resolver, get_urlconf
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from rooms import access, contract, log
from rooms.contract import Refused, Right
from rooms.models import Message, Room, Tenant

HISTORY = 50  # messages that a page brings with it


@require_safe
@never_cache
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """My tenants, and what I may see of their rooms; a tenant that has me in one of its rooms as a guest, too."""
    user = request.user.pk
    role = Q(memberships__user=user)
    mine = Tenant.objects.filter(role | Q(rooms__participants__user=user), active=True)
    members_of = set(Tenant.objects.filter(role).values_list("pk", flat=True))
    tenants = [(tenant, access.visible_rooms(user, tenant)) for tenant in mine.distinct().order_by("name", "slug")]
    shown = [(tenant, rooms) for tenant, rooms in tenants if rooms or tenant.pk in members_of]
    return render(request, "rooms/home.html", {"tenants": shown})


@require_safe
@never_cache
def room(request: HttpRequest, tenant: str, room: str) -> HttpResponse:
    """A room's newest messages, and where its log stood before they were read: from there the page goes on, live."""
    user = request.user.pk
    try:
        grant = access.authorize(user, f"{tenant}/{room}")
        row = Room.objects.select_related("tenant").get(tenant__slug=tenant, pk=grant.room)
    except (Refused, Room.DoesNotExist):
        row = None
    if row is None or row.kind not in (Room.Kind.ROOM, Room.Kind.MODS):
        return _nothing_here(request) if request.user.is_authenticated else redirect_to_login(request.get_full_path())
    cursor = log.position(row)  # before the rows
    newest = Message.objects.filter(room=row, deleted=False).select_related("author").order_by("-seq")[:HISTORY]
    context = {
        "room": row,
        "login": redirect_to_login(request.get_full_path()).url,
        "archived": grant.archived,
        "cursor": str(cursor),
        "me": contract.Person.from_row(request.user) if user is not None else None,
        "messages": [(message.seq, contract.Message.from_row(message)) for message in reversed(newest)],
        "why": _why_not(grant, row, user),
    }
    return render(request, "rooms/room.html", context)


def _why_not(grant: access.Grant, room: Room, user: Any) -> str | None:
    """Why one cannot write here, by the names that the template has sentences for; None: one can."""
    if Right.WRITE in grant.can:
        return None
    if grant.archived:
        return "archived"
    if user is None:
        return "logged-out"
    return "moderators" if room.read_only else "listener"


def _nothing_here(request: HttpRequest) -> HttpResponse:
    """The site's own 404, the same whether there is no such room or one that this person may not know of.

    Not by raising: Django's page for developers would tell where in the code it was raised.
    """
    handler: Any = get_resolver(get_urlconf()).resolve_error_handler(404)
    response: HttpResponse = handler(request, exception=Http404())
    return response

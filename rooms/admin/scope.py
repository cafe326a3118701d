"""Who sees what in the admin, and changes of roles and parts as this person may make them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest

from rooms import audit
from rooms.addresses import client_address
from rooms.contract import Role
from rooms.models import AuditEntry, Event, Membership, Message, Participant, Room, Tenant
from rooms.services import members


def everything(request: HttpRequest) -> bool:
    return bool(request.user.is_superuser)


def managed(request: HttpRequest) -> frozenset[Any]:
    """The keys of the tenants that somebody who is no superuser owns or administers; asked once a request."""
    found: frozenset[Any] | None = getattr(request, "_rooms_managed", None)
    if found is None:
        memberships = Membership.objects.filter(user=request.user.pk, role__in=(Role.OWNER, Role.ADMIN))
        found = frozenset(memberships.filter(tenant__active=True).values_list("tenant", flat=True))
        request._rooms_managed = found  # type: ignore[attr-defined]
    return found


def seen(request: HttpRequest, rows: QuerySet[Any], tenant: str) -> QuerySet[Any]:
    """Those of the tenants that are seen. A ``~me`` is its owner's: a tenant's admin does not see into it."""
    if everything(request):
        return rows
    rows = rows.filter(**{f"{tenant}__in": managed(request)})
    room = {"room__tenant": "room__", "log__room__tenant": "log__room__"}.get(tenant, "")
    return rows.exclude(**{f"{room}kind": Room.Kind.ME}) if room or rows.model is Room else rows


def tenant_of(row: models.Model) -> Any:
    if isinstance(row, Tenant):
        return row.pk
    if isinstance(row, Membership | AuditEntry):
        return row.tenant_id
    assert isinstance(row, Room | Participant | Message | Event)
    room = row if isinstance(row, Room) else row.log.room if isinstance(row, Event) else row.room
    return None if room.kind == Room.Kind.ME else room.tenant_id


def at_work(request: HttpRequest) -> AbstractContextManager[None]:
    """What is changed in this block is recorded as changed here, by this person."""
    return audit.coming_from("admin", address=client_address(request), actor=request.user)


def acting(request: HttpRequest, tenant: Tenant) -> Any:
    """Who does it. That they manage the tenant is asked again, under the lock under which roles change."""
    if not everything(request):
        members.require_manager(tenant, by=request.user)
    return request.user


def put(request: HttpRequest, row: Membership | Participant) -> Membership | Participant:
    """Save a role or a part, as the commands ``member.set`` and ``participant.set`` do."""
    if isinstance(row, Membership):
        by = acting(request, row.tenant)
        if not everything(request):
            members.require_owner(row.tenant, row.user, row.role, by=by)
        return members.set_role(row.tenant, row.user, row.role, by=by)
    by = acting(request, row.room.tenant)
    members.require_ordinary(row.room)
    if not everything(request) and row._state.adding:
        members.member(row.room.tenant, str(row.user.pk))
    return members.set_part(row.room, row.user, row.role, by=by)


def take(request: HttpRequest, row: Membership | Participant) -> None:
    """End a membership or a part, as the commands ``member.remove`` and ``participant.remove`` do."""
    if isinstance(row, Membership):
        by = acting(request, row.tenant)
        if not everything(request):
            members.require_owner(row.tenant, row.user, by=by)
        members.remove(row.tenant, row.user, by=by)
    else:
        members.remove_part(row.room, row.user, by=acting(request, row.room.tenant))


def named_in_rooms(request: HttpRequest) -> QuerySet[Any]:
    """A tenant's admin gives parts to members, as the command ``participant.set`` does."""
    people = get_user_model()._default_manager.all()
    if everything(request):
        return people
    return people.filter(pk__in=Membership.objects.filter(tenant__in=managed(request)).values("user"))

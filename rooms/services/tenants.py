"""Tenants."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from rooms import contract, log
from rooms.contract import Call, Refused, Right, Role, Visibility, command
from rooms.models import Room, Tenant
from rooms.services import members, rooms


def create(slug: str, *, name: str, owner: Any = None, by: Any = None) -> Tenant:
    """Create a tenant with its ``~all``; ``owner`` is the user who becomes its first owner.

    :raises Refused: ``conflict``, when the slug is taken.
    """
    with log.batch():
        if Tenant.objects.filter(slug=slug).exists():
            raise Refused("conflict", "This slug is taken.")
        try:
            with transaction.atomic():
                tenant = Tenant.objects.create(slug=slug, name=name)
        except IntegrityError as error:  # another transaction was first
            raise Refused("conflict", "This slug is taken.") from error
        everybody = Room.objects.create(
            tenant=tenant, slug="~all", kind=Room.Kind.ALL, name=name, visibility=Visibility.TENANT
        )
        log.create([everybody])
        if owner is not None:
            members.set_role(tenant, owner, Role.OWNER, by=by)
        return tenant


def update(tenant: Tenant, *, name: str | None = None, active: bool | None = None, by: Any = None) -> Tenant:
    """Rename, suspend or reopen a tenant. ``~all`` bears its name, and tells of a new one as ``room.updated``."""
    with log.batch() as batch:
        everybody = rooms.everybody(tenant)
        batch.lock([everybody.pk])
        tenant = Tenant.objects.get(pk=tenant.pk)
        if active is not None and active != tenant.active:
            tenant.active = active
            tenant.save(update_fields=["active"])
        if name is not None and name != tenant.name:
            tenant.name = everybody.name = name
            tenant.save(update_fields=["name"])
            everybody.save(update_fields=["name"])
            rooms.tell(batch, "room.updated", everybody, by)
        return tenant


@command("tenant.update", contract.UpdateTenant, right=Right.MANAGE, wire=False)
def _update(call: Call, data: contract.UpdateTenant) -> None:
    update(call.room.tenant, name=data.name, by=call.user)

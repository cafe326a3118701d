"""Tenants."""

from __future__ import annotations

from typing import Any

from rooms import contract, log
from rooms.contract import Call, Right, Role, Visibility, command
from rooms.models import Room, Tenant
from rooms.services import members


def create(slug: str, *, name: str, owner: Any = None) -> Tenant:
    """Create a tenant with its ``~all``; ``owner`` is the user who becomes its first owner."""
    with log.batch():
        tenant = Tenant.objects.create(slug=slug, name=name)
        everybody = Room.objects.create(
            tenant=tenant, slug="~all", kind=Room.Kind.ALL, name=name, visibility=Visibility.TENANT
        )
        log.create([everybody])
        if owner is not None:
            members.set_role(tenant, owner, Role.OWNER)
        return tenant


def update(tenant: Tenant, *, name: str | None = None, active: bool | None = None) -> Tenant:
    """Rename, suspend or reopen a tenant."""
    given = {"name": name, "active": active}
    changed = [field for field, value in given.items() if value is not None and value != getattr(tenant, field)]
    for field in changed:
        setattr(tenant, field, given[field])
    if changed:
        tenant.save(update_fields=changed)
    return tenant


@command("tenant.update", contract.UpdateTenant, right=Right.MANAGE, wire=False)
def _update(call: Call, data: contract.UpdateTenant) -> None:
    update(call.room.tenant, name=data.name)

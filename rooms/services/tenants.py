"""Tenants."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction

from rooms import audit, contract, log
from rooms.audit import What
from rooms.conf import site_limits
from rooms.contract import Call, Refused, Right, Role, Visibility, command
from rooms.limits import Amounts, of_tenant, read_of_tenant
from rooms.models import Room, Tenant
from rooms.services import members, rooms

logger = logging.getLogger(__name__)


def create(slug: str, *, name: str, owner: Any = None, by: Any = None) -> Tenant:
    """Create a tenant with its ``~all``; ``owner`` is the user who becomes its first owner.

    :raises Refused: ``conflict``, when the slug is taken.
    """
    with log.batch() as batch:
        if Tenant.objects.filter(slug=slug).exists():
            raise Refused("conflict", "This slug is taken.")
        tenant = Tenant(slug=slug, name=name)
        made = audit.entry(tenant, What.ACTIVE, None, True, by=by)
        try:
            with transaction.atomic():
                tenant.save(force_insert=True)
        except IntegrityError as error:  # another transaction was first
            raise Refused("conflict", "This slug is taken.") from error
        made.tenant = tenant
        batch.create(made)
        everybody = Room.objects.create(
            tenant=tenant, slug="~all", kind=Room.Kind.ALL, name=name, visibility=Visibility.TENANT
        )
        log.create([everybody])
        if owner is not None:
            members.set_role(tenant, owner, Role.OWNER, by=by)
        return tenant


def update(
    tenant: Tenant,
    *,
    name: str | None = None,
    active: bool | None = None,
    limits: dict[str, int | str] | None = None,
    by: Any = None,
) -> Tenant:
    """Rename, suspend or reopen a tenant. ``~all`` bears its name, and tells of a new one as ``room.updated``.

    :param limits: those that it has of its own, as :mod:`rooms.limits` reads them; nobody is told.
    :raises Refused: ``bad_data``, for limits that are none.
    """
    if limits is not None:
        try:
            read_of_tenant(limits)
        except ValueError as error:
            raise Refused("bad_data", str(error)) from error
    with log.batch() as batch:
        everybody = rooms.everybody(tenant)
        batch.lock([everybody.pk])
        tenant = Tenant.objects.get(pk=tenant.pk)
        if active is not None and active != tenant.active:
            batch.create(audit.entry(tenant, What.ACTIVE, tenant.active, active, by=by))
            tenant.active = active
            tenant.save(update_fields=["active"])
        if limits is not None and limits != tenant.limits:
            batch.create(audit.entry(tenant, What.LIMITS, tenant.limits, limits, by=by))
            tenant.limits = limits
            tenant.save(update_fields=["limits"])
        if name is not None and name != tenant.name:
            tenant.name = everybody.name = name
            tenant.save(update_fields=["name"])
            everybody.save(update_fields=["name"])
            rooms.tell(batch, "room.updated", everybody, by)
        return tenant


def limits() -> Mapping[str, Amounts]:
    """What holds in the tenants that have limits of their own, by slug. What cannot be read is left out, and logged."""
    found: dict[str, Amounts] = {}
    if not site_limits():  # all of them are lifted
        return found
    for slug, given in Tenant.objects.exclude(limits={}).values_list("slug", "limits"):
        try:
            found[slug] = of_tenant(given, site_limits())
        except ValueError as error:
            logger.error("the limits of the tenant %s: %s", slug, error)
    return found


@command("tenant.update", contract.UpdateTenant, right=Right.MANAGE, wire=False)
def _update(call: Call, data: contract.UpdateTenant) -> None:
    update(call.room.tenant, name=data.name, by=call.user)

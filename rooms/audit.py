"""Who changed whose access to what, when and from where: rows for an administrator, in the transaction of the change.

What ``services`` changes, they record. What is changed elsewhere is recorded as far as the signals of the models tell:
a bulk update and raw SQL leave no row. Where a change came from is known at the edge that let it in, and goes with the
context; a command takes it along onto the thread where it is done, beside those of others in one transaction.

A row holds names and values of rights. It never holds a secret, nor what somebody wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.models.signals import post_delete, post_save, pre_save
from django.utils import timezone

from rooms.models import AuditEntry, Membership, Participant, Room, Tenant

Source, What = AuditEntry.Source, AuditEntry.What


@dataclass(frozen=True, slots=True)
class Origin:
    """Where changes come from. ``actor`` is the user who makes them, where no service is told of one."""

    source: str = Source.CODE
    address: str = ""
    actor: Any = None


_find: ContextVar[Callable[[], Origin]] = ContextVar("rooms_origin", default=Origin)


def origin() -> Origin:
    """Where what is changed now comes from."""
    return _find.get()()


@contextmanager
def during(find: Callable[[], Origin]) -> Iterator[None]:
    """What is changed in this block comes from there; it is looked for when there is a change."""
    token = _find.set(find)
    try:
        yield
    finally:
        _find.reset(token)


def coming_from(source: str, *, address: str = "", actor: Any = None) -> AbstractContextManager[None]:
    """What is changed in this block comes from there. For a host's own tasks and commands, too::

    with audit.coming_from("command", actor=operator):
        services.members.remove(tenant, user)
    """
    place = Origin(source, address, actor)
    return during(lambda: place)


def arrive(source: str, address: str) -> None:
    """What the rest of this asyncio task changes comes from there."""
    place = Origin(source, address)
    _find.set(lambda: place)


# --- rows ------------------------------------------------------------------------------------------------------------


def entry(row: models.Model, what: str, before: Any, after: Any, *, by: Any = None) -> AuditEntry:
    """A row about a change of this one, not saved yet. Make it before the change: the signals then leave it alone.

    :param before: None when there was nothing; ``after`` likewise, when there is nothing any more.
    :param by: the user who did it; else whom the origin knows of.
    """
    row.__dict__["_is_recorded"] = True
    return _entry(row, what, before, after, by=by)


def _entry(row: models.Model, what: str, before: Any, after: Any, *, by: Any = None) -> AuditEntry:
    place = origin()
    actor = by if by is not None else place.actor
    tenant, room, subject = _about(row)
    return AuditEntry(
        at=timezone.now(),
        source=place.source,
        address=place.address,
        actor_id=getattr(actor, "pk", None),
        actor_name=_name(actor),
        tenant_id=getattr(tenant, "pk", None),
        room="" if room is None or tenant is None else f"{tenant.slug}/{room.slug}",
        subject_id=getattr(subject, "pk", None),
        subject_name=_name(subject),
        what=what,
        before=_shown(before),
        after=_shown(after),
    )


def forget(before: Any) -> int:
    """Drop the rows from before this time; how many there were."""
    return AuditEntry.objects.filter(at__lt=before).delete()[0]


def _about(row: models.Model) -> tuple[Any, Any, Any]:
    """The tenant, the room and the person that a row is about."""
    match row:
        case Tenant():
            return row, None, None
        case Room():
            return _of(row, "tenant"), row, None
        case Membership():
            return _of(row, "tenant"), None, _of(row, "user")
        case Participant():
            room = _of(row, "room")
            return room and _of(room, "tenant"), room, _of(row, "user")
    return None, None, row


def _of(row: models.Model, field: str) -> Any:
    """What it refers to; None when that is gone already, as it may be where much is deleted at once."""
    try:
        return getattr(row, field)
    except ObjectDoesNotExist:
        return None


def _name(user: Any) -> str:
    return "" if user is None or user.pk is None else str(user.get_username())[:150]


def _shown(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case dict():
            return json.dumps(value, sort_keys=True)[:200]
    return str(value)[:200]


# --- changes made elsewhere ------------------------------------------------------------------------------------------

ROOM = {"visibility": What.VISIBILITY, "read_only": What.READ_ONLY, "archived": What.ARCHIVED}
TENANT = {"active": What.ACTIVE, "limits": What.LIMITS}
PERSON = {
    "is_active": What.ACCOUNT,
    "is_staff": What.STAFF,
    "is_superuser": What.SUPERUSER,
    "password": What.PASSWORD,
}


def listen() -> None:
    """Once, when the models are there."""
    person = get_user_model()
    columns = {field.name for field in person._meta.concrete_fields}
    _watched.update({Membership: {"role": What.ROLE}, Participant: {"role": What.PART}, Room: ROOM, Tenant: TENANT})
    _watched[person] = {field: what for field, what in PERSON.items() if field in columns}
    for model in _watched:
        pre_save.connect(_look, sender=model, dispatch_uid="rooms.audit")
        post_save.connect(_compare, sender=model, dispatch_uid="rooms.audit")
        post_delete.connect(_gone, sender=model, dispatch_uid="rooms.audit")


_watched: dict[Any, dict[str, AuditEntry.What]] = {}


def session_ended(user: Any) -> None:
    """A session of this user was ended, by a log-out or by somebody else; the key is a secret and is not told."""
    person = get_user_model()._default_manager.filter(pk=user).first()
    if person is not None:
        _entry(person, What.SESSION, "open", "ended").save(force_insert=True)


def _look(sender: Any, instance: Any, raw: bool, using: str, update_fields: Any, **kwargs: Any) -> None:
    """What the row is before it is saved; nothing when a service has recorded the change, or none can come of it."""
    instance.__dict__.pop("_recorded_as", None)
    if instance.__dict__.pop("_is_recorded", False) or raw:
        return
    fields = [field for field in _watched[sender] if update_fields is None or field in update_fields]
    if fields == ["password"] and getattr(instance, "_password", None) is None:
        return  # the same password by a newer hasher, which a log-in saves
    if not fields or (sender is Room and instance.kind != Room.Kind.ROOM):
        return
    rows = sender._base_manager.using(using).filter(pk=instance.pk)
    before = None if instance._state.adding else rows.values(*fields).first()
    instance.__dict__["_recorded_as"] = before or dict.fromkeys(fields)


def _compare(sender: Any, instance: Any, **kwargs: Any) -> None:
    before = instance.__dict__.pop("_recorded_as", {})
    for field, was in before.items():
        what, now = _watched[sender][field], getattr(instance, field)
        begun = was is None and (
            not now or what in (What.ACCOUNT, What.PASSWORD)
        )  # nothing that a new row stands out by
        if now != was and not begun:
            shown = (None, None) if what is What.PASSWORD else (was, now)
            _entry(instance, what, *shown).save(force_insert=True)


def _gone(sender: Any, instance: Any, **kwargs: Any) -> None:
    if instance.__dict__.pop("_is_recorded", False) or (sender is Room and instance.kind != Room.Kind.ROOM):
        return
    field, what = next(iter(_watched[sender].items()))
    _entry(instance, what, getattr(instance, field), None).save(force_insert=True)

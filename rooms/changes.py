"""What the gate rests on has changed: told to every node once it is committed, so that it looks again at once.

The signals of the models see what services, the admin and a host's code do to rows. What they cannot see (a bulk
update, raw SQL, another service) the nodes' sweep finds; a host tells of its own objects by :func:`access_changed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
from django.contrib.auth import SESSION_KEY, get_user_model
from django.db import DEFAULT_DB_ALIAS, models, transaction
from django.db.models.signals import post_delete, post_save
from django.utils import timezone

from rooms import access, audit, identity, signals
from rooms.delivery.frames import Entry, Notice
from rooms.models import Membership, Participant, Room, Tenant

NODES = UUID(int=0)  # the address of all nodes, as a room of theirs


class Change(msgspec.Struct, array_like=True):
    """Whose rights are to be looked at again, and the rooms where everybody's are."""

    users: set[str] = msgspec.field(default_factory=set)
    rooms: set[str] = msgspec.field(default_factory=set)  # addresses
    tenants: set[str] = msgspec.field(default_factory=set)  # slugs

    def touches(self, address: str) -> bool:
        """Whether it is about everybody in this room; the moderators' room goes with its own."""
        return address.removesuffix("~mods") in self.rooms or address.partition("/")[0] in self.tenants


def opened(notice: Notice) -> Change:
    """:raises msgspec.MsgspecError: for what another version of us says."""
    change = Change()
    for entry in notice.entries:
        said = msgspec.json.decode(entry.vector, type=Change)
        change.users |= said.users
        change.rooms |= said.rooms
        change.tenants |= said.tenants
    return change


class _Tell:
    """What one transaction changed, told after its commit; one that is undone takes it along."""

    def __init__(self, change: Change) -> None:
        self.change = change

    def __call__(self) -> None:
        entry = Entry(None, "access.changed", msgspec.json.encode(self.change))
        signals.access_changed.send_robust(sender=Change, notices=[Notice(NODES, "", 0, [entry])])


def access_changed(
    *,
    users: Iterable[Any] = (),
    rooms: Iterable[Room | str] = (),
    tenants: Iterable[Tenant | str] = (),
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Tell every node that a policy of the host's may now say something else, so that it asks again at once.

    Call it in the transaction of the change: it is told after the commit, and not at all when that is undone. Until the
    gate has been asked, nothing more goes to whom it concerns. What nobody tells of, the nodes find within
    ``ROOMS["GRANT_TTL"]``.

    :param users: of whom something changed, as rows or primary keys: everything that they follow is looked at.
    :param rooms: where something changed for everybody, as rows or addresses; its ``~mods`` goes with a room.
    :param tenants: likewise, for all rooms of a tenant, as rows or slugs.
    :raises ValueError: nobody and nothing is named.
    """
    people = [getattr(user, "pk", user) for user in users]
    addresses = [room.address if isinstance(room, Room) else room for room in rooms]
    slugs = [tenant.slug if isinstance(tenant, Tenant) else tenant for tenant in tenants]
    if not people and not addresses and not slugs:
        raise ValueError("Name the users, the rooms or the tenants whose access has changed")
    _tell(using, users=people, rooms=addresses, tenants=slugs)


def _tell(using: str, *, users: Any = (), rooms: Any = (), tenants: Any = ()) -> None:
    access.changed()
    pending = (function for _, function, _ in transaction.get_connection(using).run_on_commit)
    tell = next((function for function in pending if isinstance(function, _Tell)), None)
    change = Change() if tell is None else tell.change
    change.users |= {str(user) for user in users}
    change.rooms |= set(rooms)
    change.tenants |= set(tenants)
    if tell is None:
        transaction.on_commit(_Tell(change), using=using, robust=True)


def _person_changed(instance: Any, using: str, update_fields: Any = None, **kwargs: Any) -> None:
    if update_fields is None or set(update_fields) != {"last_login"}:
        _tell(using, users=[instance.pk])


def _part_changed(instance: Membership | Participant, using: str, **kwargs: Any) -> None:
    _tell(using, users=[instance.user_id])


def _room_changed(instance: Room, using: str, created: bool = False, **kwargs: Any) -> None:
    if not created:
        _tell(using, rooms=[instance.address])


def _tenant_changed(instance: Tenant, using: str, created: bool = False, **kwargs: Any) -> None:
    if not created:
        _tell(using, tenants=[instance.slug])


def _session_ended(instance: Any, using: str, **kwargs: Any) -> None:
    user = instance.get_decoded().get(SESSION_KEY)
    if user is not None:
        _tell(using, users=[user])
        if instance.expire_date > timezone.now():  # the others are only cleared away
            audit.session_ended(user)


def listen() -> None:
    """Once, when the models are there."""
    audit.listen()
    watched: list[tuple[type[models.Model], Any]] = [
        (get_user_model(), _person_changed),
        (Membership, _part_changed),
        (Participant, _part_changed),
        (Room, _room_changed),
        (Tenant, _tenant_changed),
    ]
    for model, receiver in watched:
        post_save.connect(receiver, sender=model, dispatch_uid="rooms.changes")
        post_delete.connect(receiver, sender=model, dispatch_uid="rooms.changes")
    store = identity.session_store()
    if hasattr(store, "get_model_class"):  # sessions that are kept elsewhere are left to the sweep
        post_delete.connect(_session_ended, sender=store.get_model_class(), dispatch_uid="rooms.changes")

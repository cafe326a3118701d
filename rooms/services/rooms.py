"""Rooms: created, changed, archived; each told to the room's own log, and to ``~all`` unless the room is private.

When a room becomes private, ``~all`` is told that it is gone from there, and nothing else of it: its readers know it as
the room that they saw until then, and learn neither what it is now nor who made it so.
"""

from __future__ import annotations

from typing import Any

import msgspec
from django.db import IntegrityError, transaction

from rooms import audit, contract, log
from rooms.audit import What
from rooms.contract import Call, Part, Refused, Right, Visibility, command
from rooms.models import Membership, Participant, Room, Tenant


def create(
    tenant: Tenant,
    slug: str,
    *,
    name: str,
    visibility: Visibility | str = Visibility.TENANT,
    read_only: bool = False,
    by: Any = None,
) -> Room:
    """Create a room with its log and its ``~mods``. The user ``by``, if a member, becomes its moderator.

    :raises Refused: ``conflict``, when the slug is taken.
    """
    with log.batch() as batch:
        batch.flush()
        room = Room(tenant=tenant, slug=slug, name=name, visibility=Visibility(visibility), read_only=read_only)
        if Room.objects.filter(tenant=tenant, slug=slug).exists():
            raise Refused("conflict", "This slug is taken.")
        batch.create(audit.entry(room, What.VISIBILITY, None, room.visibility, by=by))
        if read_only:
            batch.create(audit.entry(room, What.READ_ONLY, False, True, by=by))
        try:
            with transaction.atomic():
                room.save(force_insert=True)
        except IntegrityError as error:  # another transaction was first
            raise Refused("conflict", "This slug is taken.") from error
        mods = Room(
            tenant=tenant,
            slug=f"{slug}~mods",
            kind=Room.Kind.MODS,
            parent=room,
            name=name,
            visibility=Visibility.PRIVATE,
        )
        mods.save(force_insert=True)
        log.create([room, mods])
        tell(batch, "room.created", room, by)
        if by is not None and Membership.objects.filter(tenant=tenant, user=by).exists():
            part = Participant(room=room, user=by, role=Part.MODERATOR)
            batch.create(audit.entry(part, What.PART, None, part.role, by=by))
            part.save(force_insert=True)
            batch.append(room, "member.added", contract.Member.from_row(part), by=by.pk)
        return room


def update(
    room: Room,
    *,
    name: str | None = None,
    visibility: Visibility | str | None = None,
    read_only: bool | None = None,
    archived: bool | None = None,
    by: Any = None,
) -> Room:
    """Change what is given; tells nothing when nothing changed."""
    with log.batch() as batch:
        batch.lock([room.pk, everybody(room.tenant).pk])
        room = Room.objects.select_related("tenant").get(pk=room.pk)
        if room.kind != Room.Kind.ROOM:
            raise Refused("forbidden", "This room is there by itself and cannot be changed.")
        given = {"name": name, "visibility": visibility, "read_only": read_only, "archived": archived}
        changed = [field for field, value in given.items() if value is not None and value != getattr(room, field)]
        was_listed = room.visibility != Visibility.PRIVATE
        for field in changed:
            if field in audit.ROOM:
                batch.create(audit.entry(room, audit.ROOM[field], getattr(room, field), given[field], by=by))
            setattr(room, field, given[field])
        if changed:
            room.save(update_fields=changed)
            gone = "archived" in changed and room.archived
            tell(batch, "room.archived" if gone else "room.updated", room, by)
            if was_listed and room.visibility == Visibility.PRIVATE:
                batch.append(everybody(room.tenant), "room.removed", contract.RoomRemoved(room.slug))
        return room


def announce(room: Room, text: str, *, level: str = "info", by: Any = None) -> None:
    """Say something to a room in the site's own name."""
    log.append(room, "room.announcement", {"text": text, "level": level}, by=None if by is None else by.pk)


def everybody(tenant: Tenant) -> Room:
    """The tenant's ``~all``."""
    return Room.objects.select_related("tenant").get(tenant=tenant, kind=Room.Kind.ALL)


@command("room.create", contract.CreateRoom, right=Right.MANAGE, wire=False)
def _create(call: Call, data: contract.CreateRoom) -> contract.Logged:
    create(call.room.tenant, by=call.user, **msgspec.structs.asdict(data))
    with log.batch() as batch:
        return contract.Logged(batch.head(call.room))


@command("room.update", contract.UpdateRoom, right=Right.MANAGE, wire=False)
def _update(call: Call, data: contract.UpdateRoom) -> contract.Logged:
    given = {field: value for field, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    update(call.room, by=call.user, **given)
    with log.batch() as batch:
        return contract.Logged(batch.head(call.room))


def tell(batch: log.Batch, name: str, room: Room, by: Any) -> None:
    """Say that a room is as it now is, where that may be known."""
    places = [room]
    if room.kind == Room.Kind.ROOM and room.visibility != Visibility.PRIVATE:
        places.append(everybody(room.tenant))
    batch.lock([place.pk for place in places])
    room.log = batch.log(room)
    shown = contract.RoomEvent.from_row(room)
    for place in places:
        batch.append(place, name, shown, by=None if by is None else by.pk)

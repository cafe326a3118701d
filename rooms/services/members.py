"""Who belongs to a tenant, and who has which part in a room."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from rooms import audit, contract, log
from rooms.audit import What
from rooms.contract import Call, Part, Refused, Right, Role, Visibility, command
from rooms.models import Membership, Participant, Room, Tenant


def set_role(tenant: Tenant, user: Any, role: Role | str = Role.MEMBER, *, by: Any = None) -> Membership:
    """Make somebody a member, or give a member another role; a new member gets a ``~me``.

    :raises Refused: ``forbidden``, when the last owner would be one no more.
    """
    role = Role(role)
    with log.batch() as batch:
        everybody = _lock(batch, tenant)
        membership = Membership.objects.filter(tenant=tenant, user=user).select_related("user", "tenant").first()
        if membership is None:
            membership = Membership(tenant=tenant, user=user, role=role)
            batch.create(audit.entry(membership, What.ROLE, None, role, by=by))
            membership.save(force_insert=True)
            own = Room.objects.create(
                tenant=tenant,
                slug=f"~me.{user.pk}",
                kind=Room.Kind.ME,
                owner=user,
                name=str(user),
                visibility=Visibility.PRIVATE,
            )
            log.create([own])
            name = "member.added"
        elif membership.role != role:
            if membership.role == Role.OWNER:
                _require_other_owner(tenant, membership)
            batch.create(audit.entry(membership, What.ROLE, membership.role, role, by=by))
            membership.role = role
            membership.save(update_fields=["role"])
            name = "member.changed"
        else:
            return membership
        batch.append(everybody, name, contract.Member.from_row(membership), by=_key(by))
        return membership


def remove(tenant: Tenant, user: Any, *, by: Any = None) -> None:
    """End a membership, the parts in the tenant's rooms and the ``~me`` with it; nothing when there is none.

    :raises Refused: ``forbidden``, for the last owner.
    """
    with log.batch() as batch:
        everybody = _lock(batch, tenant)
        membership = Membership.objects.filter(tenant=tenant, user=user).select_related("user", "tenant").first()
        if membership is None:
            return
        if membership.role == Role.OWNER:
            _require_other_owner(tenant, membership)
        shown = contract.Member.from_row(membership)
        for part in Participant.objects.filter(room__tenant=tenant, user=user).select_related("room__tenant"):
            if part.role != Part.BANNED:  # a ban outlives the membership
                remove_part(part.room, user, by=by)
        Room.objects.filter(tenant=tenant, kind=Room.Kind.ME, owner=user).delete()
        batch.create(audit.entry(membership, What.ROLE, membership.role, None, by=by))
        membership.delete()
        batch.append(everybody, "member.removed", shown, by=_key(by))


def set_part(room: Room, user: Any, role: Part | str = Part.SPEAKER, *, by: Any = None) -> Participant:
    """Give somebody a part in a room, told in that room only."""
    role = Part(role)
    with log.batch() as batch:
        _lock_room(batch, room)
        part = Participant.objects.filter(room=room, user=user).select_related("user", "room__tenant").first()
        if part is None:
            part = Participant(room=room, user=user, role=role)
            batch.create(audit.entry(part, What.PART, None, role, by=by))
            part.save(force_insert=True)
            name = "member.added"
        elif part.role != role:
            batch.create(audit.entry(part, What.PART, part.role, role, by=by))
            part.role = role
            part.save(update_fields=["role"])
            name = "member.changed"
        else:
            return part
        batch.append(room, name, contract.Member.from_row(part), by=_key(by))
        return part


def remove_part(room: Room, user: Any, *, by: Any = None) -> None:
    """Take away somebody's part in a room, told in that room only; nothing when there is none."""
    with log.batch() as batch:
        _lock_room(batch, room)
        part = Participant.objects.filter(room=room, user=user).select_related("user", "room__tenant").first()
        if part is not None:
            shown = contract.Member.from_row(part)
            batch.create(audit.entry(part, What.PART, part.role, None, by=by))
            part.delete()
            batch.append(room, "member.removed", shown, by=_key(by))


def require_manager(tenant: Tenant, *, by: Any) -> None:
    """Only who manages the tenant goes on, and stays one until this transaction ends: it takes the lock of roles.

    :raises Refused: ``forbidden``.
    """
    with log.batch() as batch:
        _lock(batch, tenant)
    role = _role(tenant, by) if Tenant.objects.filter(pk=tenant.pk, active=True).exists() else None
    if role not in (Role.OWNER, Role.ADMIN):
        raise Refused("forbidden", "Only an owner or an admin may do this.")


def require_owner(tenant: Tenant, user: Any, role: Role | str | None = None, *, by: Any) -> None:
    """An admin neither makes nor unmakes an owner: asked before ``user`` gets this role, or none.

    :raises Refused: ``forbidden``.
    """
    if Role.OWNER in (role, _role(tenant, user)) and _role(tenant, by) != Role.OWNER:
        raise Refused("forbidden", "Only an owner may do this.")


def require_ordinary(room: Room) -> None:
    """:raises Refused: ``forbidden``, for ``~all``, a ``~me`` and moderators' rooms."""
    if room.kind != Room.Kind.ROOM:
        raise Refused("forbidden", "This room is there by itself and has no parts to give.")


def member(tenant: Tenant, text: str) -> Membership:
    """A person of the tenant by the key as it is written; one of another tenant and one who is not there cost the same.

    :raises Refused: ``not_found``.
    """
    membership = Membership.objects.filter(tenant=tenant, user_id=user_key(text)).select_related("user").first()
    if membership is None:
        raise Refused("not_found", "There is no such member.")
    return membership


@command("member.set", contract.SetMember, right=Right.MANAGE, wire=False)
def _set_role(call: Call, data: contract.SetMember) -> contract.Logged:
    user = _user(data.user)
    require_owner(call.room.tenant, user, data.role, by=call.user)
    set_role(call.room.tenant, user, data.role, by=call.user)
    return _logged(call)


@command("member.remove", contract.Remove, right=Right.MANAGE, wire=False)
def _remove(call: Call, data: contract.Remove) -> contract.Logged:
    user = member(call.room.tenant, data.user).user
    require_owner(call.room.tenant, user, by=call.user)
    remove(call.room.tenant, user, by=call.user)
    return _logged(call)


@command("participant.set", contract.SetParticipant, right=Right.MODERATE, wire=False)
def _set_part(call: Call, data: contract.SetParticipant) -> contract.Logged:
    require_ordinary(call.room)
    set_part(call.room, member(call.room.tenant, data.user).user, data.role, by=call.user)
    return _logged(call)


@command("participant.remove", contract.Remove, right=Right.MODERATE, wire=False)
def _remove_part(call: Call, data: contract.Remove) -> contract.Logged:
    require_ordinary(call.room)
    parts = Participant.objects.filter(room=call.room, user_id=user_key(data.user)).select_related("user")
    part = parts.first()
    if part is None:
        raise Refused("not_found", "There is no such member.")
    remove_part(call.room, part.user, by=call.user)
    return _logged(call)


def _lock(batch: log.Batch, tenant: Tenant) -> Room:
    everybody = Room.objects.select_related("tenant").get(tenant=tenant, kind=Room.Kind.ALL)
    _lock_room(batch, everybody)
    return everybody


def _lock_room(batch: log.Batch, room: Room) -> None:
    """Roles and parts change under the lock of the room that tells of it: two changes of one person queue up."""
    batch.lock([room.pk])
    batch.flush()


def _require_other_owner(tenant: Tenant, membership: Membership) -> None:
    if not Membership.objects.filter(tenant=tenant, role=Role.OWNER).exclude(pk=membership.pk).exists():
        raise Refused("forbidden", "A tenant keeps at least one owner.")


def user_key(text: str) -> Any:
    """The primary key that this text is; only as it is written in :class:`rooms.contract.Person`, not ``" 7"``.

    :raises Refused: ``not_found``, when it cannot be one.
    """
    try:
        key = get_user_model()._meta.pk.clean(text, None)  # clean() knows what the column holds, to_python() does not
    except ValidationError:
        raise Refused("not_found", "There is no such member.") from None
    if str(key) != text or "\0" in text:
        raise Refused("not_found", "There is no such member.")
    return key


def _user(text: str) -> Any:
    user = get_user_model()._default_manager.filter(pk=user_key(text)).first()
    if user is None:
        raise Refused("not_found", "There is no such member.")
    return user


def _role(tenant: Tenant, user: Any) -> str | None:
    return Membership.objects.filter(tenant=tenant, user=user).values_list("role", flat=True).first()


def _logged(call: Call) -> contract.Logged:
    with log.batch() as batch:
        return contract.Logged(batch.head(call.room))


def _key(user: Any) -> Any:
    return None if user is None else user.pk

"""The gate: who may do what in which room, decided here and nowhere else.

By membership, which is the site's own policy (``ROOMS["ACCESS"]`` may name another, see :mod:`rooms.policy`):

=====================  ==========================  ==========================  ==========================
who                    public room                 tenant room                 private room
=====================  ==========================  ==========================  ==========================
owner, admin           read write moderate manage  read write moderate manage  read write moderate manage
member                 read write                  read write                  no such room
guest                  read write                  read                        no such room
outsider, anonymous    no such room [1]_           no such room                no such room
=====================  ==========================  ==========================  ==========================

A part in the room overrides the role of members, guests and outsiders: moderator (read write moderate), speaker (read
write), listener (read), banned (no such room). Owners and admins stand above it: a moderator cannot shut them out.

Whatever a policy says:

* In a suspended tenant, to a deactivated user and to one who is banned there is no such room.
* Nobody but those who moderate writes in a ``read_only`` room; nobody writes in an archived one.
* Nobody in particular may read what is public, where the site says so, and nothing else.
* ``~all``: its members read, owners and admins manage. ``~me``: its owner reads. ``<room>~mods``: who moderates the
  room reads and writes.

.. [1] With ``ROOMS["PUBLIC_READ"]``: read.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import connection, models

from rooms import policy
from rooms.conf import config
from rooms.contract import Part, Refused, Right, Role, Visibility, not_found
from rooms.models import Membership, Participant, Room, Tenant, new_id
from rooms.policy import NOTHING, READ, WRITE, Pair, Place
from rooms.rows import quote, table

CHUNK = 1_000  # asks in one statement: four parameters each, and SQLite takes 32,766
_SLUG = r"[a-z0-9][a-z0-9_-]*"
ADDRESS = re.compile(rf"({_SLUG})/(~all|~me|{_SLUG}(?:~mods)?)")
Ask = tuple[Any, str]  # (the user's primary key, or None for nobody; the room's address)


@dataclass(frozen=True, slots=True)
class Grant:
    """What one person may do in one room, as it stood when the gate was asked."""

    user: Any
    room: UUID
    address: str
    can: frozenset[Right]
    archived: bool

    def require(self, right: Right) -> None:
        """:raises Refused: ``forbidden``."""
        if right not in self.can:
            raise Refused("forbidden", "You may not do this here.")


@dataclass(frozen=True, slots=True)
class Standing:
    """All of a room and a person that bounds what a policy may give; one row of the query."""

    kind: str
    visibility: str
    read_only: bool
    archived: bool
    tenant_active: bool
    user_active: bool
    nobody: bool
    owns: bool
    role: str | None
    part: str | None


def bounded(standing: Standing, given: frozenset[Right], *, public_read: bool) -> frozenset[Right]:
    """What somebody who stands so may do, of what the policy gives in the ordinary room that this is, or belongs to.

    Nothing at all means: for them there is no such room.
    """
    if not standing.tenant_active or not standing.user_active:
        return NOTHING
    above = standing.role in (Role.OWNER, Role.ADMIN)
    if standing.kind == Room.Kind.ALL:
        return NOTHING if not standing.role else READ | {Right.MANAGE} if above else READ
    if standing.kind == Room.Kind.ME:
        return READ if standing.owns and standing.role else NOTHING
    if standing.part == Part.BANNED and not above:
        return NOTHING
    can = given
    if standing.nobody:
        can = given & READ if public_read and standing.visibility == Visibility.PUBLIC else NOTHING
    if standing.kind == Room.Kind.MODS:
        can = WRITE if Right.MODERATE in can else NOTHING
    if standing.archived:
        can &= READ | {Right.MANAGE}
    elif standing.read_only and standing.kind == Room.Kind.ROOM and Right.MODERATE not in can:
        can &= READ
    return can


class _Changes(threading.local):
    count = 0


_changes = _Changes()


def changed() -> None:
    """What the gate rests on was changed on this thread: grants that a transaction holds are to be asked for again."""
    _changes.count += 1


def changes() -> int:
    """How often it was."""
    return _changes.count


def authorize_many(asks: Iterable[Ask]) -> dict[Ask, Grant]:
    """What each (user, address) may do; an ask without an answer has no such room.

    One statement and one question to the policy for 1,000 asks. Refusal and absence cost the same.
    """
    every = list(dict.fromkeys(asks))
    grants: dict[Ask, Grant] = {}
    for start in range(0, len(every), CHUNK):
        grants |= _authorize(every[start : start + CHUNK])
    return grants


def _authorize(asks: Sequence[Ask]) -> dict[Ask, Grant]:
    public_read = config().public_read
    found = list(_look_up(asks))
    given = policy.ask(list(dict.fromkeys(each.pair for each in found if each.pair is not None)))
    grants = {}
    for each in found:
        if each.room is None:
            continue
        can = NOTHING if each.pair is None else given.get(each.pair, NOTHING)
        can = bounded(each.standing, can, public_read=public_read)
        if can:
            user, address = each.ask
            grants[user, address] = Grant(user, each.room, address, can, each.standing.archived)
    return grants


def pairs(asks: Iterable[Ask]) -> dict[Ask, Pair]:
    """What the policy is asked about these, in their order; without those where it has no say."""
    every = list(dict.fromkeys(asks))
    found = {each.ask: each.pair for each in _look_up(every)}
    return {ask: pair for ask in every if (pair := found.get(ask)) is not None}


def authorize(user: Any, address: str) -> Grant:
    """:raises Refused: ``not_found``, for a room that is not there or that this user may not know of."""
    grant = authorize_many([(user, address)]).get((user, address))
    if grant is None:
        raise not_found()
    return grant


def suspended(slugs: Collection[str]) -> set[str]:
    """Which of these tenants are."""
    return set(Tenant.objects.filter(slug__in=slugs, active=False).values_list("slug", flat=True))


def visible_rooms(user: Any, tenant: Tenant) -> list[Room]:
    """The ordinary rooms of a tenant that this user may read, with their logs, by slug; archived ones too."""
    rooms = list(Room.objects.filter(tenant=tenant, kind=Room.Kind.ROOM).select_related("tenant", "log"))
    grants = authorize_many((user, room.address) for room in rooms)
    return [room for room in rooms if (user, room.address) in grants]


def rooms_by_id(rooms: Iterable[UUID]) -> Iterable[Room]:
    """Rooms with their tenants."""
    return Room.objects.filter(pk__in=list(rooms)).select_related("tenant")


class _Found(NamedTuple):
    ask: Ask
    room: UUID | None  # None: it is not there
    pair: Pair | None  # what the policy is asked; None where it has no say
    standing: Standing


def _look_up(asks: Sequence[Ask]) -> Iterator[_Found]:
    """What is known of each ask that could name a room. By hand: the ORM has no join against a list of pairs."""
    user_key = get_user_model()._meta.pk
    room_key = Room._meta.pk
    row = f"(%s, CAST(%s AS {user_key.rel_db_type(connection)}), %s, %s)"
    values, parameters = [], []
    for number, (user, address) in enumerate(asks):
        match = ADDRESS.fullmatch(address)
        if match is None:
            continue
        tenant, slug = match[1], match[2]
        if slug == "~me":  # it has one address, and that is its owner's
            slug = f"~me.{user}"
        values.append(row)
        parameters += [number, None if user is None else user_key.get_db_prep_value(user, connection), tenant, slug]
    if not values:
        return
    sql = f"""
        WITH ask (number, user_id, tenant, slug) AS (VALUES {", ".join(values)})
        SELECT ask.number, room.id, room.parent_id, room.kind, room.visibility, room.read_only, room.archived,
               parent.visibility, parent.archived,
               tenant.active, {_active()}, room.owner_id = person.{_column(user_key)}, membership.role, participant.role
        FROM ask
        LEFT JOIN {table(Tenant)} tenant ON tenant.slug = ask.tenant
        LEFT JOIN {table(Room)} room ON room.tenant_id = tenant.id AND room.slug = ask.slug
        LEFT JOIN {table(Room)} parent ON parent.id = room.parent_id
        LEFT JOIN {table(get_user_model())} person ON person.{_column(user_key)} = ask.user_id
        LEFT JOIN {table(Membership)} membership
               ON membership.tenant_id = tenant.id AND membership.user_id = ask.user_id
        LEFT JOIN {table(Participant)} participant
               ON participant.room_id = COALESCE(room.parent_id, room.id) AND participant.user_id = ask.user_id
    """  # noqa: S608 the names are the models' own, the values are parameters
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
    for found in rows:
        number, room, parent, kind, visibility, read_only, archived, parent_visibility, parent_archived = found[:9]
        tenant_active, user_active, owns, role, part = found[9:]
        user, address = asks[number]
        standing = Standing(
            kind=kind or Room.Kind.ROOM,
            visibility=parent_visibility or visibility or Visibility.PRIVATE,
            read_only=bool(read_only),
            archived=bool(archived or parent_archived),
            tenant_active=bool(tenant_active),
            user_active=user is None or bool(user_active),
            nobody=user is None,
            owns=bool(owns),
            role=role,
            part=part,
        )
        id = room_key.to_python(room)
        place = id if parent is None else room_key.to_python(parent)
        yield _Found(asks[number], id, _pair(user, address, place, standing), standing)


def _pair(user: Any, address: str, room: UUID | None, standing: Standing) -> Pair | None:
    """One for a room that is not there, too: it is asked about so that absence costs what refusal costs."""
    tenant, _, slug = address.removesuffix("~mods").partition("/")
    if slug.startswith("~"):
        return None
    place = Place(room or new_id(), tenant, slug, Visibility(standing.visibility))
    role = Role(standing.role) if standing.role else None
    return Pair(user, place, role, Part(standing.part) if standing.part else None)


def _column(field: models.Field[Any, Any]) -> str:
    return quote(str(field.column))


def _active() -> str:
    """A user model may have no ``is_active`` column; one whose row is gone is not active."""
    user_model = get_user_model()
    try:
        return f"person.{_column(user_model._meta.get_field('is_active'))}"
    except FieldDoesNotExist:
        return f"person.{_column(user_model._meta.pk)} IS NOT NULL"

"""What pages show: a room as somebody sees it, what was said in it before, and the rooms that somebody has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from rooms import access, contract, log
from rooms.conf import config
from rooms.contract import Refused, Right
from rooms.models import Event, Message, Room, Tenant
from rooms.services.messages import audience

HISTORY = 50  # messages that a page brings with it
MARKS = 200  # people whose reading a page knows of
PAUSE = timedelta(minutes=5)  # after which somebody who goes on is named again
PICKER = {"👍": "Thumbs up", "❤️": "Heart", "😂": "Laughing", "🎉": "Celebrating", "😮": "Surprised", "👀": "Looking"}


@dataclass(frozen=True, slots=True)
class Reaction:
    emoji: str
    users: list[str]
    mine: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One message and what stands with it: the message that it answers, what people think of it.

    A deleted one keeps its place: who was here when it went sees that it was, and so does who comes later. One that
    goes on where its author was a moment before is shown without a head, as ``seams.js`` does it.
    """

    seq: int
    message: contract.Message
    quote: contract.Message | None
    reactions: list[Reaction]
    goes_on: bool


@dataclass(frozen=True, slots=True)
class RoomPage:
    """A room with some of its messages, oldest first. ``older``: there are more before them.

    ``cursor`` is where the log stood before the messages were read: from there a page goes on, live. ``read`` is the
    seq up to which the person has read, None for who never has; ``marks``: how far everybody has, where that is told.
    """

    room: Room
    cursor: str
    me: contract.Person | None
    can: list[str]
    why: str | None
    read: int | None
    marks: list[contract.ChatRead]
    lines: list[Line]
    older: bool
    picker: dict[str, str]


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room in a list, with the last that was said in it. ``cursor``: from there the list goes on, live."""

    room: Room
    cursor: str
    last: contract.Message | None
    unread: bool


def room_page(user: Any, address: str, *, before: int | None = None) -> RoomPage | None:
    """A room's newest messages, or the newest of those below the seq ``before``.

    :param user: the request's, who may be nobody.
    :returns: None for a room that is not there, that this person may not know of, or that is not for talking.
    """
    try:
        grant = access.authorize(user.pk, address)
        row = Room.objects.select_related("tenant").get(tenant__slug=address.partition("/")[0], pk=grant.room)
    except (Refused, Room.DoesNotExist):
        return None
    if row.kind not in (Room.Kind.ROOM, Room.Kind.MODS):
        return None
    cursor = log.position(row)  # before the rows
    messages = Message.objects.filter(room=row, **({} if before is None else {"seq__lt": before}))
    newest = list(messages.select_related("author", "reply_to__author").order_by("-seq")[: HISTORY + 1])
    return RoomPage(
        room=row,
        cursor=str(cursor),
        me=contract.Person.from_row(user) if user.pk is not None else None,
        can=sorted(right.value for right in grant.can),
        why=_why_not(grant, row, user.pk),
        read=_read_marks(user.pk, [row]).get(row.pk) if user.pk is not None else None,
        marks=_marks(row) if before is None else [],
        lines=_lines(newest[HISTORY - 1 :: -1], str(user.pk)),
        older=len(newest) > HISTORY,
        picker=PICKER,
    )


def my_rooms(user: Any) -> list[tuple[Tenant, list[RoomRow]]]:
    """My tenants, and what I may see of their rooms; a tenant that has me in one of its rooms as a guest, too."""
    role = Q(memberships__user=user)
    mine = Tenant.objects.filter(role | Q(rooms__participants__user=user), active=True)
    members_of = set(Tenant.objects.filter(role).values_list("pk", flat=True))
    tenants = [(tenant, access.visible_rooms(user, tenant)) for tenant in mine.distinct().order_by("name", "slug")]
    every = [room for _, rooms in tenants for room in rooms]
    last, read = _last_messages(every), _read_marks(user, every)

    def row(room: Room) -> RoomRow:
        message = last.get(room.pk)
        unread = message is not None and message.author_id != user and message.seq > read.get(room.pk, 0)
        shown = contract.Message.from_row(message) if message else None
        return RoomRow(room, f"{room.log.epoch}:{room.log.head}", shown, unread)

    def place(row: RoomRow) -> tuple[bool, float]:
        """The latest word first, then where nothing was said, by name; what is closed comes last."""
        return row.room.archived, -row.last.created_at.timestamp() if row.last else 0.0

    shown = [(tenant, [row(room) for room in rooms]) for tenant, rooms in tenants if rooms or tenant.pk in members_of]
    return [(tenant, sorted(rows, key=place)) for tenant, rows in shown]


def _lines(rows: Iterable[Message], me: str) -> list[Line]:
    """:param rows: the oldest first."""
    lines = []
    before = None
    for row in rows:
        quote = contract.Message.from_row(row.reply_to) if row.reply_to else None
        reactions = [Reaction(emoji, users, me in users) for emoji, users in row.reactions.items()]
        lines.append(Line(row.seq, contract.Message.from_row(row), quote, reactions, _goes_on(row, before)))
        before = row
    return lines


def _goes_on(row: Message, before: Message | None) -> bool:
    """The day is the site's; a page whose reader has another one mends it."""
    if before is None or before.deleted or row.reply_to_id is not None or row.author_id != before.author_id:
        return False
    same_day = timezone.localdate(row.created_at) == timezone.localdate(before.created_at)
    return same_day and row.created_at - before.created_at < PAUSE


def _why_not(grant: access.Grant, room: Room, user: Any) -> str | None:
    """Why one cannot write here, by the names that the template has sentences for; None: one can."""
    if Right.WRITE in grant.can:
        return None
    if grant.archived:
        return "archived"
    if user is None:
        return "logged-out"
    return "moderators" if room.read_only else "listener"


def _last_messages(rooms: Iterable[Room]) -> dict[UUID, Message]:
    """One query."""
    said = Message.objects.filter(room=OuterRef("pk"), deleted=False).order_by("-seq")
    newest = Room.objects.filter(pk__in=[room.pk for room in rooms]).values(newest=Subquery(said.values("pk")[:1]))
    return {message.room_id: message for message in Message.objects.filter(pk__in=newest).select_related("author")}


def _marks(room: Room) -> list[contract.ChatRead]:
    """Who has read how far, the latest to do so last; of a large room nobody is told."""
    if audience(room) > config().roster_limit:
        return []
    said = Event.objects.filter(log__room=room, name="chat.read", key__isnull=False).order_by("-seq")
    newest = said.values_list("data", flat=True)[:MARKS]
    marks = (msgspec.json.decode(data, type=contract.ChatRead | None) for data in newest)
    return [mark for mark in marks if mark is not None][::-1]


def _read_marks(user: Any, rooms: Iterable[Room]) -> dict[UUID, int]:
    """Up to where this person has read. Kept in the room, of a large one in their own ``~me``; one query."""
    by_place = {(room.tenant_id, room.slug): room.pk for room in rooms}
    columns = ("log", "log__room__tenant", "data")
    marks = Event.objects.order_by().filter(name="chat.read")
    in_rooms = marks.filter(log__in=by_place.values(), key=str(user)).values_list(*columns)
    in_me = marks.filter(log__room__kind=Room.Kind.ME, log__room__owner=user).values_list(*columns)
    found: dict[UUID, int] = {}
    for place, tenant, data in in_rooms.union(in_me, all=True):
        mark = msgspec.json.decode(data)
        if mark is None:
            continue
        room = by_place.get((tenant, mark["room"])) if "room" in mark else place
        if room is not None:
            found[room] = max(found.get(room, 0), mark["seq"])
    return found

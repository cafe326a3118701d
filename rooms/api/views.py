"""``/api/``: what one may read passes the gate, what one writes is a command."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from drf_spectacular.utils import OpenApiParameter
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from rooms import access, contract, log, models, tickets
from rooms.api.authentication import TicketAuthentication
from rooms.api.base import View
from rooms.api.pages import BySlug, NewestFirst, number
from rooms.api.schema import operation
from rooms.api.serializers import shown
from rooms.api.shapes import Events, MemberRole, MessageText, ParticipantRole
from rooms.commands import Repeated
from rooms.contract import Refused, not_found
from rooms.node import running
from rooms.services import members

SEQ_MAX = 2**53 - 1
EVENTS_PAGE = 200
EVENTS_MAX = 1_000


class Tickets(View):
    permission_classes = [IsAuthenticated]

    @operation("tickets_create", answer=contract.Ticket, status=201)
    def post(self, request: Request) -> Response:
        """A ticket for the user who asks, for a client without cookies. A ticket does not beget another."""
        if isinstance(request.successful_authenticator, TicketAuthentication):
            raise Refused("forbidden", "A ticket is not given for a ticket.")
        running.count_write(request.user.pk)
        return Response(shown(contract.Ticket, tickets.issue(request.user)), 201)


# --- tenants ---------------------------------------------------------------------------------------------------------


class Tenants(View):
    @operation("tenants_list", answer=contract.Tenant, many=True)
    def get(self, request: Request) -> Response:
        """The tenants that the user is a member of."""
        user = request.user.pk
        rows = models.Membership.objects.filter(user=user, tenant__active=True).select_related("tenant")
        return self.page(contract.Tenant, rows)


class Tenant(View):
    @operation("tenants_retrieve", answer=contract.Tenant)
    def get(self, request: Request, tenant: str) -> Response:
        """A tenant, with the user's own role in it."""
        self.grant(tenant)
        row = (
            models.Membership.objects.filter(tenant__slug=tenant, user=request.user.pk).select_related("tenant").first()
        )
        return Response(shown(contract.Tenant, there(row)))

    @operation("tenants_update", body=contract.UpdateTenant, answer=contract.Tenant)
    def patch(self, request: Request, tenant: str) -> Response:
        """Rename it. For owners and admins."""
        self.perform("tenant.update", self.body(contract.UpdateTenant), room=f"{tenant}/~all")
        return self.changed(lambda: self.get(request, tenant))


class Members(View):
    @operation("members_list", answer=contract.Member, many=True, live=True)
    def get(self, request: Request, tenant: str) -> Response:
        """The people of the tenant and their roles, in the order in which they came."""
        cursor = self.live_cursor(self.grant(tenant))
        rows = models.Membership.objects.filter(tenant__slug=tenant).select_related("user")
        return self.page(contract.Member, rows, cursor)

    @operation("members_create", body=contract.SetMember, answer=contract.Member, status=201)
    def post(self, request: Request, tenant: str) -> Response:
        """Make somebody a member, or give a member another role. For owners and admins."""
        data = self.body(contract.SetMember)
        self.perform("member.set", data, room=f"{tenant}/~all")
        return self.changed(lambda: member(self, tenant, data.user), 201)


class Member(View):
    @operation("members_retrieve", answer=contract.Member)
    def get(self, request: Request, tenant: str, user: str) -> Response:
        """A person's role in the tenant. The id is the user's."""
        return member(self, tenant, user)

    @operation("members_set", body=MemberRole, answer=contract.Member)
    def put(self, request: Request, tenant: str, user: str) -> Response:
        """Give a member this role; who is none becomes one. For owners and admins."""
        data = contract.SetMember(user, self.body(MemberRole).role)
        self.perform("member.set", data, room=f"{tenant}/~all")
        return self.changed(lambda: member(self, tenant, user))

    @operation("members_update", body=MemberRole, answer=contract.Member)
    def patch(self, request: Request, tenant: str, user: str) -> Response:
        """The same as PUT."""
        return self.put(request, tenant, user)

    @operation("members_delete", status=204)
    def delete(self, request: Request, tenant: str, user: str) -> Response:
        """End a membership. For owners and admins."""
        self.perform("member.remove", contract.Remove(user), room=f"{tenant}/~all")
        return Response(status=204)


def member(view: View, tenant: str, user: str) -> Response:
    view.grant(tenant)
    key = members.user_key(user)
    row = models.Membership.objects.filter(tenant__slug=tenant, user=key).select_related("user").first()
    return Response(shown(contract.Member, there(row, "There is no such member.")))


# --- rooms -----------------------------------------------------------------------------------------------------------


class Rooms(View):
    pagination_class = BySlug

    @operation("rooms_list", answer=contract.Room, many=True, live=True)
    def get(self, request: Request, tenant: str) -> Response:
        """The rooms of the tenant that the user may read, by slug; archived ones too. For members."""
        cursor = self.live_cursor(self.grant(tenant))
        row = there(models.Tenant.objects.filter(slug=tenant).first())
        return self.page(contract.Room, access.visible_rooms(request.user.pk, row), cursor)

    @operation("rooms_create", body=contract.CreateRoom, answer=contract.Room, status=201)
    def post(self, request: Request, tenant: str) -> Response:
        """Create a room and moderate it. For owners and admins."""
        data = self.body(contract.CreateRoom)
        self.perform("room.create", data, room=f"{tenant}/~all")
        return self.changed(lambda: room_(self, tenant, data.slug), 201)


class Room(View):
    @operation("rooms_retrieve", answer=contract.Room)
    def get(self, request: Request, tenant: str, room: str) -> Response:
        """A room; one that is there by itself (`~all`, `~me`, `general~mods`) too."""
        return room_(self, tenant, room)

    @operation("rooms_update", body=contract.UpdateRoom, answer=contract.Room)
    def patch(self, request: Request, tenant: str, room: str) -> Response:
        """Rename, show, hide, close or archive it. For owners and admins."""
        self.perform("room.update", self.body(contract.UpdateRoom), room=f"{tenant}/{room}")
        return self.changed(lambda: room_(self, tenant, room))


def room_(view: View, tenant: str, room: str) -> Response:
    grant = view.grant(tenant, room)
    rows = models.Room.objects.filter(tenant__slug=tenant, pk=grant.room).select_related("tenant", "log")
    return Response(shown(contract.Room, there(rows.first())))


class Participants(View):
    @operation("participants_list", answer=contract.Member, many=True, live=True)
    def get(self, request: Request, tenant: str, room: str) -> Response:
        """The people with a part in the room that is not their role's."""
        grant = self.grant(tenant, room)
        cursor = self.live_cursor(grant)
        rows = models.Participant.objects.filter(room__tenant__slug=tenant, room=grant.room).select_related("user")
        return self.page(contract.Member, rows, cursor)

    @operation(
        "participants_create",
        body=contract.SetParticipant,
        answer=contract.Member,
        status=201,
    )
    def post(self, request: Request, tenant: str, room: str) -> Response:
        """Give a member of the tenant a part in the room. For who moderates."""
        data = self.body(contract.SetParticipant)
        self.perform("participant.set", data, room=f"{tenant}/{room}")
        return self.changed(lambda: participant(self, tenant, room, data.user), 201)


class Participant(View):
    @operation("participants_retrieve", answer=contract.Member)
    def get(self, request: Request, tenant: str, room: str, user: str) -> Response:
        """A person's part in the room. The id is the user's."""
        return participant(self, tenant, room, user)

    @operation("participants_set", body=ParticipantRole, answer=contract.Member)
    def put(self, request: Request, tenant: str, room: str, user: str) -> Response:
        """Give a member of the tenant this part in the room. For who moderates."""
        data = contract.SetParticipant(user, self.body(ParticipantRole).role)
        self.perform("participant.set", data, room=f"{tenant}/{room}")
        return self.changed(lambda: participant(self, tenant, room, user))

    @operation("participants_update", body=ParticipantRole, answer=contract.Member)
    def patch(self, request: Request, tenant: str, room: str, user: str) -> Response:
        """The same as PUT."""
        return self.put(request, tenant, room, user)

    @operation("participants_delete", status=204)
    def delete(self, request: Request, tenant: str, room: str, user: str) -> Response:
        """Take the part away: the role in the tenant counts again. For who moderates."""
        self.perform("participant.remove", contract.Remove(user), room=f"{tenant}/{room}")
        return Response(status=204)


def participant(view: View, tenant: str, room: str, user: str) -> Response:
    grant = view.grant(tenant, room)
    key = members.user_key(user)
    rows = models.Participant.objects.filter(room__tenant__slug=tenant, room=grant.room, user=key)
    return Response(
        shown(
            contract.Member,
            there(rows.select_related("user").first(), "There is no such member."),
        )
    )


# --- messages and events ---------------------------------------------------------------------------------------------


class Messages(View):
    pagination_class = NewestFirst

    @operation("messages_list", answer=contract.Message, many=True, live=True)
    def get(self, request: Request, tenant: str, room: str) -> Response:
        """The room's messages, newest first, without the deleted ones."""
        grant = self.grant(tenant, room)
        cursor = self.live_cursor(grant)
        return self.page(contract.Message, messages(tenant, grant).filter(deleted=False), cursor)

    @operation("messages_create", body=contract.ChatSend, answer=contract.Message, status=201)
    def post(self, request: Request, tenant: str, room: str) -> Response:
        """Say something. The repeat of one that was deleted meanwhile shows it deleted."""
        data = self.body(contract.ChatSend)
        answer = self.perform("chat.send", data, room=f"{tenant}/{room}")
        sent = msgspec.json.decode(answer, type=contract.Sent)
        if isinstance(answer, Repeated):
            try:
                return message(self, tenant, room, sent.message, 201, deleted=True)
            except Refused as refused:  # the right was lost meanwhile: the first answer again
                if refused.code != "not_found":
                    raise
        said = contract.Message(
            id=sent.message,
            author=contract.Person.from_row(request.user),
            created_at=sent.created_at,
            version=sent.version,
            reply_to=None if data.reply_to is None else str(UUID(data.reply_to)),
            text=data.text,
        )
        return Response(shown(contract.Message, said), 201, headers={"ETag": f'"{sent.version}"'})


class Message(View):
    @operation("messages_retrieve", answer=contract.Message)
    def get(self, request: Request, tenant: str, room: str, id: str) -> Response:
        """A message; none that was deleted."""
        return message(self, tenant, room, id)

    @operation("messages_update", body=MessageText, answer=contract.Message, match=True)
    def patch(self, request: Request, tenant: str, room: str, id: str) -> Response:
        """Change the text. For its author."""
        data = {"message": id, "text": self.body(MessageText).text, **self.version()}
        self.perform("chat.edit", data, room=f"{tenant}/{room}")
        return self.changed(lambda: message(self, tenant, room, id, deleted=True))

    @operation("messages_delete", status=204, match=True)
    def delete(self, request: Request, tenant: str, room: str, id: str) -> Response:
        """Delete it, in the log too. For its author and who moderates."""
        self.perform("chat.delete", {"message": id, **self.version()}, room=f"{tenant}/{room}")
        return Response(status=204)


def messages(tenant: str, grant: access.Grant) -> Any:
    return models.Message.objects.filter(room__tenant__slug=tenant, room=grant.room).select_related("author")


def message(
    view: View,
    tenant: str,
    room: str,
    id: str,
    status: int = 200,
    *,
    deleted: bool = False,
) -> Response:
    """One message; a deleted one only after the reader's own write."""
    grant = view.grant(tenant, room)
    try:
        rows = messages(tenant, grant).filter(pk=UUID(id))
    except ValueError:
        rows = models.Message.objects.none()
    row = there(
        rows.first() if deleted else rows.filter(deleted=False).first(),
        "There is no such message.",
    )
    return Response(shown(contract.Message, row), status, headers={"ETag": f'"{row.version}"'})


class EventLog(View):
    @operation(
        "events_list",
        answer=Events,
        query=[
            OpenApiParameter(
                "after",
                {"type": "integer", "minimum": 0, "default": 0},
                description="A seq.",
            ),
            OpenApiParameter(
                "limit",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": EVENTS_MAX,
                    "default": EVENTS_PAGE,
                },
                description="How many events.",
            ),
        ],
    )
    def get(self, request: Request, tenant: str, room: str) -> Response:
        """The room's log after a seq, as its readers got it."""
        after = number(request, "after", 0, most=SEQ_MAX)
        limit = number(request, "limit", EVENTS_PAGE, least=1, most=EVENTS_MAX)
        reading = there(log.read(self.grant(tenant, room).room, after, limit))
        events = [msgspec.Raw(entry.vector) for entry in reading.entries]
        return Response(
            {
                "epoch": reading.epoch,
                "floor": reading.floor,
                "head": reading.head,
                "events": events,
            }
        )


def there(row: Any, detail: str = "") -> Any:
    """:raises Refused: ``not_found``, when there is no row: it went after the gate was passed, or never was."""
    if row is None:
        raise Refused("not_found", detail) if detail else not_found()
    return row

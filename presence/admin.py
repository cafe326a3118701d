"""Who is connected now, for administrators: by whom, to what, from where, since when; and an end to it.

The pages of rooms' admin for rooms and members get an action more.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from presence import directory
from presence.disconnect import disconnect, disconnect_room
from presence.models import Connection
from rooms import admin as rooms_admin
from rooms.admin.pages import USERNAME, ReadOnlyAdmin, TenantFilter
from rooms.admin.scope import acting, everything, seen
from rooms.models import Membership, Room, Tenant


def seen_rooms(request: HttpRequest) -> QuerySet[Room]:
    return seen(request, Room.objects.all(), "tenant")


def in_rooms(**which: Any) -> Exists:
    """That a connection is in one of these rooms."""
    return Exists(directory.open_seats().filter(connection=OuterRef("pk"), **which))


def say(page: Any, request: HttpRequest, ended: Collection[UUID]) -> None:
    """Who gave the order is told that it was given: it is carried out by other processes."""
    count = len(ended)
    said = ngettext("%d connection is being ended.", "%d connections are being ended.", count)
    page.message_user(request, said % count, messages.SUCCESS if count else messages.WARNING)


class PlaceFilter(TenantFilter):
    """By the tenants of the rooms that a connection is in."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.filter(in_rooms(room__in=seen_rooms(request).filter(tenant__slug=self.value())))


class RoomFilter(admin.SimpleListFilter):
    """One room, to whose connections its own page leads; there is no list of them to choose from."""

    title = _("room")
    parameter_name = "room"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        given = self.value()
        return [] if given is None else [(given, self._named(request).address if self._named(request) else "-")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        room = self._named(request)
        return queryset.none() if room is None else queryset.filter(in_rooms(room=room))

    def _named(self, request: HttpRequest) -> Any:
        try:
            return seen_rooms(request).select_related("tenant").filter(pk=UUID(self.value() or "")).first()
        except ValueError:
            return None


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    """Those that are open now. A tenant's admin sees and ends the ones in rooms of theirs, and of those rooms alone."""

    tenant = ""
    list_display = ["person", "transport", "device", "address", "since", "rooms", "place"]
    list_filter = ["transport", "device", PlaceFilter, RoomFilter]
    search_fields = [f"user__{USERNAME}", "=address", "=node__host"]
    ordering = ["-since", "pk"]
    columns = ["user", "transport", "device", "address", "since", "rooms", "place"]
    readonly_fields = ["rooms", "place"]
    actions = ["disconnect", "disconnect_people"]

    def _may(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None or everything(request):
            return super()._may(request)
        return self.get_queryset(request).filter(pk=obj.pk).exists()

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        return self._may(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = directory.open_connections().select_related("user", "node").order_by(*self.ordering)
        return rows if everything(request) else rows.filter(in_rooms(room__in=seen_rooms(request)))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        changes.result_list = self._placed(request, changes.result_list)
        return changes

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        return None if row is None else self._placed(request, [row])[0]

    def _placed(self, request: HttpRequest, rows: Any) -> list[Any]:
        """With the rooms that each is in, of those that are seen."""
        found = list(rows)
        places = directory.rooms_of(found, seen=seen_rooms(request))
        for row in found:
            row.places = places[row.pk]
        return found

    def title(self, row: Any) -> str:
        return f"{row.user or '-'}, {row.transport}"

    @admin.display(description=_("rooms"))
    def rooms(self, obj: Any) -> str:
        return ", ".join(room.address for room in obj.places) or "-"

    @admin.display(description=_("node"), ordering="node")
    def place(self, obj: Any) -> str:
        return str(obj.node)

    @admin.action(description=_("Disconnect the selected connections"), permissions=["disconnect"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._disconnect(request, queryset)

    @admin.action(description=_("Disconnect their people, everywhere"), permissions=["disconnect"])
    def disconnect_people(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """All connections of theirs that are seen here."""
        people = list(queryset.exclude(user=None).order_by().values_list("user", flat=True).distinct())
        self._disconnect(request, self.get_queryset(request).filter(user__in=people))

    def _disconnect(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        if not everything(request):
            seats = directory.open_seats().filter(connection__in=queryset.order_by().values("pk"))
            concerned = Tenant.objects.filter(pk__in=seats.values("room__tenant"))
            for tenant in seen(request, concerned, "pk").order_by("pk"):
                acting(request, tenant)
        say(self, request, disconnect(queryset, rooms=seen_rooms(request), by=request.user))


# --- on the pages of rooms

admin.site.unregister(Room)
admin.site.unregister(Membership)


@admin.register(Room)
class RoomAdmin(rooms_admin.RoomAdmin):
    actions = [*rooms_admin.RoomAdmin.actions, "disconnect"]

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        return self._may(request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_fields(request, obj)
        return fields if obj is None else [*fields, "connected"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), "connected"]

    @admin.display(description=_("connected now"))
    def connected(self, obj: Room) -> str:
        count = directory.open_seats().filter(room=obj).count()
        address = reverse(f"{self.admin_site.name}:presence_connection_changelist")
        return format_html('<a href="{}?room={}">{}</a>', address, obj.pk, count)

    @admin.action(description=_("Disconnect everybody in the selected rooms"), permissions=["disconnect"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Room]) -> None:
        rooms = queryset.order_by("pk").select_related("tenant")
        ended = [disconnect_room(room, by=acting(request, room.tenant)) for room in rooms]
        say(self, request, frozenset().union(*ended))  # one may be in several of them


@admin.register(Membership)
class MembershipAdmin(rooms_admin.MembershipAdmin):
    actions = ["disconnect"]

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        return self._may(request)

    @admin.action(description=_("Disconnect the selected people from the tenant's rooms"), permissions=["disconnect"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        ended: set[UUID] = set()
        for tenant in Tenant.objects.filter(pk__in=queryset.order_by().values("tenant")).order_by("pk"):
            by = acting(request, tenant)
            people = queryset.order_by().filter(tenant=tenant).values("user")
            theirs = directory.open_connections().filter(in_rooms(room__tenant=tenant), user__in=people)
            ended |= disconnect(theirs, rooms=Room.objects.filter(tenant=tenant), by=by)
        say(self, request, ended)

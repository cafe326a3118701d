"""The admin: superusers work on every tenant, a tenant's owners and admins with staff status on it (``docs/admin.md``).

What is changed here goes through ``services``, so that it is told in the rooms. What they refuse is shown above the
form, or as a message, and nothing of the page is saved.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from rooms.admin.pages import (
    USERNAME,
    EventFilter,
    NewRows,
    PersonField,
    ReadOnlyAdmin,
    Scoped,
    ScopedAdmin,
    ScopedRows,
    SlugForm,
    TenantFilter,
    count_of,
    pretty,
    short,
)
from rooms.admin.scope import acting, everything, named_in_rooms, put, take
from rooms.contract import Refused
from rooms.models import AuditEntry, CommandResult, Event, Membership, Message, Participant, Room, Tenant
from rooms.services import rooms, tenants

INLINE_MAX = 100  # rows within a form: 4 fields each, and Django takes 1,000 in a request


# --- tenants and their members ---------------------------------------------------------------------------------------


class MembershipRows(ScopedRows):
    model = Membership
    tenant = "tenant"
    verbose_name_plural = _("members")


class NewMembershipRows(NewRows):
    model = Membership
    tenant = "tenant"
    verbose_name = _("member")
    verbose_name_plural = _("new members")


class NewTenantForm(SlugForm):
    owner = PersonField(required=False, help_text=_("The exact username of the first owner."))


@admin.register(Tenant)
class TenantAdmin(ScopedAdmin):
    tenant = "pk"
    form = SlugForm
    list_display = ["slug", "name", "active", "member_count", "room_count", "created_at"]
    list_filter = ["active"]
    search_fields = ["slug", "name"]
    actions = ["suspend", "reopen"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return everything(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_suspend_permission(self, request: HttpRequest) -> bool:
        return everything(request)

    def get_queryset(self, request: HttpRequest) -> Any:
        ordinary = count_of(Room, "tenant", kind=Room.Kind.ROOM)
        return super().get_queryset(request).annotate(member_count=count_of(Membership, "tenant"), room_count=ordinary)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ["slug", "name", "owner"]
        limits = ["limits"] if everything(request) else []  # what a tenant may cost is the site's to say
        return ["slug", "name", "active", *limits, "member_count", "room_count", "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return []
        fixed = ["slug", "member_count", "room_count", "created_at"]
        return fixed if everything(request) else [*fixed, "active"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if not change:
            kwargs["form"] = NewTenantForm
        return super().get_form(request, obj, change=change, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "limits":
            kwargs["show_hidden_initial"] = False  # Django's, for a default that is called: here it is always {}
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        if obj is None:
            return []
        return [MembershipRows, NewMembershipRows] if obj.member_count <= INLINE_MAX else [NewMembershipRows]

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        if change:
            given = {field: form.cleaned_data[field] for field in form.changed_data}
            if "limits" in given:
                given["limits"] = given["limits"] or {}
            tenants.update(obj, by=acting(request, obj), **given)
        else:
            given = form.cleaned_data
            obj.pk = tenants.create(given["slug"], name=given["name"], owner=given["owner"], by=request.user).pk

    @admin.display(description=_("members"), ordering="member_count")
    def member_count(self, obj: Any) -> str:
        return self.link(Membership, obj.member_count, tenant__id__exact=obj.pk)

    @admin.display(description=_("rooms"), ordering="room_count")
    def room_count(self, obj: Any) -> str:
        return self.link(Room, obj.room_count, tenant__id__exact=obj.pk, kind__exact=Room.Kind.ROOM)

    @admin.action(description=_("Suspend the selected tenants"), permissions=["suspend"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        self._set_active(request, queryset, False)

    @admin.action(description=_("Reopen the selected tenants"), permissions=["suspend"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        self._set_active(request, queryset, True)

    def _set_active(self, request: HttpRequest, queryset: QuerySet[Tenant], active: bool) -> None:
        changed = [tenant for tenant in queryset.order_by("pk") if tenant.active != active]
        for tenant in changed:
            tenants.update(tenant, active=active, by=acting(request, tenant))
            self.log_change(request, tenant, "Reopened." if active else "Suspended.")
        count = len(changed)
        said = (
            ngettext("%d tenant was reopened.", "%d tenants were reopened.", count)
            if active
            else ngettext("%d tenant was suspended.", "%d tenants were suspended.", count)
        )
        self.message_user(request, said % count, messages.SUCCESS)


class PeopleAdmin(ScopedAdmin):
    """Roles and parts: who it is and where stays as it is, the role is changed."""

    place: ClassVar[str]
    ordering = ["-pk"]
    show_full_result_count = False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = [self.place, "user", "role"]
        return fields if obj is None else self.shown(request, *fields, "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [] if obj is None else self.shown(request, self.place, "user", "created_at")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change or form.changed_data:
            obj.pk = put(request, obj).pk

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        take(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """All of them or none."""
        for row in queryset.order_by(self.tenant, "pk"):
            try:
                take(request, row)
            except Refused as refused:
                raise Refused(refused.code, f"{row}: {refused.detail} Nothing was deleted.") from None


@admin.register(Membership)
class MembershipAdmin(PeopleAdmin):
    tenant = place = "tenant"
    list_display = ["user", "tenant", "role", "created_at"]
    list_filter = ["role", TenantFilter]
    list_select_related = ["user", "tenant"]
    search_fields = [f"user__{USERNAME}", "tenant__slug"]
    autocomplete_fields = ["tenant"]


# --- rooms and who takes part ----------------------------------------------------------------------------------------


class ParticipantRows(ScopedRows):
    model = Participant
    tenant = "room__tenant"
    verbose_name_plural = _("participants")


class NewParticipantRows(NewRows):
    model = Participant
    tenant = "room__tenant"
    verbose_name = _("participant")
    verbose_name_plural = _("new participants")

    def people(self, request: HttpRequest) -> QuerySet[Any]:
        return named_in_rooms(request)


@admin.register(Room)
class RoomAdmin(ScopedAdmin):
    tenant = "tenant"
    form = SlugForm
    list_display = ["address", "name", "kind", "visibility", "read_only", "archived", "created_at"]
    list_filter = ["kind", "visibility", "read_only", "archived", TenantFilter]
    list_select_related = ["tenant"]
    search_fields = ["slug", "name", "tenant__slug"]
    autocomplete_fields = ["tenant"]
    ordering = ["tenant__slug", "slug"]
    actions = ["archive", "reopen"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.kind == Room.Kind.ROOM)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        if request.GET.get("model_name") == "participant":  # the list to choose a participant's room from
            queryset = queryset.filter(kind=Room.Kind.ROOM).select_related("tenant")
        return super().get_search_results(request, queryset, search_term)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = ["tenant", "slug", "name", "visibility", "read_only"]
        return fields if obj is None else [*fields, "archived", "kind", "head", "lists", "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [] if obj is None else ["tenant", "slug", "kind", "head", "lists", "created_at"]

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        if obj is None or obj.kind != Room.Kind.ROOM:
            return []
        few = obj.participants.count() <= INLINE_MAX
        return [ParticipantRows, NewParticipantRows] if few else [NewParticipantRows]

    def save_model(self, request: HttpRequest, obj: Room, form: Any, change: bool) -> None:
        by = acting(request, obj.tenant)
        if change:
            rooms.update(obj, by=by, **{field: form.cleaned_data[field] for field in form.changed_data})
        else:
            given = {field: form.cleaned_data[field] for field in ("slug", "name", "visibility", "read_only")}
            obj.pk = rooms.create(obj.tenant, by=by, **given).pk

    @admin.display(description=_("address"), ordering="slug")
    def address(self, obj: Room) -> str:
        return f"{obj.tenant.slug}/{obj.slug}"

    @admin.display(description=_("log"))
    def head(self, obj: Room) -> str:
        return f"epoch {obj.log.epoch}, head {obj.log.head}, floor {obj.log.floor}"

    @admin.display(description=_("in this room"))
    def lists(self, obj: Room) -> str:
        return format_html(
            "{} · {} · {}",
            self.link(Participant, _("participants"), room__id__exact=obj.pk),
            self.link(Message, _("messages"), room__id__exact=obj.pk),
            self.link(Event, _("events"), log__exact=obj.pk),
        )

    @admin.action(description=_("Archive the selected rooms"), permissions=["change"])
    def archive(self, request: HttpRequest, queryset: QuerySet[Room]) -> None:
        self._set_archived(request, queryset, True)

    @admin.action(description=_("Reopen the selected rooms"), permissions=["change"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Room]) -> None:
        self._set_archived(request, queryset, False)

    def _set_archived(self, request: HttpRequest, queryset: QuerySet[Room], archived: bool) -> None:
        """What cannot be changed is named, and the others are."""
        count = 0
        for room in queryset.order_by("pk"):
            if room.archived == archived:
                continue
            try:
                rooms.update(room, archived=archived, by=acting(request, room.tenant))
            except Refused as refused:
                self.message_user(request, f"{self.address(room)}: {refused.detail}", messages.ERROR)
                continue
            self.log_change(request, room, "Archived." if archived else "Reopened.")
            count += 1
        said = (
            ngettext("%d room was archived.", "%d rooms were archived.", count)
            if archived
            else ngettext("%d room was reopened.", "%d rooms were reopened.", count)
        )
        self.message_user(request, said % count, messages.SUCCESS)


@admin.register(Participant)
class ParticipantAdmin(PeopleAdmin):
    tenant = "room__tenant"
    place = "room"
    list_display = ["user", "room", "role", "created_at"]
    list_filter = ["role", TenantFilter]
    list_select_related = ["user", "room__tenant"]
    search_fields = [f"user__{USERNAME}", "room__slug", "room__tenant__slug"]
    autocomplete_fields = ["room"]

    def people(self, request: HttpRequest) -> QuerySet[Any]:
        return named_in_rooms(request)


# --- what happened ---------------------------------------------------------------------------------------------------


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    tenant = "log__room__tenant"
    list_display = ["at", "name", "room", "seq", "by", "short"]
    list_filter = [EventFilter, TenantFilter]
    list_select_related = ["log__room__tenant", "by"]
    search_fields = ["=log__room__slug", f"=by__{USERNAME}"]
    who = "by"
    columns = ["room", "seq", "name", "key", "at", "by", "pretty", "redacts"]
    readonly_fields = ["room", "pretty"]

    def title(self, row: Any) -> str:
        return f"{row.log.room.address} {row.seq} {row.name}"

    @admin.display(description=_("room"))
    def room(self, obj: Event) -> str:
        return obj.log.room.address

    @admin.display(description=_("data"))
    def short(self, obj: Event) -> str:
        return short(obj.data)

    @admin.display(description=_("data"))
    def pretty(self, obj: Event) -> str:
        return pretty(json.loads(obj.data))


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    tenant = "room__tenant"
    list_display = ["created_at", "room", "author", "short", "deleted"]
    list_filter = ["deleted", TenantFilter]
    list_select_related = ["room__tenant", "author"]
    search_fields = ["text", "=room__slug", f"=author__{USERNAME}"]
    who = "author"
    columns = ["room", "seq", "author", "text", "created_at", "version", "deleted", "reply_to", "reactions", "edits"]

    def title(self, row: Any) -> str:
        return f"{row.room.address} {row.seq}"

    @admin.display(description=_("text"))
    def short(self, obj: Message) -> str:
        return short(obj.text)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Names as they were then, and no links: the rows outlive whom and what they tell of."""

    tenant = "tenant"
    list_display = ["moment", "what", "subject_name", "place", "change", "actor_name", "source", "address"]
    list_filter = ["what", "source", TenantFilter]
    list_select_related = ["tenant"]
    search_fields = ["=actor_name", "=subject_name", "room", "=address"]
    date_hierarchy = "at"
    columns = ["moment", "what", "subject_name", "place", "change", "actor_name", "source", "address"]
    readonly_fields = ["moment", "place", "change"]

    @admin.display(description=_("at"), ordering="at")
    def moment(self, obj: AuditEntry) -> str:
        return f"{timezone.localtime(obj.at):%Y-%m-%d %H:%M:%S}"

    @admin.display(description=_("where"))
    def place(self, obj: AuditEntry) -> str:
        return obj.room or str(obj.tenant or "-")

    @admin.display(description=_("from and to"))
    def change(self, obj: AuditEntry) -> str:
        return f"{obj.before or '-'} → {obj.after or '-'}" if obj.before or obj.after else "-"


@admin.register(CommandResult)
class CommandResultAdmin(ReadOnlyAdmin):
    """Kept for a day, for all tenants in one table: superusers only."""

    tenant = ""
    list_display = ["created_at", "command_id", "user", "answer"]
    list_select_related = ["user"]
    search_fields = ["=command_id", f"=user__{USERNAME}"]
    columns = ["command_id", "user", "answer", "fingerprint", "created_at"]

    def _may(self, request: HttpRequest, obj: Any = None) -> bool:
        return everything(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super(Scoped, self).get_queryset(request)
        return rows if everything(request) else rows.none()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only along with its user, whose own page asks here before it deletes."""
        own = request.resolver_match is not None and "rooms_commandresult" in (request.resolver_match.url_name or "")
        return everything(request) and obj is not None and not own

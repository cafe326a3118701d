"""The admin: superusers work on every tenant, a tenant's owners and admins with staff status on it (``docs/admin.md``).

What is changed here goes through ``services``, so that it is told in the rooms. What they refuse is shown above the
form, or as a message, and nothing of the page is saved.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextInputWidget
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import models, transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from rooms import contract
from rooms.contract import Policy, Refused, Role
from rooms.models import CommandResult, Event, Membership, Message, Participant, Room, Tenant
from rooms.services import members, rooms, tenants

if TYPE_CHECKING:
    Page = admin.ModelAdmin[Any]
    Rows = admin.TabularInline[Any, Any]
    ModelForm = forms.ModelForm[Any]
    Pages = Paginator[Any]
    Options = admin.options.BaseModelAdmin[Any]
else:
    Options = object
    Page, Rows, ModelForm = admin.ModelAdmin, admin.TabularInline, forms.ModelForm
    Pages = Paginator

INLINE_MAX = 100  # rows within a form: 4 fields each, and Django takes 1,000 in a request
FILTER_MAX = 50  # tenants to choose from beside a list; who sees more of them searches
COUNT_MAX = 10_000  # rows of a log that a list counts, and turns pages through
USERNAME: str = get_user_model().USERNAME_FIELD


# --- who sees what ---------------------------------------------------------------------------------------------------


def _everything(request: HttpRequest) -> bool:
    return bool(request.user.is_superuser)


def _managed(request: HttpRequest) -> frozenset[Any]:
    """The keys of the tenants that somebody who is no superuser owns or administers; asked once a request."""
    found: frozenset[Any] | None = getattr(request, "_rooms_managed", None)
    if found is None:
        memberships = Membership.objects.filter(user=request.user.pk, role__in=(Role.OWNER, Role.ADMIN))
        found = frozenset(memberships.filter(tenant__active=True).values_list("tenant", flat=True))
        request._rooms_managed = found  # type: ignore[attr-defined]
    return found


def _seen(request: HttpRequest, rows: QuerySet[Any], tenant: str) -> QuerySet[Any]:
    """Those of the tenants that are seen. A ``~me`` is its owner's: a tenant's admin does not see into it."""
    if _everything(request):
        return rows
    rows = rows.filter(**{f"{tenant}__in": _managed(request)})
    room = {"room__tenant": "room__", "log__room__tenant": "log__room__"}.get(tenant, "")
    return rows.exclude(**{f"{room}kind": Room.Kind.ME}) if room or rows.model is Room else rows


def _tenant_of(row: models.Model) -> Any:
    if isinstance(row, Tenant):
        return row.pk
    if isinstance(row, Membership):
        return row.tenant_id
    assert isinstance(row, Room | Participant | Message | Event)
    room = row if isinstance(row, Room) else row.log.room if isinstance(row, Event) else row.room
    return None if room.kind == Room.Kind.ME else room.tenant_id


def _acting(request: HttpRequest, tenant: Tenant) -> Any:
    """Who does it. That they manage the tenant is asked again, under the lock under which roles change."""
    if not _everything(request):
        members.require_manager(tenant, by=request.user)
    return request.user


def _put(request: HttpRequest, row: Membership | Participant) -> Membership | Participant:
    """Save a role or a part, as the commands ``member.set`` and ``participant.set`` do."""
    if isinstance(row, Membership):
        by = _acting(request, row.tenant)
        if not _everything(request):
            members.require_owner(row.tenant, row.user, row.role, by=by)
        return members.set_role(row.tenant, row.user, row.role, by=by)
    by = _acting(request, row.room.tenant)
    members.require_ordinary(row.room)
    if not _everything(request) and row._state.adding:
        members.member(row.room.tenant, str(row.user.pk))
    return members.set_part(row.room, row.user, row.role, by=by)


def _take(request: HttpRequest, row: Membership | Participant) -> None:
    """End a membership or a part, as the commands ``member.remove`` and ``participant.remove`` do."""
    if isinstance(row, Membership):
        by = _acting(request, row.tenant)
        if not _everything(request):
            members.require_owner(row.tenant, row.user, by=by)
        members.remove(row.tenant, row.user, by=by)
    else:
        members.remove_part(row.room, row.user, by=_acting(request, row.room.tenant))


# --- what pages are made of ------------------------------------------------------------------------------------------


class PersonField(forms.CharField):
    """One person by the exact username. A tenant's admin is shown no list of the site's people to choose from."""

    widget = AdminTextInputWidget

    def __init__(self, people: Callable[[], QuerySet[Any]] | None = None, **options: Any) -> None:
        options.setdefault("help_text", _("The exact username."))
        super().__init__(**options)
        self.people = people or get_user_model()._default_manager.all

    def clean(self, value: Any) -> Any:
        name = super().clean(value)
        if not name:
            return None
        user = self.people().filter(**{USERNAME: name}).first()
        if user is None:
            raise ValidationError(_("There is no such person."))
        return user


class Form(ModelForm):
    refused: ClassVar[str] = ""  # by a service, the last time it was tried

    def clean(self) -> dict[str, Any] | None:
        if self.refused:
            self.add_error(None, self.refused)
        return super().clean()


class SlugForm(Form):
    slug = forms.RegexField(
        contract.SLUG_PATTERN,
        max_length=contract.SLUG_MAX,
        widget=AdminTextInputWidget,
        help_text=_("Part of the address, for good."),
        error_messages={"invalid": _("a-z, 0-9, - and _; a letter or a digit first.")},
    )


class Scoped(Options):
    """Shows and changes what is of the tenants that a person manages; to superusers everything.

    The role in the tenant decides. Django's model permissions are not asked.
    """

    tenant: ClassVar[str]  # the lookup from a row to its tenant
    who: ClassVar[str] = "user"  # the field with a row's person

    def _may(self, request: HttpRequest, obj: Any = None) -> bool:
        if _everything(request):
            return True
        return bool(_managed(request)) if obj is None else _tenant_of(obj) in _managed(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._may(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return _seen(request, super().get_queryset(request), self.tenant)

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        """Superusers choose people from a list too, where the site has an admin of its users that can be searched."""
        site = self.admin_site
        user = get_user_model()
        if _everything(request) and site.is_registered(user) and site.get_model_admin(user).get_search_fields(request):
            return [*self.autocomplete_fields, "user"]
        return self.autocomplete_fields

    def formfield_for_dbfield(self, db_field: models.Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user" and "user" not in self.get_autocomplete_fields(request):
            return PersonField(lambda: self.people(request), label=db_field.verbose_name.capitalize())
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in ("tenant", "room"):
            path = "pk" if db_field.name == "tenant" else "tenant"
            rows = db_field.remote_field.model._default_manager.all()
            kwargs["queryset"] = _seen(request, rows, path).select_related(*(["tenant"] if path == "tenant" else []))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def shown(self, request: HttpRequest, *fields: str) -> list[str]:
        """These fields to be read; to whom no page of the site's people is open, without a link to one."""
        return ["person" if field == self.who and not _everything(request) else field for field in fields]

    @admin.display(description=_("user"))
    def person(self, obj: Any) -> str:
        return str(getattr(obj, self.who) or "-")

    def people(self, request: HttpRequest) -> QuerySet[Any]:
        """Who may be named on this page."""
        return get_user_model()._default_manager.all()


class ScopedAdmin(Scoped, Page):
    form = Form
    list_per_page = 50
    view_on_site = False

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.refused = getattr(request, "_rooms_refused", "")  # type: ignore[attr-defined]
        return form

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except Refused as refused:  # the transaction of the view is undone: show the form again, with the reason
            request._rooms_refused = refused.detail  # type: ignore[attr-defined]
            return super().changeform_view(request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """What an action does is one transaction."""
        try:
            with transaction.atomic() if request.method == "POST" else nullcontext():
                return super().changelist_view(request, extra_context)
        except Refused as refused:
            self.message_user(request, refused.detail, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except Refused as refused:
            self.message_user(request, refused.detail, messages.ERROR)
            name = f"{self.admin_site.name}:rooms_{self.opts.model_name}_change"
            return HttpResponseRedirect(reverse(name, args=[object_id]))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The group of new rows first, and of each group new owners: a tenant can be handed over on one page."""
        super().save_related(request, form, formsets[::-1], change)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        formset.save(commit=False)
        rows = [*formset.new_objects, *(row for row, _fields in formset.changed_objects)]
        for row in sorted(rows, key=lambda row: bool(row.role != Role.OWNER)):
            row.pk = _put(request, row).pk
        for row in formset.deleted_objects:
            _take(request, row)

    def link(self, model: type[models.Model], text: Any, **lookup: Any) -> str:
        """To the list of another model's rows."""
        query = "&".join(f"{name}={value}" for name, value in lookup.items())
        name = f"{self.admin_site.name}:rooms_{model._meta.model_name}_changelist"
        return format_html('<a href="{}?{}">{}</a>', reverse(name), query, text)


class ReadOnlyAdmin(ScopedAdmin):
    """Rows that the log and the commands own."""

    columns: ClassVar[list[str]]  # of a row's page
    show_full_result_count = False
    ordering = ["-pk"]  # the newest first: keys grow with time, and have an index

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.shown(request, *self.columns)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        row = kwargs.get("obj")
        return super().render_change_form(request, {**context, "subtitle": self.title(row)}, *args, **kwargs)

    def title(self, row: Any) -> str:
        return str(row)

    def get_paginator(self, request: HttpRequest, queryset: Any, per_page: int, *args: Any, **kwargs: Any) -> Any:
        return BoundedPaginator(queryset, per_page, *args, **kwargs)


class BoundedPaginator(Pages):
    """Counts to 10,000 and no further: a log has millions of rows, and to count them takes seconds."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNT_MAX].count())


class TenantFilter(admin.SimpleListFilter):
    title = _("tenant")
    parameter_name = "of"

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self.path: str = model_admin.tenant
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        slugs = _seen(request, Tenant.objects.all(), "pk").values_list("slug", flat=True)[: FILTER_MAX + 1]
        return [(slug, slug) for slug in slugs] if len(slugs) <= FILTER_MAX else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.path}__slug": self.value()}) if self.value() else queryset


class EventFilter(admin.SimpleListFilter):
    """By the names that are declared: to ask the log for those that are there reads all of it."""

    title = _("event")
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name, kind in sorted(contract.EVENTS.items()) if kind.policy != Policy.TRANSIENT]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(name=self.value()) if self.value() else queryset


class ScopedRows(Scoped, Rows):
    """Rows within the page of what they belong to: those that are there, whose people stay who they are."""

    extra = 0
    show_change_link = True

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.shown(request, "user", "role", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.shown(request, "user", "created_at")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        path = self.tenant.removesuffix("tenant") + "tenant"
        return super().get_queryset(request).select_related("user", path).order_by(f"user__{USERNAME}")


class NewRows(ScopedRows):
    """And those that are added, in a group of their own: only there is a person chosen."""

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["user", "role"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return []

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_view_permission


def _count(model: type[models.Model], field: str, **which: Any) -> Any:
    """How many rows of the model belong to a row; a subquery, for two joins would multiply each other."""
    rows = model._default_manager.filter(**{field: OuterRef("pk")}, **which).order_by().values(field)
    return Coalesce(Subquery(rows.annotate(count=Count("pk")).values("count")), 0)


def _short(text: str) -> str:
    return Truncator(text).chars(80)


def _pretty(value: Any) -> str:
    return format_html("<pre>{}</pre>", json.dumps(value, ensure_ascii=False, indent=2))


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
        return _everything(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_suspend_permission(self, request: HttpRequest) -> bool:
        return _everything(request)

    def get_queryset(self, request: HttpRequest) -> Any:
        ordinary = _count(Room, "tenant", kind=Room.Kind.ROOM)
        return super().get_queryset(request).annotate(member_count=_count(Membership, "tenant"), room_count=ordinary)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ["slug", "name", "owner"]
        return ["slug", "name", "active", "member_count", "room_count", "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return []
        fixed = ["slug", "member_count", "room_count", "created_at"]
        return fixed if _everything(request) else [*fixed, "active"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if not change:
            kwargs["form"] = NewTenantForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        if obj is None:
            return []
        return [MembershipRows, NewMembershipRows] if obj.member_count <= INLINE_MAX else [NewMembershipRows]

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        if change:
            given = {field: form.cleaned_data[field] for field in form.changed_data}
            tenants.update(obj, by=_acting(request, obj), **given)
        else:
            given = form.cleaned_data
            obj.pk = tenants.create(given["slug"], name=given["name"], owner=given["owner"]).pk

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
            tenants.update(tenant, active=active, by=_acting(request, tenant))
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
            obj.pk = _put(request, obj).pk

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        _take(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """All of them or none."""
        for row in queryset.order_by(self.tenant, "pk"):
            try:
                _take(request, row)
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
        return _named_in_rooms(request)


def _named_in_rooms(request: HttpRequest) -> QuerySet[Any]:
    """A tenant's admin gives parts to members, as the command ``participant.set`` does."""
    people = get_user_model()._default_manager.all()
    if _everything(request):
        return people
    return people.filter(pk__in=Membership.objects.filter(tenant__in=_managed(request)).values("user"))


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
        by = _acting(request, obj.tenant)
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
                rooms.update(room, archived=archived, by=_acting(request, room.tenant))
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
        return _named_in_rooms(request)


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
        return _short(obj.data)

    @admin.display(description=_("data"))
    def pretty(self, obj: Event) -> str:
        return _pretty(json.loads(obj.data))


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
        return _short(obj.text)


@admin.register(CommandResult)
class CommandResultAdmin(ReadOnlyAdmin):
    """Kept for a day, for all tenants in one table: superusers only."""

    tenant = ""
    list_display = ["created_at", "command_id", "user", "answer"]
    list_select_related = ["user"]
    search_fields = ["=command_id", f"=user__{USERNAME}"]
    columns = ["command_id", "user", "answer", "fingerprint", "created_at"]

    def _may(self, request: HttpRequest, obj: Any = None) -> bool:
        return _everything(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super(Scoped, self).get_queryset(request)
        return rows if _everything(request) else rows.none()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only along with its user, whose own page asks here before it deletes."""
        own = request.resolver_match is not None and "rooms_commandresult" in (request.resolver_match.url_name or "")
        return _everything(request) and obj is not None and not own

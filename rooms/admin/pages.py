"""What the pages of the admin are made of."""

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

from rooms import contract
from rooms.admin.scope import at_work, everything, managed, put, seen, take, tenant_of
from rooms.contract import Policy, Refused, Role
from rooms.models import Tenant

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

FILTER_MAX = 50  # tenants to choose from beside a list; who sees more of them searches
COUNT_MAX = 10_000  # rows of a log that a list counts, and turns pages through
USERNAME: str = get_user_model().USERNAME_FIELD


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
        if everything(request):
            return True
        return bool(managed(request)) if obj is None else tenant_of(obj) in managed(request)

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
        return seen(request, super().get_queryset(request), self.tenant)

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        """Superusers choose people from a list too, where the site has an admin of its users that can be searched."""
        site = self.admin_site
        user = get_user_model()
        if everything(request) and site.is_registered(user) and site.get_model_admin(user).get_search_fields(request):
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
            kwargs["queryset"] = seen(request, rows, path).select_related(*(["tenant"] if path == "tenant" else []))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def shown(self, request: HttpRequest, *fields: str) -> list[str]:
        """These fields to be read; to whom no page of the site's people is open, without a link to one."""
        return ["person" if field == self.who and not everything(request) else field for field in fields]

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
            with at_work(request):
                return super().changeform_view(request, *args, **kwargs)
        except Refused as refused:  # the transaction of the view is undone: show the form again, with the reason
            request._rooms_refused = refused.detail  # type: ignore[attr-defined]
            return super().changeform_view(request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """What an action does is one transaction."""
        try:
            with at_work(request), transaction.atomic() if request.method == "POST" else nullcontext():
                return super().changelist_view(request, extra_context)
        except Refused as refused:
            self.message_user(request, refused.detail, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        try:
            with at_work(request):
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
            row.pk = put(request, row).pk
        for row in formset.deleted_objects:
            take(request, row)

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
        slugs = seen(request, Tenant.objects.all(), "pk").values_list("slug", flat=True)[: FILTER_MAX + 1]
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


def count_of(model: type[models.Model], field: str, **which: Any) -> Any:
    """How many rows of the model belong to a row; a subquery, for two joins would multiply each other."""
    rows = model._default_manager.filter(**{field: OuterRef("pk")}, **which).order_by().values(field)
    return Coalesce(Subquery(rows.annotate(count=Count("pk")).values("count")), 0)


def short(text: str) -> str:
    return Truncator(text).chars(80)


def pretty(value: Any) -> str:
    return format_html("<pre>{}</pre>", json.dumps(value, ensure_ascii=False, indent=2))

"""The admin: who works on what there, and that every change is told as if it had been made elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from rooms import commands, log, services
from rooms.contract import new_command_id
from rooms.models import AuditEntry, CommandResult, Event, Membership, Message, Participant, Room, Tenant
from tests.support.world import World

MODELS = ("tenant", "membership", "room", "participant", "event", "message", "auditentry", "commandresult")
STAFF_MODELS = MODELS[:-1]  # what a tenant's admin works on


class Admin:
    """Somebody's browser in the admin."""

    def __init__(self, user: Any, password: str) -> None:
        self.client = Client()
        answer = self.client.post(
            reverse("admin:login"), {"username": user.get_username(), "password": password, "next": "/admin/"}
        )
        assert answer.status_code == 302, answer.content

    def get(self, name: str, /, *args: Any, **query: Any) -> Any:
        return self.client.get(reverse(f"admin:{name}", args=args), query)

    def post(self, name: str, /, *args: Any, **data: Any) -> Any:
        return self.client.post(reverse(f"admin:{name}", args=args), data, follow=True)

    def list(self, model: str, /, **query: Any) -> list[str]:
        """The rows of a list, as the texts of their first columns."""
        answer = self.get(f"rooms_{model}_changelist", **query)
        assert answer.status_code == 200, answer.headers
        return [str(row) for row in answer.context["cl"].result_list]

    def change(self, row: Any, /, **data: Any) -> Any:
        """Open a row's page, change some of it, save."""
        name = f"rooms_{row._meta.model_name}_change"
        page = self.get(name, row.pk)
        assert page.status_code == 200
        return self.post(name, row.pk, **{**filled(page), **data})

    def add(self, model: str, /, **data: Any) -> Any:
        return self.post(f"rooms_{model}_add", **data)

    def delete(self, row: Any) -> Any:
        return self.post(f"rooms_{row._meta.model_name}_delete", row.pk, post="yes")

    def act(self, action: str, *rows: Any, model: str = "", **more: Any) -> Any:
        model = model or rows[0]._meta.model_name
        data = {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}
        return self.post(f"rooms_{model}_changelist", **data)


def filled(page: Any) -> dict[str, Any]:
    """What the forms of a page hold."""
    found: dict[str, Any] = {}
    forms = [page.context["adminform"].form]
    for inline in page.context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    for form in forms:
        for field in form:
            value = field.value()
            if value is not None and value is not False:
                found[field.html_name] = getattr(value, "pk", value)
    return found


def text(answer: Any) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", answer.content.decode()))


def said(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def errors(answer: Any) -> list[str]:
    """What the forms of a page complain of."""
    assert answer.status_code == 200
    found = answer.context.get("errors") or []  # of every form a list; of a formset a list of those
    return [error for one in found for error in (one if isinstance(one, list) else [one])]


@pytest.fixture
def staffed(world: World, settings: Any) -> World:
    """The world, where ann (admin of acme) and alice (its owner) are staff, and so are bob and dave, members."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real ones take a second
    for name in ("alice", "ann", "bob", "dave"):
        user = world.users[name]
        user.is_staff = True
        user.set_password("pw")
        user.save()
    world.users["ada"] = get_user_model()._default_manager.create_superuser("ada", password="pw")
    return world


@pytest.fixture
def ada(staffed: World) -> Admin:
    """A superuser, in no tenant."""
    return Admin(staffed.users["ada"], "pw")


@pytest.fixture
def ann(staffed: World) -> Admin:
    """An admin of acme, with staff status."""
    return Admin(staffed.users["ann"], "pw")


@pytest.fixture
def alice(staffed: World) -> Admin:
    """The owner of acme, with staff status."""
    return Admin(staffed.users["alice"], "pw")


class Told:
    """What was logged since the last look: ``<room> <event> <by>``."""

    def __init__(self) -> None:
        self.last = 0
        self.new()

    def new(self) -> list[str]:
        events = Event.objects.filter(pk__gt=self.last).order_by("pk").select_related("log__room__tenant", "by")
        found = [f"{event.log.room.address} {event.name} {event.by}" for event in events]
        self.last = max([self.last, *(event.pk for event in events)])
        return found


@pytest.fixture
def told(staffed: World) -> Iterator[Told]:
    return Told()


def membership(world: World, name: str, tenant: str = "acme") -> Membership:
    return Membership.objects.get(tenant__slug=tenant, user=world.users[name])


# --- a superuser


@pytest.mark.parametrize(
    ("model", "query", "found"),
    [
        ("tenant", {}, ["acme", "globex"]),
        ("tenant", {"q": "glob"}, ["globex"]),
        ("tenant", {"active__exact": "0"}, []),
        ("membership", {"q": "carol"}, ["carol in globex: owner"]),
        ("membership", {"role__exact": "guest"}, ["erin in acme: guest"]),
        ("membership", {"of": "globex", "o": "1"}, ["carol in globex: owner", "dave in globex: member"]),
        ("room", {"kind__exact": "room", "q": "globex"}, ["globex/general"]),
        ("room", {"visibility__exact": "public"}, ["acme/lobby"]),
        ("room", {"kind__exact": "all"}, ["acme/~all", "globex/~all"]),
        ("room", {"archived__exact": "1"}, []),
        ("room", {"of": "globex", "kind__exact": "mods"}, ["globex/general~mods"]),
        ("participant", {"q": "carol"}, ["carol"]),
        ("participant", {"role__exact": "speaker"}, ["bob"]),
        ("event", {"event": "room.created", "of": "globex"}, ["room.created"] * 2),
        ("event", {"q": "board", "event": "member.added"}, ["member.added"] * 2),
    ],
)
def test_a_superuser_lists_searches_and_filters(
    ada: Admin, model: str, query: dict[str, Any], found: list[str]
) -> None:
    shown = ada.list(model, **query)
    assert len(shown) == len(found), shown
    for row, start in zip(shown, found, strict=True):
        assert start in row


def test_a_superuser_finds_messages_and_answers(ada: Admin, staffed: World) -> None:
    staffed.say("bob", "where is the invoice")
    staffed.say("bob", "never mind")
    assert len(ada.list("message", q="invoice")) == 1
    assert len(ada.list("message", of="globex")) == 0
    message = Message.objects.get(text="never mind")
    assert "never mind" in text(ada.get("rooms_message_change", message.pk))
    assert len(ada.list("commandresult", q="bob")) == 2
    answer = CommandResult.objects.first()
    assert answer is not None
    assert answer.command_id in text(ada.get("rooms_commandresult_change", answer.pk))
    event = Event.objects.get(name="chat.message", data__contains="invoice")
    assert "where is the invoice" in text(ada.get("rooms_event_change", event.pk))


def test_a_tenant_is_made_with_its_owner(ada: Admin, staffed: World, told: Told) -> None:
    answer = ada.add("tenant", slug="initech", name="Initech", owner="bob")
    assert "was added successfully" in said(answer)[0]
    assert Room.objects.filter(tenant__slug="initech", kind="all").count() == 1
    assert membership(staffed, "bob", "initech").role == "owner"
    assert told.new() == ["initech/~all member.added ada"]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"slug": "acme", "name": "x"}, "already exists"),
        ({"slug": "No Slug", "name": "x"}, "a-z, 0-9"),
        ({"slug": "~all", "name": "x"}, "a-z, 0-9"),
        ({"slug": "x" * 51, "name": "x"}, "at most 50"),
        ({"slug": "new", "name": ""}, "required"),
        ({"slug": "new", "name": "x\0"}, "Null characters"),
        ({"slug": "new", "name": "x", "owner": "nobody"}, "no such person"),
        ({"slug": "new", "name": "x", "owner": "a\0b"}, "Null characters"),
    ],
)
def test_a_wrong_tenant_is_refused(ada: Admin, data: dict[str, Any], error: str) -> None:
    assert any(error in one for one in errors(ada.add("tenant", **data)))
    assert Tenant.objects.count() == 2


def test_a_slug_that_somebody_else_took_meanwhile_is_an_error_of_the_form(
    ada: Admin, staffed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in (Tenant, Room):  # the form has looked too early
        monkeypatch.setattr(model, "validate_unique", lambda *args, **options: None)
        monkeypatch.setattr(model, "validate_constraints", lambda *args, **options: None)
    refused = ["This slug is taken."]
    assert errors(ada.add("tenant", slug="acme", name="Acme")) == refused
    assert errors(ada.add("room", tenant=staffed.acme.pk, slug="lobby", name="x", visibility="tenant")) == refused


def test_a_tenant_is_renamed_and_its_slug_stays(ada: Admin, staffed: World, told: Told) -> None:
    ada.change(staffed.acme, name="Acme & Sons", slug="other")
    staffed.acme.refresh_from_db()
    assert (staffed.acme.slug, staffed.acme.name) == ("acme", "Acme & Sons")
    assert told.new() == ["acme/~all room.updated ada"]
    assert LogEntry.objects.get().get_change_message() == "Changed Name."


def test_tenants_are_suspended_and_reopened(ada: Admin, staffed: World) -> None:
    ada.act("suspend", staffed.acme, staffed.globex)
    assert not Tenant.objects.filter(active=True).exists()
    assert said(ada.act("reopen", staffed.acme)) == ["1 tenant was reopened."]
    assert Tenant.objects.get(active=True) == staffed.acme
    ada.change(staffed.acme, active="")
    assert not Tenant.objects.filter(active=True).exists()


def test_superusers_give_a_tenant_limits_of_its_own(ada: Admin, ann: Admin, staffed: World) -> None:
    own = {"commands_per_user": "40/200"}
    ada.change(staffed.acme, limits='{"commands_per_user": "40/200"}')
    assert Tenant.objects.get(pk=staffed.acme.pk).limits == own
    answer = ada.change(staffed.acme, limits='{"handshakes_per_node": 1}')
    assert "handshakes_per_node is none of" in answer.content.decode()
    ann.change(staffed.acme, limits="{}", name="Acme & Sons")
    assert Tenant.objects.get(name="Acme & Sons").limits == own
    ada.change(staffed.acme, limits="")
    assert Tenant.objects.get(pk=staffed.acme.pk).limits == {}


def test_a_room_is_made_and_changed(ada: Admin, staffed: World, told: Told) -> None:
    answer = ada.add("room", tenant=staffed.acme.pk, slug="new", name="New", visibility="tenant")
    assert "was added successfully" in said(answer)[0]
    room = staffed.room("acme/new")
    assert told.new() == ["acme/new room.created ada", "acme/~all room.created ada"]
    assert not room.participants.exists()  # ada is in no tenant, and takes no part by making a room
    ada.change(room, name="Newer", visibility="public", slug="other", tenant=staffed.globex.pk)
    room = staffed.room("acme/new")
    assert (room.name, room.visibility) == ("Newer", "public")
    assert told.new() == ["acme/new room.updated ada", "acme/~all room.updated ada"]
    ada.change(room, archived="on")
    assert told.new() == ["acme/new room.archived ada", "acme/~all room.archived ada"]


@pytest.mark.parametrize(("slug", "error"), [("general", "already exists"), ("~all", "a-z, 0-9"), ("A", "a-z, 0-9")])
def test_a_wrong_room_is_refused(ada: Admin, staffed: World, slug: str, error: str) -> None:
    answer = ada.add("room", tenant=staffed.acme.pk, slug=slug, name="New", visibility="tenant")
    assert any(error in one for one in errors(answer))


def test_a_stale_form_changes_only_what_was_changed_in_it(ada: Admin, staffed: World) -> None:
    room = staffed.room("acme/general")
    page = filled(ada.get("rooms_room_change", room.pk))
    services.rooms.update(room, name="Newer")
    ada.post("rooms_room_change", room.pk, **{**page, "name": "Newer", "read_only": "on"})
    room = staffed.room("acme/general")
    assert (room.name, room.read_only) == ("Newer", True)


def test_rooms_are_archived_and_reopened_by_actions(ada: Admin, staffed: World, told: Told) -> None:
    rooms = [staffed.room(f"acme/{slug}") for slug in ("general", "board", "~all")]
    answer = ada.act("archive", *rooms)
    assert said(answer) == [
        "acme/~all: This room is there by itself and cannot be changed.",
        "2 rooms were archived.",
    ]
    assert sorted(told.new()) == [
        "acme/board room.archived ada",
        "acme/general room.archived ada",
        "acme/~all room.archived ada",
    ]
    assert said(ada.act("archive", *rooms[:2])) == ["0 rooms were archived."]
    assert told.new() == []
    ada.act("reopen", *rooms[:2])
    assert len(told.new()) == 3
    assert not Room.objects.filter(archived=True).exists()
    assert {entry.get_change_message() for entry in LogEntry.objects.all()} == {"Archived.", "Reopened."}


def test_rooms_and_tenants_are_not_deleted(ada: Admin, staffed: World) -> None:
    for row in (staffed.acme, staffed.room("acme/general")):
        assert ada.delete(row).status_code == 403
        ada.act("delete_selected", row, post="yes")
    assert Tenant.objects.count() == 2
    assert Room.objects.filter(slug="general").count() == 2


def test_rooms_that_are_there_by_themselves_are_looked_at_only(ada: Admin, staffed: World) -> None:
    for slug in ("~all", "general~mods"):
        room = staffed.room(f"acme/{slug}")
        assert "View room" in text(ada.get("rooms_room_change", room.pk))
        assert ada.post("rooms_room_change", room.pk, name="x").status_code == 403
    answer = ada.add("participant", room=staffed.room("acme/~all").pk, user=staffed.users["bob"].pk, role="moderator")
    assert errors(answer) == ["This room is there by itself and has no parts to give."]


def test_a_member_is_added_changed_and_removed(ada: Admin, staffed: World, told: Told) -> None:
    carol = staffed.users["carol"]
    ada.add("membership", tenant=staffed.acme.pk, user=carol.pk, role="guest")
    assert told.new() == ["acme/~all member.added ada"]
    assert Room.objects.filter(tenant=staffed.acme, kind="me", owner=carol).exists()
    row = membership(staffed, "carol")
    ada.change(row, role="member", user=staffed.users["bob"].pk, tenant=staffed.globex.pk)
    row = membership(staffed, "carol")
    assert row.role == "member"
    assert told.new() == ["acme/~all member.changed ada"]
    assert "was deleted successfully" in said(ada.delete(row))[0]
    assert told.new() == ["acme/~all member.removed ada"]
    assert not Room.objects.filter(tenant=staffed.acme, kind="me", owner=carol).exists()


def test_who_is_a_member_already_is_not_added(ada: Admin, staffed: World, told: Told) -> None:
    answer = ada.add("membership", tenant=staffed.acme.pk, user=staffed.users["bob"].pk, role="admin")
    assert errors(answer) == ["Membership with this Tenant and User already exists."]
    assert told.new() == []


def test_members_are_removed_all_together_or_not_at_all(ada: Admin, staffed: World, told: Told) -> None:
    bob, alice = membership(staffed, "bob"), membership(staffed, "alice")
    assert "Are you sure" in text(ada.act("delete_selected", bob, alice))
    answer = ada.act("delete_selected", bob, alice, post="yes")
    assert said(answer) == ["alice in acme: owner: A tenant keeps at least one owner. Nothing was deleted."]
    assert told.new() == []
    assert not LogEntry.objects.exists()
    answer = ada.act("delete_selected", bob, membership(staffed, "erin"), post="yes")
    assert said(answer) == ["Successfully deleted 2 memberships."]
    assert sorted(told.new()) == [
        "acme/board member.removed ada",
        "acme/~all member.removed ada",
        "acme/~all member.removed ada",
    ]


def test_the_last_owner_stays(ada: Admin, staffed: World, told: Told) -> None:
    row = membership(staffed, "alice")
    assert errors(ada.change(row, role="member")) == ["A tenant keeps at least one owner."]
    assert said(ada.delete(row)) == ["A tenant keeps at least one owner."]
    answer = ada.change(staffed.acme, name="Other", **rows_of(ada, staffed.acme, alice={"role": "admin"}))
    assert errors(answer) == ["A tenant keeps at least one owner."]
    answer = ada.change(staffed.acme, name="Other", **rows_of(ada, staffed.acme, alice={"DELETE": "on"}))
    assert errors(answer) == ["A tenant keeps at least one owner."]
    assert told.new() == []  # the name was not saved either
    assert Tenant.objects.get(pk=staffed.acme.pk).name == "Acme"


def rows_of(browser: Admin, row: Any, **changes: dict[str, Any]) -> dict[str, Any]:
    """Changes of people in the first group of rows on this row's page, by name."""
    page = browser.get(f"rooms_{row._meta.model_name}_change", row.pk)
    formset = page.context["inline_admin_formsets"][0].formset
    found = {}
    for form in formset.forms:
        for field, value in changes.pop(form.instance.user.get_username(), {}).items():
            found[f"{form.prefix}-{field}"] = value
    assert not changes
    return found


def new_rows(browser: Admin, row: Any, *rows: dict[str, Any]) -> dict[str, Any]:
    """People in the group of new rows."""
    page = browser.get(f"rooms_{row._meta.model_name}_change", row.pk)
    prefix = page.context["inline_admin_formsets"][-1].formset.prefix
    found: dict[str, Any] = {f"{prefix}-TOTAL_FORMS": len(rows)}
    for number, one in enumerate(rows):
        found |= {f"{prefix}-{number}-{field}": value for field, value in one.items()}
    return found


def test_a_tenant_is_handed_over_on_one_page(ada: Admin, staffed: World, told: Told) -> None:
    changes = rows_of(ada, staffed.acme, alice={"role": "guest"}, bob={"role": "owner"}, erin={"DELETE": "on"})
    new = new_rows(ada, staffed.acme, {"user": staffed.users["carol"].pk, "role": "admin"})
    answer = ada.change(staffed.acme, name="Other", **changes, **new)
    assert "was changed successfully" in said(answer)[0]
    assert told.new() == [
        "acme/~all room.updated ada",
        "acme/~all member.added ada",
        "acme/~all member.changed ada",
        "acme/~all member.changed ada",
        "acme/~all member.removed ada",
    ]
    roles = dict(Membership.objects.filter(tenant=staffed.acme).values_list("user__username", "role"))
    assert roles == {"alice": "guest", "ann": "admin", "bob": "owner", "carol": "admin", "dave": "member"}


def test_participants_are_changed_on_the_page_of_their_room(ada: Admin, staffed: World, told: Told) -> None:
    room = staffed.room("acme/board")
    changes = rows_of(ada, room, alice={"DELETE": "on"}, bob={"role": "banned"})
    new = new_rows(ada, room, {"user": staffed.users["erin"].pk, "role": "listener"})
    ada.change(room, **changes, **new)
    assert sorted(told.new()) == [
        "acme/board member.added ada",
        "acme/board member.changed ada",
        "acme/board member.removed ada",
    ]
    assert dict(room.participants.values_list("user__username", "role")) == {"bob": "banned", "erin": "listener"}


def test_a_ban_is_given_and_lifted_as_a_part(ada: Admin, staffed: World, told: Told) -> None:
    room = staffed.room("acme/general")
    ada.add("participant", room=room.pk, user=staffed.users["bob"].pk, role="banned")
    assert told.new() == ["acme/general member.added ada"]
    assert staffed.bob.get("tenants/acme/rooms/general/").status_code == 404
    part = Participant.objects.get(room=room, user=staffed.users["bob"])
    ada.change(part, role="speaker")
    assert told.new() == ["acme/general member.changed ada"]
    ada.act("delete_selected", part, post="yes")
    assert told.new() == ["acme/general member.removed ada"]


def test_a_page_shows_no_more_people_than_a_form_takes(
    ada: Admin, staffed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooms.admin.INLINE_MAX", 2)
    page = ada.get("rooms_tenant_change", staffed.acme.pk)
    assert len(page.context["inline_admin_formsets"]) == 1
    link = reverse("admin:rooms_membership_changelist") + f"?tenant__id__exact={staffed.acme.pk}"
    assert f'<a href="{link}">5</a>' in page.content.decode()
    assert len(ada.client.get(link).context["cl"].result_list) == 5


def test_links_lead_to_what_is_in_a_room(ada: Admin, staffed: World) -> None:
    staffed.say("bob", "hi")
    page = ada.get("rooms_room_change", staffed.room("acme/general").pk).content.decode()
    links = re.findall(r'href="(/admin/rooms/(?:participant|message|event)/\?[^"]+)"', page)
    assert [len(ada.client.get(link).context["cl"].result_list) for link in links] == [1, 1, 3]


@pytest.mark.parametrize("model", ["event", "message", "auditentry", "commandresult"])
def test_what_happened_is_read_only(ada: Admin, staffed: World, model: str) -> None:
    staffed.say("bob", "hi")
    models = {"event": Event, "message": Message, "auditentry": AuditEntry, "commandresult": CommandResult}
    row = models[model]._default_manager.first()
    before = Event.objects.count()
    assert ada.get(f"rooms_{model}_add").status_code == 403
    assert ada.add(model, name="x").status_code == 403
    assert ada.post(f"rooms_{model}_change", row.pk, name="x", text="x").status_code == 403
    assert ada.delete(row).status_code == 403
    ada.act("delete_selected", row, post="yes")
    assert type(row)._default_manager.filter(pk=row.pk).exists()
    page = ada.get(f"rooms_{model}_change", row.pk).content.decode()
    assert 'name="_save"' not in page
    assert "deletelink" not in page
    assert Event.objects.count() == before


def test_people_are_chosen_from_a_list(ada: Admin) -> None:
    query = {"app_label": "rooms", "model_name": "membership", "field_name": "user", "term": "car"}
    assert [one["text"] for one in ada.get("autocomplete", **query).json()["results"]] == ["carol"]


def test_an_account_goes_once_it_belongs_to_no_tenant(ada: Admin, staffed: World) -> None:
    staffed.say("bob", "hi")  # an answer is kept for a day
    bob = staffed.users["bob"]
    services.members.set_part(staffed.room("acme/general"), bob, "banned")
    assert ada.post("auth_user_delete", bob.pk, post="yes").status_code == 403
    ada.delete(membership(staffed, "bob"))
    assert ada.post("auth_user_delete", bob.pk, post="yes").status_code == 200
    assert not get_user_model().objects.filter(pk=bob.pk).exists()


# --- an admin of a tenant


def test_who_manages_no_tenant_finds_nothing(staffed: World) -> None:
    for name in ("bob", "dave"):  # members, with staff status
        browser = Admin(staffed.users[name], "pw")
        assert browser.get("index").context["app_list"] == []
        for model in MODELS:
            assert browser.get(f"rooms_{model}_changelist").status_code == 403
        assert browser.get("rooms_tenant_change", staffed.acme.pk).status_code in (302, 403)


def test_a_suspended_tenant_is_closed_to_its_admins(ann: Admin, staffed: World) -> None:
    services.tenants.update(staffed.acme, active=False)
    for model in STAFF_MODELS:
        assert ann.get(f"rooms_{model}_changelist").status_code == 403


def test_permissions_of_django_are_not_asked(staffed: World) -> None:
    from django.contrib.auth.models import Permission

    staffed.users["bob"].user_permissions.set(Permission.objects.filter(content_type__app_label="rooms"))
    assert Admin(staffed.users["bob"], "pw").get("rooms_room_changelist").status_code == 403


def rows_elsewhere(world: World) -> list[Any]:
    """A row of globex for each model, and what is of acme but nobody's business."""
    world_room = world.room("globex/general")
    me = Room.objects.get(tenant=world.acme, kind="me", owner=world.users["bob"])
    log.append(me, "room.announcement", {"text": "for bob alone"})
    world.users["dave"].set_password("another")
    world.users["dave"].save()
    return [
        world.globex,
        membership(world, "dave", "globex"),
        world_room,
        Participant.objects.get(room=world_room),
        Event.objects.filter(log__room=world_room).first(),
        Message.objects.get(room=world_room),
        me,
        Event.objects.get(log=me.pk),
        AuditEntry.objects.filter(tenant=world.globex).first(),
        AuditEntry.objects.filter(what="password", subject=world.users["dave"]).first(),
    ]


@pytest.fixture
def elsewhere(staffed: World) -> list[Any]:
    staffed.say("carol", "globex is not to be known", "globex/general")
    staffed.say("bob", "hi")
    services.rooms.create(staffed.globex, "takeover", name="Takeover", by=staffed.users["carol"])
    return rows_elsewhere(staffed)


SECRETS = re.compile("globex|takeover|carol|for bob alone|not to be known", re.IGNORECASE)


def test_lists_show_what_is_theirs(ann: Admin, elsewhere: list[Any]) -> None:
    for model in STAFF_MODELS:
        answer = ann.get(f"rooms_{model}_changelist")
        assert answer.context["cl"].result_count > 0
        assert not SECRETS.search(answer.content.decode()), model
        for query in ({"of": "globex"}, {"q": "globex"}, {"q": "takeover"}, {"q": "carol"}):
            pages = []
            for word in (*query.values(), "no-such-word"):  # is answered like a word that is nowhere
                answer = ann.get(f"rooms_{model}_changelist", **dict.fromkeys(query, word))
                pages.append(re.sub('name="csrf.*?>', "", answer.content.decode()).replace(word, ""))
            assert pages[0] == pages[1], (model, query)
    assert ann.get("rooms_commandresult_changelist").status_code == 403
    assert not any(one.kind == "me" for one in ann.get("rooms_room_changelist").context["cl"].result_list)


@pytest.mark.parametrize(
    ("model", "query"),
    [
        ("room", {"tenant__slug__startswith": "g"}),
        ("membership", {"user__password__startswith": "p"}),
        ("membership", {"user__email__startswith": "p"}),
        ("event", {"log__room__tenant__slug": "globex"}),
        ("participant", {"room__tenant__memberships__user": "1"}),
    ],
)
def test_lists_are_not_asked_about_what_they_do_not_show(
    ann: Admin, elsewhere: list[Any], model: str, query: dict[str, str]
) -> None:
    assert ann.get(f"rooms_{model}_changelist", **query).status_code in (302, 400)


def test_a_list_by_key_of_another_tenant_is_empty(ann: Admin, staffed: World, elsewhere: list[Any]) -> None:
    room = staffed.room("globex/general")
    assert ann.list("room", tenant__id__exact=staffed.globex.pk) == []
    assert ann.list("membership", tenant__id__exact=staffed.globex.pk) == []
    assert ann.list("message", room__id__exact=room.pk) == []
    assert ann.list("event", log__exact=room.pk) == []


@pytest.mark.parametrize("page", ["change", "delete", "history"])
def test_a_guessed_key_is_answered_like_one_that_is_not_there(ann: Admin, elsewhere: list[Any], page: str) -> None:
    for row in elsewhere:
        name = f"rooms_{row._meta.model_name}_{page}"
        missing = 10**9 if isinstance(row.pk, int) else "0198c5a0-0000-7000-8000-000000000000"
        for method in ("get", "post"):
            answers = []
            for key in (row.pk, missing):
                answer = getattr(ann.client, method)(reverse(f"admin:{name}", args=[key]), {"post": "yes"})
                answers.append((answer.status_code, answer.headers.get("Location"), len(answer.content)))
            assert answers[0] == answers[1], row
            assert answers[0][0] in (302, 403, 405)
        page_after = ann.get("index").content.decode()
        assert not SECRETS.search(page_after)


def test_actions_do_not_reach_elsewhere(ann: Admin, staffed: World, elsewhere: list[Any], told: Told) -> None:
    ann.act("archive", staffed.room("globex/general"))
    ann.act("archive", staffed.room("globex/general"), select_across="1", index="0")
    assert not Room.objects.filter(tenant=staffed.globex, archived=True).exists()
    told.new()
    answer = ann.act("delete_selected", membership(staffed, "dave", "globex"))
    assert not SECRETS.search(answer.content.decode())
    ann.act("delete_selected", membership(staffed, "dave", "globex"), post="yes")
    part = Participant.objects.filter(room__tenant=staffed.globex).first()
    ann.act("delete_selected", part, post="yes")
    assert told.new() == []


def test_only_superusers_make_and_suspend_tenants(ann: Admin, staffed: World) -> None:
    assert ann.get("rooms_tenant_add").status_code == 403
    assert ann.add("tenant", slug="new", name="New").status_code == 403
    for action in ("suspend", "delete_selected"):
        ann.act(action, staffed.acme, post="yes")
    ann.change(staffed.acme, active="")
    assert Tenant.objects.filter(active=True).count() == 2


@pytest.mark.parametrize(
    ("model", "field", "found"),
    [
        ("room", "tenant", {"acme"}),
        ("membership", "tenant", {"acme"}),
        ("participant", "room", {"acme/general", "acme/lobby", "acme/board", "acme/announcements"}),
        ("message", "room", None),
        ("roomlog", "room", None),
    ],
)
def test_choices_are_theirs(ann: Admin, elsewhere: list[Any], model: str, field: str, found: set[str] | None) -> None:
    for term in ("", "globex"):
        answer = ann.get("autocomplete", app_label="rooms", model_name=model, field_name=field, term=term)
        assert not SECRETS.search(answer.content.decode())
        if found is not None and not term:
            assert {one["text"] for one in answer.json()["results"]} == found


@pytest.mark.parametrize("model", ["membership", "participant", "event", "message"])
def test_no_list_of_the_sites_people_is_given(ann: Admin, model: str) -> None:
    field = {"event": "by", "message": "author"}.get(model, "user")
    answer = ann.get("autocomplete", app_label="rooms", model_name=model, field_name=field, term="")
    assert answer.status_code == 403


def test_pages_show_what_is_theirs(ann: Admin, staffed: World, elsewhere: list[Any]) -> None:
    room = staffed.room("acme/general")
    rows = [
        staffed.acme,
        membership(staffed, "dave"),  # who is in globex too
        room,
        Participant.objects.filter(room=room).first(),
        Event.objects.filter(log__room=room).first(),
        Message.objects.get(room=room),
    ]
    for row in rows:
        assert row is not None
        for page in ("change", "history"):
            answer = ann.get(f"rooms_{row._meta.model_name}_{page}", row.pk)
            assert answer.status_code == 200
            assert not SECRETS.search(answer.content.decode()), row
            assert "/auth/user/" not in answer.content.decode()  # a page that is not open to them
    answer = ann.get("rooms_membership_delete", membership(staffed, "dave").pk)
    assert not SECRETS.search(answer.content.decode())
    for model in ("room", "membership", "participant"):
        place = staffed.room("globex/general").pk if model == "participant" else staffed.globex.pk
        answer = ann.get(f"rooms_{model}_add", **{"room" if model == "participant" else "tenant": place})
        assert not SECRETS.search(answer.content.decode())


def test_a_foreign_key_to_elsewhere_is_no_choice(ann: Admin, staffed: World, told: Told) -> None:
    answer = ann.add("room", tenant=staffed.globex.pk, slug="mine", name="Mine", visibility="tenant")
    assert "not one of the available choices" in errors(answer)[0]
    answer = ann.add("membership", tenant=staffed.globex.pk, user="ann", role="admin")
    assert "not one of the available choices" in errors(answer)[0]
    answer = ann.add("participant", room=staffed.room("globex/general").pk, user="bob", role="speaker")
    assert "not one of the available choices" in errors(answer)[0]
    assert told.new() == []


def test_rows_of_elsewhere_are_not_changed_within_a_page(ann: Admin, staffed: World, told: Told) -> None:
    victim = membership(staffed, "dave", "globex")
    part = Participant.objects.get(room__tenant=staffed.globex)
    room = staffed.room("acme/board")
    ann.change(staffed.acme, **rows_of(ann, staffed.acme, dave={"id": victim.pk, "role": "guest"}))
    ann.change(staffed.acme, **rows_of(ann, staffed.acme, dave={"id": victim.pk, "DELETE": "on"}))
    ann.change(room, **rows_of(ann, room, bob={"id": part.pk, "DELETE": "on"}))
    ann.change(room, **rows_of(ann, room, bob={"id": part.pk, "role": "banned"}))
    answer = ann.change(staffed.acme, **rows_of(ann, staffed.acme, dave={"tenant": staffed.globex.pk, "role": "guest"}))
    assert errors(answer) == ["The inline value did not match the parent instance."]
    assert told.new() == []
    assert Participant.objects.filter(pk=part.pk, role="moderator").exists()


def test_an_admin_works_on_members_and_rooms(ann: Admin, staffed: World, told: Told) -> None:
    ann.add("membership", tenant=staffed.acme.pk, user="carol", role="member")
    ann.change(membership(staffed, "carol"), role="admin")
    ann.delete(membership(staffed, "carol"))
    assert told.new() == [f"acme/~all member.{verb} ann" for verb in ("added", "changed", "removed")]
    ann.add("room", tenant=staffed.acme.pk, slug="new", name="New", visibility="private")
    room = staffed.room("acme/new")
    assert told.new() == ["acme/new room.created ann", "acme/new member.added ann"]
    ann.change(room, name="Newer", **new_rows(ann, room, {"user": "erin", "role": "speaker"}))
    assert told.new() == ["acme/new room.updated ann", "acme/new member.added ann"]
    ann.act("archive", room)
    assert told.new() == ["acme/new room.archived ann"]
    ann.change(staffed.acme, name="Other", **new_rows(ann, staffed.acme, {"user": "carol", "role": "guest"}))
    assert told.new() == ["acme/~all room.updated ann", "acme/~all member.added ann"]


def test_an_admin_neither_makes_nor_unmakes_an_owner(ann: Admin, alice: Admin, staffed: World, told: Told) -> None:
    services.members.set_role(staffed.acme, staffed.users["dave"], "owner")
    told.new()
    refused = ["Only an owner may do this."]
    assert errors(ann.add("membership", tenant=staffed.acme.pk, user="carol", role="owner")) == refused
    assert errors(ann.change(membership(staffed, "bob"), role="owner")) == refused
    assert errors(ann.change(membership(staffed, "ann"), role="owner")) == refused
    assert errors(ann.change(membership(staffed, "dave"), role="member")) == refused
    assert said(ann.delete(membership(staffed, "dave"))) == refused
    assert errors(ann.change(staffed.acme, **rows_of(ann, staffed.acme, dave={"role": "guest"}))) == refused
    assert errors(ann.change(staffed.acme, **rows_of(ann, staffed.acme, dave={"DELETE": "on"}))) == refused
    new = new_rows(ann, staffed.acme, {"user": "carol", "role": "owner"})
    assert errors(ann.change(staffed.acme, **new)) == refused
    answer = ann.act("delete_selected", membership(staffed, "dave"), post="yes")
    assert said(answer) == ["dave in acme: owner: Only an owner may do this. Nothing was deleted."]
    assert told.new() == []
    alice.change(membership(staffed, "bob"), role="owner")
    assert told.new() == ["acme/~all member.changed alice"]


def test_a_part_is_given_to_members(ann: Admin, staffed: World, told: Told) -> None:
    for name in ("carol", "nobody"):  # one of elsewhere and one who is not there are the same
        answer = ann.add("participant", room=staffed.room("acme/board").pk, user=name, role="speaker")
        assert errors(answer) == ["There is no such person."]
    services.members.set_role(
        staffed.globex, staffed.users["ann"], "admin"
    )  # of both: carol can be named, but not there
    told.new()
    answer = ann.add("participant", room=staffed.room("acme/board").pk, user="carol", role="speaker")
    assert errors(answer) == ["There is no such member."]
    assert told.new() == []


def test_who_is_no_admin_any_more_while_the_page_is_saved_saves_nothing(
    ann: Admin, staffed: World, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = filled(ann.get("rooms_room_change", staffed.room("acme/general").pk))
    update = services.members.require_manager

    def overtaken(tenant: Any, *, by: Any) -> None:
        services.members.set_role(staffed.acme, staffed.users["ann"], "member")
        update(tenant, by=by)

    monkeypatch.setattr(services.members, "require_manager", overtaken)
    answer = ann.post("rooms_room_change", staffed.room("acme/general").pk, **{**page, "name": "Mine"})
    assert errors(answer) == ["Only an owner or an admin may do this."]
    assert staffed.room("acme/general").name == "General"
    assert told.new() == []


# --- what it costs


@pytest.mark.parametrize("who", ["ada", "ann"])
@pytest.mark.parametrize("model", MODELS)
def test_a_list_costs_the_same_with_more_rows(
    request: pytest.FixtureRequest, staffed: World, who: str, model: str
) -> None:
    browser: Admin = request.getfixturevalue(who)
    if (who, model) == ("ann", "commandresult"):
        return
    more(staffed, 2)
    before = cost(browser, f"rooms_{model}_changelist")
    more(staffed, 12)
    assert cost(browser, f"rooms_{model}_changelist") == before
    assert before <= (10 if model == "auditentry" else 9)  # which looks for the dates that there are


@pytest.mark.parametrize("who", ["ada", "ann"])
@pytest.mark.parametrize("model", ["tenant", "room"])
def test_a_page_with_rows_costs_the_same_with_more_of_them(
    request: pytest.FixtureRequest, staffed: World, who: str, model: str
) -> None:
    browser: Admin = request.getfixturevalue(who)
    row: Any = staffed.acme if model == "tenant" else staffed.room("acme/general")
    more(staffed, 2)
    before = cost(browser, f"rooms_{model}_change", row.pk)
    more(staffed, 12)
    assert cost(browser, f"rooms_{model}_change", row.pk) == before


def cost(browser: Admin, name: str, *args: Any) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert browser.get(name, *args).status_code == 200
    return len(queries)


def more(world: World, count: int) -> None:
    """More rows of every kind."""
    start = get_user_model()._default_manager.count()
    room = world.room("acme/general")
    for number in range(start, start + count):
        user = get_user_model().objects.create(username=f"person-{number}")
        tenant = services.tenants.create(f"tenant-{number}", name="More", owner=user)
        services.members.set_role(tenant, world.users["ann"], "admin")
        services.members.set_role(world.acme, user)
        services.members.set_part(room, user)
        services.rooms.create(world.acme, f"room-{number}", name="More")
        data = {"text": "hi"}
        commands.perform(user.pk, "chat.send", data, room="acme/general", id=new_command_id())

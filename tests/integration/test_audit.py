"""Who changed whose access: a row for each change, with who did it and where from, and none for what did not happen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import transaction
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone

from rooms import access, audit, commands
from rooms.contract import Refused
from rooms.models import AuditEntry, Membership, Participant, Room, Tenant
from rooms.services import members, rooms, tenants
from tests.hostapp.models import Course
from tests.support.world import World

pytestmark = pytest.mark.django_db

Change = Callable[[World], Any]


@pytest.fixture
def world(world: World) -> World:
    AuditEntry.objects.all().delete()  # of how it was made
    return world


def told(*more: str) -> list[tuple[Any, ...]]:
    """What, where, whose, from what to what, by whom; oldest first."""
    rows = AuditEntry.objects.order_by("id").values_list(
        "what", "tenant__slug", "room", "subject_name", "before", "after", "actor_name", *more
    )
    return [tuple(value if value is not None else "" for value in row) for row in rows]


def edges() -> list[tuple[str, str, str]]:
    return list(AuditEntry.objects.order_by("id").values_list("actor_name", "source", "address"))


def find(name: str) -> Any:
    return get_user_model()._default_manager.get(username=name)


# --- what services change

SERVICES: dict[str, tuple[Change, list[tuple[str, ...]]]] = {
    "a member is added": (
        lambda w: members.set_role(w.globex, w.users["bob"], "admin", by=w.users["carol"]),
        [("role", "globex", "", "bob", "", "admin", "carol")],
    ),
    "a role is changed": (
        lambda w: members.set_role(w.acme, w.users["bob"], "guest", by=w.users["ann"]),
        [("role", "acme", "", "bob", "member", "guest", "ann")],
    ),
    "a member with a part is removed": (
        lambda w: members.remove(w.acme, w.users["bob"], by=w.users["ann"]),
        [
            ("part", "acme", "acme/board", "bob", "speaker", "", "ann"),
            ("role", "acme", "", "bob", "member", "", "ann"),
        ],
    ),
    "somebody is invited": (
        lambda w: members.set_part(w.room("acme/board"), w.users["erin"], "listener", by=w.users["alice"]),
        [("part", "acme", "acme/board", "erin", "", "listener", "alice")],
    ),
    "somebody is banned": (
        lambda w: members.set_part(w.room("acme/board"), w.users["bob"], "banned", by=w.users["alice"]),
        [("part", "acme", "acme/board", "bob", "speaker", "banned", "alice")],
    ),
    "a part is taken away": (
        lambda w: members.remove_part(w.room("acme/board"), w.users["bob"], by=w.users["alice"]),
        [("part", "acme", "acme/board", "bob", "speaker", "", "alice")],
    ),
    "a room is made": (
        lambda w: rooms.create(w.acme, "vault", name="V", visibility="private", read_only=True, by=w.users["alice"]),
        [
            ("visibility", "acme", "acme/vault", "", "", "private", "alice"),
            ("read_only", "acme", "acme/vault", "", "no", "yes", "alice"),
            ("part", "acme", "acme/vault", "alice", "", "moderator", "alice"),
        ],
    ),
    "a room is hidden, closed and renamed": (
        lambda w: rooms.update(
            w.room("acme/lobby"), visibility="private", archived=True, name="Gone", by=w.users["alice"]
        ),
        [
            ("visibility", "acme", "acme/lobby", "", "public", "private", "alice"),
            ("archived", "acme", "acme/lobby", "", "no", "yes", "alice"),
        ],
    ),
    "a tenant is made": (
        lambda w: tenants.create("initech", name="I", owner=w.users["bob"], by=w.users["alice"]),
        [
            ("active", "initech", "", "", "", "yes", "alice"),
            ("role", "initech", "", "bob", "", "owner", "alice"),
        ],
    ),
    "a tenant is suspended": (
        lambda w: tenants.update(w.acme, active=False, by=w.users["alice"]),
        [("active", "acme", "", "", "yes", "no", "alice")],
    ),
    "a tenant gets limits": (
        lambda w: tenants.update(w.acme, limits={"commands_per_user": "40/200"}, by=w.users["alice"]),
        [("limits", "acme", "", "", "{}", '{"commands_per_user": "40/200"}', "alice")],
    ),
    "nothing is changed": (
        lambda w: (
            members.set_role(w.acme, w.users["bob"], "member", by=w.users["ann"]),
            members.remove(w.globex, w.users["bob"]),
            members.remove_part(w.room("acme/board"), w.users["erin"]),
            rooms.update(w.room("acme/lobby"), visibility="public", name="Hall"),
            tenants.update(w.acme, active=True, name="Acme!"),
        ),
        [],
    ),
}


@pytest.mark.parametrize("what", SERVICES)
def test_each_change_is_one_row(world: World, what: str) -> None:
    change, rows = SERVICES[what]
    change(world)
    assert told() == rows
    assert {(source, address) for _, source, address in edges()} <= {("code", "")}


def test_what_is_refused_or_undone_leaves_no_row(world: World) -> None:
    with pytest.raises(Refused):
        members.remove(world.acme, world.users["alice"], by=world.users["alice"])
    with pytest.raises(Refused):
        rooms.create(world.acme, "general", name="Again", by=world.users["alice"])
    with pytest.raises(Refused):
        tenants.create("acme", name="Again", by=world.users["alice"])
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        members.set_role(world.acme, world.users["bob"], "admin", by=world.users["ann"])
        world.users["bob"].is_staff = True
        world.users["bob"].save()
        raise ZeroDivisionError
    assert told() == []


def test_a_command_that_is_refused_leaves_no_row_beside_one_that_is_done(world: World) -> None:
    alice = world.users["alice"].pk
    orders = [{"user": world.id("alice"), "role": "guest"}, {"user": world.id("bob"), "role": "guest"}]
    batch = [commands.command(alice, "member.set", order, room="acme/~all") for order in orders]
    outcomes = commands.perform_many(batch)
    assert [isinstance(outcome, Refused) for outcome in outcomes] == [True, False], "the last owner stays one"
    assert [row[3:6] for row in told()] == [("bob", "member", "guest")]


# --- where from


def test_the_rest_api_says_who_and_where_from(world: World, settings: Any) -> None:
    settings.ROOMS = {"TRUSTED_PROXIES": ["127.0.0.1"]}
    path = f"tenants/acme/rooms/board/members/{world.id('erin')}/"
    assert world.alice.put(path, {"role": "listener"}, X_Forwarded_For="203.0.113.7").status_code == 200
    assert world.ann.delete(path).status_code == 204
    assert edges() == [("alice", "rest", "203.0.113.7"), ("ann", "rest", "127.0.0.1")]
    assert audit.origin() == audit.Origin(), "and what comes after it comes from elsewhere"


def test_commands_of_different_people_in_one_transaction_keep_apart(world: World) -> None:
    room = rooms.create(world.acme, "latin", name="Latin", by=world.users["alice"])
    course = Course.objects.create(room=room, title="Latin")
    for name in ("bob", "erin", "dave"):
        course.enrol(world.users[name])
    members.set_part(room, world.users["carol"], "moderator")
    AuditEntry.objects.all().delete()
    batch = []
    for moderator, address, pupil in (
        ("alice", "203.0.113.1", "bob"),
        ("carol", "203.0.113.2", "erin"),
        ("alice", "2001:db8::1", "dave"),
    ):
        with audit.coming_from("live", address=address):
            data = {"user": world.id(pupil)}
            batch.append(commands.command(world.users[moderator].pk, "course.expel", data, room="acme/latin"))
    assert commands.perform_many(batch) == [b"{}"] * 3
    assert told("source", "address") == [
        ("part", "acme", "acme/latin", "bob", "", "banned", "alice", "live", "203.0.113.1"),
        ("part", "acme", "acme/latin", "erin", "", "banned", "carol", "live", "203.0.113.2"),
        ("part", "acme", "acme/latin", "dave", "", "banned", "alice", "live", "2001:db8::1"),
    ]


def test_a_hosts_own_task_says_where_it_comes_from(world: World) -> None:
    with audit.coming_from("command", actor=world.users["ann"]):
        members.set_role(world.acme, world.users["bob"], "guest")
        with audit.coming_from("code"):
            members.set_role(world.acme, world.users["bob"], "member", by=world.users["alice"])
    assert edges() == [("ann", "command", ""), ("alice", "code", "")]


# --- what is changed elsewhere


def save(name: str, **given: Any) -> Any:
    user = find(name)
    for field, value in given.items():
        setattr(user, field, value)
    user.save()
    return user


def with_password(name: str, password: str) -> None:
    user = find(name)
    user.set_password(password)
    user.save()


def hide(room: Room) -> None:
    room.visibility = "private"
    room.save()


ELSEWHERE: dict[str, tuple[Change, list[tuple[str, ...]]]] = {
    "an account is closed": (
        lambda w: save("bob", is_active=False),
        [("account", "", "", "bob", "yes", "no", "")],
    ),
    "somebody becomes a superuser": (
        lambda w: save("bob", is_staff=True, is_superuser=True),
        [("staff", "", "", "bob", "no", "yes", ""), ("superuser", "", "", "bob", "no", "yes", "")],
    ),
    "a superuser is made": (
        lambda w: get_user_model().objects.create_superuser("root", password="secret"),
        [("staff", "", "", "root", "", "yes", ""), ("superuser", "", "", "root", "", "yes", "")],
    ),
    "a password is changed": (
        lambda w: with_password("bob", "secret"),
        [("password", "", "", "bob", "", "", "")],
    ),
    "a membership is made by hand": (
        lambda w: Membership.objects.create(tenant=w.globex, user=w.users["bob"]),
        [("role", "globex", "", "bob", "", "member", "")],
    ),
    "a membership is changed by hand": (
        lambda w: Membership.objects.update_or_create(tenant=w.acme, user=w.users["bob"], defaults={"role": "guest"}),
        [("role", "acme", "", "bob", "member", "guest", "")],
    ),
    "a part is deleted by hand": (
        lambda w: Participant.objects.filter(user=w.users["bob"]).delete(),
        [("part", "acme", "acme/board", "bob", "speaker", "", "")],
    ),
    "a room is saved by hand": (
        lambda w: hide(w.room("acme/lobby")),
        [("visibility", "acme", "acme/lobby", "", "public", "private", "")],
    ),
    "an account is deleted": (
        lambda w: find("erin").delete(),
        [("role", "acme", "", "erin", "guest", "", ""), ("account", "", "", "erin", "yes", "", "")],
    ),
    "a tenant is deleted": (
        lambda w: w.globex.delete(),
        [
            ("part", "", "globex/general", "carol", "moderator", "", ""),
            ("role", "", "", "carol", "owner", "", ""),
            ("role", "", "", "dave", "member", "", ""),
            ("visibility", "", "globex/general", "", "tenant", "", ""),
            ("active", "", "", "", "yes", "", ""),
        ],
    ),
    "nothing that is access": (
        lambda w: (
            save("bob", first_name="Bob"),
            get_user_model().objects.create_user("new", password="secret"),
            w.users["bob"].save(update_fields=["last_login"]),
            Room.objects.get(tenant=w.acme, kind="all").save(),
        ),
        [],
    ),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_what_is_changed_elsewhere_is_recorded_as_far_as_it_is_seen(world: World, what: str) -> None:
    change, rows = ELSEWHERE[what]
    change(world)
    assert sorted(told()) == sorted(rows)


def test_no_row_holds_a_secret(world: World) -> None:
    with_password("bob", "a-new-secret")
    browser = Client()
    browser.force_login(find("bob"))
    key = browser.session.session_key
    assert key is not None
    Session.objects.get(session_key=key).delete()
    written = str(list(AuditEntry.objects.values()))
    assert AuditEntry.objects.count() == 2
    for secret in ("a-new-secret", find("bob").password, key):
        assert secret not in written


def test_the_same_password_by_a_newer_hasher_is_no_change(world: World, settings: Any) -> None:
    """A log-in saves it when the site's hashers have become better."""
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.MD5PasswordHasher",
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    ]
    with_password("bob", "pw")
    settings.PASSWORD_HASHERS = settings.PASSWORD_HASHERS[::-1]
    AuditEntry.objects.all().delete()
    before = find("bob").password
    assert Client().login(username="bob", password="pw")
    assert find("bob").password != before
    assert told() == []


def test_a_log_out_ends_a_session_and_so_does_who_deletes_it(world: World) -> None:
    browser, other = Client(REMOTE_ADDR="203.0.113.9"), Client()
    for each in (browser, other):
        each.force_login(find("bob"))
    browser.post(reverse("logout"))
    Session.objects.all().delete()
    rows = [("session", "", "", "bob", "open", "ended")]
    assert [row[:6] for row in told()] == rows * 2
    assert edges() == [("bob", "page", "203.0.113.9"), ("", "code", "")]


def test_the_origin_survives_the_way_through_an_asynchronous_server(world: World) -> None:
    """Middleware on an event loop, the view on a thread: here on this one, which has the test's transaction."""
    browser = AsyncClient()
    browser.force_login(world.users["bob"])
    answer = async_to_sync(browser.post)(reverse("logout"), headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.status_code == 302
    assert edges() == [("bob", "page", "203.0.113.9")]
    assert audit.origin() == audit.Origin()


def test_a_session_that_an_old_key_proves_gets_another_name_and_that_is_a_row(world: World, settings: Any) -> None:
    """Django does it while it looks up who asks."""
    browser = Client()
    browser.force_login(find("bob"))
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "its successor"
    assert browser.get("/t/acme/general/").status_code == 200
    assert [row[:6] for row in told()] == [("session", "", "", "bob", "open", "ended")]
    assert edges() == [("", "page", "127.0.0.1")]


def test_sessions_that_are_over_are_cleared_away_without_a_row(world: World) -> None:
    Client().force_login(find("bob"))
    Session.objects.update(expire_date=timezone.now() - timedelta(days=1))
    call_command("clearsessions")
    assert Session.objects.count() == 0
    assert told() == []


def test_rows_outlive_what_they_tell_of(world: World) -> None:
    members.set_role(world.globex, world.users["erin"], by=world.users["carol"])
    for row in (find("erin"), find("carol"), Tenant.objects.get(slug="globex")):
        row.delete()
    first = AuditEntry.objects.order_by("id").first()
    assert first is not None
    assert (first.subject_name, first.actor_name, first.after) == ("erin", "carol", "member")


# --- pages


@pytest.fixture
def ada(world: World) -> Client:
    """A superuser at 203.0.113.5."""
    user = get_user_model().objects.create_superuser("ada", password="pw")
    browser = Client(REMOTE_ADDR="203.0.113.5")
    browser.force_login(user)
    AuditEntry.objects.all().delete()
    return browser


def test_the_admin_says_who_and_where_from(world: World, ada: Client) -> None:
    data = {"action": "suspend", "_selected_action": [str(world.globex.pk)]}
    ada.post(reverse("admin:rooms_tenant_changelist"), data)
    part = Participant.objects.get(user=world.users["bob"])
    ada.post(reverse("admin:rooms_participant_change", args=[part.pk]), {"role": "banned"})
    ada.post(reverse("admin:rooms_participant_delete", args=[part.pk]), {"post": "yes"})
    assert [row[0] for row in told()] == ["active", "part", "part"]
    assert edges() == [("ada", "admin", "203.0.113.5")] * 3


def test_what_is_changed_on_djangos_own_pages_is_the_admins_too(world: World, ada: Client) -> None:
    bob = find("bob")
    ada.post(
        reverse("admin:auth_user_change", args=[bob.pk]),
        {"username": "bob", "is_active": "", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"},
    )
    assert not find("bob").is_active
    assert told("source", "address") == [("account", "", "", "bob", "yes", "no", "ada", "admin", "203.0.113.5")]


def test_the_list_is_searched_filtered_and_gone_through_by_date(world: World, ada: Client) -> None:
    members.set_role(world.acme, world.users["bob"], "guest", by=world.users["ann"])
    members.set_part(world.room("acme/board"), world.users["erin"], "banned", by=world.users["alice"])
    tenants.update(world.globex, active=False)

    def found(**query: str) -> int:
        answer = ada.get(reverse("admin:rooms_auditentry_changelist"), query)
        assert answer.status_code == 200
        return len(answer.context["cl"].result_list)

    year = str(timezone.now().year)
    queries: list[tuple[int, dict[str, str]]] = [
        (3, {}),
        (1, {"q": "bob"}),
        (1, {"q": "alice"}),
        (1, {"q": "acme/board"}),
        (0, {"q": "nobody"}),
        (1, {"what__exact": "part"}),
        (3, {"source__exact": "code"}),
        (0, {"source__exact": "rest"}),
        (2, {"of": "acme"}),
        (3, {"at__year": year}),
        (0, {"at__year": "2001"}),
    ]
    assert [found(**query) for _, query in queries] == [count for count, _ in queries]


def test_rows_are_kept_for_as_long_as_the_site_says(world: World, settings: Any) -> None:
    settings.ROOMS = {"AUDIT_DAYS": 30}
    for days in (29, 31, 400):
        members.set_part(world.room("acme/board"), world.users["erin"], "listener")
        members.remove_part(world.room("acme/board"), world.users["erin"])
        newest = AuditEntry.objects.order_by("-id")[:2]
        AuditEntry.objects.filter(pk__in=[row.pk for row in newest]).update(at=timezone.now() - timedelta(days=days))
    out = StringIO()
    call_command("tidy", stdout=out)
    assert out.getvalue().rstrip().endswith("4 changes of access.")
    assert AuditEntry.objects.count() == 2


def test_a_grant_is_no_change(world: World) -> None:
    """To look is not recorded: it would be a row for every command."""
    access.authorize(world.users["bob"].pk, "acme/general")
    world.say("bob", "what I say is no change of access")
    assert told() == []

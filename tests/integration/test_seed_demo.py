"""The demo tenants."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import CommandError, call_command

from rooms import access
from rooms.models import Event, Membership, Room, RoomLog, Tenant
from rooms.services import members

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def closed_network(settings: Any) -> None:
    settings.INSECURE = True
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def seed(**options: Any) -> str:
    out = StringIO()
    call_command("seed_demo", stdout=out, **options)
    return out.getvalue()


def everything() -> dict[str, list[Any]]:
    """Each table that it writes to, whole."""
    models = [get_user_model(), Tenant, Membership, Room, RoomLog, Event]
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in models}


def test_who_may_do_what() -> None:
    seed()
    users = {user.get_username(): user.pk for user in get_user_model()._default_manager.all()}
    assert set(users) == {"alice", "bob", "carol", "dave", "erin", "admin"}
    rooms = ["general", "random", "announcements", "board", "lobby"]
    asks = [(user, f"acme/{room}") for user in users.values() for room in rooms]
    asks += [(user, "globex/general") for user in users.values()]
    can = {
        (name, address): "".join(sorted(right[0] for right in grant.can))
        for (user, address), grant in access.authorize_many(asks).items()
        for name in users
        if users[name] == user
    }
    assert can == {
        **{("alice", f"acme/{room}"): "mmrw" for room in rooms},  # manage, moderate, read, write
        **{(name, f"acme/{room}"): "rw" for name in ("bob", "dave") for room in ("general", "random", "lobby")},
        **{(name, "acme/announcements"): "r" for name in ("bob", "dave", "erin")},
        **{("erin", f"acme/{room}"): "r" for room in ("general", "random")},
        ("erin", "acme/lobby"): "rw",
        ("carol", "globex/general"): "mmrw",
        ("dave", "globex/general"): "rw",
    }


def test_they_can_log_in_and_have_names() -> None:
    seed()
    for username, name in [("alice", "Alice Archer"), ("erin", "Erin Ellis")]:
        user = authenticate(username=username, password="demo")
        assert user is not None
        assert user.get_full_name() == name
    admin = get_user_model()._default_manager.get(username="admin")
    assert (admin.is_superuser, admin.is_staff) == (True, True)
    assert get_user_model()._default_manager.filter(is_staff=True).count() == 1


def test_a_second_time_changes_nothing() -> None:
    first = seed()
    before = everything()
    assert seed() == first
    assert everything() == before


def test_what_people_changed_stays_and_what_is_missing_comes_back() -> None:
    seed()
    acme = Tenant.objects.get(slug="acme")
    bob = get_user_model()._default_manager.get(username="bob")
    members.set_role(acme, bob, "admin")
    bob.set_password("another")
    bob.save()
    Room.objects.get(tenant=acme, slug="random").delete()
    seed()
    assert Membership.objects.get(tenant=acme, user=bob).role == "admin"
    assert authenticate(username="bob", password="another") == bob
    assert Room.objects.filter(tenant=acme, slug="random").exists()


def test_it_lists_people_and_rooms() -> None:
    listing = seed()
    assert "alice   acme (owner)" in listing
    assert "dave    acme (member), globex (member)" in listing
    assert "acme/announcements  read only" in listing


def test_not_where_strangers_may_come(settings: Any) -> None:
    settings.INSECURE = settings.DEBUG = False
    with pytest.raises(CommandError, match="--force"):
        seed()
    assert not get_user_model()._default_manager.exists()
    seed(force=True)
    assert get_user_model()._default_manager.count() == 6

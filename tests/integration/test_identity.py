"""Who a session cookie is. Channels' own ``get_user`` ignores ``SECRET_KEY_FALLBACKS`` and empties the session."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session as SessionRow
from django.test import Client

from rooms import identity
from tests.support.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def keys(world: World) -> dict[str, str]:
    """Session keys by name."""
    found = {}
    for name, user in world.users.items():
        client = Client()
        client.force_login(user)
        found[name] = client.session.session_key
    return found


def test_a_rotated_key_keeps_people_logged_in_and_the_session_as_it_is(
    keys: dict[str, str], world: World, settings: Any
) -> None:
    before = SessionRow.objects.get(pk=keys["bob"]).session_data
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next one"
    who = identity.by_session(keys["bob"])
    assert who is not None
    assert who.user == world.users["bob"].pk
    assert SessionRow.objects.get(pk=keys["bob"]).session_data == before
    settings.SECRET_KEY_FALLBACKS = []
    assert identity.by_session(keys["bob"]) is None
    assert SessionRow.objects.get(pk=keys["bob"]).session_data == before


def test_who_is_logged_out_changed_the_password_or_was_closed_is_nobody(keys: dict[str, str], world: World) -> None:
    for name in ("alice", "bob", "carol", "dave"):
        assert identity.by_session(keys[name]) is not None
    SessionStore(keys["alice"]).flush()
    world.users["bob"].set_password("new")
    world.users["bob"].save()
    world.users["carol"].is_active = False
    world.users["carol"].save()
    world.users["dave"].delete()
    for name in ("alice", "bob", "carol", "dave"):
        assert identity.by_session(keys[name]) is None


@pytest.mark.parametrize("key", ["", "x", "x" * 32, "x" * 10_000, "a\0bcdefgh", "ключ" * 8, "%s' --" * 3, "\udcff" * 8])
def test_a_session_key_that_is_none_is_nobody(db: None, key: str) -> None:
    assert identity.by_session(key) is None


def test_a_session_that_holds_nonsense_is_nobody(keys: dict[str, str]) -> None:
    for user in ("not a number", "", "-1", str(10**30), None):
        session = SessionStore(keys["bob"])
        session["_auth_user_id"] = user
        session.save()
        assert identity.by_session(keys["bob"]) is None
    session = SessionStore(keys["bob"])
    del session["_auth_user_id"]
    session.save()
    assert identity.by_session(keys["bob"]) is None

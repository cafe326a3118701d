"""Who a session cookie is. Channels' own ``get_user`` ignores ``SECRET_KEY_FALLBACKS`` and empties the session."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session as SessionRow
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.connection import ConnectionDoesNotExist

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


def test_a_session_costs_two_statements_and_one_that_is_none_or_over_a_single_one(keys: dict[str, str]) -> None:
    SessionRow.objects.filter(pk=keys["alice"]).update(expire_date=timezone.now() - timedelta(seconds=1))
    for key, statements in ((keys["bob"], 2), ("x" * 32, 1), (keys["alice"], 1)):
        with CaptureQueriesContext(connection) as queries:
            who = identity.by_session(key)
        assert (who is not None) is (statements == 2)
        assert len(queries) == statements


class Elsewhere:
    """A host's router, of whose doings we know nothing."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "default" if model is not SessionRow else "sessions"


def test_sessions_in_a_database_of_their_own_are_asked_for_there(keys: dict[str, str], settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.integration.test_identity.Elsewhere"]
    with pytest.raises(ConnectionDoesNotExist, match="sessions"):
        identity.by_session(keys["bob"])


@pytest.mark.parametrize("engine", ["cache", "cached_db", "file", "signed_cookies"])
def test_every_engine_of_django_tells_who_somebody_is(world: World, engine: str, settings: Any, tmp_path: Any) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    bob = world.users["bob"]
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(bob.pk), settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = bob.get_session_auth_hash()
    session.save()
    who = identity.by_session(session.session_key)
    assert who is not None
    assert who.user == bob.pk
    assert identity.over([who.credential]) == []
    cache.clear()

"""Each check speaks when it has reason to, and is silent on the site of this repository."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.checks import CheckMessage, run_checks
from django.db import connections

from rooms import checks


class OurSessions(SessionMiddleware):
    pass


SQLITE = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}


@pytest.fixture(autouse=True)
def a_real_site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a site without DEBUG has, whatever this run has; SQLite, until a case says otherwise."""
    settings.ROOMS = {}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}}
    settings.SESSION_COOKIE_SECURE = True
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    database(monkeypatch, "sqlite", OPTIONS=SQLITE)


def database(monkeypatch: pytest.MonkeyPatch, vendor: str, **settings: Any) -> None:
    connection = connections["default"]
    monkeypatch.setattr(type(connection), "vendor", vendor)
    monkeypatch.setattr(connection, "settings_dict", {"CONN_MAX_AGE": 0, "OPTIONS": {}, "TIME_ZONE": None, **settings})


def found() -> dict[str | None, CheckMessage]:
    """Ours, by id."""
    messages = run_checks(include_deployment_checks=True)
    return {message.id: message for message in messages if str(message.id).startswith("rooms.")}


def test_a_real_site_is_left_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found() == {}
    database(monkeypatch, "postgresql", OPTIONS={"pool": {"min_size": 2, "max_size": 20}})
    assert found() == {}


@pytest.mark.parametrize(
    ("id", "changed"),
    [
        ("rooms.E001", {"ROOMS": {"WINDOWS": 3}}),
        ("rooms.E001", {"ROOMS": {"WINDOW": 0}}),
        ("rooms.E001", {"ROOMS": {"TRUSTED_PROXIES": ["everybody"]}}),
        ("rooms.E003", {"ROOMS": {"LAYER": "other"}}),
        ("rooms.E003", {"CHANNEL_LAYERS": {}}),
        ("rooms.E005", {"MIDDLEWARE": []}),
        ("rooms.E009", {"ROOMS": {"ACCESS": "no.such.Policy"}}),
        ("rooms.E009", {"ROOMS": {"ACCESS": "collections.OrderedDict"}}),
        ("rooms.E006", {"USE_TZ": False}),
        (
            "rooms.E008",
            {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"), "ROOMS": {"TRUSTED_PROXIES": []}},
        ),
        ("rooms.W007", {"CHANNEL_LAYERS": {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}}),
        ("rooms.W008", {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"}),
        ("rooms.W010", {"USE_X_FORWARDED_HOST": True}),
        ("rooms.W011", {"ROOMS": {"METRICS_TOKEN": "short"}}),
        ("rooms.W012", {"ROOMS": {"METRICS_ADDRESSES": ["10.0.0.0/8"]}}),
        ("rooms.W020", {"CHANNEL_LAYERS": {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}}),
        ("rooms.W021", {"ALLOWED_HOSTS": ["*"]}),
        ("rooms.W022", {"CSRF_TRUSTED_ORIGINS": ["http://rooms.example.com", "https://rooms.example.com"]}),
    ],
)
def test_a_setting_that_is_wrong_is_told_of(settings: Any, id: str, changed: dict[str, Any]) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    assert list(found()) == [id]


@pytest.mark.parametrize(
    ("id", "vendor", "changed"),
    [
        ("rooms.E002", "mysql", {}),
        ("rooms.E007", "postgresql", {"OPTIONS": {"isolation_level": 4}}),
        ("rooms.W002", "sqlite", {"OPTIONS": {**SQLITE, "transaction_mode": None}}),
        ("rooms.W003", "sqlite", {"OPTIONS": {**SQLITE, "init_command": ""}}),
        ("rooms.W004", "sqlite", {"OPTIONS": SQLITE, "CONN_MAX_AGE": 60}),
        ("rooms.W004", "postgresql", {"CONN_MAX_AGE": None}),
        ("rooms.W005", "postgresql", {"OPTIONS": {"pool": True}}),
        ("rooms.W005", "postgresql", {"OPTIONS": {"pool": {"max_size": 10}}}),
        ("rooms.W009", "sqlite", {"OPTIONS": SQLITE, "ATOMIC_REQUESTS": True}),
    ],
)
def test_a_database_that_does_not_fit_is_told_of(
    monkeypatch: pytest.MonkeyPatch, id: str, vendor: str, changed: dict[str, Any]
) -> None:
    database(monkeypatch, vendor, **changed)
    assert list(found()) == [id]


def test_middleware_may_be_a_subclass(settings: Any) -> None:
    ours = "django.contrib.sessions.middleware.SessionMiddleware"
    assert found() == {}
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != ours]
    assert ours in found()["rooms.E005"].msg
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.OurSessions"]
    assert found() == {}


def test_several_processes_need_a_layer_between_them(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    assert found() == {}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": checks.IN_MEMORY}}
    assert "rooms.E004" in found()
    monkeypatch.setenv("WEB_CONCURRENCY", "1")
    assert "rooms.E004" not in found()


@pytest.mark.parametrize(("installed", "told"), [("4.2.1", True), ("4.1.9", True), ("4.2.2", False), ("5.0", False)])
def test_a_daphne_with_holes_is_told_of(monkeypatch: pytest.MonkeyPatch, installed: str, told: bool) -> None:
    monkeypatch.setattr(checks, "version", lambda name: installed)
    assert ("rooms.W006" in found()) is told


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("COMMENT_INTERVAL", 1),
        ("HEARTBEAT", 55),
        ("COMMENT_INTERVAL", 60),
        ("HEARTBEAT_GRACE", 26),
        ("STALL_TIMEOUT", 5),
        ("GRANT_TTL", 2.5),
        ("HEAL_INTERVAL", 15),
        ("PUBLISH_TIMEOUT", 2.5),
        ("GAP_GRACE", 2),
        ("LOCK_TIMEOUT", 30),
        ("MAX_FRAME_BYTES", 30_000),
        ("UNSENT_BYTES", 100_000),
        ("RING_BYTES", 65 * 1024 * 1024),
        ("MAX_REPLAY", 100_001),
    ],
)
def test_periods_and_sizes_fit_together(settings: Any, setting: str, value: float) -> None:
    settings.ROOMS = {setting: value}
    messages = [message for message in run_checks() if message.id == "rooms.W001"]
    assert len(messages) == 1
    assert setting in messages[0].msg


def test_every_relation_has_its_case() -> None:
    (cases,) = [mark for mark in test_periods_and_sizes_fit_together.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    broken = set()
    for setting, value in cases.args[1]:
        given = checks.Config(**{setting.lower(): value})
        broken |= {sentence for holds, sentence in checks.RELATIONS if not holds(given)}
    assert broken == {sentence for _, sentence in checks.RELATIONS}

"""Each check of presence speaks when it has reason to, and is silent on the site of this repository."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps.registry import Apps
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured

from presence.apps import PresenceConfig
from presence.conf import config

pytestmark = pytest.mark.any_backend


def found() -> list[CheckMessage]:
    return [message for message in run_checks() if str(message.id).startswith("presence.")]


def test_the_site_as_it_is_is_left_in_peace(settings: Any) -> None:
    settings.PRESENCE = {}
    assert found() == []


@pytest.mark.parametrize(
    ("id", "changed"),
    [
        ("presence.E001", {"PRESENCE": {"LEASES": 3}}),
        ("presence.E001", {"PRESENCE": {"LEASE": 0}}),
        ("presence.E001", {"PRESENCE": {"LEASE": "long"}}),
        ("presence.E002", {"PRESENCE": {"RENEWAL": 8}}),
        ("presence.E002", {"PRESENCE": {"LEAVE_GRACE": 15}}),
        ("presence.E002", {"PRESENCE": {"POLL_LEASE": 29}}),
        ("presence.E002", {"PRESENCE": {"FLUSH": 0.6}}),
        ("presence.W001", {"ROOT_URLCONF": "rooms.urls"}),
        ("presence.W002", {"ROOMS": {"ROSTER_LIMIT": 4_000}}),
        ("presence.W003", {"PRESENCE": {"LEASE": 121}}),
    ],
)
def test_a_setting_that_is_wrong_is_told_of(settings: Any, id: str, changed: dict[str, Any]) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    assert [message.id for message in found()] == [id]


def test_periods_that_contradict_are_told_of_in_a_sentence_each(settings: Any) -> None:
    settings.PRESENCE = {"LEASE": 4, "FLUSH": 1}
    assert [message.msg.partition(":")[2].split()[0] for message in found()] == ["RENEWAL", "LEAVE_GRACE", "FLUSH"]
    with pytest.raises(ImproperlyConfigured, match="RENEWAL is at most half of LEASE"):
        config()


@pytest.mark.parametrize("name", ["LEASE", "RENEWAL", "LEAVE_GRACE", "POLL_LEASE", "FLUSH", "COUNTS_INTERVAL"])
def test_a_wrong_setting_is_told_of_once_and_no_other_check_falls_over_it(settings: Any, name: str) -> None:
    settings.PRESENCE = {name: None}
    settings.ROOMS = {"NOPE": 1}
    assert [message.id for message in found()] == ["presence.E001"]


def test_without_rooms_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import presence

    registry = Apps(installed_apps=[])
    monkeypatch.setattr("presence.apps.apps", registry)
    with pytest.raises(ImproperlyConfigured, match='add "rooms" to INSTALLED_APPS'):
        PresenceConfig("presence", presence).import_models()

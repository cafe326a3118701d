"""Limits as people write them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError

from rooms import conf, limits
from rooms.limits import DEFAULTS, LIMITS, Amount
from rooms.models import check_limits


@pytest.mark.parametrize(
    ("given", "spoken", "name", "amount"),
    [
        ({}, "", "commands_per_user", Amount(20, 100)),
        ({"commands_per_user": 40}, "", "commands_per_user", Amount(40, 200)),  # in proportion
        ({"commands_per_user": "40/50"}, "", "commands_per_user", Amount(40, 50)),
        ({"commands_per_user": 40}, "commands_per_user=10/10", "commands_per_user", Amount(10, 10)),
        ({"connections_per_user": 5}, " connections_per_user = 6 ,", "connections_per_user", Amount(6)),
        ({}, "commands_per_user=0", "commands_per_user", None),
        ({"connections_per_user": "0"}, "", "connections_per_user", None),
        ({"connections_per_user": 5}, "off", "connections_per_user", None),
        ({}, " OFF ", "commands_per_tenant", None),
    ],
)
def test_the_environment_says_more_than_the_settings(given: Any, spoken: str, name: str, amount: Amount | None) -> None:
    assert limits.site(given, spoken).get(name) == amount


@pytest.mark.parametrize(
    ("given", "spoken", "sentence"),
    [
        ({"command_per_user": 1}, "", "settings.ROOMS: LIMITS: command_per_user is none of connections_per_user,"),
        ({"commands_per_user": -1}, "", "20, or 20/100 for a burst of 100; 0 is no limit. This is -1."),
        ({"commands_per_user": True}, "", "This is True."),
        ({"commands_per_user": "20/0"}, "", "This is '20/0'."),
        ({"commands_per_user": 1.5}, "", "This is 1.5."),
        ({"connections_per_user": "50/60"}, "", "connections_per_user is a number such as 50;"),
        ({}, "commands_per_user", "ROOMS_LIMITS: commands_per_user is a number"),
        ({}, "on", "ROOMS_LIMITS: on is none of"),
        ({}, "commands_per_user=99999999999", "ROOMS_LIMITS:"),
        ({}, "commands_per_user=9999999999", "ROOMS_LIMITS:"),
    ],
)
def test_what_is_no_limit_is_told_in_a_sentence(given: Any, spoken: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"limit|none of") as wrong:
        limits.site(given, spoken)
    assert sentence in str(wrong.value)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment may be changed, and is read again."""
    for read in (conf.config, conf.site_limits):
        read.cache_clear()
    yield monkeypatch
    for read in (conf.config, conf.site_limits):
        read.cache_clear()


def test_a_wrong_environment_stops_the_site(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("ROOMS_LIMITS", "joins_per_user=many")
    with pytest.raises(ImproperlyConfigured, match="ROOMS_LIMITS: joins_per_user is a number"):
        conf.config()


def test_off_lifts_rates_and_counts_alone(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("ROOMS_LIMITS", "off")
    assert conf.site_limits() == {}
    assert conf.config().max_frame_bytes == 65536 and conf.config().window == 256


def test_a_tenant_has_its_own_of_what_its_people_meet() -> None:
    site = limits.site({}, "")
    own = limits.of_tenant({"commands_per_user": "5/5", "connections_per_tenant": 0}, site)
    assert own["commands_per_user"] == Amount(5, 5) and "connections_per_tenant" not in own
    assert own["joins_per_user"] == site["joins_per_user"]


@pytest.mark.parametrize("given", [[], "off", {"connections_per_node": 1}, {"commands_per_user": "fast"}])
def test_a_tenant_cannot_be_given_other_limits(given: Any) -> None:
    with pytest.raises(ValidationError):
        check_limits(given)


def test_every_limit_says_what_it_refuses_with() -> None:
    for limit in LIMITS.values():
        refused = limit.refused(1.5)
        assert refused.http == 429 and refused.as_data().temporary and refused.retry_after_ms == 1500
        assert refused.detail.endswith(".")
        assert DEFAULTS[limit.name].amount > 0

"""System checks of presence, each with an id; docs/presence.md has them in a table. See :mod:`rooms.checks`."""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

from presence.conf import Config, broken, given
from rooms import conf as rooms_conf

PERSON_BYTES = 300  # of one in `presence.state`: names of 30 characters, a short text, two connections of a kind


@register
def settings_are_known(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """``PRESENCE`` holds a name or a value that is none of ours."""
    try:
        given()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="presence.conf lists every setting with its default.", id="presence.E001")]
    return []


@register
def periods_fit_together(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Without that people would leave who are here; no node starts so."""
    return [Error(f"settings.PRESENCE: {sentence}", id="presence.E002") for sentence in broken(_given())]


@register(Tags.urls)
def addresses_are_there(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    try:
        reverse("presence-people", args=["tenant", "room"])
    except NoReverseMatch:
        return [
            checks.Warning(
                "REST does not tell who is in a room: nothing leads to presence.urls.",
                hint='Add path("", include("presence.urls")) beside rooms.urls.',
                id="presence.W001",
            )
        ]
    return []


@register
def rosters_are_small(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Everybody who joins is told of everybody who is there, in one frame."""
    try:
        rooms = rooms_conf.config()
    except ImproperlyConfigured:  # said by a check of rooms
        return []
    most = rooms.unsent_bytes // PERSON_BYTES
    if rooms.roster_limit <= most:
        return []
    return [
        checks.Warning(
            f"ROOMS: ROSTER_LIMIT above {most}: who is in such a room, with their names, is more than UNSENT_BYTES, "
            "and whoever joins it is cut off.",
            id="presence.W002",
        )
    ]


@register
def the_dead_leave(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    lease = _given().lease
    if lease <= 120:
        return []
    return [
        checks.Warning(
            f"settings.PRESENCE: LEASE of {lease:.0f} seconds: so long are the people of a node that died shown.",
            id="presence.W003",
        )
    ]


def _given() -> Config:
    """What is set; the defaults where that is wrong, which is said by a check of its own."""
    try:
        return given()
    except ImproperlyConfigured:
        return Config()

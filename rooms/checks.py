"""System checks, each with an id."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from rooms.conf import config

DATABASES = ("sqlite", "postgresql")


@register
def settings_are_known(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """rooms.E001: ``ROOMS`` holds a name or a value that is none of ours."""
    try:
        config()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="rooms.conf lists every setting with its default.", id="rooms.E001")]
    return []


@register
def database_is_supported(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """rooms.E002: the log needs transactions and ``ON CONFLICT`` as SQLite and PostgreSQL have them."""
    vendor = connections["default"].vendor
    if vendor in DATABASES:
        return []
    return [Error(f"Rooms run on SQLite and PostgreSQL, not on {vendor}.", id="rooms.E002")]

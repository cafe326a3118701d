"""``settings.PRESENCE``: every setting with its default, read once and checked. Periods are seconds."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import msgspec
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=str.upper):
    """What a site may say in ``PRESENCE = {"LEAVE_GRACE": 10, ...}``."""

    lease: Seconds = 15  # that a node is believed alive without a word from it; then its people leave
    renewal: Seconds = 5  # between the words
    leave_grace: Seconds = 5  # that a person who is gone may come back in, unnoticed: a reload, another network
    poll_lease: Seconds = 40  # that a long-poller may take from the beginning of one poll to that of the next
    flush: Seconds = 0.1  # that comings and goings are gathered for one transaction
    counts_interval: Seconds = 1  # between two numbers of a room above ROOMS["ROSTER_LIMIT"], or in a list of rooms


def broken(periods: Config) -> list[str]:
    """What these periods contradict, a sentence each."""
    sentences = []
    if periods.renewal * 2 > periods.lease:
        sentences.append("RENEWAL is at most half of LEASE: a node that is late once must not lose its people.")
    if periods.leave_grace >= periods.lease:
        sentences.append("LEAVE_GRACE is shorter than LEASE: who says goodbye leaves before one whose node died.")
    if periods.poll_lease < 30:
        sentences.append("POLL_LEASE is at least 30: a poll waits for up to 25 seconds, and the next has to come.")
    if periods.flush * 10 > periods.leave_grace:
        sentences.append("FLUSH is at most a tenth of LEAVE_GRACE: else who comes back in time is late all the same.")
    return sentences


def given() -> Config:
    """What is set, whether or not the periods fit together.

    :raises ImproperlyConfigured: with the name of the setting that is wrong.
    """
    said: dict[str, Any] = getattr(settings, "PRESENCE", {})
    try:
        return msgspec.convert(said, Config)
    except ValueError as error:
        raise ImproperlyConfigured(f"settings.PRESENCE: {error}") from error


@lru_cache(maxsize=1)
def config() -> Config:
    """:raises ImproperlyConfigured: with the name of the setting that is wrong, or the periods that contradict."""
    read = given()
    sentences = broken(read)
    if sentences:
        raise ImproperlyConfigured(f"settings.PRESENCE: {' '.join(sentences)}")
    return read


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "PRESENCE":
        config.cache_clear()


setting_changed.connect(_forget)

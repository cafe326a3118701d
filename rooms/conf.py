"""``settings.ROOMS``: every setting with its default, read once and checked.

Sizes are bytes, periods are seconds unless the name says otherwise.
"""

from __future__ import annotations

import os
from functools import lru_cache
from ipaddress import ip_network
from typing import Annotated, Any

import msgspec
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from msgspec import Meta

from rooms import limits

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=str.upper):
    """What a site may say in ``ROOMS = {"WINDOW": 128, ...}``."""

    public_read: bool = False  # people outside the tenant, anonymous ones too, may read public rooms
    access: str = "rooms.policy.ByMembership"  # the class that says who may do what in an ordinary room
    layer: str = "default"  # alias in CHANNEL_LAYERS

    window: Count = 256  # frames out and not acknowledged
    max_frame_bytes: Count = 64 * 1024
    frame_events: Count = 200
    max_rooms: Count = 100  # a connection
    max_replay: Count = 1_000  # events that a join replays; more is a reset
    max_calls: Count = 128  # commands of one connection under way; more wait unread in the socket
    heartbeat: Seconds = 25
    heartbeat_grace: Seconds = 10
    comment_interval: Seconds = 15  # between comment lines of a silent SSE stream
    stall_timeout: Seconds = 30
    idle_timeout: Seconds = 120
    grant_ttl: Seconds = 15
    ticket_ttl: Seconds = 300

    heal_interval: Seconds = 2
    gap_grace: Seconds = 0.05
    flush_interval: Annotated[float, Meta(ge=0, le=0.1)] = 0  # between flushes of a busy room
    deflate: bool = True  # compress events for clients who ask for it
    feed_linger: Seconds = 10  # that a room is followed for long-pollers who come back
    ring_events: Count = 512  # of one room on one node
    ring_bytes: Count = 1024 * 1024
    node_ring_bytes: Count = 64 * 1024 * 1024  # of all rooms on one node
    unsent_bytes: Count = 1024 * 1024  # to one connection

    publish_timeout: Seconds = 1
    publish_backlog_bytes: Count = 256 * 1024  # of one room while a publish is in flight; beyond it only the head goes
    breaker_failures: Count = 3  # publishes that failed in a row; then none is tried for breaker_pause
    breaker_pause: Seconds = 2

    threads: Count = 8  # for commands and log reads, and as many for the REST API
    control_threads: Count = 2  # kept for heals, grants and handshakes
    batch: Count = 100  # commands in one transaction
    lock_timeout: Seconds = 5  # for a room's row lock
    result_days: Count = 1  # that an answer is remembered
    log_days: Count = 30
    log_events: Count = 100_000  # kept a room
    audit_days: Count = 365  # that changes of access are kept
    roster_limit: Count = 200  # people; above it read marks go to their owner only
    limits: dict[str, Any] = {}  # see rooms.limits
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1")  # whose X-Forwarded-For and -Proto are believed
    metrics_addresses: tuple[str, ...] = ()  # that may read /metrics besides loopback
    metrics_token: str = ""


@lru_cache(maxsize=1)
def config() -> Config:
    """:raises ImproperlyConfigured: with the name of the setting that is wrong."""
    given: dict[str, Any] = getattr(settings, "ROOMS", {})
    try:
        read = msgspec.convert(given, Config)
        for network in read.trusted_proxies:
            ip_network(network)
    except ValueError as error:
        raise ImproperlyConfigured(f"settings.ROOMS: {error}") from error
    _read_limits(read)
    return read


@lru_cache(maxsize=1)
def site_limits() -> limits.Amounts:
    """:raises ImproperlyConfigured: with the name of the limit that is wrong."""
    return _read_limits(config())


def _read_limits(read: Config) -> limits.Amounts:
    try:
        return limits.site(read.limits, os.environ.get("ROOMS_LIMITS", ""))
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from None


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "ROOMS":
        config.cache_clear()
        site_limits.cache_clear()


setting_changed.connect(_forget)

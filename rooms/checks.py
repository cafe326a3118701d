"""System checks, each with an id; docs/settings.md has them in a table.

What cannot work, or shows something to somebody who may not see it, is an error. What works badly is a warning; those
about a site on the internet come with ``check --deploy`` alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.module_loading import import_string

from rooms import policy
from rooms.conf import Config, config

DATABASES = ("sqlite", "postgresql")
DAPHNE = (4, 2, 2)  # two CVEs end with it
MIDDLEWARE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)
IN_MEMORY = "channels.layers.InMemoryChannelLayer"
CORE_REDIS = ("channels_redis.core.RedisChannelLayer",)
TOKEN = 16  # characters of METRICS_TOKEN, at least: it is asked for from anywhere, as often as somebody likes
MESSAGE_BYTES = 8_000 * 6 + 1_000  # the longest message, each character escaped, and what stands around it

# Each of these holds by default; what is said when it does not.
RELATIONS: tuple[tuple[Callable[[Config], bool], str], ...] = (
    (
        lambda c: c.comment_interval > 1,
        "COMMENT_INTERVAL is looked at once a second: at 1 or below a stream is all comments.",
    ),
    (
        lambda c: max(c.heartbeat * 1.1, c.comment_interval) < 60,
        "HEARTBEAT and COMMENT_INTERVAL: what stands between drops connections that are silent for 60 seconds.",
    ),
    (
        lambda c: c.heartbeat_grace <= c.heartbeat,
        "HEARTBEAT_GRACE above HEARTBEAT: a dead connection is noticed later than the next heartbeat.",
    ),
    (
        lambda c: c.stall_timeout > 5,
        "STALL_TIMEOUT of 5 seconds or less: clients may take 5 to acknowledge, so honest ones are closed.",
    ),
    (
        lambda c: c.grant_ttl >= 3,
        "GRANT_TTL below 3: the gate is asked about everybody every third of it, oftener than once a second.",
    ),
    (
        lambda c: c.heal_interval < c.grant_ttl,
        "HEAL_INTERVAL is not below GRANT_TTL: a gate that could not be asked is tried again when grants are over.",
    ),
    (
        lambda c: c.publish_timeout <= c.heal_interval,
        "PUBLISH_TIMEOUT above HEAL_INTERVAL: healing finds an event before a slow channel layer is given up.",
    ),
    (
        lambda c: c.gap_grace < c.heal_interval,
        "GAP_GRACE is not below HEAL_INTERVAL: healing finds what is missing before it is looked for.",
    ),
    (
        lambda c: c.lock_timeout < 30,
        "LOCK_TIMEOUT of 30 seconds or more: a REST write gives up sooner, and its command runs all the same.",
    ),
    (
        lambda c: c.max_frame_bytes >= MESSAGE_BYTES,
        f"MAX_FRAME_BYTES below {MESSAGE_BYTES}: the longest message does not fit a frame.",
    ),
    (
        lambda c: c.unsent_bytes >= 2 * c.max_frame_bytes,
        "UNSENT_BYTES below twice MAX_FRAME_BYTES: one frame and one answer close a connection as too slow.",
    ),
    (
        lambda c: c.ring_bytes <= c.node_ring_bytes,
        "RING_BYTES above NODE_RING_BYTES: one room may take what all have together.",
    ),
    (
        lambda c: c.max_replay <= c.log_events,
        "MAX_REPLAY above LOG_EVENTS: a room keeps less than a client may ask for.",
    ),
)


# --- what must be


@register
def settings_are_known(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """``ROOMS`` holds a name or a value that is none of ours."""
    try:
        config()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="rooms.conf lists every setting with its default.", id="rooms.E001")]
    return []


@register
def database_is_supported(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The log needs transactions and ``ON CONFLICT`` as SQLite and PostgreSQL have them."""
    vendor = connections["default"].vendor
    if vendor in DATABASES:
        return []
    return [Error(f"Rooms run on SQLite and PostgreSQL, not on {vendor}.", id="rooms.E002")]


@register
def layer_is_there(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """And when it reaches one process only, there is one."""
    backend, alias = _layer(), _config().layer
    if backend is None:
        return [Error(f"CHANNEL_LAYERS has no {alias!r}, which ROOMS names as LAYER.", id="rooms.E003")]
    if backend == IN_MEMORY and _number(os.environ.get("WEB_CONCURRENCY", "")) > 1:
        return [
            Error(
                "WEB_CONCURRENCY asks for several processes, and the in-memory channel layer reaches one.",
                hint="Use channels_redis.pubsub.RedisPubSubChannelLayer.",
                id="rooms.E004",
            )
        ]
    return []


@register(Tags.security)
def middleware_is_there(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Pages and REST ask who somebody is, and whether a form is the site's own."""
    given = [_loaded(name) for name in settings.MIDDLEWARE]
    return [
        Error(f"Rooms need {name} in MIDDLEWARE, or a subclass of it.", id="rooms.E005")
        for name in MIDDLEWARE
        if not any(isinstance(each, type) and issubclass(each, _loaded(name)) for each in given)
    ]


@register
def times_have_zones(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Every time on the wire is UTC."""
    if settings.USE_TZ:
        return []
    return [Error("Rooms need USE_TZ: a time without its zone cannot be told to anybody.", id="rooms.E006")]


@register
def transactions_are_read_committed(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A writer who waited for a room's lock must see what was committed meanwhile."""
    level = _database().get("OPTIONS", {}).get("isolation_level")
    if connections["default"].vendor != "postgresql" or level in (None, 1, 2):  # psycopg's READ_(UN)COMMITTED
        return []
    return [
        Error(
            "Rooms need PostgreSQL's READ COMMITTED: on a stricter level, writers to one room fail each other.",
            hint='Take "isolation_level" out of the OPTIONS of DATABASES["default"].',
            id="rooms.E007",
        )
    ]


@register(Tags.security)
def proxies_are_listed(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Who may say that a request came by https."""
    header = settings.SECURE_PROXY_SSL_HEADER
    if header is None or _config().trusted_proxies:
        return []
    name = header[0].removeprefix("HTTP_").replace("_", "-").title()
    return [
        Error(
            f"{name} is believed from nobody: ROOMS lists no TRUSTED_PROXIES, so no request counts as https.",
            hint='List the addresses or networks of your proxies: ROOMS = {"TRUSTED_PROXIES": ["10.0.0.0/8"]}.',
            id="rooms.E008",
        )
    ]


# --- what had better be


@register(Tags.security)
def policy_is_there(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """rooms.E009: ``ACCESS`` names no class that can be asked."""
    try:
        policy.named(_config().access)
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="docs/access.md says what a policy is.", id="rooms.E009")]
    return []


@register
def settings_fit_together(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Periods and sizes that are each possible, and not together."""
    given = _config()
    return [checks.Warning(sentence, id="rooms.W001") for holds, sentence in RELATIONS if not holds(given)]


@register
def sqlite_waits(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Writers wait for each other, and readers for nobody."""
    if connections["default"].vendor != "sqlite":
        return []
    options = _database().get("OPTIONS", {})
    found: list[CheckMessage] = []
    if str(options.get("transaction_mode", "")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        found.append(
            checks.Warning(
                "Two writers that began by reading lock each other out: the database is locked, SQLite says.",
                hint='Set "transaction_mode": "IMMEDIATE" in the OPTIONS of DATABASES["default"].',
                id="rooms.W002",
            )
        )
    if not re.search(r"journal_mode\s*=\s*wal", str(options.get("init_command", "")), re.IGNORECASE):
        found.append(
            checks.Warning(
                "Without WAL every reader of SQLite waits for every writer.",
                hint='Set "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL" in its OPTIONS.',
                id="rooms.W003",
            )
        )
    return found


@register
def connections_end(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Django ends a persistent connection with the request of its thread, which under ASGI is another one."""
    if _database().get("CONN_MAX_AGE", 0) == 0:
        return []
    return [
        checks.Warning(
            "CONN_MAX_AGE leaks database connections under ASGI.",
            hint='Set it to 0; on PostgreSQL, "pool" in OPTIONS keeps connections open.',
            id="rooms.W004",
        )
    ]


@register
def pool_is_large_enough(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """For the threads of a node, as many of the REST API, and one for Django's own views."""
    pool = _database().get("OPTIONS", {}).get("pool")
    size = pool.get("max_size") or pool.get("min_size", 4) if isinstance(pool, dict) else 4 if pool else None
    needed = 2 * _config().threads + _config().control_threads + 1
    if size is None or size >= needed:
        return []
    return [
        checks.Warning(
            f"The pool has {size} connections; twice THREADS, CONTROL_THREADS and a page may want {needed} at once.",
            id="rooms.W005",
        )
    ]


@register(Tags.security)
def daphne_is_mended(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    try:
        found = version("daphne")
    except PackageNotFoundError:
        return []
    if tuple(_number(part) for part in found.split(".")[:3]) >= DAPHNE:
        return []
    return [checks.Warning(f"daphne {found} has holes that {'.'.join(map(str, DAPHNE))} has not.", id="rooms.W006")]


@register
def layer_keeps_up(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The core Redis layer holds 100 messages a process, drops what comes above, and forgets a member after a day."""
    if _layer() not in CORE_REDIS:
        return []
    return [
        checks.Warning(
            "The channel layer drops messages in every burst; rooms then wait for healing.",
            hint="Use channels_redis.pubsub.RedisPubSubChannelLayer.",
            id="rooms.W007",
        )
    ]


@register(Tags.security)
def sessions_can_be_ended(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """By the site, and not by the browser alone."""
    if settings.SESSION_ENGINE != "django.contrib.sessions.backends.signed_cookies":
        return []
    return [
        checks.Warning(
            "A session that is kept in a cookie stays good after a log-out, for whoever has a copy, in rooms too.",
            id="rooms.W008",
        )
    ]


@register
def requests_are_no_transactions(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A write holds its room's lock until its transaction ends."""
    if not _database().get("ATOMIC_REQUESTS"):
        return []
    return [
        checks.Warning(
            "ATOMIC_REQUESTS: a REST write holds its room's lock until its view has answered, and is never batched.",
            id="rooms.W009",
        )
    ]


@register(Tags.security)
def hosts_are_as_asked(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A socket's Origin is compared with the Host header."""
    if not settings.USE_X_FORWARDED_HOST or settings.CSRF_TRUSTED_ORIGINS:
        return []
    return [
        checks.Warning(
            "USE_X_FORWARDED_HOST: sockets compare a page's Origin with Host, and your proxy seems to change that.",
            hint="Let the proxy hand Host on, or list the site's own origin in CSRF_TRUSTED_ORIGINS.",
            id="rooms.W010",
        )
    ]


@register(Tags.security)
def metrics_are_guarded(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if 0 < len(_config().metrics_token) < TOKEN:
        found.append(checks.Warning(f"METRICS_TOKEN is shorter than {TOKEN} characters.", id="rooms.W011"))
    for address in _config().metrics_addresses:
        try:
            same = str(ip_address(address)) == address
        except ValueError:
            same = False
        if not same:
            found.append(checks.Warning(f"METRICS_ADDRESSES: nobody comes from {address!r}.", id="rooms.W012"))
    return found


# --- on the internet


@register(Tags.security, deploy=True)
def layer_reaches_everybody(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if _layer() != IN_MEMORY:
        return []
    return [
        checks.Warning(
            "The in-memory channel layer reaches one process: with a second one, events come a heal interval late.",
            hint="Use channels_redis.pubsub.RedisPubSubChannelLayer, or silence this where there is one process.",
            id="rooms.W020",
        )
    ]


@register(Tags.security, deploy=True)
def hosts_are_listed(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Own is who has the name that the browser asked for; so that name must be ours."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        checks.Warning(
            'ALLOWED_HOSTS has "*": a page whose name is made to point here counts as the site\'s own.',
            id="rooms.W021",
        )
    ]


@register(Tags.security, deploy=True)
def origins_are_https(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Where cookies are: whoever stands between can put what they like into a page that came by http."""
    if not settings.SESSION_COOKIE_SECURE:  # Django warns of that itself
        return []
    return [
        checks.Warning(f"CSRF_TRUSTED_ORIGINS lists {origin}: a page that came by http is anybody's.", id="rooms.W022")
        for origin in settings.CSRF_TRUSTED_ORIGINS
        if not origin.startswith("https://")
    ]


def _config() -> Config:
    """What is set; the defaults where that is wrong, which is said by a check of its own."""
    try:
        return config()
    except ImproperlyConfigured:
        return Config()


def _layer() -> str | None:
    """The backend of the rooms' channel layer, by its dotted name."""
    layers: dict[str, dict[str, Any]] = getattr(settings, "CHANNEL_LAYERS", {})
    return layers.get(_config().layer, {}).get("BACKEND")


def _database() -> dict[str, Any]:
    return dict(connections["default"].settings_dict)


def _loaded(name: str) -> Any:
    try:
        return import_string(name)
    except ImportError:  # Django says it better
        return None


def _number(text: str) -> int:
    match = re.match(r"[0-9]{1,9}", text)
    return int(match[0]) if match else 0

"""Who is speaking: a browser by its session cookie, looked up in one hop to the database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from io import BytesIO
from math import inf
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.core.exceptions import ValidationError
from django.core.handlers.asgi import ASGIRequest
from django.db import connection, router
from django.http import HttpResponse, parse_cookie
from django.http.request import split_domain_port, validate_host
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import CSRFCheck

from rooms.contract import Person
from rooms.rows import by_key, marks, table

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Credential:
    """What somebody came in with, so that it can be looked at again.

    :param user: the primary key.
    :param proves: whether this session hash of the user's is the one that it was given for.
    :param session: the key of the session, when it is one.
    :param stored: the hash of what the database had of the session; the same means that nothing in it has changed.
    :param expires: seconds since the epoch.
    """

    user: Any
    proves: Callable[[str], bool]
    session: str | None = None
    stored: int = 0
    expires: float = inf


@dataclass(frozen=True, slots=True)
class Identity:
    """``user`` is the primary key."""

    user: Any
    person: Person
    credential: Credential


def by_session(session_key: str) -> Identity | None:
    """The person whose session this is; None for a session that is unknown, over, or of an account that is closed.

    Unlike Channels' ``get_user`` it knows ``SECRET_KEY_FALLBACKS`` and changes nothing in the session. Synchronous; it
    asks the database.
    """
    if not session_key.isascii() or "\0" in session_key:  # not one that we gave, and not every database takes it
        return None
    store = session_store()(session_key)
    stored = _stored([session_key]).get(session_key)
    if stored is None and type(store) is DatabaseStore:  # it would ask the same once more
        return None
    session = store if stored is None else store.decode(stored)
    if session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    proves = partial(constant_time_compare, session.get(HASH_SESSION_KEY) or "")
    user = account(session.get(SESSION_KEY), proves)
    if user is None:
        return None
    return Identity(user.pk, Person.from_row(user), Credential(user.pk, proves, session_key, hash(stored)))


def over(credentials: Iterable[Credential]) -> list[Credential]:
    """Those that are good no more: the account closed, the password another, the session ended or somebody else's.

    Synchronous; two queries for them all, and more only for sessions that were written since they were looked at.
    """
    given = list(credentials)
    users = by_key(get_user_model(), {credential.user for credential in given})
    stored = _stored({credential.session for credential in given if credential.session is not None})
    return [each for each in given if not _stands(each, users.get(each.user), stored)]


def _stands(credential: Credential, user: Any, stored: dict[str, str]) -> bool:
    if user is None or not _is_proved(user, credential.proves):
        return False
    if credential.session is None or hash(stored.get(credential.session)) == credential.stored != hash(None):
        return True
    found = by_session(credential.session)
    return found is not None and found.user == credential.user


def _stored(keys: Collection[str]) -> dict[str, str]:
    """What the database has of these sessions; nothing, when the site keeps them elsewhere."""
    store = session_store()
    if not keys or not hasattr(store, "get_model_class"):
        return {}
    model, now = store.get_model_class(), timezone.now()
    if model._meta.label != "sessions.Session" or router.db_for_read(model) != connection.alias:  # a host's own idea
        rows = model.objects.filter(session_key__in=keys, expire_date__gt=now)
        return dict(rows.values_list("session_key", "session_data"))
    sql = f"""
        SELECT session_key, session_data FROM {table(model)}
        WHERE session_key IN ({marks(keys)}) AND expire_date > %s
    """  # noqa: S608 the name is the model's own
    with connection.cursor() as cursor:
        cursor.execute(sql, [*keys, model._meta.get_field("expire_date").get_db_prep_value(now, connection)])
        return dict(cursor.fetchall())


def session_store() -> Any:
    """The class of the site's sessions."""
    return import_module(settings.SESSION_ENGINE).SessionStore


def account(key: Any, proves: Callable[[str], bool]) -> Any:
    """The user row with this key, when it is active and one of its session hashes is proved; None else.

    A session hash ends with the password, and a key in ``SECRET_KEY_FALLBACKS`` makes another one. Synchronous; it asks
    the database.
    """
    user_model = get_user_model()
    try:
        wanted = user_model._meta.pk.clean(key, None)
    except ValidationError:  # of another user model
        return None
    user = by_key(user_model, [wanted]).get(wanted)
    return user if user is not None and _is_proved(user, proves) else None


def _is_proved(user: Any, proves: Callable[[str], bool]) -> bool:
    if not user.is_active:
        return False
    return proves(user.get_session_auth_hash()) or any(map(proves, user.get_session_auth_fallback_hash()))


def header(headers: Headers, name: bytes) -> str:
    """The first of this name, empty when there is none; what is not Latin-1 cannot occur."""
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def session_key(headers: Headers) -> str | None:
    return parse_cookie(header(headers, b"cookie")).get(settings.SESSION_COOKIE_NAME)


def ticket(headers: Headers) -> str | None:
    """That a request brings."""
    return bearer(header(headers, b"authorization"))


def bearer(authorization: str) -> str | None:
    """Of ``Authorization: Bearer <ticket>``."""
    scheme, _, credentials = authorization.partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def is_own_read(headers: Headers, *, secure: bool) -> bool:
    """Whether a GET with cookies may be answered. A browser sends its own site no Origin with one, but says where it
    comes from when it can.
    """
    if header(headers, b"origin"):
        return is_own_origin(headers, secure=secure)
    return header(headers, b"sec-fetch-site") not in ("cross-site", "same-site")


def is_own_write(scope: Any) -> bool:
    """Whether a POST with cookies carries the site's CSRF token, as Django checks it; the token is in the header.

    Synchronous; with ``CSRF_USE_SESSIONS`` it asks the database.
    """
    request = ASGIRequest({**scope, "method": "POST"}, BytesIO())
    if settings.CSRF_USE_SESSIONS:
        request.session = session_store()(session_key(scope["headers"]))
    check = CSRFCheck(lambda request: HttpResponse())
    check.process_request(request)
    return check.process_view(request, HttpResponse, (), {}) is None


def is_own_origin(headers: Headers, *, secure: bool) -> bool:
    """Whether a browser's page may open a socket here with its cookies: the site's own, or one that it lists.

    Own means: the Origin's host and port are those of the Host header, which is one of ``ALLOWED_HOSTS``. Listed means:
    in ``CSRF_TRUSTED_ORIGINS``. On https, an http Origin is neither.
    """
    origin, host = header(headers, b"origin"), header(headers, b"host")
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    if secure and parts.scheme != "https":
        return False
    if any(_matches(parts.scheme, parts.netloc, urlsplit(listed)) for listed in settings.CSRF_TRUSTED_ORIGINS):
        return True
    domain, _ = split_domain_port(host)
    allowed = settings.ALLOWED_HOSTS or (["localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else [])
    if not domain or not validate_host(domain, allowed):
        return False
    default = 443 if parts.scheme == "https" else 80
    own = urlsplit(f"{parts.scheme}://{host}")
    return own.hostname == parts.hostname and (own.port or default) == (port or default)


def _matches(scheme: str, netloc: str, listed: Any) -> bool:
    if scheme != listed.scheme:
        return False
    if listed.netloc.startswith("*."):
        return netloc.endswith(listed.netloc[1:])
    return bool(netloc == listed.netloc)

"""The edge of the site, before Django and the rooms alike: by which scheme a request came, and whom to believe."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from rooms import addresses
from rooms.contract import Refused

Application = Callable[[Any, Any, Any], Awaitable[None]]

HOST_AND_PORT = (b"x-forwarded-host", b"x-forwarded-port")  # for USE_X_FORWARDED_HOST and USE_X_FORWARDED_PORT
SECURE = {"http": "https", "ws": "wss"}
PLAIN = {secure: plain for plain, secure in SECURE.items()}

# For answers that are no pages: a browser that is made to show one runs and embeds nothing.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)


def edge(application: Application) -> Application:
    """``application``, which may believe the scheme of its scope and the forwarding headers that it finds."""

    async def entered(scope: Any, receive: Any, send: Any) -> None:
        await application(believed(scope) if scope["type"] in ("http", "websocket") else scope, receive, send)

    return entered


def believed(scope: Any) -> Any:
    """The scope as ``ROOMS["TRUSTED_PROXIES"]`` tell it; what others say of scheme, host and port is taken out.

    ``SECURE_PROXY_SSL_HEADER`` says which header tells of https. ``X-Forwarded-For`` stays: see ``rooms.addresses``.
    """
    name, secure = _header_of_https()
    told = [value for key, value in scope["headers"] if key == name]
    if not told and not any(key in HOST_AND_PORT for key, _ in scope["headers"]):
        return scope
    if not addresses.is_proxy(scope):
        heard = [pair for pair in scope["headers"] if pair[0] != name and pair[0] not in HOST_AND_PORT]
        return {**scope, "headers": heard}
    if not told:
        return scope
    scheme = scope.get("scheme", "http")
    first = told[0].decode("latin-1").partition(",")[0].strip()  # as Django reads it
    schemes = SECURE if first == secure else PLAIN
    return {**scope, "scheme": schemes.get(scheme, scheme)}


def is_secure(scope: Any) -> bool:
    """Whether the client speaks https or wss; for a scope that has passed the edge."""
    return scope.get("scheme") in PLAIN


def refuse_plain(scope: Any) -> None:
    """On a site that is https only, as Django's ``SECURE_SSL_REDIRECT`` has it. Cookies and tickets are not for http.

    :raises Refused: ``forbidden``. Not sent elsewhere: a WebSocket and a POST could not follow.
    """
    if settings.SECURE_SSL_REDIRECT and not is_secure(scope):
        path = scope["path"].lstrip("/")
        if not any(re.search(pattern, path) for pattern in settings.SECURE_REDIRECT_EXEMPT):
            raise Refused("forbidden", "This site speaks https and wss alone.")


def headers(scope: Any) -> list[tuple[bytes, bytes]]:
    """That an answer beside Django has, as Django's have by ``SecurityMiddleware``."""
    found = list(HEADERS)
    if settings.SECURE_HSTS_SECONDS and is_secure(scope):
        found.append((b"strict-transport-security", _hsts()))
    return found


def _header_of_https() -> tuple[bytes, str]:
    if settings.SECURE_PROXY_SSL_HEADER is None:
        return b"", ""
    name, value = settings.SECURE_PROXY_SSL_HEADER
    return name.removeprefix("HTTP_").replace("_", "-").lower().encode(), value


def _hsts() -> bytes:
    said = f"max-age={settings.SECURE_HSTS_SECONDS}"
    if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS:
        said += "; includeSubDomains"
    if settings.SECURE_HSTS_PRELOAD:
        said += "; preload"
    return said.encode()

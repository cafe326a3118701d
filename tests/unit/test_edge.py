"""Whom the site believes about https, and what its answers beside Django say to a browser."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest

from rooms import identity
from rooms.contract import Refused
from rooms.edge import believed, headers, is_secure, refuse_plain

PROXY, STRANGER = "10.1.2.3", "10.9.9.9"
OWN = [(b"host", b"rooms.example.com"), (b"origin", b"http://rooms.example.com")]


@pytest.fixture(autouse=True)
def https_behind_a_proxy(settings: Any) -> None:
    settings.ROOMS = {"TRUSTED_PROXIES": ["10.1.0.0/16"]}
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 3600
    settings.SECURE_REDIRECT_EXEMPT = []
    settings.ALLOWED_HOSTS = ["rooms.example.com"]
    settings.CSRF_TRUSTED_ORIGINS = []


def scope(*given: tuple[bytes, bytes], peer: str = PROXY, scheme: str = "http", path: str = "/live/stream") -> Any:
    type = "websocket" if scheme.startswith("ws") else "http"
    return {
        "type": type, "method": "GET", "scheme": scheme, "path": path, "client": [peer, 5], "headers": [*OWN, *given]
    }  # fmt: skip


def proto(value: str) -> tuple[bytes, bytes]:
    return b"x-forwarded-proto", value.encode()


@pytest.mark.parametrize(
    ("peer", "said", "secure"),
    [
        (PROXY, "https", True),
        (PROXY, "http", False),
        (PROXY, "HTTPS", False),  # Django compares exactly
        (PROXY, "https, http", True),
        (PROXY, "http, https", False),
        (STRANGER, "https", False),
        ("127.0.0.1", "https", False),  # not listed here
    ],
)
@pytest.mark.parametrize("plain", ["http", "ws"])
def test_https_is_what_a_listed_proxy_says_to_django_and_rooms_alike(
    peer: str, said: str, secure: bool, plain: str
) -> None:
    seen = believed(scope(proto(said), peer=peer, scheme=plain))
    assert is_secure(seen) is secure
    if plain == "http":
        assert ASGIRequest(seen, None).is_secure() is secure


def test_a_server_that_speaks_tls_itself_needs_no_header() -> None:
    assert is_secure(believed(scope(scheme="https", peer=STRANGER)))
    assert is_secure(believed(scope(proto("http"), scheme="wss", peer=STRANGER)))


def test_hosts_and_ports_are_told_by_proxies_alone(settings: Any) -> None:
    settings.USE_X_FORWARDED_HOST = settings.USE_X_FORWARDED_PORT = True
    settings.ALLOWED_HOSTS = ["*"]
    told = (b"x-forwarded-host", b"other.example"), (b"x-forwarded-port", b"99")
    for peer, host in ((PROXY, "other.example:99"), (STRANGER, "rooms.example.com")):
        assert ASGIRequest(believed(scope(*told, peer=peer)), None).get_host() == host.partition(":")[0]


def test_the_addresses_of_clients_stay_for_who_asks_for_them() -> None:
    told = (b"x-forwarded-for", b"192.0.2.1")
    assert told in believed(scope(told, proto("https"), peer=STRANGER))["headers"]


def test_a_header_that_the_site_does_not_name_is_nothing(settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = None
    assert not is_secure(believed(scope(proto("https"))))


def test_on_https_a_page_that_came_by_http_is_another_sites(settings: Any) -> None:
    seen = believed(scope(proto("https"), scheme="ws"))
    assert identity.is_own_origin(OWN, secure=False)
    assert not identity.is_own_origin(seen["headers"], secure=is_secure(seen))
    settings.CSRF_TRUSTED_ORIGINS = ["http://rooms.example.com"]  # not even when it is listed
    assert not identity.is_own_origin(seen["headers"], secure=is_secure(seen))
    assert identity.is_own_origin([OWN[0], (b"origin", b"https://rooms.example.com")], secure=True)


def test_plain_http_is_refused_but_where_the_site_exempts_it(settings: Any) -> None:
    refuse_plain(believed(scope(proto("https"))))
    for plain in (scope(), scope(scheme="ws"), scope(proto("https"), peer=STRANGER)):
        with pytest.raises(Refused) as refused:
            refuse_plain(believed(plain))
        assert refused.value.code == "forbidden"
    settings.SECURE_REDIRECT_EXEMPT = [r"^live/"]
    refuse_plain(scope())
    settings.SECURE_REDIRECT_EXEMPT = []
    settings.SECURE_SSL_REDIRECT = False
    refuse_plain(scope())


def test_answers_over_https_say_that_it_stays_so(settings: Any) -> None:
    name = b"strict-transport-security"
    assert dict(headers(scope(scheme="https")))[name] == b"max-age=3600"
    assert name not in dict(headers(scope()))
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = settings.SECURE_HSTS_PRELOAD = True
    assert dict(headers(scope(scheme="https")))[name] == b"max-age=3600; includeSubDomains; preload"

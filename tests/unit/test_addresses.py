"""Where a request comes from, with proxies before us and clients who lie about it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import RequestFactory

from rooms import addresses
from rooms.addresses import client_address, home


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"client": None if peer is None else (peer, 1234), "headers": [(b"host", b"here"), *headers]}


@pytest.fixture(autouse=True)
def proxies(settings: Any) -> None:
    settings.ROOMS = {"TRUSTED_PROXIES": ["10.0.0.0/8", "fd00::/8"]}


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", [], "198.51.100.7"),
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),  # no proxy of ours: its claim is worth nothing
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),  # the client wrote the first itself
        ("10.0.0.1", ["1.1.1.1", "203.0.113.9, 10.2.3.4"], "203.0.113.9"),  # two proxies, two headers
        ("10.0.0.1", ["10.9.9.9"], "10.9.9.9"),  # proxies alone: the outermost
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("fd00::1", ['"[2001:db8::5]:4711"'], "2001:db8::5"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        (None, ["203.0.113.9"], "203.0.113.9"),  # over a Unix socket
        (None, [], ""),
    ],
)
def test_the_client_is_the_first_from_the_right_who_is_no_proxy(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    assert client_address(scope(peer, *forwarded)) == address


def test_a_django_request_says_the_same() -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="1.1.1.1, 203.0.113.9")
    assert client_address(request) == "203.0.113.9"


def test_a_proxy_that_is_not_listed_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    addresses._tell.cache_clear()
    with caplog.at_level(logging.WARNING, "rooms.addresses"):
        for _ in range(3):
            assert client_address(scope("192.168.0.1", "203.0.113.9")) == "192.168.0.1"
        client_address(scope("8.8.8.8", "203.0.113.9"))  # anybody out there may send one
    assert [record.getMessage() for record in caplog.records] == [
        'Forwarding headers come from 192.168.0.1, which is not in ROOMS["TRUSTED_PROXIES"]'
    ]


def test_an_ipv6_customer_is_a_network() -> None:
    assert home("2001:db8:1:2:3:4:5:6") == home("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert home("203.0.113.9") == "203.0.113.9" and home("") == ""

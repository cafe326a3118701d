"""REST as a real server serves it: what only bytes on a socket can say."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.client import log_in, new_id
from tests.support.sites import Site, Sites

# What HTTP servers do to requests; what is stored is looked at in the other files, on both backends.
pytestmark = pytest.mark.any_backend

GENERAL = "/api/tenants/acme/rooms/general/"
MESSAGES = f"{GENERAL}messages/"


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def site(request: pytest.FixtureRequest, sites: Sites) -> Iterator[Site]:
    with sites.running(server=request.param, demo=True) as site:
        yield site


@pytest.fixture(scope="module")
def alice(site: Site) -> Iterator[httpx.Client]:
    with closing(log_in(site.url, "alice")) as client:
        yield client


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_write_is_csrf_protected_and_done_once_a_key(alice: httpx.Client) -> None:
    key = new_id()
    answers = [alice.post(MESSAGES, json={"text": " hi "}, headers={"Idempotency-Key": key}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert refused(alice.post(MESSAGES, json={"text": "x"}, headers={"X-CSRFToken": ""})) == (403, "forbidden")


def test_a_body_that_is_streamed_is_read(alice: httpx.Client) -> None:
    """Its length is not said; DRF by itself would take it for none and the PATCH for done."""
    kind = {"Content-Type": "application/json"}
    answer = alice.patch(GENERAL, content=iter([b'{"name": ', b'"Streamed"}']), headers=kind)
    assert (answer.status_code, answer.json()["name"]) == (200, "Streamed")
    answer = alice.post(MESSAGES, content=iter([b'{"text": "', b"x" * 200_000, b'"}']), headers=kind)
    assert refused(answer) == (413, "too_large")
    assert refused(alice.post(MESSAGES, content=iter([]), headers=kind)) == (400, "bad_data")


@pytest.mark.parametrize("size", [100_000, 10_000_000])
def test_a_body_that_is_too_large_is_said_to_be(alice: httpx.Client, size: int) -> None:
    assert refused(alice.post(MESSAGES, json={"text": "x" * size})) == (413, "too_large")
    assert alice.get(GENERAL).status_code == 200


@pytest.mark.parametrize("path", [b"%00", b"%FF", b"%ED%A0%80", b"~me.1", b"%7Eme.1", b"general%2F", b"%2E%2E"])
def test_a_path_of_odd_bytes_is_not_found(site: Site, alice: httpx.Client, path: bytes) -> None:
    cookie = f"sessionid={alice.cookies['sessionid']}".encode()
    with socket.create_connection((urlsplit(site.url).hostname, urlsplit(site.url).port), 10) as wire:
        wire.sendall(
            b"GET /api/tenants/acme/rooms/%b/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: %b\r\nConnection: close\r\n\r\n"
            % (path, cookie)
        )
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    assert answer.split(b" ")[1] in (b"404", b"400")
    assert alice.get(GENERAL).status_code == 200


def test_the_docs_are_served_under_the_sites_own_policy(site: Site) -> None:
    page = httpx.get(f"{site.url}/api/docs/")
    assert page.status_code == 200
    policy, sites = (answer.headers["Content-Security-Policy"] for answer in (page, httpx.get(f"{site.url}/healthz")))
    assert sorted(policy.split("; ")) == sorted(sites.split("; "))
    assert httpx.get(f"{site.url}/api/schema/").status_code == 200

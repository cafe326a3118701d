"""Tickets: who one is, without cookies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from unittest import mock

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from rooms import tickets
from rooms.conf import config
from tests.support.client import Live, log_in
from tests.support.sites import Site, Sites

TENANTS = "/api/tenants/"


@pytest.fixture
def alice(db: None) -> object:
    return get_user_model().objects.create_user("alice", password="first")


def ask(ticket: str, client: Client | None = None) -> int:
    client = client or Client(enforce_csrf_checks=True)
    return client.get(TENANTS, headers={"Authorization": f"Bearer {ticket}"}).status_code


def test_a_ticket_says_who_one_is_in_characters_that_a_header_token_allows(alice) -> None:
    ticket = tickets.issue(alice)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", ticket.ticket)
    assert len(ticket.ticket) < 200
    assert ticket.expires_at - timezone.now() <= timedelta(seconds=config().ticket_ttl)
    assert ask(ticket.ticket) == 200
    assert tickets.identify(ticket.ticket).person.name == "alice"


@pytest.mark.parametrize("ticket", ["", "x", ".", "a.b.c", "é" * 10, "\x00", "x" * 5_000, "W10.1.x"])
def test_what_we_did_not_sign_is_nobodys(db, ticket: str) -> None:
    assert tickets.identify(ticket) is None


def test_a_changed_letter_a_passed_time_a_closed_account_and_another_password_end_it(alice) -> None:
    ticket = tickets.issue(alice).ticket
    for place in (0, 10, -1):
        broken = list(ticket)
        broken[place] = "A" if broken[place] != "A" else "B"
        assert tickets.identify("".join(broken)) is None
    later = timezone.now().timestamp() + config().ticket_ttl + 1
    with mock.patch("django.core.signing.time.time", return_value=later):
        assert tickets.identify(ticket) is None
    alice.set_password("second")
    alice.save()
    assert tickets.identify(ticket) is None
    ticket = tickets.issue(alice).ticket
    alice.is_active = False
    alice.save()
    assert (tickets.identify(ticket), ask(ticket)) == (None, 401)


def test_a_new_secret_key_ends_no_ticket_while_the_old_one_is_a_fallback(alice, settings) -> None:
    ticket = tickets.issue(alice).ticket
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another" * 10, [settings.SECRET_KEY]
    assert tickets.identify(ticket).user == alice.pk
    settings.SECRET_KEY_FALLBACKS = []
    assert tickets.identify(ticket) is None


def test_a_ticket_is_given_for_a_session_and_not_for_a_ticket_or_for_nobody(alice) -> None:
    client = Client()
    client.force_login(alice)
    answer = client.post("/api/tickets/")
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    bearer = {"Authorization": f"Bearer {answer.json()['ticket']}"}
    assert Client().post("/api/tickets/", headers=bearer).json()["code"] == "forbidden"
    assert Client().post("/api/tickets/").status_code == 401
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert strict.post("/api/tickets/").status_code == 403


def test_cookies_beside_a_ticket_count_for_nothing(alice) -> None:
    client = Client()
    client.force_login(alice)
    assert ask("forged", client) == 401


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def site(request: pytest.FixtureRequest, sites: Sites) -> Iterator[Site]:
    with sites.running(server=request.param, demo=True) as site:
        yield site


async def test_a_socket_opens_with_a_ticket_from_any_origin_and_speaks(site: Site) -> None:
    with closing(log_in(site.url, "bob")) as bob, closing(log_in(site.url, "carol")) as carol:
        ticket = bob.post("/api/tickets/").json()["ticket"]
        options = {"subprotocols": ["live.v1", f"ticket.{ticket}"], "origin": "http://elsewhere.example"}
        for session in (None, carol):  # whose cookie is ignored
            live = await Live.open(site.ws_url, session, **options)
            assert live.socket.subprotocol == "live.v1"
            assert live.hello["user"]["name"].startswith("Bob")
            assert (await live.ask("chat.send", {"text": "by ticket"}, "acme/general"))[0] == "live.ok"
            await live.socket.close()
        options["subprotocols"] = ["live.v1", f"ticket.{ticket[:-1]}"]
        live = await Live.open(site.ws_url, carol, **options)
        assert await live.closed() == 4501
    with httpx.Client(base_url=site.url, headers={"Authorization": f"Bearer {ticket}"}) as rest:
        answer = rest.post("/api/tenants/acme/rooms/general/messages/", json={"text": "by REST"})
        assert answer.status_code == 201

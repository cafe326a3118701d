"""What requests carry to say who is speaking."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from rooms.client import LiveError, Session, connect
from rooms.client.identity import Address, Identity
from tests.support.sites import ROOT

HTTP, HTTPS = "http://site.example", "https://site.example"


async def renewed(**login: object) -> Identity:
    identity = Identity(**login)  # type: ignore[arg-type]
    await identity.renew()
    return identity


async def test_nobody() -> None:
    identity = await renewed()
    assert identity.reading() == identity.writing(HTTPS) == {}
    assert identity.dialling(HTTPS) == ({}, [])
    assert not identity.renewable


async def test_a_session() -> None:
    identity = await renewed(session={"sessionid": "s", "csrftoken": "c"})
    cookie = {"Cookie": "sessionid=s; csrftoken=c"}
    assert identity.reading() == cookie
    assert identity.writing(HTTP) == {**cookie, "X-CSRFToken": "c"}
    assert identity.writing(HTTPS) == {**cookie, "X-CSRFToken": "c", "Origin": HTTPS}
    assert identity.dialling(HTTP) == ({**cookie, "Origin": HTTP}, [])


async def test_a_session_by_other_names() -> None:
    identity = await renewed(session=Session({"sid": "s", "tok": "c"}, "c", "X-Token"))
    assert identity.writing(HTTP) == {"Cookie": "sid=s; tok=c", "X-Token": "c"}


async def test_a_ticket_is_never_in_an_address() -> None:
    identity = await renewed(ticket="t")
    assert identity.reading() == identity.writing(HTTPS) == {"Authorization": "Bearer t"}
    assert identity.dialling(HTTPS) == ({}, ["ticket.t"])


async def test_fresh_tickets() -> None:
    tickets = iter(["one", "two"])

    async def fresh() -> str:
        return next(tickets)

    identity = await renewed(ticket=fresh)
    assert identity.renewable
    assert identity.reading() == {"Authorization": "Bearer one"}
    await identity.renew()
    assert identity.reading() == {"Authorization": "Bearer two"}
    assert identity.generation == 2


async def test_the_whole_answer_says_until_when() -> None:
    expires = (datetime.now(UTC) + timedelta(seconds=300)).isoformat()
    identity = await renewed(ticket=lambda: {"ticket": "t", "expires_at": expires})
    assert identity.ticket == "t"
    assert identity.expires_in == pytest.approx(300, abs=2)
    with pytest.raises(LiveError, match="no ticket"):
        await renewed(ticket=lambda: {"token": "t"})


async def test_no_ticket_to_be_had() -> None:
    def none() -> str:
        raise RuntimeError("the key is lost")

    with pytest.raises(LiveError, match="the key is lost") as failed:
        await renewed(ticket=none)
    assert failed.value.temporary


def test_one_of_them() -> None:
    with pytest.raises(ValueError, match="not both"):
        Identity(session={}, ticket="t")


@pytest.mark.parametrize(
    ("url", "http", "ws", "origin"),
    [
        ("http://a:80", "http://a:80", "ws://a:80", "http://a:80"),
        ("https://a/", "https://a", "wss://a", "https://a"),
        ("wss://a/below/", "https://a/below", "wss://a/below", "https://a"),
    ],
)
def test_addresses(url: str, http: str, ws: str, origin: str) -> None:
    address = Address(url)
    assert (address.http, address.ws, address.origin) == (http, ws, origin)


@pytest.mark.parametrize("url", ["somewhere", "ftp://a", "http://", "http://a?b", "http://a#b"])
def test_no_addresses(url: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        Address(url)


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="WebSocket alone"):
        connect(HTTP, transport="sse", format="msgpack")


def test_it_needs_no_django() -> None:
    program = "import sys, rooms.client; sys.exit(any(name.partition('.')[0] == 'django' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={}).returncode == 0

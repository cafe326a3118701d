"""Who is let in, and what one is told first."""

from __future__ import annotations

import json
import re
from contextlib import closing

import pytest

from tests.support.cells import MAX_ROOMS, Cell, Links
from tests.support.client import log_in
from tests.support.live_clients import Caller, LiveClient, TurnedAway

EVIL = "http://evil.example"


async def test_hello_says_who_and_on_which_terms(links: Links, cell: Cell, kind: type[LiveClient]) -> None:
    client = await links.open("bob")
    assert client.hello == {
        "protocol": 1,
        "connection": client.hello["connection"],
        "user": {"id": cell.user("bob"), "name": "Bob Baker"},
        "transport": kind.transport,
        "heartbeat_s": client.hello["heartbeat_s"],
        "window": 256 if kind.transport == "ws" else None,
        "max_frame_bytes": 65536,
        "max_rooms": MAX_ROOMS,
        "limits": {},  # they are off here
        "time": client.hello["time"],
    }
    assert isinstance(client.hello["connection"], str)
    assert client.hello["connection"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", client.hello["time"])


async def test_each_connection_has_a_name_of_its_own(links: Links) -> None:
    one, other = await links.open("bob"), await links.open("bob")
    assert one.hello["connection"] != other.hello["connection"]


async def test_a_ticket_is_as_good_as_a_session(links: Links, cell: Cell, room: str) -> None:
    client = await links.open(Caller(ticket=cell.ticket("bob")), {room: None})
    assert client.hello["user"]["id"] == cell.user("bob")
    assert (await client.ask("chat.send", {"text": "by ticket"}, room))[0] == "live.ok"
    await client.until(lambda: client.texts(room) == ["by ticket"])


async def test_with_a_ticket_cookies_and_origins_do_not_count(links: Links, cell: Cell, room: str) -> None:
    alice = cell.caller("alice")
    for session, csrf in ((alice.session, alice.csrf), ("nonsense", None)):
        caller = Caller(session, csrf, cell.ticket("bob")).saying(Origin=EVIL, Sec_Fetch_Site="cross-site")
        client = await links.open(caller, {room: None})
        assert client.hello["user"]["id"] == cell.user("bob")
        assert (await client.ask("chat.send", {"text": "as bob"}, room))[0] == "live.ok"


async def test_a_bad_ticket_is_not_made_good_by_cookies(links: Links, cell: Cell) -> None:
    alice, ticket = cell.caller("alice"), cell.ticket("bob")
    forged = ticket[:-1] + ("A" if ticket[-1] != "A" else "B")
    for bad in (forged, "nonsense", f"{ticket}x"):
        for session, csrf in ((None, None), (alice.session, alice.csrf)):
            with pytest.raises(TurnedAway) as refused:
                await links.open(Caller(session, csrf, bad))
            assert refused.value.code == "unauthenticated"


async def test_a_ticket_is_never_told_again(links: Links, cell: Cell, room: str) -> None:
    ticket = cell.ticket("bob")
    client = await links.open(Caller(ticket=ticket), {room: None})
    await client.ask("chat.send", {"text": "hi"}, room)
    await client.until(lambda: client.texts(room))
    assert ticket not in json.dumps(client.vectors)


async def test_without_a_login_one_is_turned_away(links: Links, hasty: Cell) -> None:
    for nobody in (Caller(), Caller(session="nonsense")):
        with pytest.raises(TurnedAway) as refused:
            await links.open(nobody, {"acme/lobby": None}, on=hasty.near)
        assert refused.value.code == "unauthenticated"
        assert refused.value.status in (401, 4501)


async def test_without_a_login_one_reads_public_rooms_where_the_site_allows_it(
    links: Links, cell: Cell, room: str
) -> None:
    public = cell.room(visibility="public")
    client = await links.open(Caller(), [(public, None), (room, None)])
    assert client.hello["user"] is None
    assert (client.verdict(public), client.verdict(room)) == ("live", "not_found")
    assert client.joins[public][1]["can"] == ["read"]
    cell.say("alice", public, "for everybody")
    await client.until(lambda: client.texts(public) == ["for everybody"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://127.0.0.1:1"},
    ],
    ids=lambda headers: headers["Origin"],
)
async def test_a_page_of_another_site_is_turned_away(links: Links, cell: Cell, headers: dict[str, str]) -> None:
    with pytest.raises(TurnedAway) as refused:
        await links.open(cell.caller("alice", **headers))
    assert refused.value.code == "forbidden"
    assert refused.value.status in (403, 4503)


async def test_a_session_that_was_logged_out_is_nobodys(links: Links, hasty: Cell) -> None:
    with closing(log_in(hasty.near.url, "bob")) as browser:
        caller = Caller.browser(browser)
        await links.open(caller, on=hasty.near)
        assert browser.post("/accounts/logout/", data={}).status_code == 302
    with pytest.raises(TurnedAway) as refused:
        await links.open(caller, on=hasty.near)
    assert refused.value.code == "unauthenticated"

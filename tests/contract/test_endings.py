"""How a subscription and a connection end: the reader is told, and hears nothing of the room afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.support.cells import Cell, Links, path
from tests.support.client import log_in
from tests.support.live_clients import Caller, LiveClient


async def left(client: Any, room: str, code: str) -> None:
    """Listen until the room was left, for this reason. When it ended between two polls, the next is refused it."""

    def end() -> Any:
        told = [vector for vector in client.of(room) if vector[0] == "live.left"]
        return told or [answer for answer in [client.answers.get(room)] if answer and answer[0] == "live.error"]

    await client.until(end)
    name, data, _ = end()[0]
    if name == "live.left":
        assert data["code"] == code
        assert data.keys() == {"code", "reason"}
    else:
        assert client.transport == "poll"
        assert data["code"] == ("forbidden" if code == "archived" else "not_found")
    assert room not in client.cursors()


def set_part(cell: Cell, room: str, name: str, role: str) -> None:
    answer = cell.rest("alice").put(path(room, f"members/{cell.user(name)}/"), json={"role": role})
    assert answer.status_code == 200, answer.text


def end_part(cell: Cell, room: str, name: str) -> None:
    assert cell.rest("alice").delete(path(room, f"members/{cell.user(name)}/")).status_code == 204


@pytest.mark.parametrize("how", ["part ended", "banned"])
async def test_who_loses_the_right_to_read_is_out(links: Links, cell: Cell, how: str) -> None:
    private, other = cell.room(visibility="private"), cell.room()
    set_part(cell, private, "bob", "listener")
    client = await links.open("bob", {private: None, other: None})
    cell.say("alice", private, "bob may know this")
    await client.hears(private, "bob may know this")
    if how == "banned":
        set_part(cell, private, "bob", "banned")
    else:
        end_part(cell, private, "bob")
    cell.say("alice", private, "bob is not to know this")
    await left(client, private, "revoked")
    cell.say("alice", private, "nor this")
    cell.say("alice", other, "as before")
    await client.hears(other, "as before")
    assert client.texts(private) == ["bob may know this"]
    again = await links.open("bob", {private: None})
    assert again.verdict(private) == "not_found"


async def test_who_leaves_the_tenant_is_out_of_all_its_rooms(links: Links, cell: Cell, room: str) -> None:
    dave, alice = cell.user("dave"), cell.rest("alice")
    client = await links.open("dave", {room: None, "acme/~all": None, "acme/~me": None, "globex/general": None})
    try:
        assert alice.delete(f"/api/tenants/acme/members/{dave}/").status_code == 204
        for there in (room, "acme/~all", "acme/~me"):
            await left(client, there, "revoked")
        cell.say("carol", "globex/general", "dave is still here")
        await client.hears("globex/general", "dave is still here")
    finally:
        assert alice.put(f"/api/tenants/acme/members/{dave}/", json={"role": "member"}).status_code == 200


async def test_an_archived_room_is_left_by_all(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    assert cell.rest("alice").patch(path(room), json={"archived": True}).status_code == 200
    await left(client, room, "archived")


async def test_a_suspended_tenant_is_left_by_all(links: Links, cell: Cell, room: str) -> None:
    suspend: Callable[[bool], None] = lambda active: cell.sql(  # noqa: E731
        "UPDATE rooms_tenant SET active = ? WHERE slug = 'globex'", active
    )
    client = await links.open("dave", {"globex/general": None, room: None})
    try:
        suspend(False)
        await left(client, "globex/general", "tenant_suspended")
        cell.say("alice", room, "elsewhere")
        await client.hears(room, "elsewhere")
    finally:
        suspend(True)


async def test_less_than_the_right_to_read_ends_nothing(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    set_part(cell, room, "bob", "listener")
    assert (await client.ask("chat.send", {"text": "x"}, room))[1]["code"] == "forbidden"
    cell.say("alice", room, "still heard")
    await client.hears(room, "still heard")


async def test_a_history_that_breaks_is_told(links: Links, cell: Cell, room: str) -> None:
    """A database that was restored: another epoch, under a reader."""
    client = await links.open("bob", {room: None})
    cell.say("alice", room, "old times")
    await client.hears(room, "old times")
    epoch, log = "0123456789abcdef", "room_id = (SELECT id FROM rooms_room WHERE slug = ?)"
    cell.sql(f"UPDATE rooms_roomlog SET epoch = ? WHERE {log}", epoch, room.partition("/")[2])
    # A poll is answered as a join is.
    await client.until(lambda: client.of(room)[-1][0] == "live.reset" or "reset" in str(client.answers.get(room)))
    assert client.cursors()[room] == f"{epoch}:{cell.cursor(room).partition(':')[2]}"
    cell.say("alice", room, "new times")
    await client.hears(room, "new times")


async def test_who_logs_out_is_out(links: Links, hasty: Cell) -> None:
    """Where nobody reads without a login: elsewhere a poll goes on as nobody's."""
    room = hasty.room()
    with closing(log_in(hasty.near.url, "bob")) as browser:
        client = await links.open(Caller.browser(browser), {room: None}, on=hasty.near)
        hasty.say("alice", room, "bob is here")
        await client.hears(room, "bob is here")
        assert browser.post("/accounts/logout/", data={}).status_code == 302
    hasty.say("alice", room, "bob has left")
    assert await client.ended() == 4501
    assert client.texts(room) == ["bob is here"]


async def test_an_account_that_is_closed_is_out(links: Links, cell: Cell, hasty: Cell, kind: type[LiveClient]) -> None:
    site = hasty if kind.transport == "poll" else cell  # not where one that is in no room is idle at once
    client = await links.open(site.caller("dave"), {site.room(): None}, on=site.near)
    try:
        site.sql("UPDATE auth_user SET is_active = ? WHERE username = 'dave'", False)
        assert await client.ended() == 4501
    finally:
        site.sql("UPDATE auth_user SET is_active = ? WHERE username = 'dave'", True)


async def test_a_ticket_that_is_over_ends_the_connection(links: Links, hasty: Cell) -> None:
    room = hasty.room()
    client = await links.open(Caller(ticket=hasty.ticket("bob")), {room: None}, on=hasty.near)
    assert await client.ended() == 4501

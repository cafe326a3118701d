"""Who is here, on every transport: the state at the join, the differences after it."""

from __future__ import annotations

import re
from typing import Any

from tests.support.cells import Cell, Links
from tests.support.live_clients import LiveClient


def here(client: LiveClient, room: str) -> dict[str, Any] | None:
    """The people of a room by id as the client knows them, by the rules of docs/protocol.md; None without a state."""
    people: dict[str, Any] | None = None
    for name, data, meta in client.presence:
        if meta["room"] != room:
            continue
        if name == "presence.state":
            people = {person["user"]["id"]: person for person in data["people"]}
            assert data["count"] == len(people)
        elif name == "presence.diff" and people is not None:
            people |= {person["user"]["id"]: person for person in (*data["joined"], *data["changed"])}
            people = {id: person for id, person in people.items() if id not in {p["user"]["id"] for p in data["left"]}}
            assert data["count"] == len(people)
    return people


def names(client: LiveClient, room: str) -> list[str]:
    return sorted(person["user"]["name"] for person in (here(client, room) or {}).values())


def status(client: LiveClient, room: str, user: str) -> tuple[str, str] | None:
    person = (here(client, room) or {}).get(user)
    return person and (person["status"], person["text"])


async def test_who_joins_is_told_who_is_here_and_is_one_of_them(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    await client.until(lambda: client.presence)
    [[name, data, meta]] = client.presence
    assert name == "presence.state"
    assert meta.keys() == {"room", "at", "by"}
    [person] = data["people"]
    assert person["user"] == {"id": cell.user("bob"), "name": "Bob Baker"}
    assert (person["status"], person["text"]) == ("active", "")
    assert [meta["transport"] for meta in person["metas"]] == [client.transport]


async def test_comings_and_goings_are_told_to_who_is_here(links: Links, cell: Cell, room: str) -> None:
    alice = await links.open("alice", {room: None})
    await alice.until(lambda: names(alice, room) == ["Alice Archer"])
    bob = await links.open("bob", {room: None}, on=cell.far)
    await alice.until(lambda: names(alice, room) == ["Alice Archer", "Bob Baker"])
    await bob.until(lambda: names(bob, room) == ["Alice Archer", "Bob Baker"])
    await bob.drop()
    await alice.until(lambda: names(alice, room) == ["Alice Archer"])
    if alice.transport != "poll":  # there what changed between two polls is told as a whole
        assert [name for name, _, _ in alice.presence].count("presence.state") == 1


async def test_a_status_is_told(links: Links, cell: Cell, room: str) -> None:
    alice, bob = await links.open("alice", {room: None}), await links.open("bob", {room: None})
    await bob.until(lambda: len(here(bob, room) or ()) == 2)
    await bob.send(["presence.set", {"status": "busy", "text": "lunch"}, {"room": room}])
    for client in (alice, bob):
        await client.until(lambda heard=client: status(heard, room, cell.user("bob")) == ("busy", "lunch"))


async def test_an_administrator_ends_connections_and_the_room_is_told(links: Links, cell: Cell, room: str) -> None:
    alice = await links.open("alice", {cell.room(): None, room: None})
    bob = await links.open("bob", {room: None}, on=cell.far)
    await alice.until(lambda: names(alice, room) == ["Alice Archer", "Bob Baker"])
    end_connections(cell, of="bob", room=room)
    assert await bob.ended() == 4440
    assert bob.bye == {"code": 4440, "reason": "disconnected by an administrator"}
    await alice.until(lambda: names(alice, room) == ["Alice Archer"])
    again = await links.resume(bob)
    await alice.until(lambda: names(alice, room) == ["Alice Archer", "Bob Baker"])
    assert again.bye is None


def end_connections(cell: Cell, *, of: str, room: str) -> None:
    """On the page where an administrator sees them."""
    admin = cell.rest("admin")
    found = admin.get("/admin/rooms/room/", params={"q": room.partition("/")[2]}).text
    [key] = re.findall(rf'href="/admin/rooms/room/([\w-]+)/[^>]*>{room}<', found)
    page = f"/admin/presence/connection/?room={key}&q={of}"
    shown = re.findall(r'name="_selected_action" value="([\w-]+)"', admin.get(page).text)
    assert len(shown) == 1
    data = {"action": "disconnect", "_selected_action": shown}
    assert "1 connection is being ended." in admin.post(page, data=data, follow_redirects=True).text


async def test_who_only_looks_in_is_not_here(links: Links, cell: Cell, room: str) -> None:
    bob = await links.open("bob", {room: None})
    await bob.until(lambda: names(bob, room) == ["Bob Baker"])
    alice = await links.open("alice", {room: None}, absent={room})
    await alice.until(lambda: names(alice, room) == ["Bob Baker"])
    dave = await links.open("dave", {room: None})
    for client in (alice, bob, dave):
        await client.until(lambda heard=client: names(heard, room) == ["Bob Baker", "Dave Dyer"])

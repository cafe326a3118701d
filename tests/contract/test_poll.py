"""What is special to long-poll: the cursor is the only acknowledgement, and `wait` how long the server may think."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.cells import Cell, Links
from tests.support.live_clients import LiveClient, Poll, cursors


@pytest.fixture
def kind() -> type[LiveClient]:
    return Poll


async def test_a_poll_with_a_room_without_a_cursor_answers_at_once(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob")
    started = time.monotonic()
    frame = await client.poll(25, room)
    assert time.monotonic() - started < 15
    assert [vector[0] for vector in frame] == ["live.ok", "presence.state"]  # one that goes on is not greeted again
    assert frame[0][2]["re"] == room
    other = cell.room()
    frame = await client.poll(25, client.cursor, other)
    assert time.monotonic() - started < 15
    assert [vector[2]["re"] for vector in frame if vector[0] == "live.ok"] == [other]
    assert cursors(client.cursor).keys() == {room, other}


async def test_a_room_that_is_asked_for_anew_tells_anew_who_is_here(links: Links, cell: Cell, room: str) -> None:
    """Another tab on the same connection has opened it: that one knows nothing yet."""
    client = await links.open("bob", {room: None})
    await client.until(lambda: client.presence)
    assert await client.poll(0) == []
    assert "presence.state" in [name for name, *_ in await client.poll(0, room)]


async def test_without_news_a_poll_is_answered_with_nothing_after_its_wait(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    before = client.cursor
    started = time.monotonic()
    assert await client.poll(wait=1) == []
    assert 0.9 <= time.monotonic() - started < 15
    assert client.cursor == before


async def test_a_poll_that_waits_is_answered_when_something_comes(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    started = time.monotonic()
    waiting = asyncio.create_task(client.poll(wait=25))
    await asyncio.to_thread(cell.say, "alice", room, "news")
    frame = await waiting
    assert time.monotonic() - started < 15
    assert [vector[0] for vector in frame] == ["chat.message"]
    assert cursors(client.cursor)[room] == cell.cursor(room)


async def test_what_comes_between_two_polls_comes_with_the_next(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    cell.say("alice", room, "one", "two", "three")
    frame = await client.poll(wait=25)
    assert client.texts(room)[: len(frame)] == ["one", "two", "three"][: len(frame)]
    await client.hears(room, "three")
    assert client.texts(room) == ["one", "two", "three"]


async def test_the_cursor_is_the_only_acknowledgement(links: Links, cell: Cell, room: str) -> None:
    """A lost answer is asked for again, here or there: nothing was freed when it was given."""
    client = await links.open("bob", {room: None})
    before = client.cursor
    cell.say("alice", room, "one", "two")
    await client.hears(room, "two")
    for node in cell.site.nodes * 2:
        again = await links.open("bob", cursors(before), on=node)
        await again.hears(room, "two")
        assert again.of(room) == client.of(room)
        assert again.cursor == client.cursor


async def test_a_poll_that_is_cut_off_frees_nothing(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    for number in range(3):
        await client.drop()
        cell.say("alice", room, str(number))
    await client.hears(room, "2")
    assert client.texts(room) == ["0", "1", "2"]


async def test_hello_comes_with_a_poll_that_continues_nothing(links: Links, cell: Cell, room: str) -> None:
    cursor = cell.cursor(room)
    assert (await links.open("bob", {room: None})).hello
    assert not (await links.open("bob", {room: cursor})).hello


async def test_refused_rooms_are_not_in_the_cursor(links: Links, cell: Cell, room: str) -> None:
    private = cell.room(visibility="private")
    for cursor in (None, cell.cursor(private)):
        client = await links.open("bob", {room: None, private: cursor, "acme/no-such-room": None})
        assert cursors(client.cursor).keys() == {room}
        assert client.verdict(private) == client.verdict("acme/no-such-room") == "not_found"


async def test_a_room_that_goes_on_is_not_answered_and_one_that_cannot_is(links: Links, cell: Cell, room: str) -> None:
    other = cell.room()
    cursor = cell.cursor(room)
    client = await links.open("bob", {room: cursor, other: f"{'0' * 16}:1"})
    assert client.joins.keys() == {other}
    assert client.verdict(other) == "reset"
    assert cursors(client.cursor) == {room: cursor, other: cell.cursor(other)}


async def test_the_connections_name_proves_nothing(links: Links, cell: Cell, room: str) -> None:
    alice = await links.open("alice", {room: None})
    bob = await links.open("bob", {room: None})
    bob.hello["connection"] = alice.hello["connection"]
    cell.say("alice", room, "for both")
    await bob.hears(room, "for both")
    assert (await bob.ask("chat.send", {"text": "by bob"}, room))[0] == "live.ok"
    await alice.hears(room, "by bob")
    assert alice.of(room)[-1][2]["by"] == cell.user("bob")


@pytest.mark.parametrize("wait", ["0", "26", "-1", "nonsense", "1e9", "nan"])
async def test_a_wait_that_is_none_is_refused_or_bounded(links: Links, cell: Cell, room: str, wait: str) -> None:
    client = await links.open("bob", {room: None})
    before = client.cursor
    cell.say("alice", room, "news")
    query = [("room", before), ("wait", wait)]
    url = f"{cell.near.url}/live/poll"
    answer = await client.http.get(url, params=query, headers=client.who.reading())
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert answer.json()["code"] == "bad_data"


async def test_answers_are_kept_by_nobody(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    answer = await client.http.send(client._get(0))
    assert answer.headers["content-type"] == "application/json"
    assert "no-store" in answer.headers["cache-control"]
    assert "access-control-allow-origin" not in answer.headers

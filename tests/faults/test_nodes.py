"""Two nodes on one database and a real Valkey, which is taken away; and a node that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest

from tests.support.client import Live, log_in
from tests.support.sites import Site

GENERAL = "acme/general"
EVENTS = "/api/tenants/acme/rooms/general/events/"


@pytest.fixture
def site(live_site: Callable[..., Site]) -> Site:
    return live_site(nodes=2, demo=True)


@pytest.fixture
def alice(site: Site) -> Iterator[httpx.Client]:
    with closing(log_in(site.url, "alice")) as client:
        yield client


def history(alice: httpx.Client, cursor: str) -> list[object]:
    """The log after this cursor, as REST has it."""
    answer = alice.get(EVENTS, params={"after": cursor.split(":")[1], "limit": 1000})
    return list(answer.json()["events"])


async def talk(speaker: Live, start: int, lines: int) -> None:
    for number in range(start, start + lines):
        name, answer, _ = await speaker.ask("chat.send", {"text": f"line {number}"}, GENERAL)
        assert name == "live.ok", answer


async def test_rooms_stay_live_on_every_node_without_valkey_and_after_it_came_back(
    site: Site, alice: httpx.Client
) -> None:
    speakers = [await Live.open(node.ws_url, alice) for node in site.nodes]
    readers = [await Live.open(node.ws_url, alice) for node in site.nodes]
    cursors = [(await reader.join(GENERAL))["cursor"] for reader in readers]
    assert cursors[0] == cursors[1]
    await asyncio.gather(*(talk(speaker, 100 * n, 20) for n, speaker in enumerate(speakers)))
    assert site.valkey is not None
    await asyncio.to_thread(site.valkey.stop)
    await asyncio.gather(*(talk(speaker, 100 * n + 20, 20) for n, speaker in enumerate(speakers)))
    await asyncio.to_thread(site.valkey.start)
    await asyncio.gather(*(talk(speaker, 100 * n + 40, 20) for n, speaker in enumerate(speakers)))
    truth = history(alice, cursors[0])
    assert len(truth) == 120
    for reader in readers:
        await reader.until(lambda reader=reader: len(reader.events) >= len(truth))
        assert reader.events == truth
    for live in speakers + readers:
        await live.socket.close()


async def test_a_reader_of_a_killed_node_goes_on_at_another_one_where_it_was(site: Site, alice: httpx.Client) -> None:
    speaker = await Live.open(site.nodes[0].ws_url, alice)
    reader = await Live.open(site.nodes[1].ws_url, alice)
    start = (await reader.join(GENERAL))["cursor"]
    await talk(speaker, 0, 10)
    await reader.until(lambda: len(reader.events) >= 5)
    await asyncio.to_thread(site.kill, 1)
    assert await reader.closed() == 1006
    await talk(speaker, 10, 10)
    again = await Live.open(site.nodes[0].ws_url, alice)
    answer = await again.join(GENERAL, cursor=f"{start.split(':')[0]}:{reader.events[-1][2]['seq']}")
    assert answer["verdict"] == "resumed"
    await talk(speaker, 20, 10)
    truth = history(alice, start)
    await again.until(lambda: len(reader.events) + len(again.events) >= len(truth))
    assert reader.events + again.events == truth
    await asyncio.to_thread(site.nodes[1].start)
    third = await Live.open(site.nodes[1].ws_url, alice)
    await third.join(GENERAL, cursor=start)
    await third.until(lambda: len(third.events) >= len(truth))
    assert third.events == truth
    for live in (speaker, again, third):
        await live.socket.close()


async def test_a_node_that_was_frozen_when_a_right_ended_says_nothing_more_when_it_wakes(
    site: Site, alice: httpx.Client
) -> None:
    with closing(log_in(site.url, "bob")) as client:
        bob = await Live.open(site.nodes[1].ws_url, client)
        own = client.get("/api/tenants/acme/members/").json()["results"]
    await bob.join(GENERAL)
    speaker = await Live.open(site.nodes[0].ws_url, alice)
    await talk(speaker, 0, 1)
    await bob.until(lambda: len(bob.events) == 1)
    os.kill(site.nodes[1].pid, signal.SIGSTOP)
    try:
        [id] = [member["user"]["id"] for member in own if member["user"]["name"].startswith("Bob")]
        assert alice.delete(f"/api/tenants/acme/members/{id}/").status_code == 204
        await talk(speaker, 1, 5)
    finally:
        os.kill(site.nodes[1].pid, signal.SIGCONT)
    await bob.until(lambda: bob.events[-1][0] == "live.left")
    assert [name for name, *_ in bob.events] == ["chat.message", "live.left"]
    for live in (bob, speaker):
        await live.socket.close()

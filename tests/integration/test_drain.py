"""`manage.py serve` on SIGTERM: everybody is told when to come back, and what was begun is finished."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import websockets
from psycopg.sql import SQL, Identifier

from rooms.conf import config
from rooms.contract import Refused
from rooms.management.commands.serve import listen
from rooms.management.server import ENDS, GRACE
from rooms.node import draining
from rooms.node.admission import admit
from rooms.node.draining import GOODBYE
from rooms.node.hub import Hub
from tests.support.backends import BACKEND
from tests.support.cells import metric
from tests.support.client import log_in, new_id
from tests.support.live_clients import TRANSPORTS, Caller, LiveClient, Poll, Socket, Stream, TurnedAway
from tests.support.sites import Node, Site

GENERAL = "acme/general"
EVENTS = "/api/tenants/acme/rooms/general/events/"
ENOUGH = 60  # seconds until a test fails
BOUND = GRACE + ENDS + 5  # seconds that a node takes at most, whatever its clients do; on a busy machine

LiveSite = Callable[..., Site]


@pytest.fixture
def site(live_site: LiveSite) -> Site:
    return live_site(demo=True, env={"ROOMS_LIMITS": "off"})


@pytest.fixture
def alice(site: Site) -> Iterator[httpx.Client]:
    with closing(log_in(site.url, "alice")) as client:
        yield client


Connect = Callable[..., Awaitable[Any]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Clients of this test, closed at its end: ``await connect(Socket, node, caller, rooms)``."""
    async with AsyncExitStack() as stack:

        async def connect(kind: type[LiveClient], *args: Any) -> LiveClient:
            client = await kind.connect(*args)
            stack.push_async_callback(client.close)
            return client

        yield connect


async def connected(node: Node, count: int) -> None:
    """Return when the node holds so many connections: a poll is one while it waits."""
    async with asyncio.timeout(ENOUGH):
        while await asyncio.to_thread(metric, node, "rooms_connections") != count:
            await asyncio.sleep(0.02)


async def ending(client: LiveClient) -> float:
    """Listen to the end, gives the time of it."""
    assert await client.ended() == 4412, client.bye
    return time.monotonic()


async def test_everybody_is_told_and_goes_on_where_they_were(site: Site, alice: httpx.Client, connect: Connect) -> None:
    node, caller = site.nodes[0], Caller.browser(alice)
    clients: list[LiveClient] = [
        await connect(kind, node, caller, {GENERAL: None}) for kind in TRANSPORTS for _ in range(5)
    ]
    before = [client.cursors() for client in clients]
    listening = [asyncio.create_task(ending(client)) for client in clients]
    await connected(node, len(clients))
    began = time.monotonic()
    assert await asyncio.to_thread(node.stop) == 0
    stopped = time.monotonic()
    ended = await asyncio.gather(*listening)
    assert max(ended) - began < GOODBYE
    assert stopped - began < BOUND
    assert "Traceback" not in node.tail(200)

    for client in clients:
        assert client.bye is not None
        assert client.bye["code"] == 4412
        assert client.vectors[-1][0] == "live.bye"
        assert 0 <= client.bye["retry_after_ms"] <= 1000
    assert len({client.bye["retry_after_ms"] for client in clients if client.bye}) > 5
    assert all(client.socket.close_code == 4412 for client in clients if isinstance(client, Socket))
    assert all(client.cursor for client in clients if isinstance(client, Poll))
    assert all(GENERAL in client.last_id for client in clients if isinstance(client, Stream))
    assert [client.cursors() for client in clients] == before

    await asyncio.to_thread(node.start)
    returned = [await connect(type(client), node, caller, client.cursors()) for client in clients]
    assert {client.verdict(GENERAL) for client in returned} == {"resumed"}
    alice.post("/api/tenants/acme/rooms/general/messages/", json={"text": "here again"})
    await asyncio.gather(*(client.hears(GENERAL, "here again") for client in returned))


async def test_what_was_answered_is_done_and_what_was_not_can_be_said_again(
    site: Site, alice: httpx.Client, connect: Connect
) -> None:
    node, caller = site.nodes[0], Caller.browser(alice)
    said: dict[str, str] = {}
    answered: dict[str, Any] = {}
    enough = asyncio.Event()

    def command(client: LiveClient) -> list[Any]:
        id = new_id()
        said[id] = f"{client.transport} {len(said)}"
        return ["chat.send", {"text": said[id]}, {"room": GENERAL, "id": id}]

    async def by_socket(client: LiveClient) -> None:
        """Always twenty on their way."""
        told = 0
        await client.send(*(command(client) for _ in range(20)))
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await client.until(lambda told=told: len(client.answers) > told)
                news, told = len(client.answers) - told, len(client.answers)
                if told > 100:
                    enough.set()
                await client.send(*(command(client) for _ in range(news)))

    async def by_post(client: LiveClient) -> None:
        with contextlib.suppress(httpx.TransportError):
            while not client.errors:
                await client.send(*(command(client) for _ in range(5)))

    kinds: tuple[tuple[type[LiveClient], Callable[[LiveClient], Awaitable[None]]], ...]
    kinds = ((Socket, by_socket), (Stream, by_post), (Poll, by_post))
    clients = [(await connect(kind, node, caller), speak) for kind, speak in kinds for _ in range(2)]
    speaking = [asyncio.create_task(speak(client)) for client, speak in clients]
    async with asyncio.timeout(ENOUGH):
        await enough.wait()
    assert await asyncio.to_thread(node.stop) == 0
    await asyncio.gather(*speaking)
    for client, _ in clients:
        answered |= {id: data for id, (name, data, _) in client.answers.items() if name == "live.ok" and id in said}
    assert len(said) > len(answered) > 100

    await asyncio.to_thread(node.start)
    first = await history(alice)
    texts = [data["message"]["text"] for data in first.values()]
    assert len(set(texts)) == len(texts)
    assert {said[id] for id in answered} <= set(texts)
    again = await connect(Socket, node, caller)
    unanswered = [id for id in said if id not in answered]
    for id in [*unanswered, *list(answered)[::10]]:
        name, data, _ = await again.ask("chat.send", {"text": said[id]}, GENERAL, id=id)
        assert name == "live.ok"
        assert data == answered.get(id, data)
        answered[id] = data
    log = await history(alice)
    assert sorted(data["message"]["text"] for data in log.values()) == sorted(said.values())
    assert {log[data["seq"]]["message"]["id"]: said[id] for id, data in answered.items()} == {
        data["message"]["id"]: data["message"]["text"] for data in log.values()
    }


async def history(alice: httpx.Client) -> dict[int, Any]:
    """The messages in the log, by ``seq``."""
    found: dict[int, Any] = {}
    after = 0
    while True:
        answer = (await asyncio.to_thread(alice.get, EVENTS, params={"after": after, "limit": 1000})).json()
        if not answer["events"]:
            return found
        after = answer["events"][-1][2]["seq"]
        found |= {meta["seq"]: data for name, data, meta in answer["events"] if name == "chat.message"}


async def test_each_worker_drains(live_site: LiveSite, connect: Connect) -> None:
    site = live_site(workers=2, layer="valkey", demo=True, env={"ROOMS_LIMITS": "off"})
    node = site.nodes[0]
    with closing(log_in(site.url, "alice")) as alice:
        caller = Caller.browser(alice)
        clients: list[LiveClient] = [
            await connect(kind, node, caller, {GENERAL: None}) for kind in TRANSPORTS for _ in range(6)
        ]
        listening = [asyncio.create_task(ending(client)) for client in clients]
        await asyncio.to_thread(
            alice.post, "/api/tenants/acme/rooms/general/messages/", json={"text": "polls wait on after this"}
        )
        async with asyncio.timeout(ENOUGH):
            while not all("polls wait on after this" in client.texts(GENERAL) for client in clients):
                await asyncio.sleep(0.02)
        assert await asyncio.to_thread(node.stop) == 0
        await asyncio.gather(*listening)
        assert len({client.bye["retry_after_ms"] for client in clients if client.bye}) > 5
        assert "Traceback" not in node.tail(300)
        await asyncio.to_thread(node.start)
        returned = [await connect(type(client), node, caller, client.cursors()) for client in clients]
        assert {client.verdict(GENERAL) for client in returned} == {"resumed"}


@pytest.mark.parametrize("transport", ["ws", "sse"])
async def test_it_does_not_wait_for_a_client_that_does_not_read(
    site: Site, alice: httpx.Client, connect: Connect, transport: str
) -> None:
    node, caller = site.nodes[0], Caller.browser(alice)
    deaf = socket.create_connection((urlsplit(node.url).hostname, node.port))
    with closing(deaf):
        deaf.sendall(opening(node, caller, transport))
        await connected(node, 1)
        if transport == "ws":
            deaf.sendall(masked(json.dumps([["live.join", {}, {"room": GENERAL, "id": new_id()}]]).encode()))
        async with asyncio.timeout(ENOUGH):
            while await asyncio.to_thread(metric, node, "rooms_joins_total") < 1:
                await asyncio.sleep(0.02)
        speaker = await connect(Socket, node, caller)
        for _ in range(300):  # 7 MB, more than the kernel takes for somebody
            await speaker.send(["chat.send", {"text": "\u6f22" * 8000}, {"room": GENERAL, "id": new_id()}])
        await speaker.until(lambda: len(speaker.answers) == 300)
        assert await asyncio.to_thread(metric, node, "rooms_deliveries_total") < 300
        listening = asyncio.create_task(ending(speaker))
        began = time.monotonic()
        assert await asyncio.to_thread(node.stop) == 0
        assert time.monotonic() - began < BOUND
        assert await listening - began < GOODBYE


def opening(node: Node, caller: Caller, transport: str) -> bytes:
    if transport == "ws":
        path = "/live/ws"
        headers = {
            **caller.dialling(node.ws_url),
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Protocol": "live.v1",
        }
    else:
        path, headers = f"/live/stream?room={GENERAL}", caller.reading()
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{node.port}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def masked(text: bytes) -> bytes:
    """A client's text frame of less than 126 bytes, masked with zeros."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
def test_a_peer_that_vanished_does_not_hold_its_socket() -> None:
    with closing(listen("127.0.0.1", 0)) as listener, closing(socket.create_connection(listener.getsockname())):
        accepted, _ = listener.accept()
        with closing(accepted):
            timeout = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert timeout == config().stall_timeout * 1000


async def test_who_comes_while_it_drains_is_sent_on(site: Site, alice: httpx.Client, connect: Connect) -> None:
    """A keep-alive connection outlives the listening socket: a poll that goes on is told what one is told that waits,
    other requests are refused.
    """
    node, caller = site.nodes[0], Caller.browser(alice)
    poll = await connect(Poll, node, caller, {GENERAL: None})
    before = poll.cursors()
    deaf = socket.create_connection((urlsplit(node.url).hostname, node.port))
    with closing(deaf):  # keeps the node draining for as long as a goodbye may take
        deaf.sendall(opening(node, caller, "ws"))
        await connected(node, 1)
        stopping = asyncio.create_task(asyncio.to_thread(node.stop))
        with contextlib.suppress(httpx.TransportError):
            while poll.bye is None:
                await poll.poll(0)
        assert poll.bye is not None
        assert poll.bye["code"] == 4412
        assert poll.bye["retry_after_ms"] >= 0
        assert poll.cursors() == before
        answer = await poll.http.get(f"{node.url}/live/poll?room={GENERAL}", headers=caller.reading())
        assert answer.status_code == 503
        said = answer.json()
        assert said["code"] == "unavailable"
        assert said["temporary"] is True
        assert said["retry_after_ms"] >= 0
    await stopping


@pytest.fixture
async def leaving() -> AsyncIterator[Hub]:
    """A node that nobody is connected to; it is about to leave."""
    hub = Hub()
    yield hub
    await hub.stop()


@pytest.mark.any_backend
async def test_it_stays_for_polls_that_are_between_two_turns(leaving: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "TURN", 0.3)
    with leaving.seats.take("1", "203.0.113.1", lingers=5):
        pass  # its poll is answered
    began = leaving.loop.time()
    await draining.drain(leaving)
    assert leaving.loop.time() - began > 0.25
    with pytest.raises(Refused) as refused:
        await admit(leaving, [], ticket=None, is_own=lambda: True)
    assert refused.value.code == "unavailable"
    assert refused.value.retry_after_ms is not None


@pytest.mark.any_backend
async def test_it_stays_for_nobody_else(leaving: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "TURN", 3600)
    with leaving.seats.take("1", "203.0.113.1"):
        pass
    async with asyncio.timeout(ENOUGH):
        await draining.drain(leaving)


@pytest.mark.any_backend
async def test_who_comes_while_it_drains_comes_back_with_the_others(leaving: Hub) -> None:
    with ExitStack() as stack:
        for number in range(5000):  # twenty seconds' worth
            stack.enter_context(leaving.seats.take(None, f"203.0.113.{number}"))
        await draining.drain(leaving)
        waits = []
        for _ in range(100):
            with pytest.raises(Refused) as refused:
                await admit(leaving, [], ticket=None, is_own=lambda: True)
            waits.append(refused.value.retry_after_ms)
    assert 10_000 < max(waits) <= 20_000


@pytest.mark.parametrize("table", ["django_session", "rooms_room"])
async def test_a_poll_that_is_still_coming_in_is_told_and_keeps_its_place(
    site: Site, alice: httpx.Client, connect: Connect, pytestconfig: pytest.Config, table: str
) -> None:
    """The database is slow: it waits to learn who asks, or whether they may."""
    if pytestconfig.stash[BACKEND].postgres is None:
        pytest.skip("with SQLite no reader can be made to wait")
    node = site.nodes[0]
    poll = await connect(Poll, node, Caller.browser(alice), {GENERAL: None})
    before = poll.cursor
    with psycopg.connect(site.database_url) as other:
        other.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(Identifier(table)))
        polling = asyncio.create_task(poll.poll())
        await queued(site.database_url)
        began = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(node.stop))
        await deaf(node)
        with contextlib.suppress(TimeoutError):  # so long that the node may have said goodbye to everybody
            await asyncio.wait_for(asyncio.shield(stopping), 0.5)
    try:
        said = [name for name, *_ in await polling]
    except TurnedAway as refused:  # in time, and no worse
        said = [refused.code] if "retry_after_ms" in refused.body else []
    assert said in (["live.bye"], ["unavailable"])
    assert time.monotonic() - began < GOODBYE
    assert poll.cursor == before
    assert await stopping == 0


async def deaf(node: Node) -> None:
    """Return when the node takes nobody in any more."""
    async with asyncio.timeout(ENOUGH):
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", node.port)
                writer.close()
                await asyncio.sleep(0.02)


async def queued(url: str) -> None:
    """Return when somebody waits for a lock."""
    async with asyncio.timeout(ENOUGH), await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while True:
            found = await connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if await found.fetchone() != (0,):
                return
            await asyncio.sleep(0.02)

"""The client against servers that break rules, fall silent or are not ours: scripted, on real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

from rooms.client import Closed, Live, Phase, connect, retry, stream, websocket

# The servers here are scripts: no database, no channel layer.
pytestmark = pytest.mark.any_backend

ROOM = "acme/general"
HELLO = {"protocol": 1, "connection": "c", "user": None, "heartbeat_s": 25, "window": 16, "max_frame_bytes": 65536}
PATIENCE = 60.0  # seconds until a test fails: the machine may be busy

Script = Callable[["Talk"], Awaitable[None]]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.01)


@pytest.fixture(autouse=True)
async def _in_time() -> AsyncIterator[None]:
    async with asyncio.timeout(PATIENCE):
        yield


class Talk:
    """The server's side of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    async def say(self, *vectors: Any) -> None:
        await self.socket.send(json.dumps(vectors))

    async def hear(self) -> Any:
        """The next frame."""
        return json.loads(await self.socket.recv())

    async def hello(self, **more: Any) -> None:
        await self.say(["live.hello", {**HELLO, "transport": "ws", **more}])

    async def joined(self, cursor: str = "e1:0") -> Any:
        """Answers a join; gives what it said."""
        ((name, data, meta),) = await self.hear()
        assert name == "live.join"
        verdict = "resumed" if "cursor" in data else "live"
        cursor = data.get("cursor", cursor)
        answer = {"room": meta["room"], "verdict": verdict, "cursor": cursor, "epoch": "e1", "head": 0, "can": []}
        await self.say(["live.ok", answer, {"re": meta["id"]}])
        return data

    async def message(self, seq: int) -> None:
        await self.say(["chat.message", {"n": seq}, {"room": ROOM, "seq": seq}])


@asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[str]:
    """A server that gives the connections these parts in turn, the last one for ever; gives its address."""
    turns = iter(range(10**6))
    failed: list[Exception] = []

    async def handle(socket: ServerConnection) -> None:
        script = scripts[min(next(turns), len(scripts) - 1)]
        try:
            await script(Talk(socket))
        except ConnectionClosed:
            pass
        except Exception as error:
            failed.append(error)

    async with serve(handle, "127.0.0.1", 0, subprotocols=["live.v1"], compression=None) as server:  # type: ignore[list-item]
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    if failed:
        raise failed[0]


async def until(live: Live, phase: Phase) -> Any:
    async for state in live.states():
        if state.phase is phase:
            return state
    raise AssertionError(f"closed: {live.closed}")


async def wait_for_the_end(talk: Talk) -> None:
    await talk.socket.wait_closed()


async def test_a_gap_is_not_told_but_resumed_from_before_it() -> None:
    async def leaps(talk: Talk) -> None:
        await talk.hello()
        await talk.joined()
        await talk.message(1)
        await talk.message(3)
        await wait_for_the_end(talk)

    async def mends(talk: Talk) -> None:
        await talk.hello()
        assert await talk.joined() == {"cursor": "e1:1"}
        for seq in (1, 2, 3):
            await talk.message(seq)
        await wait_for_the_end(talk)

    async with scripted(leaps, mends) as url, connect(url, trust_env=False) as live:
        room = live.room(ROOM)
        assert [(await anext(room)).seq for _ in range(3)] == [1, 2, 3]
        assert (live.violations, live.reconnects) == (1, 1)


@pytest.mark.parametrize("nonsense", ["{", "7", '[["live.hello", {}]]', b"[]", "[" * 3000])
async def test_nonsense_is_left(nonsense: str | bytes) -> None:
    async def babbles(talk: Talk) -> None:
        await talk.socket.send(nonsense)
        await wait_for_the_end(talk)

    async def speaks(talk: Talk) -> None:
        await talk.hello()
        await wait_for_the_end(talk)

    async with scripted(babbles, speaks) as url, connect(url, trust_env=False) as live:
        await live.opened()
        assert live.violations == 1


async def test_the_heartbeat_is_answered_at_once() -> None:
    answered = asyncio.Event()

    async def beats(talk: Talk) -> None:
        await talk.hello()
        for _ in range(3):
            await talk.say()
            assert await talk.hear() == []
        answered.set()
        await wait_for_the_end(talk)

    async with scripted(beats) as url, connect(url, trust_env=False):
        await answered.wait()


async def test_a_silent_server_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "GRACE", 0.1)

    async def sleeps(talk: Talk) -> None:
        await talk.hello(heartbeat_s=0.1)
        await wait_for_the_end(talk)

    async with scripted(sleeps) as url, connect(url, trust_env=False) as live:
        assert (await until(live, Phase.RECONNECTING)).reason == "the server is silent"


async def test_one_that_never_says_hello_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "OPEN_WITHIN", 0.2)

    async with scripted(wait_for_the_end) as url, connect(url, trust_env=False) as live:
        assert (await until(live, Phase.RECONNECTING)).reason == "the server is silent"


async def test_a_goodbye_says_how_long_to_wait() -> None:
    async def goes(talk: Talk) -> None:
        await talk.hello()
        await talk.say(["live.bye", {"code": 4412, "reason": "this node is being replaced", "retry_after_ms": 60_000}])
        await talk.socket.close(4412)

    async with scripted(goes) as url, connect(url, trust_env=False) as live:
        state = await until(live, Phase.RECONNECTING)
        assert (state.code, state.reason) == (4412, "this node is being replaced")
        assert state.retry_at is not None


@pytest.mark.parametrize("code", [4500, 4503, 4999, 1002, 1003, 1007, 1009])
async def test_codes_after_which_nobody_comes_back(code: int) -> None:
    async def closes(talk: Talk) -> None:
        await talk.hello()
        await talk.socket.close(code, "so it is")

    async with scripted(closes) as url, connect(url, trust_env=False) as live:
        room = live.room(ROOM)
        with pytest.raises(Closed) as closed:
            await anext(room)
        assert (closed.value.close, closed.value.reason) == (code, "so it is")
        assert live.state.phase is Phase.CLOSED
        with pytest.raises(Closed):
            await live.send("chat.send", {}, room=ROOM)


async def test_commands_that_wait_are_told_of_the_end() -> None:
    async def closes(talk: Talk) -> None:
        await talk.hello()
        await talk.hear()
        await talk.socket.close(4500)

    async with scripted(closes) as url, connect(url, trust_env=False) as live:
        with pytest.raises(Closed) as closed:
            await live.send("chat.send", {}, room=ROOM, id="an-id-of-our-own")
        assert closed.value.id == "an-id-of-our-own"


async def test_a_command_is_said_again_under_its_id_until_its_time_is_over() -> None:
    heard: list[Any] = []

    async def forgets(talk: Talk) -> None:
        await talk.hello()
        heard.extend(await talk.hear())
        await talk.socket.close(1011)

    async with scripted(forgets) as url, connect(url, trust_env=False) as live:
        with pytest.raises(Exception, match=r"timeout: .*the connection was lost"):
            await live.send("chat.send", {"text": "hi"}, room=ROOM, within=0.5)
    assert len(heard) > 1
    assert all(vector == heard[0] for vector in heard)


async def test_a_refusal_for_now_is_tried_again() -> None:
    async def hesitates(talk: Talk) -> None:
        await talk.hello()
        for _ in range(2):
            ((_, _, meta),) = await talk.hear()
            refusal = {"code": "rate_limited", "detail": "Slower.", "temporary": True, "retry_after_ms": 20}
            await talk.say(["live.error", refusal, {"re": meta["id"]}])
        ((_, _, again),) = await talk.hear()
        assert again == meta
        await talk.say(["live.ok", {"seq": 1}, {"re": meta["id"]}])
        await wait_for_the_end(talk)

    async with scripted(hesitates) as url, connect(url, trust_env=False) as live:
        assert await live.send("chat.send", {"text": "hi"}, room=ROOM) == {"seq": 1}


async def test_what_is_cancelled_is_not_said_again() -> None:
    heard, gone = asyncio.Event(), asyncio.Event()

    async def loses(talk: Talk) -> None:
        await talk.hello()
        await talk.hear()
        heard.set()
        await gone.wait()

    async def listens(talk: Talk) -> None:
        await talk.hello()
        ((name, *_),) = await talk.hear()
        assert name == "chat.second"
        await wait_for_the_end(talk)

    async with scripted(loses, listens) as url, connect(url, trust_env=False) as live:
        first = asyncio.create_task(live.send("chat.first", {}, room=ROOM))
        await heard.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        gone.set()
        with pytest.raises(Exception, match="timeout"):
            await live.send("chat.second", {}, room=ROOM, within=0.5)


@pytest.mark.parametrize(
    ("status", "phase", "code"),
    [
        (401, Phase.CLOSED, 4501),
        (403, Phase.CLOSED, 4503),
        (404, Phase.CLOSED, 4500),
        (429, Phase.RECONNECTING, 1006),
        (502, Phase.RECONNECTING, 1006),
    ],
)
@pytest.mark.parametrize("way", ["ws", "sse", "poll"])
async def test_what_an_http_status_means(status: int, phase: Phase, code: int, way: Any) -> None:
    def refuse(connection: Any, request: Any) -> Response:
        return Response(status, "No", Headers({"Content-Length": "0", "Connection": "close"}), b"")

    async with serve(lambda socket: None, "127.0.0.1", 0, process_request=refuse) as server:  # type: ignore[arg-type,return-value]
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with connect(url, transport=way, trust_env=False) as live:
            state = await until(live, phase)
            assert state.code == code
            assert str(status) in state.reason


@pytest.mark.parametrize("way", ["ws", "sse", "poll"])
async def test_nobody_is_there(way: Any, unused_tcp_port: int) -> None:
    async with connect(f"http://127.0.0.1:{unused_tcp_port}", transport=way, trust_env=False) as live:
        state = await until(live, Phase.RECONNECTING)
        assert state.code == 1006
        assert state.retry_at is not None


async def test_a_mistake_of_ours_is_seen_by_all_who_wait() -> None:
    async def greets(talk: Talk) -> None:
        await talk.hello()
        await wait_for_the_end(talk)

    def fail() -> None:
        raise RuntimeError("a mistake")

    async with scripted(greets) as url:
        with pytest.raises(RuntimeError, match="a mistake"):
            async with connect(url, trust_env=False) as live:
                live._conversation.on_hello = fail
                room = live.room(ROOM)
                with pytest.raises(Closed, match="a mistake"):
                    await anext(room)
                with pytest.raises(Closed, match="a mistake"):
                    await live.opened()


# --- over plain HTTP -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def answering(*answers: bytes | None) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that gives these bytes in turn, the last for ever, and closes; None: it gives nothing and stays."""
    asked: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        answer = answers[min(len(asked), len(answers) - 1)]
        asked.append(head)
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            if answer.endswith(b"\n: stay\n"):
                await reader.read()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        # A socket that asyncio is just accepting while its server closes is left open, so that it takes no more first.
        asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
        await asyncio.sleep(0)
        server.close()


def page(kind: str, body: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n{body}".encode()


def events(*frames: tuple[str, Any], stay: bool = False) -> bytes:
    body = "".join((f"id: {id}\n" if id else "") + f"data: {json.dumps(frame)}\n\n" for id, frame in frames)
    return page("text/event-stream", body + (": stay\n" if stay else ""))


WELCOME: list[Any] = [
    ("", [["live.hello", {**HELLO, "transport": "sse", "window": None}]]),
    (f"{ROOM}@e1:0", [["live.ok", {"verdict": "live", "cursor": "e1:0"}, {"re": ROOM}]]),
]


async def test_a_stream_goes_on_where_it_broke_off() -> None:
    first = events(*WELCOME, (f"{ROOM}@e1:1", [["chat.message", {}, {"room": ROOM, "seq": 1}]]))
    again = [["live.ok", {"verdict": "resumed", "cursor": "e1:1"}, {"re": ROOM}]]
    second = events(
        WELCOME[0],
        (f"{ROOM}@e1:1", again),
        (f"{ROOM}@e1:2", [["chat.message", {}, {"room": ROOM, "seq": 2}]]),
        stay=True,
    )
    async with (
        answering(first, second) as (url, asked),
        connect(url, transport="sse", trust_env=False) as live,
    ):
        room = live.room(ROOM)
        assert [(await anext(room)).seq for _ in range(2)] == [1, 2]
        assert live.violations == 0
    assert "last-event-id" not in asked[0].lower()
    assert f"last-event-id: {ROOM}@e1:1" in asked[1].lower()
    assert asked[1].startswith(f"GET /live/stream?room={ROOM} ")


async def test_an_id_that_is_not_where_we_are_is_a_broken_rule() -> None:
    wrong = events(*WELCOME, (f"{ROOM}@e1:5", [["chat.message", {}, {"room": ROOM, "seq": 1}]]), stay=True)
    async with (
        answering(wrong, None) as (url, _),
        connect(url, transport="sse", trust_env=False) as live,
    ):
        live.room(ROOM)
        assert "the server broke a rule" in (await until(live, Phase.RECONNECTING)).reason
        assert live.violations == 1


async def test_a_silent_stream_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SILENCE", 0.2)
    async with (
        answering(events(*WELCOME, stay=True)) as (url, _),
        connect(url, transport="sse", trust_env=False) as live,
    ):
        live.room(ROOM)
        assert (await until(live, Phase.RECONNECTING)).reason == "the server is silent"


@pytest.mark.parametrize("way", ["sse", "poll"])
async def test_a_page_is_no_answer(way: Any) -> None:
    async with (
        answering(page("text/html", "<h1>Welcome to our network</h1>")) as (url, _),
        connect(url, transport=way, trust_env=False) as live,
    ):
        with pytest.raises(Closed, match="no server of ours"):
            await live.opened()

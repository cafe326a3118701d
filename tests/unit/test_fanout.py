"""The protocol class of ``manage.py serve``: one order, honest about a full socket, and nothing kept at rest."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.frames import Frame
from websockets.http11 import Request

from rooms.delivery.frames import EXTENSION
from rooms.transports.fanout import FanoutProtocol

BUFFER = 8 * 1024  # bytes of the kernel's on each side, at its smallest: a client that reads nothing is soon noticed
MASK = b"\x12\x34\x56\x78"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN = 0x80
ACK = b'[["live.ack",{"frames":3}]]'


def server_frame(text: bytes, opcode: int = TEXT) -> bytes:
    head = struct.pack("!BB", FIN | opcode, len(text)) if len(text) < 126 else struct.pack("!BBH", 0x81, 126, len(text))
    return head + text


def client_frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    masked = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else struct.pack("!BH", 0x80 | 126, len(payload))
    return bytes([(FIN if fin else 0) | opcode]) + size + MASK + masked


class Peer:
    """The client's end, byte by byte."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours
        self._read = bytearray()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def frame(self) -> tuple[int, bytes]:
        head = await self.take(2)
        size = head[1]
        if size == 126:
            [size] = struct.unpack("!H", await self.take(2))
        return head[0] & 0x0F, await self.take(size)

    async def take(self, count: int) -> bytes:
        while len(self._read) < count:
            more = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._socket, 65536), 20)
            if not more:
                raise EOFError
            self._read += more
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def hang_up(self) -> None:
        self._socket.close()


class Open:
    """An accepted WebSocket: the application's end of it, and the client's."""

    def __init__(self, peer: Peer, socket: Any, receive: Any, send: Any, protocol: FanoutProtocol) -> None:
        self.peer, self.socket, self.receive, self.send, self.protocol = peer, socket, receive, send, protocol

    async def fill(self, frame: bytes) -> int:
        """Write this until the socket takes no more; gives how many it took."""
        taken = 0
        for _ in range(20):  # the kernel may move a little from its one end to the other
            while self.socket.write(frame):
                taken += 1
            await asyncio.sleep(0)
        return taken


@asynccontextmanager
async def opened() -> AsyncIterator[Open]:
    ready: asyncio.Future[tuple[Any, Any, Any]] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        socket = scope["extensions"][EXTENSION]["socket"]
        assert not socket.write(b"too soon")
        await send({"type": "websocket.accept", "subprotocol": "live.v1"})
        ready.set_result((socket, receive, send))
        await over.wait()

    config = Config(application, ws=FanoutProtocol, log_config=None, ws_per_message_deflate=False)
    config.load()
    state = ServerState()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: FanoutProtocol(config, state, {}), sock=listener)
    with closing(socket.socket()) as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        ours.setblocking(False)
        await loop.sock_connect(ours, listener.getsockname())
        peer = Peer(ours)
        await peer.send(
            b"GET /live/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: live.v1\r\nCookie: " + b"x" * 4000 + b"\r\n\r\n"
        )
        found = await ready
        while (await peer.take(1)) != b"\n" or (await peer.take(2)) != b"\r\n":
            pass
        [protocol] = state.connections
        assert isinstance(protocol, FanoutProtocol)
        try:
            yield Open(peer, *found, protocol)
        finally:
            over.set()
            server.close()
            tasks = list(state.tasks)
            await asyncio.gather(*tasks)


async def test_what_is_written_is_what_goes_over_the_wire() -> None:
    async with opened() as one:
        assert one.socket.write(server_frame(b"[1]") + server_frame(b"[2]"))
        assert [await one.peer.frame() for _ in "12"] == [(TEXT, b"[1]"), (TEXT, b"[2]")]


async def test_a_full_socket_says_so_and_keeps_one_frame_at_most() -> None:
    frame = server_frame(b"x" * 10_000)
    async with opened() as one:
        taken = await one.fill(frame)
        assert not one.socket.takes
        assert 0 < one.protocol.transport.get_write_buffer_size() <= len(frame)
        draining = asyncio.create_task(one.socket.drain())
        assert [await one.peer.frame() for _ in range(taken)] == [(TEXT, b"x" * 10_000)] * taken
        await draining
        assert one.socket.takes and one.socket.write(server_frame(b"again"))
        assert await one.peer.frame() == (TEXT, b"again")


async def test_a_direct_write_does_not_overtake_a_send_that_waits() -> None:
    """As soon as the socket takes more, the write would find it open; the send has its turn later in that loop."""
    async with opened() as one:
        taken = await one.fill(server_frame(b"x" * 10_000))
        resume, tries = one.protocol.resume_writing, []

        def resumed() -> None:
            resume()
            tries.append(one.socket.write(server_frame(b"later")))

        one.protocol.resume_writing = resumed  # type: ignore[method-assign]
        sending = asyncio.create_task(one.send({"type": "websocket.send", "text": "sooner"}))
        await asyncio.sleep(0)
        for _ in range(taken):
            await one.peer.frame()
        await sending
        assert tries[0] is False
        assert await one.peer.frame() == (TEXT, b"sooner")


async def test_who_waits_for_a_socket_that_is_lost_is_told() -> None:
    async with opened() as one:
        await one.fill(server_frame(b"x" * 10_000))
        draining = asyncio.create_task(one.socket.drain())
        await asyncio.sleep(0)
        one.peer.hang_up()
        with pytest.raises(OSError):  # noqa: PT011 uvicorn's own, a subclass without a message
            await draining
        assert not one.socket.takes and not one.socket.write(b"nobody")


async def test_a_client_that_takes_nothing_can_be_given_up() -> None:
    async with opened() as one:
        await one.fill(server_frame(b"x" * 10_000))
        one.socket.abort()
        assert (await one.receive())["type"] == "websocket.disconnect"
        assert one.protocol not in one.protocol.connections


async def test_nothing_is_written_after_a_close() -> None:
    async with opened() as one:
        assert one.socket.write(server_frame(b"last"))
        await one.send({"type": "websocket.close", "code": 4408, "reason": "too slow"})
        assert not one.socket.takes and not one.socket.write(server_frame(b"late"))
        assert await one.peer.frame() == (TEXT, b"last")
        assert await one.peer.frame() == (CLOSE, struct.pack("!H", 4408) + b"too slow")


async def test_nothing_is_written_after_the_clients_close_is_answered() -> None:
    async with opened() as one:
        await one.peer.send(client_frame(struct.pack("!H", 1000), CLOSE))
        assert (await one.receive())["type"] == "websocket.disconnect"
        assert not one.socket.write(server_frame(b"late"))
        assert await one.peer.frame() == (CLOSE, struct.pack("!H", 1000))
        with pytest.raises(EOFError):
            await one.peer.take(1)


async def test_a_server_that_stops_while_a_client_says_goodbye_goes_on() -> None:
    async with opened() as one:
        await one.fill(server_frame(b"x" * 10_000))  # so that the answer to the close waits, and the transport with it
        await one.peer.send(client_frame(struct.pack("!H", 1000), CLOSE))
        await one.receive()
        one.protocol.shutdown()
        one.peer.hang_up()


async def test_of_pings_to_a_full_socket_the_newest_is_answered() -> None:
    async with opened() as one:
        taken = await one.fill(server_frame(b"x" * 10_000))
        for number in range(50):
            await one.peer.send(client_frame(b"%d" % number, PING))
            await one.peer.send(client_frame(b"[]"))
            await one.receive()  # it was read, and the ping before it
        frames = [await one.peer.frame()]
        while frames[-1] != (PONG, b"49"):
            frames.append(await one.peer.frame())
        assert frames.count((TEXT, b"x" * 10_000)) == taken
        assert len(frames) - taken < 10
        await one.peer.send(client_frame(b"now", PING))
        assert await one.peer.frame() == (PONG, b"now")


# --- a listener


def listening(one: Open, *, done: bool = True) -> list[tuple[bytes, bool]]:
    heard: list[tuple[bytes, bool]] = []

    def listener(data: bytes, is_text: bool) -> bool:
        heard.append((data, is_text))
        return done

    one.socket.hear(listener)
    return heard


async def test_a_listener_hears_what_comes_while_the_application_waits() -> None:
    async with opened() as one:
        heard = listening(one)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        await one.peer.send(client_frame(ACK))
        while len(heard) < 1:
            await asyncio.sleep(0)
        await one.peer.send(client_frame(b"\x91\x92", BINARY))
        while len(heard) < 2:
            await asyncio.sleep(0)
        await one.peer.send(client_frame(b"x" * 126))  # too long to be heard
        assert (await receiving)["text"] == "x" * 126
        assert heard == [(ACK, True), (b"\x91\x92", False)]


@pytest.mark.parametrize("size", [1, 125])
async def test_it_hears_messages_of_every_short_length(size: int) -> None:
    async with opened() as one:
        heard = listening(one)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        await one.peer.send(client_frame(b"y" * size))
        while not heard:
            await asyncio.sleep(0)
        assert heard == [(b"y" * size, True)]
        receiving.cancel()


async def test_what_it_is_not_done_with_goes_the_usual_way() -> None:
    async with opened() as one:
        heard = listening(one, done=False)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        await one.peer.send(client_frame(ACK))
        assert (await receiving)["text"] == ACK.decode()
        assert heard == [(ACK, True)]


async def test_while_the_application_is_busy_it_hears_nothing_so_that_the_order_is_kept() -> None:
    async with opened() as one:
        heard = listening(one)
        await one.peer.send(client_frame(b"first") + client_frame(ACK))
        assert (await one.receive())["text"] == "first"
        assert (await one.receive())["text"] == ACK.decode()
        await one.peer.send(client_frame(ACK))  # nobody waits for it yet
        while not one.protocol.read_paused:
            await asyncio.sleep(0)
        assert (await one.receive())["text"] == ACK.decode()
        assert heard == []


PIECES = {
    "a byte at a time": ([bytes([byte]) for byte in client_frame(ACK)], ACK),
    "its head, then the rest": ([client_frame(ACK)[:2], client_frame(ACK)[2:]], ACK),
    "in fragments": ([client_frame(ACK[:5], fin=False), client_frame(ACK[5:], 0)], ACK),
    "a frame that looks like one inside another": (
        [client_frame(b"a" * len(client_frame(ACK)), BINARY)[:6], client_frame(ACK)],
        bytes(byte ^ MASK[i % 4] for i, byte in enumerate(client_frame(ACK))),
    ),
}


@pytest.mark.parametrize("what", PIECES)
async def test_what_does_not_come_alone_and_whole_is_not_heard(what: str) -> None:
    pieces, message = PIECES[what]
    async with opened() as one:
        heard = listening(one)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        for piece in pieces:
            await one.peer.send(piece)
            for _ in range(10):  # each in a segment of its own, or not: the outcome is the same
                await asyncio.sleep(0)
        found = await receiving
        assert (found.get("bytes") or found["text"].encode()) == message
        assert heard == []


async def test_what_breaks_the_framing_is_not_heard_but_closed() -> None:
    async with opened() as one:
        heard = listening(one)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        await one.peer.send(client_frame(b"begun", fin=False))
        await one.peer.send(client_frame(ACK))  # the message before is not over
        assert (await receiving)["code"] == 1002
        assert heard == []


# --- at rest


async def test_nothing_of_the_handshake_is_kept() -> None:
    async with opened() as one:
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, Request)]
        assert not hasattr(one.protocol, "scope")


async def test_nor_a_large_message_that_was_taken() -> None:
    async with opened() as one:
        listening(one)
        await one.peer.send(client_frame(b"x" * 5_000))
        assert len((await one.receive())["text"]) == 5_000
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, Frame)]
        receiving = asyncio.create_task(one.receive())
        for piece in (client_frame(b"y" * 5_000)[:3_000], client_frame(b"y" * 5_000)[3_000:]):
            await one.peer.send(piece)
        assert (await receiving)["text"] == "y" * 5_000

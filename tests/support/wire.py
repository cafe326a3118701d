"""An accepted WebSocket of our protocol class, with the client's end of it byte by byte."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

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


def client_frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0) -> bytes:
    masked = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else struct.pack("!BH", 0x80 | 126, len(payload))
    return bytes([(FIN if fin else 0) | rsv | opcode]) + size + MASK + masked


class Peer:
    """The client's end, byte by byte."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours
        self._read = bytearray()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def frame(self) -> tuple[int, bytes]:
        """Its opcode and reserved bits, and its payload."""
        head = await self.take(2)
        size = head[1]
        if size == 126:
            [size] = struct.unpack("!H", await self.take(2))
        return head[0] & 0x7F, await self.take(size)

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

    def __init__(self, peer: Peer, socket: Any, receive: Any, send: Any, protocol: FanoutProtocol, answer: str) -> None:
        self.peer, self.socket, self.receive, self.send, self.protocol = peer, socket, receive, send, protocol
        self.answer = answer  # to the handshake

    async def fill(self, frame: bytes) -> int:
        """Write this until the socket takes no more; gives how many it took."""
        taken = 0
        for _ in range(20):  # the kernel may move a little from its one end to the other
            while self.socket.write(frame):
                taken += 1
            await asyncio.sleep(0)
        return taken


@asynccontextmanager
async def opened(offer: str = "", *, max_size: int = 2**20) -> AsyncIterator[Open]:
    """:param offer: of extensions; to a server that takes some when there is one."""
    ready: asyncio.Future[tuple[Any, Any, Any]] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        socket = scope["extensions"][EXTENSION]["socket"]
        assert not socket.write(b"too soon")
        await send({"type": "websocket.accept", "subprotocol": "live.v1"})
        ready.set_result((socket, receive, send))
        await over.wait()

    config = Config(
        application, ws=FanoutProtocol, log_config=None, ws_max_size=max_size, ws_per_message_deflate=bool(offer)
    )
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
            b"Sec-WebSocket-Protocol: live.v1\r\nCookie: "
            + b"x" * 4000
            + b"\r\n"
            + (f"Sec-WebSocket-Extensions: {offer}\r\n\r\n" if offer else "\r\n").encode()
        )
        found = await ready
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await peer.take(1)
        [protocol] = state.connections
        assert isinstance(protocol, FanoutProtocol)
        try:
            yield Open(peer, *found, protocol, answer.decode())
        finally:
            over.set()
            server.close()
            tasks = list(state.tasks)
            await asyncio.gather(*tasks)

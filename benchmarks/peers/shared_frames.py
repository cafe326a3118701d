"""Bare uvloop: one frame, made once, written to each transport. No WebSocket library, no guarantee, no application.

What is left for Python to win. python -m benchmarks.peers.shared_frames PORT
"""

import asyncio
import sys
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
readers: set[asyncio.Transport] = set()


class Peer(asyncio.Protocol):
    """Frames of clients are below 64 KB here."""

    def __init__(self) -> None:
        self.welcome = False
        self.waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none of asyncio's classes

    def connection_lost(self, error: Exception | None) -> None:
        readers.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        if not self.welcome:
            head, end, self.waiting = self.waiting.partition(b"\r\n\r\n")
            if not end:
                self.waiting = head
                return
            self.welcome = True
            self.transport.write(ANSWER)
            if not head.startswith(b"GET /speak "):
                readers.add(self.transport)
        while len(self.waiting) >= 8:
            start = 4 if self.waiting[1] & 127 == 126 else 2
            size = int.from_bytes(self.waiting[2:4], "big") if start == 4 else self.waiting[1] & 127
            stop = start + 4 + size
            if len(self.waiting) < stop:
                break
            mask, masked = self.waiting[start : start + 4], self.waiting[start + 4 : stop]
            key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
            payload = (int.from_bytes(masked, "big") ^ key).to_bytes(size, "big")
            frame = bytes((self.waiting[0], self.waiting[1] & 127)) + self.waiting[2:start] + payload
            for reader in readers:
                reader.write(frame)
            self.waiting = self.waiting[stop:]


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))

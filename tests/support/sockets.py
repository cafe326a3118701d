"""A WebSocket without a server: what an ASGI server would hand to the application, and what comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from channels.routing import URLRouter

from rooms.contract import new_command_id
from rooms.routing import websocket_urlpatterns

PATIENCE = 60  # seconds until a test that waits for something fails: the machine may be busy


class Socket:
    """Speaks to the real consumer. ``vectors`` holds what was received and not yet asked for, in order."""

    def __init__(self, session_key: str | None = None, *, query: str = "flow=ack", origin: str = "http://localhost"):
        headers = [(b"host", b"localhost"), (b"origin", origin.encode())]
        if session_key is not None:
            headers.append((b"cookie", f"sessionid={session_key}".encode()))
        self.scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": "/live/ws",
            "query_string": query.encode(),
            "headers": headers,
            "subprotocols": ["live.v1"],
        }
        self.vectors: list[Any] = []
        self.closed: int | None = None
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._came = asyncio.Event()
        self._heard = 0  # vectors
        self.task = asyncio.create_task(URLRouter(websocket_urlpatterns)(self.scope, self._inbox.get, self._take))

    async def open(self) -> Any:
        """Give the hello, or the bye of a refused handshake."""
        self._inbox.put_nowait({"type": "websocket.connect"})
        return await self.vector()

    async def vector(self, name: str = "", re: str | None = None) -> Any:
        """The next one of this name and answer, taken out; the others stay."""
        seen = 0
        async with asyncio.timeout(PATIENCE):
            while True:
                for vector in self.vectors[seen - self._heard :]:  # of tens of thousands, what came since
                    meta = vector[2] if len(vector) > 2 else {}
                    if name in ("", vector[0]) and re in (None, meta.get("re")):
                        self.vectors.remove(vector)
                        return vector
                assert not self.task.done(), "the consumer has ended"
                seen = self._heard
                self._came.clear()
                await self._came.wait()

    def send(self, *vectors: Any) -> None:
        self.raw(text=msgspec.json.encode(vectors).decode())

    def raw(self, **message: Any) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", **message})

    async def ask(self, name: str, data: Any, room: str = "acme/general") -> Any:
        """Send a command, give its answer."""
        id = new_command_id()
        self.send([name, data, {"room": room, "id": id}])
        return await self.vector(re=id)

    async def close(self) -> None:
        """The client goes; wait until the consumer has noticed."""
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(self.task, return_exceptions=True)

    async def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            frame = msgspec.json.decode(message["text"])
            self.vectors.extend(frame)
            self._heard += len(frame)
            if message["text"] == "[]":
                self.raw(text="[]")  # a heartbeat is answered, however long a test takes
        elif message["type"] == "websocket.close":
            self.closed = message["code"]
            self._inbox.put_nowait({"type": "websocket.disconnect", "code": message["code"]})
        self._came.set()

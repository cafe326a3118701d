"""A client written from docs/protocol.md alone: WebSocket and REST, nothing of ours imported."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from typing import Any

import httpx
import websockets

PASSWORD = "demo"


def new_id() -> str:
    return secrets.token_urlsafe(16)


def log_in(url: str, username: str) -> httpx.Client:
    """A browser's cookies, by the site's own form; writes carry the CSRF token."""
    client = httpx.Client(base_url=url, timeout=30)
    form = client.get("/accounts/login/").text
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
    assert token is not None
    data = {"username": username, "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
    answer = client.post("/accounts/login/", data=data, headers={"Referer": url})
    assert answer.status_code == 302, answer.text
    client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
    client.headers["Referer"] = url
    return client


class Live:
    """One WebSocket. ``events`` keeps every vector about a room in the order in which it came."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.hello: dict[str, Any] = {}
        self.events: list[Any] = []
        self.answers: dict[str, Any] = {}
        self.errors: list[Any] = []
        self.bye: dict[str, Any] | None = None
        self.counted = 0
        self.acknowledges = True

    @classmethod
    async def open(
        cls, ws_url: str, session: httpx.Client | None, *, ack: bool = True, origin: str | None = None, **options: Any
    ) -> Live:
        """:param origin: of the page; the site's own by itself."""
        headers = {"Origin": origin or re.sub(r"^ws(s?://[^/]+).*", r"http\1", ws_url)}
        if session is not None:
            headers["Cookie"] = f"sessionid={session.cookies['sessionid']}"
        fixed = {"max_size": None, "max_queue": None, "close_timeout": 2, "additional_headers": headers}
        options = {"subprotocols": ["live.v1"], **fixed, **options}
        live = cls(await websockets.connect(f"{ws_url}?flow=ack" if ack else ws_url, **options))
        live.acknowledges = ack
        await live.until(lambda: live.hello or live.bye)
        return live

    async def send(self, *vectors: Any) -> None:
        await self.socket.send(json.dumps(vectors))

    async def ask(self, name: str, data: Any, room: str, *, id: str | None = None) -> Any:
        """Send a command, wait for its answer: ``["live.ok" or "live.error", data, meta]``."""
        id = id or new_id()
        self.answers.pop(id, None)
        await self.send([name, data, {"room": room, "id": id}])
        await self.until(lambda: id in self.answers)
        return self.answers[id]

    async def join(self, room: str, **data: Any) -> dict[str, Any]:
        name, answer, _ = await self.ask("live.join", data, room)
        assert name == "live.ok", answer
        return dict(answer)

    async def until(self, condition: Any, seconds: float = 20) -> None:
        """Read frames until the condition holds.

        :raises websockets.ConnectionClosed: when the server closes before.
        """
        async with asyncio.timeout(seconds):
            while not condition():
                self._take(json.loads(await self.socket.recv()))
                await self._acknowledge()

    async def closed(self) -> int:
        """Read to the end; gives the close code."""
        with_timeout = asyncio.timeout(20)
        try:
            async with with_timeout:
                while True:
                    self._take(json.loads(await self.socket.recv()))
        except websockets.ConnectionClosed:
            assert self.socket.close_code is not None
            return self.socket.close_code

    def texts(self, room: str) -> list[str]:
        return [
            data["message"]["text"]
            for name, data, meta in self.events
            if name == "chat.message" and meta["room"] == room
        ]

    def _take(self, frame: list[Any]) -> None:
        if frame == []:
            self.beat = True
        if any(len(vector) > 2 and "room" in vector[2] and not vector[0].startswith("live.") for vector in frame):
            self.counted += 1
        for vector in frame:
            name, data, meta = vector if len(vector) == 3 else (*vector, {})
            if name == "live.hello":
                self.hello = data
            elif name == "live.bye":
                self.bye = data
            elif name in ("live.ok", "live.error") and "re" in meta:
                self.answers[meta["re"]] = [name, data, meta]
            elif name == "live.error":
                self.errors.append(data)
            else:
                self.events.append([name, data, meta])

    async def _acknowledge(self) -> None:
        if self.acknowledges and self.counted and self.counted % (self.hello["window"] // 4) == 0:
            await self.send(["live.ack", {"frames": self.counted}])

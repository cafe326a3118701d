"""A client written from docs/protocol.md alone: WebSocket and REST, nothing of ours imported."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import websockets

from tests.support.conversation import PATIENCE, Conversation, new_id

__all__ = ["PASSWORD", "Live", "log_in", "new_id"]

PASSWORD = "demo"


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


class Live(Conversation):
    """One WebSocket."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        super().__init__()
        self.socket = socket
        self.acknowledges = True
        self.answers_beats = True

    @classmethod
    async def open(
        cls, ws_url: str, session: httpx.Client | None, *, ack: bool = True, origin: str | None = None, **options: Any
    ) -> Live:
        """:param origin: of the page; the site's own by itself."""
        headers = {"Origin": origin or own_origin(ws_url)}
        if session is not None:
            headers["Cookie"] = f"sessionid={session.cookies['sessionid']}"
        return await cls.dial(ws_url, headers, ack=ack, **options)

    @classmethod
    async def dial(cls, ws_url: str, headers: dict[str, str], *, ack: bool, **options: Any) -> Any:
        """Open with these headers; wait for the hello, or the bye of a refused handshake."""
        fixed = {"max_size": None, "max_queue": None, "close_timeout": 2, "proxy": None, "additional_headers": headers}
        options = {"subprotocols": ["live.v1"], **fixed, **options}
        live = cls(await websockets.connect(f"{ws_url}?flow=ack" if ack else ws_url, **options))
        live.acknowledges = ack
        await live.until(lambda: live.hello or live.bye)
        return live

    async def send(self, *vectors: Any) -> None:
        for vector in vectors:
            if isinstance(vector, list) and len(vector) == 3 and isinstance(vector[2].get("id"), str):
                self._asked[vector[2]["id"]] = vector
        await self.socket.send(self._encoded(vectors))

    async def join(self, room: str, **data: Any) -> dict[str, Any]:
        name, answer, _ = await self.ask("live.join", data, room)
        assert name == "live.ok", answer
        return dict(answer)

    async def closed(self) -> int:
        """Read to the end; gives the close code."""
        try:
            await self.until(lambda: False, PATIENCE)
        except websockets.ConnectionClosed:
            assert self.socket.close_code is not None
            return self.socket.close_code
        raise AssertionError("unreachable")

    async def _hear(self) -> None:
        """:raises websockets.ConnectionClosed: when the server has closed."""
        frame = self._decoded(await self.socket.recv())
        self._take(frame)
        if frame == [] and self.answers_beats:
            await self.socket.send(self._encoded([]))
        if self.acknowledges and self.counted and self.counted % (self.hello["window"] // 4) == 0:
            await self.send(["live.ack", {"frames": self.counted}])

    def _encoded(self, frame: Any) -> str | bytes:
        return json.dumps(frame, ensure_ascii=False)

    def _decoded(self, message: str | bytes) -> Any:
        assert isinstance(message, str), "live.v1 is text"
        return json.loads(message)


def own_origin(ws_url: str) -> str:
    """Of a page of the same site."""
    return re.sub(r"^ws(s?://[^/]+).*", r"http\1", ws_url)

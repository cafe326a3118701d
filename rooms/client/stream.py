"""Server-sent events: one stream that names its rooms, and is opened again when they change."""

from __future__ import annotations

import httpx

from rooms.client.bell import first
from rooms.client.conversation import BACKLOG
from rooms.client.exchange import lost
from rooms.client.following import Following
from rooms.client.frames import JSON
from rooms.client.retry import BROKEN, LOST, End
from rooms.client.sse import Parser
from rooms.client.web import Web

SILENCE = 40.0  # seconds; the server comments every 15


class Stream(Web):
    async def _listen(self) -> End:
        while True:
            await self._backlog_below(BACKLOG)
            self.conversation.forget()
            asked = self._wanted()
            end = await first(self._stream(asked), self._changed())
            if end is not None:
                return end

    async def _stream(self, asked: list[Following]) -> End | None:
        """To its end."""
        for room in asked:
            self.conversation.ask(room, room.name)
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-store"}
        if last := " ".join(f"{room.name}@{room.cursor}" for room in asked if room.cursor is not None):
            headers["Last-Event-ID"] = last
        pairs = [("room", room.name) for room in asked] + self.absent(asked)
        response = await self._get("/live/stream", pairs, SILENCE, headers=headers, stream=True)
        try:
            if response.headers.get("Content-Type", "").partition(";")[0].strip() != "text/event-stream":
                return End(BROKEN, "no server of ours: it answers with no stream")
            return await self._read(response)
        except httpx.ReadTimeout:
            return End(LOST, "the server is silent")
        except httpx.HTTPError as error:
            return lost(error)
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response) -> End:
        """While the application is behind nothing is read, and the server finds the socket full.

        :raises Broken:
        """
        parser = Parser()
        async for chunk in response.aiter_raw():
            for message in parser.feed(chunk):
                await self._backlog_below(BACKLOG)
                end = self.hear(JSON.parse(message.data.encode()))
                if end is not None:
                    return end
                self.compare(message.last_id)
        return End(LOST, "the stream ended")

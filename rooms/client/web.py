"""What server-sent events and long-poll have in common: rooms in the address, commands by POST."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NoReturn

import httpx

from rooms.client.bell import first, rung
from rooms.client.errors import Broken, LiveError
from rooms.client.exchange import Denied, Unanswered, exchange, http_client, query
from rooms.client.following import Following, Standing
from rooms.client.posting import Posting
from rooms.client.retry import End
from rooms.client.transport import OPEN_WITHIN, Transport

ADDRESS_MAX = 8_000  # bytes of the query, and of Last-Event-ID
EPOCH_AND_SEQ = 16 + 16 + 10  # bytes at most, with what stands between


class Web(Transport):
    """Two things at once, for as long as the connection lasts: one listens, one says commands."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._client = http_client(self.options)
        self._posting = Posting(self.address, self._client)

    async def close(self) -> None:
        await self._client.aclose()

    async def _carry(self) -> End:
        try:
            return await first(self._listen(), self._say())
        except (Unanswered, Denied) as failed:
            return failed.end

    @abstractmethod
    async def _listen(self) -> End:
        """:raises Broken: and Unanswered, Denied."""

    async def _get(self, path: str, pairs: list[tuple[str, str]], read: float, **options: Any) -> httpx.Response:
        """:param read: seconds that it may be silent.
        :raises Unanswered: and Denied.
        """
        headers: dict[str, str] = options.pop("headers", {})
        timeout = httpx.Timeout(OPEN_WITHIN, read=read)

        def build() -> httpx.Request:
            said = {**headers, **self.identity.reading()}
            return self._client.build_request(
                "GET", f"{self.address.http}{path}?{query(pairs)}", headers=said, timeout=timeout
            )

        return await exchange(self._client, self.identity, build, **options)

    # --- commands

    async def _say(self) -> NoReturn:
        """One POST at a time, with what waits by then in one frame.

        :raises Denied: with the login.
        """
        conversation, outbox = self.conversation, self.conversation.outbox
        with self.bell.listening() as bell:
            while True:
                batch = outbox.take(self.now(), conversation.max_frame_bytes)
                if not batch:
                    await rung(bell, outbox.next_due(self.now()))
                    continue
                connection = conversation.hello.connection if conversation.hello else None
                await self._posting.deliver(batch, outbox, self.identity, self.hear, connection)

    # --- rooms

    def _wanted(self) -> list[Following]:
        """Those that the next request names."""
        wanted, size = [], 200
        for room in list(self.conversation.rooms.values()):
            if room.standing is Standing.OVER:
                continue
            size += len(query([("room", room.name), *self.absent([room])])) + EPOCH_AND_SEQ
            if size > ADDRESS_MAX:
                room.end(LiveError("too_many_rooms", "The address has no place for it: take another connection."))
            elif room.not_before <= self.now():
                wanted.append(room)
        return wanted

    def absent(self, asked: list[Following]) -> list[tuple[str, str]]:
        """Of these rooms, those in which we are not to be counted."""
        return [("absent", room.name) for room in asked if not room.present]

    async def _changed(self) -> None:
        """Returns when a room is to be asked for that was not, or one was left; to be begun after asking."""
        with self.bell.listening() as bell:
            while not self.conversation.departures and not self.conversation.due(self.now()):
                await rung(bell, self.conversation.next_join())

    async def _backlog_below(self, frames: int) -> None:
        """Wait for the application."""
        with self.bell.listening() as bell:
            while len(self.conversation.flow) >= frames:
                await rung(bell, None)

    def compare(self, composite: str) -> None:
        """Where the server says that we are is where we are: we say our own places when we ask again.

        :raises Broken: it is not.
        """
        for part in composite.split():
            name, _, cursor = part.rpartition("@")
            room = self.conversation.rooms.get(name)
            if room is not None and room.standing is Standing.JOINED and room.cursor != cursor:
                raise Broken(f"the server says {cursor} where we are at {room.cursor}")

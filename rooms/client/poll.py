"""Long-poll: each request says where we are, and is the acknowledgement of the one before."""

from __future__ import annotations

import msgspec

from rooms.client.bell import first
from rooms.client.conversation import BACKLOG
from rooms.client.following import Following
from rooms.client.frames import JSON
from rooms.client.retry import BROKEN, End
from rooms.client.web import Web

GRACE = 10.0  # seconds above what it is to wait


class _Answer(msgspec.Struct):
    cursor: str
    frame: msgspec.Raw


class Poll(Web):
    async def _listen(self) -> End:
        end = await self._poll([])  # for live.hello, which a poll that has cursors is not told
        while end is None:
            await self._backlog_below(BACKLOG)
            asked = self._wanted()
            if asked:
                end = await first(self._poll(asked), self._changed())
            else:
                self.conversation.forget()
                await self._changed()
        return end

    async def _poll(self, asked: list[Following]) -> End | None:
        """One of them. What is cancelled or lost is asked for again, from the same places."""
        self.conversation.forget()
        for room in asked:
            self.conversation.ask(room, room.name)
        wait = self.options.poll_wait
        pairs = [("room", room.name if room.cursor is None else f"{room.name}@{room.cursor}") for room in asked]
        pairs += self.absent(asked)
        pairs.append(("wait", f"{wait:g}"))
        if self.conversation.hello is not None:
            pairs.append(("connection", self.conversation.hello.connection))
        response = await self._get("/live/poll", pairs, wait + GRACE)
        try:
            answer = msgspec.json.decode(response.content, type=_Answer)
        except (msgspec.MsgspecError, UnicodeError):
            return End(BROKEN, "no server of ours: its answer is none to a poll")
        frame = JSON.parse(bytes(answer.frame))
        self.conversation.resumes(asked, frame)
        end = self.hear(frame)
        if end is None:
            self.compare(answer.cursor)
        return end

"""What a client hears, in order, whatever carries it. Written from docs/protocol.md alone, nothing of ours imported.

Each vector that comes is held against the rules that are true for every reader of every room; one that breaks them
fails the test that was reading.
"""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PATIENCE = 60  # seconds until a test that waits for something fails: the machine may be busy


def new_id() -> str:
    """128 random bits."""
    return secrets.token_urlsafe(16)


@dataclass
class Place:
    """Where a reader is in one room. ``state_until`` is the head of a join with state, whose values lie below it."""

    epoch: str
    seq: int
    state_until: int = 0
    state_seq: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"

    @classmethod
    def after(cls, cursor: str) -> Place:
        """The one rule of a cursor that a client may use."""
        epoch, _, seq = cursor.rpartition(":")
        return cls(epoch, int(seq))


class Conversation(ABC):
    """``vectors`` is all that was said; ``events`` every vector about a room, in the order in which it came, but for
    those of ``presence``.

    ``answers`` are by ``meta.re``: the id of the command, or on a stream the room. ``errors`` are those about nothing.
    """

    def __init__(self) -> None:
        self.vectors: list[Any] = []
        self.events: list[Any] = []
        self.presence: list[Any] = []
        self.answers: dict[str, Any] = {}
        self.errors: list[Any] = []
        self.hello: dict[str, Any] = {}
        self.bye: dict[str, Any] | None = None
        self.counted = 0  # frames with at least one room event
        self.beats = 0
        self.places: dict[str, Place] = {}
        self._asked: dict[str, Any] = {}

    @abstractmethod
    async def send(self, *vectors: Any) -> None:
        """Say these in one frame."""

    @abstractmethod
    async def _hear(self) -> None:
        """Take the next frame, or what else the transport has: at least one turn of the loop."""

    async def ask(self, name: str, data: Any, room: str, *, id: str | None = None) -> Any:
        """Send a command, wait for its answer: ``["live.ok" or "live.error", data, meta]``."""
        id = id or new_id()
        self.answers.pop(id, None)
        await self.send([name, data, {"room": room, "id": id}])
        await self.until(lambda: id in self.answers)
        return self.answers[id]

    async def until(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
        """Listen until the condition holds."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await self._hear()
        except TimeoutError:
            raise AssertionError(f"heard nothing of it in {seconds} s; the last vectors: {self.vectors[-5:]}") from None

    async def hears(self, room: str, text: str) -> None:
        """Listen until this message came."""
        await self.until(lambda: text in self.texts(room))

    async def catches_up(self, room: str, seq: int) -> None:
        """Listen until it is there in this room."""
        await self.until(lambda: room in self.places and self.places[room].seq >= seq)

    def texts(self, room: str) -> list[str]:
        """Of the messages in this room."""
        return [
            data["message"]["text"]
            for name, data, meta in self.events
            if name == "chat.message" and meta["room"] == room
        ]

    def seqs(self, room: str) -> list[int]:
        """Of the room's logged events."""
        return [meta["seq"] for _, _, meta in self.events if meta["room"] == room and "seq" in meta]

    def of(self, room: str) -> list[Any]:
        """All that was heard of this room."""
        return [vector for vector in self.events if vector[2]["room"] == room]

    # --- what is heard

    def _take(self, frame: Any) -> None:
        assert isinstance(frame, list), f"not a frame: {frame!r}"
        self.beats += frame == []
        self.counted += any(is_room_event(vector) for vector in frame)
        for vector in frame:
            name, data, meta = vector if len(vector) == 3 else (*vector, {})
            assert self.bye is None, f"live.bye is the last vector, but then came {vector}"
            self.vectors.append([name, data, meta])
            if name == "live.hello":
                assert len(self.vectors) == 1, "live.hello is the first vector"
                self.hello = data
            elif name == "live.bye":
                self.bye = data
            elif name in ("live.ok", "live.error") and "re" in meta:
                before = self.answers.get(meta["re"])
                assert before in (None, vector) or "/" in meta["re"], f"two answers to one question: {before}, {vector}"
                self.answers[meta["re"]] = [name, data, meta]
                self._answered(name, data, meta["re"])
            elif name == "live.error":
                self.errors.append(data)
            else:
                self._follow(name, data, meta)
                (self.presence if name.startswith("presence.") else self.events).append([name, data, meta])

    def _answered(self, name: str, data: Any, re: str) -> None:
        asked, question, meta = self._asked.pop(re, (None, {}, {}))
        if name == "live.ok" and "verdict" in data:
            place = self.places[data["room"]] = Place.after(data["cursor"])
            assert place.epoch == data["epoch"], "the cursor of a join is in the room's epoch"
            if question.get("state"):
                place.state_until = data["head"]
        elif name == "live.ok" and asked == "live.leave":
            self.places.pop(meta["room"], None)

    def _follow(self, name: str, data: Any, meta: Any) -> None:
        room = meta["room"]
        place = self.places.get(room)
        assert place is not None, f"{name} of {room}, which is not joined"
        if name == "live.left":
            del self.places[room]
        elif name == "live.reset":
            self.places[room] = Place.after(data["cursor"])
        elif name == "live.cursor":
            assert data["seq"] > place.seq, f"{room} went back from {place} to {data}"
            place.seq = data["seq"]
        elif "seq" in meta and place.state_seq < meta["seq"] <= place.state_until and meta["seq"] <= place.seq:
            place.state_seq = meta["seq"]
        elif "seq" in meta:
            assert meta["seq"] == place.seq + 1, f"{room} went from {place} to {meta['seq']} without a live.cursor"
            place.seq = meta["seq"]
            place.state_until = 0


def is_room_event(vector: Any) -> bool:
    """What flow control counts."""
    return len(vector) > 2 and "room" in vector[2] and not vector[0].startswith("live.")

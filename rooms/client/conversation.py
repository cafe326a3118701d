"""What is said and heard, whatever carries it. Pure: time and chance come in as arguments.

A transport opens connections, one after the other, hands in the frames that came and says what is due. All that
outlives a connection is here: rooms with their places, commands without an answer, frames that are not yet handled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from rooms.client.errors import Broken, LiveError
from rooms.client.events import Event
from rooms.client.flow import Flow, Receipt
from rooms.client.following import Following, Standing
from rooms.client.frames import MAX_FRAME_BYTES, Frame, Vector
from rooms.client.outbox import Outbox
from rooms.client.retry import End

BACKLOG = 64  # frames, 64 KB at most as a rule, that wait for the application; with more, nothing is asked for


class Person(msgspec.Struct, frozen=True):
    id: str
    name: str


class Hello(msgspec.Struct, frozen=True):
    """``live.hello``. ``heartbeat_s`` in seconds."""

    connection: str
    transport: str
    user: Person | None = None
    heartbeat_s: float = 25.0
    window: int | None = None
    max_frame_bytes: int = MAX_FRAME_BYTES
    max_rooms: int = 100


class _Bye(msgspec.Struct):
    code: int
    reason: str = ""
    retry_after_ms: float | None = None


def _nothing() -> None:
    pass


class Conversation:
    """:ivar hello: of the connection that is open; None before it has come.
    :ivar malformed: vectors that were none, and cost only themselves.
    :ivar on_hello: called when ``live.hello`` came.
    :ivar on_join: called when a room was joined.
    :ivar on_complaint: called with an error that answers nothing we asked.
    """

    def __init__(self) -> None:
        self.rooms: dict[str, Following] = {}
        self.outbox = Outbox()
        self.flow = Flow()
        self.hello: Hello | None = None
        self.departures: list[str] = []  # rooms that this connection is to leave
        self.malformed = 0
        self.on_hello: Callable[[], object] = _nothing
        self.on_join: Callable[[], object] = _nothing
        self.on_complaint: Callable[[LiveError], object] = lambda error: None
        self._questions: dict[str, Following] = {}

    @property
    def max_frame_bytes(self) -> int:
        return MAX_FRAME_BYTES if self.hello is None else self.hello.max_frame_bytes

    # --- rooms

    def follow(self, name: str, cursor: str | None, *, present: bool = True) -> Following:
        """:raises ValueError: it is followed already, or the cursor is none."""
        if name in self.rooms:
            raise ValueError(f"{name} is followed already")
        self.rooms[name] = following = Following(name, cursor, present=present)
        return following

    def leave(self, following: Following, now: float) -> None:
        """Follow it no longer; what the application has not taken of it is dropped. It may be said twice."""
        if self.rooms.get(following.name) is following:
            del self.rooms[following.name]
            if following.standing in (Standing.ASKED, Standing.JOINED):
                self.departures.append(following.name)
        following.end()
        while following.inbox:
            self.flow.taken(following.inbox.popleft()[1], now)

    def due(self, now: float) -> list[Following]:
        """Rooms that are to be asked for now."""
        return [following for following in self.rooms.values() if following.due(now)]

    def next_join(self) -> float | None:
        """When :meth:`due` has something; in the past for at once, None for never."""
        wanted = (room.not_before for room in self.rooms.values() if room.standing is Standing.WANTED)
        return min(wanted, default=None)

    def ask(self, following: Following, question: str) -> None:
        """The transport is about to ask; ``question`` is what ``meta.re`` of the answer will be."""
        following.ask()
        self._questions[question] = following

    def resumes(self, asked: Iterable[Following], frame: Frame) -> None:
        """Of these rooms, those that this frame does not answer go on where they were: a poll says nothing of them."""
        answered = {vector.meta.re for vector in frame.vectors}
        for following in asked:
            if following.name not in answered and following.resumes():
                self.on_join()

    def take(self, following: Following, now: float) -> tuple[Event, bool]:
        """The next thing for the application, and whether a frame is handled by that."""
        event, receipt = following.inbox.popleft()
        return event, self.flow.taken(receipt, now)

    # --- connections

    def begin(self) -> None:
        """A new connection: nobody was asked anything on it."""
        self.hello = None
        self.flow.begin()
        self.forget()
        self.outbox.lost()

    def forget(self) -> None:
        """Rooms are to be asked for anew."""
        self._questions.clear()
        self.departures.clear()
        for following in self.rooms.values():
            following.lost()

    def hear(self, frame: Frame, now: float, chance: float) -> End | None:
        """A frame came; the End that it says, if it does.

        :param chance: from 0 to 1.
        :raises Broken: as :class:`Following`; what came before that is told, and places are good.
        """
        receipt = self.flow.arrived(frame.counted)
        self.malformed += frame.malformed
        try:
            for vector in frame.vectors:
                room = self.rooms.get(vector.meta.room) if vector.meta.room is not None else None
                if room is not None:
                    self._tell(room, room.hear(vector), receipt)
                elif vector.name == "live.bye":
                    return _end(vector.data)
                elif vector.meta.room is None:
                    self._control(vector, receipt, now, chance)
        finally:
            self.flow.complete(receipt, now)
        return None

    def _control(self, vector: Vector, receipt: Receipt, now: float, chance: float) -> None:
        if vector.name == "live.hello":
            self.hello = _as_hello(vector.data)
            self.flow.open(self.hello.window)
            self.on_hello()
        elif vector.name in ("live.ok", "live.error"):
            ok, answers = vector.name == "live.ok", vector.meta.re
            following = self._questions.pop(answers, None) if answers is not None else None
            if following is not None:
                if following.standing is Standing.ASKED:
                    if ok:
                        self._tell(following, following.welcomed(vector.data), receipt)
                        self.on_join()
                    else:
                        self._tell(following, following.refused(vector.data, now, chance), receipt)
            elif answers is not None and self.outbox.answered(answers, ok, vector.data, now, chance):
                pass
            elif not ok:
                self.on_complaint(LiveError.from_data(vector.data))

    def _tell(self, following: Following, event: Event | None, receipt: Receipt) -> None:
        if event is not None:
            receipt.waiting += 1
            following.inbox.append((event, receipt))
            following.wake()


def _as_hello(data: Any) -> Hello:
    try:
        return msgspec.convert(data, Hello)
    except msgspec.ValidationError as error:
        raise Broken(f"live.hello: {error}") from error


def _end(data: Any) -> End:
    try:
        bye = msgspec.convert(data, _Bye)
    except msgspec.ValidationError as error:
        raise Broken(f"live.bye: {error}") from error
    return End(bye.code, bye.reason, None if bye.retry_after_ms is None else bye.retry_after_ms / 1000)

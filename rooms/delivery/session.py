"""One connection's conversation: what came in → what to do. Time comes in as an argument, seconds of any steady clock.

The transport hands in what it received and carries out what comes back, in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import msgspec

from rooms import contract
from rooms.contract import IDLE, MAX_NESTING, PROTOCOL_ERROR, TOO_SLOW, Close, Cursor, Refused, Request
from rooms.delivery.frames import HEARTBEAT, JSON, Format, vector
from rooms.delivery.reader import Flow, Reader

BAD_FRAMES = 5  # in a minute end the connection
UNANSWERED = Close(TOO_SLOW.code, "the heartbeat was not answered")


@dataclass(frozen=True, slots=True)
class Terms:
    """The numbers that a connection is held to; see ``protocol.md``. Periods in seconds."""

    window: int | None
    max_frame_bytes: int
    max_rooms: int
    heartbeat: float
    heartbeat_grace: float
    stall_timeout: float
    idle_timeout: float


@dataclass(frozen=True, slots=True)
class Say:
    """Write this vector, or the heartbeat."""

    vector: bytes


@dataclass(frozen=True, slots=True)
class Join:
    """``id`` is what the answer refers to. A ``quiet`` one is not answered when it resumes; one that is not ``present``
    reads without being among those who are here.
    """

    id: str
    room: str
    cursor: Cursor | None
    state: bool = False
    quiet: bool = False
    present: bool = True


@dataclass(frozen=True, slots=True)
class Leave:
    id: str
    reader: Reader


@dataclass(frozen=True, slots=True)
class Renew:
    id: str
    ticket: str


@dataclass(frozen=True, slots=True)
class Perform:
    request: Request


@dataclass(frozen=True, slots=True)
class Credit:
    """The client acknowledged: readers who waited for room may go on."""


@dataclass(frozen=True, slots=True)
class Shut:
    close: Close


Action = Say | Join | Leave | Renew | Perform | Credit | Shut


class Listening:
    """A connection on which only the server speaks. ``rooms`` are its readers by address, kept by whoever carries out.

    It beats after ``heartbeat`` seconds of silence, and nothing is expected to answer.
    """

    __slots__ = ("_empty_since", "_terms", "_written", "flow", "rooms")

    def __init__(self, terms: Terms, now: float) -> None:
        self._terms = terms
        self.flow = Flow(terms.window)
        self.rooms: dict[str, Reader] = {}
        self._written = self._empty_since = now

    def wrote(self, now: float) -> None:
        self._written = now

    def tick(self, now: float) -> Iterator[Action]:
        """To be asked about once a second."""
        if self.rooms:
            self._empty_since = now
        elif now - self._empty_since >= self._terms.idle_timeout:
            yield Shut(IDLE)
        if now - self._written >= self._terms.heartbeat:
            yield Say(HEARTBEAT)


class Session(Listening):
    """The protocol of one duplex connection."""

    __slots__ = ("_bad_frames", "_due", "_format", "_heard")

    def __init__(self, terms: Terms, now: float, format: Format = JSON) -> None:
        super().__init__(terms, now)
        self._format = format
        self._heard = now
        self._due: float | None = None  # when an answer to the heartbeat must have come
        self._bad_frames: list[float] = []

    # --- time

    def tick(self, now: float) -> Iterator[Action]:
        terms = self._terms
        if self._due is not None and now >= self._due:
            yield Shut(UNANSWERED)
        elif self.flow.stalled_for(now) > terms.stall_timeout:
            yield Shut(TOO_SLOW)
        elif self.rooms:
            self._empty_since = now
        elif now - self._empty_since >= terms.idle_timeout:
            yield Shut(IDLE)
        if self._due is None and now - min(self._heard, self._written) >= terms.heartbeat:
            self._due = now + terms.heartbeat_grace
            yield Say(HEARTBEAT)

    # --- what came in

    def receive(self, data: str | bytes | None, now: float) -> Iterator[Action]:
        """One message of the transport; a binary one comes as bytes."""
        self._heard, self._due = now, None
        try:
            vectors = self._frame(data)
        except Refused as refused:
            yield Say(error(refused))
            if refused.code == "bad_frame":
                self._bad_frames.append(now)
                while self._bad_frames[0] < now - 60:
                    self._bad_frames.pop(0)
                if len(self._bad_frames) >= BAD_FRAMES:
                    yield Shut(PROTOCOL_ERROR)
            return
        except ValueError:
            yield Shut(PROTOCOL_ERROR)
            return
        for item in vectors:
            for action in self._vector(item):
                yield action
                if isinstance(action, Shut):
                    return

    def acknowledge(self, frames: int, now: float) -> bool:
        """As :meth:`receive` of a ``live.ack`` alone; False, with nothing done, where an answer is due to it."""
        if self.flow.window is None or frames > self.flow.sent:
            return False
        self._heard, self._due = now, None
        self.flow.acknowledge(frames)
        return True

    def _frame(self, data: str | bytes | None) -> list[Any]:
        """:raises Refused: ``bad_frame``, ``too_large``; :raises ValueError: too large to be answered."""
        if not isinstance(data, self._format.kind):
            kind = "text" if self._format.kind is str else "binary"
            raise Refused("bad_frame", f"A frame of {self._format.subprotocol} is a {kind} message.")
        try:
            raw = data.encode() if isinstance(data, str) else data
        except UnicodeEncodeError:
            raise Refused("bad_frame", "A frame is UTF-8.") from None
        if len(raw) > 2 * self._terms.max_frame_bytes:
            raise ValueError("too large")
        return parse_frame(raw, self._terms.max_frame_bytes, self._format.decode)

    def _vector(self, item: Any) -> Iterator[Action]:
        id = answerable(item)
        try:
            name, data, meta = split_vector(item)
            if name.startswith("live."):
                yield from self._control(name, data, meta, id)
            else:
                yield Perform(contract.request(name, data, room=meta.get("room"), id=meta.get("id"), wire=True))
        except Refused as refused:
            yield Say(error(refused, id))

    def _control(self, name: str, data: Any, meta: dict[str, Any], id: str | None) -> Iterator[Action]:
        if name == "live.ack":
            try:
                self.flow.acknowledge(contract.checked(data, contract.LiveAck).frames)
            except ValueError:
                yield Shut(PROTOCOL_ERROR)
                return
            yield Credit()
            return
        if name not in ("live.join", "live.leave", "live.auth"):
            raise Refused("unknown_name", "There is no such command.")
        if meta.get("id") is None:
            raise Refused("id_required", "This command needs an id.")
        if id is None:
            raise Refused("bad_data", "An id has 1 to 64 characters of A-Z a-z 0-9 _ - - at `$.meta.id`")
        if name == "live.auth":
            yield Renew(id, contract.checked(data, contract.LiveAuth).ticket)
            return
        room = meta.get("room")
        if not isinstance(room, str):
            raise Refused("bad_data", "This command needs a room - at `$.meta.room`")
        if name == "live.leave":
            contract.checked(data, contract.Empty)
            if room not in self.rooms:
                raise Refused("not_joined", "This connection has not joined it.")
            yield Leave(id, self.rooms[room])
            return
        wanted = contract.checked(data, contract.LiveJoin)
        if wanted.state and wanted.cursor:
            raise Refused("bad_data", "A join asks for the state or has a cursor, not both.")
        if room not in self.rooms and len(self.rooms) >= self._terms.max_rooms:
            raise Refused("too_many_rooms", f"A connection joins at most {self._terms.max_rooms} rooms.")
        cursor = Cursor.parse(wanted.cursor) if isinstance(wanted.cursor, str) else None
        yield Join(id, room, cursor, wanted.state, present=wanted.present)


# --- shapes ----------------------------------------------------------------------------------------------------------


def parse_frame(raw: bytes, max_frame_bytes: int, decode: Callable[[bytes], Any] = msgspec.json.decode) -> list[Any]:
    """The items of a frame, not yet looked at; whatever the format, they are values of JSON.

    :raises Refused: ``too_large``, ``bad_frame``.
    """
    if len(raw) > max_frame_bytes:
        raise Refused("too_large", f"A frame has at most {max_frame_bytes} bytes.")
    try:
        items = decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):  # the last for nesting in the thousands
        raise Refused("bad_frame", "This cannot be decoded, or is nested too deep.") from None
    if not isinstance(items, list):
        raise Refused("bad_frame", "A frame is an array of vectors.")
    look_through(items, MAX_NESTING)
    return items


def split_vector(item: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """:raises Refused: ``bad_data``, when it is not ``[name, data]`` or ``[name, data, meta]``, or has U+0000."""
    if not isinstance(item, list) or len(item) not in (2, 3):
        raise Refused("bad_data", "A vector is [name, data] or [name, data, meta].")
    name, data, meta = item if len(item) == 3 else (*item, {})
    if not isinstance(name, str) or not isinstance(data, dict) or not isinstance(meta, dict):
        raise Refused("bad_data", "A vector has a string, an object and an object.")
    if "\0" in name or contract.any_nul(data) or contract.any_nul(meta):
        raise Refused("bad_data", "U+0000 cannot be stored.")
    return name, data, meta


def answerable(item: Any) -> str | None:
    """The id of a vector that may be malformed, when an answer can name it."""
    meta = item[2] if isinstance(item, list) and len(item) == 3 else None
    id = meta.get("id") if isinstance(meta, dict) else None
    return id if isinstance(id, str) and contract.COMMAND_ID.match(id) else None


def ok(id: str, answer: Any) -> bytes:
    return vector("live.ok", answer, re=id)


def error(refused: Refused, id: str | None = None) -> bytes:
    return vector("live.error", refused.as_data(), **({} if id is None else {"re": id}))


def bye(close: Close) -> bytes:
    return vector("live.bye", close)


def look_through(value: Any, left: int) -> None:
    """:raises Refused: ``bad_frame``, when it is nested deeper than ``left`` or holds what JSON does not know."""
    if isinstance(value, dict | list):
        if left == 0:
            raise Refused("bad_frame", f"A frame is nested at most {MAX_NESTING} deep.")
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise Refused("bad_frame", "The keys of an object are strings.")
            value = value.values()
        for item in value:
            look_through(item, left - 1)
    elif not (value is None or isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))):
        raise Refused("bad_frame", "A frame holds the values of JSON and no others.")

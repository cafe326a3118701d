"""Vectors and frames, from bytes and to bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from rooms.client.errors import Broken, LiveError
from rooms.contract import MAX_NESTING

MAX_FRAME_BYTES = 64 * 1024  # until live.hello says otherwise
LARGEST = 16 * 1024 * 1024  # bytes of a frame that we take: a server keeps them under 64 KB where its vectors allow


class Meta(msgspec.Struct, frozen=True):
    room: str | None = None
    re: str | None = None
    seq: int | None = None
    at: datetime | None = None
    by: str | None = None
    key: str | None = None


class Vector(msgspec.Struct, frozen=True, array_like=True):
    name: str
    data: Any
    meta: Meta = Meta()

    @property
    def is_event(self) -> bool:
        return self.meta.room is not None and not self.name.startswith("live.")


@dataclass(frozen=True, slots=True)
class Frame:
    """``counted``: it holds at least one room event, so flow control counts it; ``malformed`` vectors are left out."""

    vectors: list[Vector]
    counted: bool = False
    malformed: int = 0

    @classmethod
    def of(cls, items: Iterable[Any]) -> Frame:
        """From decoded values."""
        vectors, malformed, counted = [], 0, False
        for item in items:
            try:
                vector = msgspec.convert(item, Vector)
            except msgspec.ValidationError:
                malformed += 1
                counted = counted or _looks_like_an_event(item)
            else:
                vectors.append(vector)
                counted = counted or vector.is_event
        return cls(vectors, counted, malformed)


@dataclass(frozen=True, slots=True)
class Format:
    """How frames look on the wire. A message of ``live.v1`` is text, one of ``live.v1.msgpack`` binary."""

    subprotocol: str
    text: bool
    _encode: Callable[[Any], bytes]
    _frame: Callable[[bytes], list[Vector]]
    _plain: Callable[[bytes], Any]

    def vector(self, name: str, data: Any, **meta: Any) -> bytes:
        """:raises LiveError: ``bad_data``, for what no frame holds: half a character, an odd type, deep nesting."""
        try:
            said = msgspec.json.encode((name, data, meta) if meta else (name, data))
            plain = msgspec.json.decode(said)
            if _depth(plain) >= MAX_NESTING:  # one more for the frame
                raise ValueError(f"it is nested more than {MAX_NESTING} deep")
            return said if self.text else self._encode(plain)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise LiveError("bad_data", f"This cannot be sent: {error}") from error

    def frame(self, vectors: Iterable[bytes]) -> bytes:
        return self._encode([msgspec.Raw(vector) for vector in vectors])

    def parse(self, raw: bytes) -> Frame:
        """:raises Broken: when it is no frame; a malformed vector only costs itself."""
        try:
            vectors = self._frame(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return Frame.of(self._items(raw))
        return Frame(vectors, any(vector.is_event for vector in vectors))

    def _items(self, raw: bytes) -> list[Any]:
        try:
            items = self._plain(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Broken(f"a message that cannot be decoded: {error}") from error
        if not isinstance(items, list):
            raise Broken("a message that is no frame")
        return items


JSON = Format(
    "live.v1", True, msgspec.json.Encoder().encode, msgspec.json.Decoder(list[Vector]).decode, msgspec.json.decode
)
MSGPACK = Format(
    "live.v1.msgpack",
    False,
    msgspec.msgpack.Encoder().encode,
    msgspec.msgpack.Decoder(list[Vector]).decode,
    msgspec.msgpack.decode,
)
FORMATS: dict[Literal["json", "msgpack"], Format] = {"json": JSON, "msgpack": MSGPACK}


def _depth(value: Any) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if items is None else 1 + max(map(_depth, items), default=0)


def _looks_like_an_event(item: Any) -> bool:
    """As the server counts: a malformed event took credit, too."""
    match item:
        case [str(name), _, {"room": str()}]:
            return not name.startswith("live.")
    return False

"""Vectors to bytes, once."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

_encoder = msgspec.json.Encoder()
encode = _encoder.encode

HEARTBEAT = b"[]"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One event as nodes hold it and hand it to each other.

    ``vector`` is the finished JSON vector. Without a ``seq`` it is transient; with a ``key`` it is a ``latest`` one.
    ``redacts`` names earlier seqs whose bytes are to be dropped. A transient one with a ``snapshot`` is a change of
    something that can be told as a whole: a reader who was passed over gets that.
    """

    seq: int | None
    name: str
    vector: bytes
    key: str | None = None
    redacts: tuple[int, ...] = ()
    snapshot: bool = False


class Notice(msgspec.Struct, frozen=True, array_like=True):
    """What was committed to one room's log in one transaction, and the transients that go with it."""

    room: UUID
    epoch: str
    head: int
    entries: list[Entry]


def event_vector(
    name: str,
    data: bytes,
    *,
    room: str,
    at: datetime,
    by: str | None,
    seq: int | None = None,
    key: str | None = None,
) -> bytes:
    """The vector of an event; ``data`` is JSON already."""
    meta: dict[str, Any] = {"room": room, "at": at, "by": by}
    if seq is not None:
        meta["seq"] = seq
    if key is not None:
        meta["key"] = key
    return encode((name, msgspec.Raw(data), meta))


def vector(name: str, data: Any, **meta: Any) -> bytes:
    """A vector of the protocol itself; ``meta`` is left out when it is empty."""
    return encode((name, data, meta) if meta else (name, data))


def frame(vectors: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(vectors) + b"]"


# --- formats ---------------------------------------------------------------------------------------------------------

PACKED = 64  # frames kept in the other format, for all readers to whom the same frame goes


# The ASGI extension of ``docs/fanout.md``: whole WebSocket messages are written as they are.
EXTENSION = "rooms.websocket.write"
TEXT, BINARY = 0x81, 0x82  # first bytes of whole messages, RFC 6455, 5.2

# Compressed messages, RFC 7692, 7.2: each by itself, so that it serves any number of sockets.
SQUEEZED = 0x40  # RSV1, in the first byte
FLUSHED = b"\x00\x00\xff\xff"  # the end of each, which is not sent
WINDOW = 13  # bits. With 15, memory to be cleared first trebles the 15 µs of a short frame; below 12 it grows longer
MEMORY = 6  # zlib's for its tables, as fits that window
FAST = 1  # zlib's level: the next ones cost up to twice as much and save another 2 %
LEAST = 128  # bytes of a frame worth the try: one short event, or two


@dataclass(frozen=True, slots=True)
class Format:
    """How frames look on the wire; inside the node they are JSON.

    :param kind: of the transport's message, text or binary.
    :param encode: a JSON frame in this format.
    :param decode: plain values; raises as msgspec does, and ``UnicodeError`` and ``RecursionError``.
    :param message: a JSON frame as the whole WebSocket message that a server sends.
    :param squeezed: the same, compressed where that is shorter; for a client who takes a window of ``WINDOW`` bits.
    :param acknowledged: the number in a message that is one ``live.ack`` and nothing else, in the bytes that our
        clients write; None for all others, which may be one too.
    """

    subprotocol: str
    kind: type[str] | type[bytes]
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], Any]
    message: Callable[[bytes], bytes]
    squeezed: Callable[[bytes], bytes]
    acknowledged: Callable[[bytes], int | None]


def _message(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, size)
    elif size < 2**16:
        head = struct.pack("!BBH", first, 126, size)
    else:
        head = struct.pack("!BBQ", first, 127, size)
    return head + payload


def _squeezed(first: int, payload: bytes) -> bytes:
    if len(payload) >= LEAST:
        press = zlib.compressobj(FAST, zlib.DEFLATED, -WINDOW, MEMORY)
        pressed = press.compress(payload) + press.flush(zlib.Z_SYNC_FLUSH)
        if len(pressed) - len(FLUSHED) < len(payload):
            return _message(first | SQUEEZED, pressed[: -len(FLUSHED)])
    return _message(first, payload)


def _text_message(data: bytes) -> bytes:
    return _message(TEXT, data)


def _squeezed_text(data: bytes) -> bytes:
    return _squeezed(TEXT, data)


_ACK = re.compile(rb'\[\["live\.ack",\{"frames":(0|[1-9][0-9]{0,14})\}\]\]')


def _acknowledged(data: bytes) -> int | None:
    found = _ACK.fullmatch(data)
    return int(found[1]) if found else None


@lru_cache(PACKED)
def _packed(data: bytes) -> bytes:
    vectors = msgspec.json.decode(data)
    try:
        return msgspec.msgpack.encode(vectors)
    except OverflowError:  # MessagePack's integers have 64 bits, JSON's have no end
        return msgspec.msgpack.encode(_within_64_bits(vectors))


def _within_64_bits(value: Any) -> Any:
    match value:
        case dict():
            return {key: _within_64_bits(item) for key, item in value.items()}
        case list():
            return [_within_64_bits(item) for item in value]
        case int() if not -(2**63) <= value < 2**64:
            return float(value)  # what a JSON reader in a browser makes of it, too
    return value


def _packed_message(data: bytes) -> bytes:
    return _message(BINARY, _packed(data))


def _squeezed_packed(data: bytes) -> bytes:
    return _squeezed(BINARY, _packed(data))


_PACKED_ACK = b"\x91\x92\xa8live.ack\x81\xa6frames"
_PACKED_INTEGERS = {0xCC: 1, 0xCD: 2, 0xCE: 4}  # their first byte, and how many follow


def _packed_acknowledged(data: bytes) -> int | None:
    if not data.startswith(_PACKED_ACK):
        return None
    number = data[len(_PACKED_ACK) :]
    if len(number) == 1 and number[0] < 0x80:
        return number[0]
    if number and len(number) - 1 == _PACKED_INTEGERS.get(number[0]):
        return int.from_bytes(number[1:])
    return None


JSON = Format("live.v1", str, bytes, msgspec.json.decode, _text_message, _squeezed_text, _acknowledged)
MSGPACK = Format(
    "live.v1.msgpack",
    bytes,
    _packed,
    msgspec.msgpack.decode,
    _packed_message,
    _squeezed_packed,
    _packed_acknowledged,
)
FORMATS = {format.subprotocol: format for format in (JSON, MSGPACK)}

"""Vectors to bytes, once."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Format:
    """How frames look on the wire; inside the node they are JSON.

    :param kind: of the transport's message, text or binary.
    :param encode: a JSON frame in this format.
    :param decode: plain values; raises as msgspec does, and ``UnicodeError`` and ``RecursionError``.
    """

    subprotocol: str
    kind: type[str] | type[bytes]
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], Any]


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


JSON = Format("live.v1", str, lambda data: data, msgspec.json.decode)
MSGPACK = Format("live.v1.msgpack", bytes, _packed, msgspec.msgpack.decode)
FORMATS = {format.subprotocol: format for format in (JSON, MSGPACK)}

"""Vectors to bytes, once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

_encoder = msgspec.json.Encoder()
encode = _encoder.encode

HEARTBEAT = b"[]"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One event as nodes hold it and hand it to each other.

    ``vector`` is the finished JSON vector. Without a ``seq`` it is transient; with a ``key`` it is a ``latest`` one.
    ``redacts`` names earlier seqs whose bytes are to be dropped.
    """

    seq: int | None
    name: str
    vector: bytes
    key: str | None = None
    redacts: tuple[int, ...] = ()


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

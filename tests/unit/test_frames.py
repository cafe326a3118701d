"""Frames as they go over the wire, and the one message that is read from its bytes."""

from __future__ import annotations

import json

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from rooms.delivery.frames import JSON, MSGPACK, Format
from rooms.delivery.session import Session, Terms


@pytest.mark.parametrize("size", [2, 125, 126, 65_535, 65_536])
def test_a_message_is_what_a_websocket_library_makes_of_it(size: int) -> None:
    data = b'["' + b"x" * (size - 4) + b'"]' if size > 3 else b"[]"
    assert len(data) == size
    assert JSON.message(data) == Frame(Opcode.TEXT, data).serialize(mask=False)
    assert MSGPACK.message(data) == Frame(Opcode.BINARY, MSGPACK.encode(data)).serialize(mask=False)


def json_ack(frames: object) -> bytes:
    return json.dumps([["live.ack", {"frames": frames}]], separators=(",", ":")).encode()


def packed_ack(frames: object) -> bytes:
    return msgspec.msgpack.encode([["live.ack", {"frames": frames}]])


@pytest.mark.parametrize("frames", [0, 1, 9, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1])
def test_an_acknowledgement_is_read_from_its_bytes(frames: int) -> None:
    assert JSON.acknowledged(json_ack(frames)) == frames
    assert MSGPACK.acknowledged(packed_ack(frames)) == frames


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'[["live.ack",{"frames":}]]',
        b'[["live.ack",{"frames":-1}]]',
        b'[["live.ack",{"frames":01}]]',
        b'[["live.ack",{"frames":1.0}]]',
        b'[["live.ack",{"frames":"1"}]]',
        b'[["live.ack",{"frames":1e3}]]',
        b'[["live.ack", {"frames":1}]]',
        b'[["live.ack",{"frames":1}]]\n',
        b'[["live.ack",{"frames":1},{}]]',
        b'[["live.ack",{"frames":1,"frames":2}]]',
        b'[["live.ack",{"frames":1}],["live.ack",{"frames":2}]]',
        b'[["live.ack",{"frames":' + b"9" * 16 + b"}]]",
        '[["live.ack",{"frames":\u0661}]]'.encode(),  # a digit, in Arabic
        packed_ack(1),
    ],
)
def test_every_other_message_goes_the_usual_way(data: bytes) -> None:
    assert JSON.acknowledged(data) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        packed_ack(1)[:-1],
        packed_ack(1) + b"\x00",
        packed_ack(300)[:-1],
        packed_ack(300) + b"\x00",
        packed_ack(-1),
        packed_ack(1.0),
        packed_ack("1"),
        packed_ack(None),
        packed_ack([]),
        packed_ack(2**32),
        json_ack(1),
    ],
)
def test_every_other_packed_message_goes_the_usual_way(data: bytes) -> None:
    assert MSGPACK.acknowledged(data) is None


@pytest.mark.parametrize("format", [JSON, MSGPACK])
def test_what_is_read_from_its_bytes_means_what_the_session_makes_of_it(format: Format, terms: Terms) -> None:
    """One hears the number, the other the message; afterwards they are alike."""
    low, usual = Session(terms, 0, format), Session(terms, 0, format)
    message = format.encode(json_ack(2))
    for session in (low, usual):
        for _ in range(3):
            session.flow.count(0)
    list(usual.receive(message.decode() if format is JSON else message, 7))
    frames = format.acknowledged(message)
    assert frames is not None and low.acknowledge(frames, 7)
    assert (low._heard, low._due) == (usual._heard, usual._due) == (7, None)
    assert low.flow.acknowledged == usual.flow.acknowledged == 2
    assert low.flow.stalled_for(9) == usual.flow.stalled_for(9)


def test_more_than_was_sent_and_what_was_not_agreed_on_is_left_to_the_session(terms: Terms) -> None:
    session = Session(terms, 0)
    assert not session.acknowledge(1, 7)
    session.flow.window = None
    assert not session.acknowledge(0, 7)
    assert session._heard == 0

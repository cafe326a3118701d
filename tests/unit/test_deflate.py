"""Compressed messages: made once for all, taken one by one, and nothing kept between them."""

from __future__ import annotations

import asyncio
import re
import struct
import tracemalloc
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from rooms.delivery.frames import FORMATS, JSON, SQUEEZED, WINDOW, encode, frame
from tests.support.wire import ACK, BINARY, CLOSE, TEXT, Open, client_frame, opened, server_frame

LIMIT = 100_000  # bytes of a message
OFFER = "permessage-deflate; client_max_window_bits"  # a browser's
TAIL = b"\x00\x00\xff\xff"


def squeeze(payload: bytes, *, bits: int = 15) -> bytes:
    press = zlib.compressobj(wbits=-bits)
    return (press.compress(payload) + press.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def squeezed_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    return client_frame(squeeze(payload), opcode, rsv=SQUEEZED)


# --- what is made


@given(st.lists(st.text(max_size=300), max_size=60), st.sampled_from(sorted(FORMATS)))
def test_what_is_compressed_is_what_goes_plain(texts: list[str], subprotocol: str) -> None:
    """To whoever reads it with the window that was agreed, and nothing of what came before."""
    format = FORMATS[subprotocol]
    data = frame([encode(["chat.message", {"text": text}]) for text in texts])
    plain, squeezed = format.message(data), format.squeezed(data)
    assert len(squeezed) <= len(plain)
    if squeezed[0] & SQUEEZED:
        payload = squeezed[{126: 4, 127: 10}.get(squeezed[1], 2) :]
        client = PerMessageDeflate(True, True, WINDOW, 15)
        found = client.decode(Frame(Opcode(squeezed[0] & 0x0F), payload, True, True)).data
        assert found == format.encode(data)
        assert squeezed[0] & ~SQUEEZED == plain[0]
    else:
        assert squeezed == plain


def test_a_batch_shrinks_by_half_and_what_is_short_goes_plain() -> None:
    vectors = [encode(["chat.message", {"text": f"nobody says this twice {n**7}"}, {"seq": n}]) for n in range(20)]
    assert len(JSON.squeezed(frame(vectors))) < len(JSON.message(frame(vectors))) / 2
    assert JSON.squeezed(frame(vectors[:1])) == JSON.message(frame(vectors[:1]))


# --- the handshake


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        (OFFER, True),
        ("permessage-deflate", True),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", True),
        (f"permessage-deflate; server_max_window_bits={WINDOW}", True),
        ("permessage-deflate; server_max_window_bits=15; client_max_window_bits=9", True),
        (f"permessage-deflate; server_max_window_bits={WINDOW - 1}", False),
        (f"permessage-deflate; server_max_window_bits={WINDOW - 1}, permessage-deflate", True),
        ("permessage-deflate; server_max_window_bits=8", False),
        ("permessage-deflate; server_max_window_bits", False),
        ("permessage-deflate; window=9", False),
        ("x-webkit-deflate-frame", False),
    ],
)
async def test_who_takes_our_window_gets_it_and_all_others_plain_frames(offer: str, agreed: bool) -> None:
    async with opened(offer) as one:
        told = re.findall(r"(?mi)^sec-websocket-extensions: (.*)\r$", one.answer)
        terms = f"server_no_context_takeover; client_no_context_takeover; server_max_window_bits={WINDOW}"
        assert re.sub("; client_max_window_bits=9$", "", "".join(told)) == (
            f"permessage-deflate; {terms}" if agreed else ""
        )
        assert one.socket.window == (WINDOW if agreed else 0)
        await one.peer.send(client_frame(b"[1]"))
        assert (await one.receive())["text"] == "[1]"


async def test_without_the_option_nothing_is_agreed() -> None:
    async with opened() as one:
        assert "extensions" not in one.answer.lower()
        assert one.socket.window == 0


# --- what goes out


async def test_compressed_and_plain_frames_go_out_in_one_order() -> None:
    long = frame([encode(["chat.message", {"text": "again and " * 50}])])
    squeezed = JSON.squeezed(long)
    assert squeezed[0] & SQUEEZED
    async with opened(OFFER) as one:
        assert one.socket.write(squeezed)
        await one.send({"type": "websocket.send", "text": "between"})
        assert one.socket.write(server_frame(b"plain") + squeezed)
        compressed = (TEXT | SQUEEZED, squeezed[4:] if squeezed[1] == 126 else squeezed[2:])
        assert [await one.peer.frame() for _ in range(4)] == [
            compressed, (TEXT, b"between"), (TEXT, b"plain"), compressed,
        ]  # fmt: skip


# --- what comes in


async def test_what_comes_compressed_is_taken_as_if_it_were_not() -> None:
    payload = "Grüße 👋 ".encode() * 40
    one_by_one = squeeze(payload)
    async with opened(OFFER) as one:
        await one.peer.send(squeezed_frame(b"first") + client_frame(b"plain") + squeezed_frame(b"\x90\x91", BINARY))
        assert (await one.receive())["text"] == "first"
        assert (await one.receive())["text"] == "plain"
        assert (await one.receive())["bytes"] == b"\x90\x91"
        await one.peer.send(client_frame(one_by_one[:7], rsv=SQUEEZED, fin=False) + client_frame(one_by_one[7:], 0))
        assert (await one.receive())["text"] == payload.decode()
        await one.peer.send(client_frame(squeeze(payload, bits=9), rsv=SQUEEZED))
        assert (await one.receive())["text"] == payload.decode()
        await one.peer.send(client_frame(b"\x00", rsv=SQUEEZED))  # RFC 7692, 7.2.3.6: a message without a byte
        assert (await one.receive())["text"] == ""
        await one.peer.send(client_frame(b"plain") + client_frame(b"again"))
        assert [(await one.receive())["text"] for _ in "12"] == ["plain", "again"]


def heard_by(one: Open) -> list[tuple[bytes, bool]]:
    heard: list[tuple[bytes, bool]] = []

    def listener(data: bytes, is_text: bool) -> bool:
        heard.append((data, is_text))
        return True

    one.socket.hear(listener)
    return heard


async def test_a_listener_hears_what_is_compressed_and_short() -> None:
    async with opened(OFFER) as one:
        heard = heard_by(one)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        for number, (message, opcode) in enumerate([(ACK, TEXT), (b"\x91\x92", BINARY), (b"y" * 125, TEXT)], 1):
            await one.peer.send(squeezed_frame(message, opcode))
            while len(heard) < number:
                await asyncio.sleep(0)
        await one.peer.send(squeezed_frame(b"x" * 126))  # short on the wire alone
        assert (await receiving)["text"] == "x" * 126
        assert heard == [(ACK, True), (b"\x91\x92", False), (b"y" * 125, True)]


async def test_and_nothing_of_a_message_that_is_not_over() -> None:
    async with opened(OFFER) as one:
        heard = heard_by(one)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        whole = squeeze(ACK)
        await one.peer.send(client_frame(whole[:9], rsv=SQUEEZED, fin=False))
        await one.peer.send(client_frame(whole[9:], 0))
        assert (await receiving)["text"].encode() == ACK
        assert heard == []


WRONG = {
    "one byte too many": (squeezed_frame(b"x" * (LIMIT + 1)), 1009),
    "a bomb": (squeezed_frame(b"\0" * 20_000_000), 1009),
    "not compressed at all": (client_frame(b"\xff\xff\xff", rsv=SQUEEZED), 1002),
    "not UTF-8": (squeezed_frame(b"\xff\xfe"), 1007),
    "the bit in a ping": (client_frame(b"", 9, rsv=SQUEEZED), 1002),
    "the bit in a fragment that is not the first": (
        client_frame(squeeze(ACK)[:5], rsv=SQUEEZED, fin=False) + client_frame(squeeze(ACK)[5:], 0, rsv=SQUEEZED),
        1002,
    ),
    "another bit": (client_frame(ACK, rsv=0x20), 1002),
}


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_closes_and_what_came_after_it_is_forgotten(what: str, listens: bool) -> None:
    data, code = WRONG[what]
    async with opened(OFFER, max_size=LIMIT) as one:
        heard = heard_by(one) if listens else []
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        await one.peer.send(data + client_frame(b"later"))
        assert (await receiving)["code"] == code
        opcode, payload = await one.peer.frame()
        assert (opcode, payload[:2]) == (CLOSE, struct.pack("!H", code))
        with pytest.raises(EOFError):
            await one.peer.take(1)
        assert heard == []


async def test_the_longest_message_that_may_come_comes() -> None:
    async with opened(OFFER, max_size=LIMIT) as one:
        await one.peer.send(squeezed_frame(b"x" * LIMIT))
        assert len((await one.receive())["text"]) == LIMIT


async def test_many_that_inflate_to_much_are_never_in_memory_together() -> None:
    """A thousand of 100 KB fit one read of the socket."""
    several = squeezed_frame(b"x" * LIMIT) * 1_000
    async with opened(OFFER, max_size=LIMIT) as one:
        sending = asyncio.create_task(one.peer.send(several))
        tracemalloc.start()
        try:
            for _ in range(1_000):
                assert len((await one.receive())["text"]) == LIMIT
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await sending
        assert most < 20 * LIMIT


# --- at rest


async def test_nothing_is_kept_between_messages() -> None:
    async with opened(OFFER) as one, opened(OFFER) as other:
        for each in (one, other):
            await each.peer.send(squeezed_frame(b"x" * 5_000))
            assert len((await each.receive())["text"]) == 5_000
        [extension], [another] = one.protocol.conn.extensions, other.protocol.conn.extensions
        assert extension is another
        assert not hasattr(extension, "decoder") and not hasattr(extension, "encoder")


def test_packed_is_compressed_too() -> None:
    data = frame([encode(["chat.message", {"text": f"one of {n}"}, {"room": "acme/general"}]) for n in range(20)])
    packed = FORMATS["live.v1.msgpack"]
    assert msgspec.msgpack.decode(packed.encode(data)) == msgspec.json.decode(data)
    assert packed.squeezed(data)[0] == BINARY | 0x80 | SQUEEZED

"""The protocol class of ``manage.py serve``: one order, honest about a full socket, and nothing kept at rest."""

from __future__ import annotations

import asyncio
import gc
import struct

import pytest
from websockets.frames import Frame
from websockets.http11 import Request

from tests.support.wire import ACK, BINARY, CLOSE, MASK, PING, PONG, TEXT, Open, client_frame, opened, server_frame


async def test_what_is_written_is_what_goes_over_the_wire() -> None:
    async with opened() as one:
        assert one.socket.write(server_frame(b"[1]") + server_frame(b"[2]"))
        assert [await one.peer.frame() for _ in "12"] == [(TEXT, b"[1]"), (TEXT, b"[2]")]


async def test_a_full_socket_says_so_and_keeps_one_frame_at_most() -> None:
    frame = server_frame(b"x" * 10_000)
    async with opened() as one:
        taken = await one.fill(frame)
        assert not one.socket.takes
        assert 0 < one.protocol.transport.get_write_buffer_size() <= len(frame)
        draining = asyncio.create_task(one.socket.drain())
        assert [await one.peer.frame() for _ in range(taken)] == [(TEXT, b"x" * 10_000)] * taken
        await draining
        assert one.socket.takes and one.socket.write(server_frame(b"again"))
        assert await one.peer.frame() == (TEXT, b"again")


async def test_a_direct_write_does_not_overtake_a_send_that_waits() -> None:
    """As soon as the socket takes more, the write would find it open; the send has its turn later in that loop."""
    async with opened() as one:
        taken = await one.fill(server_frame(b"x" * 10_000))
        resume, tries = one.protocol.resume_writing, []

        def resumed() -> None:
            resume()
            tries.append(one.socket.write(server_frame(b"later")))

        one.protocol.resume_writing = resumed  # type: ignore[method-assign]
        sending = asyncio.create_task(one.send({"type": "websocket.send", "text": "sooner"}))
        await asyncio.sleep(0)
        for _ in range(taken):
            await one.peer.frame()
        await sending
        assert tries[0] is False
        assert await one.peer.frame() == (TEXT, b"sooner")


async def test_who_waits_for_a_socket_that_is_lost_is_told() -> None:
    async with opened() as one:
        await one.fill(server_frame(b"x" * 10_000))
        draining = asyncio.create_task(one.socket.drain())
        await asyncio.sleep(0)
        one.peer.hang_up()
        with pytest.raises(OSError):  # noqa: PT011 uvicorn's own, a subclass without a message
            await draining
        assert not one.socket.takes and not one.socket.write(b"nobody")


async def test_a_client_that_takes_nothing_can_be_given_up() -> None:
    async with opened() as one:
        await one.fill(server_frame(b"x" * 10_000))
        one.socket.abort()
        assert (await one.receive())["type"] == "websocket.disconnect"
        assert one.protocol not in one.protocol.connections


async def test_nothing_is_written_after_a_close() -> None:
    async with opened() as one:
        assert one.socket.write(server_frame(b"last"))
        await one.send({"type": "websocket.close", "code": 4408, "reason": "too slow"})
        assert not one.socket.takes and not one.socket.write(server_frame(b"late"))
        assert await one.peer.frame() == (TEXT, b"last")
        assert await one.peer.frame() == (CLOSE, struct.pack("!H", 4408) + b"too slow")


async def test_nothing_is_written_after_the_clients_close_is_answered() -> None:
    async with opened() as one:
        await one.peer.send(client_frame(struct.pack("!H", 1000), CLOSE))
        assert (await one.receive())["type"] == "websocket.disconnect"
        assert not one.socket.write(server_frame(b"late"))
        assert await one.peer.frame() == (CLOSE, struct.pack("!H", 1000))
        with pytest.raises(EOFError):
            await one.peer.take(1)


async def test_a_server_that_stops_while_a_client_says_goodbye_goes_on() -> None:
    async with opened() as one:
        await one.fill(server_frame(b"x" * 10_000))  # so that the answer to the close waits, and the transport with it
        await one.peer.send(client_frame(struct.pack("!H", 1000), CLOSE))
        await one.receive()
        one.protocol.shutdown()
        one.peer.hang_up()


async def test_of_pings_to_a_full_socket_the_newest_is_answered() -> None:
    async with opened() as one:
        taken = await one.fill(server_frame(b"x" * 10_000))
        for number in range(50):
            await one.peer.send(client_frame(b"%d" % number, PING))
            await one.peer.send(client_frame(b"[]"))
            await one.receive()  # it was read, and the ping before it
        frames = [await one.peer.frame()]
        while frames[-1] != (PONG, b"49"):
            frames.append(await one.peer.frame())
        assert frames.count((TEXT, b"x" * 10_000)) == taken
        assert len(frames) - taken < 10
        await one.peer.send(client_frame(b"now", PING))
        assert await one.peer.frame() == (PONG, b"now")


# --- a listener


def listening(one: Open, *, done: bool = True) -> list[tuple[bytes, bool]]:
    heard: list[tuple[bytes, bool]] = []

    def listener(data: bytes, is_text: bool) -> bool:
        heard.append((data, is_text))
        return done

    one.socket.hear(listener)
    return heard


async def test_a_listener_hears_what_comes_while_the_application_waits() -> None:
    async with opened() as one:
        heard = listening(one)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        await one.peer.send(client_frame(ACK))
        while len(heard) < 1:
            await asyncio.sleep(0)
        await one.peer.send(client_frame(b"\x91\x92", BINARY))
        while len(heard) < 2:
            await asyncio.sleep(0)
        await one.peer.send(client_frame(b"x" * 126))  # too long to be heard
        assert (await receiving)["text"] == "x" * 126
        assert heard == [(ACK, True), (b"\x91\x92", False)]


@pytest.mark.parametrize("size", [1, 125])
async def test_it_hears_messages_of_every_short_length(size: int) -> None:
    async with opened() as one:
        heard = listening(one)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        await one.peer.send(client_frame(b"y" * size))
        while not heard:
            await asyncio.sleep(0)
        assert heard == [(b"y" * size, True)]
        receiving.cancel()


async def test_what_it_is_not_done_with_goes_the_usual_way() -> None:
    async with opened() as one:
        heard = listening(one, done=False)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        await one.peer.send(client_frame(ACK))
        assert (await receiving)["text"] == ACK.decode()
        assert heard == [(ACK, True)]


async def test_while_the_application_is_busy_it_hears_nothing_so_that_the_order_is_kept() -> None:
    async with opened() as one:
        heard = listening(one)
        await one.peer.send(client_frame(b"first") + client_frame(ACK))
        assert (await one.receive())["text"] == "first"
        assert (await one.receive())["text"] == ACK.decode()
        await one.peer.send(client_frame(ACK))  # nobody waits for it yet
        while not one.protocol.read_paused:
            await asyncio.sleep(0)
        assert (await one.receive())["text"] == ACK.decode()
        assert heard == []


PIECES = {
    "a byte at a time": ([bytes([byte]) for byte in client_frame(ACK)], ACK),
    "its head, then the rest": ([client_frame(ACK)[:2], client_frame(ACK)[2:]], ACK),
    "in fragments": ([client_frame(ACK[:5], fin=False), client_frame(ACK[5:], 0)], ACK),
    "a frame that looks like one inside another": (
        [client_frame(b"a" * len(client_frame(ACK)), BINARY)[:6], client_frame(ACK)],
        bytes(byte ^ MASK[i % 4] for i, byte in enumerate(client_frame(ACK))),
    ),
}


@pytest.mark.parametrize("what", PIECES)
async def test_what_does_not_come_alone_and_whole_is_not_heard(what: str) -> None:
    pieces, message = PIECES[what]
    async with opened() as one:
        heard = listening(one)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        for piece in pieces:
            await one.peer.send(piece)
            for _ in range(10):  # each in a segment of its own, or not: the outcome is the same
                await asyncio.sleep(0)
        found = await receiving
        assert (found.get("bytes") or found["text"].encode()) == message
        assert heard == []


async def test_what_breaks_the_framing_is_not_heard_but_closed() -> None:
    async with opened() as one:
        heard = listening(one)
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        await one.peer.send(client_frame(b"begun", fin=False))
        await one.peer.send(client_frame(ACK))  # the message before is not over
        assert (await receiving)["code"] == 1002
        assert heard == []


# --- at rest


async def test_nothing_of_the_handshake_is_kept() -> None:
    async with opened() as one:
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, Request)]
        assert not hasattr(one.protocol, "scope")


async def test_nor_a_large_message_that_was_taken() -> None:
    async with opened() as one:
        listening(one)
        await one.peer.send(client_frame(b"x" * 5_000))
        assert len((await one.receive())["text"]) == 5_000
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, Frame)]
        receiving = asyncio.create_task(one.receive())
        for piece in (client_frame(b"y" * 5_000)[:3_000], client_frame(b"y" * 5_000)[3_000:]):
            await one.peer.send(piece)
        assert (await receiving)["text"] == "y" * 5_000

"""uvicorn's WebSocket protocol, on which finished frames are written at once.

It offers the ASGI extension of ``docs/fanout.md``: bytes that many connections share go to the socket by one call, in
one order with everything that is sent by ``await send()``. And it mends what uvicorn's own leaves open: what clients
may do to it without an end, and what a connection at rest keeps for nobody.

A worker imports this before Django is set up, so nothing here may need it on import.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode
from websockets.protocol import OPEN, Protocol
from websockets.streams import StreamReader
from websockets.utils import apply_mask

from rooms.delivery.frames import BINARY, EXTENSION, SQUEEZED, TEXT, WINDOW
from rooms.transports.deflate import OFFERS, Deflated, inflated

VERSION = "1.1"

DEFLATED = "rooms.websocket.deflated"  # a message in the inbox as it came; nobody else sees it
MASKED = 0x80
HEAD = 6  # bytes before the payload of a short frame of a client: two, and the mask
LARGE = 1_000  # bytes of a message that are not kept until the next one comes
SHORT = 126  # bytes of a payload, from which on its length takes more room

Listener = Callable[[bytes, bool], bool]


class Gate:
    """As ``asyncio.Event``, which keeps a queue of 700 bytes for waiters who never come."""

    __slots__ = ("_waiters", "is_open")

    def __init__(self) -> None:
        self.is_open = True
        self._waiters: list[asyncio.Future[None]] = []

    def set(self) -> None:
        self.is_open = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        self.is_open = False

    async def wait(self) -> None:
        while not self.is_open:  # it may close again before the waiter has its turn
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter


class Inbox:
    """As ``asyncio.Queue`` for one taker, without its four queues of 700 bytes."""

    __slots__ = ("_messages", "_taker")

    def __init__(self) -> None:
        self._messages: list[Any] = []
        self._taker: asyncio.Future[None] | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether everything that came was taken, and its taker waits for more."""
        return self._taker is not None and not self._messages

    def empty(self) -> bool:
        return not self._messages

    def clear(self) -> None:
        self._messages.clear()

    def put_nowait(self, message: Any) -> None:
        self._messages.append(message)
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    async def get(self) -> Any:
        while not self._messages:
            self._taker = asyncio.get_running_loop().create_future()
            try:
                await self._taker
            finally:
                self._taker = None
        return self._messages.pop(0)


class FanoutProtocol(WebSocketsSansIOProtocol):
    """One WebSocket. What the extension offers an application is :meth:`write`, :attr:`takes`, :meth:`drain`,
    :meth:`abort`, :meth:`hear` and :attr:`window`.

    A socket is full as soon as the kernel leaves anything behind: so little waits in the transport, one frame at most.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._inbox = Inbox()
        self._gate = Gate()
        self.queue = self._inbox  # type: ignore[assignment]
        self.writable = self._gate  # type: ignore[assignment]
        self._ahead = 1  # the handshake, and sends that wait for the socket: no direct write overtakes them
        self._listener: Listener | None = None
        self._is_laden = False  # the parser holds a message worth forgetting
        self._is_deflated = False  # the message that comes
        self._pong = b""  # to be sent when the socket takes more
        self.conn.available_extensions = OFFERS if self.config.ws_per_message_deflate else None

    # --- the extension

    @property
    def takes(self) -> bool:
        """Whether :meth:`write` would take a frame now."""
        return not self._ahead and self._gate.is_open and self.conn.close_sent is None

    def write(self, data: bytes) -> bool:
        """Hand whole frames, as they go over the wire, to the socket; False leaves everything as it was."""
        if self._ahead or not self._gate.is_open or self.conn.close_sent is not None:
            return False
        self.transport.write(data)
        return True

    async def drain(self) -> None:
        """Returns when :meth:`write` would take a frame.

        :raises OSError: it never will again.
        """
        while not self.takes:
            await self._gate.wait()
            if self.disconnected or self.conn.close_sent is not None:
                raise ClientDisconnected
            if self._ahead:  # their turn comes before ours
                await asyncio.sleep(0)

    def abort(self) -> None:
        """End the connection now, without what the client does not take."""
        self.transport.abort()

    def hear(self, listener: Listener) -> None:
        """Show short whole messages to this listener while the application waits for one: what it says True to is
        done, all else goes the usual way.
        """
        self._listener = listener

    @property
    def window(self) -> int:
        """Bits of the window that compressed messages may use; 0 for a client who takes none."""
        return WINDOW if self.conn.extensions else 0

    # --- writing

    async def send(self, message: Any) -> None:
        self._ahead += 1
        try:
            await super().send(message)
        finally:
            self._ahead -= 1
        if message["type"] == "websocket.accept" and self.handshake_complete and not self.disconnected:
            self._ahead -= 1
            self._forget_handshake()

    def _forget_handshake(self) -> None:
        """Nobody asks for it any more, and of a browser it is five kilobytes."""
        del self.request, self.response, self.scope
        self._renew_parser(self.conn.parser)

    def _renew_parser(self, parser: Any) -> None:
        """A parser keeps what it gave last, the request too, until the next is whole."""
        if _is_between_frames(parser) or _is_between_frames(parser.gi_yieldfrom):
            self.conn.parser = Protocol.parse(self.conn)
            next(self.conn.parser)

    def handle_ping(self) -> None:
        pong = b"".join(self.conn.data_to_send())
        if self._gate.is_open:
            self.transport.write(pong)
        else:  # the newest will do: a client may ask for any number and read none
            self._pong = pong

    def resume_writing(self) -> None:
        super().resume_writing()
        pong, self._pong = self._pong, b""
        if pong and self.conn.close_sent is None:
            self.transport.write(pong)

    # --- reading

    def data_received(self, data: bytes) -> None:
        if self._listener is not None and self._inbox.is_awaited and self._is_heard(data):
            return
        super().data_received(data)
        if self._is_laden:
            self._is_laden = False
            self._renew_parser(self.conn.parser)
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.transport.is_closing():
            # Refused by the parser, for its length, say: the answer is made, and nobody sends it or hangs up.
            self.handshake_complete = self.close_sent = True
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def _is_heard(self, data: bytes) -> bool:
        """Whether this is one short message, whole and alone, that the listener is done with."""
        size = len(data) - HEAD
        if not (0 < size < SHORT and data[1] == MASKED | size):
            return False
        connection = self.conn
        first, is_deflated = data[0], False
        if first & SQUEEZED and connection.extensions:
            first, is_deflated = first ^ SQUEEZED, True
        if first not in (TEXT, BINARY):
            return False
        if not _is_between_frames(connection.parser) or connection.current_size is not None:
            return False
        assert self._listener is not None
        payload = apply_mask(data[HEAD:], data[2:HEAD])
        if is_deflated:
            try:
                payload = inflated(payload, SHORT - 1)
            except (PayloadTooBig, zlib.error):
                return False
        return self._listener(payload, first == TEXT)

    def handle_text(self, event: Any) -> None:
        self._is_deflated = isinstance(event, Deflated)
        super().handle_text(event)

    def handle_bytes(self, event: Any) -> None:
        self._is_deflated = isinstance(event, Deflated)
        super().handle_bytes(event)

    def send_receive_event_to_app(self) -> None:
        self._is_laden = len(self.frames[-1]) > LARGE
        if self._is_deflated:
            self._keep()
        elif self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(self.frames):
            self.frames = []
            self.conn.send_close(1007)
            self.handle_parser_exception()  # without a traceback in the log for whoever likes to send such bytes
        else:
            super().send_receive_event_to_app()

    def _keep(self) -> None:
        """Leave a message compressed until it is taken: a thousand that inflate to megabytes may come in one read."""
        data, self.frames = b"".join(self.frames), []
        if self.close_sent:
            return
        self._inbox.put_nowait({"type": DEFLATED, "kind": self.curr_msg_data_type, "data": data})
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    async def receive(self) -> Any:
        while True:
            message: Any = await super().receive()
            if message["type"] != DEFLATED:
                return message
            kind, data = message["kind"], message["data"]
            assert self.conn.max_message_size is not None
            try:
                data = inflated(data, self.conn.max_message_size)
                if len(data) > LARGE:
                    await asyncio.sleep(0)  # others have their turn: it was much for what it took to send it
                return {"type": "websocket.receive", kind: data.decode() if kind == "text" else data}
            except PayloadTooBig as error:
                self._refuse(CloseCode.MESSAGE_TOO_BIG, str(error))
            except zlib.error:
                self._refuse(CloseCode.PROTOCOL_ERROR, "decompression failed")
            except UnicodeDecodeError:
                self._refuse(CloseCode.INVALID_DATA)

    def _refuse(self, code: CloseCode, reason: str = "") -> None:
        """Close for what came, and forget what came after it."""
        if self.conn.state is OPEN and not self.disconnected:
            self._inbox.clear()
            self.conn.fail(code, reason)
            self.handle_parser_exception()

    # --- the connection

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.close_sent:  # else it was refused, and there is no scope
            self.scope["extensions"][EXTENSION] = {"version": VERSION, "socket": self}

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ahead += 1
        self._listener = None
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self.conn.close_rcvd is not None:  # it says goodbye already, and uvicorn's would be an error
            self.transport.close()
        else:
            super().shutdown()


def _is_between_frames(parser: Any) -> bool:
    """Whether this parser of ``websockets`` has no byte of a frame that is not over yet."""
    inner = getattr(parser, "gi_yieldfrom", None)
    return inner is not None and inner.gi_code is StreamReader.at_eof.__code__


def _is_utf8(pieces: list[bytes]) -> bool:
    try:
        b"".join(pieces).decode()
    except UnicodeDecodeError:
        return False
    return True

"""The WebSocket: everything in one socket, with acknowledgements."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, NoReturn

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from rooms.client import speech
from rooms.client.bell import first, rung
from rooms.client.errors import Broken, LiveError
from rooms.client.frames import LARGEST
from rooms.client.retry import BROKEN, LOST, NEVER, End, http_end
from rooms.client.transport import OPEN_WITHIN, Transport
from rooms.contract import new_command_id

CLOSE_WITHIN = 2.0  # seconds for the closing handshake
GRACE = 10.0  # seconds above the heartbeat, whose pace varies by a tenth; then the server is dead
HEARTBEAT = "[]"


RENEW_AT = 0.75  # of a ticket's life
RENEW_PAUSE = 1.0  # seconds at least between two tickets


class WebSocket(Transport):
    _beat: bool  # the heartbeat is to be answered
    _ticket: str | None  # a renewed one is to be shown

    async def _carry(self) -> End:
        try:
            socket = await self._dial()
        except InvalidStatus as refused:
            response = refused.response
            return http_end(response.status_code, response.reason_phrase, _retry_after(response.headers))
        except (OSError, WebSocketException) as error:  # TimeoutError is an OSError
            return End(LOST, str(error) or type(error).__name__)
        if socket.subprotocol != self.options.format.subprotocol:
            await socket.close()
            return End(BROKEN, "no server of ours: it chose no subprotocol")
        self._beat, self._ticket = False, None
        try:
            return await first(self._listen(socket), self._speak(socket), self._stay())
        finally:
            await socket.close()

    async def _dial(self) -> ClientConnection:
        headers, tickets = self.identity.dialling(self.address.origin)
        more: dict[str, Any] = {}
        if self.options.ssl is not None and self.address.secure:
            more["ssl"] = self.options.ssl
        return await connect(
            f"{self.address.ws}/live/ws?flow=ack",
            subprotocols=[self.options.format.subprotocol, *tickets],  # type: ignore[list-item] # a NewType of str
            additional_headers=headers,
            compression=None,
            max_size=LARGEST,
            open_timeout=OPEN_WITHIN,
            close_timeout=CLOSE_WITHIN,
            ping_interval=None,  # the protocol has a heartbeat of its own
            proxy=True if self.options.trust_env else None,
            **more,
        )

    async def _listen(self, socket: ClientConnection) -> End:
        """Reads on whatever the application does: what is not acknowledged bounds what comes."""
        format = self.options.format
        silence = OPEN_WITHIN
        while True:
            try:
                async with asyncio.timeout(silence):
                    message = await socket.recv(decode=None if format.text else False)
            except TimeoutError:
                socket.transport.abort()  # a dead connection does not answer a goodbye either
                return End(LOST, "the server is silent")
            except ConnectionClosed as closed:
                return _end(closed)
            if isinstance(message, str) is not format.text:
                raise Broken("a message of the other kind, binary or text")
            frame = format.parse(message.encode() if isinstance(message, str) else message)
            if (bye := self.hear(frame)) is not None:
                return bye
            if self.conversation.hello is not None:
                silence = self.conversation.hello.heartbeat_s * 1.1 + GRACE
            if not frame.vectors and not frame.malformed:
                self._beat = True
                self.bell.ring()

    async def _speak(self, socket: ClientConnection) -> NoReturn:
        try:
            await self._say_what_is_due(socket)
        except ConnectionClosed:  # what came before that is still to be read, and says why
            await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

    async def _say_what_is_due(self, socket: ClientConnection) -> NoReturn:
        format = self.options.format
        with self.bell.listening() as bell:
            while True:
                if self._beat:
                    self._beat = False
                    await self._send(socket, format.frame(()))
                if self._ticket is not None:
                    renewal = format.vector("live.auth", {"ticket": self._ticket}, id=new_command_id())
                    self._ticket = None
                    await self._send(socket, format.frame([renewal]))
                for frame in speech.due(self.conversation, format, self.now(), new_command_id):
                    await self._send(socket, frame)
                if not self._beat and self._ticket is None:
                    await rung(bell, speech.next_due(self.conversation, self.now()))

    async def _stay(self) -> NoReturn:
        """Renew a ticket before it ends. Where that fails, the server ends the connection, and another is opened."""
        identity = self.identity
        while identity.ticket is not None and identity.renewable and identity.expires_in is not None:
            await asyncio.sleep(max(RENEW_PAUSE, identity.expires_in * RENEW_AT))
            with suppress(LiveError):
                await identity.renew()
                self._ticket = identity.ticket
                self.bell.ring()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

    async def _send(self, socket: ClientConnection, frame: bytes) -> None:
        await socket.send(frame, text=self.options.format.text)


def _end(closed: ConnectionClosed) -> End:
    if closed.rcvd is not None and closed.rcvd_then_sent is not False:
        return End(closed.rcvd.code, closed.rcvd.reason)
    if closed.sent is not None and closed.sent.code in NEVER:  # it broke the framing
        return End(closed.sent.code, closed.sent.reason)
    return End(LOST, "the connection was lost")


def _retry_after(headers: object) -> float | None:
    try:
        return float(headers["Retry-After"])  # type: ignore[index]
    except (KeyError, ValueError):
        return None

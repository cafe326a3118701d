"""One open connection: everything that is written to it goes through here, in one order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from rooms import metrics
from rooms.contract import TOO_SLOW, Close
from rooms.delivery.feed import Taken
from rooms.delivery.frames import HEARTBEAT, frame
from rooms.delivery.reader import Reader
from rooms.delivery.session import Say, Session, Shut, bye

if TYPE_CHECKING:
    from rooms.node.hub import Hub

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5  # seconds that a goodbye may wait for a client that does not read


class Connection:
    """Control frames always go out, in order; event frames while the client has credit and the socket takes them.

    What waits here is bounded: control frames by ``unsent_bytes`` (beyond it the client is too slow), event frames by
    one frame. A reader who finds no room keeps its cursor and nothing else, and is listed as ``behind``.

    :param send: writes one frame and returns when the socket takes more.
    :param shut: closes the transport with a code and a reason.
    :param abandon: ends the transport's own handling of it, for a client that does not even take the goodbye.
    """

    __slots__ = (
        "__weakref__", "_abandon", "_behind", "_deadline", "_outbox", "_send", "_shut", "_task", "_unsent", "closed",
        "hub", "id", "session", "transport", "user",
    )  # fmt: skip

    def __init__(
        self,
        hub: Hub,
        session: Session,
        *,
        id: str,
        user: Any,
        transport: str,
        send: Callable[[bytes], Awaitable[None]],
        shut: Callable[[Close], Awaitable[None]],
        abandon: Callable[[], object],
    ) -> None:
        self.hub = hub
        self.session = session
        self.id = id
        self.user = user
        self.transport = transport
        self.closed: Close | None = None
        self._send = send
        self._shut = shut
        self._abandon = abandon
        self._deadline: asyncio.TimerHandle | None = None
        self._outbox: deque[bytes] = deque()
        self._unsent = 0
        self._behind: dict[Reader, None] = {}
        self._task: asyncio.Task[None] | None = None

    # --- writing

    def say(self, *vectors: bytes) -> None:
        """Write these vectors as one control frame."""
        self._write(HEARTBEAT if vectors == (HEARTBEAT,) else frame(vectors))
        if self._unsent > self.hub.config.unsent_bytes:
            self.close(TOO_SLOW)

    async def breathe(self) -> None:
        """Where much waits, let the writer go on before more is said: a frame may ask for thousands of answers."""
        if self._unsent > self.hub.config.max_frame_bytes:
            await asyncio.sleep(0)

    def deliver(self, reader: Reader, taken: Taken) -> bool:
        """Write an event frame for this reader, when there is room for it; False leaves everything as it was."""
        if not self.has_room:
            return False
        if taken.events:  # a client does not count a lone live.cursor either
            self.session.flow.count(time.monotonic())
        reader.cursor = taken.cursor
        metrics.deliveries.inc(taken.events)
        metrics.frames.inc()
        if taken.skipped:
            metrics.skipped.inc(taken.skipped)
        self._write(taken.frame)
        return True

    @property
    def has_room(self) -> bool:
        return self.closed is None and self.session.flow.has_credit and self._unsent <= self.hub.config.max_frame_bytes

    def close(self, close: Close) -> None:
        """Say goodbye and close; nothing is written after it. Only the first reason counts."""
        if self.closed is not None:
            return
        slow = self._unsent > self.hub.config.unsent_bytes
        if not slow:  # a client that reads nothing need not be told
            self._write(frame([bye(close)]))
        self.closed = close
        self.hub.detach(self)
        if slow:
            self._outbox.clear()
        self._deadline = self.hub.loop.call_later(CLOSE_TIMEOUT, self._abandon)
        if self._task is None:
            self._start()

    def lost(self) -> None:
        """The transport is gone: write nothing more and forget what waits."""
        if self.closed is None:
            self.closed = Close(1006, "the connection was lost")
        self._outbox.clear()
        self._behind.clear()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._task is not None:
            self._task.cancel()

    def tick(self, now: float) -> None:
        """Carry out what time alone brings: a heartbeat, an end."""
        for action in self.session.tick(now):
            if isinstance(action, Say):
                self.say(action.vector)
            elif isinstance(action, Shut):
                self.close(action.close)

    # --- readers who are behind

    def wait(self, reader: Reader) -> None:
        """This reader is behind: it is served when there is room."""
        self._behind[reader] = None
        if self._task is None:
            self.serve()

    def forget(self, reader: Reader) -> None:
        self._behind.pop(reader, None)

    def serve(self) -> None:
        """Give readers who are behind what they missed, one frame each in turn, while there is room."""
        while self._behind and self.has_room:
            reader = next(iter(self._behind))
            del self._behind[reader]
            if self.hub.serve(reader):
                self._behind[reader] = None

    # --- the one writer

    def _write(self, data: bytes) -> None:
        if self.closed is not None:
            return
        self._outbox.append(data)
        self._unsent += len(data)
        if self._task is None:
            self._start()

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while True:
                while self._outbox:
                    data = self._outbox.popleft()
                    await self._send(data)
                    self._unsent -= len(data)
                self.session.wrote(time.monotonic())
                if self.closed is not None:
                    await self._shut(self.closed)
                    return
                self.serve()
                if not self._outbox and self.closed is None:
                    return
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the client is gone; the transport's own end of it cleans up
            logger.debug("connection %s could not be written to: %s", self.id, error)
            self.closed = self.closed or Close(1006, "the connection was lost")
            self.hub.detach(self)
        finally:
            self._task = None

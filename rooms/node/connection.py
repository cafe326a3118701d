"""One open connection, whatever carries it: what is said to it, and which readers it has."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from rooms import devices
from rooms.contract import TOO_SLOW, Close, Refused
from rooms.delivery.feed import Sealed, Taken
from rooms.delivery.frames import HEARTBEAT, frame
from rooms.delivery.reader import Reader
from rooms.delivery.session import Join, Listening, Say, Shut, bye, error, ok

if TYPE_CHECKING:
    from rooms.identity import Identity
    from rooms.node.hub import Hub
    from rooms.node.seats import Seat

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5  # seconds that a goodbye may wait for a client that does not read


class Connection(ABC):
    """What hub and feeds know of a connection. Everything that is written to it goes through :meth:`_write`.

    Control frames always go out, in order; event frames while there is room. A reader who finds no room keeps its
    cursor and nothing else, and is listed as behind.
    """

    __slots__ = (
        "__weakref__", "_behind", "closed", "credential", "device", "hub", "id", "looked_at", "seat", "session", "user",
    )  # fmt: skip

    transport: str
    resumes = False  # whether its client was here a moment ago
    continues: str | None = None  # the connection whose place in the rooms this one takes, as the client has it
    returns = False  # whether its client comes back in a moment for what follows, so that feeds wait for it

    def __init__(
        self,
        hub: Hub,
        session: Listening,
        *,
        id: str,
        who: Identity | None,
        seat: Seat | None = None,
        device: str = devices.OTHER,
    ) -> None:
        """
        :param who: None for nobody.
        :param seat: None for one that is not counted.
        :param device: of :mod:`rooms.devices`.
        """
        self.hub = hub
        self.session = session
        self.id = id
        self.seat = seat
        self.device = device
        self.user = who.user if who else None
        self.credential = who.credential if who else None
        self.looked_at = time.monotonic()  # the credential was good then
        self.closed: Close | None = None
        self._behind: dict[Reader, None] = {}

    @property
    def speaker(self) -> str:
        """Who is counted: the user, of nobody in particular the address."""
        if self.user is not None:
            return str(self.user)
        return self.seat.user if self.seat is not None else "@"

    # --- what a transport has to say

    @abstractmethod
    def _write(self, data: bytes) -> None:
        """Take a control frame, JSON, for the client."""

    @abstractmethod
    def _hand(self, taken: Taken, reader: Reader) -> None:
        """Take a frame of this reader's events. While that one is held it stays here, and when it ends so, for good."""

    def owes(self, reader: Reader) -> bool:
        """Whether events of this reader wait here for a transport that takes no more."""
        return False

    @abstractmethod
    def _end(self) -> None:
        """``closed`` was set: nothing more is written, see to it that the transport ends."""

    @property
    @abstractmethod
    def has_room(self) -> bool:
        """Whether an event frame may be written now."""

    # --- writing

    def say(self, *vectors: bytes) -> None:
        """Write these vectors as one control frame."""
        if self.closed is None:
            self._write(HEARTBEAT if vectors == (HEARTBEAT,) else frame(vectors))

    def deliver(self, reader: Reader, taken: Taken, now: float) -> bool:
        """Write an event frame for this reader, when there is room for it; False leaves everything as it was."""
        if not self.has_room:
            return False
        if taken.events:  # a client does not count a lone live.cursor either
            self.session.flow.count(now)
        reader.cursor = taken.cursor
        self._hand(taken, reader)
        return True

    def deliver_all(self, reader: Reader, sealed: Sealed, now: float) -> bool:
        """Write all parts by one call, where that can be; False leaves everything as it was."""
        return False

    def close(self, close: Close) -> None:
        """Say goodbye and close; nothing is written after it. Only the first reason counts."""
        self.say(bye(close))
        if self.closed is None:  # saying it may have been too much
            self._closed(close)

    def cut(self) -> None:
        """Close without what still waits here: the client goes on from what it has."""
        self._closed(TOO_SLOW)

    def _closed(self, close: Close) -> None:
        self.closed = close
        self.hub.detach(self)
        self._end()

    def lost(self) -> None:
        """The transport is gone: write nothing more and forget what waits."""
        if self.closed is None:
            self.closed = Close(1006, "the connection was lost")
        self._behind.clear()

    def tick(self, now: float) -> None:
        """Carry out what time alone brings: a heartbeat, an end."""
        for action in self.session.tick(now):
            if isinstance(action, Say):
                self.say(action.vector)
            elif isinstance(action, Shut):
                self.close(action.close)

    # --- joining

    async def join(self, *wanted: Join) -> bool:
        """Join these rooms and answer in one frame; then their readers are served. Whether a limit refused any."""
        rooms = self.session.rooms
        answers = []
        outcomes = await self.hub.join(self, wanted)
        for join, outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, Refused):
                answers.append(error(outcome, join.id))
                continue
            if self.closed is not None:
                self.hub.leave(outcome.reader)
                continue
            if join.room in rooms:  # nothing of the old subscription follows the new answer
                self.hub.leave(rooms[join.room])
            rooms[join.room] = outcome.reader
            if not (join.quiet and outcome.verdict == "resumed"):
                answers.append(ok(join.id, outcome.answer()))
        if answers:
            self.say(*answers)
        for join, outcome in zip(wanted, outcomes, strict=True):
            if not isinstance(outcome, Refused) and rooms.get(outcome.reader.grant.address) is outcome.reader:
                self.hub.attach(outcome.reader, anew=not (join.quiet and outcome.verdict == "resumed"))
        return any(isinstance(outcome, Refused) and outcome.code == "rate_limited" for outcome in outcomes)

    # --- readers who are behind

    def wait(self, reader: Reader) -> None:
        """This reader is behind: it is served when there is room."""
        self._behind[reader] = None
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


class Direct(Protocol):
    """A socket that takes finished bytes at once, or says that it does not: see ``docs/fanout.md``."""

    @property
    def takes(self) -> bool: ...

    def write(self, data: bytes) -> bool: ...

    async def drain(self) -> None: ...


class StreamingConnection(Connection):
    """A connection that stays open and takes frames while its socket does: one writer, one order.

    What waits here is bounded: control frames by ``unsent_bytes`` (beyond it the client is too slow), event frames by
    one frame. A client whose socket takes nothing for ``stall_timeout`` is too slow as well. Events that wait when
    their reader is held go out when it is released, and not before; what comes after them waits too.

    With a ``direct`` socket a frame that finds nothing before it goes there by one call, and a reader who finds the
    socket full keeps its cursor alone. Else there is a task for each frame, that waits for the socket.

    :param send: writes one frame and returns when the socket takes more.
    :param shut: closes the transport with a code and a reason.
    :param abandon: ends the transport's own handling of it, for a client that does not even take the goodbye.
    :param shape: what the transport writes of a JSON frame.
    :param shared: the same for a frame of events, which many may take; as ``shape`` by default.
    """

    __slots__ = (
        "_abandon", "_deadline", "_direct", "_outbox", "_send", "_shape", "_shared", "_shut", "_since", "_task",
        "_unsent",
    )  # fmt: skip

    def __init__(
        self,
        hub: Hub,
        session: Listening,
        *,
        id: str,
        who: Identity | None,
        seat: Seat | None = None,
        device: str = devices.OTHER,
        send: Callable[[bytes], Awaitable[None]],
        shut: Callable[[Close], Awaitable[None]],
        abandon: Callable[[], object],
        shape: Callable[[bytes], bytes] = bytes,
        shared: Callable[[bytes], bytes] | None = None,
        direct: Direct | None = None,
    ) -> None:
        super().__init__(hub, session, id=id, who=who, seat=seat, device=device)
        self._send = send
        self._shut = shut
        self._abandon = abandon
        self._shape = shape
        self._shared = shared or shape
        self._direct = direct
        self._deadline: asyncio.TimerHandle | None = None
        self._outbox: deque[tuple[bytes, Reader | None]] | None = None  # an empty one is 760 bytes
        self._unsent = 0
        self._since = 0.0  # when the write that is under way began
        self._task: asyncio.Task[None] | None = None

    @property
    def has_room(self) -> bool:
        if self.closed is not None or not self.session.flow.has_credit:
            return False
        return self._unsent <= self.hub.config.max_frame_bytes and (self._direct is None or self._direct.takes)

    @property
    def _is_stuck(self) -> bool:
        """Whether the socket is all that readers who are behind wait for."""
        if self._direct is None or self._direct.takes or self.closed is not None:
            return False
        return bool(self._behind) and self.session.flow.has_credit

    async def breathe(self) -> None:
        """Where much waits, let the writer go on before more is said: a frame may ask for thousands of answers."""
        if self._unsent > self.hub.config.max_frame_bytes:
            await asyncio.sleep(0)

    def tick(self, now: float) -> None:
        if self._task is not None and now - self._since > self.hub.config.stall_timeout:
            self.close(TOO_SLOW)
        super().tick(now)

    def deliver(self, reader: Reader, taken: Taken, now: float) -> bool:
        direct = self._direct
        if direct is None or self._task is not None or self._outbox:
            return super().deliver(reader, taken, now)
        flow = self.session.flow
        if self.closed is not None or not flow.has_credit or not direct.write(taken.shaped(self._shared)):
            return False
        if taken.events:
            flow.count(now)
        reader.cursor = taken.cursor
        self.session.wrote(now)
        return True

    def deliver_all(self, reader: Reader, sealed: Sealed, now: float) -> bool:
        direct, flow, count = self._direct, self.session.flow, len(sealed.parts)
        if direct is None or self._task is not None or self._outbox or self.closed is not None:
            return False
        if not flow.has_credit_for(count) or not direct.write(sealed.shaped(self._shared)):
            return False
        flow.count(now, count)  # what was sealed has events, every part of it
        reader.cursor = sealed.parts[-1].cursor
        self.session.wrote(now)
        return True

    def wait(self, reader: Reader) -> None:
        self._behind[reader] = None
        if self._task is not None:  # the writer serves it when the socket has taken what it has
            return
        if self._outbox:
            self._start()
        else:
            self.serve()

    def serve(self) -> None:
        super().serve()
        if self._task is None and self._is_stuck:
            self._start()

    def owes(self, reader: Reader) -> bool:
        return any(owed is reader for _, owed in self._outbox or ())

    def _write(self, data: bytes) -> None:
        self._put(self._shape(data), None)

    def _hand(self, taken: Taken, reader: Reader) -> None:
        self._put(taken.shaped(self._shared), reader)

    def _put(self, data: bytes, reader: Reader | None) -> None:
        if self._direct is not None and self._task is None and not self._outbox and self._direct.write(data):
            self.session.wrote(time.monotonic())
            return
        if self._outbox is None:
            self._outbox = deque()
        self._outbox.append((data, reader))
        self._unsent += len(data)
        if self._unsent > self.hub.config.unsent_bytes:  # a client that reads nothing need not be told
            self.cut()
        elif self._task is None:
            self._start()

    def cut(self) -> None:
        self._outbox = None
        super().cut()

    def _end(self) -> None:
        if any(reader is not None and reader.held for _, reader in self._outbox or ()):
            self._outbox = None
        self._deadline = self.hub.loop.call_later(CLOSE_TIMEOUT, self._abandon)
        if self._task is None:
            self._start()

    def lost(self) -> None:
        super().lost()
        self._outbox = None
        if self._deadline is not None:
            self._deadline.cancel()
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        self._since = time.monotonic()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while True:
                await self._write_out()
                if self._outbox:
                    return  # until its reader is released, or ended and this connection with it
                self.session.wrote(self._since)
                if self.closed is not None:
                    await self._shut(self.closed)
                    return
                self.serve()
                if not self._outbox and self.closed is None and not self._is_stuck:
                    return
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the client is gone; the transport's own end of it cleans up
            logger.debug("connection %s could not be written to: %s", self.id, error)
            self.closed = self.closed or Close(1006, "the connection was lost")
            self.hub.detach(self)
        finally:
            self._task = None

    async def _write_out(self) -> None:
        """Until nothing waits here, or what does is of a reader who is held."""
        while True:
            if self._direct is not None:  # first: while the socket takes nothing, what waits stays here
                await self._direct.drain()
                self._since = time.monotonic()
            if not self._outbox:
                self._outbox = None
                return
            data, reader = self._outbox[0]
            if reader is not None and reader.held:
                return
            self._outbox.popleft()
            await self._send(data)
            self._unsent -= len(data)
            self._since = time.monotonic()

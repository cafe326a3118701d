"""One connection to a site, however many rooms: it comes back by itself, and what is said through it happens once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

from rooms.client.bell import Bell, rung
from rooms.client.conversation import BACKLOG, Conversation, Person
from rooms.client.errors import Closed, LiveError
from rooms.client.events import Event
from rooms.client.following import Following
from rooms.client.identity import Address, Identity
from rooms.client.outbox import Command, Patience
from rooms.client.retry import Renew, Rest, Retries, Return
from rooms.client.room import Room
from rooms.client.state import Board, Phase, State
from rooms.client.transport import Options, Transport
from rooms.contract import new_command_id

logger = logging.getLogger(__name__)


class Live:
    """What :func:`connect` gives. For one event loop; nothing here is safe from another thread."""

    def __init__(
        self,
        transport: type[Transport],
        address: Address,
        identity: Identity,
        options: Options,
        patience: Patience,
        commands: int,
    ) -> None:
        self.closed = Closed(1000, "this side closed")  # why it is over, once it is
        self.reconnects = 0
        self._conversation = Conversation()
        self._bell = Bell()
        self._board = Board()
        self._retries = Retries(renewable=identity.renewable)
        self._transport = transport(address, identity, self._conversation, self._bell, options)
        self._format = options.format
        self._patience = patience
        self._places = asyncio.Semaphore(commands)
        self._task: asyncio.Task[None] | None = None
        self._conversation.on_hello = self._greeted
        self._conversation.on_join = self._retries.proved
        self._conversation.on_complaint = lambda error: logger.warning("the server complains: %s", error)

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError("a connection is entered once")
        self._task = asyncio.create_task(self._run(), name=f"live {self._transport.address.http}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes. Commands without an answer raise :class:`Closed`; rooms end."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled() and (failure := self._task.exception()) is not None and error is None:
            raise failure

    # --- what is seen of it

    @property
    def state(self) -> State:
        return self._board.state

    def states(self) -> AsyncGenerator[State, None]:
        """The present state and each change; ends when it is closed for good."""
        return self._board.watch()

    async def opened(self) -> Self:
        """Return when it is open.

        :raises Closed: it never will be.
        """
        async with aclosing(self._board.watch()) as states:
            async for state in states:
                if state.phase is Phase.OPEN:
                    return self
        raise self.closed

    @property
    def user(self) -> Person | None:
        """Who we are to the server; None for nobody, and before it has said so."""
        return None if self._conversation.hello is None else self._conversation.hello.user

    @property
    def violations(self) -> int:
        """How often the server broke a rule of the protocol, and was left for that."""
        return self._transport.violations

    # --- what is done with it

    def room(self, name: str, *, cursor: str | None = None, present: bool = True) -> Room:
        """Follow a room: ``<tenant>/<room>``.

        :param cursor: ``<epoch>:<seq>``, where to go on; without it, from now on.
        :param present: whether we count among those who are there, where the site says who is.
        :raises ValueError: it is followed already; the cursor is none.
        :raises Closed: the connection is over.
        """
        if self.state.phase is Phase.CLOSED:
            raise self.closed
        room = Room(self, self._conversation.follow(name, cursor, present=present))
        self._bell.ring()
        return room

    async def send(
        self,
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        room: str,
        id: str | None = None,
        within: float | None = None,
    ) -> Any:
        """Say a command, and give its answer. It happens once, however often it has to be sent.

        Commands go out in the order of the calls. One that is lost with its connection is sent again with its id; so is
        one that is refused with ``unavailable`` or ``rate_limited``, until its time is over. To be sure that one comes
        after another, wait for that one's answer.

        :param id: of an earlier attempt, so that both together happen once; 16 to 64 characters.
        :param within: seconds that it is tried; else what ``patience`` says.
        :raises LiveError: the server refuses; ``timeout``: it may have happened, as when this is cancelled;
            ``too_large`` and ``bad_data`` before anything is sent; ``closed``.
        """
        id = id or new_command_id()
        try:
            vector = self._format.vector(name, dict(data or {}), room=room, id=id)
        except LiveError as error:
            raise error.about(id) from error
        loop = asyncio.get_running_loop()
        give_up = loop.time() + (self._patience.of(name) if within is None else within)
        try:
            async with asyncio.timeout_at(give_up):
                await self._places.acquire()
        except TimeoutError:
            raise LiveError("timeout", "It was not sent: too many wait.", temporary=True, id=id) from None
        try:
            return await self._say(Command(id, vector, give_up, lambda outcome: None))
        finally:
            self._places.release()

    async def _say(self, command: Command) -> Any:
        if self._task is None:
            raise RuntimeError("the connection was not entered: async with connect(…)")
        if self.state.phase is Phase.CLOSED:
            raise self._closed_for(command.id)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle(outcome: Any) -> None:
            if not answer.done():
                answer.set_result(outcome)

        command.settle = settle
        outbox = self._conversation.outbox
        outbox.add(command)
        self._bell.ring()
        try:
            outcome = await answer
        finally:
            outbox.withdraw(command)
        if isinstance(outcome, LiveError):
            raise outcome
        return outcome

    # --- for its rooms

    def take(self, following: Following) -> Event:
        event, handled = self._conversation.take(following, self._transport.now())
        if handled:
            self._bell.ring()
        return event

    def leave(self, following: Following) -> None:
        self._conversation.leave(following, self._transport.now())
        self._bell.ring()

    # --- connections, one after the other

    async def _run(self) -> None:
        """:raises Exception: a mistake of ours, or of a transport; everything that waits is told first."""
        clock = asyncio.create_task(self._keep_time())
        try:
            await self._connect()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.exception("the connection to %s failed", self._transport.address.http)
            self.closed = Closed(1011, f"the client failed: {error!r}")
            raise
        finally:
            clock.cancel()
            self._finish()
            await self._transport.close()

    async def _connect(self) -> None:
        phase = Phase.CONNECTING
        while True:
            self._board.show(phase, self.state.reason, self.state.code)
            end = await self._transport.carry()
            self._conversation.begin()
            verdict = self._retries.ended(end, self._transport.now(), random.random())  # noqa: S311 no secret
            match verdict:
                case Return(wait) | Renew(wait):
                    self._board.show(Phase.RECONNECTING, end.reason, end.code, wait)
                    await asyncio.sleep(wait)
                case Rest():
                    self._board.show(Phase.IDLE, end.reason, end.code)
                    await self._use()
                case _:
                    self.closed = Closed(end.code, end.reason)
                    return
            phase = Phase.RECONNECTING
            self.reconnects += 1

    def _greeted(self) -> None:
        self._retries.opened(self._transport.now())
        self._board.show(Phase.OPEN)

    async def _use(self) -> None:
        """Wait until there is something to do with a connection."""
        conversation = self._conversation
        with self._bell.listening() as bell:
            while not conversation.outbox and (
                conversation.next_join() is None or conversation.flow.leftover >= BACKLOG
            ):
                await rung(bell, None)

    async def _keep_time(self) -> None:
        """Commands end in time whether there is a connection or not."""
        outbox = self._conversation.outbox
        with self._bell.listening() as bell:
            while True:
                outbox.expire(self._transport.now())
                await rung(bell, outbox.next_expiry())

    def _finish(self) -> None:
        by_us = self.closed.close == 1000
        self._board.show(Phase.CLOSED, self.closed.reason, self.closed.close)
        for following in self._conversation.rooms.values():
            following.end(None if by_us else self.closed)
        self._conversation.outbox.close(self._closed_for)

    def _closed_for(self, id: str) -> Closed:
        return Closed(self.closed.close, self.closed.reason, id=id)

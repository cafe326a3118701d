"""One room of a connection, as a program reads it and speaks in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rooms.client.events import Event
from rooms.client.following import Following, Standing

if TYPE_CHECKING:
    from rooms.client.live import Live


class Room:
    """An asynchronous iterator over what happens here, from the moment that it is joined or from its cursor on.

    Yields :class:`~rooms.client.Event`: each logged one once, in rising ``seq``, over any number of connections; and
    the notices :class:`~rooms.client.Reset`, :class:`~rooms.client.PassedOver` and, as the last one,
    :class:`~rooms.client.Left`. It ends after that, and when this side leaves; it raises :class:`LiveError` when the
    room cannot be joined, and :class:`Closed` when the connection ends for good.

    **A room that is followed is to be read.** What is taken from the iterator counts as handled; while much is not, the
    server waits, for all rooms of the connection. So read them side by side, one task each, and leave what you do not
    read; to speak in a room without following it there is :meth:`Live.send`.

    :ivar cursor: the place after the last event that was taken; None before the room is joined for the first time.
    """

    def __init__(self, live: Live, following: Following) -> None:
        self.name = following.name
        self.cursor = following.cursor
        self._live = live
        self._following = following
        self._news = asyncio.Event()
        following.wake = self._news.set

    @property
    def can(self) -> frozenset[str]:
        """What we may do here, from the last answer: ``read``, ``write``, ``moderate``, ``manage``. Long-poll is told
        only of a room that it joined without a cursor.
        """
        return self._following.can

    async def joined(self) -> Self:
        """Return when the room is joined, on the connection that is open then.

        :raises LiveError: it cannot be, or it is over.
        """
        while self._following.standing is not Standing.JOINED:
            if self._following.standing is Standing.OVER:
                raise self._following.error or self._live.closed
            await self._wait()
        return self

    async def send(
        self, name: str, data: Mapping[str, Any] | None = None, *, id: str | None = None, within: float | None = None
    ) -> Any:
        """A command in this room; see :meth:`Live.send`."""
        return await self._live.send(name, data, room=self.name, id=id, within=within)

    def leave(self) -> None:
        """Follow it no longer. What was not taken is dropped. It may be said twice."""
        self._live.leave(self._following)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._following.inbox:
            if self._following.standing is Standing.OVER:
                if self._following.error is not None:
                    raise self._following.error
                raise StopAsyncIteration
            await self._wait()
        event = self._live.take(self._following)
        self.cursor = event.cursor
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

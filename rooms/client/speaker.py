"""One person who speaks and follows nothing: commands by POST, without a connection that stays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from functools import partial
from typing import Any

from rooms.client.errors import LiveError
from rooms.client.exchange import Denied
from rooms.client.frames import JSON, MAX_FRAME_BYTES, Frame
from rooms.client.identity import Identity
from rooms.client.outbox import Command, Outbox, Patience
from rooms.client.posting import Posting
from rooms.contract import new_command_id


class Speaker:
    """Many may share one :class:`Posting`, each with a login of their own.

    :ivar retries: how often something was sent again.
    """

    def __init__(self, posting: Posting, identity: Identity, patience: Patience | None = None) -> None:
        self.retries = 0
        self._posting = posting
        self._identity = identity
        self._patience = patience or Patience()

    async def send(self, name: str, data: Mapping[str, Any] | None = None, *, room: str, id: str | None = None) -> Any:
        """Say a command, and give its answer; it happens once, however often it has to be sent.

        :raises LiveError: as :meth:`rooms.client.Live.send`; what refuses the request as a whole, too.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        id = id or new_command_id()
        give_up = loop.time() + self._patience.of(name)
        command = Command(id, JSON.vector(name, dict(data or {}), room=room, id=id), give_up, answer.set_result)
        outbox = Outbox()
        outbox.add(command)
        if self._identity.generation == 0:
            await self._identity.renew()
        try:
            async with asyncio.timeout_at(give_up):
                while not answer.done():
                    await self._turn(outbox)
        except TimeoutError:
            outbox.expire(give_up)
        finally:
            self.retries += max(0, command.tries - 1)
        outcome = answer.result()
        if isinstance(outcome, LiveError):
            raise outcome
        return outcome

    async def _turn(self, outbox: Outbox) -> None:
        now = asyncio.get_running_loop().time()
        batch = outbox.take(now, MAX_FRAME_BYTES)
        if batch:
            try:
                await self._posting.deliver(batch, outbox, self._identity, partial(_hear, outbox))
            except Denied as denied:  # of the login
                outbox.refuse(batch, denied.error.about)
        elif (due := outbox.next_due(now)) is not None:
            await asyncio.sleep(due - now)


def _hear(outbox: Outbox, frame: Frame) -> None:
    for name, data, meta in ((vector.name, vector.data, vector.meta) for vector in frame.vectors):
        if meta.re is not None:
            outbox.answered(meta.re, name == "live.ok", data, asyncio.get_running_loop().time(), random.random())  # noqa: S311

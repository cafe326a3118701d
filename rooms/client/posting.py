"""``POST /live/commands``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable

import httpx

from rooms.client.errors import Broken
from rooms.client.exchange import Denied, Unanswered, exchange, query
from rooms.client.frames import JSON, Frame
from rooms.client.identity import Address, Identity
from rooms.client.outbox import Command, Outbox
from rooms.client.retry import LOST, UNAUTHENTICATED, End


class Posting:
    """Says commands, one frame a request."""

    def __init__(self, address: Address, client: httpx.AsyncClient) -> None:
        self._url = f"{address.http}/live/commands"
        self._origin = address.origin
        self._client = client

    async def post(self, vectors: Iterable[bytes], identity: Identity, connection: str | None = None) -> Frame:
        """Gives the answers.

        :param connection: the id from ``live.hello``.
        :raises Unanswered: to be said again, under the same ids.
        :raises Denied: saying it again does not help.
        """
        url = self._url if connection is None else f"{self._url}?{query([('connection', connection)])}"
        body = JSON.frame(vectors)

        def build() -> httpx.Request:
            headers = {"Content-Type": "application/json", **identity.writing(self._origin)}
            return self._client.build_request("POST", url, content=body, headers=headers)

        response = await exchange(self._client, identity, build)
        try:
            return JSON.parse(response.content)
        except Broken as broken:  # of something that stands between
            raise Unanswered(End(LOST, str(broken))) from broken

    async def deliver(
        self,
        batch: list[Command],
        outbox: Outbox,
        identity: Identity,
        hear: Callable[[Frame], object],
        connection: str | None = None,
    ) -> None:
        """Say what was taken from the outbox, and see to it that it is said again where it has to be.

        :param hear: is given the answers, and settles what they answer.
        :raises Denied: for the login; other refusals of the whole request are those of its commands.
        """
        now = asyncio.get_running_loop().time
        reason, wait = "it was not answered", None
        try:
            hear(await self.post((command.vector for command in batch), identity, connection))
        except Unanswered as lost:
            reason, wait = lost.end.reason, lost.end.retry_after
        except Denied as denied:
            if denied.end.code == UNAUTHENTICATED:
                raise
            outbox.refuse(batch, denied.error.about)
        forgotten = [command for command in batch if command.said and command in outbox]
        if forgotten:
            outbox.failed(forgotten, now(), random.random(), wait, reason)  # noqa: S311 no secret

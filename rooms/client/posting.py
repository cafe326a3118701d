"""``POST /live/commands``."""

from __future__ import annotations

from collections.abc import Iterable

import httpx

from rooms.client.errors import Broken
from rooms.client.exchange import Unanswered, exchange, query
from rooms.client.frames import JSON, Frame
from rooms.client.identity import Address, Identity
from rooms.client.retry import LOST, End


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

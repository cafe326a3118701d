"""A running site as its public API shows it: messages are posted over HTTP, each with the person's own session."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx
from django.conf import settings
from django.http import HttpHeaders

from rooms.client import LiveError, Patience, Session
from rooms.client.exchange import http_client
from rooms.client.identity import Address, Identity
from rooms.client.posting import Posting
from rooms.client.speaker import Speaker
from rooms.client.transport import Options
from rooms.management.cast import Voice

PATIENCE = 60.0  # seconds that one message is tried again while the site is away or has no time


class NotSaid(Exception):
    """A message did not reach the room; a sentence that says why."""


class Site:
    """Speaks in one room, each message exactly once however often it has to be sent."""

    def __init__(
        self,
        url: str,
        tenant: str,
        room: str,
        *,
        patience: float = PATIENCE,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """:param url: of the site, without a path.
        :param transport: in place of the network, for tests.
        """
        self.retries = 0
        self._address = Address(url)
        self._room = f"{tenant}/{room}"
        self._patience = Patience(patience)
        self._client = http_client(Options(trust_env=False), transport)  # no proxy between this process and the site
        self._posting = Posting(self._address, self._client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def greet(self) -> None:
        """:raises NotSaid: when nobody answers at the address."""
        try:
            await self._client.get(f"{self._address.http}/healthz")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise NotSaid(f"The site at {self._address.http} does not answer ({reason}). Is it running?") from error

    async def say(self, voice: Voice, text: str) -> None:
        """Say one message; when this returns, it is in the room's log, once.

        :raises NotSaid: when the site refuses, or has not taken it for ``patience`` seconds.
        """
        speaker = Speaker(self._posting, Identity(session=_session(voice)), self._patience)
        try:
            await speaker.send("chat.send", {"text": text}, room=self._room)
        except LiveError as error:
            if error.temporary:
                raise NotSaid(f"The site has not taken it for {self._patience.default:.0f} seconds: {error}") from error
            raise NotSaid(f"The site refused it: {error}") from error
        finally:
            self.retries += speaker.retries


def _session(voice: Voice) -> Session:
    """By the names that the site's settings give."""
    cookies = {settings.SESSION_COOKIE_NAME: voice.session, settings.CSRF_COOKIE_NAME: voice.csrf}
    header = HttpHeaders.parse_header_name(settings.CSRF_HEADER_NAME) or settings.CSRF_HEADER_NAME
    return Session(cookies, voice.csrf, header)

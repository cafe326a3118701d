"""A running site as its public API shows it: messages are posted over HTTP, each with the person's own session."""

from __future__ import annotations

import asyncio
import random
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.http import HttpHeaders

from rooms.contract import new_command_id
from rooms.management.cast import Voice

PATIENCE = 60.0  # seconds that one message is tried again while the site is away or has no time
ANSWER_WITHIN = 30.0  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between tries


class NotSaid(Exception):
    """A message did not reach the room; a sentence that says why."""


class Site:
    """Posts messages to one room, each exactly once however often it has to be sent."""

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
        self.url = url.rstrip("/")
        self.retries = 0
        self._patience = patience
        self._path = f"/api/tenants/{tenant}/rooms/{room}/messages/"
        self._client = httpx.AsyncClient(
            base_url=self.url,
            timeout=ANSWER_WITHIN,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one person's cookies are not another's
            trust_env=False,  # no proxy between this process and the site
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def greet(self) -> None:
        """:raises NotSaid: when nobody answers at the address."""
        try:
            await self._client.get("/healthz")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotSaid(f"The site at {self.url} does not answer ({_reason(error)}). Is it running?") from error

    async def say(self, voice: Voice, text: str) -> None:
        """Post one message; when this returns, it is in the room's log, once.

        The same ``Idempotency-Key`` goes with every try, so that a lost answer does not double it. Tried again: network
        errors, 5xx and 429, after ``retry_after_ms`` where the site gives it.

        :raises NotSaid: when the site refuses, or has not taken it for ``patience`` seconds.
        """
        headers = self._headers(voice) | {"Idempotency-Key": new_command_id()}
        clock = asyncio.get_running_loop().time
        give_up = clock() + self._patience
        pause = FIRST_PAUSE
        while True:
            try:
                answer = await self._client.post(self._path, json={"text": text}, headers=headers)
            except httpx.TransportError as error:
                reason, wait = _reason(error), None
            else:
                if answer.status_code == httpx.codes.CREATED:
                    return
                reason, wait = f"{answer.status_code} {_detail(answer)}", _retry_after(answer)
                if answer.status_code < 500 and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    raise NotSaid(f"The site refused it: {reason}")
            if clock() >= give_up:
                raise NotSaid(f"The site has not taken it for {self._patience:.0f} seconds: {reason}")
            self.retries += 1
            await asyncio.sleep(random.uniform(pause / 2, pause) if wait is None else wait)  # noqa: S311 no secret
            pause = min(pause * 2, LONGEST_PAUSE)

    def _headers(self, voice: Voice) -> dict[str, str]:
        cookies = {settings.SESSION_COOKIE_NAME: voice.session, settings.CSRF_COOKIE_NAME: voice.csrf}
        csrf_header = HttpHeaders.parse_header_name(settings.CSRF_HEADER_NAME) or settings.CSRF_HEADER_NAME
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), csrf_header: voice.csrf}
        if self.url.startswith("https:"):  # there Django wants to know where a POST comes from
            headers["Origin"] = "{0.scheme}://{0.netloc}".format(urlsplit(self.url))
        return headers


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds, by the error object or the header."""
    try:
        return float(answer.json()["retry_after_ms"]) / 1000
    except (ValueError, KeyError, TypeError):
        pass
    try:
        return float(answer.headers["Retry-After"])
    except (ValueError, KeyError):
        return None


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.headers.get("Location", "") or answer.reason_phrase


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__

"""HTTP as the client uses it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlencode

import httpx

from rooms.client.errors import LiveError
from rooms.client.identity import Identity
from rooms.client.retry import LOST, End, http_end, may_return
from rooms.client.transport import OPEN_WITHIN, Options

ANSWER_WITHIN = 30.0  # seconds; a room's lock may take five


class Unanswered(Exception):
    """The request came to nothing, as this End would have it; it may have been heard, and may be said again."""

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self.end = end


class Denied(Exception):
    """The request was refused as a whole, and saying it again does not help."""

    def __init__(self, end: End, error: LiveError) -> None:
        super().__init__(str(error))
        self.end = end
        self.error = error


def http_client(options: Options, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """It keeps no cookies: who speaks is said with each request.

    :param transport: in place of the network, for tests.
    """
    return httpx.AsyncClient(
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        timeout=httpx.Timeout(OPEN_WITHIN, read=ANSWER_WITHIN),
        limits=httpx.Limits(keepalive_expiry=4.0),  # uvicorn closes idle ones after 5 s
        trust_env=options.trust_env,
        verify=options.ssl if options.ssl is not None else True,
        transport=transport,
    )


async def exchange(
    client: httpx.AsyncClient, identity: Identity, build: Callable[[], httpx.Request], *, stream: bool = False
) -> httpx.Response:
    """A response of 200; a streamed one is yet to be read, and closed. A login that worked before is renewed once.

    :param build: makes the request, with the login as it is then.
    :raises Unanswered: the network, 429 and 5xx.
    :raises Denied: other statuses.
    """
    while True:
        generation = identity.generation
        try:
            response = await client.send(build(), stream=True)
            try:
                if response.status_code != httpx.codes.OK or not stream:
                    await response.aread()
            except BaseException:
                await response.aclose()
                raise
        except httpx.HTTPError as error:
            raise Unanswered(lost(error)) from error
        if response.status_code == httpx.codes.OK:
            identity.proved = True
            return response
        if response.status_code != httpx.codes.UNAUTHORIZED or not await _renewed(identity, generation):
            raise refusal(response)


async def _renewed(identity: Identity, generation: int) -> bool:
    """Whether there is another login than the one of this generation to try with."""
    if identity.generation != generation:
        return True
    if not identity.renewable or not identity.proved:
        return False
    try:
        await identity.renew()
    except LiveError as error:
        if error.temporary:
            raise Unanswered(End(LOST, error.detail, error.retry_after)) from error
        return False
    return True


def refusal(response: httpx.Response) -> Unanswered | Denied:
    """What this status says; the body is read."""
    try:
        error = LiveError.from_data(response.json())
    except ValueError:
        error = LiveError("unknown", response.headers.get("Location", "") or response.reason_phrase)
    if error.retry_after is None:
        with suppress(ValueError, KeyError):
            error.retry_after = float(response.headers["Retry-After"])
    end = http_end(response.status_code, error.detail, error.retry_after)
    return Unanswered(end) if may_return(end.code) else Denied(end, error)


def lost(error: Exception) -> End:
    return End(LOST, str(error) or type(error).__name__)


def query(pairs: list[tuple[str, str]]) -> str:
    """As short as it may be: the server bounds it."""
    return urlencode(pairs, safe="/@:~")

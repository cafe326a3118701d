"""Who is speaking: nobody, a session's cookies or a ticket, and what requests carry to say so."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec

from rooms import contract
from rooms.client.errors import LiveError

logger = logging.getLogger(__name__)

LOGIN_WITHIN = 30.0  # seconds for a function that gets a ticket
CSRF_COOKIE = "csrftoken"


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's cookies. ``csrf`` goes with each POST, as the header that the site's settings name."""

    cookies: Mapping[str, str]
    csrf: str | None = None
    csrf_header: str = "X-CSRFToken"

    @classmethod
    def of(cls, cookies: Mapping[str, str] | Session) -> Session:
        """From Django's cookies by their usual names."""
        return cookies if isinstance(cookies, Session) else cls(dict(cookies), cookies.get(CSRF_COOKIE))


Ticket: TypeAlias = str | Callable[[], Any]
Login: TypeAlias = Mapping[str, str] | Session | Callable[[], Any]


class Identity:
    """What is said of who we are.

    A function that gives a ticket (or a session) is called for each connection, and again when a request is refused
    that worked before: tickets are good for minutes. One that gives the whole answer of ``POST /api/tickets/``,
    ``{"ticket", "expires_at"}``, lets a WebSocket renew it in time. What the function raises counts as a connection
    that failed, and is tried again; but a :class:`LiveError` that is not temporary is the end.

    :ivar expires_in: seconds from the last :meth:`renew` to the end of the ticket, by our clock; None when unknown.
    :ivar proved: something was answered since the last :meth:`renew`.
    :ivar generation: counts renewals.
    """

    def __init__(self, *, session: Login | None = None, ticket: Ticket | None = None) -> None:
        """:raises ValueError: both."""
        if session is not None and ticket is not None:
            raise ValueError("a session or a ticket, not both")
        self._source = ticket if ticket is not None else session
        self._by_ticket = ticket is not None
        self._ticket: str | None = None
        self._session: Session | None = None
        self.renewable = callable(self._source)
        self.proved = False
        self.generation = 0
        self.expires_in: float | None = None

    @property
    def ticket(self) -> str | None:
        return self._ticket

    async def renew(self) -> None:
        """To be called before the others.

        :raises LiveError: there is no ticket or session to be had.
        """
        source: Any = self._source
        if callable(source):
            try:
                source = source()
                if inspect.isawaitable(source):
                    async with asyncio.timeout(LOGIN_WITHIN):
                        source = await source
            except LiveError:
                raise
            except Exception as error:  # of the application's own function
                logger.warning("no ticket or session to be had", exc_info=True)
                raise LiveError("unauthenticated", f"No login to be had: {error!r}", temporary=True) from error
        self.proved = False
        self.generation += 1
        if source is None:
            return
        if self._by_ticket:
            self._ticket, self.expires_in = _as_ticket(source)
        else:
            self._session = Session.of(source)

    def reading(self) -> dict[str, str]:
        """Headers of a GET."""
        if self._ticket is not None:
            return {"Authorization": f"Bearer {self._ticket}"}
        if self._session is None or not self._session.cookies:
            return {}
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self._session.cookies.items())}

    def writing(self, origin: str) -> dict[str, str]:
        """Headers of a POST. Over https Django wants to know where it comes from; over http it need not match what a
        proxy makes of the address.
        """
        if self._session is None:
            return self.reading()
        token = {} if self._session.csrf is None else {self._session.csrf_header: self._session.csrf}
        return {**self.reading(), **token, **({"Origin": origin} if origin.startswith("https:") else {})}

    def dialling(self, origin: str) -> tuple[dict[str, str], list[str]]:
        """Headers of a WebSocket's handshake, and its subprotocols besides the one that is spoken."""
        if self._ticket is not None:
            return {}, [f"ticket.{self._ticket}"]
        return ({**self.reading(), "Origin": origin} if self._session is not None else {}), []


def _as_ticket(given: Any) -> tuple[str, float | None]:
    if isinstance(given, str):
        return given, None
    try:
        whole = msgspec.convert(given, contract.Ticket, from_attributes=True)
    except msgspec.ValidationError as error:
        raise LiveError("bad_data", f"This is no ticket: {error}") from error
    return whole.ticket, (whole.expires_at - datetime.now(UTC)).total_seconds()


class Address:
    """Of a site; where it stands below a path, with that."""

    def __init__(self, url: str) -> None:
        """:raises ValueError: it is no address of a site."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.netloc or parts.query or parts.fragment:
            raise ValueError(f"{url!r} is no address of a site, as in https://rooms.example.com")
        secure = "s" if parts.scheme in ("https", "wss") else ""
        rest = f"{parts.netloc}{parts.path.rstrip('/')}"
        self.http = f"http{secure}://{rest}"
        self.ws = f"ws{secure}://{rest}"
        self.origin = f"http{secure}://{parts.netloc}"
        self.secure = bool(secure)

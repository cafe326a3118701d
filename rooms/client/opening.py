"""Where a program begins: one function, with everything that it may choose."""

from __future__ import annotations

import ssl
from typing import Literal

from rooms.client.frames import FORMATS
from rooms.client.identity import Address, Identity, Login, Ticket
from rooms.client.live import Live
from rooms.client.outbox import Patience
from rooms.client.poll import Poll
from rooms.client.stream import Stream
from rooms.client.transport import Options, Transport
from rooms.client.websocket import WebSocket

TRANSPORTS: dict[str, type[Transport]] = {"ws": WebSocket, "sse": Stream, "poll": Poll}
COMMANDS = 100  # without an answer at a time; the server takes up 128 of a connection


def connect(
    url: str,
    *,
    transport: Literal["ws", "sse", "poll"] = "ws",
    session: Login | None = None,
    ticket: Ticket | None = None,
    format: Literal["json", "msgpack"] = "json",
    patience: Patience | None = None,
    commands: int = COMMANDS,
    poll_wait: float = 20.0,
    ssl: ssl.SSLContext | None = None,
    trust_env: bool = True,
) -> Live:
    """A connection to the site at this address, to be entered: ``async with connect(…) as live``.

    Entering does not wait for the server, and a server that is away is tried again for ever; :meth:`Live.opened` waits.

    :param url: of the site, ``https://rooms.example.com``; with a path where it stands below one.
    :param session: a browser's cookies by name, ``sessionid`` and ``csrftoken``; or a :class:`Session`.
    :param ticket: or a ticket. Instead of either, a function (``async`` or not) that gets a fresh one: without it, a
        connection does not outlive its login.
    :param format: of the frames, WebSocket only.
    :param patience: how long commands are tried.
    :param commands: without an answer at a time; more wait in :meth:`Live.send`.
    :param poll_wait: seconds that a long-poll waits at the server; it allows 25.
    :param ssl: for a site with a certificate of its own.
    :param trust_env: go by the proxies that the environment names.
    :raises ValueError: for options that do not go together.
    """
    if format != "json" and transport != "ws":
        raise ValueError("msgpack is spoken by the WebSocket alone")
    options = Options(FORMATS[format], ssl, trust_env, poll_wait)
    identity = Identity(session=session, ticket=ticket)
    return Live(TRANSPORTS[transport], Address(url), identity, options, patience or Patience(), commands)

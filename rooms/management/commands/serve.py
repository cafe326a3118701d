"""``manage.py serve``: the production server, with the settings that rooms need."""

from __future__ import annotations

import errno
import os
import socket
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connections
from uvicorn import Config

from rooms.conf import config
from rooms.management.server import GRACE, serve
from rooms.transports.fanout import FanoutProtocol


class Command(BaseCommand):
    help = "Serves the site: pages, REST and live rooms."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument(
            "--port", type=int, default=os.environ.get("PORT", "8000"), help="default: $PORT, else 8000"
        )
        parser.add_argument("--workers", type=int, default=1, help="processes, each a node (default: %(default)s)")
        parser.add_argument("--access-log", action="store_true", help="a line for each request")

    def handle(self, *, host: str, port: int, workers: int, access_log: bool, **options: Any) -> None:
        if not settings.ASGI_APPLICATION:
            raise CommandError("Set ASGI_APPLICATION in the settings.")
        if workers > 1 and isinstance(get_channel_layer(config().layer), InMemoryChannelLayer):
            raise CommandError("The in-memory channel layer reaches one process only. For --workers set REDIS_URL.")
        listener = listen(host, port)
        self._look_at_database()
        self.stdout.write(f"Serving on {address(listener)}, stop with Ctrl-C")
        with suppress(KeyboardInterrupt):  # uvicorn hands the signal on after it has stopped in peace
            serve(configuration(workers=workers, access_log=access_log), listener)

    def _look_at_database(self) -> None:
        """Tells of migrations to apply. Without a database there is no start: whoever supervises us tries again."""
        try:
            self.check_migrations()
        except OperationalError as error:
            raise CommandError(f"The database does not answer: {error}") from error
        finally:
            connections.close_all()  # this thread needs it no more


def listen(host: str, port: int) -> socket.socket:
    """The listening socket. Taken before anything else starts, so that a busy port stops nothing half-way.

    :raises CommandError: with the reason when the address cannot be had.
    """
    if not 0 <= port < 65536:
        raise CommandError(f"{port} is no port: they go from 1 to 65535.")
    try:
        family, _, _, _, sockaddr = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(sockaddr[:2], family=family, backlog=2048)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted sockets inherit it
            # Without it a peer that vanished, or takes nothing, holds its socket for 15 minutes of retransmissions.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(config().stall_timeout * 1000))
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} on {host} is in use. Stop what runs there, or choose another port: --port {port + 1}, "
                f"or PORT={port + 1} in the environment."
            ) from error
        raise CommandError(f"Cannot listen on {host}, port {port}: {error}") from error


def address(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"


class Configuration(Config):
    def load(self) -> None:
        super().load()
        self.configure_logging()  # again: loading the site set up Django's logging, and undid --access-log


def configuration(*, workers: int, access_log: bool) -> Configuration:
    return Configuration(
        ":".join(settings.ASGI_APPLICATION.rsplit(".", 1)),
        workers=workers,
        lifespan="on",  # rooms start and stop with the server; a site without them must not start in silence
        ws=FanoutProtocol,
        # From here on uvicorn closes with 1009 before we hear of the frame; below, we can answer `too_large`.
        ws_max_size=2 * config().max_frame_bytes,
        ws_per_message_deflate=config().deflate,  # as our class does it; uvicorn's own way is 34 KB a socket
        ws_ping_interval=None,  # our heartbeats see more: a page that hangs, too
        ws_ping_timeout=None,
        timeout_graceful_shutdown=GRACE,  # without a limit uvicorn waits for ever
        proxy_headers=False,  # who a request comes from is not for the request to say
        server_header=False,
        access_log=access_log,
        log_config=None,  # settings.LOGGING
    )

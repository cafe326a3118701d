"""uvicorn, which by itself cuts all clients off at once when it stops, made to send them elsewhere first.

A worker imports this before Django is set up, so nothing here may need it on import.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from uvicorn import Config, Server
from uvicorn.supervisors import multiprocess

logger = logging.getLogger(__name__)

GRACE = 10  # seconds for the goodbyes and for requests under way together: what supervisors give us, or less
LAST = 1  # seconds of it that requests have in any case
ENDS = 3  # seconds more for the application to stop; it has nothing left to do
HANG_UP = 2  # seconds that clients may take to answer the close of their WebSocket


class DrainingServer(Server):
    """Stops accepting, drains its node, and then stops as uvicorn does. A second Ctrl-C waits for nothing."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        began = time.monotonic()
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        leaving = asyncio.ensure_future(self._leave())
        while not leaving.done() and not self.force_exit:
            await asyncio.wait([leaving], timeout=0.1)
        if leaving.done() and (error := leaving.exception()) is not None:
            logger.error("the node could not take its leave", exc_info=error)
        leaving.cancel()
        self.config.timeout_graceful_shutdown = max(LAST, round(GRACE - (time.monotonic() - began)))
        try:
            async with asyncio.timeout(GRACE + ENDS - (time.monotonic() - began)):
                await super().shutdown(sockets)
        except TimeoutError:
            # Threads that wait for a database cannot be ended, and Python would wait for them. What they have not
            # committed was answered to nobody.
            logger.error("the node could not end in peace: the database may hang")
            logging.shutdown()
            os._exit(1)

    async def _leave(self) -> None:
        from rooms.node import draining, running

        hub = running.current()
        if hub is None:
            return
        await draining.drain(hub)
        # A socket that is closed while its client still speaks is reset, and the goodbye may be lost with it.
        with suppress(TimeoutError):
            async with asyncio.timeout(HANG_UP):
                while self._any_websocket():  # noqa: ASYNC110 uvicorn tells of it in no other way
                    await asyncio.sleep(0.02)

    def _any_websocket(self) -> bool:
        protocol = self.config.ws_protocol_class
        return protocol is not None and any(isinstance(open, protocol) for open in self.server_state.connections)


class Worker(multiprocess.Process):
    """One process of several."""

    @property
    def server(self) -> Server:
        if self._server is None:
            self._server = DrainingServer(self.config)
        return self._server

    def always_pong(self) -> None:
        with suppress(EOFError, OSError):  # the supervisor asks no more, while we drain
            super().always_pong()


class Supervisor(multiprocess.Multiprocess):
    def terminate_all(self) -> None:
        for listener in self.sockets:  # ours too: else the kernel takes in clients that nobody serves
            listener.close()
        super().terminate_all()


def serve(configuration: Config, listener: socket.socket) -> None:
    """Until SIGTERM or Ctrl-C. After SIGTERM the process ends with 0."""
    if configuration.use_subprocess:
        multiprocess.Process = Worker  # type: ignore[misc]  # its supervisor names the class and takes no other
        Supervisor(configuration, sockets=[listener]).run()
    else:
        signal.signal(signal.SIGTERM, _end)  # uvicorn raises it again when it has stopped in peace
        DrainingServer(configuration).run(sockets=[listener])


def _end(number: int, frame: Any) -> None:
    sys.exit(0)

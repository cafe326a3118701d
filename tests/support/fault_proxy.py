"""A network between a browser and the site that does to the three transports what networks do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PATHS = {"/live/ws": "websocket", "/live/stream": "sse", "/live/poll": "poll", "/live/commands": "commands"}


class Passage:
    """One connection through the proxy. ``clear``: what comes is passed on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.clear = asyncio.Event()
        self.clear.set()


@dataclass
class FaultProxy:
    """``faults`` has, by transport, what happens to it: ``refuse`` (403), ``reset``, ``stall`` (no answer), ``swallow``
    (what comes after the answer's head stays here), ``lose`` (a command is done, and its answer lost).

    A change is for what is opened after it; :meth:`cut` ends what is open, :meth:`hold` keeps it open and passes
    nothing on. Each HTTP request has a connection of its own, so that each is looked at.
    """

    upstream: int
    port: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)  # transports, as they were asked for
    _open: dict[asyncio.StreamWriter, Passage] = field(default_factory=dict)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Returns when all its sockets are closed. Nothing else may run in its loop."""
        me = asyncio.current_task()
        while others := asyncio.all_tasks() - {me}:
            for task in list(self._serving):  # the others end with them, or are asyncio's own: just accepting a socket
                task.cancel()
            await asyncio.wait(others, timeout=0.1)
        # Last: a socket that asyncio accepts while its server closes is left open (3.11: Server._attach asserts).
        self._server.close()
        await asyncio.sleep(0)  # what was cut off is closed in the next turn

    def carrying(self) -> set[str]:
        """The transports that have something open."""
        return {passage.name for passage in list(self._open.values())}

    def cut(self, name: str) -> None:
        """Reset the open connections of a transport."""
        self._each(name, lambda writer, passage: writer.transport.abort())

    def hold(self, name: str) -> None:
        """The open connections of a transport stay open, and nothing passes, not even that the site ends one."""
        self._each(name, lambda writer, passage: passage.clear.clear())

    def let_go(self, name: str) -> None:
        """What was held passes on."""
        self._each(name, lambda writer, passage: passage.clear.set())

    def _each(self, name: str, do: Callable[[asyncio.StreamWriter, Passage], None]) -> None:
        async def each() -> None:
            for writer, passage in list(self._open.items()):
                if passage.name == name:
                    do(writer, passage)

        asyncio.run_coroutine_threadsafe(each(), self._loop).result(5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up: asyncio.StreamWriter | None = None
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].partition(b"?")[0].decode()
                name = PATHS.get(path, "pages")
                passage = self._open[writer] = Passage(name)
                fault = self.faults.get(name, "")
                self.seen.append(name)
                if fault == "refuse":
                    writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    await writer.drain()
                    return
                if fault == "reset":
                    writer.transport.abort()
                    return
                if fault == "stall":
                    await reader.read()  # until the other side has had enough
                    return
                back, up = await asyncio.open_connection("127.0.0.1", self.upstream)
                up.write(head if name == "websocket" else _alone(head))
                await self._relay(reader, writer, back, up, fault, passage.clear)
        finally:
            self._open.pop(writer, None)
            for each in (writer, up):
                if each is not None:
                    await _hang_up(each)

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        up: asyncio.StreamWriter,
        fault: str,
        clear: asyncio.Event,
    ) -> None:
        async def answer() -> None:
            head = await back.readuntil(b"\r\n\r\n")
            if fault != "lose":
                writer.write(head)
                await writer.drain()
            await _copy(back, None if fault in ("swallow", "lose") else writer, clear)
            await clear.wait()
            if fault == "lose":
                writer.transport.abort()

        ways = [asyncio.ensure_future(_copy(reader, up, clear)), asyncio.ensure_future(answer())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Returns when the socket is closed; one that takes no more is cut off when this is cancelled."""
    writer.close()
    try:
        await writer.wait_closed()
    except (OSError, asyncio.CancelledError):
        writer.transport.abort()


def _alone(head: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines[:-2], b"Connection: close", b"", b""])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, clear: asyncio.Event) -> None:
    while data := await reader.read(65536):
        await clear.wait()
        if writer is not None:
            writer.write(data)
            await writer.drain()


@contextmanager
def fault_proxy(upstream: int) -> Iterator[FaultProxy]:
    """A proxy of a port here, in a thread of its own."""
    proxy = FaultProxy(upstream)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(5)
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()

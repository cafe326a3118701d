"""Many clients in one process: a light one for three transports, written from docs/protocol.md alone.

A :class:`Member` stays in one room of one site. It goes on by its cursor whenever it is cut off, at any node, after the
wait that the protocol asks for, and says what was not answered again under the same id. It keeps what it heard, to be
held against the log.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import secrets
import socket
import struct
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

PATIENCE = 30  # seconds for one answer; a poll takes as long by itself
WAIT = 20  # seconds that a poll asks for
IDLE = 3  # seconds after which a kept connection is not used again: servers close those
BATCH = 50  # commands in one frame

decode = msgspec.json.Decoder().decode


@dataclass(frozen=True)
class Badge:
    """The cookies of somebody at a browser."""

    session: str
    csrf: str

    def headers(self, *, origin: str = "") -> list[str]:
        lines = [f"Cookie: sessionid={self.session}; csrftoken={self.csrf}"]
        return [*lines, f"Origin: {origin}", f"X-CSRFToken: {self.csrf}"] if origin else lines


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"


class TurnedAway(Exception):
    """A status that is not 200, or 101; with the error object, if there was one."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, body[:200])
        self.status = status
        self.code, self.retry_after_ms = "", None
        with suppress(ValueError):
            error = json.loads(body)
            self.code, self.retry_after_ms = error.get("code"), error.get("retry_after_ms")


CUT = (OSError, EOFError, TurnedAway, TimeoutError)  # what a network does; IncompleteReadError is an EOFError


class Wire:
    """One TCP connection that speaks HTTP/1.1, and WebSocket after an upgrade."""

    def __init__(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.address = address
        self.reader = reader
        self.writer = writer
        self.used = time.monotonic()

    @classmethod
    async def open(cls, address: Address) -> Wire:
        async with asyncio.timeout(PATIENCE):
            return cls(address, *await asyncio.open_connection(address.host, address.port, limit=1 << 20))

    async def ask(self, method: str, path: str, headers: Iterable[str], body: bytes = b"") -> dict[str, str]:
        """Send a request; give the headers of its answer, when it is 200 or 101.

        :raises TurnedAway: another status.
        """
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.address.host}:{self.address.port}", *headers]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        given = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if status not in (200, 101):
            raise TurnedAway(status, await self.body(given))
        return given

    async def body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            found = await self.reader.readexactly(int(headers["content-length"]))
        else:
            found = b"".join([chunk async for chunk in self.chunks()])
        self.used = time.monotonic()
        return found

    async def chunks(self) -> AsyncIterator[bytes]:
        """Of a body without a length, to its end."""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)

    async def message(self) -> tuple[int, bytes]:
        """A WebSocket frame: opcode and payload. Servers do not mask theirs."""
        first, size = await self.reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(size)

    def send(self, opcode: int, payload: bytes) -> None:
        """Masked with zeros, which leave it as it is."""
        size = len(payload)
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | (size if size < 126 else 126))
        self.writer.write(head + (struct.pack("!H", size) if size >= 126 else b"") + b"\0\0\0\0" + payload)

    def close(self, *, reset: bool = False) -> None:
        """:param reset: without any goodbye, TCP's either."""
        if reset and (found := self.writer.get_extra_info("socket")) is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort() if reset else self.writer.close()


@dataclass
class End:
    """A connection that ended without our doing. ``back`` is when we were in the room again."""

    at: float
    address: Address
    bye: dict[str, Any] | None = None
    close_code: int | None = None
    how: str = ""
    refused: TurnedAway | None = None
    back: float | None = None
    tries: int = 0


@dataclass
class Member:
    """``heard`` is ``(seq, text)`` of each logged event; ``wrong`` what the protocol does not allow."""

    addresses: Sequence[Address]
    badge: Badge
    room: str
    start: Address | None = None  # where to connect first
    jitter: float = 0.5  # seconds of the first wait at most; the protocol's, and a test may hurry
    transport: ClassVar[str]
    cursor: str = field(init=False, default="")
    began_at: int = field(init=False, default=0)
    heard: list[tuple[int, str]] = field(init=False, default_factory=list)
    pending: dict[str, list[Any]] = field(init=False, default_factory=dict)
    answered: dict[str, Any] = field(init=False, default_factory=dict)
    said_again: set[str] = field(init=False, default_factory=set)
    ends: list[End] = field(init=False, default_factory=list)
    wrong: list[str] = field(init=False, default_factory=list)
    joined: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    at: Address | None = field(init=False, default=None)  # the node that holds the connection
    wire: Wire | None = field(init=False, default=None)
    close_code: int | None = field(init=False, default=None)
    _place: int = field(init=False, default=0)
    _bye: dict[str, Any] | None = field(init=False, default=None)
    _task: asyncio.Task[None] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """For those below."""

    # --- coming and going

    def enter(self) -> asyncio.Task[None]:
        """The task stays until :meth:`leave`; it ends earlier with what is wrong with this client."""
        self._task = asyncio.create_task(self._stay())
        return self._task

    def abandon(self, *, reset: bool) -> None:
        """Be gone, as when the process dies; the server is told nothing but by TCP.

        :param reset: not even by TCP's end of a conversation.
        """
        if self._task is not None:
            self._task.cancel()
        if self.wire is not None:
            self.wire.close(reset=reset)

    async def leave(self) -> None:
        if self._task is not None:
            self._task.cancel()
            (error,) = await asyncio.gather(self._task, return_exceptions=True)
            if isinstance(error, Exception):
                self.wrong.append(f"the client died of {error!r}")

    async def _stay(self) -> None:
        tries = 0
        while True:
            self._bye, self.close_code, how = None, None, "ended"
            address = self.start if self.start is not None and not self.cursor else random.choice(self.addresses)
            try:
                self.wire = await Wire.open(address)
                self.at = address
                await self._converse(self.wire, address)
            except CUT as error:
                how = repr(error)
                turned_away = error if isinstance(error, TurnedAway) else None
            else:
                turned_away = None
            finally:
                self.at = None
                if self.wire is not None:
                    self.wire.close()
            if self.joined.is_set():
                self.joined.clear()
                self.ends.append(End(time.monotonic(), address, self._bye, self.close_code, how, turned_away))
                tries = 0
            elif self.ends:
                self.ends[-1].tries += 1
            told = (self._bye or {}).get("retry_after_ms")
            if told is None and turned_away is not None:
                told = turned_away.retry_after_ms
            await asyncio.sleep(self._wait(tries) if told is None else told / 1000)
            tries += 1

    def _wait(self, tries: int) -> float:
        return random.uniform(0, min(30, self.jitter * 2**tries))

    @abstractmethod
    async def _converse(self, wire: Wire, address: Address) -> None:
        """Join and listen, to the end."""

    def _is_in(self) -> None:
        """The room is joined, or goes on."""
        if not self.joined.is_set():
            if self.ends and self.ends[-1].back is None:
                self.ends[-1].back = time.monotonic()
            self.joined.set()

    def has_all(self, log: Sequence[tuple[int, str]]) -> bool:
        """Whether it has heard the end of this log, ``(seq, text)``."""
        return not log or max(self.began_at, self.heard[-1][0] if self.heard else 0) >= log[-1][0]

    # --- speaking

    def say(self) -> str:
        """A message of its own, and its id: the text."""
        id = secrets.token_urlsafe(16)
        self.pending[id] = ["chat.send", {"text": id}, {"room": self.room, "id": id}]
        self._say([self.pending[id]])
        return id

    @abstractmethod
    def _say(self, vectors: list[Any]) -> None:
        """Send these when there is a way to; they stay in ``pending`` until they are answered."""

    def _say_again(self) -> None:
        waiting = list(self.pending.values())
        self.said_again.update(self.pending)
        for start in range(0, len(waiting), BATCH):
            self._say(waiting[start : start + BATCH])

    # --- listening

    def _take(self, frame: list[Any]) -> None:
        for vector in frame:
            name, data = vector[0], vector[1]
            meta = vector[2] if len(vector) > 2 else {}
            if self._bye is not None:
                self.wrong.append(f"{name} after live.bye")
            if name == "live.bye":
                self._bye = data
            elif name in ("live.ok", "live.error"):
                self._answer(name, data, meta.get("re"))
            elif name == "live.cursor":
                self._place = data["seq"]
            elif "seq" in meta:
                self._event(data, meta)
            elif name in ("live.reset", "live.left"):
                self.wrong.append(f"{name} {data}")

    def _answer(self, name: str, data: Any, re: str | None) -> None:
        if re in self.pending:
            if name == "live.ok":
                self.answered[re] = data
                del self.pending[re]
            elif not data["temporary"]:
                self.wrong.append(f"a command was answered by {data}")
                del self.pending[re]
        elif name == "live.error":
            self.wrong.append(f"{name} {data}")
        elif "verdict" in data:
            self._joined(data)

    def _joined(self, answer: Any) -> None:
        if answer["verdict"] == "reset" or (answer["verdict"] == "live") != (self.cursor == ""):
            self.wrong.append(f"the join from {self.cursor!r} was answered {answer}")
        seq = int(answer["cursor"].partition(":")[2])
        if not self.cursor:
            self.began_at = self._place = seq
            self.cursor = answer["cursor"]
        elif seq != self._place:
            self.wrong.append(f"the join from {self._place} goes on from {seq}")
            self._place = seq
        self._is_in()

    def _event(self, data: Any, meta: Any) -> None:
        seq = meta["seq"]
        if meta["room"] != self.room:
            self.wrong.append(f"an event of {meta['room']}")
        if seq != self._place + 1:
            self.wrong.append(f"seq {seq} after {self._place}")
        self._place = seq
        self.cursor = f"{self.cursor.partition(':')[0]}:{seq}"
        self.heard.append((seq, data["message"].get("text", "") if data and "message" in data else ""))


class SocketMember(Member):
    """Without ``flow=ack``: TCP's own back-pressure."""

    transport = "ws"

    async def _converse(self, wire: Wire, address: Address) -> None:
        upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        upgrade += [f"Sec-WebSocket-Key: {'A' * 22}==", "Sec-WebSocket-Protocol: live.v1", f"Origin: {address.origin}"]
        async with asyncio.timeout(PATIENCE):
            await wire.ask("GET", "/live/ws", [*upgrade, *self.badge.headers()])
        asked = {"cursor": self.cursor} if self.cursor else {}
        self._send(["live.join", asked, {"room": self.room, "id": "join"}])
        while True:
            opcode, payload = await wire.message()
            if opcode == 8:
                self.close_code = int.from_bytes(payload[:2], "big")
                wire.send(8, payload[:2])
                return
            if opcode == 9:
                wire.send(10, payload)
                continue
            frame = decode(payload)
            was_in = self.joined.is_set()
            self._take(frame)
            if not frame:
                wire.send(1, b"[]")
            if self.joined.is_set() and not was_in and self.pending:
                self._say_again()

    def _say(self, vectors: list[Any]) -> None:
        if self.joined.is_set() and self._bye is None:
            self._send(*vectors)

    def _send(self, *vectors: Any) -> None:
        if self.wire is not None and not self.wire.writer.is_closing():
            self.wire.send(1, msgspec.json.encode(vectors))


class PostingMember(Member):
    """Commands go by POST, one request at a time, to the node that has the stream or poll if there is one."""

    def __post_init__(self) -> None:
        self._posting: asyncio.Task[None] | None = None
        self._kept: Wire | None = None

    def _say(self, vectors: list[Any]) -> None:
        if self._posting is None or self._posting.done():
            self._posting = asyncio.create_task(self._post_all())

    async def _post_all(self) -> None:
        tries = 0
        while self.pending:
            vectors = list(self.pending.values())[:BATCH]
            told = None
            try:
                async with asyncio.timeout(PATIENCE):
                    frame = await self._post(vectors)
                for name, data, meta in frame:
                    self._answer(name, data, meta.get("re"))
                if not any(vector[2]["id"] in self.pending for vector in vectors):
                    tries = 0
                    continue
            except CUT as error:
                told = getattr(error, "retry_after_ms", None)
                if isinstance(error, TurnedAway) and error.status != 503:
                    self.wrong.append(f"a POST was answered by {error}")
                if self._kept is not None:
                    self._kept.close()
                    self._kept = None
            await asyncio.sleep(self._wait(tries) if told is None else told / 1000)
            self.said_again.update(vector[2]["id"] for vector in vectors if vector[2]["id"] in self.pending)
            tries += 1

    async def _post(self, vectors: list[Any]) -> Any:
        wire = self._kept
        if wire is None or time.monotonic() - wire.used > IDLE:
            if wire is not None:
                wire.close()
            wire = self._kept = await Wire.open(self.at or random.choice(self.addresses))
        headers = self.badge.headers(origin=wire.address.origin)
        answer = await wire.ask("POST", "/live/commands", headers, msgspec.json.encode(vectors))
        return decode(await wire.body(answer))

    async def leave(self) -> None:
        await super().leave()
        if self._posting is not None:
            self._posting.cancel()
            (error,) = await asyncio.gather(self._posting, return_exceptions=True)
            if isinstance(error, Exception):
                self.wrong.append(f"the client died of {error!r}")
        if self._kept is not None:
            self._kept.close()


class StreamMember(PostingMember):
    transport = "sse"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._last_id = ""

    async def _converse(self, wire: Wire, address: Address) -> None:
        place = self._last_id or (f"{self.room}@{self.cursor}" if self.cursor else "")
        last = [f"Last-Event-ID: {place}"] if place else []
        async with asyncio.timeout(PATIENCE):
            await wire.ask(
                "GET", f"/live/stream?room={self.room}", ["Accept: text/event-stream", *last, *self.badge.headers()]
            )
        buffer = b""
        async for chunk in wire.chunks():
            *blocks, buffer = (buffer + chunk).split(b"\n\n")
            for block in blocks:
                self._block(block)
            if self._bye is not None:
                return

    def _block(self, block: bytes) -> None:
        id, data = "", b""
        for line in block.split(b"\n"):
            name, _, value = line.partition(b": ")
            if name == b"id":
                id = value.decode()
            elif name == b"data":
                data = value
        if data:
            self._take(decode(data))
            self._last_id = id or self._last_id


class PollMember(PostingMember):
    transport = "poll"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._composite = ""
        self._hello = ""

    async def _converse(self, wire: Wire, address: Address) -> None:
        """The first poll of a connection waits for nothing: it tells that we are in."""
        wait = 0
        while True:
            query = "&".join(f"room={part}" for part in self._composite.split()) or f"room={self.room}"
            query += f"&connection={self._hello}" if self._hello else ""
            async with asyncio.timeout(PATIENCE):
                answer = await wire.ask("GET", f"/live/poll?{query}&wait={wait}", self.badge.headers())
                said = decode(await wire.body(answer))
            self._take(said["frame"])
            if said["frame"] and said["frame"][0][0] == "live.hello":
                self._hello = said["frame"][0][1]["connection"]
            if self._composite and not said["cursor"]:
                self.wrong.append(f"a poll lost its cursor {self._composite}: {said}")
            self._composite = said["cursor"] or self._composite
            if self._bye is not None:
                return
            self._is_in()
            wait = WAIT


KINDS: tuple[type[Member], ...] = (SocketMember, StreamMember, PollMember)


# --- all of them -----------------------------------------------------------------------------------------------------


def room_for(files: int) -> None:
    """Let this process, and those that it starts, hold so many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise SystemExit(f"This needs {files} open files; ulimit -n allows {hard}.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


async def enter(members: Sequence[Member], *, at_once: int = 50, seconds: float = 120) -> None:
    """Everybody comes in; so many handshakes at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(member: Member) -> None:
        async with gate:
            stay = member.enter()
            joined = asyncio.create_task(member.joined.wait())
            await asyncio.wait([joined, stay], return_when=asyncio.FIRST_COMPLETED)
            joined.cancel()
            if stay.done():
                stay.result()

    async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
        for member in members:
            tasks.create_task(one(member))


async def leave(members: Sequence[Member]) -> None:
    await asyncio.gather(*(member.leave() for member in members))


async def until(condition: Any, seconds: float, what: str) -> None:
    """Look until it holds. The clients go on meanwhile: there is nothing else that all of them would tell."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(0.05)


async def talk(members: Sequence[Member], rate: float, stop: asyncio.Event) -> list[str]:
    """So many messages a second in all, of members by turns, until ``stop``. Gives the ids of all."""
    said = []
    due = time.monotonic()
    number = 0
    while not stop.is_set():
        said.append(members[number % len(members)].say())
        number += 1
        due += 1 / rate
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0, due - time.monotonic())):
                await stop.wait()
    return said

"""Play chat logs into a running site, each into a room of its own, and prove that every reader got every line.

::

    python tests/acceptance/replay_all.py FOLDER --url http://127.0.0.1:8000 --url http://127.0.0.1:8001

For each ``*.txt`` in the folder (the format is that of ``manage.py replay``): a room, some WebSocket readers, spread
over the nodes, and one process of ``replay``, on one node or the other. When all is said, each reader must hold exactly
what the file says, text and author, in its order, each line once. Needs the site's environment (``DATABASE_URL``,
``SECRET_KEY``): it makes rooms, people and sessions. Exits with 1 when anything is missing, doubled, out of order or
changed.

The client here is written from ``docs/protocol.md`` and the expectation from the bytes of the file; neither uses the
code that is tested.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

ROOT = Path(__file__).resolve().parents[2]
ACK_AT_LEAST = 2.0  # seconds; the protocol wants 5
OPENING_AT_ONCE = 20  # handshakes
QUIET = 1.5  # seconds of listening on, after the last line, for what should not come

Spoken = tuple[str, str]  # the author's name, the text


def expected(log: bytes) -> list[Spoken]:
    """What a log says, in order."""
    found = []
    for line in log.split(b"\n"):
        if match := re.match(rb"\[\d\d:\d\d\] <([^>]+)> (.+)\Z", line, re.DOTALL):
            name, text = match[1].replace(b" ", b""), match[2]
        elif match := re.match(rb"\[\d\d:\d\d\]  ?(\* (\S+) .+)\Z", line, re.DOTALL):
            name, text = match[2], match[1]
        else:
            continue
        found.append((name.decode(), text.decode()))
    return found


class Wrong(Exception):
    """What a reader saw and the protocol does not allow."""


@dataclass
class Reader:
    """One WebSocket in one room. Holds what it was told and checks that ``seq`` rises by one."""

    url: str
    room: str
    session: str
    wanted: int
    heard: list[Spoken] = field(default_factory=list)
    first: float = 0.0  # when the first message came, and the last
    last: float = 0.0
    skipped: int = 0
    frames: int = 0  # counted ones, since the start of the connection
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    _place: int = 0  # the seq after which events follow
    _acked: int = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Task[None]]:
        """Joined on entering; the task reads on until the end, and ends earlier only with what went wrong."""
        site = urlsplit(self.url)
        secure = "s" if site.scheme == "https" else ""
        async with connect(
            f"ws{secure}://{site.netloc}/live/ws?flow=ack",
            origin=f"{site.scheme}://{site.netloc}",  # type: ignore[arg-type]  # a NewType
            additional_headers={"Cookie": f"sessionid={self.session}"},
            subprotocols=["live.v1"],  # type: ignore[list-item]
            max_size=None,
            compression=None,
            open_timeout=30,
        ) as socket:
            window = await self._join(socket)
            tasks = [asyncio.create_task(self._read(socket, window)), asyncio.create_task(self._acknowledge(socket))]
            try:
                yield tasks[0]
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _join(self, socket: ClientConnection) -> int:
        """Gives the window. Nothing of the room may come before the answer."""
        ((name, hello, *_),) = json.loads(await socket.recv())
        if name != "live.hello":
            raise Wrong(f"{name} came before live.hello: {hello}")
        question = secrets.token_urlsafe(16)
        await socket.send(json.dumps([["live.join", {}, {"room": self.room, "id": question}]]))
        vectors: list[list[object]] = []
        while not vectors:
            vectors = json.loads(await socket.recv())
            if not vectors:
                await socket.send("[]")
        (name, answer, meta), *rest = vectors
        if name != "live.ok" or meta["re"] != question or answer["verdict"] != "live":
            raise Wrong(f"the join was answered by {name} {answer}")
        self._place = answer["head"]
        self._take(rest)
        return hello["window"]

    async def _read(self, socket: ClientConnection, window: int) -> None:
        try:
            async for message in socket:
                vectors = json.loads(message)
                if not vectors:
                    await socket.send("[]")
                self._take(vectors)
                if self.frames - self._acked >= window // 4:
                    await self._ack(socket)
        except ConnectionClosed as error:
            raise Wrong(f"the connection was closed: {error}") from error
        raise Wrong(f"the connection was closed: {socket.close_code} {socket.close_reason}")

    async def _acknowledge(self, socket: ClientConnection) -> None:
        while True:
            await asyncio.sleep(ACK_AT_LEAST)
            if self.frames > self._acked:
                await self._ack(socket)

    async def _ack(self, socket: ClientConnection) -> None:
        self._acked = self.frames
        await socket.send(json.dumps([["live.ack", {"frames": self._acked}]]))

    def _take(self, vectors: Sequence[list[object]]) -> None:
        counted = False
        for name, data, *rest in vectors:
            meta = rest[0] if rest else {}
            if name == "live.cursor":
                if data["seq"] <= self._place:
                    raise Wrong(f"live.cursor to {data['seq']} at {self._place}")
                self._place = data["seq"]
                self.skipped += data["skipped"]
            elif name.startswith("live."):
                raise Wrong(f"{name}: {data}")
            elif meta.get("room") != self.room:
                raise Wrong(f"{name} of {meta.get('room')}")
            else:
                counted = True
                self._event(name, data, meta)
        self.frames += counted

    def _event(self, name: str, data: dict, meta: dict) -> None:
        if "seq" in meta:
            if meta["seq"] != self._place + 1:
                raise Wrong(f"seq {meta['seq']} after {self._place}")
            self._place = meta["seq"]
        if name == "chat.message":
            message = data["message"]
            if meta["by"] != message["author"]["id"]:
                raise Wrong(f"a message of {message['author']} by {meta['by']}")
            self.heard.append((message["author"]["name"], message["text"]))
            self.last = time.monotonic()
            self.first = self.first or self.last
            if len(self.heard) == self.wanted:
                self.complete.set()


@dataclass
class Part:
    """One file, its room and who listens."""

    file: Path
    room: str
    lines: list[Spoken]
    readers: list[Reader]

    def complaints(self) -> Iterator[str]:
        for number, reader in enumerate(self.readers, start=1):
            if reader.heard != self.lines:
                yield f"{self.room}, reader {number} at {reader.url}: {_difference(self.lines, reader.heard)}"


async def run(parts: Sequence[Part], urls: Sequence[str], *, speed: float, patience: float) -> list[str]:
    """Play everything; gives what was wrong."""
    opening = asyncio.Semaphore(OPENING_AT_ONCE)
    spoken = asyncio.Event()
    readers = [reader for part in parts for reader in part.readers]
    ready = [asyncio.Event() for _ in readers]

    async def listen(reader: Reader, joined: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            async with opening:
                task = await stack.enter_async_context(reader.listening())
            joined.set()
            ended = asyncio.create_task(spoken.wait())
            await asyncio.wait([task, ended], return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            if task.done():
                task.result()

    listeners = [asyncio.create_task(listen(*pair)) for pair in zip(readers, ready, strict=True)]
    opened = asyncio.gather(*(event.wait() for event in ready))
    await asyncio.wait([opened, *listeners], return_when=asyncio.FIRST_COMPLETED)
    problems = []
    if opened.done():
        print(f"{len(readers)} readers are in {len(parts)} rooms")
        plays = [_replay(part, urls[number % len(urls)], speed) for number, part in enumerate(parts)]
        problems += [problem for problem in await asyncio.gather(*plays) if problem]
        waiting = asyncio.gather(*(reader.complete.wait() for reader in readers))
        await asyncio.wait([waiting], timeout=patience)
        waiting.cancel()
        await asyncio.sleep(QUIET)
    else:
        opened.cancel()
    spoken.set()
    for reader, result in zip(readers, await asyncio.gather(*listeners, return_exceptions=True), strict=True):
        if isinstance(result, BaseException):
            problems.append(f"{reader.room} at {reader.url}: {type(result).__name__}: {result}")
    return problems + [complaint for part in parts for complaint in part.complaints()]


async def _replay(part: Part, url: str, speed: float) -> str | None:
    command = [sys.executable, str(ROOT / "manage.py"), "replay", str(part.file)]
    process = await asyncio.create_subprocess_exec(
        *command, "--room", part.room, "--speed", str(speed), "--url", url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode().strip()
    print("  " + output.rpartition("\n")[2], flush=True)
    return f"replay of {part.file.name}: {output}" if process.returncode else None


def report(parts: Sequence[Part]) -> str:
    messages = sum(len(part.lines) for part in parts)
    readers = [reader for part in parts for reader in part.readers]
    deliveries = sum(len(reader.heard) for reader in readers)
    frames = sum(reader.frames for reader in readers)
    heard = [reader for reader in readers if reader.heard]
    if not heard:
        return "nothing was heard"
    took = max(reader.last for reader in heard) - min(reader.first for reader in heard)
    return (
        f"{messages:,} messages, {deliveries:,} deliveries in {frames:,} frames, {took:.1f} s from first to last: "
        f"{messages / took:,.0f} messages and {deliveries / took:,.0f} deliveries a second"
    )


def _difference(lines: list[Spoken], heard: list[Spoken]) -> str:
    for number, (line, got) in enumerate(zip(lines, heard, strict=False), start=1):
        if line != got:
            return f"message {number} is {got!r} where the log says {line!r}"
    return f"heard {len(heard)} messages of {len(lines)}"


# --- the site's side: rooms, people, sessions ------------------------------------------------------------------------


@contextmanager
def prepared(
    files: Sequence[Path], urls: Sequence[str], tenant: str, readers: int, run_name: str
) -> Iterator[list[Part]]:
    """A room for each file, and sessions for its readers, which end with this."""
    from rooms.management import cast

    people = list(cast.accounts([f"reader-{number}" for number in range(1, readers + 1)]).values())
    voices = []
    parts = []
    try:
        for file in files:
            slug = re.sub(r"[^a-z0-9_-]+", "-", f"{file.stem.lower()}-{run_name}").lstrip("-_")
            cast.admit(cast.place(tenant, slug), people)
            lines = expected(file.read_bytes())
            sessions = cast.log_in(people)
            voices += sessions
            room = f"{tenant}/{slug}"
            listeners = [
                Reader(urls[number % len(urls)], room, voice.session, len(lines))
                for number, voice in enumerate(sessions)
            ]
            parts.append(Part(file, room, lines, listeners))
        yield parts
    finally:
        cast.log_out(voices)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="its *.txt files are played")
    parser.add_argument("--url", action="append", required=True, help="of a node; once for each")
    parser.add_argument("--readers", type=int, default=20, help="in each room (default: 20)")
    parser.add_argument("--tenant", default="acme")
    parser.add_argument("--speed", type=float, default=0.0, help="as for replay (default: 0)")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds that the readers may lag in the end")
    options = parser.parse_args()
    files = sorted(options.folder.glob("*.txt"))
    if not files:
        parser.error(f"there is no *.txt in {options.folder}")

    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "realtime_project.settings")
    import django

    django.setup()
    began = time.monotonic()
    with prepared(files, options.url, options.tenant, options.readers, secrets.token_hex(3)) as parts:
        problems = asyncio.run(run(parts, options.url, speed=options.speed, patience=options.patience))
    print(report(parts))
    print(f"{time.monotonic() - began:.1f} s in all, rooms, people and starting processes counted in")
    for problem in problems:
        print(f"WRONG: {problem}")
    print("WRONG" if problems else "Every reader has every line, once, in order, to the byte.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

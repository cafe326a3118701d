"""Readers inside a node of this process: everything is real but the socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import msgspec

from rooms.contract import Close, Cursor, Person, Refused
from rooms.delivery.session import Join, Session, Terms, ok
from rooms.identity import Identity
from rooms.node.connection import StreamingConnection
from rooms.node.hub import Hub

TERMS = Terms(
    window=None,
    max_frame_bytes=64 * 1024,
    max_rooms=100,
    heartbeat=25,
    heartbeat_grace=10,
    stall_timeout=30,
    idle_timeout=120,
)


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """For what nothing tells of: look in each turn of the loop."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0)


class InProcess(StreamingConnection):
    transport = "test"


class Valve:
    """A listener's socket, as a server with the extension of ``docs/fanout.md`` has it."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    @property
    def takes(self) -> bool:
        return self._listener.takes.is_set()

    def write(self, data: bytes) -> bool:
        if self.takes:
            self._listener.hear(data)
        return self.takes

    async def drain(self) -> None:
        await self._listener.takes.wait()


def _line(frame: bytes) -> bytes:
    return frame + b"\n"


class Listener:
    """Joins one room and writes down what it is sent. While ``takes`` is not set its socket takes nothing."""

    def __init__(self, hub: Hub, user: Any, number: int = 0, *, direct: bool = False) -> None:
        self.frames: list[Any] = []
        self.writes = 0  # some frames came together
        self.vectors: list[Any] = []
        self.closed: Close | None = None
        self.place_joined = 0
        self.heard = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        self.connection = InProcess(
            hub,
            Session(TERMS, time.monotonic()),
            id=f"listener-{number}",
            who=None if user is None else Identity(user, Person(str(user), "somebody"), None),
            send=self._send,
            shut=self._shut,
            abandon=self._shut_now,
            shape=_line,
            direct=Valve(self) if direct else None,
        )
        hub.connections[self.connection.id] = self.connection

    async def join(self, address: str, cursor: Cursor | None = None, *, state: bool = False) -> Any:
        [joined] = await self.connection.hub.join(self.connection, [Join("join", address, cursor, state)])
        if isinstance(joined, Refused):
            raise joined
        self.place_joined = joined.cursor.seq
        self.connection.session.rooms[address] = joined.reader
        self.connection.say(ok("join", joined.answer()))
        self.connection.hub.attach(joined.reader)
        return joined

    @property
    def events(self) -> list[Any]:
        """Logged events and explanations of gaps, as they came."""
        return [v for v in self.vectors if v[0] == "live.cursor" or len(v) > 2 and "seq" in v[2]]

    @property
    def seqs(self) -> list[int]:
        return [v[2]["seq"] for v in self.events if v[0] != "live.cursor"]

    @property
    def place(self) -> int:
        """The last seq that it was told of."""
        if not self.events:
            return 0
        name, data, meta = self.events[-1]
        return int(data["seq"] if name == "live.cursor" else meta["seq"])

    async def until(self, condition: Any, seconds: float = 60) -> None:
        """Wait until the condition on this listener holds; looks again at each frame that comes."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                self.heard.clear()
                await self.heard.wait()

    async def _send(self, data: bytes) -> None:
        await self.takes.wait()
        self.hear(data)

    def hear(self, data: bytes) -> None:
        for line in data.splitlines():
            self.frames.append(msgspec.json.decode(line))
            self.vectors += self.frames[-1]
        self.writes += 1
        self.heard.set()

    def _shut_now(self) -> None:
        self.heard.set()

    async def _shut(self, close: Close) -> None:
        self.closed = close
        self.heard.set()


class Visitor(Listener):
    """A listener who is counted as every connection is, and :meth:`goes`.

    ``people`` is who is here, by id, as states and differences told it; None before the first state.
    """

    def __init__(self, hub: Hub, user: Any, number: int = 0) -> None:
        super().__init__(hub, user, number)
        del hub.connections[self.connection.id]
        self._stay = ExitStack()
        self._stay.enter_context(hub.holding(self.connection))

    def goes(self) -> None:
        """The connection is lost."""
        self._stay.close()

    @property
    def presence(self) -> list[Any]:
        return [vector for vector in self.vectors if vector[0].startswith("presence.")]

    @property
    def people(self) -> dict[str, Any] | None:
        people: dict[str, Any] | None = None
        for name, data, _ in self.presence:
            if name == "presence.state":
                people = {person["user"]["id"]: person for person in data["people"]}
            elif name == "presence.diff":
                assert people is not None, "a difference before any state"
                left = {person["user"]["id"] for person in data["left"]}
                people |= {person["user"]["id"]: person for person in (*data["joined"], *data["changed"])}
                people = {id: person for id, person in people.items() if id not in left}
        return people

    async def knows(self, *users: Any) -> None:
        """Wait until these and no others are here."""
        wanted = {str(user.pk) for user in users}
        await self.until(lambda one: one.people is not None and one.people.keys() == wanted)

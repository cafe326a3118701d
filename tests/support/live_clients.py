"""One client, three transports. Written from docs/protocol.md alone, nothing of ours imported.

A test that speaks to a :class:`LiveClient` says what all transports must do: open it for some rooms, send, listen until
something is true, lose the connection, resume it, here or there, as this transport or as another.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from abc import abstractmethod
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import httpx
import msgspec

from tests.support.client import Live, own_origin
from tests.support.conversation import PATIENCE, Conversation, Place, new_id
from tests.support.sites import Node

Rooms = Mapping[str, str | None] | Iterable[tuple[str, str | None]]

# What a refused handshake is over HTTP, by the close code that a WebSocket gets.
REFUSALS = {4429: "rate_limited", 4500: "bad_data", 4501: "unauthenticated", 4503: "forbidden"}
STATUS = {
    "bad_frame": 400, "bad_data": 400, "unknown_name": 400, "id_required": 400, "id_reused": 409, "too_large": 413,
    "unauthenticated": 401, "forbidden": 403, "not_found": 404, "not_joined": 409, "conflict": 409,
    "rate_limited": 429, "too_many_connections": 429, "too_many_rooms": 429, "unavailable": 503,
}  # fmt: skip


class TurnedAway(Exception):
    """The server would not have us. ``status`` is HTTP's, or a WebSocket's close code."""

    def __init__(self, code: str, status: int, body: Any) -> None:
        super().__init__(code, status, body)
        self.code = code
        self.status = status
        self.body = body


class Ended(Exception):
    """The server ended it, or the network did."""


@dataclass(frozen=True)
class Caller:
    """Who speaks: a browser with its cookies, a program with a ticket, or nobody.

    ``headers`` are said besides, or instead of what such a one would say.
    """

    session: str | None = None
    csrf: str | None = None
    ticket: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def browser(cls, client: httpx.Client, **headers: str) -> Caller:
        return cls(client.cookies["sessionid"], client.cookies["csrftoken"], headers=headers)

    def saying(self, **headers: str) -> Caller:
        """The same one with these headers; ``_`` for ``-``."""
        return replace(self, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def cookies(self) -> dict[str, str]:
        cookies = {"sessionid": self.session, "csrftoken": self.csrf}
        given = "; ".join(f"{name}={value}" for name, value in cookies.items() if value is not None)
        return {"Cookie": given} if given else {}

    def reading(self) -> dict[str, str]:
        """Headers of a GET: a browser sends no Origin to its own site."""
        ticket = {"Authorization": f"Bearer {self.ticket}"} if self.ticket is not None else {}
        return {**self.cookies(), **ticket, **self.headers}

    def writing(self, url: str) -> dict[str, str]:
        """Headers of a POST."""
        token = {"X-CSRFToken": self.csrf, "Origin": url} if self.csrf is not None else {}
        return {"Content-Type": "application/json", **token, **self.reading()}

    def dialling(self, ws_url: str) -> dict[str, str]:
        """Headers of a WebSocket's handshake."""
        origin = {"Origin": own_origin(ws_url)} if self.session is not None else {}
        return {**origin, **self.cookies(), **self.headers}


class LiveClient(Conversation):
    """``joins`` holds the answer to each room, ``live.ok`` or ``live.error``."""

    transport: str

    def __init__(self) -> None:
        super().__init__()
        self.node: Node
        self.who: Caller
        self.joins: dict[str, Any] = {}

    @classmethod
    @abstractmethod
    async def connect(cls, node: Node, who: Caller, rooms: Rooms = (), **options: Any) -> Self:
        """Open it, and join these rooms, each from now on or from a cursor; return when all are answered.

        :raises TurnedAway: refused as a whole.
        """

    @abstractmethod
    async def say(self, message: str | bytes) -> None:
        """Send this as it is, whether it is a frame or not."""

    @abstractmethod
    async def send_and_vanish(self, *vectors: Any) -> None:
        """Say these, and lose the connection before an answer can come."""

    @abstractmethod
    async def drop(self) -> None:
        """Lose the connection: the server is told nothing."""

    @abstractmethod
    async def close(self) -> None:
        """Go in peace, whatever has happened before."""

    @abstractmethod
    def cursors(self) -> dict[str, str]:
        """Where to go on in each room that is joined."""

    async def ended(self) -> int | None:
        """Listen to the end that the server makes; gives the code that it gave."""
        try:
            await self.until(lambda: False)
        except Ended:
            return self.bye["code"] if self.bye else None
        raise AssertionError("unreachable")

    async def resume(self, *, on: Node | None = None, by: type[LiveClient] | None = None) -> LiveClient:
        """A new connection that goes on where this one was."""
        return await (by or type(self)).connect(on or self.node, self.who, self.cursors())

    def verdict(self, room: str) -> str:
        """``live``, ``resumed``, ``reset``, or the code of the error."""
        if room not in self.joins:  # a poll says nothing of a room that goes on
            assert room in self.places
            return "resumed"
        name, data, _ = self.joins[room]
        return str(data["verdict"] if name == "live.ok" else data["code"])


def _join(cursor: str | None, *, present: bool) -> dict[str, Any]:
    return {**({} if cursor is None else {"cursor": cursor}), **({} if present else {"present": False})}


def pairs(rooms: Rooms) -> list[tuple[str, str | None]]:
    return list(rooms.items() if isinstance(rooms, Mapping) else rooms)


# --- WebSocket -------------------------------------------------------------------------------------------------------


class Socket(Live, LiveClient):
    transport = "ws"

    @classmethod
    async def connect(
        cls,
        node: Node,
        who: Caller,
        rooms: Rooms = (),
        *,
        ack: bool = True,
        absent: Collection[str] = (),
        **options: Any,
    ) -> Self:
        if who.ticket is not None:
            options.setdefault("subprotocols", ["live.v1", f"ticket.{who.ticket}"])
        client: Self = await cls.dial(node.ws_url, who.dialling(node.ws_url), ack=ack, **options)
        client.node, client.who = node, who
        if client.bye:
            code = await client.closed()
            raise TurnedAway(REFUSALS[code], code, client.bye)
        await client.add(rooms, absent=absent)
        return client

    async def add(self, rooms: Rooms, *, absent: Collection[str] = ()) -> None:
        """Join these too."""
        asked = [(new_id(), *pair) for pair in pairs(rooms)]
        joins = [
            ["live.join", _join(cursor, present=room not in absent), {"room": room, "id": id}]
            for id, room, cursor in asked
        ]
        if joins:
            await self.send(*joins)
        await self.until(lambda: all(id in self.answers for id, _, _ in asked))
        self.joins |= {room: self.answers[id] for id, room, _ in asked}

    async def say(self, message: str | bytes) -> None:
        await self.socket.send(message)

    async def send_and_vanish(self, *vectors: Any) -> None:
        await self.send(*vectors)
        await self.drop()

    async def drop(self) -> None:
        self.socket.transport.abort()

    async def close(self) -> None:
        await self.socket.close()

    def cursors(self) -> dict[str, str]:
        return {room: str(place) for room, place in self.places.items()}

    async def ended(self) -> int | None:
        code = await self.closed()
        assert self.bye is None or self.bye["code"] == code, f"the socket closed with {code}, after {self.bye}"
        return code


class Packed(Socket):
    """The same arrays in MessagePack, one binary message a frame."""

    @classmethod
    async def connect(cls, node: Node, who: Caller, rooms: Rooms = (), **options: Any) -> Self:
        ticket = [] if who.ticket is None else [f"ticket.{who.ticket}"]
        return await super().connect(node, who, rooms, subprotocols=["live.v1.msgpack", *ticket], **options)

    def _encoded(self, frame: Any) -> str | bytes:
        return msgspec.msgpack.encode(frame)

    def _decoded(self, message: str | bytes) -> Any:
        assert isinstance(message, bytes), "live.v1.msgpack is binary"
        return msgspec.msgpack.decode(message)


# --- POST beside a stream or polls -----------------------------------------------------------------------------------


class Posting(LiveClient):
    """What the two that are plain HTTP have in common: commands by POST, joins in the address."""

    def __init__(self) -> None:
        super().__init__()
        self.http = httpx.AsyncClient(trust_env=False, verify=False, timeout=httpx.Timeout(PATIENCE, read=60))
        self.statuses: list[int] = []  # of each POST

    async def send(self, *vectors: Any) -> None:
        await self.say(json.dumps(vectors, ensure_ascii=False))

    async def say(self, message: str | bytes) -> None:
        self._posted(await self.http.send(self._post(message)))

    async def send_and_vanish(self, *vectors: Any) -> None:
        await self._vanish(self._post(json.dumps(vectors, ensure_ascii=False)))

    def _post(self, message: str | bytes) -> httpx.Request:
        url = f"{self.node.url}/live/commands"
        return self.http.build_request(
            "POST", url, content=message, params=self._connection(), headers=self.who.writing(self.node.url)
        )

    def _posted(self, answer: httpx.Response) -> None:
        self.statuses.append(answer.status_code)
        said = answer.json()
        if answer.status_code == 200:
            self._take(said)
        else:
            assert STATUS[said["code"]] == answer.status_code
            self.errors.append(said)

    def _connection(self) -> dict[str, str]:
        return {"connection": self.hello["connection"]} if self.hello else {}

    async def _vanish(self, request: httpx.Request) -> None:
        """Send it; close the connection when the last byte has gone."""
        gone = asyncio.Event()

        async def trace(event: str, info: Any) -> None:
            if event == "http11.send_request_body.complete":
                gone.set()

        request.extensions["trace"] = trace
        task = asyncio.create_task(self.http.send(request))
        async with asyncio.timeout(PATIENCE):
            await gone.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        await self.http.aclose()


async def refusal(answer: httpx.Response) -> TurnedAway:
    """An HTTP status with the error object."""
    await answer.aread()
    assert answer.headers["content-type"] == "application/json", answer.text
    body = answer.json()
    assert body.keys() >= {"code", "detail", "temporary"}
    return TurnedAway(body["code"], answer.status_code, body)


# --- server-sent events ----------------------------------------------------------------------------------------------


class Stream(Posting):
    """``ids`` holds the ``id:`` of each frame, None where it had none; ``comments`` counts comment lines."""

    transport = "sse"

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str | None] = []
        self.comments = 0
        self.last_id = ""
        self._response: httpx.Response
        self._chunks: AsyncIterator[bytes]
        self._buffer = b""
        self._data: list[str] = []
        self._id: str | None = None

    @classmethod
    async def connect(
        cls,
        node: Node,
        who: Caller,
        rooms: Rooms = (),
        *,
        last_event_id: str | None = None,
        absent: Collection[str] = (),
        **options: Any,
    ) -> Self:
        """With cursors as a browser opens again: the rooms in the query, the cursors in ``Last-Event-ID``.

        :param last_event_id: another one; the cursors then stand in the query.
        """
        client = cls()
        client.node, client.who = node, who
        asked = pairs(rooms)
        known = " ".join(f"{room}@{cursor}" for room, cursor in asked if cursor is not None)
        if last_event_id is None:
            last_event_id, named = known, [room for room, _ in asked]
        else:
            named = [room if cursor is None else f"{room}@{cursor}" for room, cursor in asked]
        headers = {"Accept": "text/event-stream", **who.reading()}
        if last_event_id:
            headers["Last-Event-ID"] = client.last_id = last_event_id
        query = [("room", room) for room in named] + [("absent", room) for room in absent]
        request = client.http.build_request("GET", f"{node.url}/live/stream", params=query, headers=headers)
        try:
            await client._open(request)
            await client.until(lambda: client.hello and all(room in client.answers for room, _ in asked))
        except BaseException:
            await client.close()
            raise
        client.joins = {room: client.answers[room] for room, _ in asked}
        return client

    async def _open(self, request: httpx.Request) -> None:
        self._response = response = await self.http.send(request, stream=True)
        if response.status_code != 200:
            raise await refusal(response)
        assert response.headers["content-type"].split(";")[0] == "text/event-stream"
        self._chunks = response.aiter_raw()

    async def _hear(self) -> None:
        """Take the next line."""
        while b"\n" not in self._buffer:
            try:
                self._buffer += await anext(self._chunks)
            except (StopAsyncIteration, httpx.TransportError) as error:
                raise Ended(repr(error)) from error
        line, _, self._buffer = self._buffer.partition(b"\n")
        name, _, value = line.rstrip(b"\r").decode().partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "id":
                self._id = value
            case "" if line.startswith(b":"):
                self.comments += 1
            case "" if self._data:
                data, id = "\n".join(self._data), self._id
                self._data, self._id = [], None
                self.ids.append(id)
                self.last_id = self.last_id if id is None else id
                self._take(json.loads(data))
            case "" | "retry":
                pass
            case _:
                raise AssertionError(f"no field of ours: {line!r}")

    async def drop(self) -> None:
        connection = self._response.extensions["network_stream"].get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no goodbye
        await self._response.aclose()

    async def close(self) -> None:
        if hasattr(self, "_response"):
            await self._response.aclose()
        await super().close()

    def cursors(self) -> dict[str, str]:
        last = cursors(self.last_id)
        return {room: last.get(room, str(place)) for room, place in self.places.items()}


def cursors(composite: str) -> dict[str, str]:
    """``acme/general@e7a1…:44 acme/random@0b…:7``, by room."""
    return dict(part.rsplit("@", 1) for part in composite.split(" ")) if composite else {}


# --- long-poll -------------------------------------------------------------------------------------------------------


class Poll(Posting):
    """``cursor`` is the one that the last answer gave."""

    transport = "poll"

    def __init__(self) -> None:
        super().__init__()
        self.cursor = ""
        self.wait = 20.0
        self.absent: Collection[str] = ()

    @classmethod
    async def connect(
        cls, node: Node, who: Caller, rooms: Rooms = (), *, absent: Collection[str] = (), **options: Any
    ) -> Self:
        client = cls()
        client.node, client.who, client.absent = node, who, absent
        asked = pairs(rooms)
        for room, cursor in asked:
            if cursor is not None and re.fullmatch(r"\w+:\d+", cursor):
                client.places[room] = Place.after(cursor)  # nothing else is said of it when it can go on
        try:
            await client.poll(0, *(room if cursor is None else f"{room}@{cursor}" for room, cursor in asked))
        except BaseException:
            await client.close()
            raise
        client.joins = {room: client.answers[room] for room, _ in asked if room in client.answers}
        return client

    async def poll(self, wait: float | None = None, *rooms: str) -> list[Any]:
        """Ask once, and go on from the answer; gives its frame.

        :param rooms: instead of what the last answer's cursor names.
        """
        answer = await self.http.send(self._get(wait, *rooms))
        if answer.status_code != 200:
            raise await refusal(answer)
        said = answer.json()
        assert said.keys() == {"cursor", "frame"}
        self._take(said["frame"])
        self.cursor = said["cursor"]
        for room in self.places.keys() - cursors(self.cursor).keys():  # refused: a poll has no more to say of it
            del self.places[room]
        frame: list[Any] = said["frame"]
        return frame

    def _get(self, wait: float | None = None, *rooms: str) -> httpx.Request:
        query = [("room", room) for room in rooms or self.cursor.split()] + [("absent", room) for room in self.absent]
        query += [("wait", f"{self.wait if wait is None else wait:g}"), *self._connection().items()]
        return self.http.build_request("GET", f"{self.node.url}/live/poll", params=query, headers=self.who.reading())

    async def _hear(self) -> None:
        if self.bye:
            raise Ended
        try:
            await self.poll()
        except httpx.TransportError as error:
            raise Ended(repr(error)) from error

    async def ended(self) -> int | None:
        """A login that ended between two polls is a refusal of the next."""
        try:
            return await super().ended()
        except TurnedAway as refused:
            return next(code for code, name in REFUSALS.items() if name == refused.code)

    async def drop(self) -> None:
        """In the middle of a poll."""
        await self._vanish(self._get())

    def cursors(self) -> dict[str, str]:
        return cursors(self.cursor)


TRANSPORTS: tuple[type[LiveClient], ...] = (Socket, Stream, Poll)

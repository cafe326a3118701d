"""A cell of the contract: a running site that many tests share, and the connections that one test has to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg

from tests.support.conversation import new_id
from tests.support.live_clients import Caller, LiveClient, Rooms
from tests.support.sites import Node, Site

MAX_REPLAY = 100
MAX_ROOMS = 20
CSRF = "k" * 32  # the cookie and the header need only agree
# Shorter than on a site, where a test would only wait; none of it is what other tests measure.
ROOMS = {"MAX_REPLAY": MAX_REPLAY, "MAX_ROOMS": MAX_ROOMS, "HEAL_INTERVAL": 0.5, "GRANT_TTL": 3, "PUBLIC_READ": True}
HASTY = {
    "IDLE_TIMEOUT": 1,
    "HEARTBEAT": 0.5,
    "HEARTBEAT_GRACE": 0.5,
    "COMMENT_INTERVAL": 1.5,
    "TICKET_TTL": 2,
    "GRANT_TTL": 3,
}


@dataclass
class Cell:
    """A site that many tests share: each makes rooms of its own."""

    site: Site
    server: str
    layer: str
    _stack: ExitStack
    rooms_made: int = 0
    people_made: int = 0  # members of acme who have done nothing yet
    kept: dict[str, Any] = field(default_factory=dict)  # what is made once for several tests
    _clients: dict[str, httpx.Client] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)
    _newcomers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        script = f"from tests.support.populate import main; main({self.rooms_made}, {self.people_made})"
        self._people = json.loads(self.site.manage("shell", "-v0", "-c", script).splitlines()[-1])

    @property
    def near(self) -> Node:
        """Where readers are."""
        return self.site.nodes[0]

    @property
    def far(self) -> Node:
        """Where REST writes go; another one where the cell has two."""
        return self.site.nodes[-1]

    def rest(self, name: str) -> httpx.Client:
        """The REST API as this person, by session."""
        if name not in self._clients:
            cookies = {"sessionid": self._people[name]["session"], "csrftoken": CSRF}
            headers = {"X-CSRFToken": CSRF, "Referer": self.far.url}
            client = httpx.Client(base_url=self.far.url, cookies=cookies, headers=headers, timeout=30, trust_env=False)
            self._clients[name] = self._stack.enter_context(client)
        return self._clients[name]

    def caller(self, name: str, **headers: str) -> Caller:
        """This person at a browser."""
        return Caller.browser(self.rest(name)).saying(**headers)

    def newcomer(self, *, address: str = "") -> Caller:
        """Somebody who has asked for nothing yet, at a browser with an address that is nobody else's, or this one."""
        number = next(self._newcomers)
        session = self._people[f"newcomer-{number % self.people_made}"]["session"]
        return Caller(session, CSRF).saying(X_Forwarded_For=address or f"203.0.113.{number}")

    def ticket(self, name: str) -> str:
        answer = self.rest(name).post("/api/tickets/")
        assert answer.status_code == 201, answer.text
        return str(answer.json()["ticket"])

    def user(self, name: str) -> str:
        """The id."""
        return str(self._people[name]["id"])

    def room(self, **options: Any) -> str:
        """A room of acme that is nobody else's case; alice, who made it, moderates it."""
        number = next(self._numbers)
        slug = f"case-{number}"
        if not options and number < self.rooms_made:
            return f"acme/{slug}"
        slug = f"more-{number}"
        answer = self.rest("alice").post("/api/tenants/acme/rooms/", json={"slug": slug, "name": slug, **options})
        assert answer.status_code == 201, answer.text
        return f"acme/{slug}"

    def say(self, name: str, room: str, *texts: str) -> list[str]:
        """Messages by POST, many to a frame; gives their ids."""
        said: list[str] = []
        while len(said) < len(texts):
            some = texts[len(said) : len(said) + (5 if len(texts[0]) > 1_000 else 100)]
            frame = [["chat.send", {"text": text}, {"room": room, "id": new_id()}] for text in some]
            answer = self.rest(name).post("/live/commands", json=frame)
            assert answer.status_code == 200 and all(kind == "live.ok" for kind, _, _ in answer.json()), answer.text
            said += [data["message"] for _, data, _ in answer.json()]
        return said

    def cursor(self, room: str) -> str:
        """Of the end of the room's log."""
        answer = self.rest("alice").get(path(room, "messages/"))
        return str(answer.headers["Live-Cursor"].partition("@")[2])

    def history(self, room: str, after: str = ":0") -> list[Any]:
        """The log after this cursor, as REST has it."""
        query = {"after": after.rpartition(":")[2], "limit": 1000}
        return list(self.rest("alice").get(path(room, "events/"), params=query).json()["events"])

    def sql(self, statement: str, *values: Any) -> None:
        """What somebody with a shell may do to the tables; ``?`` is a value."""
        execute(self.site.database_url, statement, values)

    def trim(self, room: str, cursor: str) -> None:
        """The events up to there are older than the site keeps: ``manage.py tidy`` lets them go."""
        self.sql(
            "UPDATE rooms_event SET at = '2020-01-01T00:00:00+00:00' WHERE seq <= ? AND log_id ="
            " (SELECT id FROM rooms_room WHERE slug = ?)",
            int(cursor.rpartition(":")[2]),
            room.partition("/")[2],
        )
        self.site.manage("tidy")

    def restart(self, node: Node) -> None:
        node.stop()
        node.start()


def path(room: str, rest: str = "") -> str:
    """The room's address in the REST API."""
    tenant, _, slug = room.partition("/")
    return f"/api/tenants/{tenant}/rooms/{slug}/{rest}"


def execute(url: str, statement: str, values: tuple[Any, ...]) -> None:
    if url.startswith("sqlite:"):
        import sqlite3

        with closing(sqlite3.connect(urlsplit(url).path[1:], timeout=20)) as connection, connection:
            connection.execute(statement, values)
    else:
        with psycopg.connect(url) as connection:
            connection.execute(statement.replace("?", "%s"), values)  # type: ignore[arg-type]


def metric(node: Node, name: str) -> float:
    """The sum of a metric over its labels, from loopback."""
    lines = httpx.get(f"{node.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


class Links:
    """Connections of one test, closed at its end."""

    def __init__(self, cell: Cell, kind: type[LiveClient], stack: AsyncExitStack) -> None:
        self._cell = cell
        self._kind = kind
        self._stack = stack

    async def open(
        self,
        who: str | Caller,
        rooms: Rooms = (),
        *,
        on: Node | None = None,
        by: type[LiveClient] | None = None,
        **options: Any,
    ) -> Any:
        caller = self._cell.caller(who) if isinstance(who, str) else who
        return self.keep(await (by or self._kind).connect(on or self._cell.near, caller, rooms, **options))

    async def resume(self, client: LiveClient, **options: Any) -> Any:
        return self.keep(await client.resume(**options))

    def keep(self, client: LiveClient) -> LiveClient:
        self._stack.push_async_callback(client.close)
        return client

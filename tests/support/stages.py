"""A site for a crowd: with rooms to talk in, people to be, and the log to compare with."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg

from tests.support import crowd, tally
from tests.support.backends import FOREIGN, Backend
from tests.support.client import log_in
from tests.support.crowd import KINDS, Address, Badge, Member
from tests.support.servers import Postgres
from tests.support.sites import Node, Site, Sites

PEOPLE = ("alice", "bob", "dave")  # who may write in acme
SETTINGS = "realtime_project.settings"
UNLIMITED = {"ROOMS_LIMITS": "off"}  # three people, one address, and more connections than either may have


@contextmanager
def sites(database: str) -> Iterator[Sites]:
    """For a script: pytest is not there to make them.

    :param database: ``sqlite`` or ``postgresql``.
    """
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ.update(SECRET_KEY="good-for-nothing-but-this-run", INSECURE="1", ALLOWED_HOSTS="127.0.0.1")
    folder = Path(tempfile.mkdtemp(prefix="live-rooms-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        backend = Backend("embedded", folder)
        if database == "postgresql":
            backend = Backend("servers", folder, Postgres(folder / "postgres"))
            stack.callback(backend.postgres.stop)
        stack.enter_context(redirect_stdout(io.StringIO()))  # nodes that stop show their logs, for pytest
        yield Sites(backend)


@dataclass
class Stage:
    site: Site
    rooms: Sequence[str]
    badges: Sequence[Badge]
    alice: httpx.Client
    addresses: list[Address] = field(init=False)

    def __post_init__(self) -> None:
        self.addresses = [address(node) for node in self.site.nodes]

    def crowd(self, count: int, kinds: Sequence[type[Member]] = KINDS, **options: Any) -> list[Member]:
        """So many, of each kind, in each room and at each node alike."""
        members = []
        for number in range(count):
            kind, turn = kinds[number % len(kinds)], number // len(kinds)
            start = self.addresses[turn % len(self.addresses)]
            room = self.rooms[turn // len(self.addresses) % len(self.rooms)]
            members.append(kind(self.addresses, self.badges[number % len(self.badges)], room, start, **options))
        return members

    def log(self, room: str, *, by: int = 0) -> list[tuple[int, str]]:
        """``(seq, text)`` of all events, as REST has them.

        :param by: the node to ask.
        """
        found: list[tuple[int, str]] = []
        tenant, _, slug = room.partition("/")
        url = f"{self.site.nodes[by].url}/api/tenants/{tenant}/rooms/{slug}/events/"
        while True:
            answer = self.alice.get(url, params={"after": found[-1][0] if found else 0, "limit": 1000})
            assert answer.status_code == 200, answer.text
            events = answer.json()["events"]
            if not events:
                return found
            found += [(meta["seq"], (data or {}).get("message", {}).get("text", "")) for _, data, meta in events]

    def logs(self) -> dict[str, list[tuple[int, str]]]:
        return {room: self.log(room) for room in self.rooms}

    def read(self, statement: str) -> list[Any]:
        """What somebody with a shell reads in the tables."""
        url = self.site.database_url
        if url.startswith("sqlite:"):
            with closing(sqlite3.connect(urlsplit(url).path[1:], timeout=20)) as connection:
                return connection.execute(statement).fetchall()
        with psycopg.connect(url) as connection:
            return connection.execute(statement).fetchall()  # type: ignore[call-overload]


@dataclass
class Play:
    """A crowd on a stage: the lines of its story, and what broke a promise."""

    stage: Stage
    members: list[Member]
    story: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    said: set[str] = field(init=False)  # ids of commands

    @property
    def report(self) -> str:
        return "\n".join(self.story)

    async def run(self, rate: float, happens: Callable[[], Awaitable[None]]) -> None:
        """All come in, and talk while this happens. In the end each is back, was answered, and holds what the log does:
        nothing lost, nothing twice, nothing out of order, each message once and remembered.

        :param rate: messages a second in all.
        """
        began = time.monotonic()
        try:
            await crowd.enter(self.members)
            self.story.append(f"{len(self.members)} clients came in within {time.monotonic() - began:.1f} s")
            stop = asyncio.Event()
            talking = asyncio.create_task(crowd.talk(self.members, rate, stop))
            await happens()
            stop.set()
            self.said = set(await talking)
            logs = await self._settle()
        finally:
            await crowd.leave(self.members)
        found = tally.Tally()
        for member in self.members:
            found.count(member, logs[member.room])
        again = {id for member in self.members for id in member.said_again}
        self.story.append(f"{len(self.said)} messages were said, {rate:g} a second, {len(again)} again; {found}")
        if not found.is_right:
            self.problems += [f"what was heard is not the log: {found}", *found.wrong[:10]]
        without_event, forgotten, effects = half_done(self.stage, self.said)
        if without_event or forgotten or effects != dict.fromkeys(self.said, 1):
            self.problems.append(
                f"in the end {len(without_event)} are remembered without an event, {len(forgotten)} the reverse, "
                f"{len(self.said - effects.keys())} missing, {sum(count > 1 for count in effects.values())} twice"
            )

    async def _settle(self) -> dict[str, list[tuple[int, str]]]:
        members = self.members
        try:
            await crowd.until(lambda: all(member.joined.is_set() for member in members), 40, "everybody is back")
            await crowd.until(lambda: not any(member.pending for member in members), 60, "all commands are answered")
            logs = await asyncio.to_thread(self.stage.logs)
            await crowd.until(
                lambda: all(member.has_all(logs[member.room]) for member in members), 30, "everybody has everything"
            )
        except TimeoutError as late:
            self.problems.append(str(late))
            logs = await asyncio.to_thread(self.stage.logs)
        return logs


def play_options(doc: str) -> argparse.ArgumentParser:
    """Of a script that puts a play on its stage."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rooms", type=int, default=10)
    parser.add_argument("--rate", type=float, default=15, help="messages a second in all (default: 15)")
    parser.add_argument("--seconds", type=float, default=6, help="of each part (default: 6)")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    return parser


def tell(title: str, play: Play, well: str) -> int:
    """Prints how it went; gives the exit status."""
    print(f"--- {title}\n{play.report}")
    for problem in play.problems:
        print(f"WRONG: {problem}")
    print("WRONG" if play.problems else well)
    return bool(play.problems)


def half_done(stage: Stage, ids: set[str]) -> tuple[set[str], set[str], dict[str, int]]:
    """Of the commands of these ids: remembered without an event, in the log and not remembered, and how often there.

    The text of each is its id, so it can be found in both tables.
    """
    results = {id for (id,) in stage.read("SELECT command_id FROM rooms_commandresult")} & ids
    effects: dict[str, int] = {}
    for (text,) in stage.read("SELECT text FROM rooms_message"):
        effects[text] = effects.get(text, 0) + 1
    done = effects.keys() & ids
    return results - done, done - results, {id: effects[id] for id in done}


def address(node: Node) -> Address:
    return Address("127.0.0.1", node.port)


@contextmanager
def staged(sites: Sites, *, rooms: int, **options: Any) -> Iterator[Stage]:
    """A site with the demo people and these rooms; ``options`` are those of ``Sites.running``."""
    with ExitStack() as stack:
        site = stack.enter_context(sites.running(settings=SETTINGS, env=UNLIMITED, demo=True, **options))
        clients = [stack.enter_context(closing(log_in(site.url, name))) for name in PEOPLE]
        badges = [Badge(client.cookies["sessionid"], client.cookies["csrftoken"]) for client in clients]
        names = []
        for number in range(rooms):
            data = {"slug": f"crowd-{number}", "name": f"Crowd {number}"}
            answer = clients[0].post("/api/tenants/acme/rooms/", json=data)
            assert answer.status_code == 201, answer.text
            names.append(f"acme/crowd-{number}")
        yield Stage(site, names, badges, clients[0])

"""Replay the comings and goings of chat logs with one connection for each person, and look who is here.

::

    python -m tests.acceptance.presence_replay FOLDER [--files 2005-06-20.txt ...] [--database sqlite|postgresql]

For each file a room, an observer on one node and the log's people on both, by turns over WebSocket, SSE and long-poll.
Somebody joins where the log says so, or speaks without having joined; leaves where it says so; another nick is another
person. At ten lines, spread over the file, the replay waits: the observer's roster must become
what the lines up to there say, to the person.

Starts everything itself and stops it. Exits with 1 when a roster is another one. The expectation is computed from the
bytes of the file, the client is written from ``docs/protocol.md``; neither uses the code that is tested.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.presence_crowd import KINDS, Knowing, KnowingSocket
from tests.support import crowd, multitude, stages, tally
from tests.support.client import log_in
from tests.support.crowd import Address
from tests.support.multitude import Soul
from tests.support.sites import Site

FILES = ("2005-06-20.txt", "2006-08-23.txt", "2007-08-19.txt")
AT_ONCE = 10  # handshakes of one file
POINTS = 10  # lines at which the rosters are compared
POLL_LEASE = 30  # seconds, the least: a long-poller who goes between two polls says nothing
PATIENCE = POLL_LEASE + 20  # seconds that a roster may take to become right

COMES = re.compile(rb"=== (.+?)(?: {1,2}\[[^\s\]]*@[^\s\]]*\])? {1,2}has joined [#&]\S+\Z")
GOES = re.compile(rb"=== (.+?)(?: {1,2}\[[^\s\]]*@[^\s\]]*\])? {1,2}has left [#&]\S+")
RENAMED = re.compile(rb"=== (\S+) is now known as (\S+)\Z")
SPEAKS = re.compile(rb"\[\d\d:\d\d\] (?:<([^>]+)>| ?\* (\S+)) ")


@dataclass(frozen=True)
class Move:
    line: int
    nick: str
    comes: bool


def moves(log: bytes) -> Iterator[Move]:
    """Who comes and goes, with the number of the line. Speaking without having come is coming."""
    here: set[bytes] = set()
    for number, line in enumerate(log.split(b"\n"), start=1):
        comes, goes = None, None
        if match := COMES.match(line):
            comes = match[1]
        elif match := GOES.match(line):
            goes = match[1]
        elif match := RENAMED.match(line):
            goes, comes = match[1], match[2]
        elif match := SPEAKS.match(line):
            comes = match[1] or match[2]
        goes, comes = goes and goes.replace(b" ", b""), comes and comes.replace(b" ", b"")
        if goes in here and goes != comes:
            here.discard(goes)
            yield Move(number, goes.decode(), comes=False)
        if comes and comes not in here:
            here.add(comes)
            yield Move(number, comes.decode(), comes=True)


@dataclass
class Part:
    file: str
    room: str
    moves: list[Move]
    people: dict[str, Soul]
    observer: Soul
    took: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    async def play(self, addresses: Sequence[Address]) -> None:
        points = {len(self.moves) * (number + 1) // POINTS for number in range(POINTS)}
        observer = KnowingSocket(addresses, self.observer.badge, self.room, addresses[0])
        here: dict[str, Knowing] = {}
        coming: dict[str, asyncio.Task[None]] = {}
        try:
            await crowd.enter([observer])
            for number, move in enumerate(self.moves, start=1):
                if move.comes:
                    kind = KINDS[number % len(KINDS)]
                    start = addresses[number % len(addresses)]
                    one = here[move.nick] = kind(addresses, self.people[move.nick].badge, self.room, start)
                    coming[move.nick] = asyncio.create_task(crowd.enter([one]))
                else:
                    await coming.pop(move.nick)
                    one = here.pop(move.nick)
                    await one.leave()
                    self.problems += one.wrong
                if number in points:
                    await asyncio.gather(*coming.values())
                    await self._compare(observer, set(here), move.line)
                elif number % AT_ONCE == 0:
                    await asyncio.gather(*coming.values())
        finally:
            await crowd.leave([observer, *here.values()])
        self.problems += [what for one in (observer, *here.values()) for what in one.wrong]

    async def _compare(self, observer: Knowing, here: set[str], line: int) -> None:
        truth = {self.people[nick].id for nick in here}
        began = time.monotonic()

        def right() -> bool:
            known = observer.people or set()
            return known - {self.observer.id} == truth

        try:
            await crowd.until(right, PATIENCE, f"{self.file}, line {line}")
        except TimeoutError as late:
            known = (observer.people or set()) - {self.observer.id}
            self.problems.append(f"{late}: {len(known - truth)} too many, {len(truth - known)} missing")
        self.took.append(time.monotonic() - began)
        self.sizes.append(len(truth))


async def play(parts: Sequence[Part], addresses: Sequence[Address]) -> None:
    await asyncio.gather(*(part.play(addresses) for part in parts))


def prepared(site: Site, folder: Path, files: Sequence[str]) -> Iterator[Part]:
    with closing(log_in(site.url, "alice")) as alice:
        for number, name in enumerate(files):
            data = {"slug": f"irc-{number}", "name": name}
            assert alice.post("/api/tenants/acme/rooms/", json=data).status_code == 201
            found = list(moves((folder / name).read_bytes()))
            nicks = sorted({move.nick for move in found})
            observer, *souls = multitude.make(
                site, [f"{number}-observer", *(f"{number}-{nick.encode().hex()}" for nick in nicks)]
            )
            yield Part(name, f"acme/irc-{number}", found, dict(zip(nicks, souls, strict=True)), observer)


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with the *.txt files")
    parser.add_argument("--files", nargs="*", default=FILES)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    options = parser.parse_args()
    crowd.room_for(4_000)
    with (
        stages.sites(options.database) as sites,
        sites.running(
            nodes=2, layer="valkey", demo=True, rooms={"ROSTER_LIMIT": 5_000}, presence={"POLL_LEASE": POLL_LEASE}
        ) as site,
    ):
        addresses = [stages.address(node) for node in site.nodes]
        parts = list(prepared(site, options.folder, options.files))
        asyncio.run(play(parts, addresses))
    for part in parts:
        comes = sum(move.comes for move in part.moves)
        print(
            f"{part.file}: {len(part.people)} people, {comes} comings, {len(part.moves) - comes} goings; rosters of "
            f"{part.sizes} people; right after seconds: {tally.quantiles(part.took)}"
        )
    problems = [problem for part in parts for problem in part.problems]
    for problem in problems[:20]:
        print(f"WRONG: {problem}")
    print("WRONG" if problems else "At every line who is here is who the log says.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

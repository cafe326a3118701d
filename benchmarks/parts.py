"""What is measured. Each part yields records: flat dicts of what was asked and what came of it.

A record has ``part``, ``round``, ``peer`` and ``readers``; one with ``failed`` says why there is nothing else in it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmarks.bench import Bench
from benchmarks.figures import quantile
from benchmarks.load import Load, loading
from benchmarks.peers.peer import Server
from benchmarks.peers.registry import PEERS
from benchmarks.peers.rooms import Site, serve
from benchmarks.processes import Failed, ahead, cpu_seconds, memory, on_core, run

Record = dict[str, Any]

PACE = 20  # messages a second
WINDOWS = (1, 64)  # messages in flight
MOST_FLOODS = 5
SETTLING = 40  # half seconds, at most
LONGEST = 8  # seconds that what is in flight may need to arrive; a slow peer gets fewer at once
FIRST_READERS = 100  # come before memory is looked at, so that what is loaded at first use is not counted
RESTING = (
    *("rooms", "rooms-sse", "rooms-poll", "tutorial-uvicorn-pubsub", "python-socketio"),
    *("socket.io", "ws", "nchan", "uvloop"),
)
NARROW = ("--narrow", "1", "--size", "1400")  # 20 a second fill a socket's buffers within seconds


@dataclass(frozen=True)
class Options:
    rounds: int
    seconds: float
    sizes: Sequence[int]
    peers: Sequence[str]
    resting: int
    large: int
    rooms: Sequence[int]


@contextmanager
def started(bench: Bench, start: Callable[[Bench], Any]) -> Iterator[Server]:
    """On the servers' core."""
    with ExitStack() as stack:
        with on_core(bench.server_core):
            server = stack.enter_context(start(bench))
        yield server


@contextmanager
def talking(bench: Bench, server: Server, readers: int, *more: str, rooms: int = 1) -> Iterator[Load]:
    """The clients, when all have come and the server has done what their coming gave it to do."""
    log = bench.file("load.log")
    with loading(server.talk, server.port, readers, *more, rooms=rooms, core=bench.client_core, log=log) as load:
        for _ in range(SETTLING):
            before = cpu_seconds(server.pids)
            load.rest(0.5)
            if cpu_seconds(server.pids) - before < 0.05:
                break
        yield load


def flood(load: Load, server: Server, seconds: float, window: int) -> Record:
    """As fast as it goes with so many messages in flight. The server idles before and after it.

    Again and again where the server had less than half of a core: the clients were the limit, or other programs.
    """
    used, total = 0.0, dict.fromkeys(("sent", "delivered", "frames", "seconds", "client_cpu"), 0.0)
    for _ in range(MOST_FLOODS):
        before = cpu_seconds(server.pids)
        found = load.flood(seconds, window)
        used += cpu_seconds(server.pids) - before
        _complete(found)
        found["client_cpu"] = found["busy"] * found["seconds"]
        total = {name: value + found[name] for name, value in total.items()}
        if used >= seconds / 2:
            break
    return {
        "window": window,
        "messages": int(total["sent"]),
        "per_cpu": total["delivered"] / max(used, 0.01),
        "per_second": total["delivered"] / total["seconds"],
        "cpu": used / total["seconds"],
        "busy": total["client_cpu"] / total["seconds"],
        "events_a_frame": total["delivered"] / max(1, total["frames"]),
    }


def pace(load: Load, server: Server, seconds: float, rate: float, *, alone: bool = True) -> Record:
    """At a steady rate, and ahead of other programs on the machine, unless the server has more to do."""
    before = cpu_seconds(server.pids)
    with ahead([*server.pids, load.pid] if alone else []):
        found = load.pace(seconds, rate)
    used = cpu_seconds(server.pids) - before
    _complete(found)
    return {
        "rate": rate,
        "cpu": used / found["seconds"],
        "p50_ms": found["each"]["p50_us"] / 1000,
        "p99_ms": found["each"]["p99_us"] / 1000,
        "last_p50_ms": found["last"]["p50_us"] / 1000,
        "last_p99_ms": found["last"]["p99_us"] / 1000,
    }


def _complete(found: Record) -> None:
    wrong = {name: found[name] for name in ("missing", "disorder", "died") if found[name]}
    if wrong:
        said = ", ".join(f"{count:,} {name}" for name, count in wrong.items())
        raise Failed(f"not every reader got every message: {said}, of {found['delivered']:,}")


def attempted(told: Record, work: Iterator[Record]) -> Iterator[Record]:
    """Its records, with what is told of all of them. What goes wrong is one of them, and ends these alone."""
    try:
        for record in work:
            yield {**told, **record}
    except Exception as error:
        if not isinstance(error, Failed):
            traceback.print_exc()
        yield {**told, "failed": str(error) if isinstance(error, Failed) else repr(error)}


# --- the parts


def commit(bench: Bench, options: Options) -> Iterator[Record]:
    """What the database takes of a message, without any server."""
    for round in range(options.rounds):
        for postgres in (False, True):
            told = {"part": "commit", "round": round, "peer": "PostgreSQL" if postgres else "SQLite", "readers": 0}
            yield from attempted(told, _commit(bench, postgres))


def _commit(bench: Bench, postgres: bool) -> Iterator[Record]:
    with on_core(bench.server_core):
        home = Site.of(bench, 1, postgres)
        with home.copy() as url, ahead([os.getpid(), *([bench.postgres.pid] if postgres else [])]):
            command = [sys.executable, "-m", "benchmarks.peers.commit", "300"]
            taken = json.loads(run(command, env={**home.env, "DATABASE_URL": url}).splitlines()[-1])
    yield {"p50_ms": quantile(taken, 0.5) / 1000, "p99_ms": quantile(taken, 0.99) / 1000}


def fanout(bench: Bench, options: Options) -> Iterator[Record]:
    """One room: as fast as it goes, and at a steady pace. Every peer once a round, each time from another one on."""
    for round in range(options.rounds):
        for readers in options.sizes:
            shift = round * len(options.peers) // options.rounds
            for name in [*options.peers[shift:], *options.peers[:shift]]:
                if readers <= PEERS[name].largest:
                    told = {"part": "fanout", "round": round, "peer": name, "readers": readers}
                    yield from attempted(told, _fanout(bench, name, readers, options.seconds))


def _fanout(bench: Bench, name: str, readers: int, seconds: float) -> Iterator[Record]:
    with started(bench, PEERS[name].start) as server, talking(bench, server, readers) as load:
        speed = flood(load, server, 0.5, 1)["per_cpu"]  # it warms up meanwhile
        most = max(1, int(speed * LONGEST / readers))
        for window in WINDOWS:
            found = flood(load, server, seconds, min(window, most))
            speed = max(speed, found["per_cpu"] if window == 1 else 0)
            yield {**found, "asked": window}
        if speed > 1.5 * PACE * readers:
            yield pace(load, server, 2 * seconds, PACE)
        else:
            yield {"rate": PACE, "cannot": f"cannot hold {PACE} a second"}


def rest(bench: Bench, options: Options) -> Iterator[Record]:
    """Many who came and say nothing: how fast they came, and what each holds."""
    for name in options.peers:
        if name in RESTING:
            readers = min(options.resting, PEERS[name].largest_resting)
            told = {"part": "rest", "round": 0, "peer": name, "readers": readers}
            yield from attempted(told, _rest(bench, name, readers))


def _rest(bench: Bench, name: str, readers: int) -> Iterator[Record]:
    with started(bench, PEERS[name].start) as server, talking(bench, server, FIRST_READERS):
        before, used = memory(server.pids), cpu_seconds(server.pids)
        with talking(bench, server, readers) as load:
            used = cpu_seconds(server.pids) - used
            yield {
                "kb": (memory(server.pids) - before) / 1024 / readers,
                "handshakes_per_second": readers / load.came["seconds"],
                "handshakes_per_cpu": readers / max(used, 0.01),
            }


def stopped(bench: Bench, options: Options) -> Iterator[Record]:
    """Of 1,000 readers none, one and a hundred read nothing for a while: what the others notice, and the memory."""
    for round in range(options.rounds):
        for name in ("rooms", "rooms-ack"):
            told = {"part": "stopped", "round": round, "peer": name, "readers": 1_000}
            yield from attempted(told, _stopped(bench, name, 1_000, max(6, 2 * options.seconds)))


def _stopped(bench: Bench, name: str, readers: int, seconds: float) -> Iterator[Record]:
    with started(bench, PEERS[name].start) as server, talking(bench, server, readers, *NARROW) as load:
        flood(load, server, 0.5, 1)
        for count in (0, 1, 100):
            before = memory(server.pids)
            load.stop(count)
            found = pace(load, server, seconds, PACE)
            grown = (memory(server.pids) - before) / 1024
            again = load.resume()
            yield {
                **found,
                "stopped": count,
                "grown_kb": grown,
                "behind": again["behind"],
                "cut": again["died"],
                "disorder": again["disorder"],
                "caught_up_s": again["seconds"],
            }


def beside(bench: Bench, options: Options) -> Iterator[Record]:
    """A room of 20 alone, and while a large one on the same node goes as fast as it can."""
    told = {"part": "beside", "peer": "rooms", "readers": 20}
    yield from attempted(told, _beside(bench, options))


def _beside(bench: Bench, options: Options) -> Iterator[Record]:
    with ExitStack() as stack:
        server = stack.enter_context(started(bench, partial(serve, rooms=2)))
        small, large = (replace(server, talk=server.talk.in_room(number)) for number in (0, 1))
        few = stack.enter_context(talking(bench, small, 20))
        many = stack.enter_context(talking(bench, large, options.large))
        pace(few, server, 1, PACE)
        flood(many, server, 0.5, 1)
        for round in range(options.rounds):
            yield {"round": round, "large": 0, **pace(few, server, 2 * options.seconds, PACE, alone=False)}
            many.begin(f"flood {3 * options.seconds} 8")
            found = pace(few, server, 2 * options.seconds, PACE, alone=False)
            meanwhile = many.answer(3 * options.seconds)
            _complete(meanwhile)
            speed = meanwhile["delivered"] / meanwhile["seconds"]
            yield {"round": round, "large": options.large, **found, "large_per_second": speed}


def growth(bench: Bench, options: Options) -> Iterator[Record]:
    """What a delivery costs with more readers in a room, and what a message costs with more rooms."""
    told = {"part": "growth", "round": 0, "peer": "rooms"}
    for readers in sorted({10, 100, 1_000, options.large}):
        yield from attempted({**told, "readers": readers, "rooms": 1}, _growth(bench, options, readers, 1))
    for rooms in options.rooms:
        readers = max(2_000, rooms)
        yield from attempted({**told, "readers": readers, "rooms": rooms}, _growth(bench, options, readers, rooms))


def _growth(bench: Bench, options: Options, readers: int, rooms: int) -> Iterator[Record]:
    """Of several rooms the site has the most that are asked for, whatever of them is used."""
    window = 1 if rooms == 1 else 64
    start = partial(serve, rooms=1 if rooms == 1 else max(options.rooms))
    with started(bench, start) as server, talking(bench, server, readers, rooms=rooms) as load:
        flood(load, server, 0.5, window)
        yield flood(load, server, options.seconds, window)


PARTS: dict[str, Callable[[Bench, Options], Iterator[Record]]] = {
    "commit": commit,
    "fanout": fanout,
    "rest": rest,
    "stopped": stopped,
    "beside": beside,
    "growth": growth,
}

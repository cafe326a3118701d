"""Ours, as a site runs it: ``manage.py serve``, everybody logged in, gate, log and sequence on.

Only the limits of rates and counts are lifted, since here one address is many people.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.bench import Bench
from benchmarks.load import Talk
from benchmarks.peers.peer import Peer, Server
from benchmarks.processes import free_port, run, serving

PEOPLE = 500  # readers share them beyond that
FLUSH_INTERVAL = 0.01  # seconds; the most that the setting allows

JOIN = '[["live.join",{},{"room":"bench/room-%r","id":"join"}]]'
WS = Talk(
    path="/live/ws",
    steps=(('"live.hello"', JOIN), ('"verdict"', "")),
    speaker_path="/live/ws",
    speaker_steps=(('"live.hello"', ""),),
    headers=("Sec-WebSocket-Protocol: live.v1",),
    message='[["chat.send",{"text":"%b"},{"room":"bench/room-%r","id":"RANDOM%n"}]]',
)
SSE = replace(WS, transport="sse", path="/live/stream?room=bench/room-%r", steps=(('"verdict"', ""),))
POLL = replace(WS, transport="poll", path="/live/poll?room=bench/room-%r", again="/live/poll?wait=20&room=", steps=())


@contextmanager
def serve(
    bench: Bench, talk: Talk = WS, *, postgres: bool = False, fed: bool = False, rooms: int = 1, **options: Any
) -> Iterator[Server]:
    """
    :param fed: two nodes on PostgreSQL and Valkey; the speaker is on one, the readers are on the other.
    :param rooms: that the site has.
    :param options: settings of ``ROOMS``.
    """
    with ExitStack() as stack:
        env = {**_env(bench), "ROOMS_LIMITS": "off", "BENCH_ROOMS": json.dumps(options)}
        _refuse_unknown(env, options)
        pids = []
        if postgres or fed:
            pids.append(bench.postgres.pid)
        if fed:
            env["REDIS_URL"], pid = stack.enter_context(bench.valkey())
            pids.append(pid)
        site = Site.of(bench, rooms, postgres or fed)
        env["DATABASE_URL"] = stack.enter_context(site.copy())
        ports = []
        for _ in range(2 if fed else 1):
            ports.append(free_port())
            command = [sys.executable, "manage.py", "serve", "--port", str(ports[-1])]
            pids.append(stack.enter_context(serving(command, ports[-1], log=bench.file("serve.log"), env=env)))
        message = talk.message.replace("RANDOM", secrets.token_hex(12))
        talk = replace(talk, own_headers=site.cookies, speaker_port=ports[-1], message=message)
        yield Server(ports[0], talk, tuple(pids))


class Site:
    """A database with people and rooms, made once for each number of rooms, and copied."""

    _made: dict[tuple[int, bool], Site] = {}

    def __init__(self, bench: Bench, rooms: int, postgres: bool) -> None:
        self._bench = bench
        self._postgres = bench.postgres if postgres else None
        self._name = f"site_{rooms}"
        self._file = bench.folder / f"{self._name}.sqlite3"
        self.cookies = bench.folder / f"cookies-{self._name}-{'postgres' if postgres else 'sqlite'}.txt"
        url = f"sqlite:///{self._file}"
        if self._postgres:
            self._postgres.run(f"CREATE DATABASE {self._name}")
            url = self._postgres.url(self._name)
        self.env = _env(bench)
        arguments = [str(self.cookies), str(PEOPLE), str(rooms)]
        run([sys.executable, "-m", "benchmarks.peers.people", *arguments], env={**self.env, "DATABASE_URL": url})

    @classmethod
    def of(cls, bench: Bench, rooms: int, postgres: bool) -> Site:
        if (rooms, postgres) not in cls._made:
            cls._made[rooms, postgres] = cls(bench, rooms, postgres)
        return cls._made[rooms, postgres]

    @contextmanager
    def copy(self) -> Iterator[str]:
        """The address of a database of one's own."""
        if self._postgres:
            self._postgres.run(
                "DROP DATABASE IF EXISTS copy WITH (FORCE)", f"CREATE DATABASE copy TEMPLATE {self._name}"
            )
            yield self._postgres.url("copy")
            return
        copy = self._bench.file("copy.sqlite3")
        shutil.copy(self._file, copy)
        try:
            yield f"sqlite:///{copy}"
        finally:
            for part in copy.parent.glob(f"{copy.name}*"):
                part.unlink()


def _env(bench: Bench) -> dict[str, str]:
    site = {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.settings", "ALLOWED_HOSTS": "127.0.0.1", "INSECURE": "1"}
    return {**bench.env, **site}


def _refuse_unknown(env: dict[str, str], options: dict[str, Any]) -> None:
    """Before a server would say it in a traceback."""
    if options:
        run([sys.executable, "-c", "import django; django.setup(); from rooms.conf import config; config()"], env=env)


ACKNOWLEDGING = replace(WS, path="/live/ws?flow=ack", acknowledge=True)

PEERS = [
    Peer("rooms", "rooms", serve),
    Peer("rooms-single", "rooms, one event a frame", partial(serve, FRAME_EVENTS=1)),
    Peer("rooms-batch", "rooms, flush interval 10 ms", partial(serve, FLUSH_INTERVAL=FLUSH_INTERVAL)),
    Peer("rooms-ack", "rooms, acknowledging clients", partial(serve, talk=ACKNOWLEDGING)),
    Peer("rooms-postgresql", "rooms on PostgreSQL", partial(serve, postgres=True)),
    Peer("rooms-fed", "rooms, fed through Valkey", partial(serve, fed=True)),
    Peer("rooms-sse", "rooms, SSE", partial(serve, talk=SSE)),
    Peer("rooms-poll", "rooms, long-poll", partial(serve, talk=POLL), largest=1_000, largest_resting=2_000),
]

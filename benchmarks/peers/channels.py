"""The chat server of the Channels tutorial, as its third part leaves it, with somebody who is logged in.

https://channels.readthedocs.io/en/stable/tutorial/part_3.html
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks.bench import Bench
from benchmarks.load import Talk
from benchmarks.peers.peer import Peer, Server
from benchmarks.processes import free_port, run, serving

APPLICATION = "benchmarks.peers.tutorial.asgi:application"


@contextmanager
def serve(bench: Bench, *, server: str, pubsub: bool) -> Iterator[Server]:
    with ExitStack() as stack:
        port, cookies = free_port(), bench.folder / "cookies-tutorial.txt"
        env = {
            **bench.env,
            "DJANGO_SETTINGS_MODULE": "benchmarks.peers.tutorial.settings",
            "TUTORIAL_DATABASE": str(bench.folder / "tutorial.sqlite3"),
        }
        if not cookies.exists():
            run([sys.executable, "-m", "benchmarks.peers.people", str(cookies), "1", "0"], env=env)
        pids = []
        if pubsub:
            env["REDIS_URL"], pid = stack.enter_context(bench.valkey())
            pids.append(pid)
        if server == "daphne":
            command = [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port), APPLICATION]
        else:
            quiet = ["--no-access-log", "--log-level", "warning"]
            command = [sys.executable, "-m", "uvicorn", "--port", str(port), *quiet, APPLICATION]
        pids.append(stack.enter_context(serving(command, port, log=bench.file("tutorial.log"), env=env)))
        talk = Talk(path="/ws/chat/room/", message='{"message":"%b"}', own_headers=cookies)
        yield Server(port, talk, tuple(pids))


PEERS = [
    Peer(
        f"tutorial-{server}-{short}",
        f"Channels tutorial: {server}, {layer}",
        partial(serve, server=server, pubsub=short == "pubsub"),
        largest=5_000 if (server, short) == ("uvicorn", "pubsub") else 1_000,  # minutes a message otherwise
    )
    for server in ("daphne", "uvicorn")
    for short, layer in (("memory", "in-memory layer"), ("pubsub", "Pub/Sub layer"))
]

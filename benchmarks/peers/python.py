"""python-socketio, and what bare uvloop does without any of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.load import Talk
from benchmarks.peers.peer import Peer, Server
from benchmarks.processes import ROOT, free_port, serving

# engine.io's and socket.io's greetings; then our own `join` of socketio_room.
SOCKETIO = Talk(
    path="/socket.io/?EIO=4&transport=websocket",
    message='42["say","%b"]',
    steps=(("0{", "40"), ("40{", '42["join",1]'), ("joined", "")),
    speaker_steps=(("0{", "40"), ("40{", "")),
)
BARE = Talk(path="/read", message="%b", speaker_path="/speak")


@contextmanager
def socketio(bench: Bench) -> Iterator[Server]:
    port = free_port()
    env = {**bench.env, "PYTHONPATH": f"{ROOT}:{bench.python_peers}"}
    quiet = ["--no-access-log", "--log-level", "warning"]
    application = "benchmarks.peers.socketio_room:application"
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), *quiet, application]
    with serving(command, port, log=bench.file("python-socketio.log"), env=env) as pid:
        yield Server(port, SOCKETIO, (pid,))


@contextmanager
def shared_frames(bench: Bench) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.peers.shared_frames", str(port)]
    with serving(command, port, log=bench.file("uvloop.log"), env=bench.env) as pid:
        yield Server(port, BARE, (pid,))


PEERS = [
    Peer("python-socketio", "python-socketio, uvicorn", socketio),
    Peer("uvloop", "bare uvloop, shared frames", shared_frames),
]

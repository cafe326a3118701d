"""socket.io and ws, on Node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.bench import Bench
from benchmarks.load import Talk
from benchmarks.peers.peer import Peer, Server
from benchmarks.peers.python import SOCKETIO
from benchmarks.processes import free_port, serving


@contextmanager
def serve(bench: Bench, *, program: str, talk: Talk) -> Iterator[Server]:
    port = free_port()
    node, folder = bench.node
    command = [str(node), program, str(port)]
    with serving(command, port, log=bench.file("node.log"), env=bench.env, cwd=folder) as pid:
        yield Server(port, talk, (pid,))


PEERS = [
    Peer("socket.io", "socket.io, Node", partial(serve, program="socketio_room.cjs", talk=SOCKETIO)),
    Peer("ws", "ws, Node", partial(serve, program="ws_room.cjs", talk=Talk(path="/", message="%b"))),
]

"""nginx's nchan, and what the kernel alone takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import PEERS as FOLDER
from benchmarks.bench import Bench
from benchmarks.load import compiled
from benchmarks.peers.peer import Peer, Server
from benchmarks.peers.python import BARE
from benchmarks.processes import free_port, serving


@contextmanager
def nchan(bench: Bench) -> Iterator[Server]:
    port, file = free_port(), bench.file("nginx.conf")
    text = (FOLDER / "nchan.conf").read_text()
    file.write_text(text.replace("@FOLDER@", str(bench.folder)).replace("@PORT@", str(port)))
    command = [str(bench.nginx), "-e", str(bench.folder / "nginx-error.log"), "-c", str(file)]
    with serving(command, port, log=bench.file("nginx.log"), env=bench.env) as pid:
        yield Server(port, BARE, (pid,))


@contextmanager
def floor(bench: Bench) -> Iterator[Server]:
    port = free_port()
    program = compiled("peers/floor.c", bench.folder)
    with serving([str(program), str(port)], port, log=bench.file("floor.log"), env=bench.env) as pid:
        yield Server(port, BARE, (pid,))


PEERS = [
    Peer("nchan", "nchan (nginx)", nchan),
    Peer("floor", "C, a loop of send(2)", floor),
]

"""Processes that serve or ask, what they have used of a core, and what memory they hold."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START = 60  # seconds that a server may take to listen
STOP = 15  # seconds that it may take to stop
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """Something did not start, or did not do its work. The message is what the report says of it."""


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside stays on this core, whatever it starts itself."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def serving(
    command: Sequence[str], port: int, *, log: Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Iterator[int]:
    """A server, from when it listens on the port to the end of the block; gives its process id.

    :raises Failed: with the last line of its log.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace").strip().splitlines()
                raise Failed(f"{Path(command[0]).name} did not start: {said[-1][:200] if said else 'no word of it'}")
            time.sleep(0.02)
        yield process.pid
    finally:
        end(process)


def run(command: Sequence[str], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """Something that ends by itself; gives what it printed.

    :raises Failed: with the last line that it said, when it ends badly.
    """
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    output, errors = process.communicate()
    if process.returncode:
        name, said = " ".join([Path(command[0]).name, *command[1:4]]), (errors or output).strip().splitlines()
        raise Failed(f"{name} …: {said[-1][:200] if said else process.returncode}")
    return output


def end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def ahead(roots: Iterable[int]) -> Iterator[None]:
    """These and what they started go before whatever else the machine does, where it lets us: root may.

    Only for work that leaves much of a core to the others, and whose latency would be that of their turns otherwise.
    """
    _schedule(roots, os.SCHED_RR, 1)  # a nice value counts among the programs of one session alone
    try:
        yield
    finally:
        _schedule(roots, os.SCHED_OTHER, 0)


def _schedule(roots: Iterable[int], policy: int, priority: int) -> None:
    for pid in family(roots):
        with suppress(OSError):  # gone, or not allowed
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setscheduler(int(thread), policy, os.sched_param(priority))


# --- what they use


def family(roots: Iterable[int]) -> set[int]:
    """These processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """Of these and all that descend from them, those too that have ended meanwhile. In steps of 0.01 s."""
    total = 0
    for pid in family(roots):
        fields = _stat(pid)
        total += sum(map(int, fields[11:15])) if fields else 0  # utime, stime, and of children that were waited for
    return total / TICKS


def memory(roots: Iterable[int]) -> int:
    """Bytes; what several of them share counts once. What the kernel holds for their sockets is not in it."""
    return sum(_proportional(pid) for pid in family(roots))


def _proportional(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold anything; none when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []

"""The load client, ``load.c``: compiled when it has changed, and told what to do line by line."""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.processes import Failed, end, on_core

FOLDER = Path(__file__).parent
ACKNOWLEDGED = 32  # frames; half of what the protocol allows, a quarter of the window
PATIENCE = 90  # seconds over what was asked for; load.c gives up after 10 without a message


@dataclass(frozen=True)
class Talk:
    """How clients speak to a server. In a text ``%r`` is a room's number, ``%n`` a message's, ``%b`` its body.

    :param steps: what a reader waits for, and what it says then; ready after the last. Empty: at once; nothing.
    :param own_headers: a file with a header for each reader in turn.
    :param again: of a long-poller's next request; its cursor is added.
    """

    path: str
    message: str
    steps: tuple[tuple[str, str], ...] = ()
    speaker_path: str = ""
    speaker_steps: tuple[tuple[str, str], ...] = ()
    speaker_port: int = 0
    headers: tuple[str, ...] = ()
    own_headers: Path | None = None
    transport: str = "ws"
    again: str = ""
    acknowledge: bool = False

    def in_room(self, number: int) -> Talk:
        """The same in this one room of several."""
        fixed = {name: getattr(self, name).replace("%r", str(number)) for name in ("path", "message")}
        steps = tuple((expect, say.replace("%r", str(number))) for expect, say in self.steps)
        return replace(self, steps=steps, **fixed)

    def arguments(self) -> list[str]:
        given = ["--path", self.path, "--message", self.message, "--transport", self.transport]
        for step in self.steps:
            given += ["--step", *step]
        for step in self.speaker_steps:
            given += ["--speaker-step", *step]
        for header in self.headers:
            given += ["--header", header]
        options: dict[str, Any] = {
            "--speaker-path": self.speaker_path,
            "--speaker-port": self.speaker_port,
            "--headers": self.own_headers,
            "--again": self.again,
            "--acknowledge": ACKNOWLEDGED if self.acknowledge else 0,
        }
        for name, value in options.items():
            if value:
                given += [name, str(value)]
        return given


class Load:
    """Readers who are there, and their speaker. What each command answers stands in ``load.c``."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log
        self.pid = process.pid
        self.came: dict[str, Any] = {}

    def flood(self, seconds: float, window: int) -> dict[str, Any]:
        return self.ask(f"flood {seconds} {window}", seconds)

    def pace(self, seconds: float, rate: float) -> dict[str, Any]:
        return self.ask(f"pace {seconds} {rate}", seconds)

    def rest(self, seconds: float) -> dict[str, Any]:
        return self.ask(f"rest {seconds}", seconds)

    def stop(self, readers: int) -> dict[str, Any]:
        return self.ask(f"stop {readers}")

    def resume(self) -> dict[str, Any]:
        return self.ask("resume")

    def ask(self, line: str, seconds: float = 0) -> dict[str, Any]:
        self.begin(line)
        return self.answer(seconds)

    def begin(self, line: str) -> None:
        """Ask, and let somebody else be asked meanwhile."""
        assert self._process.stdin is not None
        try:
            print(line, file=self._process.stdin, flush=True)
        except OSError:
            raise self._gone() from None

    def answer(self, seconds: float = 0) -> dict[str, Any]:
        """:raises Failed: when the client has ended, with its last words."""
        output = self._process.stdout
        assert output is not None
        if not select.select([output], [], [], seconds + PATIENCE)[0] or not (line := output.readline()):
            raise self._gone()
        found: dict[str, Any] = json.loads(line)
        return found

    def _gone(self) -> Failed:
        return Failed(f"the clients gave up: {_last_line(self._log)}")


@contextmanager
def loading(
    talk: Talk, port: int, readers: int, *more: str, core: int, log: Path, rooms: int = 1, within: float = 600
) -> Iterator[Load]:
    """The readers, when all of them are there, until the block ends.

    :param more: arguments of ``load.c``.
    :raises Failed: when any was turned away.
    """
    command = [str(compiled("load.c", log.parent)), "--port", str(port), "--readers", str(readers)]
    command += ["--rooms", str(rooms), *talk.arguments(), *more]
    with log.open("w") as errors, on_core(core):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        load = Load(process, log)
        load.came = load.answer(within)
        if load.came["ready"] != readers + 1:
            raise Failed(f"{load.came['ready']} of {readers + 1} clients came in: {_last_line(log)}")
        yield load
    finally:
        assert process.stdin is not None
        process.stdin.close()
        end(process)


def compiled(source: str, folder: Path) -> Path:
    """The program, made by the machine's own compiler.

    :raises Failed: with what it said.
    """
    program = folder / Path(source).stem
    if not program.exists():
        command = ["cc", "-O2", "-Wall", "-o", str(program), str(FOLDER / source)]
        done: subprocess.CompletedProcess[str] = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"cc {source}: {done.stderr.strip().splitlines()[-1]}")
    return program


def _last_line(log: Path) -> str:
    said: Sequence[str] = log.read_text(errors="replace").strip().splitlines()
    return said[-1][:200] if said else "no word of it"

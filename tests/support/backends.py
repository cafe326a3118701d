"""What the tests run on, settled before Django reads its settings. A pytest plugin, loaded first.

``--backend embedded``: SQLite and the in-memory channel layer. ``--backend servers``: PostgreSQL and Valkey, started
from wheels for this run and stopped after it. Nobody's own database is touched, whatever the environment says.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.servers import Postgres, valkey

# Of the caller's environment; none of it may reach the tests.
FOREIGN = (
    "DEBUG",
    "SECRET_KEY_FALLBACKS",
    "TRUSTED_PROXIES",
    "CSRF_TRUSTED_ORIGINS",
    "DATABASE_URL",
    "REDIS_URL",
    "PORT",
    "ROOMS_LIMITS",
    "DJANGO_SETTINGS_MODULE",
)


@dataclass
class Backend:
    name: str
    folder: Path  # for files of this run
    postgres: Postgres | None = None


BACKEND = pytest.StashKey[Backend]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=("embedded", "servers"),
        default="embedded",
        help="embedded: SQLite and the in-memory layer; servers: PostgreSQL and Valkey",
    )
    parser.addoption(
        "--matrix",
        action="store_true",
        help="the contract on every server and channel layer: SQLite with Valkey, PostgreSQL with the in-memory one",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    folder = Path(tempfile.mkdtemp(prefix="live-rooms-"))
    early_config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    backend = early_config.stash[BACKEND] = Backend(early_config.known_args_namespace.backend, folder)

    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ["SECRET_KEY"] = "known-to-everybody-who-reads-the-tests-and-good-for-nothing-else"
    os.environ["INSECURE"] = "1"
    os.environ["ROOMS_LIMITS"] = "off"  # in this process one alice does what many people do
    os.environ["ALLOWED_HOSTS"] = "localhost,127.0.0.1"
    os.environ["DATABASE_URL"] = f"sqlite:///{folder / 'site.sqlite3'}"
    if backend.name == "servers":
        backend.postgres = Postgres(folder / "postgres")
        early_config.add_cleanup(backend.postgres.stop)
        os.environ["DATABASE_URL"] = backend.postgres.url("rooms")
        layer = valkey()
        os.environ["REDIS_URL"] = layer.__enter__().connection_url
        early_config.add_cleanup(lambda: layer.__exit__(None, None, None))


def pytest_report_header(config: pytest.Config) -> str:
    backend = config.stash[BACKEND]
    return f"backend: {backend.name}"

"""What SQLite has logged goes into its database while nobody waits for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from rooms import commands
from rooms.node import checkpoint
from rooms.node.hub import Hub
from tests.support.world import World

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's own"),
]


@pytest.fixture
def wal(world: World) -> Iterator[Path]:
    """The file of the log, which holds something that is not in the database."""
    assert connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_autocheckpoint = 0")
    checkpoint.run()
    commands.perform(world.users["bob"].pk, "chat.send", {"text": "hi"}, room="acme/general")
    yield Path(f"{connection.settings_dict['NAME']}-wal")
    connection.close()


def text_without_the_log(file: Path, folder: Path) -> bool:
    """Whether the database alone has the message."""
    copy = folder / "alone.sqlite3"
    copy.write_bytes(Path(str(file).removesuffix("-wal")).read_bytes())
    with closing(sqlite3.connect(copy)) as alone:
        return bool(alone.execute("SELECT count(*) FROM rooms_message WHERE text = 'hi'").fetchone()[0])


def test_what_was_logged_is_in_the_database_afterwards(wal: Path, tmp_path: Path) -> None:
    assert not text_without_the_log(wal, tmp_path)
    checkpoint.run()
    assert text_without_the_log(wal, tmp_path)


def test_a_log_that_has_grown_begins_anew(wal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.run()
    assert wal.stat().st_size > 0
    monkeypatch.setattr(checkpoint, "MOST", 0)
    checkpoint.run()
    assert wal.stat().st_size == 0


def test_and_waits_for_no_reader_of_what_is_old(wal: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MOST", 0)
    with closing(sqlite3.connect(str(wal).removesuffix("-wal"), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM rooms_message").fetchone()
        checkpoint.run()
        assert wal.stat().st_size > 0
        commands.perform(world.users["bob"].pk, "chat.send", {"text": "ho"}, room="acme/general")
        reader.execute("COMMIT")
    checkpoint.run()
    assert wal.stat().st_size == 0
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        assert cursor.fetchone() == (20_000,), "others wait as long as they did"


async def test_a_node_does_it_and_its_connections_do_not(
    hub: Hub, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(pragma: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA {pragma}")
            return cursor.fetchone()

    assert await hub.database.work(says, "wal_autocheckpoint") == (0,)
    monkeypatch.setattr(checkpoint, "MOST", 0)
    await hub.checkpoint()
    assert (await hub.database.work(says, "wal_checkpoint(PASSIVE)"))[1] == 0

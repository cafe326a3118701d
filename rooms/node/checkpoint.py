"""SQLite's log goes into its database beside what is written, and not within it.

By itself SQLite does that in the commit that makes the log a thousand pages long. So one command in a hundred waited
for the disk, 10 ms for a quiet one and 100 for a busy one, and whatever came behind it waited too.
"""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.backends.signals import connection_created

EVERY = 1.0  # seconds
MOST = 10_000  # pages, 40 MB; who writes without a pause lets the log grow, for it begins anew when all of it is done
PATIENCE = 100  # ms that writers wait while it is made to begin anew, and we for readers of what is old


def begin() -> bool:
    """Connections that are opened from now on leave it to :func:`run`; False for a database that has no need of it."""
    if connection.vendor == "sqlite":
        connection_created.connect(_leave)
    return connection.vendor == "sqlite"


def end() -> None:
    connection_created.disconnect(_leave)


def run() -> None:
    """Once; to be done every :data:`EVERY`, on a thread of its own."""
    if _checkpoint("PASSIVE") > MOST:  # nobody waits for that one, so what is left for the next is little
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout")
            (usual,) = cursor.fetchone()
            cursor.execute(f"PRAGMA busy_timeout = {PATIENCE}")
            try:
                _checkpoint("TRUNCATE")
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {usual}")


def _checkpoint(mode: str) -> int:
    """Gives the pages in the log; -1 where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA wal_checkpoint({mode})")
        _, pages, _ = cursor.fetchone()
        return int(pages)


def _leave(connection: Any, **kwargs: Any) -> None:
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_autocheckpoint = 0")

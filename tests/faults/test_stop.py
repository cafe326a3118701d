"""A node that is stopped while its database does not answer."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from rooms.management.server import ENDS, GRACE
from tests.support.backends import BACKEND
from tests.support.client import Live, log_in, new_id
from tests.support.sites import Site

GENERAL = "acme/general"


async def test_it_ends_although_a_command_waits_for_the_database(
    live_site: Callable[..., Site], pytestconfig: pytest.Config
) -> None:
    if pytestconfig.stash[BACKEND].postgres:
        pytest.skip("a room that is held is given up there after LOCK_TIMEOUT; this is about SQLite's 20 s")
    site = live_site(demo=True)
    with closing(log_in(site.url, "alice")) as alice:
        live = await Live.open(site.ws_url, alice)
        await live.join(GENERAL)
        with closing(sqlite3.connect(urlsplit(site.database_url).path[1:], isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await live.send(["chat.send", {"text": "nobody hears this"}, {"room": GENERAL, "id": new_id()}])
            # The connection takes its turn: a frame behind the command has been answered, so the command was handed in.
            await live.ask("live.leave", {}, "acme/nowhere")
            began = time.monotonic()
            stopping = asyncio.create_task(asyncio.to_thread(site.nodes[0].stop))
            assert await live.closed() == 4412
            assert await stopping == 1  # not in peace
            assert time.monotonic() - began < GRACE + ENDS + 5  # and SQLite would wait for 20
            assert "could not end in peace" in site.nodes[0].tail()
            other.execute("ROLLBACK")
        await asyncio.to_thread(site.nodes[0].start)
        answer = await asyncio.to_thread(alice.get, "/api/tenants/acme/rooms/general/messages/")
        assert "nobody hears this" not in answer.text

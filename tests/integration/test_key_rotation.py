"""A new SECRET_KEY, with the old one among the fallbacks: nobody is logged out, nothing that was signed is void."""

from __future__ import annotations

from contextlib import ExitStack

import httpx
import pytest

from tests.support.cells import CSRF, Cell
from tests.support.live_clients import TRANSPORTS, Caller
from tests.support.sites import Sites

pytestmark = pytest.mark.any_backend  # signatures are of no database

MESSAGES = "/api/tenants/acme/rooms/general/messages/"


async def test_a_new_key_logs_nobody_out(sites: Sites) -> None:
    env = {"SECRET_KEY": "the-key-that-somebody-may-have-seen"}
    with sites.running(env=env) as site, ExitStack() as stack:
        cell = Cell(site, "uvicorn", "memory", stack)
        alice, ticket = cell.caller("alice"), cell.ticket("alice")
        site.env["SECRET_KEY"] = "its-successor"  # type: ignore[index]  # the node's own, read when it starts again
        site.env["SECRET_KEY_FALLBACKS"] = env["SECRET_KEY"]  # type: ignore[index]
        site.restart()

        for caller in (alice, Caller(ticket=ticket)):
            for kind in TRANSPORTS:
                client = await kind.connect(site.nodes[0], caller, {"acme/general": None})
                try:
                    assert client.hello["user"]["id"] == cell.user("alice")
                    said = await client.ask("chat.send", {"text": kind.transport}, "acme/general")
                    assert said[0] == "live.ok"
                finally:
                    await client.close()
        bearer = {"Authorization": f"Bearer {ticket}"}
        with httpx.Client(base_url=site.url, headers=bearer, trust_env=False) as program:
            assert program.post(MESSAGES, json={"text": "by ticket"}).status_code == 201
        # Django gives a session that was proved by an old key another name: a browser keeps it, as this client does.
        cookies = {"sessionid": alice.session or "", "csrftoken": CSRF}
        headers = {"X-CSRFToken": CSRF, "Referer": site.url}
        with httpx.Client(base_url=site.url, headers=headers, trust_env=False) as browser:
            for name, value in cookies.items():
                browser.cookies.set(name, value, domain="127.0.0.1")
            assert browser.get("/t/acme/general/").status_code == 200
            assert browser.post(MESSAGES, json={"text": "by session"}).status_code == 201
            assert browser.cookies["sessionid"] != alice.session
            renewed = Caller(browser.cookies["sessionid"], CSRF)
        client = await TRANSPORTS[0].connect(site.nodes[0], renewed, {"acme/general": None})
        assert client.hello["user"]["id"] == cell.user("alice")
        await client.close()

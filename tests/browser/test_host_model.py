"""A host's own model, from DRF through the log into two people's browsers."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.client import PASSWORD, log_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

JOIN = """async (room) => {
    const socket = new WebSocket(`ws://${location.host}/live/ws`, ["live.v1"]);
    const heard = window.heard = [];
    await new Promise((resolve, reject) => {
        socket.onerror = reject;
        socket.onopen = () => socket.send(JSON.stringify([["live.join", {}, {room, id: "join"}]]));
        socket.onmessage = ({data}) => {
            for (const [name, value, meta] of JSON.parse(data)) {
                if (name === "live.ok") resolve();
                if (name.startsWith("order.")) heard.push([name, value, meta.room, meta.seq]);
            }
        };
    });
}"""


def open_page(browser: Browser, url: str, name: str) -> tuple[BrowserContext, Page]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/accounts/login/")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda address: "/accounts/login/" not in address)
    page.evaluate(JOIN, "acme/general")
    return context, page


@pytest.mark.parametrize("nodes", [1, 2])
def test_an_order_that_is_changed_through_drf_is_seen_in_two_browsers(browser, live_site, nodes):
    site = live_site(nodes=nodes, demo=True)
    tenant = site.manage("shell", "-v0", "-c", "from rooms.models import *; print(Tenant.objects.get(slug='acme').pk)")
    opened = [
        open_page(browser, node.url, name) for node, name in zip((site.nodes * 2)[:2], ("bob", "erin"), strict=True)
    ]
    with closing(log_in(site.url, "alice")) as alice:
        made = alice.post("/host/orders/", json={"tenant": int(tenant), "room": "general", "dish": "soup"})
        assert made.status_code == 201, made.text
        id = made.json()["id"]
        assert alice.patch(f"/host/orders/{id}/", json={"status": "done"}).status_code == 200
        assert alice.delete(f"/host/orders/{id}/").status_code == 204
    for context, page in opened:
        page.wait_for_function("window.heard.length >= 3")
        heard = page.evaluate("window.heard")
        assert [(name, data, room) for name, data, room, _ in heard] == [
            ("order.created", {"id": str(id), "dish": "soup", "status": "open"}, "acme/general"),
            ("order.updated", {"id": str(id), "dish": "soup", "status": "done"}, "acme/general"),
            ("order.deleted", {"id": str(id)}, "acme/general"),
        ]
        seqs = [seq for *_, seq in heard]
        assert seqs == list(range(seqs[0], seqs[0] + 3))
        context.close()

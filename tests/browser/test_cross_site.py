"""A page of somebody else, in the browser of a person who is logged in: it is told nothing, and changes nothing.

From another site (``localhost``, when ours is ``127.0.0.1``) cookies do not even come along. From another port of the
same site they do: there it is our own checks that hold.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Response, expect

from tests.support.people import Person
from tests.support.sites import Site

Visit = Callable[..., Person]
SECRET = "between us"

# What a page can try without leaving. Each gives what it was told: {} when that is nothing.
TRIES = """async ({ site, room }) => {
    const rest = `${site}/api/tenants/acme/rooms/${room.split("/")[1]}/messages/`;
    const say = [["chat.send", { text: "not by alice" }, { room, id: "a-command-of-somebody-else" }]];
    const within = (promise) => Promise.race([promise, new Promise((done) => setTimeout(done, 10_000, "nothing"))]);

    function socket() {
        return new Promise((done) => {
            const heard = [];
            const socket = new WebSocket(`${site.replace("http", "ws")}/live/ws`, "live.v1");
            socket.onopen = () => {
                socket.send(JSON.stringify([["live.join", {}, { room, id: "j" }], ...say]));
            };
            socket.onmessage = ({ data }) => {
                heard.push(...JSON.parse(data));
                if (heard.some(([, , meta]) => meta?.re === say[0][2].id)) done({ heard });
            };
            socket.onclose = ({ code }) => done({ heard, code });
        });
    }

    function stream() {
        return new Promise((done) => {
            const source = new EventSource(`${site}/live/stream?room=${room}`, { withCredentials: true });
            source.onmessage = ({ data }) => (source.close(), done({ heard: JSON.parse(data) }));
            source.onerror = () => (source.close(), done({}));
        });
    }

    async function ask(url, options = {}) {
        try {
            const answer = await fetch(url, { credentials: "include", ...options });
            return { type: answer.type, text: await answer.text() };
        } catch {
            return {};
        }
    }

    function embed(name, url) {
        return new Promise((done) => {
            const element = document.createElement(name);
            element.onload = () => done({ loaded: true });
            element.onerror = () => done({});
            element.src = url;
            document.head.append(element);
        });
    }

    const json = JSON.stringify;
    const plain = { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" } };
    const declared = { method: "POST", headers: { "Content-Type": "application/json", "X-CSRFToken": "guessed" } };
    const tries = {
        socket: socket(),
        stream: stream(),
        poll: ask(`${site}/live/poll?room=${room}&wait=0`),
        "blind poll": ask(`${site}/live/poll?room=${room}&wait=0`, { mode: "no-cors" }),
        command: ask(`${site}/live/commands`, { ...declared, body: json(say) }),
        "blind command": ask(`${site}/live/commands`, { ...plain, body: json(say) }),
        messages: ask(rest),
        "blind messages": ask(rest, { mode: "no-cors" }),
        message: ask(rest, { ...declared, body: json({ text: "not by alice" }) }),
        "blind message": ask(rest, { ...plain, body: json({ text: "not by alice" }) }),
        ticket: ask(`${site}/api/tickets/`, plain),
        removal: ask(rest.replace("messages/", ""), { method: "DELETE" }),
        page: ask(`${site}/t/${room}/`),
        "page as a script": embed("script", `${site}/t/${room}/`),
        "messages as a script": embed("script", rest),
        beacon: { sent: navigator.sendBeacon(`${site}/live/commands`, json(say)) },
    };
    const told = {};
    for (const [name, tried] of Object.entries(tries)) told[name] = await within(tried);
    return told;
}"""

POSTS = {
    "a command": ("/live/commands", "text/plain", '[["chat.send", {"text": "not by alice'),
    "a message": ("/api/tenants/acme/rooms/{room}/messages/", "application/x-www-form-urlencoded", "text"),
    "a log-out": ("/accounts/logout/", "application/x-www-form-urlencoded", "next"),
    "a log-in": ("/accounts/login/", "application/x-www-form-urlencoded", "username"),
    "the admin": ("/admin/logout/", "multipart/form-data", "next"),
}
SUBMIT = """([url, type, name]) => {
    const form = document.createElement("form");
    Object.assign(form, { method: "post", action: url, enctype: type });
    const field = document.createElement("input");
    Object.assign(field, { name, value: "not by alice" });
    form.append(field);
    document.body.append(form);
    form.submit();
}"""


class Elsewhere(BaseHTTPRequestHandler):
    """A site that has one empty page, which may do whatever pages may."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body></body>")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def cookies(browser: Any, demo: Site) -> Any:
    """As the site sets them, when alice logs in by the form."""
    context = browser.new_context(base_url=demo.url)
    Person(context.new_page()).log_in("alice")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def alice(browser: Any, demo: Site, cookies: Any) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=demo.url, storage_state=cookies)
    context.new_page().goto("/")
    yield context
    context.close()


@pytest.fixture(params=["127.0.0.1", "localhost"], ids=["same site, other port", "another site"])
def elsewhere(request: pytest.FixtureRequest, alice: BrowserContext, port: int) -> Page:
    page = alice.new_page()
    page.goto(f"http://{request.param}:{port}/")
    return page


@pytest.fixture
def told(rest: Callable[[str], httpx.Client], room: str) -> str:
    """A room in which something was said."""
    assert rest("alice").post(f"{messages(room)}", json={"text": SECRET}).status_code == 201
    return room


def messages(room: str) -> str:
    return f"/api/tenants/acme/rooms/{room.partition('/')[2]}/messages/"


def texts(client: httpx.Client, room: str) -> list[str]:
    return [message["text"] for message in client.get(messages(room)).json()["results"]]


def test_a_page_of_ours_is_told(alice: BrowserContext, demo: Site, told: str) -> None:
    """The same script where it may: so what it is not told elsewhere is not for want of trying."""
    heard = alice.pages[0].evaluate(TRIES, {"site": demo.url, "room": told})
    names = [name for name, *_ in heard["socket"]["heard"]]
    assert names.count("live.ok") == 2
    assert heard["stream"]["heard"][0][0] == "live.hello"
    assert all(SECRET in heard[name]["text"] for name in ("messages", "page"))
    assert "live.hello" in heard["poll"]["text"]


def test_a_page_elsewhere_is_told_nothing_and_changes_nothing(
    elsewhere: Page, demo: Site, told: str, rest: Callable[[str], httpx.Client]
) -> None:
    heard = elsewhere.evaluate(TRIES, {"site": demo.url, "room": told})
    refused = heard.pop("socket")
    assert refused["code"] in (4501, 4503)  # without cookies one is nobody
    assert [name for name, *_ in refused["heard"]] == ["live.bye"]
    blind = {name: heard[name] for name in heard if name.startswith("blind") or name == "ticket"}
    assert all(answer in ({}, {"type": "opaque", "text": ""}) for answer in blind.values()), blind
    assert heard.pop("beacon") == {"sent": True}  # it went out, and came to nothing
    left = {name: answer for name, answer in heard.items() if name not in blind and answer != {}}
    assert left == {}
    assert texts(rest("alice"), told) == [SECRET]


def test_a_form_elsewhere_is_refused(
    elsewhere: Page, alice: BrowserContext, demo: Site, told: str, rest: Callable[[str], httpx.Client]
) -> None:
    there = elsewhere.url
    for what, (path, type, name) in POSTS.items():
        with elsewhere.expect_navigation() as answered:
            elsewhere.evaluate(SUBMIT, [demo.url + path.format(room=told.partition("/")[2]), type, name])
        answer: Response | None = answered.value
        assert answer is not None and answer.request.method == "POST"
        assert answer.status in (401, 403, 415), what
        elsewhere.goto(there)
    assert texts(rest("alice"), told) == [SECRET]
    alice.pages[0].reload()
    expect(alice.pages[0].get_by_role("button", name="Log out")).to_be_visible()


def test_our_pages_are_in_no_frame_and_no_hand(elsewhere: Page, demo: Site, told: str) -> None:
    with elsewhere.expect_console_message(lambda line: "frame-ancestors" in line.text or "X-Frame" in line.text):
        elsewhere.evaluate(
            """(url) => {
                const frame = document.createElement("iframe");
                frame.src = url;
                document.body.append(frame);
            }""",
            f"{demo.url}/t/{told}/",
        )
    with elsewhere.expect_popup() as opened:
        elsewhere.evaluate("(url) => void (window.opened = window.open(url))", f"{demo.url}/t/{told}/")
    opened.value.get_by_text(re.compile(SECRET)).wait_for()  # a tab of her own, with her cookies
    assert elsewhere.evaluate("() => window.opened.closed")  # which who opened it has no hold of

"""The site as it stands on the internet: https behind a proxy, strangers who play one, and what is logged."""

from __future__ import annotations

import gzip
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.cells import CSRF, Cell
from tests.support.client import PASSWORD
from tests.support.conversation import new_id
from tests.support.sites import Sites

pytestmark = pytest.mark.any_backend  # the edge of a site stands before its database

PROXY, STRANGER = "127.0.0.1", "127.0.0.2"  # where requests come from; the site lists the first
GENERAL = "/api/tenants/acme/rooms/general/"
SAYS_HTTPS = {"X-Forwarded-Proto": "https"}
LIVE = ("/live/stream?room=acme/general", "/live/poll?room=acme/general", "/live/commands")


class Https(Cell):
    """A site without DEBUG, on https. Its clients here are its proxy, or play it."""

    @property
    def origin(self) -> str:
        return self.near.url.replace("http:", "https:")

    def browser(self, name: str | None = None, *, peer: str = PROXY, **headers: str) -> httpx.Client:
        """:param name: who is logged in."""
        given = {**SAYS_HTTPS, "Referer": f"{self.origin}/", **{key.replace("_", "-"): headers[key] for key in headers}}
        if name is not None:
            given |= {"Cookie": f"sessionid={self._people[name]['session']}; csrftoken={CSRF}", "X-CSRFToken": CSRF}
        transport = httpx.HTTPTransport(local_address=peer)
        return httpx.Client(base_url=self.near.url, headers=given, transport=transport, trust_env=False, timeout=30)

    @contextmanager
    def socket(self, name: str | None, *, peer: str = PROXY, **headers: str) -> Iterator[Any]:
        """The first frame is yet to be read."""
        given = {**SAYS_HTTPS, **{key.replace("_", "-"): headers[key] for key in headers}}
        given.setdefault("Origin", self.origin)
        if name is not None:
            given["Cookie"] = f"sessionid={self._people[name]['session']}"
        options: Any = {"source_address": (peer, 0), "subprotocols": headers.get("subprotocols") or ["live.v1"]}
        given.pop("subprotocols", None)
        with connect(self.near.ws_url, additional_headers=given, proxy=None, **options) as socket:
            yield socket


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def https(request: pytest.FixtureRequest, sites: Sites) -> Iterator[Https]:
    env = {"INSECURE": "", "TRUSTED_PROXIES": PROXY}
    arguments = ["--access-log"] if request.param == "uvicorn" else []  # daphne has one by itself
    with (
        sites.running(
            server=request.param, settings="realtime_project.settings", env=env, arguments=arguments, layer="memory"
        ) as site,
        ExitStack() as stack,
    ):
        yield Https(site, request.param, "memory", stack)


def events(answer: httpx.Response) -> Any:
    return answer.json()["code"] if answer.headers["content-type"] == "application/json" else answer.text


# --- headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/t/acme/general/", 200),
        ("/t/acme/nothing/", 404),
        ("/nothing", 404),
        ("/accounts/login/", 302),
        ("/admin/", 302),
        ("/static/admin/css/base.css", 200),
        ("/api/tenants/", 200),
        ("/api/tenants/nothing/", 404),
        ("/api/docs/", 200),
        ("/healthz", 200),
        ("/live/stream?room=acme/general", 200),
        ("/live/poll?room=acme/general", 200),
        ("/live/poll?wait=never", 400),
        ("/live/commands", 405),
        ("/live/nothing", 404),
    ],
)
def test_every_answer_tells_a_browser_what_it_may_not_do(https: Https, path: str, status: int) -> None:
    with https.browser("alice") as browser, browser.stream("GET", path) as answer:
        assert answer.status_code == status
        says = answer.headers
    policy = dict(part.strip().partition(" ")[::2] for part in says["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in says["content-security-policy"]
    assert says["x-content-type-options"] == "nosniff"
    assert says["x-frame-options"] == "DENY"
    assert says["referrer-policy"] in ("no-referrer", "same-origin")
    assert says["cross-origin-opener-policy"] == says["cross-origin-resource-policy"] == "same-origin"
    assert says["strict-transport-security"] == f"max-age={30 * 24 * 3600}"
    assert "access-control-allow-origin" not in says


@pytest.mark.parametrize(
    "path", ["/", "/t/acme/general/", "/t/acme/general/?before=9", "/admin/", f"{GENERAL}messages/", "/metrics", *LIVE]
)
def test_what_is_for_one_person_is_kept_by_no_cache(https: Https, path: str) -> None:
    with https.browser("admin" if "admin" in path else "alice") as browser, browser.stream("GET", path) as answer:
        assert "no-store" in answer.headers["cache-control"]


# --- https, as a listed proxy says


def test_a_person_behind_the_proxy_has_everything(https: Https) -> None:
    with https.browser("alice") as browser:
        assert browser.get("/").status_code == 200
        assert browser.get(LIVE[1]).json()["frame"][0][0] == "live.hello"
        frame = [["chat.send", {"text": "hello"}, {"room": "acme/general", "id": new_id()}]]
        assert browser.post("/live/commands", json=frame).json()[0][0] == "live.ok"
        assert browser.post(f"{GENERAL}messages/", json={"text": "hi"}).status_code == 201
        with browser.stream("GET", LIVE[0]) as answer:
            assert answer.status_code == 200
    with https.socket("alice") as socket:
        assert "live.hello" in socket.recv(timeout=20)


def test_plain_http_gets_nothing_whoever_says_otherwise(https: Https) -> None:
    for peer, said in ((PROXY, {"X-Forwarded-Proto": "http"}), (STRANGER, {})):
        with https.browser("alice", peer=peer, **said) as browser:
            elsewhere = browser.get("/t/acme/general/")
            assert (elsewhere.status_code, elsewhere.headers["location"]) == (301, f"{https.origin}/t/acme/general/")
            for path in LIVE[:2]:
                refused = browser.get(path)
                assert (refused.status_code, events(refused)) == (403, "forbidden")
            frame = [["chat.send", {"text": "unheard"}, {"room": "acme/general", "id": new_id()}]]
            assert browser.post("/live/commands", json=frame).status_code == 403
        with https.socket("alice", peer=peer, **said) as socket:
            assert ends(socket) == 4503
    with https.browser("alice") as browser:
        assert "unheard" not in browser.get(f"{GENERAL}messages/").text


def test_a_page_that_came_by_http_may_not_use_the_cookies_of_https(https: Https) -> None:
    with https.socket("alice", Origin=https.near.url) as socket:
        assert ends(socket) == 4503
    with https.browser("alice", Origin=https.near.url) as browser:
        assert browser.get(LIVE[1]).status_code == 403
        assert browser.post("/live/commands", json=[]).status_code == 403
        assert browser.post(f"{GENERAL}messages/", json={"text": "no"}).status_code == 403


def test_probes_need_neither_https_nor_a_proxy(https: Https) -> None:
    with https.browser(peer=STRANGER) as probe:
        assert probe.get("/healthz").status_code == probe.get("/readyz").status_code == 200


def test_metrics_are_for_who_asks_the_node_itself(https: Https) -> None:
    with https.browser() as through_the_proxy, httpx.Client(base_url=https.near.url, trust_env=False) as beside_it:
        assert through_the_proxy.get("/metrics").status_code == 404
        assert beside_it.get("/metrics").status_code == 200


def test_cookies_are_for_https_alone(https: Https) -> None:
    with https.browser() as browser:
        form = browser.get("/accounts/login/")
        token = form.cookies["csrftoken"]
        data = {"username": "bob", "password": PASSWORD, "csrfmiddlewaretoken": token}
        answer = browser.post("/accounts/login/", data=data, headers={"Cookie": f"csrftoken={token}"})
    assert answer.status_code == 302
    kept = [line.lower() for line in answer.headers.get_list("set-cookie")]
    assert {line.partition("=")[0] for line in kept} == {"sessionid", "csrftoken"}
    assert all("; secure" in line and "; samesite=lax" in line for line in kept)
    assert "; httponly" in next(line for line in kept if line.startswith("sessionid"))


def test_no_body_that_comes_is_unpacked(https: Https) -> None:
    """So a small body is never a large one."""
    frame = [["chat.send", {"text": "squeezed"}, {"room": "acme/general", "id": new_id()}]]
    squeezed = gzip.compress(json.dumps(frame).encode())
    with https.browser("alice", Content_Encoding="gzip", Content_Type="application/json") as browser:
        assert browser.post("/live/commands", content=squeezed).json()["code"] == "bad_frame"
        assert browser.post(f"{GENERAL}messages/", content=squeezed).json()["code"] == "bad_data"


def test_a_frame_that_inflates_to_megabytes_ends_its_connection(https: Https) -> None:
    with https.socket("alice") as socket:  # which offers permessage-deflate
        assert "live.hello" in socket.recv(timeout=20)
        if https.server == "daphne":
            assert socket.protocol.extensions == []
            return
        frame = json.dumps([["chat.send", {"text": "not too much"}, {"room": "acme/general", "id": new_id()}]])
        socket.send(frame + " " * (64 * 1024))
        assert "too_large" in socket.recv(timeout=20)
        socket.send(frame + " " * 30_000_000)  # 30 KB
        assert ends(socket) == 1009


# --- nobody in particular


def test_nobody_reads_a_public_room_unless_the_site_says_so(https: Https) -> None:
    room = https_room(https)
    tenant, _, slug = room.partition("/")
    with https.browser() as browser:
        assert browser.get(f"/t/{room}/").headers["location"].startswith("/accounts/login/")
        assert browser.get(f"/t/{room}/?before=9").status_code == 302
        for path in ("", "messages/", "events/", "members/"):
            assert browser.get(f"/api/tenants/{tenant}/rooms/{slug}/{path}").status_code == 401
        for path in ("stream", "poll"):
            assert browser.get(f"/live/{path}?room={room}").status_code == 401
        frame = [["chat.send", {"text": "by nobody"}, {"room": room, "id": new_id()}]]
        assert browser.post("/live/commands", json=frame).status_code == 401
    with https.socket(None) as socket:
        assert ends(socket) == 4501


def https_room(https: Https) -> str:
    """A public one."""
    slug = f"public-{secrets.token_hex(3)}"
    with https.browser("alice") as browser:
        data = {"slug": slug, "name": slug, "visibility": "public"}
        assert browser.post("/api/tenants/acme/rooms/", json=data).status_code == 201
    return f"acme/{slug}"


def ends(socket: Any) -> int | None:
    """The code with which the server closes."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            assert "live.hello" not in socket.recv(timeout=20)
    return closed.value.rcvd.code if closed.value.rcvd else None


# --- what is logged


def test_no_log_line_has_a_secret_or_what_was_said(https: Https) -> None:
    said = [f"said-{secrets.token_hex(8)}" for _ in range(4)]
    mark = secrets.token_hex(8)
    session = https._people["alice"]["session"]
    with https.browser("alice") as browser:
        ticket = browser.post("/api/tickets/").json()["ticket"]
        frame = [["chat.send", {"text": said[0]}, {"room": "acme/general", "id": new_id()}]]
        assert browser.post("/live/commands", json=frame).status_code == 200
        assert browser.post(f"{GENERAL}messages/", json={"text": said[1]}).status_code == 201
        broken = browser.post("/live/commands", content=f'[["chat.send", "{said[2]}'.encode())
        assert broken.status_code == 400
        assert browser.get(f"/{mark}%0d%0a2026-01-01 INFO forged").status_code == 404
        assert browser.get(f"/live/poll?room=acme/{mark}%0aforged&room=acme/general").status_code == 200
        assert browser.get("/", headers={"Host": f"{mark}.example"}).status_code == 400
        wrong = {"username": f"bob{mark}\nforged", "password": said[3]}
        assert browser.post("/accounts/login/", data={**wrong, "csrfmiddlewaretoken": CSRF}).status_code != 500
    with https.browser(Authorization=f"Bearer {ticket}") as program:
        assert program.get(LIVE[1]).status_code == 200
        assert program.get("/live/poll?room=acme/general", headers={"Authorization": f"Bearer {ticket}x"}).is_error
    with https.socket("alice") as socket:
        socket.send(f'[["chat.send", {{"text": "{said[2]}"}}, {{"room": "acme/general", "id": "{new_id()}"}}]]')
        assert "live.hello" in socket.recv(timeout=20)
        assert "live.ok" in socket.recv(timeout=20)
    with https.socket(None, subprotocols=["live.v1", f"ticket.{ticket}"]) as socket:  # type: ignore[arg-type]
        assert "live.hello" in socket.recv(timeout=20)
    log = https.near.log.read_text()
    assert "/live/commands" in log  # it is the access log
    assert f"Invalid HTTP_HOST header: '{mark}.example'" in log
    for secret in (session, CSRF, ticket, ticket.rsplit(".", 1)[1], *said):
        assert secret not in log, secret
    assert not re.search(r"^(2026-01-01 INFO )?forged", log, re.MULTILINE)
    assert "Traceback" not in log

"""`manage.py serve`: what an operator sees of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rooms.management.commands.serve import configuration
from rooms.management.server import GRACE
from tests.support.sites import ROOT, Node, Site

# The command and its processes; what they serve is looked at elsewhere.
pytestmark = pytest.mark.any_backend

LiveSite = Callable[..., Site]


def get(url: str) -> tuple[int, dict[str, str], bytes]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()


def serve(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """For what must not start."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "realtime_project.settings", "REDIS_URL": "", **env}
    command = [sys.executable, "manage.py", "serve", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_it_serves_pages_and_health(live_site: LiveSite, server: str) -> None:
    site = live_site(server=server)
    status, headers, body = get(f"{site.url}/healthz")
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert get(f"{site.url}/readyz")[0] == 200
    assert "default-src 'none'" in headers["content-security-policy"]


def test_static_files_need_no_collectstatic(live_site: LiveSite) -> None:
    site = live_site(settings="realtime_project.settings")
    status, headers, body = get(f"{site.url}/static/admin/css/base.css")
    assert status == 200
    assert headers["content-type"].startswith("text/css")
    assert len(body) == int(headers["content-length"])
    assert "Warning" not in site.nodes[0].tail()


def test_it_says_where_and_stops_in_peace(live_site: LiveSite) -> None:
    node = live_site().nodes[0]
    assert f"Serving on {node.url}" in node.tail()
    get(f"{node.url}/healthz")
    assert node.stop() == 0
    assert "Application shutdown complete" in node.tail()
    assert "GET /healthz" not in node.tail()  # no access log unless it is asked for
    assert "Traceback" not in node.tail()


def test_two_nodes_share_a_site(live_site: LiveSite) -> None:
    site = live_site(nodes=2, demo=True)
    for node in site.nodes:
        assert get(f"{node.url}/readyz")[0] == 200
    site.kill(1)
    site.restart(1)
    assert get(f"{site.nodes[1].url}/healthz")[0] == 200


def test_a_busy_port_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = serve("--port", str(port))
    assert done.returncode == 1
    assert f"CommandError: Port {port} on 127.0.0.1 is in use." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Started server process" not in done.stderr


def test_a_port_that_is_none_is_a_sentence() -> None:
    done = serve("--port", "81234")
    assert done.returncode == 1
    assert "CommandError: 81234 is no port" in done.stderr


def test_workers_need_a_layer_that_reaches_them() -> None:
    done = serve("--workers", "2")
    assert done.returncode == 1
    assert "For --workers set REDIS_URL" in done.stderr


def test_a_database_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    done = serve("--port", "0", DATABASE_URL=f"sqlite:///{tmp_path}/nowhere/site.sqlite3")
    assert done.returncode == 1
    assert "CommandError: The database does not answer: unable to open database file" in done.stderr


def test_workers_serve_on_one_port(live_site: LiveSite) -> None:
    node = live_site(layer="valkey", workers=2).nodes[0]
    assert {get(f"{node.url}/healthz")[0] for _ in range(8)} == {200}
    until(lambda: node.tail(200).count("Application startup complete") == 2)
    assert "GET /healthz" not in node.tail(200)


@pytest.mark.parametrize("workers", [1, 2])
def test_who_comes_while_it_stops_is_refused_at_once(live_site: LiveSite, workers: int) -> None:
    node = live_site(layer="valkey", workers=workers).nodes[0]
    until(lambda: node.tail(200).count("Application startup complete") == workers)
    with unfinished_request(node):
        os.kill(node.pid, signal.SIGTERM)
        until(lambda: is_refused(node))  # and not taken in by the kernel, for nobody
        os.kill(node.pid, 0)  # it is still there, for the request
    assert node.stop() == 0
    assert "Traceback" not in node.tail(300)


def test_a_second_ctrl_c_waits_for_nothing(live_site: LiveSite) -> None:
    node = live_site().nodes[0]
    with unfinished_request(node):
        os.kill(node.pid, signal.SIGINT)
        until(lambda: is_refused(node))
        began = time.monotonic()
        os.kill(node.pid, signal.SIGINT)
        node.stop()
        assert time.monotonic() - began < GRACE / 2


@contextmanager
def unfinished_request(node: Node) -> Iterator[None]:
    """A request under way, whose body does not come."""
    with socket.create_connection(("127.0.0.1", node.port)) as client:
        head = f"POST /accounts/login/ HTTP/1.1\r\nHost: 127.0.0.1:{node.port}\r\nContent-Length: 10\r\n"
        client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")  # it is being read
        yield


def is_refused(node: Node) -> bool:
    try:
        socket.create_connection(("127.0.0.1", node.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """For what a process tells nobody."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def handshake(node: Node, *more: str) -> bytes:
    lines = (
        "GET /live/ws HTTP/1.1", f"Host: 127.0.0.1:{node.port}", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", *more,
    )  # fmt: skip
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def test_a_handshake_that_is_too_long_is_answered_and_over(live_site: LiveSite) -> None:
    """uvicorn alone would leave it open and unanswered, and fail when it stops."""
    node = live_site().nodes[0]
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as client:
        client.sendall(handshake(node, f"Sec-WebSocket-Protocol: live.v1, ticket.{'x' * 9_000}"))
        answer = b"".join(iter(lambda: client.recv(4_096), b""))
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert node.stop() == 0
    assert "Traceback" not in node.tail(300)


def test_compression_is_the_sites_to_turn_off(settings: Any) -> None:
    for wanted in (True, False):
        settings.ROOMS = {**settings.ROOMS, "DEFLATE": wanted}
        assert configuration(workers=1, access_log=False).ws_per_message_deflate is wanted
    settings.ROOMS = {name: value for name, value in settings.ROOMS.items() if name != "DEFLATE"}
    assert configuration(workers=1, access_log=False).ws_per_message_deflate is True


def test_text_that_is_none_closes_its_socket_and_fills_no_log(live_site: LiveSite) -> None:
    node = live_site(rooms={"PUBLIC_READ": True}).nodes[0]
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as client:
        client.sendall(handshake(node, "Sec-WebSocket-Protocol: live.v1"))
        answer = b""
        while b"live.hello" not in answer:
            answer += client.recv(4_096)
        client.sendall(b"\x81\x82\0\0\0\0\xff\xfe")  # a masked text frame of two bytes that are not UTF-8
        assert b"".join(iter(lambda: client.recv(4_096), b"")) == b"\x88\x02\x03\xef"  # closed with 1007
    assert get(f"{node.url}/healthz")[0] == 200
    assert "Traceback" not in node.tail(300)

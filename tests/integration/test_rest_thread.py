"""The REST API on one thread, in its turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.db import connection
from django.http import HttpRequest
from django.test import Client

from rooms.node.hub import Hub
from rooms.transports.rest import OneThread, guarded, tenant_of
from tests.support.world import World

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGES = "/api/tenants/acme/rooms/general/messages/"
threads: list[str] = []


def noted(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Middleware that is not async."""

    def middleware(request: HttpRequest) -> Any:
        threads.append(threading.current_thread().name)
        return get_response(request)

    return middleware


async def asked(application: Any, method: str, path: str, cookies: str = "", body: bytes = b"") -> tuple[int, bytes]:
    headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
    headers += [(b"content-length", b"%d" % len(body)), (b"cookie", cookies.encode())]
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": headers, "client": ("192.0.2.1", 1), "server": ("testserver", 80),
    }  # fmt: skip
    exchange = ApplicationCommunicator(application, scope)
    await exchange.send_input({"type": "http.request", "body": body})
    start = await exchange.receive_output(30)
    answer = await exchange.receive_output(30)
    await exchange.wait(30)
    return start["status"], answer["body"]


@pytest.fixture
def bob(world: World) -> str:
    """His cookie."""
    client = Client()
    client.force_login(world.users["bob"])
    return f"sessionid={client.cookies['sessionid'].value}"


@pytest.fixture
def twice_noted(settings: Any) -> None:
    """Before and behind the site's own middleware."""
    threads.clear()
    settings.MIDDLEWARE = [f"{__name__}.noted", *settings.MIDDLEWARE, f"{__name__}.noted"]


async def test_a_request_has_one_thread_from_its_first_middleware_to_its_last(
    hub: Hub, bob: str, twice_noted: None
) -> None:
    status, body = await asked(guarded(ASGIHandler()), "GET", MESSAGES, bob)
    assert (status, msgspec.json.decode(body)["results"]) == (200, [])
    first, last = threads
    assert first == last and first.startswith("rooms-rest")


async def test_what_one_person_asks_for_at_once_is_all_answered(hub: Hub, bob: str) -> None:
    rest = guarded(ASGIHandler())
    answers = await asyncio.gather(*(asked(rest, "GET", MESSAGES, bob) for _ in range(20)))
    assert [status for status, _ in answers] == [200] * 20


async def test_a_body_that_ends_too_soon_is_nobodys(hub: Hub, bob: str) -> None:
    exchange = ApplicationCommunicator(
        guarded(ASGIHandler()),
        {"type": "http", "method": "POST", "path": MESSAGES, "headers": [], "client": ("192.0.2.1", 1)},
    )
    await exchange.send_input({"type": "http.disconnect"})
    await exchange.wait(30)
    assert await exchange.receive_nothing()


async def test_what_the_view_did_not_foresee_is_an_answer_too(
    hub: Hub, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = guarded(ASGIHandler())

    def crash(*given: Any, **options: Any) -> None:
        raise RuntimeError("crash")

    monkeypatch.setattr("rooms.api.views.messages", crash)
    status, _ = await asked(rest, "GET", MESSAGES, bob)
    assert status == 500
    monkeypatch.undo()
    assert (await asked(rest, "GET", MESSAGES, bob))[0] == 200


async def test_the_connection_to_the_database_goes_back_with_the_request(hub: Hub, bob: str) -> None:
    handler = OneThread()
    handler._threads = ThreadPoolExecutor(1)
    seen = []

    def held() -> bool:
        return connection.connection is not None

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        seen.append(await asyncio.get_running_loop().run_in_executor(handler._threads, held))

    headers = [(b"cookie", bob.encode()), (b"host", b"testserver")]
    scope = {"type": "http", "method": "GET", "path": MESSAGES, "headers": headers}
    await handler.answer(scope, receive, send, "acme", "bob")
    assert seen == [False, False]


async def test_a_django_that_a_host_has_wrapped_is_asked_itself(hub: Hub, bob: str) -> None:
    asked_for = []
    django = ASGIHandler()

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        asked_for.append(scope["path"])
        await django(scope, receive, send)

    status, body = await asked(guarded(wrapped), "GET", "/api/tenants/", bob)
    assert (status, asked_for) == (200, ["/api/tenants/"])
    assert msgspec.json.decode(body)["results"]


@pytest.mark.parametrize(
    ("path", "tenant"),
    [("tenants/acme/rooms/general/", "acme"), ("tenants/acme", "acme"), ("tenants/", ""), ("schema/", ""), ("", "")],
)
def test_a_path_says_whose_turn_it_is(path: str, tenant: str) -> None:
    assert tenant_of(path) == tenant

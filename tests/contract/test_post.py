"""Commands by POST, beside streams and polls: who may, and what the statuses say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.cells import Cell
from tests.support.conversation import new_id
from tests.support.live_clients import Caller, LiveClient, Poll

EVIL = "http://evil.example"


@pytest.fixture
def kind() -> type[LiveClient]:
    return Poll


class Post:
    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self.http = http
        self.url = url

    async def __call__(self, who: Caller, *vectors: Any, without: str = "", method: str = "POST") -> httpx.Response:
        """Gives the answer; the body of a refusal is the error object."""
        headers = {name: value for name, value in who.writing(self.url).items() if name != without}
        return await self.http.request(method, "/live/commands", content=json.dumps(vectors), headers=headers)


@pytest.fixture
async def post(cell: Cell) -> AsyncIterator[Post]:
    async with httpx.AsyncClient(base_url=cell.near.url, trust_env=False) as http:
        yield Post(http, cell.near.url)


def send(room: str, text: str = "x") -> Any:
    return ["chat.send", {"text": text}, {"room": room, "id": new_id()}]


async def test_a_frame_is_answered_with_a_frame(post: Post, cell: Cell, room: str) -> None:
    bob = cell.caller("bob")
    vectors = [send(room, "one"), send("acme/no-such-room"), send(room, "two")]
    answer = await post(bob, *vectors)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert [(name, meta) for name, _, meta in answer.json()] == [
        (name, {"re": vector[2]["id"]})
        for name, vector in zip(("live.ok", "live.error", "live.ok"), vectors, strict=True)
    ]
    assert (await post(bob)).json() == []  # the heartbeat has no answer


async def test_a_browser_needs_its_token(post: Post, cell: Cell, room: str) -> None:
    bob = cell.caller("bob")
    head = cell.cursor(room)
    for refused in (
        await post(bob, send(room), without="X-CSRFToken"),
        await post(bob.saying(**{"X-CSRFToken": "x" * 64}), send(room)),
        await post(bob.saying(Origin=EVIL), send(room)),
        await post(bob.saying(Origin="null"), send(room)),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert cell.cursor(room) == head


async def test_a_ticket_needs_no_token_and_its_cookies_do_not_count(post: Post, cell: Cell, room: str) -> None:
    alice = cell.caller("alice")
    caller = Caller(alice.session, None, cell.ticket("bob")).saying(Origin=EVIL)
    assert (await post(caller, send(room))).json()[0][0] == "live.ok"
    assert cell.history(room)[-1][2]["by"] == cell.user("bob")


async def test_nobody_says_nothing(post: Post, cell: Cell, room: str) -> None:
    for nobody in (Caller(), Caller(session="nonsense"), Caller(ticket="nonsense")):
        answer = await post(nobody, send(room))
        if answer.status_code == 200:  # where anonymous people may read
            assert answer.json()[0][0] == "live.error"
        else:
            assert (answer.status_code, answer.json()["code"]) in ((401, "unauthenticated"), (403, "forbidden"))
    assert [name for name, _, _ in cell.history(room) if name == "chat.message"] == []


@pytest.mark.parametrize("name", ["live.join", "live.leave", "live.ack", "live.auth", "live.hello"])
async def test_what_only_a_websocket_has_is_unknown(post: Post, cell: Cell, room: str, name: str) -> None:
    answer = await post(cell.caller("bob"), [name, {}, {"room": room, "id": new_id()}])
    assert answer.status_code == 200
    assert [(vector[0], vector[1]["code"]) for vector in answer.json()] == [("live.error", "unknown_name")]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_another_method_is_405(post: Post, cell: Cell, method: str) -> None:
    answer = await post(cell.caller("bob"), method=method)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"


async def test_a_body_that_is_far_too_large_is_refused(post: Post, cell: Cell, room: str) -> None:
    for size in (70_000, 300_000, 3_000_000):
        try:
            answer = await post(cell.caller("bob"), send(room, "x" * size))
        except httpx.TransportError:  # it may hang up before it has read all
            assert size > 2 * 65_536
        else:
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert (await post(cell.caller("bob"), send(room))).status_code == 200


async def test_no_answer_may_be_kept(post: Post, cell: Cell, room: str) -> None:
    answer = await post(cell.caller("bob"), send(room))
    assert "no-store" in answer.headers["cache-control"]
    assert "access-control-allow-origin" not in answer.headers

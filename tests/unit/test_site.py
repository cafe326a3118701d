"""What ``replay`` does when the site answers late, twice, wrongly or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from rooms.client import outbox
from rooms.management.cast import Voice
from rooms.management.site import NotSaid, Site

VOICE = Voice("the-session", "the-token")

Answer = httpx.Response | Exception | Callable[[str], Any]  # the last: the frame for this id


def said(id: str) -> list[Any]:
    return [["live.ok", {"seq": 1}, {"re": id}]]


def refused(code: str, detail: str = "No.", **more: Any) -> Callable[[str], list[Any]]:
    return lambda re: [["live.error", {"code": code, "detail": detail, "temporary": False, **more}, {"re": re}]]


class Network(httpx.AsyncBaseTransport):
    """Gives the answers in turn, the last one for ever; keeps the requests, with when they came."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []

    @property
    def ids(self) -> list[str]:
        return [json.loads(request.content)[0][2]["id"] for request in self.requests]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return httpx.Response(200, json=answer(self.ids[-1]))


def say(network: Network, text: str = "hello", *, patience: float = 5.0, url: str = "http://site.example") -> Site:
    async def run() -> Site:
        async with Site(url, "acme", "ubuntu", patience=patience, transport=network) as there:
            await there.say(VOICE, text)
        return there

    return asyncio.run(run())


def test_a_message_is_a_command_with_the_session_and_its_token() -> None:
    network = Network(said)
    say(network, " caf\u00e9\t\x02\u2028\r ")
    (request,) = network.requests
    assert (request.method, request.url) == ("POST", "http://site.example/live/commands")
    ((name, data, meta),) = json.loads(request.content)
    assert (name, data) == ("chat.send", {"text": " caf\u00e9\t\x02\u2028\r "})
    assert meta.keys() == {"room", "id"}
    assert meta["room"] == "acme/ubuntu"
    assert len(meta["id"]) == 22  # 128 bits in base64
    assert request.headers["Cookie"] == "sessionid=the-session; csrftoken=the-token"
    assert request.headers["X-CSRFToken"] == "the-token"
    assert "Origin" not in request.headers


def test_over_https_it_says_where_it_comes_from() -> None:
    network = Network(said)
    say(network, url="https://site.example/")
    assert network.requests[0].headers["Origin"] == "https://site.example"


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        httpx.RemoteProtocolError("gone"),
        httpx.Response(500, text="<h1>Server Error</h1>"),
        httpx.Response(503, json={"code": "unavailable", "detail": "Later.", "temporary": True}),
        httpx.Response(429, json={"code": "rate_limited", "detail": "Slower.", "temporary": True, "retry_after_ms": 1}),
        httpx.Response(200, text="a page"),
        httpx.Response(200, json=[]),
        refused("unavailable", temporary=True),
        refused("rate_limited", temporary=True, retry_after_ms=1),
    ],
)
def test_what_fails_is_sent_again_under_the_same_id(failure: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LEAST", 0.001)
    monkeypatch.setattr(outbox, "backoff", lambda tries, chance: 0.0)
    network = Network(failure, failure, said)
    assert say(network).retries == 2
    assert len(set(network.ids)) == 1
    assert len({request.content for request in network.requests}) == 1


def test_two_messages_have_two_ids() -> None:
    network = Network(said)
    say(network)
    say(network)
    assert len(set(network.ids)) == 2


@pytest.mark.parametrize(
    "late",
    [
        httpx.Response(429, json={"retry_after_ms": 120}),
        httpx.Response(503, headers={"Retry-After": "0.12"}),
        refused("rate_limited", temporary=True, retry_after_ms=120),
    ],
)
def test_it_waits_as_long_as_the_site_says(late: Answer) -> None:
    network = Network(late, said)
    say(network)
    assert network.times[1] - network.times[0] >= 0.12


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refused("forbidden", "You may not do this here."), "You may not do this"),
        (httpx.Response(403, json={"code": "forbidden", "detail": "A page of another site."}), "A page of another"),
        (httpx.Response(401, text="no"), "Unauthorized"),
        (httpx.Response(301, headers={"Location": "https://site.example/"}), "https://site.example/"),
    ],
)
def test_a_refusal_is_final(answer: Answer, reason: str) -> None:
    network = Network(answer)
    with pytest.raises(NotSaid, match=reason):
        say(network)
    assert len(network.requests) == 1


def test_patience_ends() -> None:
    with pytest.raises(NotSaid, match=r"0 seconds: .*503 Later"):
        say(Network(httpx.Response(503, json={"detail": "Later."})), patience=0.2)


def test_cookies_that_the_site_sets_do_not_reach_the_next_speaker() -> None:
    class Setting(Network):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            response.headers["Set-Cookie"] = "sessionid=another; Path=/"
            return response

    network = Setting(said)

    async def run() -> None:
        async with Site("http://site.example", "acme", "ubuntu", transport=network) as there:
            await there.say(VOICE, "one")
            await there.say(Voice("second", "token-2"), "two")

    asyncio.run(run())
    assert [request.headers["Cookie"] for request in network.requests] == [
        "sessionid=the-session; csrftoken=the-token",
        "sessionid=second; csrftoken=token-2",
    ]


def test_nobody_at_the_address() -> None:
    async def run() -> None:
        async with Site("http://site.example", "a", "b", transport=Network(httpx.ConnectError("refused"))) as there:
            await there.greet()

    with pytest.raises(NotSaid, match=r"http://site\.example does not answer \(refused\)"):
        asyncio.run(run())

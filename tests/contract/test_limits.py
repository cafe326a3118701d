"""Over a limit is an answer, on every transport: what was refused passes when the server says, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import httpx
import pytest

from tests.support.cells import CSRF, ROOMS, Cell, Links, metric, path
from tests.support.conversation import PATIENCE, new_id
from tests.support.crowd import Address, Wire
from tests.support.live_clients import Caller, LiveClient, Poll, TurnedAway
from tests.support.sites import Sites

BURST = 10
LIMITS = (
    f"commands_per_user=2/{BURST},writes_per_user=1/5,joins_per_user=1/{BURST},connections_per_user=3,"
    "handshakes_per_address=1/10"
)
UPGRADE = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {'A' * 22}==",
    "Sec-WebSocket-Protocol: live.v1",
]


@pytest.fixture(scope="module")
def limited(cell: Cell, sites: Sites) -> Iterator[Cell]:
    """A site of the same kind, as many nodes, where little is allowed."""
    nodes = len(cell.site.nodes)
    with (
        sites.running(server=cell.server, layer=cell.layer, nodes=nodes, rooms=ROOMS, limits=LIMITS) as site,
        ExitStack() as stack,
    ):
        yield Cell(site, cell.server, cell.layer, stack, rooms_made=60, people_made=90)


@pytest.fixture
async def links(limited: Cell, kind: type[LiveClient]) -> AsyncIterator[Links]:
    async with AsyncExitStack() as stack:
        yield Links(limited, kind, stack)


@pytest.fixture
def room(limited: Cell) -> str:
    return limited.room()


@pytest.fixture
def somebody(limited: Cell) -> Caller:
    """Who has asked for nothing yet, from an address of their own."""
    return limited.newcomer()


def sends(room: str, count: int) -> list[Any]:
    return [["chat.send", {"text": str(number)}, {"room": room, "id": new_id()}] for number in range(count)]


async def say(client: LiveClient, vectors: list[Any]) -> list[Any]:
    """Say these in one frame; gives their answers, in their order."""
    ids = [meta["id"] for _, _, meta in vectors]
    for id in ids:
        client.answers.pop(id, None)
    await client.send(*vectors)
    await client.until(lambda: all(id in client.answers for id in ids))
    return [client.answers[id] for id in ids]


def refusals(answers: list[Any]) -> list[Any]:
    return [data for name, data, _ in answers if name == "live.error"]


async def test_what_is_refused_passes_when_the_server_says(links: Links, room: str, somebody: Caller) -> None:
    client = await links.open(somebody, {room: None})
    said = sends(room, BURST + 3)
    answers = await say(client, said)
    refused = refusals(answers)
    assert [name for name, _, _ in answers[:BURST]] == ["live.ok"] * BURST
    assert 1 <= len(refused) <= 3
    assert {(error["code"], error["temporary"]) for error in refused} == {("rate_limited", True)}
    waits = [error["retry_after_ms"] for error in refused]
    assert waits == sorted(waits) and waits[0] > 0 and waits[-1] <= 500 * len(refused)  # one after the other
    await asyncio.sleep(waits[-1] / 1000)
    again = [vector for vector, (name, _, _) in zip(said, answers, strict=True) if name == "live.error"]
    assert refusals(await say(client, again)) == []
    await client.until(lambda: len(client.texts(room)) == len(said))
    assert len(set(client.texts(room))) == len(said)


async def test_the_repeat_of_what_was_done_is_answered_over_the_limit(
    links: Links, room: str, somebody: Caller
) -> None:
    client = await links.open(somebody, {room: None})
    (first,) = said = sends(room, 1)
    (done,) = await say(client, said)
    more = sends(room, BURST + 2)
    answers = await say(client, [*more, first])
    assert refusals(answers[-3:-1]), "the repeat did not come over the limit"
    assert answers[-1][:2] == done[:2]
    assert client.texts(room).count(first[1]["text"]) <= 2  # its own, and the equal one of the others


async def test_a_flood_is_refused_and_the_connection_lives(links: Links, room: str, somebody: Caller) -> None:
    client = await links.open(somebody, {room: None})
    answers = await say(client, sends(room, 60))
    passed = [name for name, _, _ in answers].count("live.ok")
    assert BURST <= passed <= BURST + 30
    assert max(error["retry_after_ms"] for error in refusals(answers)) <= 5_000  # a whole burst later, and no more
    assert (await client.ask("chat.send", {"text": "x"}, "acme/nowhere"))[1]["code"] in ("rate_limited", "not_found")


async def test_joins_have_a_rate(links: Links, limited: Cell, somebody: Caller) -> None:
    rooms = [limited.room() for _ in range(BURST + 4)]
    client = await links.open(somebody, dict.fromkeys(rooms))
    verdicts = [client.verdict(room) for room in rooms]
    assert verdicts[:BURST] == ["live"] * BURST
    assert "rate_limited" in verdicts[BURST:]
    late = next(data for name, data, _ in client.joins.values() if name == "live.error")
    assert late["temporary"] is True and 0 < late["retry_after_ms"] <= 10_000


async def test_a_user_has_so_many_connections_and_another_when_one_ends(
    links: Links, limited: Cell, room: str, kind: type[LiveClient], somebody: Caller
) -> None:
    if limited.server == "daphne" and kind.transport == "sse":
        pytest.skip("daphne does not tell a stream that its client went until it writes to it")
    node, before = limited.near, metric(limited.near, "rooms_connections")
    clients, polls = [], []
    for number in range(3):
        client = await links.open(somebody, {room: None})
        clients.append(client)
        if isinstance(client, Poll):  # between two polls it has its seat, and lends it to the next of its user
            polls.append(asyncio.create_task(client.poll()))
            await _until(lambda: metric(node, "rooms_connections") == before + number + 1)  # noqa: B023
    with pytest.raises(TurnedAway) as refused:
        await links.open(somebody, {room: None})
    assert refused.value.status in (429, 4429) and refused.value.body["retry_after_ms"] > 0
    assert refused.value.code in ("too_many_connections", "rate_limited")  # a close code says no more
    for task in polls[:1]:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await clients[0].close()

    async def again() -> bool:
        try:
            await links.open(somebody, {room: None})
        except TurnedAway:
            return False
        return True

    await _until(again)
    for task in polls:
        task.cancel()
    await asyncio.gather(*polls, return_exceptions=True)


async def test_an_address_is_let_in_at_a_rate(links: Links, limited: Cell, kind: type[LiveClient]) -> None:
    people = [limited.newcomer(address=f"198.51.100.{len(kind.transport)}") for _ in range(10)]

    async def refused(somebody: Caller) -> tuple[str, int, bool] | None:
        try:
            await (await links.open(somebody)).close()
        except TurnedAway as refused:
            return refused.code, refused.status, 0 < refused.body["retry_after_ms"] <= 45_000
        return None

    outcomes = set(await asyncio.gather(*map(refused, people * 4))) - {None}
    assert outcomes and outcomes <= {("rate_limited", 429, True), ("rate_limited", 4429, True)}


async def test_nodes_share_what_a_user_may_do(links: Links, limited: Cell, room: str, somebody: Caller) -> None:
    if len(limited.site.nodes) == 1:
        pytest.skip("the in-memory layer reaches one process")
    here = await links.open(somebody, {room: None})
    there = await links.open(somebody, {room: None}, on=limited.far)
    assert len(refusals(await say(here, sends(room, BURST + 2)))) >= 1
    passed = 0
    for _ in range(8):
        (answer,) = await say(there, sends(room, 1))
        passed += answer[0] == "live.ok"
    assert passed <= 5  # eight, if it had a limit of its own


async def test_hello_shows_the_rates(links: Links, somebody: Caller) -> None:
    client = await links.open(somebody)
    assert client.hello["limits"] == {
        "commands": {"rate": 2, "burst": BURST},
        "joins": {"rate": 1, "burst": BURST},
        "writes": {"rate": 1, "burst": 5},
    }


# --- once for all transports


@pytest.fixture
def rest(limited: Cell, somebody: Caller) -> Iterator[httpx.Client]:
    cookies = {"sessionid": str(somebody.session), "csrftoken": CSRF}
    headers = {"X-CSRFToken": CSRF, "Referer": limited.far.url}
    with httpx.Client(
        base_url=limited.far.url, cookies=cookies, headers=headers, timeout=30, trust_env=False
    ) as client:
        yield client


def test_rest_writes_have_a_rate_and_repeats_are_answered_over_it(limited: Cell, room: str, rest: httpx.Client) -> None:
    keys = [new_id() for _ in range(9)]
    answers = [rest.post(path(room, "messages/"), json={"text": key}, headers={"Idempotency-Key": key}) for key in keys]
    assert [answer.status_code for answer in answers[:5]] == [201] * 5
    late = next(answer for answer in answers if answer.status_code == 429)
    assert late.json()["code"] == "rate_limited" and late.json()["temporary"] is True
    assert int(late.headers["Retry-After"]) * 1000 >= late.json()["retry_after_ms"] > 0
    repeat = rest.post(path(room, "messages/"), json={"text": keys[0]}, headers={"Idempotency-Key": keys[0]})
    assert repeat.status_code == 201 and repeat.json()["id"] == answers[0].json()["id"]
    assert rest.get(path(room, "messages/")).status_code == 200  # reading is free


def test_tickets_have_the_rate_of_writes(rest: httpx.Client) -> None:
    statuses = [rest.post("/api/tickets/").status_code for _ in range(8)]
    assert statuses[:5] == [201] * 5 and 429 in statuses


async def test_who_does_not_wait_to_be_turned_away_leaves_nothing_behind(limited: Cell) -> None:
    node, name = limited.near, 'rooms_refused_total{code="4429",transport="ws"}'
    before = metric(node, name)
    headers = [*UPGRADE, "X-Forwarded-For: 198.51.100.99"]
    for _ in range(20):
        wire = await Wire.open(Address("127.0.0.1", node.port))
        wire.writer.write("\r\n".join(["GET /live/ws HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode())
        await wire.writer.drain()
        wire.close(reset=True)
    await _until(lambda: metric(node, name) >= before + 5)
    assert "Traceback" not in node.tail(10_000)


async def test_a_tenant_has_limits_of_its_own(limited: Cell) -> None:
    limited.sql("UPDATE rooms_tenant SET limits = ? WHERE slug = 'globex'", '{"commands_per_user": "500/500"}')
    caller = limited.caller("carol", X_Forwarded_For="203.0.113.250")
    async with AsyncExitStack() as stack:
        client = await Links(limited, Poll, stack).open(caller)

        async def all_pass() -> bool:
            return refusals(await say(client, sends("globex/general", 3 * BURST))) == []

        await _until(all_pass)


async def _until(condition: Any) -> None:
    """Ask again until it holds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.05)

"""The protocol over a WebSocket, on the real servers, by a client that was written from docs/protocol.md."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing, suppress
from typing import Any

import httpx
import pytest
import websockets

from tests.support.client import Live, log_in, new_id
from tests.support.sites import Site, Sites

Connect = Callable[..., Awaitable[Live]]

GENERAL = "acme/general"
MESSAGES = "/api/tenants/acme/rooms/general/messages/"


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def site(request: pytest.FixtureRequest, sites: Sites) -> Iterator[Site]:
    with sites.running(server=request.param, demo=True) as site:
        yield site


@pytest.fixture(scope="module")
def alice(site: Site) -> Iterator[httpx.Client]:
    with closing(log_in(site.url, "alice")) as client:
        yield client


@pytest.fixture(scope="module")
def bob(site: Site) -> Iterator[httpx.Client]:
    with closing(log_in(site.url, "bob")) as client:
        yield client


@pytest.fixture(scope="module")
def carol(site: Site) -> Iterator[httpx.Client]:
    with closing(log_in(site.url, "carol")) as client:
        yield client


@pytest.fixture
async def connect(site: Site) -> AsyncIterator[Connect]:
    """Opens sockets that are closed at the end of the test."""
    async with AsyncExitStack() as stack:

        async def open_one(session: httpx.Client | None, **options: Any) -> Live:
            live = await Live.open(site.ws_url, session, **options)
            stack.push_async_callback(live.socket.close)
            return live

        yield open_one


def metric(site: Site, name: str) -> float:
    """The sum of a metric over its labels, from loopback."""
    lines = httpx.get(f"{site.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


async def test_hello_says_who_and_on_which_terms(connect: Connect, alice: httpx.Client) -> None:
    live = await connect(alice)
    assert live.socket.subprotocol == "live.v1"
    assert live.hello["protocol"] == 1
    assert live.hello["user"]["name"].startswith("Alice")
    assert (live.hello["window"], live.hello["max_frame_bytes"], live.hello["max_rooms"]) == (256, 65536, 100)
    assert (await connect(alice, ack=False)).hello["window"] is None


async def test_a_join_with_the_cursor_of_a_list_misses_nothing_in_between(
    connect: Connect, alice: httpx.Client, bob: httpx.Client
) -> None:
    room, _, cursor = alice.get(MESSAGES).headers["Live-Cursor"].partition("@")
    assert room == GENERAL
    for number in range(5):
        assert bob.post(MESSAGES, json={"text": f"between {number}"}).status_code == 201
    live = await connect(alice)
    answer = await live.join(GENERAL, cursor=cursor)
    assert answer["verdict"] == "resumed"
    assert answer["cursor"] == cursor
    assert {"read", "write"} <= set(answer["can"])
    bob.post(MESSAGES, json={"text": "after"})
    await live.until(lambda: "after" in live.texts(GENERAL))
    assert live.texts(GENERAL) == [*(f"between {number}" for number in range(5)), "after"]
    start = int(cursor.split(":")[1])
    assert [meta["seq"] for _, _, meta in live.events] == list(range(start + 1, start + 7))


async def test_a_repeated_id_gets_the_first_answer_on_every_connection_and_over_rest(
    connect: Connect, alice: httpx.Client
) -> None:
    one, other = await connect(alice), await connect(alice)
    await one.join(GENERAL)
    id, data = new_id(), {"text": "once"}
    first = await one.ask("chat.send", data, GENERAL, id=id)
    assert first[0] == "live.ok"
    assert await one.ask("chat.send", data, GENERAL, id=id) == first
    assert await other.ask("chat.send", data, GENERAL, id=id) == first  # not even joined there
    rest = alice.post(MESSAGES, json=data, headers={"Idempotency-Key": id})
    assert (rest.status_code, rest.json()["id"]) == (201, first[1]["message"])
    reused = await other.ask("chat.send", {"text": "twice"}, GENERAL, id=id)
    assert reused[1]["code"] == "id_reused"
    await one.ask("chat.send", {"text": "last"}, GENERAL)
    await one.until(lambda: "last" in one.texts(GENERAL))
    assert one.texts(GENERAL) == ["once", "last"]


async def test_edits_deletions_and_reactions_reach_everybody_and_a_deleted_text_leaves_the_log(
    connect: Connect, alice: httpx.Client, bob: httpx.Client
) -> None:
    live, other = await connect(alice), await connect(bob)
    start = await other.join(GENERAL)
    _, sent, _ = await live.ask("chat.send", {"text": "a secret"}, GENERAL)
    message = sent["message"]
    _, edited, _ = await live.ask("chat.edit", {"message": message, "text": "another secret", "version": 1}, GENERAL)
    assert edited == {"seq": sent["seq"] + 1, "version": 2}
    late = await live.ask("chat.edit", {"message": message, "text": "too late", "version": 1}, GENERAL)
    assert (late[1]["code"], late[1]["version"]) == ("conflict", 2)
    assert (await other.ask("chat.edit", {"message": message, "text": "mine"}, GENERAL))[1]["code"] == "forbidden"
    assert (await other.ask("chat.react", {"message": message, "emoji": "👍"}, GENERAL))[0] == "live.ok"
    _, deleted, _ = await live.ask("chat.delete", {"message": message}, GENERAL)
    await other.until(lambda: other.events and other.events[-1][2].get("seq") == deleted["seq"])
    assert [name for name, _, _ in other.events] == [
        "chat.message", "chat.edited", "chat.reaction", "chat.reaction", "chat.deleted",
    ]  # fmt: skip
    assert other.events[3][1] is None  # its reaction is gone
    again = await connect(bob)
    await again.join(GENERAL, cursor=start["cursor"])
    await again.until(lambda: again.events and again.events[-1][2].get("seq") == deleted["seq"])
    assert "secret" not in json.dumps(again.events)
    assert again.events[0][1]["message"] | {"deleted": True} == again.events[0][1]["message"]


async def test_the_verdict_is_reset_where_the_history_cannot_be_followed(connect: Connect, alice: httpx.Client) -> None:
    live = await connect(alice)
    epoch, head = (await live.join(GENERAL))["cursor"].split(":")
    for cursor in (f"{'0' * 16}:1", f"{epoch}:{int(head) + 1_000}", f"{epoch}:{2**52}"):
        answer = await live.join(GENERAL, cursor=cursor)
        assert (answer["verdict"], answer["cursor"]) == ("reset", f"{epoch}:{answer['head']}")
    assert (await live.ask("live.join", {"cursor": "nonsense"}, GENERAL))[1]["code"] == "bad_data"
    both = await live.ask("live.join", {"cursor": f"{epoch}:1", "state": True}, GENERAL)
    assert both[1]["code"] == "bad_data"


async def test_state_comes_first_and_is_the_present_value_of_each_key(connect: Connect, alice: httpx.Client) -> None:
    live = await connect(alice)
    _, sent, _ = await live.ask("chat.send", {"text": "vote"}, GENERAL)
    for emoji, on in (("👍", True), ("👎", True), ("👍", False), ("🎉", True)):
        await live.ask("chat.react", {"message": sent["message"], "emoji": emoji, "on": on}, GENERAL)
    late = await connect(alice)
    answer = await late.join(GENERAL, state=True)
    assert answer["verdict"] == "live"
    await live.ask("chat.send", {"text": "and on"}, GENERAL)
    await late.until(lambda: "and on" in late.texts(GENERAL))
    mine = [(name, meta) for name, data, meta in late.events if data and data.get("message") == sent["message"]]
    assert [meta["key"].rpartition(":")[2] for _, meta in mine] == ["👎", "🎉"]
    seqs = [meta["seq"] for _, _, meta in late.events]
    assert seqs == sorted(seqs)
    assert all(seq <= answer["head"] for seq in seqs[:-1])


async def test_leaving_ends_the_events_of_that_room_alone(connect: Connect, alice: httpx.Client) -> None:
    live = await connect(alice)
    await live.join(GENERAL)
    await live.join("acme/random")
    assert (await live.ask("live.leave", {}, GENERAL))[1] == {}
    assert (await live.ask("live.leave", {}, GENERAL))[1]["code"] == "not_joined"
    await live.ask("chat.send", {"text": "unheard"}, GENERAL)  # the right counts, not the join
    await live.ask("chat.send", {"text": "heard"}, "acme/random")
    await live.until(lambda: live.texts("acme/random") == ["heard"])
    assert live.texts(GENERAL) == []


async def test_commands_of_one_connection_take_effect_in_their_order(connect: Connect, alice: httpx.Client) -> None:
    live = await connect(alice)
    await live.join("acme/random")
    texts = [f"line {number}" for number in range(200)]
    await live.send(*(["chat.send", {"text": text}, {"room": "acme/random", "id": new_id()}] for text in texts))
    await live.until(lambda: len(live.texts("acme/random")) == 200)
    assert live.texts("acme/random") == texts


async def test_the_server_keeps_to_the_window_and_a_client_that_catches_up_misses_nothing(
    connect: Connect, alice: httpx.Client, bob: httpx.Client
) -> None:
    sender, live = await connect(alice), await connect(bob)
    await live.join("acme/random")
    live.acknowledges = False
    texts = [f"flood {number}" for number in range(400)]
    for text in texts:  # one by one: each is a frame of its own as long as there is credit
        await sender.ask("chat.send", {"text": text}, "acme/random")
    control = await live.ask("live.leave", {}, "acme/nowhere")  # control frames go out without credit
    assert control[1]["code"] == "not_joined"
    assert live.counted <= live.hello["window"]
    assert len(live.texts("acme/random")) < 400
    live.acknowledges = True
    await live.send(["live.ack", {"frames": live.counted}])
    await live.until(lambda: len(live.texts("acme/random")) == 400)
    assert live.texts("acme/random") == texts
    await live.send(["live.ack", {"frames": live.counted + 100}])  # whoever is here may be told meanwhile
    assert await live.closed() == 4500


@pytest.mark.parametrize(
    "room", ["acme/general", "acme/board", "acme/lobby", "acme/~all", "acme/~me", "acme/general~mods"]
)
async def test_what_one_may_not_know_of_is_what_does_not_exist(
    connect: Connect, carol: httpx.Client, room: str
) -> None:
    live = await connect(carol)
    ids = {"there": new_id(), "not there": new_id()}
    for name, data in [
        ("live.join", {}),
        ("live.join", {"state": True}),
        ("live.join", {"cursor": "e7a1:41"}),
        ("chat.send", {"text": "hello?"}),
        ("chat.read", {"seq": 1}),
        ("chat.typing", {}),
        ("chat.react", {"message": "1", "emoji": "👍"}),
    ]:
        known = await live.ask(name, data, room, id=ids["there"])
        unknown = await live.ask(name, data, "acme/nowhere", id=ids["not there"])
        nobody = await live.ask(name, data, "nobody/nowhere", id=ids["not there"])
        assert known[0] == unknown[0] == "live.error"
        assert known[1] == unknown[1] == nobody[1]
        assert known[1]["code"] == "not_found"
        assert "acme" not in json.dumps(known)


HOSTILE: list[tuple[str, Any, str]] = [
    ("malformed JSON", '[["chat.send"', "bad_frame"),
    ("an empty frame", "", "bad_frame"),
    ("no array", '{"a": 1}', "bad_frame"),
    ("a binary frame", b"[]", "bad_frame"),
    ("nesting 10,000 deep", "[" * 10_000 + "]" * 10_000, "bad_frame"),
    ("nesting 33 deep", "[" * 33 + "]" * 33, "bad_frame"),
    ("a lone surrogate", '[["chat.send", {"text": "\\ud800"}]]', "bad_frame"),
    ("100 KB", json.dumps([["chat.send", {"text": "x" * 100_000}]]), "too_large"),
    ("a vector that is none", "[1]", "bad_data"),
    ("an unknown name", '[["chat.shout", {}]]', "unknown_name"),
    ("an unknown name of the protocol", '[["live.shout", {}]]', "unknown_name"),
    ("an effect without an id", f'[["chat.send", {{"text": "x"}}, {{"room": "{GENERAL}"}}]]', "id_required"),
    ("a join without an id", f'[["live.join", {{}}, {{"room": "{GENERAL}"}}]]', "id_required"),
    ("a short id", f'[["chat.send", {{"text": "x"}}, {{"room": "{GENERAL}", "id": "short"}}]]', "bad_data"),
    ("an id that is a number", f'[["chat.send", {{"text": "x"}}, {{"room": "{GENERAL}", "id": 7}}]]', "bad_data"),
    ("no room", '[["chat.send", {"text": "x"}, {"id": "0123456789abcdef"}]]', "bad_data"),
    ("a wrong type", f'[["chat.send", {{"text": 7}}, {{"room": "{GENERAL}", "id": "0123456789abcdef"}}]]', "bad_data"),
    ("no text", f'[["chat.send", {{"text": ""}}, {{"room": "{GENERAL}", "id": "0123456789abcdef"}}]]', "bad_data"),
    (
        "text of 8,001 characters",
        json.dumps([["chat.send", {"text": "x" * 8_001}, {"room": GENERAL, "id": "0123456789abcdef"}]]),
        "bad_data",
    ),
    (
        "an unknown field",
        f'[["chat.send", {{"text": "x", "colour": 1}}, {{"room": "{GENERAL}", "id": "0123456789abcdef"}}]]',
        "bad_data",
    ),
    (
        "U+0000",
        f'[["chat.send", {{"text": "\\u0000"}}, {{"room": "{GENERAL}", "id": "0123456789abcdef"}}]]',
        "bad_data",
    ),
    ("U+0000 in a room", '[["live.join", {}, {"room": "acme/\\u0000", "id": "0123456789abcdef"}]]', "bad_data"),
    ("an unknown room", '[["live.join", {}, {"room": "no/where", "id": "0123456789abcdef"}]]', "not_found"),
    ("a room that is no address", '[["live.join", {}, {"room": "", "id": "0123456789abcdef"}]]', "not_found"),
    (
        "a seq beyond the database",
        f'[["chat.read", {{"seq": {2**70}}}, {{"room": "{GENERAL}", "id": "0123456789abcdef"}}]]',
        "bad_data",
    ),
]


@pytest.mark.parametrize(("frame", "code"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
async def test_hostile_input_is_answered_and_harms_nothing(
    connect: Connect, alice: httpx.Client, frame: Any, code: str
) -> None:
    live = await connect(alice)
    await live.socket.send(frame)
    await live.until(lambda: live.errors or live.answers)
    error = live.errors[0] if live.errors else next(iter(live.answers.values()))[1]
    assert error["code"] == code
    assert "acme" not in error["detail"]
    assert (await live.ask("chat.send", {"text": "still here"}, GENERAL))[0] == "live.ok"


async def test_a_malformed_vector_refuses_only_itself(connect: Connect, alice: httpx.Client) -> None:
    live = await connect(alice)
    first, second = new_id(), new_id()
    await live.send(
        ["chat.send", {"text": "one"}, {"room": GENERAL, "id": first}],
        ["chat.send", 7, {"room": GENERAL, "id": "broken"}],
        "not a vector",
        ["chat.send", {"text": "two"}, {"room": GENERAL, "id": second}],
    )
    await live.until(lambda: {first, second, "broken"} <= live.answers.keys() and live.errors)
    assert [live.answers[id][0] for id in (first, "broken", second)] == ["live.ok", "live.error", "live.ok"]


async def test_the_fifth_broken_frame_in_a_minute_closes(connect: Connect, alice: httpx.Client) -> None:
    live = await connect(alice)
    for _ in range(5):
        await live.socket.send("nonsense")
    assert await live.closed() == 4500
    assert [error["code"] for error in live.errors] == ["bad_frame"] * 5
    assert live.bye is not None
    assert live.bye["code"] == 4500


@pytest.mark.parametrize(("size", "codes"), [(300_000, {1009, 4500}), (10_000_000, {1006, 1009, 4500})])
async def test_a_frame_above_twice_the_limit_closes_and_nobody_else_notices(
    connect: Connect, alice: httpx.Client, bob: httpx.Client, size: int, codes: set[int]
) -> None:
    """uvicorn closes it with 1009, we with 4500 on daphne, which drops what is above its own limit without a word."""
    live, other = await connect(alice), await connect(bob)
    await other.join(GENERAL)
    with suppress(websockets.ConnectionClosed):  # it may close before it has read all
        await live.socket.send("x" * size)
    assert await live.closed() in codes
    assert (await other.ask("chat.send", {"text": "unharmed"}, GENERAL))[0] == "live.ok"


async def test_a_refused_handshake_is_accepted_told_and_closed(connect: Connect, alice: httpx.Client) -> None:
    for session, options, code in [
        (None, {}, 4501),
        (alice, {"origin": "http://evil.example"}, 4503),
        (alice, {"subprotocols": None}, 4500),
        (alice, {"subprotocols": ["chat"]}, 4500),
    ]:
        live = await connect(session, **options)
        assert live.bye is not None
        assert live.bye["code"] == code
        assert await live.closed() == code


async def test_nothing_is_left_behind_when_connections_end_in_every_way(
    connect: Connect, site: Site, alice: httpx.Client
) -> None:
    for number in range(12):
        live = await connect(alice)
        await live.join(GENERAL)
        await live.join("acme/random")
        if number % 3 == 0:
            await live.socket.close()
        elif number % 3 == 1:
            live.socket.transport.abort()
        else:
            await live.send(["live.ack", {"frames": 10**6}])
            assert await live.closed() == 4500
    last = await connect(alice)  # something to wait on: its answers come in later turns of the loop
    for _ in range(200):
        await last.ask("live.leave", {}, "acme/nowhere")
        if metric(site, "rooms_feeds") == 0:
            break
    assert metric(site, "rooms_feeds") == 0
    assert metric(site, "rooms_connections") >= 1  # the last one, and what other tests left open

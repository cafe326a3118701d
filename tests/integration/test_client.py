"""The client for programs against the real site, over each transport: what it promises, it promises on all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest

from rooms.client import Closed, Event, Left, Live, LiveError, Phase, Reset, Room, connect, websocket
from rooms.client.conversation import BACKLOG
from tests.support.cells import Cell, metric, path
from tests.support.client import log_in
from tests.support.sites import Sites

# It is the client's end that is looked at; the server's is in the contract, on both backends.
pytestmark = pytest.mark.any_backend

PATIENCE = 60.0  # seconds until a test fails: on a busy machine a node takes 15 to start
WAYS: dict[str, dict[str, Any]] = {
    "ws": {"transport": "ws"},
    "msgpack": {"transport": "ws", "format": "msgpack"},
    "sse": {"transport": "sse"},
    "poll": {"transport": "poll"},
}


@pytest.fixture(scope="module")
def cell(sites: Sites) -> Iterator[Cell]:
    """One node that many tests share."""
    rooms = {"GRANT_TTL": 3, "HEAL_INTERVAL": 0.5, "WINDOW": 16}
    with sites.running(rooms=rooms, demo=True, env={"ROOMS_LIMITS": "off"}) as site, ExitStack() as stack:
        yield Cell(site, "uvicorn", "memory", stack)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    return WAYS[request.param]


@pytest.fixture
def room(cell: Cell) -> str:
    return cell.room()


@pytest.fixture
async def dial(cell: Cell, way: dict[str, Any]) -> AsyncIterator[Callable[..., Any]]:
    """``await dial("alice")``: connected, by ticket; closed at the end of the test."""
    async with AsyncExitStack() as stack:

        async def opened(who: str, **options: Any) -> Live:
            login = {} if options.keys() & {"session", "ticket"} else {"ticket": lambda: cell.ticket(who)}
            url = options.pop("url", cell.near.url)
            return await stack.enter_async_context(connect(url, trust_env=False, **way, **login, **options))

        async with asyncio.timeout(3 * PATIENCE):
            yield opened


async def take(room: Room, wanted: int, name: str = "chat.message") -> list[Event]:
    """The next so many events of this name, and what came between, but for who is here."""
    taken: list[Event] = []
    async with asyncio.timeout(PATIENCE):
        while sum(event.name == name for event in taken) < wanted:
            event = await anext(room)
            if not event.name.startswith("presence."):
                taken.append(event)
    return taken


def texts(events: list[Event]) -> list[str]:
    return [event.data["message"]["text"] for event in events if event.name == "chat.message"]


# --- speaking and hearing --------------------------------------------------------------------------------------------


async def test_what_is_said_is_answered_and_heard(cell: Cell, dial: Callable[..., Any], room: str) -> None:
    live = await dial("alice")
    followed = await live.room(room).joined()
    answer = await followed.send("chat.send", {"text": "hi"})
    (event,) = await take(followed, 1)
    assert event.data["message"]["id"] == answer["message"]
    assert event.seq == answer["seq"]
    assert event.by == cell.user("alice") == live.user.id
    assert event.cursor == followed.cursor == cell.cursor(room)
    assert event.at is not None
    assert event.room == room


async def test_many_rooms_on_one_connection(cell: Cell, dial: Callable[..., Any]) -> None:
    live = await dial("bob")
    rooms = [await live.room(cell.room()).joined() for _ in range(3)]
    for number in range(5):
        for followed in rooms:
            await live.send("chat.send", {"text": f"{number}"}, room=followed.name)
    for followed in rooms:
        assert texts(await take(followed, 5)) == ["0", "1", "2", "3", "4"]


async def test_from_a_cursor_on(cell: Cell, dial: Callable[..., Any], room: str) -> None:
    before = cell.cursor(room)
    cell.say("bob", room, "one", "two", "three")
    followed = (await dial("alice")).room(room, cursor=before)
    events = await take(followed, 3)
    assert texts(events) == ["one", "two", "three"]
    rest = (await dial("alice")).room(room, cursor=events[0].cursor)
    assert texts(await take(rest, 2)) == ["two", "three"]


async def test_a_place_that_is_gone_is_a_reset(cell: Cell, dial: Callable[..., Any], room: str) -> None:
    cell.say("bob", room, "old")
    followed = (await dial("alice")).room(room, cursor="abc:1")
    reset = await anext(followed)
    assert isinstance(reset, Reset)
    assert reset.cursor == followed.cursor == cell.cursor(room)
    cell.say("bob", room, "new")
    assert texts(await take(followed, 1)) == ["new"]


async def test_a_session_speaks_too(cell: Cell, dial: Callable[..., Any], room: str) -> None:
    client = cell.rest("erin")
    cookies = {name: client.cookies[name] for name in ("sessionid", "csrftoken")}
    live = await dial("erin", session=cookies)
    await live.opened()
    assert live.user.id == cell.user("erin")
    with pytest.raises(LiveError) as refused:
        await live.send("chat.send", {"text": "guests are not in this room"}, room="acme/no-such-room")
    assert refused.value.code == "not_found"


async def test_who_only_looks_in_is_not_there(cell: Cell, dial: Callable[..., Any], room: str) -> None:
    """Not on the next connection either."""

    def there() -> list[str]:
        return [person["user"]["id"] for person in cell.rest("erin").get(path(room, "presence/")).json()["people"]]

    async def told(followed: Room, user: str) -> None:
        """Wait until it heard that this one is there, too."""
        async with asyncio.timeout(PATIENCE):
            while True:
                event = await anext(followed)
                people = event.data.get("people" if event.name == "presence.state" else "joined", [])
                if cell.user(user) in [person["user"]["id"] for person in people]:
                    return

    recorder = await (await dial("alice")).room(room, present=False).joined()
    await (await dial("bob")).room(room).joined()
    await told(recorder, "bob")
    again = await (await dial("alice")).room(room, present=False, cursor=recorder.cursor).joined()
    cell.say("bob", room, "hi")
    assert texts(await take(again, 1)) == ["hi"]
    await (await dial("dave")).room(room).joined()
    await told(recorder, "dave")
    assert there() == [cell.user("bob"), cell.user("dave")]


async def test_leaving(cell: Cell, dial: Callable[..., Any], room: str) -> None:
    live = await dial("alice")
    async with live.room(room) as followed:
        await followed.joined()
    assert [event async for event in followed] == []
    cell.say("bob", room, "unheard")
    again = await live.room(room).joined()
    cell.say("bob", room, "heard")
    assert texts(await take(again, 1)) == ["heard"]


# --- what is refused -------------------------------------------------------------------------------------------------


async def test_a_refused_command_raises_what_the_server_said(cell: Cell, dial: Callable[..., Any], room: str) -> None:
    live = await dial("alice")
    for name, data, code in (
        ("chat.send", {"text": ""}, "bad_data"),
        ("chat.shout", {}, "unknown_name"),
        ("chat.edit", {"message": "1", "text": "x"}, "not_found"),
        ("chat.send", {"text": "x" * 70_000}, "too_large"),
        ("chat.send", {"text": "\ud800"}, "bad_data"),
    ):
        with pytest.raises(LiveError) as refused:
            await live.send(name, data, room=room)
        assert (refused.value.code, refused.value.temporary) == (code, False)
        assert refused.value.id
    said = await live.send("chat.send", {"text": "it goes on"}, room=room)
    await live.send("chat.edit", {"message": said["message"], "text": "edited"}, room=room)
    with pytest.raises(LiveError) as conflict:
        await live.send("chat.edit", {"message": said["message"], "text": "again", "version": 1}, room=room)
    assert (conflict.value.code, conflict.value.version) == ("conflict", 2)


async def test_a_room_that_one_may_not_know_of(dial: Callable[..., Any], cell: Cell) -> None:
    private = cell.room(visibility="private")
    live = await dial("bob")
    refused = live.room(private)
    with pytest.raises(LiveError, match="not_found"):
        await anext(refused)
    await live.room("acme/general").joined()


async def test_a_right_that_is_lost_ends_the_room(cell: Cell, dial: Callable[..., Any]) -> None:
    private = cell.room(visibility="private")
    bob = {"user": cell.user("bob")}
    assert cell.rest("alice").post(path(private, "members/"), json=bob).status_code == 201
    live = await dial("bob")
    followed = await live.room(private).joined()
    assert cell.rest("alice").delete(path(private, f"members/{bob['user']}/")).status_code == 204
    async with asyncio.timeout(PATIENCE):
        events = [event async for event in followed]
    assert isinstance(events[-1], Left)
    assert events[-1].code in ("revoked", "not_found")  # a poll may ask again before it is told
    assert live.state.phase is Phase.OPEN


async def test_nobody_is_turned_away_for_good(cell: Cell, dial: Callable[..., Any]) -> None:
    live = await dial("nobody", ticket="forged")
    with pytest.raises(Closed) as closed:
        await live.opened()
    assert closed.value.close == 4501
    with pytest.raises(Closed):
        await live.send("chat.send", {"text": "hi"}, room="acme/general")


async def test_a_ticket_that_is_refused_is_renewed_once(cell: Cell, dial: Callable[..., Any]) -> None:
    tickets = iter(["forged", cell.ticket("alice")])
    live = await dial("alice", ticket=lambda: next(tickets))
    await live.opened()
    assert live.user.id == cell.user("alice")
    forged = iter(["forged", "forged", "unused"])
    live = await dial("alice", ticket=lambda: next(forged))
    with pytest.raises(Closed, match="4501"):
        await live.opened()
    assert list(forged) == ["unused"]


# --- once, however often it is said ----------------------------------------------------------------------------------


async def test_commands_in_order_and_each_once(cell: Cell, dial: Callable[..., Any], room: str) -> None:
    live = await dial("alice")
    followed = await live.room(room).joined()
    said = [asyncio.create_task(followed.send("chat.send", {"text": f"{number}"})) for number in range(250)]
    heard = await take(followed, 250)
    answers = await asyncio.gather(*said)
    assert texts(heard) == [f"{number}" for number in range(250)]
    assert [answer["seq"] for answer in answers] == [event.seq for event in heard]


async def test_the_same_id_is_one_effect(cell: Cell, dial: Callable[..., Any], room: str) -> None:
    first, second = await dial("alice"), await dial("alice")
    id = "the-same-id-for-both"
    answers = [
        await live.send("chat.send", {"text": "once"}, room=room, id=f"{id}-{room.partition('/')[2]}")
        for live in (first, second)
    ]
    assert answers[0] == answers[1]
    assert [name for name, *_ in cell.history(room)].count("chat.message") == 1
    with pytest.raises(LiveError, match="id_reused"):
        await first.send("chat.send", {"text": "other"}, room=room, id=f"{id}-{room.partition('/')[2]}")


# --- connections that end --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fragile(sites: Sites) -> Iterator[Cell]:
    """A node that tests kill, and start again."""
    rooms = {"GRANT_TTL": 3, "HEAL_INTERVAL": 0.5, "WINDOW": 16, "TICKET_TTL": 5, "IDLE_TIMEOUT": 1, "STALL_TIMEOUT": 2}
    with sites.running(rooms=rooms, demo=True, env={"ROOMS_LIMITS": "off"}) as site, ExitStack() as stack:
        yield Cell(site, "uvicorn", "memory", stack)


@pytest.fixture(params=["ws", "sse", "poll"])
def own(request: pytest.FixtureRequest, fragile: Cell) -> tuple[Cell, dict[str, Any]]:
    """It, and a way to it, with a session: it outlives the node."""
    client = fragile.rest("alice")
    cookies = {name: client.cookies[name] for name in ("sessionid", "csrftoken")}
    return fragile, {**WAYS[request.param], "session": cookies, "trust_env": False}


async def phases(live: Live, *wanted: Phase) -> list[Any]:
    """Watch until these have come in this order; gives their states."""
    seen: list[Any] = []
    async with asyncio.timeout(PATIENCE):
        async for state in live.states():
            if state.phase is wanted[len(seen)]:
                seen.append(state)
            if len(seen) == len(wanted):
                return seen
    raise AssertionError(f"closed after {seen}")


async def connected(cell: Cell, count: int) -> None:
    """Return when the node holds so many connections; a poll is one while it waits."""
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(metric, cell.near, "rooms_connections") != count:
            await asyncio.sleep(0.02)


async def test_a_node_that_is_killed_and_comes_back(own: tuple[Cell, dict[str, Any]]) -> None:
    cell, way = own
    room = cell.room()
    async with connect(cell.near.url, **way) as live:
        followed = await live.room(room).joined()
        before = [await followed.send("chat.send", {"text": f"before {number}"}) for number in range(3)]
        assert texts(await take(followed, 3)) == ["before 0", "before 1", "before 2"]
        watching = asyncio.create_task(phases(live, Phase.OPEN, Phase.RECONNECTING, Phase.OPEN))
        await asyncio.to_thread(cell.near.kill)
        said = [asyncio.create_task(followed.send("chat.send", {"text": f"after {number}"})) for number in range(5)]
        await asyncio.to_thread(cell.near.start)
        cell.say("bob", room, "from bob")
        heard = await take(followed, 6)
        answers = await asyncio.gather(*said)
        assert sorted(texts(heard)) == ["after 0", "after 1", "after 2", "after 3", "after 4", "from bob"]
        assert [text for text in texts(heard) if text != "from bob"] == [f"after {number}" for number in range(5)]
        assert [event.seq for event in heard if event.name == "chat.message"] == sorted(
            event.seq for event in heard if event.name == "chat.message"
        )
        assert {answer["seq"] for answer in answers} < {event.seq for event in heard}
        assert before[-1]["seq"] < min(answer["seq"] for answer in answers)
        reconnecting = (await watching)[1]
        assert reconnecting.retry_at is not None
        assert reconnecting.reason
        assert live.violations == 0


async def test_a_node_that_is_replaced_says_when_to_come_back(own: tuple[Cell, dict[str, Any]]) -> None:
    cell, way = own
    room = cell.room()
    async with connect(cell.near.url, **way) as live:
        followed = await live.room(room).joined()
        watching = asyncio.create_task(phases(live, Phase.OPEN, Phase.RECONNECTING, Phase.OPEN))
        await connected(cell, 1)  # a poll too, that waits: between two of them it is the network that ends
        await asyncio.to_thread(cell.site.restart)
        assert (await watching)[1].code == 4412
        await followed.send("chat.send", {"text": "on the new one"})
        assert texts(await take(followed, 1)) == ["on the new one"]


async def test_commands_are_said_again_until_they_are_answered(own: tuple[Cell, dict[str, Any]]) -> None:
    """The node is killed again and again while somebody speaks: every line is there once, in order."""
    cell, way = own
    room = cell.room()
    async with connect(cell.near.url, **way) as live:
        followed = await live.room(room).joined()

        async def speak() -> None:
            for number in range(150):
                await followed.send("chat.send", {"text": f"{number}"})

        async def harm() -> None:
            for _ in range(3):
                await take(followed_too, 5)
                await asyncio.to_thread(cell.near.kill)
                await asyncio.to_thread(cell.near.start)

        async with connect(cell.near.url, **{**way, "transport": "ws"}) as other:
            followed_too = await other.room(room).joined()
            harming = asyncio.create_task(harm())
            speaking = asyncio.create_task(speak())
            async with asyncio.timeout(3 * PATIENCE):
                heard = await take_slowly(followed, 150)
                await speaking
                harming.cancel()
                await asyncio.gather(harming, return_exceptions=True)
        assert heard == [f"{number}" for number in range(150)]
        said = [data["message"]["text"] for name, data, _ in cell.history(room) if name == "chat.message"]
        assert said == heard
        assert live.violations == 0
        assert live.reconnects > 0


async def take_slowly(room: Room, wanted: int) -> list[str]:
    heard: list[str] = []
    while len(heard) < wanted:
        heard += texts([await anext(room)])
    return heard


async def test_a_login_that_ends(own: tuple[Cell, dict[str, Any]]) -> None:
    cell, way = own
    client = await asyncio.to_thread(log_in, cell.near.url, "erin")
    way["session"] = {name: client.cookies[name] for name in ("sessionid", "csrftoken")}
    async with connect(cell.near.url, **way) as live:
        followed = await live.room("acme/general").joined()
        cell.sql("DELETE FROM django_session WHERE session_key = ?", client.cookies["sessionid"])
        with pytest.raises(Closed) as closed:
            async with asyncio.timeout(PATIENCE):
                async for _ in followed:
                    pass
        assert closed.value.close == 4501
        assert live.state.phase is Phase.CLOSED
        with pytest.raises(Closed):
            await followed.send("chat.send", {"text": "too late"})
        with pytest.raises(Closed):
            live.room("acme/random")
    client.close()


@pytest.mark.parametrize(("transport", "wanted"), [("ws", 4), ("sse", 2), ("poll", 2)])
async def test_it_outlives_its_tickets(
    fragile: Cell, transport: Any, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are good for four to five seconds here. A WebSocket shows the new one; the others come back with it."""
    monkeypatch.setattr(websocket, "RENEW_AT", 0.4)
    room, given = fragile.room(), 0
    enough = asyncio.Event()

    async def fresh() -> Any:
        nonlocal given
        given += 1
        if given == wanted:
            enough.set()
        return (await asyncio.to_thread(fragile.rest("bob").post, "/api/tickets/")).json()

    async with connect(fragile.near.url, transport=transport, ticket=fresh, trust_env=False) as live:
        followed = await live.room(room).joined()
        async with asyncio.timeout(PATIENCE):
            number = 0
            while not enough.is_set():
                await followed.send("chat.send", {"text": f"{number}"})
                number += 1
                assert texts(await take(followed, 1)) == [f"{number - 1}"]
        if transport == "ws":
            assert live.reconnects == 0
        assert live.violations == 0


# --- an application that is slow -------------------------------------------------------------------------------------


async def test_a_slow_application_slows_the_server(
    cell: Cell, dial: Callable[..., Any], way: dict[str, Any], room: str
) -> None:
    """What is not taken is bounded, however much is said meanwhile; everything comes, in order, once it is."""
    live = await dial("alice")
    followed = await live.room(room).joined()
    bound = 16 if way["transport"] == "ws" else BACKLOG
    frames, big = live._conversation.flow, "x" * 7_900  # eight of them fill a frame
    async with connect(cell.near.url, ticket=cell.ticket("bob"), trust_env=False) as other:

        async def say(start: int, end: int) -> None:
            await asyncio.gather(
                *(other.send("chat.send", {"text": f"{number} {big}"}, room=room) for number in range(start, end))
            )

        for start in range(0, 600, 50):
            await say(start, start + 50)
            assert len(frames) <= bound
        while len(frames) < bound:
            await asyncio.sleep(0.01)
        await say(600, 700)
        assert len(frames) == bound
        heard = await take(followed, 700)
    assert [text.partition(" ")[0] for text in texts(heard)] == [f"{number}" for number in range(700)]
    assert live.violations == 0
    assert live.reconnects == 0


async def test_one_that_stalls_is_closed_and_misses_nothing(fragile: Cell) -> None:
    """Again and again: each connection brings no more than the window, and only once the last one's is taken."""
    room, client = fragile.room(), fragile.rest("alice")
    cookies = {name: client.cookies[name] for name in ("sessionid", "csrftoken")}
    async with (
        connect(fragile.near.url, session=cookies, trust_env=False) as live,
        connect(fragile.near.url, session=cookies, trust_env=False) as other,
    ):
        followed = await live.room(room).joined()
        for number in range(100):
            await other.send("chat.send", {"text": f"{number}"}, room=room)
        reconnecting = (await phases(live, Phase.RECONNECTING, Phase.OPEN))[0]
        assert reconnecting.code == 4408
        for number in range(100, 200):
            await other.send("chat.send", {"text": f"{number}"}, room=room)
        assert len(live._conversation.flow) <= BACKLOG + 16
        assert texts(await take(followed, 200)) == [f"{number}" for number in range(200)]
        assert live.violations == 0


@pytest.mark.parametrize("transport", ["ws", "sse"])
async def test_a_connection_without_a_room_rests(fragile: Cell, transport: Any) -> None:
    client = fragile.rest("alice")
    cookies = {name: client.cookies[name] for name in ("sessionid", "csrftoken")}
    async with connect(fragile.near.url, session=cookies, trust_env=False, transport=transport) as live:
        await phases(live, Phase.OPEN, Phase.IDLE)
        await live.send("chat.send", {"text": "awake"}, room="acme/general")
        await phases(live, Phase.IDLE)
        await live.room("acme/general").joined()
        assert live.state.phase is Phase.OPEN

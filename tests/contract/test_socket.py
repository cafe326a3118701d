"""What is special to a WebSocket: its subprotocols, joins and leaves in it, flow control, its close codes."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame

from tests.support.cells import HASTY, MAX_ROOMS, Cell, Links
from tests.support.conversation import new_id
from tests.support.live_clients import LiveClient, Packed, Socket, TurnedAway


@pytest.fixture
def kind() -> type[LiveClient]:
    return Socket


@pytest.mark.parametrize("offered", [None, ["chat"], ["live.v2", "ticket.x"], ["LIVE.V1"]], ids=str)
async def test_without_a_subprotocol_that_we_know_it_is_closed(links: Links, offered: list[str] | None) -> None:
    with pytest.raises(TurnedAway) as refused:
        await links.open("bob", subprotocols=offered)
    assert refused.value.status == 4500
    assert refused.value.body["code"] == 4500


async def test_of_several_the_first_that_we_know_is_taken(links: Links, cell: Cell) -> None:
    client = await links.open("bob", subprotocols=["chat", "live.v1", "live.v9"])
    assert client.socket.subprotocol == "live.v1"
    ticket = f"ticket.{cell.ticket('alice')}"
    client = await links.open("bob", subprotocols=[ticket, "live.v1"])
    assert client.socket.subprotocol == "live.v1"  # never the ticket
    assert client.hello["user"]["id"] == cell.user("alice")


async def test_a_page_without_an_origin_is_turned_away(links: Links, cell: Cell) -> None:
    """With cookies it must have one."""
    bare = cell.caller("bob")
    with pytest.raises(TurnedAway) as refused:
        await links.open(type(bare)(headers=bare.cookies()))
    assert refused.value.status == 4503


class Looks(ClientPerMessageDeflateFactory):
    """Counts what comes compressed."""

    def __init__(self) -> None:
        super().__init__()
        self.compressed = 0

    def process_response_params(self, params: Any, accepted_extensions: Any) -> PerMessageDeflate:
        extension = super().process_response_params(params, accepted_extensions)
        decode = extension.decode

        def looked(frame: Frame, *, max_size: int | None = None) -> Frame:
            self.compressed += frame.rsv1
            return decode(frame, max_size=max_size)

        extension.decode = looked  # type: ignore[method-assign]
        return extension


async def test_who_asks_for_compression_and_who_does_not_hear_the_same(links: Links, cell: Cell, room: str) -> None:
    cursor = cell.cursor(room)
    looks = [Looks(), Looks()]
    asked: list[tuple[type[LiveClient], dict[str, Any]]] = [
        (Socket, {"compression": None}),
        (Packed, {"compression": None}),
        (Socket, {"compression": None, "extensions": [looks[0]]}),
        (Packed, {"compression": None, "extensions": [looks[1]]}),
        # A window that is smaller than ours.
        (Socket, {"compression": None, "extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=9)]}),
    ]
    clients = [await links.open("bob", {room: cursor}, by=by, **options) for by, options in asked]
    agreed = [bool(client.socket.protocol.extensions) for client in clients]
    assert agreed == [False, False, *[cell.server == "uvicorn"] * 2, False]
    cell.say("alice", room, *(f"{number} is said, and said again and again" for number in range(20)), "short")
    for client in clients:
        await client.ask(
            "chat.send", {"text": "from all, by all, to all, " * 9}, room
        )  # compressed, by whom it was agreed
    cell.say("alice", room, "last")
    for client in clients:
        await client.hears(room, "last")
        assert client.of(room) == cell.history(room, cursor)
    if cell.server == "uvicorn":
        assert all(0 < look.compressed < len(client.vectors) for look, client in zip(looks, clients[2:], strict=False))


async def test_leaving_ends_the_events_of_that_room_alone(links: Links, cell: Cell, room: str) -> None:
    other = cell.room()
    client = await links.open("bob", {room: None, other: None})
    assert (await client.ask("live.leave", {}, room))[:2] == ["live.ok", {}]
    refused = await client.ask("live.leave", {}, room)
    assert (refused[0], refused[1]["code"]) == ("live.error", "not_joined")
    assert (await client.ask("live.leave", {}, "acme/no-such-room"))[1] == refused[1]
    cell.say("alice", room, "unheard")
    cell.say("alice", other, "heard")
    await client.hears(other, "heard")
    assert client.of(room) == []


async def test_joining_again_replaces_the_subscription(links: Links, cell: Cell, room: str) -> None:
    cursor = cell.cursor(room)
    client = await links.open("bob", {room: None})
    cell.say("alice", room, "one", "two")
    await client.hears(room, "two")
    assert (await client.join(room, cursor=cursor))["verdict"] == "resumed"
    cell.say("alice", room, "three")
    await client.hears(room, "three")
    assert client.texts(room) == ["one", "two", "one", "two", "three"]


async def test_state_comes_first(links: Links, cell: Cell, room: str) -> None:
    writer = await links.open("alice")
    message = cell.say("alice", room, "vote")[0]
    for emoji, on in (("👍", True), ("👎", True), ("👍", False), ("🎉", True)):
        await writer.ask("chat.react", {"message": message, "emoji": emoji, "on": on}, room)
    client = await links.open("bob")
    answer = await client.join(room, state=True)
    assert answer["verdict"] == "live"
    cell.say("alice", room, "after")
    await client.hears(room, "after")
    assert [meta["key"].rpartition(":")[2] for _, _, meta in client.of(room)[:-1]] == ["👎", "🎉"]
    seqs = client.seqs(room)
    assert seqs == sorted(seqs)
    assert seqs[-2] <= answer["head"] < seqs[-1]
    both = await client.ask("live.join", {"state": True, "cursor": cell.cursor(room)}, room)
    assert both[1]["code"] == "bad_data"


@pytest.mark.parametrize("name", ["live.join", "live.leave"])
async def test_a_question_needs_an_id(links: Links, room: str, name: str) -> None:
    client = await links.open("bob")
    await client.send([name, {}, {"room": room}])
    await client.until(lambda: client.errors)
    assert client.errors[0]["code"] == "id_required"


async def test_more_rooms_than_a_connection_may_join(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob")
    rooms = many(cell)
    await client.add(dict.fromkeys(rooms))
    assert {client.verdict(there) for there in rooms} == {"live"}
    refused = await client.ask("live.join", {}, room)
    assert (refused[1]["code"], refused[1]["temporary"]) == ("too_many_rooms", True)
    assert (await client.join(rooms[0]))["verdict"] == "live"  # one that is joined takes no more room
    await client.ask("live.leave", {}, rooms[0])
    assert (await client.join(room))["verdict"] == "live"


def many(cell: Cell) -> list[str]:
    if "many" not in cell.kept:
        cell.kept["many"] = [cell.room() for _ in range(MAX_ROOMS)]
    return list(cell.kept["many"])


async def test_a_binary_frame_is_none(links: Links, room: str) -> None:
    client = await links.open("bob")
    await client.say(b"[]")
    await client.until(lambda: client.errors)
    assert client.errors[0]["code"] == "bad_frame"
    assert (await client.ask("chat.send", {"text": "unharmed"}, room))[0] == "live.ok"


async def test_invalid_utf_8_is_refused_or_closes(links: Links, cell: Cell) -> None:
    client = await links.open("bob")
    await client.socket.send(b'[["chat.send", {"text": "\xff"}]]', text=True)
    told = asyncio.create_task(client.until(lambda: client.errors))
    await asyncio.wait([told])
    if told.exception() is None:
        assert client.errors[0]["code"] == "bad_frame"
    else:
        # daphne cuts it off, below us.
        assert client.socket.close_code in ((1006, 1007) if cell.server == "daphne" else (1007,))


async def test_the_fifth_broken_frame_closes(links: Links) -> None:
    client = await links.open("bob")
    for _ in range(4):
        await client.say("nonsense")
    await client.until(lambda: len(client.errors) >= 4)
    await client.say("nonsense")
    assert await client.ended() == 4500
    assert client.vectors[-1][0] == "live.bye"


async def test_a_hundred_refusals_close_nothing(links: Links, room: str) -> None:
    client = await links.open("bob")
    for number in range(100):
        await client.send(["chat.send", {"text": number}, {"room": room, "id": new_id()}])
    assert (await client.ask("chat.send", {"text": "still here"}, room))[0] == "live.ok"


async def test_a_frame_above_twice_the_limit_closes(links: Links) -> None:
    client = await links.open("bob")
    await client.say("x" * 200_000)
    assert await client.ended() in (1009, 4500)


async def test_the_server_keeps_to_the_window(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    client.acknowledges = False
    window = client.hello["window"]
    writer = await links.open("alice")
    for number in range(window + 20):  # each a frame of its own as long as there is credit
        assert (await writer.ask("chat.send", {"text": str(number)}, room))[0] == "live.ok"
    refused = await client.ask("live.leave", {}, "acme/no-such-room")  # control frames need no credit
    assert refused[1]["code"] == "not_joined"
    assert client.counted <= window
    assert len(client.texts(room)) < window + 20
    client.acknowledges = True
    await client.send(["live.ack", {"frames": client.counted}])
    await client.hears(room, str(window + 19))
    assert client.texts(room) == [str(number) for number in range(window + 20)]


async def test_more_is_acknowledged_than_was_sent(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    await client.send(["live.ack", {"frames": 1_000}])
    assert await client.ended() == 4500


async def test_without_flow_control_there_is_nothing_to_acknowledge(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None}, ack=False)
    assert client.hello["window"] is None
    await client.send(["live.ack", {"frames": 1}])
    await client.until(lambda: client.errors)
    assert client.errors[0]["code"] == "bad_data"
    cell.say("alice", room, "as ever")
    await client.hears(room, "as ever")


async def test_an_acknowledgement_is_never_answered(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    cell.say("alice", room, "one")
    await client.hears(room, "one")
    await client.send(["live.ack", {"frames": client.counted}, {"id": new_id()}])
    answered = len(client.answers)
    await client.ask("chat.typing", {}, room)
    assert len(client.answers) == answered + 1


async def test_joined_to_nothing_for_too_long_is_idle(links: Links, hasty: Cell) -> None:
    client = await links.open(hasty.caller("bob"), on=hasty.near)
    assert await client.ended() == 4440
    assert client.bye["code"] == 4440


async def test_silence_is_ended_by_a_heartbeat_and_an_answer_keeps_the_connection(links: Links, hasty: Cell) -> None:
    client = await links.open(hasty.caller("bob"), {hasty.room(): None}, on=hasty.near)
    await client.until(lambda: client.beats >= 2)  # the first was answered, or there were no second
    assert (await client.ask("chat.typing", {}, next(iter(client.joins))))[0] == "live.ok"


async def test_a_heartbeat_that_is_not_answered_is_the_end(links: Links, hasty: Cell) -> None:
    client = await links.open(hasty.caller("bob"), {hasty.room(): None}, on=hasty.near)
    client.answers_beats = False
    code = await client.ended()
    assert code is not None and code < 4500  # the network's fault: one may come back
    assert client.beats >= 1


async def test_a_ticket_is_renewed_in_the_socket(links: Links, cell: Cell, hasty: Cell) -> None:
    room = hasty.room()
    who = type(hasty.caller("bob"))(ticket=hasty.ticket("bob"))
    client = await links.open(who, {room: None}, on=hasty.near)
    refused = await auth(client, hasty.ticket("alice"))
    assert refused[0] == "live.error"  # another person's
    assert (await auth(client, "nonsense"))[0] == "live.error"
    over = time.monotonic() + HASTY["TICKET_TTL"] + 1
    while time.monotonic() < over:  # longer than the first ticket is good for
        assert (await auth(client, hasty.ticket("bob")))[:2] == ["live.ok", {}]
    hasty.say("alice", room, "still here")
    await client.hears(room, "still here")


async def auth(client: Any, ticket: str) -> Any:
    id = new_id()
    await client.send(["live.auth", {"ticket": ticket}, {"id": id}])
    await client.until(lambda: id in client.answers)
    return client.answers[id]


async def test_frames_stay_small(links: Links, cell: Cell, room: str) -> None:
    """Under 64 KB where its vectors allow."""
    cursor = cell.cursor(room)
    cell.say("alice", room, *["x" * 8_000] * 20)
    client = await links.open("bob")
    sizes: list[int] = []
    await client.send(["live.join", {"cursor": cursor}, {"room": room, "id": new_id()}])
    while len(client.texts(room)) < 20:
        message = await asyncio.wait_for(client.socket.recv(), 20)
        sizes.append(len(message))
        client._take(json.loads(message))
    assert max(sizes) <= 65_536
    assert len(sizes) >= 3

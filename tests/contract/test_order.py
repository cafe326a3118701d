"""Every reader sees the log: each event once, in the order of its seq."""

from __future__ import annotations

import asyncio

from tests.support.cells import Cell, Links
from tests.support.conversation import new_id
from tests.support.live_clients import TRANSPORTS, Poll, Socket, Stream

LINES = 12


async def test_bursts_of_several_senders_come_in_one_order_to_all(links: Links, cell: Cell, room: str) -> None:
    """REST, commands in a socket and commands by POST, on every node, at once."""
    readers = [await links.open(who, {room: None}, on=node) for who in ("bob", "alice") for node in cell.site.nodes]
    senders = [await links.open("alice", by=by, on=node) for by in (Socket, Stream, Poll) for node in cell.site.nodes]

    async def talk(number: int) -> None:
        for line in range(LINES):
            await senders[number].ask("chat.send", {"text": f"{number}: {line}"}, room)

    async def write() -> None:
        await asyncio.to_thread(cell.say, "bob", room, *(f"rest: {line}" for line in range(LINES)))

    start = readers[0].places[room].seq
    await asyncio.gather(write(), *map(talk, range(len(senders))))
    truth = cell.history(room, f":{start}")
    assert len(truth) == LINES * (len(senders) + 1)
    for reader in readers:
        await reader.catches_up(room, truth[-1][2]["seq"])
        assert reader.of(room) == truth
        assert reader.seqs(room) == list(range(start + 1, start + 1 + len(truth)))


async def test_commands_in_one_frame_take_effect_and_are_answered_in_order(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    ids = [new_id() for _ in range(50)]
    await client.send(*(["chat.send", {"text": f"{n}"}, {"room": room, "id": id}] for n, id in enumerate(ids)))
    await client.until(lambda: len(client.texts(room)) >= 50 and ids[-1] in client.answers)
    assert client.texts(room) == [str(number) for number in range(50)]
    assert [meta["re"] for name, _, meta in client.vectors if name == "live.ok" and meta["re"] in ids] == ids
    assert [client.answers[id][1]["seq"] for id in ids] == client.seqs(room)


async def test_refusals_keep_their_place_among_the_answers(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    ids = [new_id() for _ in range(6)]
    texts = ["fine", "", "fine too", "x" * 8_001, "and fine", 7]
    await client.send(
        *(["chat.send", {"text": text}, {"room": room, "id": id}] for text, id in zip(texts, ids, strict=True))
    )
    await client.until(lambda: all(id in client.answers for id in ids))
    assert [client.answers[id][0] for id in ids] == ["live.ok", "live.error"] * 3
    await client.until(lambda: len(client.texts(room)) >= 3)
    assert client.texts(room) == ["fine", "fine too", "and fine"]


async def test_events_are_what_rest_has_in_the_log(links: Links, cell: Cell, room: str) -> None:
    """A message, an edit, a reaction, a read mark, a deletion: live and replayed they are the same vectors."""
    cursor = cell.cursor(room)
    client = await links.open("bob", {room: None})
    other = await links.open("alice")
    _, sent, _ = await other.ask("chat.send", {"text": "Grüße 👋 \u2028 \u0085 <b>&amp;</b>\n\ttrailing "}, room)
    message = sent["message"]
    _, reply, _ = await client.ask("chat.send", {"text": "hm", "reply_to": message}, room)
    await other.ask("chat.edit", {"message": message, "text": "edited"}, room)
    await client.ask("chat.react", {"message": message, "emoji": "👍"}, room)
    await client.ask("chat.read", {"seq": reply["seq"]}, room)
    _, announced, _ = await other.ask("chat.send", {"text": "last"}, room)
    await client.until(lambda: client.texts(room)[-1:] == ["last"])
    truth = cell.history(room, cursor)
    assert client.of(room) == truth
    assert [name for name, _, _ in truth] == [
        "chat.message", "chat.message", "chat.edited", "chat.reaction", "chat.read", "chat.message",
    ]  # fmt: skip
    assert client.texts(room)[0] == "Grüße 👋 \u2028 \u0085 <b>&amp;</b>\n\ttrailing "
    assert all(meta.keys() >= {"room", "at", "by", "seq"} for _, _, meta in truth)
    replayed = await links.open("bob", {room: cursor})
    await replayed.until(lambda: replayed.texts(room)[-1:] == ["last"])
    assert replayed.of(room) == truth
    assert announced["seq"] == truth[-1][2]["seq"]


async def test_what_is_said_is_heard_by_all_transports(links: Links, cell: Cell, room: str) -> None:
    """By the test's transport to each of them, the sender's own connection too."""
    readers = [await links.open("alice", {room: None}, by=by, on=cell.far) for by in TRANSPORTS]
    sender = await links.open("bob", {room: None})
    for number in range(3):
        assert (await sender.ask("chat.send", {"text": f"line {number}"}, room))[0] == "live.ok"
    for reader in (sender, *readers):
        await reader.hears(room, "line 2")
        assert reader.of(room) == sender.of(room)


async def test_a_big_message_comes_whole(links: Links, cell: Cell, room: str) -> None:
    client = await links.open("bob", {room: None})
    text = "€𝄞" * 4_000  # 28,000 bytes
    for _ in range(5):
        assert (await client.ask("chat.send", {"text": text}, room))[0] == "live.ok"
    await client.until(lambda: len(client.texts(room)) >= 5)
    assert client.texts(room) == [text] * 5

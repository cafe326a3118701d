"""What a reader gets of what it missed: everything durable, of latest the newest of each key, nothing transient."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.cells import Cell, Links


async def react(client: Any, room: str, message: str, *steps: str) -> None:
    """``+👍`` and ``-👍``, one after the other."""
    for step in steps:
        data = {"message": message, "emoji": step[1:], "on": step[0] == "+"}
        answer = await client.ask("chat.react", data, room)
        assert answer[0] == "live.ok", answer


async def test_of_latest_events_only_the_newest_of_each_key_is_left(links: Links, cell: Cell, room: str) -> None:
    cursor = cell.cursor(room)
    writer = await links.open("alice")
    message = cell.say("alice", room, "vote")[0]
    await react(writer, room, message, "+👍", "+👎", "-👍", "+👍", "-👎", "+👎", "+🎉")
    cell.say("alice", room, "after")
    reader = await links.open("bob", {room: cursor})
    assert reader.verdict(room) == "resumed"
    await reader.hears(room, "after")
    events = [vector for vector in reader.of(room) if vector[0] != "live.cursor"]
    assert events == cell.history(room, cursor)
    assert [name for name, _, _ in events] == ["chat.message", *["chat.reaction"] * 3, "chat.message"]
    assert [meta["key"].rpartition(":")[2] for _, _, meta in events[1:4]] == ["👍", "👎", "🎉"]
    skipped = [data for name, data, _ in reader.of(room) if name == "live.cursor"]
    assert sum(data["skipped"] for data in skipped) == 4
    assert reader.cursors()[room] == cell.cursor(room)


async def test_a_cursor_in_what_was_compacted_goes_on(links: Links, cell: Cell, room: str) -> None:
    writer = await links.open("alice")
    message = cell.say("alice", room, "vote")[0]
    await react(writer, room, message, "+👍")
    cursor = cell.cursor(room)  # of an event that will be gone
    await react(writer, room, message, *("-👍", "+👍") * 3)
    cell.say("alice", room, "after")
    reader = await links.open("bob", {room: cursor})
    assert reader.verdict(room) == "resumed"
    await reader.until(lambda: reader.texts(room) == ["after"])
    assert [vector[0] for vector in reader.of(room)] == ["live.cursor", "chat.reaction", "chat.message"]


async def test_a_live_reader_hears_each_change_of_a_key(links: Links, cell: Cell, room: str) -> None:
    """Nobody who keeps up is passed over, or a live.cursor says so; the last value is always told."""
    reader = await links.open("bob", {room: None})
    writer = await links.open("alice")
    message = cell.say("alice", room, "vote")[0]
    await react(writer, room, message, "+👍", "+👎", "-👎", "-👍")
    cell.say("alice", room, "after")
    await reader.hears(room, "after")
    last = {meta["key"]: data for name, data, meta in reader.of(room) if name == "chat.reaction"}
    assert last == {f"{message}:👍": None, f"{message}:👎": None}  # null: the key is gone


async def test_a_read_mark_is_the_newest_only(links: Links, cell: Cell, room: str) -> None:
    cursor = cell.cursor(room)
    cell.say("alice", room, "one", "two", "three")
    start = int(cursor.partition(":")[2])
    reader = await links.open("bob")
    for seq in (start + 1, start + 3, start + 2, start + 3):  # falls and repeats count for nothing
        await reader.ask("chat.read", {"seq": seq}, room)
    cell.say("alice", room, "after")
    late = await links.open("alice", {room: cursor})
    await late.hears(room, "after")
    marks = [(data, meta["key"]) for name, data, meta in late.of(room) if name == "chat.read"]
    assert marks == [({"user": {"id": cell.user("bob"), "name": "Bob Baker"}, "seq": start + 3}, cell.user("bob"))]


async def test_transient_events_reach_who_listens_and_are_not_kept(links: Links, cell: Cell, room: str) -> None:
    reader = await links.open("bob", {room: None})
    writer = await links.open("alice")
    cursor = cell.cursor(room)

    def heard() -> list[Any]:
        return [vector for vector in reader.of(room) if vector[0] == "chat.typing"]

    listening = asyncio.create_task(reader.until(heard))
    while not listening.done():  # a poll that is just coming back has missed it
        assert (await writer.ask("chat.typing", {"typing": True}, room))[1] == {}
    await listening
    _, data, meta = heard()[0]
    assert data == {"user": {"id": cell.user("alice"), "name": "Alice Archer"}, "typing": True}
    assert "seq" not in meta and meta["by"] == cell.user("alice") and meta["at"]
    assert cell.cursor(room) == cursor
    late = await links.open("bob", {room: cursor})
    cell.say("alice", room, "after")
    await late.hears(room, "after")
    assert [vector[0] for vector in late.of(room)] == ["chat.message"]


async def test_a_deleted_text_is_in_no_replay(links: Links, cell: Cell, room: str) -> None:
    cursor = cell.cursor(room)
    writer = await links.open("alice", {room: None})
    _, sent, _ = await writer.ask("chat.send", {"text": "a secret"}, room)
    await writer.ask("chat.edit", {"message": sent["message"], "text": "a better secret"}, room)
    _, deleted, _ = await writer.ask("chat.delete", {"message": sent["message"]}, room)
    for node in cell.site.nodes:
        reader = await links.open("bob", {room: cursor}, on=node)
        await reader.catches_up(room, deleted["seq"])
        assert "secret" not in repr(reader.vectors)
        assert len(reader.seqs(room)) == 3
        assert reader.of(room)[0][1]["message"].keys() == {
            "id", "author", "created_at", "version", "reply_to", "deleted",
        }  # fmt: skip


async def test_a_hosts_own_events_come_like_ours(links: Links, cell: Cell) -> None:
    slug = f"orders-{cell.room().rpartition('-')[2]}"
    answer = cell.rest("alice").post("/api/tenants/acme/rooms/", json={"slug": slug, "name": "Orders"})
    assert answer.status_code == 201
    room = f"acme/{slug}"
    reader = await links.open("bob", {room: None})
    alice = cell.rest("alice")
    body = {"tenant": 1, "room": slug, "dish": "soup", "secret": "with love"}
    order = alice.post("/host/orders/", json=body)
    assert order.status_code == 201, order.text
    number = order.json()["id"]
    assert alice.patch(f"/host/orders/{number}/", json={"status": "served"}).status_code == 200
    assert alice.delete(f"/host/orders/{number}/").status_code == 204
    await reader.until(lambda: len(reader.of(room)) >= 3)
    assert [vector[:2] for vector in reader.of(room)] == [
        ["order.created", {"id": str(number), "dish": "soup", "status": "open"}],
        ["order.updated", {"id": str(number), "dish": "soup", "status": "served"}],
        ["order.deleted", {"id": str(number)}],
    ]

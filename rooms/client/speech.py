"""What a WebSocket has to say now. Pure: time and ids come in as arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rooms.client.conversation import BACKLOG, Conversation
from rooms.client.following import Following
from rooms.client.frames import Format


def due(conversation: Conversation, format: Format, now: float, new_id: Callable[[], str]) -> Iterator[bytes]:
    """The frames that are due, each to be sent when it is taken: acknowledgement, rooms, commands.

    Rooms are asked for when the application has nearly caught up with what earlier connections brought; else one that
    never catches up would hold another window after each.
    """
    if conversation.hello is None:
        return
    limit = conversation.max_frame_bytes
    yield from _packed(_control(conversation, format, now, new_id), format, limit)
    while batch := conversation.outbox.take(now, limit):
        yield format.frame(command.vector for command in batch)


def next_due(conversation: Conversation, now: float) -> float | None:
    """When :func:`due` has something, if nothing else happens; None for never."""
    if conversation.hello is None:
        return None
    joins = conversation.next_join() if conversation.flow.leftover < BACKLOG else None
    times = (conversation.flow.next_due(), joins, conversation.outbox.next_due(now))
    return min((time for time in times if time is not None), default=None)


def _control(conversation: Conversation, format: Format, now: float, new_id: Callable[[], str]) -> Iterator[bytes]:
    if (frames := conversation.flow.acknowledge(now)) is not None:
        yield format.vector("live.ack", {"frames": frames})
    for room in conversation.departures:
        yield format.vector("live.leave", {}, room=room, id=new_id())
    conversation.departures.clear()
    if conversation.flow.leftover < BACKLOG:
        for following in conversation.due(now):
            yield _join(conversation, following, format, new_id())


def _join(conversation: Conversation, following: Following, format: Format, id: str) -> bytes:
    conversation.ask(following, id)
    data: dict[str, Any] = {} if following.cursor is None else {"cursor": following.cursor}
    if not following.present:
        data["present"] = False
    return format.vector("live.join", data, room=following.name, id=id)


def _packed(vectors: Iterable[bytes], format: Format, limit: int) -> Iterator[bytes]:
    """As few frames as the limit allows. A vector of ours is far below it."""
    batch: list[bytes] = []
    size = 5
    for vector in vectors:
        if batch and size + len(vector) > limit:
            yield format.frame(batch)
            batch, size = [], 5
        batch.append(vector)
        size += len(vector) + 1
    if batch:
        yield format.frame(batch)

"""The channel layer as a doorbell: it is fast and it loses messages.

One message type, ``room.events``, to the group of the room; one member a node. The envelope names its sender and
counts, so that repeats and a node's own echoes are dropped. Whatever goes wrong here costs time and never an event:
sequence numbers show it and the log mends it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from channels.layers import InMemoryChannelLayer, get_channel_layer

from rooms import metrics
from rooms.conf import Config
from rooms.delivery.frames import Notice

logger = logging.getLogger(__name__)

TYPE = "room.events"
VERSION = 1
REPEATS = 4_096  # envelopes remembered, to know a repeat by

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Notice).decode


def group(room: UUID) -> str:
    """A group name of ids, never slugs: Channels takes ASCII letters, digits and ``-_.``, under 100 of them."""
    return f"rooms.v1.{room.hex}"


class Breaker:
    """After ``failures`` in a row nothing is tried for ``pause`` seconds, then one call is."""

    def __init__(self, failures: int, pause: float) -> None:
        self._limit = failures
        self._pause = pause
        self._failures = 0
        self._until = 0.0

    def is_open(self, now: float) -> bool:
        return now < self._until

    def worked(self) -> None:
        self._failures = 0

    def failed(self, now: float) -> None:
        self._failures += 1
        if self._failures >= self._limit:
            self._until = now + self._pause


class Sender:
    """Publishes notices under one start id. A publish has a time limit; one that fails is counted, and that is all."""

    def __init__(self, layer: Any, config: Config) -> None:
        self.start_id = secrets.token_hex(8)
        self._layer = layer
        self._timeout = config.publish_timeout
        self._breaker = Breaker(config.breaker_failures, config.breaker_pause)
        self._count = 0

    async def publish(self, notice: Notice) -> None:
        if self._breaker.is_open(time.monotonic()):
            metrics.publishes.labels("not_tried").inc()
            return
        self._count += 1
        message = {
            "type": TYPE,
            "version": VERSION,
            "sender": self.start_id,
            "count": self._count,
            "notice": _encode(notice),
        }
        try:
            async with asyncio.timeout(self._timeout):
                await self._layer.group_send(group(notice.room), message)
        except Exception as error:
            self._breaker.failed(time.monotonic())
            metrics.publishes.labels("failed").inc()
            logger.warning("the channel layer did not take a message: %r", error)
        else:
            self._breaker.worked()
            metrics.publishes.labels("ok").inc()


class _Outgoing:
    """What waits for one room while a publish of it is in flight."""

    __slots__ = ("bytes", "notice")

    def __init__(self, notice: Notice) -> None:
        self.notice = notice
        self.bytes = _size(notice)

    def add(self, notice: Notice, limit: int) -> None:
        self.bytes += _size(notice)
        entries = [*self.notice.entries, *notice.entries]
        if notice.epoch and self.notice.epoch not in ("", notice.epoch) or self.bytes > limit:
            metrics.dropped.labels("publish_backlog").inc(len(entries))
            entries = []  # the head alone: who sees it reads the log
        self.notice = Notice(
            notice.room, notice.epoch or self.notice.epoch, max(notice.head, self.notice.head), entries
        )


class Doorbell:
    """This node's place on the layer: which groups it is in, what it sends, what it hears.

    :param heard: called with each notice of another sender.
    :param joined: called with a room once its group was joined: what was said before that was not heard.
    """

    def __init__(self, config: Config, heard: Callable[[Notice], None], joined: Callable[[UUID], None]) -> None:
        self._config = config
        self._layer: Any = get_channel_layer(config.layer)  # None: the site has none, or not this one
        self._sender = Sender(self._layer, config)
        self._heard = heard
        self._joined = joined
        self._channel = ""
        self._wanted: set[UUID] = set()
        self._members: dict[UUID, float] = {}  # joined groups, and when
        self._unsettled: set[UUID] = set()  # rooms whose membership may not be as wanted
        self._change = asyncio.Event()
        self._outgoing: dict[UUID, _Outgoing | None] = {}  # None: in flight, nothing waits
        self._repeats: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        # A member older than group_expiry silently stops receiving, on the layers that have one.
        self._renew_after = getattr(self._layer, "group_expiry", 0) / 2 or float("inf")

    def start(self) -> None:
        if self._layer is not None:
            self._run(self._receive())
            self._run(self._keep_groups())

    async def stop(self) -> None:
        while self._tasks:  # a Redis client that connects may swallow a cancellation: ask again until they are gone
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=self._config.gap_grace)
        for room in self._members if self._channel else ():
            try:
                async with asyncio.timeout(self._config.publish_timeout):
                    await self._layer.group_discard(group(room), self._channel)
            except Exception:  # the layer is gone already
                break
        self._members.clear()

    def follow(self, room: UUID) -> None:
        """Join the room's group, soon; nobody waits for it."""
        self._wanted.add(room)
        self._unsettled.add(room)
        self._change.set()

    def unfollow(self, room: UUID) -> None:
        self._wanted.discard(room)
        self._unsettled.add(room)
        self._change.set()

    def ring(self, notice: Notice) -> None:
        """Tell the other nodes. What comes while a publish to the room is in flight goes together after it."""
        if self._layer is None:
            return
        if notice.room not in self._outgoing:
            self._outgoing[notice.room] = None
            self._run(self._publish(notice))
            return
        waiting = self._outgoing[notice.room]
        if waiting is None:
            self._outgoing[notice.room] = _Outgoing(notice)
        else:
            waiting.add(notice, self._config.publish_backlog_bytes)

    async def _publish(self, notice: Notice) -> None:
        room = notice.room
        try:
            while True:
                await self._sender.publish(notice)
                waiting = self._outgoing[room]
                if waiting is None:
                    return
                self._outgoing[room] = None
                notice = waiting.notice
        finally:
            del self._outgoing[room]

    # --- hearing

    async def _receive(self) -> None:
        while True:
            try:
                if not self._channel:
                    self._channel = await self._layer.new_channel("rooms.node")
                    self._change.set()
                self._take(await self._layer.receive(self._channel))
            except Exception as error:
                metrics.dropped.labels("layer_failed").inc()
                logger.warning("the channel layer could not be heard: %r", error)
                await asyncio.sleep(self._config.gap_grace)

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("type") != TYPE or message.get("version") != VERSION:
            metrics.dropped.labels("unknown_envelope").inc()
            return
        sender, count = message["sender"], message["count"]
        if sender == self._sender.start_id:
            return
        if (sender, count) in self._repeats:
            metrics.dropped.labels("repeated_envelope").inc()
            return
        self._repeats[sender, count] = None
        if len(self._repeats) > REPEATS:
            self._repeats.popitem(last=False)
        try:
            notice = _decode(message["notice"])
        except msgspec.MsgspecError:
            metrics.dropped.labels("unknown_envelope").inc()
            return
        self._heard(notice)

    # --- groups

    async def _keep_groups(self) -> None:
        """Bring the memberships to what is wanted, one after the other."""
        while True:
            if self._channel:
                await self._change_groups()
            try:
                async with asyncio.timeout(self._config.heal_interval):  # also what failed is tried again then
                    await self._change.wait()
            except TimeoutError:
                pass
            self._change.clear()

    async def _change_groups(self) -> None:
        now = time.monotonic()
        self._unsettled |= {room for room, since in self._members.items() if now - since > self._renew_after}
        while self._unsettled:
            room = next(iter(self._unsettled))
            wanted = room in self._wanted
            if not wanted and room not in self._members:
                self._unsettled.discard(room)
                continue
            change = self._layer.group_add if wanted else self._layer.group_discard
            try:
                async with asyncio.timeout(self._config.publish_timeout):
                    await change(group(room), self._channel)
            except Exception as error:
                metrics.dropped.labels("group_failed").inc()
                logger.warning("a group of the channel layer could not be changed: %r", error)
                return
            if wanted:
                self._members[room] = now
                self._joined(room)
            else:
                self._members.pop(room, None)
            if wanted == (room in self._wanted):  # it may have changed while we waited
                self._unsettled.discard(room)

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a task of the doorbell died", exc_info=task.exception())


def reaches_other_processes(alias: str) -> bool:
    layer = get_channel_layer(alias)
    return layer is not None and not isinstance(layer, InMemoryChannelLayer)


def _size(notice: Notice) -> int:
    return sum(len(entry.vector) for entry in notice.entries)

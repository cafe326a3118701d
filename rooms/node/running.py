"""The hub of this process, and how what is committed here reaches it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from threading import Lock
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import connection
from django.dispatch import receiver

from rooms import commands
from rooms.commands import Answer, Command, Outcome
from rooms.conf import config, site_limits
from rooms.contract import unavailable
from rooms.delivery.frames import Notice
from rooms.node import attendance
from rooms.node.doorbell import Sender, reaches_other_processes
from rooms.node.hub import TIDY, Hub
from rooms.node.meter import Meter
from rooms.signals import access_changed, committed

logger = logging.getLogger(__name__)

PATIENCE = 30  # seconds that a view waits for its command; it may be asked again with the same id

_hub: Hub | None = None
_own: Meter | None = None
_tidied = 0.0
_alone = Lock()


def current() -> Hub | None:
    """The hub that runs in this process, or None."""
    return _hub if _hub is not None and _hub.loop.is_running() else None


def start() -> Hub:
    """The hub of this event loop, started when it is not running. A server has one loop and so one hub."""
    global _hub
    if _hub is None or _hub.loop is not asyncio.get_running_loop():
        _hub = Hub(attendance=attendance.factory)
        _hub.start()
    return _hub


async def stop() -> None:
    global _hub
    if _hub is not None and _hub.loop is asyncio.get_running_loop():
        hub, _hub = _hub, None
        await hub.stop()


def perform(user: Any, name: str, data: Any, *, room: str, id: str | None = None, by: str = "") -> Answer:
    """:func:`rooms.commands.perform`, in one transaction with what the sockets of this node say at the same time.

    Synchronous, for views. Where no hub runs, and inside a transaction of the caller's, it is done right here.

    :param by: the user's limit that counts, with the tenant's; none for what the site does by itself.
    :raises Refused: as there, ``rate_limited``.
    """
    hub = current()
    command = commands.command(user, name, data, room=room, id=id)
    if hub is None or connection.in_atomic_block:
        if by and user is not None:
            with _alone:
                over = _meter().command(str(user), room.partition("/")[0], time.monotonic(), by=by)
            if over is not None and not over.recall:
                raise over.refused
            command = replace(command, over=None if over is None else over.refused)
        (outcome,) = commands.perform_many([command])
        return commands.answer(outcome)
    done: Future[Outcome] = Future()
    hub.loop.call_soon_threadsafe(_submit, hub, command, by, done)
    try:
        return commands.answer(done.result(PATIENCE))
    except TimeoutError:
        raise unavailable() from None


def _submit(hub: Hub, command: Command, by: str, done: Future[Outcome]) -> None:
    submitted = hub.submit(command, by=by) if by else hub.writer.submit(command)
    submitted.add_done_callback(lambda outcome: done.set_result(outcome.result()))


def count_write(user: Any) -> None:
    """A write that is no command; synchronous.

    :raises Refused: ``rate_limited``.
    """
    with _alone:
        _meter().write(str(user), time.monotonic())


def _meter() -> Meter:
    """Of what does not pass through a hub: this process counts it by itself, whichever thread asks."""
    global _own, _tidied
    if _own is None or _own.amounts is not site_limits():
        _own = Meter(site_limits())
    if time.monotonic() - _tidied > TIDY:
        _tidied = time.monotonic()
        _own.tidy(_tidied)
    return _own


@receiver([committed, access_changed])
def announce(notices: Sequence[Notice], **kwargs: Any) -> None:
    """In a serving process the node's own hub announces; elsewhere the layer is used directly, for a second at most.

    What fails here is found by the nodes' healing.
    """
    hub = current()
    if hub is not None:
        hub.announce_from_thread(notices)
    elif reaches_other_processes(config().layer):
        try:
            async_to_sync(_publish)(notices)
        except RuntimeError:  # committed on a thread that runs an event loop, and not a node's
            logger.warning("events were committed on an event loop's own thread: they are found by healing")


async def _publish(notices: Sequence[Notice]) -> None:
    sender = Sender(get_channel_layer(config().layer), config())
    try:
        async with asyncio.timeout(config().publish_timeout):
            for notice in notices:
                await sender.publish(notice)
    except TimeoutError:
        logger.warning("the channel layer is slow: %d notices are left to healing", len(notices))

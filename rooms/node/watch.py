"""Who may still be here: what was granted is looked at again, at once where a change is told of, else in turn."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rooms import access, identity, metrics
from rooms.changes import Change
from rooms.contract import UNAUTHENTICATED, Right
from rooms.delivery.reader import Reader
from rooms.node.connection import Connection
from rooms.node.database import chunks
from rooms.node.followed import serve_soon

if TYPE_CHECKING:
    from rooms.node.hub import Hub

logger = logging.getLogger(__name__)


class Watch:
    """Keeps the grants of a node's readers and the credentials of its connections true.

    A change that is told of holds the readers whom it may concern: nothing more is handed to them until the gate was
    asked again. What nobody tells of is found within ``grant_ttl``, by the sweep. While the sweep itself fails for that
    long, or this process stood still for it, nothing is delivered to anybody: connections stay, and get what they
    missed afterwards.
    """

    def __init__(self, hub: Hub) -> None:
        self.changes = 0  # told of; a grant that was asked for before the last of them is worth nothing
        self._hub = hub
        self._swept = time.monotonic()  # when the last sweep that succeeded began
        self._blind = False  # a flush was passed over since
        self._readers: dict[Reader, None] = {}  # to be asked about
        self._connections: dict[Connection, None] = {}
        self._asking: asyncio.Task[None] | None = None

    @property
    def sees(self) -> bool:
        """Whether every grant was confirmed within ``grant_ttl``."""
        if time.monotonic() - self._swept <= self._hub.config.grant_ttl:
            return True
        self._blind = True
        return False

    # --- at once

    def doubt(self, change: Change) -> None:
        """Rights may have changed: hold whom it concerns, and ask."""
        self.changes += 1
        readers: list[Reader] = []
        if change.users:
            for connection in self._hub.connections.values():
                if connection.user is not None and str(connection.user) in change.users:
                    self._connections[connection] = None
                    readers += connection.session.rooms.values()
        if change.rooms or change.tenants:
            for followed in self._hub.rooms.values():
                if change.touches(followed.feed.address):
                    readers += followed.readers
        self.ask_again(readers)

    def ask_again(self, readers: Iterable[Reader]) -> None:
        """Nothing more goes to these readers until the gate has spoken."""
        for reader in readers:
            reader.hold()
            self._readers[reader] = None
        if self._asking is None and (self._readers or self._connections):
            self._asking = self._hub.run(self._ask())

    async def settled(self) -> None:
        """Returns when the gate has spoken about everybody who was in doubt."""
        while self._asking is not None:
            await asyncio.wait([self._asking])

    async def _ask(self) -> None:
        try:
            while self._readers or self._connections:
                connections, self._connections = list(self._connections), {}
                readers, self._readers = list(self._readers), {}
                try:
                    await self._identify(connections)
                    await self._confirm(readers)
                except Exception as error:  # without the database they stay held
                    metrics.dropped.labels("upkeep_failed").inc()
                    logger.warning("the gate could not be asked and will be again: %r", error)
                    self._connections |= dict.fromkeys(connections)
                    self._readers |= dict.fromkeys(readers)
                    await asyncio.sleep(self._hub.config.heal_interval)
        finally:
            self._asking = None

    # --- in turn

    async def sweep(self) -> None:
        """Ask about every reader, and about each connection once in two thirds of ``grant_ttl``."""
        began = time.monotonic()
        due = began - self._hub.config.grant_ttl / 2
        await self._identify([each for each in self._hub.connections.values() if each.looked_at < due])
        await self._confirm([reader for followed in self._hub.rooms.values() for reader in followed.readers])
        self._swept = began
        if self._blind:
            self._blind = False
            for followed in self._hub.rooms.values():
                followed.wake()

    # --- asking

    async def _identify(self, connections: Iterable[Connection]) -> None:
        """End the connections whose log-in is over."""
        for chunk in chunks([each for each in connections if each.credential is not None]):
            began = time.monotonic()
            credentials = {each.credential: each for each in chunk if each.credential is not None}
            over = await self._hub.database.control(identity.over, credentials)
            for each in chunk:
                each.looked_at = began
            for credential in over:
                if credentials[credential].credential is credential:  # not renewed meanwhile
                    credentials[credential].close(UNAUTHENTICATED)

    async def _confirm(self, readers: Iterable[Reader]) -> None:
        """Give the readers their grants as they are now, and end those who may read no more."""
        for chunk in chunks(list(readers)):
            asked_at = self.changes
            grants = await self._hub.database.control(access.authorize_many, [_ask_of(reader) for reader in chunk])
            lost = []
            for reader in chunk:
                grant = grants.get(_ask_of(reader))
                if grant is None or grant.room != reader.grant.room or Right.READ not in grant.can:
                    lost.append(reader)
                elif grant.archived:
                    self._hub.end([reader], "archived")
                elif self.changes == asked_at:
                    reader.grant = grant
                    if reader.held and reader not in self._readers:
                        reader.release()
                        serve_soon(reader)
                elif reader.held:  # something moved while we asked
                    self._readers[reader] = None
            if lost:
                await self._end(lost)

    async def _end(self, readers: list[Reader]) -> None:
        slugs = {reader.grant.address.partition("/")[0] for reader in readers}
        for reader in readers:
            reader.hold()
        suspended = await self._hub.database.control(access.suspended, slugs)
        for reader in readers:
            gone = reader.grant.address.partition("/")[0] in suspended
            self._hub.end([reader], "tenant_suspended" if gone else "revoked")


def _ask_of(reader: Reader) -> access.Ask:
    return reader.connection.user, reader.grant.address

"""People who are here by the rows that a node writes, without the node."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import uuid4

from presence import store
from presence.models import Connection, Seat
from presence.state import Holding, Ledger
from rooms.models import Room


class Attendant:
    """A node's ledger. What comes and goes is written at once."""

    def __init__(self) -> None:
        self.node = secrets.token_hex(8)
        self.ledger = Ledger(grace=5)
        store.register(self.node)

    def come(
        self, user: Any, *rooms: Room, transport: str = "ws", device: str = "desktop", address: str = ""
    ) -> Holding:
        holding = Holding(Connection.key(user.pk, secrets.token_hex(8)), uuid4(), user.pk, transport, device, address)
        self.ledger.open(holding)
        for room in rooms:
            self.ledger.enter(holding, Seat.key(holding.id, room.pk), room.pk)
        self._write()
        return holding

    def leave(self, holding: Holding, room: Room, *, grace: float | None = None) -> None:
        self.ledger.leave(holding, room.pk, grace=grace)
        self._write()

    def go(self, holding: Holding, *, grace: float | None = None) -> None:
        for room in list(holding.seats):
            self.ledger.leave(holding, room, grace=grace)
        self.ledger.close(holding)
        self._write()

    def _write(self) -> None:
        store.write(self.node, self.ledger.take(0))

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

import rooms

if TYPE_CHECKING:
    from tests.hostapp.models import Order


@rooms.event("order.created")
@rooms.event("order.updated")
class OrderEvent(msgspec.Struct, frozen=True):
    id: str
    dish: str
    status: str

    @classmethod
    def from_row(cls, row: Order) -> OrderEvent:
        return cls(str(row.pk), row.dish, row.status)


@rooms.event("order.deleted")
class OrderDeleted(msgspec.Struct, frozen=True):
    id: str

    @classmethod
    def from_row(cls, row: Order) -> OrderDeleted:
        return cls(str(row.pk))

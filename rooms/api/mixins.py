"""For a host's own viewsets: what is changed through them is told in a room."""

from __future__ import annotations

from typing import Any

import msgspec
from rest_framework.serializers import BaseSerializer

from rooms import log
from rooms.contract import EVENTS
from rooms.models import Room
from rooms.publishing import publish


class PublishesChanges:
    """Before ``ModelViewSet``: publishes ``<resource>.created``, ``.updated``, ``.deleted`` with the change.

    ::

        @rooms.event("order.created")
        @rooms.event("order.updated")
        class OrderEvent(msgspec.Struct, frozen=True):
            id: str
            status: str

            @classmethod
            def from_row(cls, row): ...

        class OrderViewSet(PublishesChanges, ModelViewSet):
            resource = "order"

            def get_room(self, instance):
                return f"{instance.tenant.slug}/kitchen"

    All three events are declared. A change that fails or is rolled back is told to nobody, and a change whose event is
    refused does not happen. Who may read the room sees the event: its Struct holds what they all may see. An object
    that moves to another room is deleted in the one and created in the other.
    """

    resource: str

    def get_room(self, instance: Any) -> Room | str | None:
        """The room, or its address, that tells of this object; None for one that is told of nowhere."""
        raise NotImplementedError

    def get_event_data(self, name: str, instance: Any) -> msgspec.Struct | dict[str, Any]:
        """The event's data; by default its Struct's ``from_row``."""
        if name not in EVENTS:
            raise ValueError(f"The event {name!r} is not declared: use @rooms.event")
        data: msgspec.Struct = EVENTS[name].data.from_row(instance)  # type: ignore[attr-defined]
        return data

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        with log.batch():
            super().perform_create(serializer)  # type: ignore[misc]
            self._publish("created", serializer.instance)

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        with log.batch():
            before, gone = self._place(serializer.instance), self._data("deleted", serializer.instance)
            super().perform_update(serializer)  # type: ignore[misc]
            after = self._place(serializer.instance)
            if before == after:
                self._publish("updated", serializer.instance)
            else:
                self._tell(before, "deleted", gone)
                self._publish("created", serializer.instance)

    def perform_destroy(self, instance: Any) -> None:
        with log.batch():
            room, gone = self._place(instance), self._data("deleted", instance)
            super().perform_destroy(instance)  # type: ignore[misc]
            self._tell(room, "deleted", gone)

    def _place(self, instance: Any) -> str | None:
        room = self.get_room(instance)
        return room.address if isinstance(room, Room) else room

    def _data(self, change: str, instance: Any) -> Any:
        return self.get_event_data(f"{self.resource}.{change}", instance)

    def _publish(self, change: str, instance: Any) -> None:
        self._tell(self.get_room(instance), change, self._data(change, instance))

    def _tell(self, room: Room | str | None, change: str, data: Any) -> None:
        if room is not None:
            user = self.request.user  # type: ignore[attr-defined]
            publish(room, f"{self.resource}.{change}", data, by=user.pk)

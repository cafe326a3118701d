"""The only code that changes rows of ours, each change with its event in the same transaction."""

from rooms.services import members, messages, rooms, tenants

__all__ = ["members", "messages", "rooms", "tenants"]

"""Who is here: rows that nodes share. :mod:`presence.store` alone changes them.

Users and rooms are not bound by constraints: their rows come in bulk, from what a node knows, and one account that
ended meanwhile must not take the others' down. What is left of it is never shown, and goes with its connection; not
before, for the end of its seats is what tells the others that somebody left.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from rooms.models import Room


def _user(on_delete: Any = models.DO_NOTHING, **options: Any) -> Any:
    return models.ForeignKey(settings.AUTH_USER_MODEL, on_delete, related_name="+", db_constraint=False, **options)


def _room(**options: Any) -> Any:
    return models.ForeignKey(Room, models.CASCADE, related_name="+", db_constraint=False, **options)


def _digest(*parts: str) -> UUID:
    """Rows that are written by what they are about have that as their key, so that one statement takes many."""
    return UUID(bytes=blake2b("\0".join(parts).encode(), digest_size=16).digest())


class Node(models.Model):
    """A process that holds connections, until its lease ends: by the database's clock. All of its rows go with it."""

    id = models.CharField(_("start id"), max_length=16, primary_key=True)
    host = models.CharField(max_length=100)
    since = models.DateTimeField()
    lease_ends = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.host} {self.id}"


class Connection(models.Model):
    """One that is open; a long-poller's stays between polls. ``holder`` is another each time that a node takes it."""

    id = models.UUIDField(primary_key=True, editable=False)
    node = models.ForeignKey(Node, models.CASCADE, related_name="connections")
    holder = models.UUIDField(db_index=True)
    user = _user(null=True)
    transport = models.CharField(max_length=10)
    device = models.CharField(max_length=10)
    address = models.CharField(max_length=45, blank=True)
    since = models.DateTimeField()
    leaves = models.DateTimeField(null=True, help_text=_("When it is over without a further poll."))
    disconnect = models.BooleanField(default=False, help_text=_("An administrator ends it."))

    class Meta:
        ordering = ["-since"]
        indexes = [
            models.Index(fields=["node"], condition=models.Q(disconnect=True), name="presence_connection_ending"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @staticmethod
    def key(user: Any, name: str) -> UUID:
        """Of the connection that this user's client calls so: nobody else's has the same."""
        return _digest("" if user is None else str(user), name)


class Seat(models.Model):
    """A connection in a room. It outlasts the connection until ``leaves``, so that a reload is not noticed."""

    id = models.UUIDField(primary_key=True, editable=False)
    node = models.ForeignKey(Node, models.CASCADE, related_name="seats")
    connection = models.UUIDField(db_index=True)
    holder = models.UUIDField(db_index=True)
    room = _room(db_index=False)
    user = _user(db_index=False)
    transport = models.CharField(max_length=10)
    device = models.CharField(max_length=10)
    since = models.DateTimeField()
    open = models.BooleanField(default=True)
    leaves = models.DateTimeField(null=True, db_index=True)
    status = models.CharField(max_length=10, default="active")
    text = models.CharField(max_length=200, blank=True, default="")
    told = models.DateTimeField(null=True, help_text=_("When the status was set; None: it was not."))

    class Meta:
        ordering = ["-since"]
        indexes = [models.Index(fields=["room", "user"], name="presence_seat_room_user")]

    def __str__(self) -> str:
        return str(self.id)

    @staticmethod
    def key(connection: UUID, room: UUID) -> UUID:
        return _digest(connection.hex, room.hex)


class Visit(models.Model):
    """A person in a room: the present visit, or the last one."""

    id = models.UUIDField(primary_key=True, editable=False)
    room = _room(db_index=False)
    user = _user(models.CASCADE)
    since = models.DateTimeField()
    ended = models.DateTimeField(null=True, help_text=_("None: the person is here."))

    class Meta:
        ordering = ["since"]
        indexes = [
            models.Index(fields=["room", "since"], condition=models.Q(ended=None), name="presence_visit_here"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @staticmethod
    def key(room: UUID, user: Any) -> UUID:
        return _digest(room.hex, str(user))


class RoomPresence(models.Model):
    """What of a room's people is counted. Who changes them holds this row's lock; each change is a new version."""

    room = models.OneToOneField(
        Room, models.CASCADE, primary_key=True, related_name="presence", db_constraint=False, editable=False
    )
    version = models.BigIntegerField(default=0)
    count = models.PositiveIntegerField(default=0, help_text=_("People who are here."))

    def __str__(self) -> str:
        return f"{self.room_id}: {self.count}"


class Departure(models.Model):
    """That a person has left, until it was told to the site's own code. Only where that listens."""

    id = models.BigAutoField(primary_key=True)
    node = models.CharField(max_length=16, db_index=True, help_text=_("The start id of the one that tells it."))
    room = models.UUIDField()
    user = models.CharField(max_length=64)
    since = models.DateTimeField()
    left = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.user} left {self.room}"

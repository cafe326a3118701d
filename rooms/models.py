"""The rows. ``services`` changes them; ``log`` alone touches :class:`RoomLog` and :class:`Event`."""

from __future__ import annotations

import os
import secrets
import time
import uuid
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length
from django.utils.translation import gettext_lazy as _

from rooms import contract, limits


def _choices(values: type[contract.Role | contract.Part | contract.Visibility]) -> list[tuple[str, str]]:
    return [(value.value, value.value) for value in values]


def _one_of(field: str, values: Any) -> Q:
    return Q(**{f"{field}__in": [str(value) for value in values]})


def check_limits(given: Any) -> None:
    """:raises ValidationError: for what :mod:`rooms.limits` cannot read."""
    try:
        limits.read_of_tenant(given)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def new_id() -> uuid.UUID:
    """A UUID version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 random ones; it sorts by time."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def new_epoch() -> str:
    """64 random bits: another epoch is another history, and no cursor of the old one fits it."""
    return secrets.token_hex(8)


class Tenant(models.Model):
    slug = models.CharField(max_length=contract.SLUG_MAX, unique=True)
    name = models.CharField(max_length=contract.NAME_MAX)
    active = models.BooleanField(default=True, help_text=_("A suspended tenant is closed to everybody."))
    limits = models.JSONField(
        default=dict,
        blank=True,
        validators=[check_limits],
        help_text=_('That it has of its own, such as {"commands_per_user": "40/200"}; else the site\'s.'),
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(condition=Q(slug__regex=contract.SLUG_PATTERN), name="rooms_tenant_slug"),
        ]

    def __str__(self) -> str:
        return self.slug


class Membership(models.Model):
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="room_memberships")
    role = models.CharField(max_length=10, choices=_choices(contract.Role), default=contract.Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user"], name="rooms_membership_once"),
            models.CheckConstraint(condition=_one_of("role", contract.Role), name="rooms_membership_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.tenant}: {self.role}"


class Room(models.Model):
    """A room, or one of those that are there by themselves: ``~all``, ``~me`` of one person, ``<slug>~mods``."""

    class Kind(models.TextChoices):
        ROOM = "room", _("room")
        ALL = "all", _("everybody in the tenant")
        ME = "me", _("one person alone")
        MODS = "mods", _("moderators of a room")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="rooms")
    slug = models.CharField(max_length=contract.SLUG_MAX + 50)
    kind = models.CharField(max_length=4, choices=Kind.choices, default=Kind.ROOM, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, editable=False, related_name="+", help_text="of a ~me"
    )
    parent = models.OneToOneField("self", models.CASCADE, null=True, editable=False, related_name="mods")
    name = models.CharField(max_length=contract.NAME_MAX)
    visibility = models.CharField(
        max_length=10, choices=_choices(contract.Visibility), default=contract.Visibility.TENANT
    )
    read_only = models.BooleanField(default=False, help_text=_("Only moderators write."))
    archived = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    log: RoomLog

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "slug"], name="rooms_room_slug_once"),
            models.CheckConstraint(condition=_one_of("visibility", contract.Visibility), name="rooms_room_visibility"),
            models.CheckConstraint(
                condition=Q(kind="room", slug__regex=contract.SLUG_PATTERN, owner=None, parent=None)
                | Q(kind="all", slug="~all", owner=None, parent=None)
                | Q(kind="me", slug__startswith="~me.", owner__isnull=False, parent=None)
                | Q(kind="mods", slug__endswith="~mods", owner=None, parent__isnull=False),
                name="rooms_room_kind",
            ),
        ]

    def __str__(self) -> str:
        return self.address

    @property
    def address(self) -> str:
        """``<tenant>/<room>``, as its readers name it; needs the tenant selected."""
        return f"{self.tenant.slug}/{'~me' if self.kind == self.Kind.ME else self.slug}"


class Participant(models.Model):
    """A person's part in one room; it overrides the membership."""

    room = models.ForeignKey(Room, models.CASCADE, related_name="participants")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="room_parts")
    role = models.CharField(max_length=10, choices=_choices(contract.Part), default=contract.Part.SPEAKER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["room", "user"], name="rooms_participant_once"),
            models.CheckConstraint(condition=_one_of("role", contract.Part), name="rooms_participant_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.room}: {self.role}"


class RoomLog(models.Model):
    """The counter of a room's log. A table of its own, so that no ``Room.save()`` of a stale form rewinds it."""

    room = models.OneToOneField(Room, models.CASCADE, primary_key=True, related_name="log")
    epoch = models.CharField(max_length=16, default=new_epoch)
    head = models.BigIntegerField(default=0, help_text="seq of the newest event")
    floor = models.BigIntegerField(default=0, help_text="events up to here may be gone")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(floor__gte=0, head__gte=F("floor")), name="rooms_roomlog_order"),
        ]

    def __str__(self) -> str:
        return f"{self.epoch}:{self.head}"


class Event(models.Model):
    """One logged event. ``data`` is the JSON that goes out, made once; it is ``null`` where a key was removed."""

    log = models.ForeignKey(RoomLog, models.CASCADE, related_name="events")
    seq = models.BigIntegerField()
    name = models.CharField(max_length=100)
    key = models.CharField(max_length=contract.KEY_MAX, null=True)  # noqa: DJ001 null: not a latest event
    data = models.TextField()
    redacts = models.JSONField(default=list, help_text="seqs of earlier events whose text this one removed")
    at = models.DateTimeField()
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", db_index=False
    )  # no index: the hot path writes here, and only the end of an account looks this way

    class Meta:
        ordering = ["log", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["log", "seq"], name="rooms_event_seq"),
            models.UniqueConstraint(
                fields=["log", "name", "key"], condition=Q(key__isnull=False), name="rooms_event_latest"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.log_id} {self.seq} {self.name}"


class Message(models.Model):
    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    room = models.ForeignKey(Room, models.CASCADE, related_name="messages", db_index=False)  # the constraint has one
    seq = models.BigIntegerField(help_text="of its chat.message event")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", db_index=False)
    text = models.TextField()
    created_at = models.DateTimeField()
    version = models.PositiveIntegerField(default=1)
    deleted = models.BooleanField(default=False)
    reply_to = models.ForeignKey("self", models.SET_NULL, null=True, related_name="replies")
    edits = models.JSONField(default=list, help_text="seqs of its chat.edited events")
    reactions = models.JSONField(default=dict, help_text="emoji: ids of the people")

    class Meta:
        ordering = ["room", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["room", "seq"], name="rooms_message_seq"),
            models.CheckConstraint(
                condition=Q(deleted=True, text="") | Q(deleted=False) & ~Q(text=""), name="rooms_message_text"
            ),
            models.CheckConstraint(
                condition=models.lookups.LessThanOrEqual(Length("text"), contract.TEXT_MAX),
                name="rooms_message_length",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.room_id} {self.seq}"


class CommandResult(models.Model):
    """A committed effect and its answer: the same id from the same user gets this again, and no second effect."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    command_id = models.CharField(max_length=64)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    fingerprint = models.CharField(max_length=64, help_text="digest of the name, the room and the data")
    answer = models.TextField(help_text="JSON: ids and numbers, no text")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["command_id", "user"], name="rooms_commandresult_once"),
        ]

    def __str__(self) -> str:
        return self.command_id


class AuditEntry(models.Model):
    """Who changed whose access to what. It outlives all that it tells of: its keys are bound to nothing."""

    class Source(models.TextChoices):
        REST = "rest", _("REST")
        LIVE = "live", _("live")
        ADMIN = "admin", _("admin")
        PAGE = "page", _("page")
        COMMAND = "command", _("command line")
        CODE = "code", _("code")

    class What(models.TextChoices):
        ROLE = "role", _("role")
        PART = "part", _("part")
        VISIBILITY = "visibility", _("visibility")
        READ_ONLY = "read_only", _("read only")
        ARCHIVED = "archived", _("archived")
        ACTIVE = "active", _("active tenant")
        LIMITS = "limits", _("limits")
        ACCOUNT = "account", _("active account")
        STAFF = "staff", _("staff")
        SUPERUSER = "superuser", _("superuser")
        PASSWORD = "password", _("password")
        SESSION = "session", _("session")
        CONNECTION = "connection", _("connection")

    at = models.DateTimeField(db_index=True)
    source = models.CharField(max_length=10, choices=Source.choices)
    address = models.CharField(max_length=45, blank=True, help_text=_("Of the request, where it is known."))
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.DO_NOTHING, null=True, related_name="+", db_constraint=False, db_index=False
    )
    actor_name = models.CharField(_("who"), max_length=150, blank=True)
    tenant = models.ForeignKey(Tenant, models.DO_NOTHING, null=True, related_name="+", db_constraint=False)
    room = models.CharField(max_length=2 * contract.SLUG_MAX + 1, blank=True)
    subject = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.DO_NOTHING, null=True, related_name="+", db_constraint=False, db_index=False
    )
    subject_name = models.CharField(_("whose"), max_length=150, blank=True)
    what = models.CharField(max_length=10, choices=What.choices)
    before = models.CharField(max_length=200, blank=True, help_text=_("Empty: there was none."))
    after = models.CharField(max_length=200, blank=True, help_text=_("Empty: there is none any more."))

    class Meta:
        ordering = ["-id"]
        verbose_name = _("change of access")
        verbose_name_plural = _("changes of access")

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.what}: {self.before or '-'} → {self.after or '-'}"

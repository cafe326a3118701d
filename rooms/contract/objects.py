"""The objects that REST shows and events carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from rooms.contract.values import Role, Seq, Time, Version, Visibility

if TYPE_CHECKING:
    from rooms import models


class Person(msgspec.Struct, frozen=True):
    """A user as others see them: the id as a string, the full name, else the username."""

    id: str
    name: str

    @classmethod
    def from_row(cls, user: Any) -> Person:
        return cls(id=str(user.pk), name=user.get_full_name() or user.get_username())


class Message(msgspec.Struct, frozen=True):
    """A chat message. A deleted one has ``deleted`` in place of its text; without the account there is no author."""

    id: str
    author: Person | None
    created_at: Time
    version: Version
    reply_to: str | None
    text: str | UnsetType = UNSET
    deleted: Literal[True] | UnsetType = UNSET

    @classmethod
    def from_row(cls, row: models.Message) -> Message:
        return cls(
            id=str(row.pk),
            author=Person.from_row(row.author) if row.author else None,
            created_at=row.created_at,
            version=row.version,
            reply_to=str(row.reply_to_id) if row.reply_to_id else None,
            text=UNSET if row.deleted else row.text,
            deleted=True if row.deleted else UNSET,
        )


class DeletedMessage(msgspec.Struct, frozen=True):
    id: str
    version: Version
    deleted: Literal[True] = True

    @classmethod
    def from_row(cls, row: models.Message) -> DeletedMessage:
        return cls(id=str(row.pk), version=row.version)


class Room(msgspec.Struct, frozen=True):
    slug: str
    tenant: str
    name: str
    visibility: Visibility
    read_only: bool
    archived: bool
    epoch: str
    head: Seq

    @classmethod
    def from_row(cls, row: models.Room) -> Room:
        """From a room with its tenant and log selected."""
        return cls(
            slug=row.address.partition("/")[2],  # a ~me is named ~me, whoever's it is
            tenant=row.tenant.slug,
            name=row.name,
            visibility=Visibility(row.visibility),
            read_only=row.read_only,
            archived=row.archived,
            epoch=row.log.epoch,
            head=row.log.head,
        )


class Tenant(msgspec.Struct, frozen=True):
    """A tenant with the reader's own role in it."""

    slug: str
    name: str
    role: Role

    @classmethod
    def from_row(cls, row: models.Membership) -> Tenant:
        """From the reader's membership with its tenant selected."""
        return cls(slug=row.tenant.slug, name=row.tenant.name, role=Role(row.role))


class Member(msgspec.Struct, frozen=True):
    """A person and their role in the tenant, or their part in the room."""

    user: Person
    role: Literal["owner", "admin", "member", "guest", "moderator", "speaker", "listener", "banned"]
    # each Role and each Part, spelled out: msgspec has no union of two enums

    @classmethod
    def from_row(cls, row: models.Membership | models.Participant) -> Member:
        """From a membership or a part with its user selected."""
        return cls(user=Person.from_row(row.user), role=cast(Any, row.role))


class Ticket(msgspec.Struct, frozen=True):
    """A signed word for who somebody is, for clients without a browser's cookies."""

    ticket: str
    expires_at: Time

"""What the database itself refuses, whoever writes to it and however."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from rooms import contract, log
from rooms.models import CommandResult, Event, Membership, Message, Participant, Room, RoomLog, Tenant
from tests.support.world import World


def refuses(write: Callable[[], Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        write()


def test_two_events_with_one_seq(room: Room) -> None:
    log.append(room, "room.announcement", {"text": "x"})
    event = Event.objects.filter(log=room.pk).last()
    assert event is not None
    event.pk = None
    refuses(lambda: event.save(force_insert=True))


def test_two_values_of_one_key(room: Room) -> None:
    def add(seq: int) -> None:
        Event.objects.create(log_id=room.pk, seq=seq, name="chat.read", key="7", data="{}", at=timezone.now())

    add(1_000)
    refuses(lambda: add(1_001))


def test_a_log_whose_head_is_below_its_floor(room: Room) -> None:
    refuses(lambda: RoomLog.objects.filter(room=room).update(floor=F("head") + 1))
    refuses(lambda: RoomLog.objects.filter(room=room).update(floor=-1, head=-1))


def test_two_memberships_parts_messages_or_answers_of_one(world: World, room: Room) -> None:
    bob = world.users["bob"]
    refuses(lambda: Membership.objects.create(tenant=world.acme, user=bob))
    Participant.objects.create(room=room, user=bob)
    refuses(lambda: Participant.objects.create(room=room, user=bob))

    def message() -> None:
        Message.objects.create(room=room, seq=7, author=bob, text="x", created_at=timezone.now())

    message()
    refuses(message)

    def answer() -> None:
        CommandResult.objects.create(
            command_id="x" * 16, user=bob, fingerprint="", answer="", created_at=timezone.now()
        )

    answer()
    refuses(answer)


@pytest.mark.parametrize("model", [Membership, Participant])
@pytest.mark.parametrize("role", ["", "god", "Owner"])
def test_a_role_that_there_is_not(world: World, model: type[Membership] | type[Participant], role: str) -> None:
    assert model.objects.exists()
    refuses(lambda: model.objects.update(role=role))


@pytest.mark.parametrize("slug", ["", "Acme", "~x", "a/b", "a b", "-a", "ä", "a\n"])
def test_a_slug_that_is_none(world: World, room: Room, slug: str) -> None:
    refuses(lambda: Tenant.objects.filter(pk=world.globex.pk).update(slug=slug))
    refuses(lambda: Room.objects.filter(pk=room.pk).update(slug=slug))


def test_two_tenants_or_two_rooms_of_a_tenant_with_one_slug(world: World, room: Room) -> None:
    refuses(lambda: Tenant.objects.create(slug="acme", name="x"))
    refuses(lambda: Room.objects.create(tenant=world.acme, slug="general", name="x"))


@pytest.mark.parametrize("kind", ["all", "me", "mods", "odd", ""])
def test_an_ordinary_room_made_into_one_that_is_there_by_itself(room: Room, kind: str) -> None:
    refuses(lambda: Room.objects.filter(pk=room.pk).update(kind=kind))


def test_a_me_without_an_owner_and_a_mods_without_a_room(world: World) -> None:
    refuses(lambda: Room.objects.filter(kind=Room.Kind.ME).update(owner=None))
    refuses(lambda: Room.objects.filter(kind=Room.Kind.MODS).update(parent=None))
    refuses(lambda: Room.objects.filter(kind=Room.Kind.ALL).update(owner=world.users["bob"]))


def test_a_visibility_that_there_is_not(room: Room) -> None:
    refuses(lambda: Room.objects.filter(pk=room.pk).update(visibility="secret"))


def test_a_message_without_text_or_a_deleted_one_with_it_or_a_text_too_long(world: World, room: Room) -> None:
    def message(**given: Any) -> None:
        Message.objects.create(room=room, seq=7, author=world.users["bob"], created_at=timezone.now(), **given)

    refuses(lambda: message(text=""))
    refuses(lambda: message(text="x", deleted=True))
    refuses(lambda: message(text="x" * (contract.TEXT_MAX + 1)))
    message(text="\U0001f600" * contract.TEXT_MAX)

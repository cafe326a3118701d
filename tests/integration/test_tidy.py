"""What is too old to be asked for."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone

from rooms import commands, log
from rooms.contract import Role
from rooms.models import CommandResult, Event, Message, Room, RoomLog
from rooms.services import members, rooms, tenants

pytestmark = pytest.mark.django_db


def tidy() -> str:
    out = StringIO()
    call_command("tidy", stdout=out)
    return out.getvalue().strip()


@pytest.fixture
def person() -> Any:
    return get_user_model()._default_manager.create(username="ann")


@pytest.fixture
def room(person: Any) -> Room:
    acme = tenants.create("acme", name="Acme")
    members.set_role(acme, person, Role.MEMBER)
    return rooms.create(acme, "general", name="General")


def say(person: Any, count: int) -> None:
    for number in range(count):
        commands.perform(person.pk, "chat.send", {"text": f"{number}"}, room="acme/general")


def test_each_log_keeps_its_newest_events(settings: Any, room: Room, person: Any) -> None:
    settings.ROOMS = {"LOG_EVENTS": 3}
    say(person, 5)  # after room.created
    assert tidy() == "Gone: 3 events of 1 room, 0 answers to commands, 0 changes of access."
    reading = log.read(room.pk, 0, 100)
    assert reading is not None
    assert (reading.floor, reading.head, [entry.seq for entry in reading.entries]) == (3, 6, [4, 5, 6])
    assert Message.objects.filter(room=room).count() == 5
    assert tidy() == "Gone: 0 events of 0 rooms, 0 answers to commands, 0 changes of access."


def test_old_events_go_and_old_answers(settings: Any, room: Room, person: Any) -> None:
    settings.ROOMS = {"LOG_DAYS": 2, "RESULT_DAYS": 1}
    say(person, 3)
    old = timezone.now() - timedelta(days=2, minutes=1)
    Event.objects.filter(log=room.pk, seq__lte=3).update(at=old)
    first = CommandResult.objects.order_by("pk")[0]
    CommandResult.objects.filter(pk=first.pk).update(created_at=old)
    assert tidy() == "Gone: 3 events of 1 room, 1 answer to commands, 0 changes of access."
    assert RoomLog.objects.get(room=room).floor == 3
    assert CommandResult.objects.count() == 2


def test_the_newest_value_of_a_key_stays(settings: Any, room: Room, person: Any) -> None:
    settings.ROOMS = {"LOG_EVENTS": 1}
    say(person, 1)
    commands.perform(person.pk, "chat.read", {"seq": 2}, room="acme/general")
    say(person, 3)
    tidy()
    names = list(Event.objects.filter(log=room.pk).order_by("seq").values_list("name", flat=True))
    assert names == ["chat.read", "chat.message"]

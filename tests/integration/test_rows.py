"""What is read and written by hand is what the ORM reads and writes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, models
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rooms import commands, contract, log, rows
from rooms.models import AuditEntry, CommandResult, Event, Message, Room
from tests.support.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def values(row: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def result(world: World, id: str) -> CommandResult:
    return CommandResult(
        command_id=id, user=world.users["bob"], fingerprint="f" * 64, answer='{"seq":1}', created_at=timezone.now()
    )


def test_rows_by_their_keys_are_those_of_the_orm(world: World) -> None:
    for model in (get_user_model(), Room):
        expected = {row.pk: values(row) for row in model._base_manager.all()}
        found = rows.by_key(model, expected.keys())
        assert {key: values(row) for key, row in found.items()} == expected
        assert all(type(row) is model and not row._state.adding for row in found.values())


def test_some_columns_are_what_the_orm_makes_of_them(world: World) -> None:
    names = ["seq", "key", "redacts", "at", "by"]
    expected = [list(row) for row in Event.objects.order_by("pk").values_list(*names)]
    wanted = rows.columns(Event, "event", *names)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {wanted} FROM {rows.table(Event)} event ORDER BY event.id")
        assert [wanted.values(row) for row in cursor.fetchall()] == expected != []


def test_a_key_that_is_not_there_is_left_out_and_of_none_nobody_is_asked(world: World) -> None:
    bob = world.users["bob"]
    assert rows.by_key(type(bob), [bob.pk, 10**6]) == {bob.pk: bob}
    with CaptureQueriesContext(connection) as queries:
        assert rows.by_key(type(bob), []) == {}
    assert not queries.captured_queries


def test_what_is_inserted_is_what_the_orm_reads(world: World) -> None:
    """JSON, texts with quotes and per cent, ids that are nothing: of every kind that our tables have."""
    room = Room.objects.get(tenant=world.acme, slug="general")
    message = Message(
        room=room, seq=10**12, author=world.users["bob"], text="100 % 'né' \\ 🙂", created_at=timezone.now(),
        edits=[1, 2], reactions={"🙂": ["1"]},
    )  # fmt: skip
    rows.insert([message])
    assert values(Message.objects.get(pk=message.pk)) == values(message)
    assert not message._state.adding


def test_a_key_that_the_database_gives_is_left_to_it(world: World) -> None:
    with log.batch() as batch:
        for name in ("one", "other"):
            batch.create(AuditEntry(at=batch.now, source="code", what="role", subject_name=name))
    kept = AuditEntry.objects.filter(subject_name__in=["one", "other"])
    assert len(set(kept.values_list("pk", flat=True))) == 2


def test_more_than_one_statement_takes_go_in_several(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PARAMETERS", 20)  # three results
    ids = [contract.new_command_id() for _ in range(8)]
    with CaptureQueriesContext(connection) as queries:
        rows.insert([result(world, id) for id in ids])
    assert len(queries) == 3
    assert CommandResult.objects.filter(command_id__in=ids).count() == 8


def test_of_those_that_are_there_already_the_new_ones_are_told(world: World) -> None:
    ids = [contract.new_command_id() for _ in range(3)]
    first, again, other = result(world, ids[0]), result(world, ids[0]), result(world, ids[1])
    assert rows.insert_new([first]) == {first.pk}
    assert rows.insert_new([again, other]) == {other.pk}
    assert set(CommandResult.objects.filter(command_id__in=ids).values_list("pk", flat=True)) == {first.pk, other.pk}
    assert rows.insert_new([]) == set()


def test_what_the_database_does_not_take_is_an_error_and_leaves_nothing(world: World) -> None:
    """A row that breaks another rule than that of being the only one."""
    room = Room(pk=uuid.uuid4())
    lost = Event(log_id=room.pk, seq=1, name="chat.message", data="{}", at=timezone.now())
    with pytest.raises(IntegrityError):
        rows.insert([lost])
    assert not Event.objects.filter(log_id=room.pk).exists()


def test_a_command_by_itself_needs_few_statements(world: World) -> None:
    """Each gives the interpreter's lock away and has to get it back from whoever is busy meanwhile."""
    commands.perform(world.users["bob"].pk, "chat.send", {"text": "hi"}, room="acme/general")
    with CaptureQueriesContext(connection) as queries:
        commands.perform(world.users["bob"].pk, "chat.send", {"text": "ho"}, room="acme/general")
    asked = [verb for each in queries if (verb := each["sql"].split()[0]) in ("WITH", "SELECT", "INSERT", "UPDATE")]
    before_the_lock = ["SELECT"] if connection.vendor == "postgresql" else []  # how long to wait for one
    under_it = ["WITH"] if connection.vendor == "postgresql" else []  # the gate again
    effect = ["SELECT", "INSERT", "INSERT", "UPDATE"]  # who, the message, its event, the head
    assert asked == [*before_the_lock, "INSERT", "WITH", "SELECT", *under_it, *effect, "UPDATE"]

"""Commands while another transaction holds what they need: PostgreSQL's row locks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from threading import Event
from typing import Any

import msgspec
import pytest
from django.db import connection, transaction

from rooms import commands, contract, log, metrics
from rooms.commands import POSTPONED, Command
from rooms.contract import COMMANDS, Call, Refused
from rooms.models import CommandResult, Message, Room
from tests.support.threads import elsewhere, held_elsewhere, postgresql_only, waits_for_a_lock
from tests.support.world import World

pytestmark = [pytest.mark.django_db(transaction=True), postgresql_only]

GENERAL, LOBBY = "acme/general", "acme/lobby"
UNAVAILABLE = ("unavailable", True)


@pytest.fixture
def world(world: World, settings: Any, caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level(logging.CRITICAL, "rooms.commands")
    settings.ROOMS = {"LOCK_TIMEOUT": 0.2}
    return world


@pytest.fixture
def tries() -> Iterator[list[int]]:
    """How often ``test.deadlock`` ran; the database says deadlock to the first ``times``."""
    ran: list[int] = []

    class Times(msgspec.Struct):
        times: int

    @contract.command("test.deadlock", Times)
    def deadlock(call: Call, data: Times) -> None:
        ran.append(len(ran))
        log.append(call.room, "room.announcement", {"text": f"try {len(ran)}"})
        if len(ran) <= data.times:
            with connection.cursor() as cursor:
                cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$")

    yield ran
    del COMMANDS["test.deadlock"]


def send(world: World, text: str, room: str = GENERAL, id: str | None = None) -> Command:
    request = contract.request("chat.send", {"text": text}, room=room, id=id or contract.new_command_id())
    return Command(world.users["bob"].pk, request)


def lock(*addresses: str) -> None:
    for address in addresses:
        room = Room.objects.get(tenant__slug="acme", slug=address.partition("/")[2])
        with log.batch() as batch:
            batch.lock([room.pk])


def outcome(one: commands.Outcome) -> Any:
    return (one.code, one.as_data().temporary) if isinstance(one, Refused) else "ok" if isinstance(one, bytes) else one


def texts() -> list[str]:
    return list(Message.objects.order_by("text").values_list("text", flat=True))


def test_a_room_that_is_held_is_postponed_and_the_others_are_not(world: World) -> None:
    with held_elsewhere(partial(lock, GENERAL)):
        wanted = [send(world, "a"), send(world, "b", LOBBY), send(world, "c"), send(world, "d", LOBBY)]
        outcomes = commands.perform_many(wanted, skip_locked=True)
        assert [outcome(one) for one in outcomes] == [POSTPONED, "ok", POSTPONED, "ok"]
        assert texts() == ["b", "d"]
        assert CommandResult.objects.count() == 2, "what is postponed holds no id"
    again = commands.perform_many([wanted[0], wanted[2]])
    assert [outcome(one) for one in again] == ["ok", "ok"]


def test_commands_of_a_room_keep_their_order_when_they_run_one_by_one(world: World) -> None:
    """A batch that failed runs one by one, and the room is let go between the first and the second of its commands."""
    letting_go: list[Callable[[], None]] = []

    @contract.command("test.crash", contract.Empty)
    def crash(call: Call, data: contract.Empty) -> None:
        raise RuntimeError

    @contract.command("test.let_go", contract.Empty)
    def let_go(call: Call, data: contract.Empty) -> None:
        letting_go[0]()

    def host(name: str) -> Command:
        request = contract.request(name, {}, room=LOBBY, id=contract.new_command_id())
        return Command(world.users["bob"].pk, request)

    try:
        with held_elsewhere(partial(lock, GENERAL)) as end:
            letting_go.append(end)
            wanted = [host("test.crash"), send(world, "first"), host("test.let_go"), send(world, "second")]
            outcomes = commands.perform_many(wanted, skip_locked=True)
    finally:
        del COMMANDS["test.crash"], COMMANDS["test.let_go"]
    assert [outcome(one) for one in outcomes] == [UNAVAILABLE, POSTPONED, "ok", POSTPONED]


def test_a_room_that_is_held_too_long_is_unavailable(world: World, key: str) -> None:
    with held_elsewhere(partial(lock, GENERAL)):
        assert [outcome(one) for one in commands.perform_many([send(world, "a", id=key)])] == [UNAVAILABLE]
    assert [outcome(one) for one in commands.perform_many([send(world, "a", id=key)])] == ["ok"]


def test_commands_that_wait_for_one_room_wait_once_together(world: World, settings: Any) -> None:
    """Each for itself would be a hundred times the limit for the last of a hundred."""
    settings.ROOMS = {"LOCK_TIMEOUT": 0.5}
    attempts: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        attempts.extend(["lock"] * ("FOR UPDATE" in sql))
        return execute(sql, params, many, context)

    with held_elsewhere(partial(lock, GENERAL)), connection.execute_wrapper(note):
        outcomes = commands.perform_many([send(world, str(n)) for n in range(10)])
    assert [outcome(one) for one in outcomes] == [UNAVAILABLE] * 10
    assert attempts == ["lock"]


def test_an_id_that_another_transaction_claims_does_not_hold_a_batch_for_ever(world: World, key: str) -> None:
    def claim() -> None:
        commands.perform(world.users["bob"].pk, "chat.send", {"text": "a"}, room=GENERAL, id=key)

    with held_elsewhere(claim):
        wanted = [send(world, "a", id=key), send(world, "b", LOBBY)]
        outcomes = commands.perform_many(wanted, skip_locked=True)
        assert [outcome(one) for one in outcomes] == [UNAVAILABLE, "ok"]
    assert [outcome(one) for one in commands.perform_many(wanted)] == ["ok", "ok"]
    assert texts() == ["a", "b"], "what was rolled back elsewhere was never done"


def test_who_waits_for_a_claimed_id_gets_the_answer_of_the_one_who_had_it(
    world: World, key: str, settings: Any
) -> None:
    settings.ROOMS = {"LOCK_TIMEOUT": 20}
    with elsewhere() as first, elsewhere() as second:
        first(transaction.set_autocommit, False).result()
        one = first(commands.perform, world.users["bob"].pk, "chat.send", {"text": "a"}, room=GENERAL, id=key)
        one.result()
        other = second(commands.perform_many, [send(world, "a", id=key)])
        while not waits_for_a_lock():
            assert not other.done()
        first(transaction.commit).result()
        assert other.result() == [one.result()]
        first(transaction.set_autocommit, True).result()
    assert texts() == ["a"]


def test_a_deadlock_is_tried_again_and_has_one_effect(world: World, tries: list[int]) -> None:
    start = log.position(world.room(GENERAL)).seq
    commands.perform(world.users["bob"].pk, "test.deadlock", {"times": 2}, room=GENERAL)
    assert len(tries) == 3
    reading = log.read(world.room(GENERAL).pk, start, 10)
    assert reading is not None
    assert [(entry.seq, b"try 3" in entry.vector) for entry in reading.entries] == [(start + 1, True)]


def test_a_deadlock_that_does_not_end_is_unavailable(world: World, tries: list[int]) -> None:
    with pytest.raises(Refused) as refused:
        commands.perform(world.users["bob"].pk, "test.deadlock", {"times": 1_000}, room=GENERAL)
    assert refused.value.code == "unavailable"
    assert len(tries) == commands.ATTEMPTS


def test_a_real_deadlock_ends_with_both_done(world: World, settings: Any) -> None:
    """One locks general, then lobby; the other lobby, then general."""
    settings.ROOMS = {"LOCK_TIMEOUT": 20}
    has_general, go_on = Event(), Event()
    retries = metrics.transaction_retries._value.get()

    class Nothing(msgspec.Struct): ...

    @contract.command("test.both", Nothing)
    def both(call: Call, data: Nothing) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL deadlock_timeout = '10ms'")  # it is this one who notices
        has_general.set()
        assert go_on.wait(timeout=30)
        lock(LOBBY)

    try:
        with elsewhere() as one, elsewhere() as other:
            other(transaction.set_autocommit, False).result()
            other(lock, LOBBY).result()
            done = one(commands.perform, world.users["bob"].pk, "test.both", {}, room=GENERAL)
            assert has_general.wait(timeout=30)
            both_held = other(lock, GENERAL)
            while not waits_for_a_lock():
                assert not both_held.done()
            go_on.set()
            both_held.result(timeout=30)
            other(transaction.rollback).result()
            other(transaction.set_autocommit, True).result()
            assert done.result(timeout=30) == b"{}"
    finally:
        del COMMANDS["test.both"]
    assert metrics.transaction_retries._value.get() == retries + 1

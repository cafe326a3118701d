"""Effects happen once; a command that fails or is refused costs no other one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rooms import commands, contract, log
from rooms.commands import Command, Repeated
from rooms.contract import COMMANDS, Call, Refused
from rooms.models import CommandResult, Message, Room
from rooms.services import members
from tests.support.threads import at_once
from tests.support.world import World

pytestmark = pytest.mark.django_db(transaction=True)

GENERAL = "acme/general"


class Text(msgspec.Struct, forbid_unknown_fields=True):
    text: str = ""


@pytest.fixture(autouse=True)
def host_commands() -> Iterator[None]:
    """A host's own, some of which go wrong."""
    before = dict(COMMANDS)

    @contract.command("test.crash", Text)
    def crash(call: Call, data: Text) -> None:
        log.append(call.room, "room.announcement", {"text": "crashed"})
        raise RuntimeError(data.text)

    @contract.command("test.break", Text)
    def break_constraint(call: Call, data: Text) -> None:
        Room.objects.create(tenant=call.room.tenant, slug=call.room.slug, name="twice")

    @contract.command("test.ban", Text)
    def ban(call: Call, data: Text) -> None:
        members.set_part(call.room, call.user.__class__.objects.get(username=data.text), "banned")

    yield
    COMMANDS.clear()
    COMMANDS.update(before)


def command(world: World, name: str, what: str, data: Any, *, room: str = GENERAL, id: str | None = None) -> Command:
    request = contract.request(what, data, room=room, id=id or contract.new_command_id())
    return Command(world.users[name].pk, request)


def send(world: World, name: str, text: str, **options: Any) -> Command:
    return command(world, name, "chat.send", {"text": text}, **options)


def texts(address: str = GENERAL) -> list[str]:
    slug = address.partition("/")[2]
    return list(Message.objects.filter(room__slug=slug, room__tenant__slug="acme").values_list("text", flat=True))


def codes(outcomes: list[commands.Outcome]) -> list[str]:
    return [one.code if isinstance(one, Refused) else "ok" for one in outcomes]


def do(*wanted: Command) -> list[commands.Outcome]:
    return commands.perform_many(wanted)


def transactions(queries: CaptureQueriesContext) -> int:
    """How often ids were claimed, which each transaction does once."""
    return sum("INSERT" in query["sql"] and "rooms_commandresult" in query["sql"] for query in queries.captured_queries)


# --- once


def test_the_same_id_gets_the_first_answer_again_and_has_no_second_effect(world: World, key: str) -> None:
    (first,) = do(send(world, "bob", "hi", id=key))
    (second,) = do(send(world, "bob", "hi", id=key))
    assert isinstance(first, bytes)
    assert first == second
    assert [isinstance(one, Repeated) for one in (first, second)] == [False, True], "who asks may want to know"
    assert texts() == ["hi"]


def test_the_same_id_twice_in_one_batch_is_one_effect(world: World, key: str) -> None:
    outcomes = do(send(world, "bob", "hi", id=key), send(world, "bob", "ho"), send(world, "bob", "hi", id=key))
    assert outcomes[0] == outcomes[2]
    assert [isinstance(one, Repeated) for one in outcomes] == [False, False, True]
    assert texts() == ["hi", "ho"]


def test_the_same_id_from_many_threads_at_once_is_one_effect(world: World, key: str) -> None:
    outcomes = at_once([partial(do, send(world, "bob", "hi", id=key)) for _ in range(6)])
    assert len({bytes(outcome) for (outcome,) in outcomes}) == 1
    assert texts() == ["hi"]


def test_ids_are_claimed_in_one_order_whatever_the_order_of_the_commands(world: World) -> None:
    """Else two batches that cross wait for each other."""
    ids = [contract.new_command_id() for _ in range(20)]
    with CaptureQueriesContext(connection) as queries:
        do(*(send(world, "bob", id, id=id) for id in ids))
    (claim,) = [query["sql"] for query in queries if "INSERT" in query["sql"] and "commandresult" in query["sql"]]
    assert sorted(ids, key=claim.index) == sorted(ids)


def test_ids_that_cross_in_two_batches_at_once_are_one_effect_each(world: World) -> None:
    ids = [contract.new_command_id() for _ in range(20)]
    there = [send(world, "bob", id, id=id) for id in ids]
    back = [send(world, "bob", id, id=id) for id in reversed(ids)]
    one, other = at_once([partial(do, *there), partial(do, *back)])
    assert one == other[::-1]
    assert sorted(texts()) == sorted(ids)


def test_an_id_belongs_to_its_user(world: World, key: str) -> None:
    one, other = do(send(world, "bob", "hi", id=key), send(world, "alice", "hi", id=key))
    assert one != other
    assert texts() == ["hi", "hi"]


@pytest.mark.parametrize("together", [True, False])
def test_an_id_with_other_content_is_refused(world: World, key: str, together: bool) -> None:
    first = send(world, "bob", "hi", id=key)
    others = [
        send(world, "bob", "ho", id=key),
        send(world, "bob", "hi", id=key, room="acme/lobby"),
        command(world, "bob", "chat.react", {"message": "x", "emoji": "x"}, id=key),
    ]
    outcomes = do(first, *others) if together else [*do(first), *do(*others)]
    assert codes(outcomes) == ["ok", "id_reused", "id_reused", "id_reused"]
    assert texts() == ["hi"]


def test_content_that_says_the_same_is_the_same(world: World, key: str) -> None:
    one = command(world, "bob", "chat.send", {"text": "hi"}, id=key)
    other = command(world, "bob", "chat.send", {"reply_to": None, "text": "hi"}, id=key)
    assert do(one) == do(other)


def test_the_answer_survives_the_loss_of_the_right(world: World, key: str) -> None:
    first = do(send(world, "bob", "hi", id=key))
    members.set_part(world.room(GENERAL), world.users["bob"], "banned")
    assert do(send(world, "bob", "hi", id=key)) == first
    assert codes(do(send(world, "bob", "more"))) == ["not_found"]


def test_what_was_refused_is_not_remembered(world: World, key: str) -> None:
    members.set_part(world.room(GENERAL), world.users["bob"], "listener")
    assert codes(do(send(world, "bob", "hi", id=key))) == ["forbidden"]
    members.set_part(world.room(GENERAL), world.users["bob"], "speaker")
    assert codes(do(send(world, "bob", "something else", id=key))) == ["ok"]


def test_what_failed_is_not_remembered(world: World, key: str) -> None:
    assert codes(do(command(world, "bob", "test.crash", {}, id=key))) == ["unavailable"]
    assert codes(do(send(world, "bob", "hi", id=key))) == ["ok"]


def test_what_may_happen_twice_needs_no_id_and_is_not_remembered(world: World) -> None:
    (sent,) = do(send(world, "bob", "hi"))
    assert isinstance(sent, bytes)
    before = CommandResult.objects.count()
    for name, data in (("chat.read", {"seq": msgspec.json.decode(sent)["seq"]}), ("chat.typing", {"typing": True})):
        request = contract.request(name, data, room=GENERAL, id=None)
        assert do(Command(world.users["bob"].pk, request)) == [b"{}"]
    assert CommandResult.objects.count() == before


def test_stored_answers_hold_no_text(world: World) -> None:
    do(send(world, "bob", "a very private text"))
    row = CommandResult.objects.get()
    assert "private" not in row.answer + row.fingerprint


def test_answers_are_forgotten_after_their_time(world: World, key: str) -> None:
    do(send(world, "bob", "hi", id=key))
    assert commands.forget(timezone.now()) == 1
    do(send(world, "bob", "hi", id=key))
    assert texts() == ["hi", "hi"]


# --- a batch


def test_commands_take_effect_in_their_order(world: World) -> None:
    outcomes = do(*(send(world, "bob" if n % 2 else "alice", str(n)) for n in range(20)))
    seqs = [msgspec.json.decode(one)["seq"] for one in outcomes if isinstance(one, bytes)]
    assert seqs == list(range(seqs[0], seqs[0] + 20))
    assert texts() == [str(n) for n in range(20)]


@pytest.mark.parametrize("failing", ["test.crash", "test.break"])
def test_one_that_fails_takes_no_other_down_and_leaves_nothing(
    world: World, failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "rooms.commands")
    start = log.position(world.room(GENERAL)).seq
    outcomes = do(send(world, "bob", "one"), command(world, "bob", failing, {}), send(world, "bob", "two"))
    assert codes(outcomes) == ["ok", "unavailable", "ok"]
    assert texts() == ["one", "two"]
    reading = log.read(world.room(GENERAL).pk, start, 10)
    assert reading is not None
    assert [(entry.seq, entry.name) for entry in reading.entries] == [
        (start + 1, "chat.message"),
        (start + 2, "chat.message"),
    ]
    assert CommandResult.objects.count() == 2


def test_one_that_is_refused_leaves_the_others_in_one_transaction(world: World) -> None:
    """Also when it had to look something up: else anybody could make every group commit as slow as single ones."""
    unknown = {"message": "no-such-message", "text": "x"}
    (sent,) = do(send(world, "alice", "mine"))
    assert isinstance(sent, bytes)
    other = {"message": msgspec.json.decode(sent)["message"], "text": "yours"}
    with CaptureQueriesContext(connection) as queries:
        outcomes = do(
            send(world, "bob", "one"),
            command(world, "bob", "chat.edit", unknown),
            send(world, "bob", "two"),
            command(world, "bob", "chat.edit", other),
            command(world, "bob", "chat.send", {"text": "x", "reply_to": "nothing"}),
            send(world, "erin", "I am a guest"),
            send(world, "bob", "three"),
        )
    assert codes(outcomes) == ["ok", "not_found", "ok", "forbidden", "not_found", "forbidden", "ok"]
    assert transactions(queries) == 1
    assert texts() == ["mine", "one", "two", "three"]


def test_a_message_may_be_edited_in_the_batch_that_sent_it(world: World) -> None:
    (sent,) = do(send(world, "bob", "one"))
    assert isinstance(sent, bytes)
    message = msgspec.json.decode(sent)["message"]
    outcomes = do(
        command(world, "bob", "chat.edit", {"message": message, "text": "two"}),
        command(world, "bob", "chat.edit", {"message": message, "text": "three", "version": 1}),
        command(world, "bob", "chat.edit", {"message": message, "text": "four", "version": 2}),
        command(world, "bob", "chat.delete", {"message": message}),
        command(world, "bob", "chat.edit", {"message": message, "text": "five"}),
    )
    assert codes(outcomes) == ["ok", "conflict", "ok", "ok", "not_found"]


def test_a_right_that_ends_within_a_batch_ends_for_what_follows_it(world: World) -> None:
    """The log of the room would show a message of somebody who was banned three events before."""
    outcomes = do(
        send(world, "bob", "before"),
        command(world, "alice", "test.ban", {"text": "bob"}),
        send(world, "bob", "after"),
        send(world, "alice", "good"),
    )
    assert codes(outcomes) == ["ok", "ok", "not_found", "ok"]
    assert texts() == ["before", "good"]


# --- the gate


def test_nobody_does_nothing(world: World) -> None:
    for name, data in (("chat.send", {"text": "x"}), ("chat.read", {"seq": 1}), ("chat.typing", {})):
        request = contract.request(name, data, room="acme/lobby", id=contract.new_command_id())
        assert codes(do(Command(None, request))) == ["unauthenticated"]


def test_a_room_of_others_is_as_one_that_is_not_there(world: World) -> None:
    rooms = ["acme/general", "acme/nothing", "nothing/general", "acme/~all", "acme/board~mods", "x", "", "acme/~me.1"]
    outcomes = do(*(send(world, "carol", "x", room=room) for room in rooms))
    assert {msgspec.json.encode(one.as_data()) for one in outcomes if isinstance(one, Refused)} == {
        msgspec.json.encode(contract.not_found().as_data())
    }


def test_what_one_may_see_and_not_do_is_forbidden(world: World) -> None:
    outcomes = do(
        send(world, "erin", "x"),
        send(world, "bob", "x", room="acme/announcements"),
        send(world, "bob", "x", room="acme/~all"),
        command(world, "bob", "room.update", {"name": "x"}),
    )
    assert codes(outcomes) == ["forbidden"] * 4

"""Rights that end: told of or not, nothing more reaches who lost them, and who keeps them misses nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model
from django.db import OperationalError, transaction

from rooms import access, commands, log, tickets
from rooms.conf import Config
from rooms.contract import TOO_SLOW, UNAUTHENTICATED, Person, Refused
from rooms.delivery.session import Join, Listening
from rooms.identity import Identity
from rooms.models import Membership, Room
from rooms.node import running, watch
from rooms.node.hub import Hub
from rooms.services import members, rooms, tenants
from rooms.transports.poll import Poll
from tests.support.listeners import TERMS, Listener, until
from tests.support.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]

GENERAL = "acme/general"


@pytest_asyncio.fixture
async def bob(bob: Listener) -> Listener:
    await bob.join(GENERAL)
    return bob


@pytest_asyncio.fixture
async def alice(hub: Hub, world: World) -> Listener:
    listener = Listener(hub, world.users["alice"].pk, 1)
    await listener.join(GENERAL)
    return listener


def say(room: Room, text: str) -> None:
    log.append(room, "room.announcement", {"text": text})


def slow_gate(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """The gate says that it is asked, and answers when it may."""
    asked, go = threading.Event(), threading.Event()
    real = access.authorize_many

    def slow(asks: Any) -> Any:
        asked.set()
        assert go.wait(20)
        return real(asks)

    monkeypatch.setattr(watch.access, "authorize_many", slow)
    return asked, go


CHANGES: dict[str, tuple[Callable[[World, Room], Any], str]] = {
    "banned": (lambda world, room: members.set_part(room, world.users["bob"], "banned"), "revoked"),
    "removed": (lambda world, room: members.remove(world.acme, world.users["bob"]), "revoked"),
    "a membership deleted by the admin": (
        lambda world, room: Membership.objects.get(tenant=world.acme, user=world.users["bob"]).delete(),
        "revoked",
    ),
    "archived": (lambda world, room: rooms.update(room, archived=True), "archived"),
    "suspended": (lambda world, room: tenants.update(world.acme, active=False), "tenant_suspended"),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_that_is_told_ends_the_reader_before_the_next_event(
    hub: Hub, world: World, room: Room, bob: Listener, what: str
) -> None:
    change, code = CHANGES[what]

    def both() -> None:  # in one go: no turn of the loop in between is needed
        change(world, room)
        say(room, "secret")

    await hub.database.work(both)
    await bob.until(lambda one: one.vectors[-1][0] == "live.left")
    assert bob.vectors[-1][1]["code"] == code
    assert "secret" not in str(bob.vectors)
    assert GENERAL not in bob.connection.session.rooms


async def test_what_is_rolled_back_ends_nothing(hub: Hub, world: World, room: Room, bob: Listener) -> None:
    def change() -> None:
        with transaction.atomic():
            members.remove(world.acme, world.users["bob"])
            transaction.set_rollback(True)
        say(room, "still here")

    await hub.database.work(change)
    await bob.until(lambda one: "still here" in str(one.vectors))
    assert hub.watch.changes == 0


async def test_who_is_in_doubt_and_may_stay_gets_all_that_was_held(
    hub: Hub, world: World, room: Room, bob: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go = slow_gate(monkeypatch)
    await hub.database.work(members.set_part, room, world.users["bob"], "speaker")
    await until(asked.is_set)
    told = len(bob.vectors)
    await hub.database.work(say, room, "held back")
    assert len(bob.vectors) == told
    go.set()
    await bob.until(lambda one: "held back" in str(one.vectors))
    assert bob.seqs == sorted(set(bob.seqs))


async def test_without_the_database_who_is_in_doubt_stays_held(
    world: World, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = running._hub = Hub(Config(heal_interval=0.05, grant_ttl=3_600))
    hub.start()
    bob = Listener(hub, world.users["bob"].pk)
    await bob.join(GENERAL)
    real, tries = access.authorize_many, []

    def down(asks: Any) -> Any:
        tries.append(asks)
        raise OperationalError("gone")

    monkeypatch.setattr(watch.access, "authorize_many", down)
    await hub.database.work(members.set_part, room, world.users["bob"], "speaker")
    await hub.database.work(say, room, "held back")
    await until(lambda: len(tries) > 2)
    assert "held back" not in str(bob.vectors)
    monkeypatch.setattr(watch.access, "authorize_many", real)
    await bob.until(lambda one: "held back" in str(one.vectors))
    await running.stop()


async def test_a_right_that_ends_while_a_join_asks_is_not_installed(
    hub: Hub, world: World, room: Room, alice: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go = threading.Event(), threading.Event()
    real = access.authorize_many

    def early(asks: Any) -> Any:
        grants = real(asks)
        monkeypatch.setattr(access, "authorize_many", real)
        asked.set()
        assert go.wait(20)
        return grants

    monkeypatch.setattr(access, "authorize_many", early)
    late = Listener(hub, world.users["bob"].pk, 2)
    joining = asyncio.create_task(late.join(GENERAL))
    await until(asked.is_set)
    await hub.database.work(members.remove, world.acme, world.users["bob"])
    await hub.database.work(say, room, "secret")
    await alice.until(lambda one: "secret" in str(one.vectors))
    go.set()
    await joining
    await late.until(lambda one: one.vectors[-1][0] == "live.left")
    assert "secret" not in str(late.vectors)


async def test_a_node_that_could_not_look_for_long_delivers_nothing_until_it_has(
    hub: Hub, world: World, room: Room, bob: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was frozen, or the database was away: nobody knows who may still read."""
    hub.watch._swept -= 4_000
    told = len(bob.vectors)
    await hub.database.work(say, room, "who knows")
    await hub.heal()
    assert len(bob.vectors) == told
    await hub.watch.sweep()
    await bob.until(lambda one: "who knows" in str(one.vectors))


async def test_the_sweep_finds_what_nobody_told(hub: Hub, world: World, room: Room, bob: Listener) -> None:
    await hub.database.work(Membership.objects.filter(tenant=world.acme).update, role="guest")
    await hub.database.work(Room.objects.filter(pk=room.pk).update, visibility="private")
    await hub.watch.sweep()
    await bob.until(lambda one: one.vectors[-1][0] == "live.left")
    assert bob.vectors[-1][1]["code"] == "revoked"


# --- what was taken and waits for a socket that takes no more


async def stuck_with(hub: Hub, room: Room, bob: Listener, *texts: str) -> None:
    """These events were taken for bob; the first is in his socket, the others wait for it."""
    bob.takes.clear()
    for text in texts:
        await hub.database.work(say, room, text)
    reader = bob.connection.session.rooms[GENERAL]
    await until(lambda: bob.connection.owes(reader))


async def test_what_waits_for_a_full_socket_does_not_leave_after_a_revocation(
    hub: Hub, world: World, room: Room, bob: Listener
) -> None:
    await stuck_with(hub, room, bob, "handed over", "secret")
    await hub.database.work(members.set_part, room, world.users["bob"], "banned")
    await until(lambda: bob.connection.closed is not None)
    bob.takes.set()
    await bob.until(lambda one: one.closed is not None)
    assert bob.closed == TOO_SLOW  # it may come back, with its cursors, to what it may still see
    assert "handed over" in str(bob.vectors)
    assert "secret" not in str(bob.vectors)


async def test_what_waits_for_a_full_socket_stays_there_while_its_reader_is_in_doubt(
    hub: Hub, world: World, room: Room, bob: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stuck_with(hub, room, bob, "handed over", "in doubt")
    asked, go = slow_gate(monkeypatch)
    await hub.database.work(members.set_part, room, world.users["bob"], "speaker")
    await until(asked.is_set)
    bob.takes.set()
    await bob.until(lambda one: "handed over" in str(one.vectors))
    await until(lambda: bob.connection._task is None)
    assert "in doubt" not in str(bob.vectors)
    await hub.database.work(say, room, "after it")
    go.set()
    await bob.until(lambda one: "after it" in str(one.vectors))
    assert "in doubt" in str(bob.vectors)
    assert bob.seqs == sorted(set(bob.seqs))


async def test_a_connection_that_ends_in_doubt_takes_nothing_with_it(
    hub: Hub, world: World, room: Room, bob: Listener
) -> None:
    await stuck_with(hub, room, bob, "handed over", "in doubt")
    bob.connection.session.rooms[GENERAL].hold()
    bob.connection.close(UNAUTHENTICATED)
    bob.takes.set()
    await bob.until(lambda one: one.closed is not None)
    assert "in doubt" not in str(bob.vectors)


async def test_what_a_poll_took_of_a_reader_in_doubt_is_left_to_a_later_one(hub: Hub, world: World, room: Room) -> None:
    who = Identity(world.users["bob"].pk, Person("bob", "Bob"), None)
    poll = Poll(hub, Listening(TERMS, time.monotonic()), id="poll", who=who, cursor="", leave=lambda: None)
    hub.connections[poll.id] = poll
    await poll.join(Join(GENERAL, GENERAL, None))
    reader = poll.session.rooms[GENERAL]
    place = reader.cursor
    await hub.database.work(say, room, "in doubt")
    await until(lambda: reader.cursor > place)
    reader.hold()
    answer = msgspec.json.decode(poll.answer())
    assert "in doubt" not in str(answer)
    assert answer["cursor"].endswith(f":{place}")


async def test_a_command_that_waits_its_turn_is_refused_when_the_right_has_ended(
    hub: Hub, world: World, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go = threading.Event(), threading.Event()
    real = commands.perform_many

    def slow(batch: Any, **options: Any) -> Any:
        began.set()
        assert go.wait(20)
        return real(batch, **options)

    def sent(name: str, text: str) -> Any:
        return commands.command(world.users[name].pk, "chat.send", {"text": text}, room=GENERAL)

    monkeypatch.setattr(commands, "perform_many", slow)
    first = hub.writer.submit(sent("alice", "in time"))
    await until(began.is_set)
    second = hub.writer.submit(sent("bob", "too late"))
    await hub.database.work(members.set_part, room, world.users["bob"], "banned")
    go.set()
    assert isinstance(await first, bytes)
    refused = await second
    assert isinstance(refused, Refused)
    assert refused.code == "not_found"


# --- who it is


async def with_ticket(hub: Hub, world: World, listener: Listener) -> None:
    ticket = await hub.database.work(tickets.issue, world.users["bob"])
    who = await hub.database.work(tickets.identify, ticket.ticket)
    assert who is not None
    listener.connection.credential = who.credential


PEOPLE: dict[str, Callable[[Any], None]] = {
    "deactivated": lambda user: setattr(user, "is_active", False),
    "another password": lambda user: user.set_password("another"),
}


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("what", PEOPLE)
async def test_a_log_in_that_is_over_ends_the_connection(
    hub: Hub, world: World, room: Room, bob: Listener, what: str, told: bool
) -> None:
    await with_ticket(hub, world, bob)

    def change() -> None:
        users = get_user_model()._default_manager
        user = users.get(pk=world.users["bob"].pk)
        PEOPLE[what](user)
        if told:
            user.save()
        else:
            users.filter(pk=user.pk).update(is_active=user.is_active, password=user.password)
        say(room, "secret")

    await hub.database.work(change)
    if not told:
        bob.connection.looked_at -= 4_000
        await hub.watch.sweep()
    await bob.until(lambda one: one.closed is not None)
    assert bob.closed == UNAUTHENTICATED
    assert told is ("secret" not in str(bob.vectors))


async def test_a_log_in_is_no_change(hub: Hub, world: World, bob: Listener) -> None:
    def log_in() -> None:
        world.users["bob"].save(update_fields=["last_login"])

    await hub.database.work(log_in)
    assert hub.watch.changes == 0


async def test_a_ticket_that_is_over_ends_the_connection(hub: Hub, world: World, bob: Listener) -> None:
    await with_ticket(hub, world, bob)
    assert bob.connection.credential is not None
    await hub.tick(0)
    assert bob.connection.closed is None
    bob.connection.credential = replace(bob.connection.credential, expires=1.0)
    await hub.tick(0)
    await bob.until(lambda one: one.closed is not None)
    assert bob.closed == UNAUTHENTICATED

"""Many at once: one sequence a room, without gaps, in the order of the commits."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec
import pytest
from django.db import connection, connections

from rooms import commands, contract, log
from rooms.delivery.frames import Notice
from rooms.models import Message
from rooms.services import members
from tests.support.threads import at_once, postgresql_only
from tests.support.world import World

pytestmark = pytest.mark.django_db(transaction=True)

GENERAL = "acme/general"
TASKS = 200


def send(world: World, text: str, id: str | None = None) -> int:
    answer = commands.perform(world.users["bob"].pk, "chat.send", {"text": text}, room=GENERAL, id=id)
    return int(msgspec.json.decode(answer)["seq"])


@postgresql_only
def test_two_hundred_tasks_over_twenty_connections_leave_one_sequence_in_commit_order(
    world: World, announced: list[Notice], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks meanwhile sees the log up to some seq and nothing above it: so the order of the commits is that of
    the seqs, and no reader that saw 11 can miss 10.
    """
    monkeypatch.setattr(connection.pool, "timeout", 300)  # a slow machine is no reason to refuse one of them
    room = world.room(GENERAL)
    start = log.position(room).seq
    announced.clear()
    done = threading.Event()
    looks: list[int] = []

    def look() -> None:
        place = start
        try:
            while not (done.is_set() and place == start + TASKS):
                reading = log.read(room.pk, place, 1_000)
                assert reading is not None
                seqs = [entry.seq for entry in reading.entries]
                assert seqs == list(range(place + 1, reading.head + 1)), "a later one was committed before"
                place = reading.head
                looks.append(place)
                if done.is_set():
                    assert place == start + TASKS
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as observer:
        looking = observer.submit(look)
        try:
            seqs = at_once([partial(send, world, str(n)) for n in range(TASKS)])
        finally:
            done.set()
        looking.result()
    assert sorted(seqs) == list(range(start + 1, start + TASKS + 1))
    assert log.position(room).seq == start + TASKS
    assert Message.objects.filter(room=room).count() == TASKS
    assert sorted(entry.seq or 0 for notice in announced for entry in notice.entries) == sorted(seqs)
    assert len(set(looks)) > 2, "nobody looked while they wrote"


def test_the_same_id_from_many_at_once_is_one_effect_and_one_answer(world: World, key: str) -> None:
    assert len(set(at_once([partial(send, world, "hi", key) for _ in range(10)]))) == 1
    assert Message.objects.count() == 1


def test_two_owners_who_both_leave_at_once_are_not_both_gone(world: World) -> None:
    members.set_role(world.acme, world.users["ann"], "owner")

    def leave(name: str) -> str:
        try:
            members.remove(world.acme, world.users[name])
        except contract.Refused as refused:
            return refused.code
        return "ok"

    assert sorted(at_once([partial(leave, "alice"), partial(leave, "ann")])) == ["forbidden", "ok"]
    assert world.acme.memberships.filter(role="owner").count() == 1


def test_a_person_added_twice_at_once_is_added_once(world: World, announced: list[Notice]) -> None:
    announced.clear()
    at_once([partial(members.set_role, world.acme, world.users["carol"]) for _ in range(5)])
    assert world.acme.memberships.filter(user=world.users["carol"]).count() == 1
    assert [entry.name for notice in announced for entry in notice.entries] == ["member.added"]


def test_reactions_at_once_are_all_there(world: World) -> None:
    (sent,) = [commands.perform(world.users["bob"].pk, "chat.send", {"text": "hi"}, room=GENERAL)]
    message = msgspec.json.decode(sent)["message"]

    def react(name: str) -> None:
        commands.perform(world.users[name].pk, "chat.react", {"message": message, "emoji": "👍"}, room=GENERAL)

    names = ["alice", "ann", "bob", "dave"]
    at_once([partial(react, name) for name in names])
    assert sorted(Message.objects.get().reactions["👍"]) == sorted(world.id(name) for name in names)

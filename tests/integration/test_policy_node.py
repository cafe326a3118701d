"""A node under a host's policy: changes are found, told or not, and a policy that fails takes nobody else along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio

import rooms as live
from rooms import log
from rooms.conf import Config
from rooms.contract import Refused, Visibility
from rooms.models import Room
from rooms.node import running
from rooms.node.hub import Hub
from rooms.services import rooms
from tests.hostapp.models import Course, Enrolment
from tests.support.listeners import Listener, until
from tests.support.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]

LATIN = "acme/latin"


@pytest.fixture
def use(settings: Any) -> Callable[[str], None]:
    def change(path: str) -> None:
        settings.ROOMS = {"ACCESS": path}

    change("tests.hostapp.policy.CoursePolicy")
    return change


@pytest.fixture
def course(world: World, use: Callable[[str], None]) -> Course:
    """carol, who is nobody in acme, and bob are enrolled in it."""
    room = rooms.create(world.acme, "latin", name="Latin", visibility=Visibility.PRIVATE)
    course = Course.objects.create(room=room, title="Latin")
    for name in ("bob", "carol"):
        course.enrol(world.users[name])
    return course


@pytest_asyncio.fixture
async def bob(course: Course, bob: Listener) -> Listener:
    await bob.join(LATIN)
    return bob


@pytest_asyncio.fixture
async def carol(hub: Hub, course: Course, world: World) -> Listener:
    listener = Listener(hub, world.users["carol"].pk, 1)
    await listener.join(LATIN)
    return listener


def say(room: Room, text: str) -> None:
    log.append(room, "room.announcement", {"text": text})


async def test_who_is_dismissed_gets_nothing_that_comes_after_it(
    hub: Hub, world: World, course: Course, bob: Listener, carol: Listener
) -> None:
    def both() -> None:  # in one go: no turn of the loop in between is needed
        course.dismiss(world.users["bob"])
        say(course.room, "for pupils")

    await hub.database.work(both)
    await bob.until(lambda one: one.vectors[-1][0] == "live.left")
    await carol.until(lambda one: "for pupils" in str(one.vectors))
    assert bob.vectors[-1][1]["code"] == "revoked"
    assert "for pupils" not in str(bob.vectors)


async def test_a_course_that_is_changed_is_looked_at_for_all_of_its_people(
    hub: Hub, course: Course, bob: Listener, carol: Listener
) -> None:
    def close() -> None:
        course.enrolments.all().delete()
        live.access_changed(rooms=[course.room])

    await hub.database.work(close)
    for listener in (bob, carol):
        await listener.until(lambda one: one.vectors[-1][0] == "live.left")


async def test_what_nobody_tells_of_the_sweep_finds(
    hub: Hub, world: World, course: Course, bob: Listener, carol: Listener
) -> None:
    await hub.database.work(Enrolment.objects.filter(user=world.users["bob"]).delete)
    await hub.watch.sweep()
    await bob.until(lambda one: one.vectors[-1][0] == "live.left")
    await hub.database.work(say, course.room, "for pupils")
    await carol.until(lambda one: "for pupils" in str(one.vectors))


async def test_a_policy_that_cannot_bear_one_person_keeps_the_others(
    hub: Hub, world: World, course: Course, bob: Listener, carol: Listener, use: Callable[[str], None]
) -> None:
    await hub.database.work(Enrolment.objects.filter(user=world.users["bob"]).delete)
    use("tests.support.policies.Raises")  # at who is enrolled nowhere
    await hub.watch.sweep()
    await bob.until(lambda one: one.vectors[-1][0] == "live.left")
    await hub.database.work(say, course.room, "for pupils")
    await carol.until(lambda one: "for pupils" in str(one.vectors))
    with pytest.raises(Refused) as refused:
        await Listener(hub, world.users["bob"].pk, 2).join(LATIN)
    assert refused.value.code == "not_found"


async def test_while_a_policy_has_no_database_who_is_in_doubt_waits(
    world: World, course: Course, use: Callable[[str], None]
) -> None:
    hub = running._hub = Hub(Config(heal_interval=0.05, grant_ttl=3_600))
    hub.start()
    bob = Listener(hub, world.users["bob"].pk)
    await bob.join(LATIN)
    use("tests.support.policies.IsAway")
    await hub.database.work(live.access_changed, users=[world.users["bob"]])
    await until(lambda: all(reader.held for reader in bob.connection.session.rooms.values()))
    await hub.database.work(say, course.room, "held back")
    with pytest.raises(Refused) as refused:
        await Listener(hub, world.users["carol"].pk, 2).join(LATIN)
    assert refused.value.code == "unavailable"
    assert "held back" not in str(bob.vectors)
    use("tests.hostapp.policy.CoursePolicy")
    await bob.until(lambda one: "held back" in str(one.vectors))
    await running.stop()

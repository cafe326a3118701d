"""A host's own policy on the wire: who loses the course is out of its room, whatever the transport."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest

from tests.contract.test_endings import left
from tests.support.backends import BACKEND
from tests.support.cells import ROOMS, Cell, Links, path
from tests.support.live_clients import TRANSPORTS, LiveClient
from tests.support.sites import Sites

POLICY = {**ROOMS, "ACCESS": "tests.hostapp.policy.CoursePolicy"}
COURSES = """
    INSERT INTO hostapp_course (id, title, room_id)
    SELECT CAST(substr(slug, 6) AS INTEGER) + 1, name, id FROM rooms_room
    WHERE substr(slug, 1, 5) = 'case-' AND kind = 'room'
"""
SEEN = """
from rooms.models import AuditEntry
for row in AuditEntry.objects.filter(room="{room}", what="part").exclude(source="code"):
    print(row.actor_name, row.source, row.address, row.subject_name, row.after)
"""
PUPILS = 12  # rooms that are courses: case-0 has the course 1


def start(request: pytest.FixtureRequest, sites: Sites, stack: ExitStack, grant_ttl: float) -> Cell:
    servers = request.config.stash[BACKEND].postgres is not None
    layer, rooms = "valkey" if servers else "memory", {**POLICY, "GRANT_TTL": grant_ttl}
    limits = {"ROOMS_LIMITS": "off"}
    site = stack.enter_context(sites.running(layer=layer, nodes=2 if servers else 1, rooms=rooms, env=limits))
    cell = Cell(site, "uvicorn", layer, stack, rooms_made=PUPILS)
    cell.sql(COURSES)
    return cell


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest, sites: Sites) -> Iterator[Cell]:
    """Where nothing but word of the change ends anything in time."""
    with ExitStack() as stack:
        yield start(request, sites, stack, grant_ttl=3_000)


@pytest.fixture(scope="module")
def swept(request: pytest.FixtureRequest, sites: Sites) -> Iterator[Cell]:
    with ExitStack() as stack:
        yield start(request, sites, stack, grant_ttl=3)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def pupil(cell: Cell, room: str, name: str) -> str:
    """The address where the host enrols and dismisses."""
    return f"/host/courses/{course(room)}/people/{cell.user(name)}/"


def course(room: str) -> int:
    return int(room.partition("-")[2]) + 1


def enrol(cell: Cell, room: str, name: str) -> None:
    answer = cell.rest("alice").put(pupil(cell, room, name), json={})
    assert answer.status_code == 204, answer.text


async def attends(cell: Cell, kind: type[LiveClient], stack: AsyncExitStack, room: str) -> LiveClient:
    """carol, who is nobody in the tenant, in the room of her course."""
    links = Links(cell, kind, stack)
    before = await links.open("carol", {room: None})
    assert before.verdict(room) == "not_found"
    enrol(cell, room, "carol")
    client: LiveClient = await links.open("carol", {room: None})
    assert client.joins[room][1]["can"] == ["read", "write"]
    assert (await client.ask("chat.send", {"text": "salve"}, room))[0] == "live.ok"
    await client.hears(room, "salve")
    return client


async def is_out(cell: Cell, client: LiveClient, room: str) -> None:
    await left(client, room, "revoked")
    cell.say("alice", room, "carol has left us")
    assert (await client.ask("chat.send", {"text": "still here"}, room))[1]["code"] == "not_found"
    assert cell.rest("carol").get(path(room, "messages/")).status_code == 404
    assert client.texts(room) == ["salve"]


async def test_who_is_dismissed_is_out_at_once_when_the_host_says_so(
    told: Cell, kind: type[LiveClient], stack: AsyncExitStack
) -> None:
    room = told.room()
    client = await attends(told, kind, stack, room)
    assert told.rest("alice").delete(pupil(told, room, "carol")).status_code == 204
    began = time.monotonic()
    await left(client, room, "revoked")
    assert time.monotonic() - began < 10  # a second, on a machine that has nothing else to do; no sweep comes near
    await is_out(told, client, room)


async def test_who_is_dismissed_in_silence_is_out_with_the_next_sweep(
    swept: Cell, kind: type[LiveClient], stack: AsyncExitStack
) -> None:
    room = swept.room()
    client = await attends(swept, kind, stack, room)
    swept.sql("DELETE FROM hostapp_enrolment WHERE course_id = ? AND user_id = ?", course(room), swept.user("carol"))
    await is_out(swept, client, room)


async def test_who_is_made_a_teacher_moderates_without_joining_again(
    told: Cell, kind: type[LiveClient], stack: AsyncExitStack
) -> None:
    room = told.room()
    client = await attends(told, kind, stack, room)
    (message,) = told.say("alice", room, "to be deleted")
    assert (await client.ask("chat.delete", {"message": message}, room))[1]["code"] == "forbidden"
    assert told.rest("alice").put(pupil(told, room, "carol"), json={"teaches": True}).status_code == 204
    assert (await client.ask("chat.delete", {"message": message}, room))[0] == "live.ok"
    await client.until(lambda: any(name == "chat.deleted" for name, _, _ in client.of(room)))


async def test_what_moderators_change_is_recorded_with_who_and_where_from(told: Cell, stack: AsyncExitStack) -> None:
    """However many of their commands go into one transaction, on whatever transport they come."""
    room, pupils = told.room(), ["bob", "dave", "erin"]
    for name in pupils:
        enrol(told, room, name)
    assert told.rest("alice").put(pupil(told, room, "carol"), json={"teaches": True}).status_code == 204
    clients = []
    for number, by in enumerate(TRANSPORTS):
        caller = told.caller(("alice", "carol")[number % 2], **{"X-Forwarded-For": f"203.0.113.{number}"})
        clients.append(await Links(told, by, stack).open(caller, {room: None}))
    commands = [
        client.ask("course.expel", {"user": told.user(name)}, room)
        for client, name in zip(clients, pupils, strict=True)
    ]
    assert [answer[0] for answer in await asyncio.gather(*commands)] == ["live.ok"] * 3
    answer = told.rest("alice").put(path(room, f"members/{told.user('dave')}/"), json={"role": "speaker"})
    assert answer.status_code == 200, answer.text
    lines = told.site.manage("shell", "-v0", "-c", SEEN.format(room=room)).splitlines()
    assert sorted(lines) == [
        "alice live 203.0.113.0 bob banned",
        "alice live 203.0.113.2 erin banned",
        "alice rest 127.0.0.1 dave speaker",
        "carol live 203.0.113.1 dave banned",
    ]

"""carol of globex detects nothing of acme: forbidden to know is answered as not there, byte for byte."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rooms import models, services
from rooms.contract import new_command_id

TENANT = ["", "members/", "members/{alice}/", "members/{carol}/", "rooms/"]
ROOM = ["", "members/", "members/{alice}/", "messages/", "messages/{message}/", "events/", "events/?after=3&limit=2"]
BODIES: dict[str, list[Any]] = {
    "get": [None],
    "delete": [None],
    "post": [{"text": "x"}, {"slug": "x", "name": "X"}, {"user": "1"}, {}, {"nonsense": 1}],
    "patch": [{"text": "x"}, {"name": "x"}, {"role": "member"}, {"role": "speaker"}, {}, {"nonsense": 1}],
    "put": [{"role": "member"}, {"role": "speaker"}, {}],
}
HEADERS = [{"If-Match": '"1"'}, {"If-Match": "nonsense"}, {"Idempotency-Key": "0123456789abcdef"}]


def asked(person: Any, method: str, path: str, data: Any, headers: dict[str, str]) -> tuple[Any, int]:
    """Status, headers and body of the answer, and how many statements it cost."""
    with CaptureQueriesContext(connection) as queries:
        answer = person(method, path, data, **headers)
    shown = sorted((name, value) for name, value in answer.items() if name != "Date")
    return (answer.status_code, shown, answer.content), len(queries)


def same(person: Any, forbidden: str, absent: str) -> set[int]:
    """Ask for both in every way; gives the statuses that came."""
    statuses = set()
    for method, bodies in BODIES.items():
        asks = [(data, {}) for data in bodies]
        if method != "get":
            asks += [(bodies[0], headers) for headers in HEADERS]
        for data, headers in asks:
            one = asked(person, method, forbidden, data, headers)
            assert one == asked(person, method, absent, data, headers), (method, forbidden, data, headers)
            statuses.add(one[0][0])
    return statuses


@pytest.fixture
def ids(world) -> dict[str, str]:
    message = world.say("alice", "for acme alone")["id"]
    return {name: world.id(name) for name in world.users} | {"message": message}


@pytest.mark.parametrize("rest", TENANT)
def test_a_tenant_of_others_is_as_one_that_is_not_there(world, ids, rest):
    rest = rest.format(**ids)
    statuses = same(world.carol, f"tenants/acme/{rest}", f"tenants/nope/{rest}")
    assert 404 in statuses
    assert statuses <= {400, 404, 405}


@pytest.mark.parametrize("rest", ROOM)
def test_a_room_of_others_is_as_one_that_is_not_there(world, ids, rest):
    rest = rest.format(**ids)
    for absent in (f"tenants/acme/rooms/nope/{rest}", f"tenants/nope/rooms/general/{rest}"):
        statuses = same(world.carol, f"tenants/acme/rooms/general/{rest}", absent)
        assert 404 in statuses
        assert statuses <= {400, 404, 405}


@pytest.mark.parametrize("slug", ["lobby", "board", "~all", "~me", "general~mods"])
def test_and_so_is_every_kind_of_room(world, ids, slug):
    for rest in ("", "messages/", "events/"):
        statuses = same(world.carol, f"tenants/acme/rooms/{slug}/{rest}", f"tenants/acme/rooms/nope/{rest}")
        assert 404 in statuses
        assert statuses <= {400, 404, 405}


@pytest.mark.parametrize(("name", "slug"), [("erin", "board"), ("bob", "general~mods")])
def test_a_private_room_is_as_one_that_is_not_there_within_the_tenant_too(world, ids, name, slug):
    for rest in ROOM:
        rest = rest.format(**ids)
        person = getattr(world, name)
        assert 404 in same(person, f"tenants/acme/rooms/{slug}/{rest}", f"tenants/acme/rooms/nope/{rest}")


def test_a_banned_person_and_a_suspended_tenant_see_no_room(world, ids):
    services.members.set_part(world.room("acme/general"), world.users["bob"], "banned")
    same(world.bob, "tenants/acme/rooms/general/", "tenants/acme/rooms/nope/")
    same(world.bob, "tenants/acme/rooms/general/messages/", "tenants/acme/rooms/nope/messages/")
    services.tenants.update(world.acme, active=False)
    assert same(world.alice, "tenants/acme/", "tenants/nope/") <= {400, 404, 405}
    assert same(world.alice, "tenants/acme/rooms/general/", "tenants/acme/rooms/nope/") <= {400, 404, 405}


def test_a_message_is_found_in_its_own_room_only(world, ids):
    """By its id through a room that one may read: as one that never was, for reading and for writing."""
    hidden = world.say("bob", "on the board", "acme/board")["id"]
    never = str(models.new_id())
    for room in ("acme/rooms/general", "acme/rooms/lobby", "acme/rooms/~all"):
        same(world.dave, f"tenants/{room}/messages/{hidden}/", f"tenants/{room}/messages/{never}/")
    same(
        world.carol,
        f"tenants/globex/rooms/general/messages/{hidden}/",
        f"tenants/globex/rooms/general/messages/{never}/",
    )
    answers = [
        world.carol.post("tenants/globex/rooms/general/messages/", {"text": "x", "reply_to": id})
        for id in (hidden, never)
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert answers[0].content == answers[1].content


def test_a_member_of_another_tenant_is_as_a_person_who_is_not_there(world, ids):
    never = "123456789"
    same(world.dave, f"tenants/acme/members/{world.id('carol')}/", f"tenants/acme/members/{never}/")
    for path in ("tenants/acme/rooms/general/members/", "tenants/acme/rooms/board/members/"):
        same(world.alice, f"{path}{world.id('carol')}/", f"{path}{never}/")


def test_what_was_refused_changed_nothing(world, ids):
    before = list(models.RoomLog.objects.order_by("room").values_list("room", "head"))
    for rest in ("", "messages/", "messages/{message}/", "members/"):
        same(
            world.carol,
            f"tenants/acme/rooms/general/{rest.format(**ids)}",
            "tenants/acme/rooms/nope/" + rest.format(**ids),
        )
    assert list(models.RoomLog.objects.order_by("room").values_list("room", "head")) == before
    assert not models.CommandResult.objects.filter(user=world.users["carol"]).exists()


def test_a_cursor_of_another_list_is_a_place_and_no_key(world):
    """Copied from a room of acme it shows rows of one's own list only, as any other number would."""
    for number in range(5):
        world.say("alice", f"acme {number}")
        world.say("carol", f"globex {number}", "globex/general")
    link = world.alice.get("tenants/acme/rooms/general/messages/?limit=2").json()["next"]
    answer = world.carol.get(f"tenants/globex/rooms/general/messages/?{link.partition('?')[2]}")
    assert answer.status_code == 200
    assert answer.json()["results"]
    assert all(row["text"].startswith("globex") for row in answer.json()["results"])

    for query in (
        "?cursor=" + b64encode(b"p=3").decode(),
        "?limit=1",
        "?search=acme",
        "?tenant=acme",
        "?room=acme/general",
    ):
        found = world.carol.get(f"tenants/globex/rooms/general/messages/{query}").content
        assert b"acme " not in found
        assert asked(world.carol, "get", f"tenants/acme/rooms/general/messages/{query}", None, {}) == asked(
            world.carol, "get", f"tenants/acme/rooms/nope/messages/{query}", None, {}
        )


def test_lists_hold_nothing_of_others(world, ids):
    for path in ("tenants/", "tenants/globex/rooms/", "tenants/globex/members/", "tenants/globex/rooms/~all/events/"):
        assert b"cme" not in world.carol.get(path).content


def test_the_key_of_somebody_elses_command_tells_nothing(world):
    key = new_command_id()
    world.alice.post("tenants/acme/rooms/general/messages/", {"text": "hi"}, Idempotency_Key=key)
    for used in (key, new_command_id()):
        answer = world.carol.post("tenants/acme/rooms/general/messages/", {"text": "hi"}, Idempotency_Key=used)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

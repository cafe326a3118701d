"""Who is here, as a site asks: ``rooms.connected`` and REST."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import rooms
from presence.api import PresencePage, Whereabouts, place, token
from presence.contract import PresenceState
from presence.directory import Place
from presence.models import Node, RoomPresence, Visit
from rooms.models import new_id
from rooms.node import attendance
from tests.integration.test_api_isolation import asked
from tests.support.presents import Attendant
from tests.support.world import Rest, World

pytestmark = pytest.mark.django_db

GENERAL = "tenants/acme/rooms/general/presence/"


@pytest.fixture
def node(world: World) -> Attendant:
    return Attendant()


# --- rooms.connected


def test_connected_is_who_is_in_any_room_of_the_tenant_by_what_carries_them(world: World, node: Attendant) -> None:
    alice, bob, dave, carol = (world.users[name] for name in ("alice", "bob", "dave", "carol"))
    general, lobby, elsewhere = (world.room(address) for address in ("acme/general", "acme/lobby", "globex/general"))
    node.come(alice, general, lobby)
    node.come(alice, lobby, transport="sse")
    Attendant().come(bob, general, transport="poll")
    node.come(dave, elsewhere)
    node.come(carol)
    ids = {name: world.id(name) for name in ("alice", "bob", "dave")}
    assert rooms.connected("acme") == {
        "ws": {ids["alice"]},
        "sse": {ids["alice"]},
        "poll": {ids["bob"]},
        "any": {ids["alice"], ids["bob"]},
    }
    with CaptureQueriesContext(connection) as queries:
        assert rooms.connected(world.globex) == {"ws": {ids["dave"]}, "sse": set(), "poll": set(), "any": {ids["dave"]}}
    assert len(queries) == 1
    assert rooms.connected("nope")["any"] == set()


def test_who_left_is_not_connected_even_while_the_room_waits_for_them(world: World, node: Attendant) -> None:
    holding = node.come(world.users["bob"], world.room("acme/general"))
    node.go(holding)
    assert world.alice.get(GENERAL).json()["count"] == 1
    assert rooms.connected("acme")["any"] == set()


def test_nobody_is_connected_to_a_node_whose_lease_is_over(world: World, node: Attendant) -> None:
    node.come(world.users["bob"], world.room("acme/general"))
    assert rooms.connected("acme")["any"] == {world.id("bob")}
    Node.objects.update(lease_ends=timezone.now() - timedelta(seconds=1))
    assert rooms.connected("acme")["any"] == set()


def test_without_presence_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "_ask", None)
    with pytest.raises(ImproperlyConfigured, match='add "presence" to INSTALLED_APPS'):
        rooms.connected("acme")


# --- REST


def pages(person: Any, path: str) -> list[list[str]]:
    """The names on this page and on those that follow."""
    found = []
    while path:
        answer = person.get(path).json()
        found.append([one["user"]["name"] for one in answer["people"]])
        path = (answer["next"] or "").partition("/api/")[2]
    return found


def test_a_rooms_people_are_those_of_presence_state(world: World, node: Attendant) -> None:
    node.come(world.users["bob"], world.room("acme/general"))
    node.come(world.users["bob"], world.room("acme/general"), transport="sse", device="mobile")
    answer = world.erin.get(GENERAL)
    assert answer.headers["Cache-Control"] == "no-store"
    [person] = answer.json()["people"]
    visit = Visit.objects.get()
    assert answer.json() == {"people": [person], "count": 1, "next": None}
    assert person["user"] == {"id": world.id("bob"), "name": "bob"}
    assert (person["status"], person["text"]) == ("active", "")
    assert [(meta["transport"], meta["device"]) for meta in person["metas"]] == [("ws", "desktop"), ("sse", "mobile")]
    assert set(PresenceState.__struct_fields__) <= set(PresencePage.__struct_fields__)
    assert Rest().get(GENERAL).status_code == 401
    assert place(token(Place(visit.since, visit.pk))) == (visit.since, visit.pk)


def test_pages_follow_each_other_though_people_come_and_go(world: World, node: Attendant) -> None:
    general = world.room("acme/general")
    holdings = {name: node.come(world.users[name], general) for name in ("bob", "erin", "alice", "ann")}
    assert pages(world.dave, f"{GENERAL}?limit=2") == [["bob", "erin"], ["alice", "ann"]]
    first = world.dave.get(f"{GENERAL}?limit=2").json()
    assert first["count"] == 4
    for name in ("bob", "erin", "alice"):
        node.go(holdings[name], grace=0)
    node.come(world.users["bob"], general)
    assert pages(world.dave, first["next"].partition("/api/")[2]) == [["ann", "bob"]]


def test_who_came_together_has_an_order_too(world: World, node: Attendant) -> None:
    general = world.room("acme/general")
    for name in ("bob", "erin", "alice", "ann", "dave"):
        node.come(world.users[name], general)
    Visit.objects.update(since=timezone.now())
    found = pages(world.bob, f"{GENERAL}?limit=2")
    assert [len(page) for page in found] == [2, 2, 1]
    assert sorted(name for page in found for name in page) == ["alice", "ann", "bob", "dave", "erin"]


def test_a_room_above_the_limit_names_its_people_here(world: World, node: Attendant, settings: Any) -> None:
    settings.ROOMS = {"ROSTER_LIMIT": 1}
    for name in ("bob", "erin"):
        node.come(world.users[name], world.room("acme/general"))
    assert pages(world.bob, GENERAL) == [["bob", "erin"]]


@pytest.mark.parametrize("after", ["", "x", "MTI", "8J-YgA", "MS4" + "A" * 40, "x" * 3_000])
def test_a_place_of_somebody_elses_making_is_bad_data(world: World, after: str) -> None:
    answer = world.bob.get(f"{GENERAL}?after={after}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_data")


def test_a_place_beyond_all_time_is_bad_data(world: World) -> None:
    now = Place(timezone.now(), new_id())
    assert world.bob.get(f"{GENERAL}?after={token(now)}").status_code == 200
    late = urlsafe_b64encode(f"{'9' * 18}.{now.visit.hex}".encode()).decode()
    assert world.bob.get(f"{GENERAL}?after={late}").status_code == 400


def test_one_person_is_here_or_was_seen_last_or_never_came(world: World, node: Attendant) -> None:
    general = world.room("acme/general")
    holding = node.come(world.users["bob"], general)
    node.come(world.users["erin"], world.room("acme/lobby"))
    since = world.alice.get(GENERAL).json()["people"][0]["since"]
    person = {"id": world.id("bob"), "name": "bob"}
    path = f"{GENERAL}{world.id('bob')}/"
    assert world.erin.get(path).json() == {"user": person, "here": True, "since": since}
    node.go(holding, grace=0)
    gone = world.erin.get(path).json()
    assert gone == {"user": person, "here": False, "last_seen": gone["last_seen"]}
    assert gone["last_seen"] > since
    assert set(gone) < set(Whereabouts.__struct_fields__)
    for never in (world.id("erin"), world.id("carol"), "0", "007", "x", "9" * 40):
        answer = world.alice.get(f"{GENERAL}{never}/")
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such member.")


ROOM = ["presence/", "presence/?limit=1", "presence/?after=x", "presence/{bob}/", "presence/{carol}/", "presence/x/"]


@pytest.mark.parametrize("rest", ROOM)
def test_who_is_in_a_room_of_others_is_as_in_one_that_is_not_there(world: World, node: Attendant, rest: str) -> None:
    for address in ("acme/general", "acme/board"):
        node.come(world.users["bob"], world.room(address))
    rest = rest.format(bob=world.id("bob"), carol=world.id("carol"))
    cases = [
        (world.carol, "acme/rooms/general", ["acme/rooms/nope", "nope/rooms/general"]),
        (world.erin, "acme/rooms/board", ["acme/rooms/nope"]),
        (Rest(), "acme/rooms/general", ["acme/rooms/nope"]),
    ]
    for person, hidden, absent in cases:
        one = asked(person, "get", f"tenants/{hidden}/{rest}", None, {})
        assert one[0][0] == (404 if person.user else 401)
        for other in absent:
            assert asked(person, "get", f"tenants/{other}/{rest}", None, {}) == one


def test_a_page_costs_as_many_statements_for_many_as_for_one(world: World, node: Attendant) -> None:
    general = world.room("acme/general")

    def cost() -> int:
        return asked(world.bob, "get", GENERAL, None, {})[1]

    node.come(world.users["bob"], general)
    one = cost()
    for name in ("erin", "alice", "ann", "dave"):
        node.come(world.users[name], general)
        node.come(world.users[name], general, transport="sse")
    assert cost() == one
    assert one == 2 + 1 + 3  # the session and its user, the gate, and the directory


# --- forgetting


def tidy() -> str:
    out = StringIO()
    call_command("tidy", stdout=out)
    return out.getvalue()


def test_visits_of_accounts_and_rooms_that_are_gone_are_forgotten(world: World, node: Attendant) -> None:
    general, now = world.room("acme/general"), timezone.now()
    node.come(world.users["bob"], general)
    assert tidy().count("\n") == 1
    gone = new_id()
    Visit.objects.create(id=Visit.key(general.pk, 10**9), room=general, user_id=10**9, since=now)
    Visit.objects.create(
        id=Visit.key(gone, world.id("bob")), room_id=gone, user=world.users["bob"], since=now, ended=now
    )
    RoomPresence.objects.create(room_id=gone, version=3)
    assert world.alice.get(f"{GENERAL}{10**9}/").status_code == 404
    assert len(world.alice.get(GENERAL).json()["people"]) == 1
    assert tidy().splitlines()[1:] == ["Gone: 2 visits of accounts or rooms that are gone."]
    assert [visit.user_id for visit in Visit.objects.all()] == [world.users["bob"].pk]
    assert [row.room_id for row in RoomPresence.objects.all()] == [general.pk]

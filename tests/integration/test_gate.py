"""The gate on real rows: who may know of which room, whatever the address says."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rooms import access
from rooms.access import authorize, authorize_many
from rooms.contract import Refused, Right
from rooms.models import Room
from rooms.policy import MANAGE, READ, WRITE
from rooms.services import members, rooms, tenants
from tests.support.world import World


def can(world: World, name: str | None, address: str) -> set[str]:
    user = None if name is None else world.users[name].pk
    grant = authorize_many([(user, address)]).get((user, address))
    return set() if grant is None else set(map(str, grant.can))


EVERYBODY = ("alice", "ann", "bob", "erin", "carol", "dave", None)


def test_many_are_asked_for_in_one_query(world: World) -> None:
    asks = [
        (None if name is None else world.users[name].pk, address)
        for name in EVERYBODY
        for address in ("acme/general", "acme/~all", "acme/~me", "acme/board~mods", "globex/general", "no/where")
    ]
    with CaptureQueriesContext(connection) as queries:
        grants = authorize_many([*asks, *asks])
    assert len(queries) == 1
    for user, address in asks:
        alone = authorize_many([(user, address)])
        assert alone.get((user, address)) == grants.get((user, address))


def test_a_room_that_one_may_not_know_of_costs_what_one_costs_that_is_not_there(world: World) -> None:
    told = []
    for address in ("acme/board", "acme/nothing", "nothing/board"):
        with CaptureQueriesContext(connection) as queries, pytest.raises(Refused) as refused:
            authorize(world.users["erin"].pk, address)
        told.append((len(queries), refused.value.as_data()))
    assert told[0] == told[1] == told[2]


def test_nothing_is_asked_for_nothing(world: World) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert authorize_many([]) == {}
    assert len(queries) == 0


def test_thousands_can_be_asked_for(world: World) -> None:
    bob = world.users["bob"].pk
    asks = [(bob, f"acme/room-{n}") for n in range(20_000)]
    assert set(authorize_many([*asks, (bob, "acme/general")])) == {(bob, "acme/general")}


def test_a_grant_says_of_whom_where_and_what(world: World) -> None:
    room = world.room("acme/general")
    grant = authorize(world.users["bob"].pk, "acme/general")
    assert (grant.user, grant.room, grant.address, grant.can) == (world.users["bob"].pk, room.pk, "acme/general", WRITE)
    assert authorize(world.users["alice"].pk, "acme/general").can == MANAGE
    assert authorize(world.users["erin"].pk, "acme/general").can == READ
    with pytest.raises(Refused) as refused:
        grant.require(Right.MODERATE)
    assert refused.value.code == "forbidden"


# --- rooms that are there by themselves


def test_all_is_for_members(world: World) -> None:
    readers = {name for name in EVERYBODY if can(world, name, "acme/~all")}
    assert readers == {"alice", "ann", "bob", "erin", "dave"}
    assert can(world, "alice", "acme/~all") == {"read", "manage"}
    assert can(world, "bob", "acme/~all") == {"read"}


def test_me_is_another_room_for_everybody_and_none_for_outsiders(world: World) -> None:
    mine = {}
    for name in EVERYBODY:
        user = None if name is None else world.users[name].pk
        grant = authorize_many([(user, "acme/~me")]).get((user, "acme/~me"))
        if grant is not None:
            mine[name] = grant.room
            assert grant.can == READ
            assert Room.objects.get(pk=grant.room).owner_id == user
    assert set(mine) == {"alice", "ann", "bob", "erin", "dave"}
    assert len(set(mine.values())) == 5


def test_dave_has_a_me_in_each_of_his_tenants(world: World) -> None:
    dave = world.users["dave"].pk
    grants = authorize_many([(dave, "acme/~me"), (dave, "globex/~me")])
    assert len({grant.room for grant in grants.values()}) == 2


@pytest.mark.parametrize("name", ["alice", "bob", "carol", None])
def test_somebodys_me_has_no_address_but_its_owners(world: World, name: str | None) -> None:
    for slug in Room.objects.filter(kind=Room.Kind.ME).values_list("slug", flat=True):
        for address in (f"acme/{slug}", f"globex/{slug}", f"acme/{slug}~mods", f"acme/x~me.{slug}"):
            assert can(world, name, address) == set()


def test_mods_are_those_who_moderate(world: World) -> None:
    members.set_part(world.room("acme/general"), world.users["erin"], "moderator")
    assert {name for name in EVERYBODY if can(world, name, "acme/general~mods")} == {"alice", "ann", "erin"}
    assert can(world, "erin", "acme/general~mods") == {"read", "write"}
    for address in ("acme/~all~mods", "acme/~me~mods", "acme/general~mods~mods"):
        assert can(world, "alice", address) == set()


# --- what ends rights


def test_who_is_banned_has_no_room_and_admins_cannot_be(world: World) -> None:
    room = world.room("acme/lobby")
    for name in ("bob", "ann", "alice"):
        members.set_part(room, world.users[name], "banned")
    assert can(world, "bob", "acme/lobby") == set()
    assert Right.MANAGE in can(world, "ann", "acme/lobby")
    assert Right.MANAGE in can(world, "alice", "acme/lobby")


def test_a_ban_outlives_the_membership(world: World, settings: Any) -> None:
    settings.ROOMS = {"PUBLIC_READ": True}
    members.set_part(world.room("acme/lobby"), world.users["bob"], "banned")
    members.remove(world.acme, world.users["bob"])
    assert can(world, "bob", "acme/lobby") == set()
    members.set_role(world.acme, world.users["bob"])
    assert can(world, "bob", "acme/lobby") == set()
    assert can(world, "bob", "acme/general") == {"read", "write"}


def test_a_part_other_than_a_ban_ends_with_the_membership(world: World) -> None:
    members.remove(world.acme, world.users["bob"])
    members.set_role(world.acme, world.users["bob"])
    assert can(world, "bob", "acme/board") == set()


def test_nobody_writes_in_an_archived_room_nor_in_its_mods(world: World) -> None:
    rooms.update(world.room("acme/general"), archived=True)
    assert can(world, "alice", "acme/general") == {"read", "manage"}
    assert can(world, "bob", "acme/general") == {"read"}
    assert can(world, "alice", "acme/general~mods") == {"read"}
    assert authorize(world.users["alice"].pk, "acme/general~mods").archived


def test_only_moderators_write_in_a_read_only_room(world: World) -> None:
    assert can(world, "bob", "acme/announcements") == {"read"}
    assert can(world, "alice", "acme/announcements") == {"read", "write", "moderate", "manage"}
    members.set_part(world.room("acme/announcements"), world.users["erin"], "moderator")
    assert can(world, "erin", "acme/announcements") == {"read", "write", "moderate"}


def test_a_suspended_tenant_is_closed_to_its_owner_too(world: World) -> None:
    tenants.update(world.acme, active=False)
    for address in ("acme/general", "acme/~all", "acme/~me", "acme/general~mods", "acme/lobby"):
        assert all(can(world, name, address) == set() for name in EVERYBODY)
    assert can(world, "dave", "globex/general") == {"read", "write"}


def test_a_deactivated_user_and_one_who_is_gone_have_no_rooms(world: World) -> None:
    bob = world.users["bob"]
    bob.is_active = False
    bob.save()
    assert can(world, "bob", "acme/general") == set()
    gone = world.users["dave"].pk
    world.users["dave"].delete()
    assert authorize_many([(gone, "acme/general"), (gone, "acme/lobby")]) == {}


def test_public_rooms_are_read_by_outsiders_only_where_the_site_says_so(world: World, settings: Any) -> None:
    assert can(world, "carol", "acme/lobby") == set()
    assert can(world, None, "acme/lobby") == set()
    settings.ROOMS = {"PUBLIC_READ": True}
    assert can(world, "carol", "acme/lobby") == {"read"}
    assert can(world, None, "acme/lobby") == {"read"}
    for address in ("acme/general", "acme/board", "acme/~all", "acme/~me", "acme/lobby~mods"):
        assert can(world, None, address) == can(world, "carol", address) == set()


# --- hostile addresses

HOSTILE = [
    "",
    "/",
    "acme",
    "acme/",
    "/general",
    "acme//general",
    "acme/general/",
    "acme/general/x",
    " acme/general",
    "acme/general ",
    "acme/general\n",
    "acme/GENERAL",
    "ACME/general",
    "acme/%",
    "acme/_eneral",
    "acme/gener%",
    "acme/general%00",
    "%s/%s",
    "acme/%(x)s",
    "acme/general\0",
    "a\0cme/general",
    "acme/gen\u0435ral",  # a Cyrillic letter
    "acme/\uff47eneral",
    "acme/gene\u0301ral",
    "acme/general' OR '1'='1",
    'acme/general"; --',
    "acme/~ME",
    "acme/~me.",
    "acme/~me.0",
    "acme/~me.None",
    "acme/~mods",
    "x" * 100_000,
    "acme/" + "x" * 100_000,
    "acme/\U0001f600",
]


@pytest.mark.parametrize("address", HOSTILE, ids=lambda address: ascii(address[:20]))
def test_what_is_no_address_is_no_room_for_anybody(world: World, address: str) -> None:
    for name in ("alice", "carol", None):
        assert can(world, name, address) == set()


@pytest.mark.parametrize("address", ["acme/\ud800", "\udfff/general"], ids=["room", "tenant"])
def test_a_lone_surrogate_is_no_room_either(world: World, address: str) -> None:
    """No transport lets one through; whoever asks the gate directly gets its answer and not an exception."""
    assert can(world, "alice", address) == set()


def test_rooms_that_one_may_see_are_listed_by_the_same_gate(world: World) -> None:
    def seen(name: str) -> list[str]:
        return [room.slug for room in access.visible_rooms(world.users[name].pk, world.acme)]

    assert seen("alice") == ["announcements", "board", "general", "lobby"]
    assert seen("bob") == ["announcements", "board", "general", "lobby"]
    assert seen("erin") == ["announcements", "general", "lobby"]
    assert seen("carol") == []

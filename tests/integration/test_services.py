"""State and events are fresh state: whoever held what was there before and applied what was told holds what is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from rooms import commands, contract, log
from rooms.contract import Refused
from rooms.models import Membership, Message, Participant, Room
from rooms.services import members, rooms, tenants
from tests.support.world import World

ROOMS = ("general", "board", "lobby")


def plain(value: msgspec.Struct) -> Any:
    return msgspec.to_builtins(value)


def shown(room: Room) -> dict[str, Any]:
    """A room without its head, which moves with every event."""
    return {name: value for name, value in plain(contract.Room.from_row(room)).items() if name != "head"}


def known_rooms(tenant: Any) -> list[Room]:
    found = Room.objects.filter(tenant=tenant, kind__in=("room", "all")).select_related("tenant", "log")
    return [room for room in found if room.visibility != "private"]


def fresh(tenant: Any) -> dict[str, Any]:
    """All that acme's logs tell of, read from the rows."""
    people = Membership.objects.filter(tenant=tenant).select_related("user")
    state: dict[str, Any] = {
        "~all": {
            "members": {str(one.user_id): plain(contract.Member.from_row(one)) for one in people},
            "rooms": {room.slug: shown(room) for room in known_rooms(tenant)},
        }
    }
    for room in Room.objects.filter(tenant=tenant, slug__in=ROOMS).select_related("tenant", "log"):
        parts = Participant.objects.filter(room=room).select_related("user")
        messages = Message.objects.filter(room=room).select_related("author")
        state[room.slug] = {
            "room": shown(room),
            "parts": {str(part.user_id): plain(contract.Member.from_row(part)) for part in parts},
            "messages": {str(one.pk): plain(contract.Message.from_row(one)) for one in messages},
            "reactions": {
                f"{one.pk}:{emoji}": sorted(users) for one in messages for emoji, users in one.reactions.items()
            },
        }
    return state


def apply(state: dict[str, Any], name: str, data: Any, meta: dict[str, Any]) -> None:
    """What a client does with an event of a room."""
    noun, _, verb = name.partition(".")
    if noun == "member":
        people = state["parts" if "parts" in state else "members"]
        people.pop(data["user"]["id"], None)
        if verb != "removed":
            people[data["user"]["id"]] = data
    elif name == "room.announcement":
        pass
    elif name == "room.removed":
        del state["rooms"][data["slug"]]
    elif noun == "room":
        object = {key: value for key, value in data.items() if key != "head"}
        if "rooms" in state:
            state["rooms"][data["slug"]] = object
        else:
            state["room"] = object
    elif name == "chat.deleted":
        message = {**state["messages"][data["message"]["id"]], **data["message"]}
        del message["text"]
        state["messages"][message["id"]] = message
    elif name in ("chat.message", "chat.edited"):
        state["messages"][data["message"]["id"]] = data["message"]
    elif name == "chat.reaction":
        state["reactions"].pop(meta["key"], None)
        if data is not None:
            state["reactions"][meta["key"]] = sorted(data["users"])


def names(addresses: dict[str, log.Reading]) -> list[str]:
    return [f"{slug} {entry.name}" for slug, reading in sorted(addresses.items()) for entry in reading.entries]


Verify = Callable[[Callable[[], Any]], list[str]]


@pytest.fixture
def verify(world: World) -> Verify:
    """Runs an action; gives ``<room> <event>`` of all that was told, once it was enough."""

    def run(action: Callable[[], Any]) -> list[str]:
        logs = {room.slug: room for room in Room.objects.filter(tenant=world.acme, slug__in=("~all", *ROOMS))}
        places = {slug: log.position(room).seq for slug, room in logs.items()}
        state = fresh(world.acme)
        action()
        readings = {}
        for slug, room in logs.items():
            reading = log.read(room.pk, places[slug], 1_000)
            assert reading is not None
            readings[slug] = reading
            for entry in reading.entries:
                name, data, meta = msgspec.json.decode(entry.vector)
                apply(state[slug], name, data, meta)
        assert state == fresh(world.acme)
        return names(readings)

    return run


def do(world: World, who: str, name: str, room: str = "general", **data: Any) -> Any:
    return msgspec.json.decode(commands.perform(world.users[who].pk, name, data, room=f"acme/{room}"))


# --- tenants, rooms


def test_a_tenant_is_renamed(world: World, verify: Verify) -> None:
    assert verify(lambda: tenants.update(world.acme, name="Acme & Sons")) == ["~all room.updated"]
    assert verify(lambda: tenants.update(world.acme, name="Acme & Sons")) == []


def test_a_room_is_created(world: World, verify: Verify) -> None:
    assert verify(lambda: rooms.create(world.acme, "new", name="New", by=world.users["bob"])) == ["~all room.created"]
    assert world.room("acme/new~mods").parent == world.room("acme/new")


def test_who_makes_a_room_takes_part_as_a_member_only(world: World) -> None:
    for name, people in (("bob", [("bob", "moderator")]), ("carol", [])):  # carol is of another tenant
        room = rooms.create(world.acme, f"of-{name}", name="New", by=world.users[name])
        assert list(room.participants.values_list("user__username", "role")) == people


def test_a_private_room_is_created_and_nobody_hears_of_it(world: World, verify: Verify) -> None:
    assert verify(lambda: rooms.create(world.acme, "cellar", name="Cellar", visibility="private")) == []


@pytest.mark.parametrize(
    ("slug", "given", "told"),
    [
        ("general", {"name": "Other"}, ["general room.updated", "~all room.updated"]),
        ("general", {"read_only": True}, ["general room.updated", "~all room.updated"]),
        ("general", {"archived": True}, ["general room.archived", "~all room.archived"]),
        ("general", {"visibility": "public", "name": "x"}, ["general room.updated", "~all room.updated"]),
        ("general", {"name": "General", "archived": False}, []),
        ("general", {"visibility": "private", "name": "x"}, ["general room.updated", "~all room.removed"]),
        ("lobby", {"visibility": "private", "archived": True}, ["lobby room.archived", "~all room.removed"]),
        ("board", {"visibility": "private"}, []),
        ("board", {"name": "Other"}, ["board room.updated"]),
        ("board", {"archived": True}, ["board room.archived"]),
        ("board", {"visibility": "tenant"}, ["board room.updated", "~all room.updated"]),
    ],
)
def test_a_room_is_changed(world: World, verify: Verify, slug: str, given: dict[str, Any], told: list[str]) -> None:
    assert verify(lambda: rooms.update(world.room(f"acme/{slug}"), **given)) == told


def test_of_a_room_that_becomes_private_everybody_learns_that_it_is_gone_and_nothing_else(world: World) -> None:
    place = log.position(everybody := world.room("acme/~all")).seq
    rooms.update(world.room("acme/general"), visibility="private", name="The merger", by=world.users["ann"])
    rooms.update(world.room("acme/general"), name="The merger with Globex", by=world.users["ann"])
    reading = log.read(everybody.pk, place, 100)
    assert reading is not None
    (entry,) = reading.entries
    name, data, meta = msgspec.json.decode(entry.vector)
    assert (name, data, meta["by"]) == ("room.removed", {"slug": "general"}, None)


def test_a_room_that_is_shown_again_is_in_the_list_again(world: World, verify: Verify) -> None:
    rooms.update(world.room("acme/general"), visibility="private")
    told = verify(lambda: rooms.update(world.room("acme/general"), visibility="tenant"))
    assert told == ["general room.updated", "~all room.updated"]


def test_a_room_comes_back_from_the_archive(world: World, verify: Verify) -> None:
    rooms.update(world.room("acme/general"), archived=True)
    told = verify(lambda: rooms.update(world.room("acme/general"), archived=False))
    assert told == ["general room.updated", "~all room.updated"]


def test_a_room_is_spoken_to_by_the_site(world: World, verify: Verify) -> None:
    assert verify(lambda: rooms.announce(world.room("acme/general"), "hello")) == ["general room.announcement"]


def test_a_slug_is_taken_once_and_the_rest_of_the_transaction_goes_on(world: World, verify: Verify) -> None:
    def action() -> None:
        with log.batch():
            rooms.announce(world.room("acme/general"), "before")
            with pytest.raises(Refused) as refused:
                rooms.create(world.acme, "lobby", name="x")
            assert refused.value.code == "conflict"
            rooms.announce(world.room("acme/general"), "after")

    assert verify(action) == ["general room.announcement"] * 2


@pytest.mark.parametrize("slug", ["~all", "general~mods"])
def test_rooms_that_are_there_by_themselves_are_not_changed(world: World, slug: str) -> None:
    with pytest.raises(Refused):
        rooms.update(world.room(f"acme/{slug}"), name="x")


# --- members


def test_a_member_is_added_changed_and_removed(world: World, verify: Verify) -> None:
    carol = world.users["carol"]
    assert verify(lambda: members.set_role(world.acme, carol)) == ["~all member.added"]
    assert Room.objects.filter(tenant=world.acme, kind="me", owner=carol).count() == 1
    assert verify(lambda: members.set_role(world.acme, carol, "guest")) == ["~all member.changed"]
    assert verify(lambda: members.set_role(world.acme, carol, "guest")) == []
    assert verify(lambda: members.remove(world.acme, carol)) == ["~all member.removed"]
    assert not Room.objects.filter(tenant=world.acme, kind="me", owner=carol).exists()
    assert verify(lambda: members.remove(world.acme, carol)) == []


def test_who_goes_leaves_the_rooms_too_and_takes_a_ban_along(world: World, verify: Verify) -> None:
    bob = world.users["bob"]
    members.set_part(world.room("acme/general"), bob, "banned")
    assert verify(lambda: members.remove(world.acme, bob)) == ["board member.removed", "~all member.removed"]
    assert list(Participant.objects.filter(user=bob).values_list("role", flat=True)) == ["banned"]


def test_a_part_is_given_changed_and_taken(world: World, verify: Verify) -> None:
    room, erin = world.room("acme/general"), world.users["erin"]
    assert verify(lambda: members.set_part(room, erin, "listener")) == ["general member.added"]
    assert verify(lambda: members.set_part(room, erin, "moderator")) == ["general member.changed"]
    assert verify(lambda: members.set_part(room, erin, "moderator")) == []
    assert verify(lambda: members.remove_part(room, erin)) == ["general member.removed"]
    assert verify(lambda: members.remove_part(room, erin)) == []


def test_a_tenant_keeps_an_owner(world: World, verify: Verify) -> None:
    for action in (
        lambda: members.remove(world.acme, world.users["alice"]),
        lambda: members.set_role(world.acme, world.users["alice"], "admin"),
    ):
        with pytest.raises(Refused) as refused:
            action()
        assert refused.value.code == "forbidden"
    members.set_role(world.acme, world.users["ann"], "owner")
    assert verify(lambda: members.remove(world.acme, world.users["alice"])) == [
        *(f"{slug} member.removed" for slug in sorted(ROOMS)),
        "~all member.removed",
    ]


def test_who_manages_a_tenant(world: World) -> None:
    for name in ("alice", "ann"):
        members.require_manager(world.acme, by=world.users[name])
    for name in ("bob", "erin", "carol"):
        with pytest.raises(Refused, match="forbidden"):
            members.require_manager(world.acme, by=world.users[name])
    tenants.update(world.acme, active=False)
    with pytest.raises(Refused, match="forbidden"):
        members.require_manager(world.acme, by=world.users["alice"])


def test_an_admin_neither_makes_nor_unmakes_an_owner(world: World, verify: Verify) -> None:
    members.set_role(world.acme, world.users["dave"], "owner")  # so that it is not the last owner who is protected
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("member.set", {"user": world.id("bob"), "role": "owner"}),
        ("member.set", {"user": world.id("ann"), "role": "owner"}),
        ("member.set", {"user": world.id("carol"), "role": "owner"}),
        ("member.set", {"user": world.id("alice"), "role": "member"}),
        ("member.remove", {"user": world.id("alice")}),
    ]

    def action() -> None:
        for name, data in attempts:
            with pytest.raises(Refused) as refused:
                do(world, "ann", name, "~all", **data)
            assert refused.value.code == "forbidden"

    assert verify(action) == []
    assert verify(lambda: do(world, "ann", "member.set", "~all", user=world.id("bob"), role="admin")) == [
        "~all member.changed"
    ]
    assert verify(lambda: do(world, "alice", "member.set", "~all", user=world.id("ann"), role="owner")) == [
        "~all member.changed"
    ]


# --- messages


def test_a_message_is_sent_edited_reacted_to_and_deleted(world: World, verify: Verify) -> None:
    sent: dict[str, Any] = {}
    assert verify(lambda: sent.update(do(world, "bob", "chat.send", text="hi"))) == ["general chat.message"]
    id = sent["message"]
    assert verify(lambda: do(world, "dave", "chat.send", text="ho", reply_to=id)) == ["general chat.message"]
    assert verify(lambda: do(world, "bob", "chat.edit", message=id, text="hey")) == ["general chat.edited"]
    for who in ("alice", "dave"):
        assert verify(lambda who=who: do(world, who, "chat.react", message=id, emoji="👍")) == ["general chat.reaction"]  # type: ignore[misc]
    assert verify(lambda: do(world, "alice", "chat.react", message=id, emoji="👍", on=False)) == [
        "general chat.reaction"
    ]
    assert verify(lambda: do(world, "alice", "chat.delete", message=id)) == [
        "general chat.reaction",
        "general chat.deleted",
    ]


def test_a_deleted_text_is_nowhere_in_the_log(world: World, verify: Verify) -> None:
    sent = do(world, "bob", "chat.send", text="secret one")
    do(world, "bob", "chat.edit", message=sent["message"], text="secret two")
    do(world, "bob", "chat.delete", message=sent["message"])
    reading = log.read(world.room("acme/general").pk, 0, 1_000)
    assert reading is not None
    assert b"secret" not in b"".join(entry.vector for entry in reading.entries)
    last = reading.entries[-1]
    assert last.redacts == (sent["seq"], sent["seq"] + 1)


def test_read_marks_count_when_they_rise_and_name_a_message(world: World) -> None:
    room = world.room("acme/general")
    one, two = (do(world, "bob", "chat.send", text=text)["seq"] for text in ("one", "two"))
    place = log.position(room).seq
    for seq in (two, one, two, place + 1, 10**12):
        assert do(world, "alice", "chat.read", seq=seq) == {}
    reading = log.read(room.pk, place, 10)
    assert reading is not None
    assert [entry.name for entry in reading.entries] == ["chat.read"]
    assert log.latest(room, "chat.read", world.id("alice"))["seq"] == two


def test_in_a_large_room_a_read_mark_is_the_readers_own(world: World, settings: Any) -> None:
    settings.ROOMS = {"ROSTER_LIMIT": 4}
    seq = do(world, "bob", "chat.send", text="hi")["seq"]
    place = log.position(world.room("acme/general")).seq
    do(world, "alice", "chat.read", seq=seq)
    assert log.position(world.room("acme/general")).seq == place
    own = Room.objects.get(tenant=world.acme, kind="me", owner=world.users["alice"])
    reading = log.read(own.pk, 0, 10)
    assert reading is not None
    (entry,) = reading.entries
    assert msgspec.json.decode(entry.vector)[1]["room"] == "general"

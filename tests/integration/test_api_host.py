"""A host's own model and its own events: through DRF, or by rooms.publish, into a room's log."""

from __future__ import annotations

import subprocess
import sys

import pytest
from channels.db import database_sync_to_async
from django.db import transaction

import rooms
from rooms import log, models, services
from rooms.contract import ChatMessage, Message, RoomAnnouncement
from tests.hostapp.events import OrderEvent
from tests.hostapp.models import Order

ORDERS = "acme/orders"


@pytest.fixture
def kitchen(world):
    services.rooms.create(world.acme, "orders", name="Orders")
    services.rooms.create(world.acme, "archive", name="Archive")
    return world


def order(world, **fields):
    answer = world.bob.post("/host/orders/", {"tenant": world.acme.pk, "dish": "soup", "secret": "mine", **fields})
    assert answer.status_code == 201, answer.content
    return answer.json()


def told(world, address=ORDERS):
    return [(name, data) for name, data, _ in world.events("bob", address) if name.startswith("order.")]


# --- PublishesChanges ------------------------------------------------------------------------------------------------


def test_what_is_done_to_an_object_through_drf_is_told_in_its_room(kitchen):
    made = order(kitchen)
    path, id = f"/host/orders/{made['id']}/", str(made["id"])
    assert kitchen.bob.patch(path, {"status": "cooking"}).status_code == 200
    assert kitchen.bob.put(path, {**made, "dish": "stew", "status": "done"}).status_code == 200
    assert kitchen.bob.delete(path).status_code == 204
    assert told(kitchen) == [
        ("order.created", {"id": id, "dish": "soup", "status": "open"}),
        ("order.updated", {"id": id, "dish": "soup", "status": "cooking"}),
        ("order.updated", {"id": id, "dish": "stew", "status": "done"}),
        ("order.deleted", {"id": id}),
    ]
    assert {meta["by"] for name, _, meta in kitchen.events("bob", ORDERS) if name.startswith("order.")} == {
        kitchen.id("bob")
    }
    assert b"mine" not in kitchen.bob.get("tenants/acme/rooms/orders/events/").content


def test_an_object_that_moves_is_deleted_in_one_room_and_created_in_the_other(kitchen):
    made = order(kitchen)
    kitchen.bob.patch(f"/host/orders/{made['id']}/", {"room": "archive"})
    assert [name for name, _ in told(kitchen)] == ["order.created", "order.deleted"]
    assert told(kitchen, "acme/archive") == [
        ("order.created", {"id": str(made["id"]), "dish": "soup", "status": "open"})
    ]


def test_what_the_host_refuses_is_not_told(kitchen):
    assert kitchen.bob.post("/host/orders/", {"tenant": kitchen.acme.pk, "dish": ""}).status_code == 400
    assert kitchen.carol.delete(f"/host/orders/{order(kitchen)['id']}/").status_code == 404
    assert [name for name, _ in told(kitchen)] == ["order.created"]


@pytest.mark.django_db(transaction=True)
def test_an_event_that_cannot_be_told_undoes_the_change(world, announced):
    """The room is not there, so the order is not either; and nobody hears of it."""
    announced.clear()
    with pytest.raises(models.Room.DoesNotExist):
        world.bob.post("/host/orders/", {"tenant": world.acme.pk, "dish": "soup", "room": "nowhere"})
    assert not Order.objects.exists()
    assert announced == []


@pytest.mark.django_db(transaction=True)
def test_a_change_that_fails_is_told_to_nobody(world, announced, monkeypatch):
    services.rooms.create(world.acme, "orders", name="Orders")
    made = order(world)
    announced.clear()

    def fails(*args, **kwargs):
        raise RuntimeError("the host's own signal failed")

    monkeypatch.setattr(Order, "delete", fails)
    with pytest.raises(RuntimeError):
        world.bob.delete(f"/host/orders/{made['id']}/")
    assert announced == []
    assert [name for name, _ in told(world)] == ["order.created"]
    monkeypatch.undo()
    world.bob.delete(f"/host/orders/{made['id']}/")
    assert [[entry.name for entry in notice.entries] for notice in announced] == [["order.deleted"]]


# --- publish ---------------------------------------------------------------------------------------------------------


def test_publish_takes_a_room_or_its_address_and_a_struct_or_a_dict(kitchen):
    room = kitchen.room(ORDERS)
    first = rooms.publish(ORDERS, "order.created", OrderEvent("1", "soup", "open"), by=kitchen.users["bob"])
    second = rooms.publish(
        room, "order.updated", {"id": "1", "dish": "soup", "status": "done"}, by=kitchen.users["bob"].pk
    )
    assert second == first + 1
    assert [data["status"] for _, data in told(kitchen)] == ["open", "done"]
    assert {meta["by"] for _, _, meta in kitchen.events("bob", ORDERS)[-2:]} == {kitchen.id("bob")}


def test_publish_speaks_for_the_site_when_it_speaks_for_nobody(kitchen):
    rooms.publish("acme/~all", "room.announcement", {"text": "lunch"})
    assert kitchen.events("erin", "acme/~all")[-1][2]["by"] is None


def test_publish_reaches_one_person_by_their_row_and_never_by_an_address(kitchen):
    bob = kitchen.users["bob"]
    me = models.Room.objects.select_related("tenant").get(tenant=kitchen.acme, kind=models.Room.Kind.ME, owner=bob)
    rooms.publish(me, "room.announcement", {"text": "for you"})
    assert [data["text"] for _, data, _ in kitchen.events("bob", "acme/~me")] == ["for you"]
    for address in ("acme/~me", f"acme/~me.{bob.pk}"):
        with pytest.raises(models.Room.DoesNotExist):
            rooms.publish(address, "room.announcement", {"text": "for you"})


@pytest.mark.parametrize("address", ["acme/nope", "nope/general", "acme", "", "/", "acme/general/", "acme/gen\0eral"])
def test_publish_to_a_room_that_is_not_there_raises(kitchen, address):
    with pytest.raises(models.Room.DoesNotExist):
        rooms.publish(address, "room.announcement", {"text": "x"})


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("order.eaten", {"id": "1"}),  # undeclared
        ("order.deleted", {}),
        ("order.deleted", {"id": 1}),
        ("order.deleted", {"id": "\0"}),
        ("order.deleted", None),
        ("order.deleted", OrderEvent(1, "soup", "open")),  # type: ignore[arg-type]
        ("order.created", OrderEvent(1, "soup", "open")),  # type: ignore[arg-type]
        ("order.created", OrderEvent("1", "soup", object())),  # type: ignore[arg-type]
        ("room.announcement", RoomAnnouncement("")),
        ("room.announcement", RoomAnnouncement("soup", level="loud")),  # type: ignore[arg-type]
        ("chat.message", ChatMessage(Message("1", None, "now", 0, None))),  # type: ignore[arg-type]
    ],
)
def test_publish_refuses_what_was_not_declared_so(kitchen, name, data):
    with pytest.raises(ValueError, match=name):
        rooms.publish(ORDERS, name, data)
    assert told(kitchen) == []


@pytest.mark.django_db(transaction=True)
def test_publish_is_part_of_the_callers_transaction(world, announced):
    head = world.room("acme/general").log.head
    announced.clear()
    with transaction.atomic():
        rooms.publish("acme/general", "room.announcement", {"text": "never said"})
        transaction.set_rollback(True)
    assert (world.room("acme/general").log.head, announced) == (head, [])

    with transaction.atomic():
        rooms.publish("acme/general", "room.announcement", {"text": "said"})
        assert announced == []
    assert world.room("acme/general").log.head == head + 1
    assert [entry.name for notice in announced for entry in notice.entries] == ["room.announcement"]


@pytest.mark.django_db(transaction=True)
async def test_apublish_is_publish_for_async_code(world, announced):
    announced.clear()
    bob = world.users["bob"]
    seq = await rooms.apublish("acme/general", "room.announcement", {"text": "hello"}, by=bob)
    reading = await database_sync_to_async(lambda: log.read(world.room("acme/general").pk, seq - 1, 10))()
    assert [(entry.seq, entry.name) for entry in reading.entries] == [(seq, "room.announcement")]
    assert [notice.head for notice in announced] == [seq]
    with pytest.raises(ValueError, match="not declared"):
        await rooms.apublish("acme/general", "order.eaten", {})


# --- import ----------------------------------------------------------------------------------------------------------


def test_importing_rooms_loads_no_model_so_that_settings_may_do_it():
    code = (
        "import rooms, sys; rooms.event; rooms.command; assert not {'rooms.models', 'django.apps'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_name_that_rooms_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError):
        _ = rooms.nothing  # type: ignore[attr-defined]

"""The admin of presence: who sees which connections, who ends them, and what is recorded of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from presence.models import Connection, Node, Visit
from rooms import services
from rooms.delivery.frames import Notice
from rooms.models import AuditEntry, Membership, Participant
from tests.integration.test_admin import Admin, said, text
from tests.support.presents import Attendant
from tests.support.world import World


@pytest.fixture
def staffed(world: World, settings: Any) -> World:
    """The world, where ann (admin of acme), and bob and dave, members, are staff."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real ones take a second
    for name in ("ann", "bob", "dave"):
        user = world.users[name]
        user.is_staff = True
        user.set_password("pw")
        user.save()
    world.users["ada"] = get_user_model()._default_manager.create_superuser("ada", password="pw")
    AuditEntry.objects.all().delete()
    return world


@pytest.fixture
def ada(staffed: World) -> Admin:
    """A superuser, in no tenant."""
    return Admin(staffed.users["ada"], "pw")


@pytest.fixture
def ann(staffed: World) -> Admin:
    """An admin of acme."""
    return Admin(staffed.users["ann"], "pw")


class Crowd:
    """bob on the board of acme, at two devices; dave in both tenants, by one connection; carol in globex; erin in no
    room.
    """

    def __init__(self, world: World) -> None:
        self.node = Attendant()
        users, come = world.users, self.node.come
        board, lobby, elsewhere = (world.room(name) for name in ("acme/board", "acme/lobby", "globex/general"))
        self.bob = come(users["bob"], board, lobby, address="192.0.2.7")
        self.phone = come(users["bob"], board, transport="poll", device="mobile")
        self.dave = come(users["dave"], lobby, elsewhere, transport="sse")
        self.carol = come(users["carol"], elsewhere)
        self.erin = come(users["erin"])

    def marked(self) -> set[str]:
        """Who is to be disconnected, by what."""
        rows = Connection.objects.filter(disconnect=True).select_related("user")
        return {f"{row.user.username} {row.transport}" for row in rows if row.user}


@pytest.fixture
def crowd(staffed: World) -> Crowd:
    return Crowd(staffed)


def listed(browser: Admin, **query: Any) -> list[str]:
    """Whose connections a list shows, by what, in which rooms."""
    answer = browser.get("presence_connection_changelist", **query)
    assert answer.status_code == 200, answer.headers
    return sorted(
        f"{row.user} {row.transport} {' '.join(room.address for room in row.places)}".strip()
        for row in answer.context["cl"].result_list
    )


def act(browser: Admin, action: str, *holdings: Any, **query: Any) -> Any:
    data = {"action": action, "_selected_action": [str(holding.id) for holding in holdings]}
    return browser.post("presence_connection_changelist", **data)


BOB, PHONE = "bob ws acme/board acme/lobby", "bob poll acme/board"


def test_a_superuser_sees_all_of_them_and_finds_some(ada: Admin, staffed: World, crowd: Crowd) -> None:
    dave, carol, erin = "dave sse acme/lobby globex/general", "carol ws globex/general", "erin ws"
    assert listed(ada) == sorted([BOB, PHONE, dave, carol, erin])
    assert listed(ada, q="bo") == sorted([BOB, PHONE])
    assert listed(ada, q="192.0.2.7") == [BOB]
    assert listed(ada, transport="sse") == [dave]
    assert listed(ada, device="mobile") == [PHONE]
    assert listed(ada, of="globex") == sorted([carol, dave])
    assert listed(ada, room=str(staffed.room("acme/lobby").pk)) == sorted([BOB, dave])
    assert listed(ada, user__id__exact=staffed.id("bob")) == sorted([BOB, PHONE])
    for nothing in ("x", str(Visit.key(staffed.room("acme/lobby").pk, 1))):
        assert listed(ada, room=nothing) == []
    page = text(ada.get("presence_connection_change", crowd.bob.id))
    for word in ("bob", "ws", "desktop", "192.0.2.7", "acme/board, acme/lobby", Node.objects.get().host):
        assert word in page


def test_what_is_over_is_not_listed(ada: Admin, crowd: Crowd) -> None:
    crowd.node.go(crowd.carol)
    Connection.objects.filter(pk=crowd.phone.id).update(leaves=timezone.now() - timedelta(seconds=1))
    assert [row.split()[0] for row in listed(ada)] == ["bob", "dave", "erin"]
    Node.objects.update(lease_ends=timezone.now() - timedelta(seconds=1))
    assert listed(ada) == []


def test_an_admin_of_a_tenant_sees_those_in_its_rooms_and_of_those_rooms_alone(
    ann: Admin, staffed: World, crowd: Crowd
) -> None:
    assert listed(ann) == sorted([BOB, PHONE, "dave sse acme/lobby"])
    answer = ann.get("presence_connection_changelist").content.decode()
    assert "globex" not in answer
    assert "/admin/auth/user/" not in answer
    assert listed(ann, of="globex") == listed(ann, room=str(staffed.room("globex/general").pk)) == []
    assert listed(ann, q="carol") == []
    assert "globex" not in text(ann.get("presence_connection_change", crowd.dave.id))
    for hidden in (crowd.carol, crowd.erin):
        assert ann.get("presence_connection_change", hidden.id).status_code == 302  # as one that is not there


def test_who_manages_no_tenant_finds_nothing(staffed: World, crowd: Crowd) -> None:
    dave = Admin(staffed.users["dave"], "pw")
    assert dave.get("index").context["app_list"] == []
    assert dave.get("presence_connection_changelist").status_code == 403
    assert act(dave, "disconnect", crowd.bob).status_code == 403
    assert crowd.marked() == set()


def test_rows_cannot_be_changed(ada: Admin, crowd: Crowd) -> None:
    assert ada.get("presence_connection_add").status_code == 403
    assert ada.post("presence_connection_change", crowd.bob.id, transport="sse").status_code == 403
    assert ada.post("presence_connection_delete", crowd.bob.id, post="yes").status_code == 403
    act(ada, "delete_selected", crowd.bob)
    assert Connection.objects.count() == 5


def test_a_connection_is_ended_and_its_node_is_told(
    ada: Admin, crowd: Crowd, announced: list[Notice], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = act(ada, "disconnect", crowd.bob, crowd.erin)
    assert said(answer) == ["2 connections are being ended."]
    assert crowd.marked() == {"bob ws", "erin ws"}
    [notice] = announced
    assert [(entry.name, entry.vector) for entry in notice.entries] == [
        ("presence.disconnect", f'["{crowd.node.node}"]'.encode())
    ]
    assert recorded() == [("", "", "erin", "open", "ended", "ada"), ("acme", "", "bob", "open", "ended", "ada")]


def recorded() -> list[tuple[str, ...]]:
    fields = ("tenant__slug", "room", "subject_name", "before", "after", "actor_name")
    rows = AuditEntry.objects.filter(what="connection").values_list(*fields)
    return sorted(tuple(value or "" for value in row) for row in rows)


def test_a_persons_connections_are_ended_everywhere(ada: Admin, crowd: Crowd) -> None:
    assert said(act(ada, "disconnect_people", crowd.phone)) == ["2 connections are being ended."]
    assert crowd.marked() == {"bob ws", "bob poll"}
    assert AuditEntry.objects.filter(what="connection").count() == 1


def test_an_admin_of_a_tenant_ends_what_is_theirs(ann: Admin, staffed: World, crowd: Crowd) -> None:
    act(ann, "disconnect", crowd.carol, crowd.erin)
    assert crowd.marked() == set()
    crowd.node.come(staffed.users["dave"], staffed.room("globex/general"))  # of that one ann knows nothing
    assert said(act(ann, "disconnect_people", crowd.dave)) == ["1 connection is being ended."]
    assert crowd.marked() == {"dave sse"}
    assert recorded() == [("acme", "", "dave", "open", "ended", "ann")]  # and globex is not told who ann is


def test_who_lost_the_tenant_meanwhile_ends_nothing(
    ann: Admin, staffed: World, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = services.members.require_manager

    def overtaken(tenant: Any, *, by: Any) -> None:
        Membership.objects.filter(tenant=tenant, user=by).update(role="member")
        asked(tenant, by=by)

    monkeypatch.setattr(services.members, "require_manager", overtaken)
    assert said(act(ann, "disconnect", crowd.bob)) == ["Only an owner or an admin may do this."]
    assert crowd.marked() == set()


@pytest.mark.parametrize("who", ["ada", "ann"])
def test_everybody_in_a_room_is_disconnected_from_its_page(
    request: pytest.FixtureRequest, staffed: World, crowd: Crowd, who: str
) -> None:
    browser: Admin = request.getfixturevalue(who)
    lobby = staffed.room("acme/lobby")
    page = browser.get("rooms_room_change", lobby.pk).content.decode()
    assert f'<a href="/admin/presence/connection/?room={lobby.pk}">2</a>' in page
    answer = browser.act("disconnect", lobby, staffed.room("globex/general"))
    count = 3 if who == "ada" else 2
    assert said(answer) == [f"{count} connections are being ended."]
    assert crowd.marked() == {"bob ws", "dave sse"} | ({"carol ws"} if who == "ada" else set())
    assert ("acme", "acme/lobby", "", "2 open", "ended", who) in recorded()
    assert len(recorded()) == count - 1
    assert said(browser.act("disconnect", staffed.room("acme/general"))) == ["0 connections are being ended."]


def test_a_member_is_disconnected_from_the_tenants_rooms(ann: Admin, staffed: World, crowd: Crowd) -> None:
    crowd.node.come(staffed.users["bob"], staffed.room("globex/general"), transport="sse")
    bob = Membership.objects.get(tenant=staffed.acme, user=staffed.users["bob"])
    assert said(ann.act("disconnect", bob)) == ["2 connections are being ended."]
    assert crowd.marked() == {"bob ws", "bob poll"}


def test_the_pages_of_rooms_are_what_they_were(ada: Admin, staffed: World) -> None:
    """The actions of their own are still there, and who is in a room is no field to be filled in."""
    general = staffed.room("acme/general")
    ada.act("archive", general)
    assert staffed.room("acme/general").archived
    assert ada.change(staffed.room("acme/general"), name="Newer", archived="").status_code == 200
    assert staffed.room("acme/general").name == "Newer"
    answer = ada.add("room", tenant=staffed.acme.pk, slug="new", name="New", visibility="tenant")
    assert "was added successfully" in said(answer)[0]


def test_an_account_that_is_connected_goes_once_it_belongs_to_no_tenant(
    ada: Admin, staffed: World, crowd: Crowd
) -> None:
    bob = staffed.users["bob"]
    Participant.objects.filter(user=bob).delete()
    services.members.remove(staffed.acme, bob)
    assert ada.post("auth_user_delete", bob.pk, post="yes").status_code == 200
    assert not get_user_model().objects.filter(pk=bob.pk).exists()
    assert listed(ada, room=str(staffed.room("acme/board").pk)) == ["None poll acme/board", BOB.replace("bob", "None")]
    assert said(act(ada, "disconnect", crowd.bob)) == ["1 connection is being ended."]  # its node is about to


@pytest.mark.parametrize("who", ["ada", "ann"])
def test_a_list_costs_the_same_with_more_rows(
    request: pytest.FixtureRequest, staffed: World, crowd: Crowd, who: str
) -> None:
    browser: Admin = request.getfixturevalue(who)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert browser.get("presence_connection_changelist").status_code == 200
        return len(queries)

    before = cost()
    for _ in range(5):
        crowd.node.come(staffed.users["bob"], staffed.room("acme/board"), staffed.room("acme/lobby"))
    assert cost() == before

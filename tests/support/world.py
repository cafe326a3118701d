"""Two tenants with their people, and clients of the REST API that speak as them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Model
from django.test import Client

from rooms import models, services
from rooms.contract import Role, Visibility


class Rest:
    """A client that is logged in as somebody, or as nobody, and speaks JSON."""

    def __init__(self, user: Any = None, **options: Any) -> None:
        self.user = user
        self.client = Client(**options)
        if user is not None:
            self.client.force_login(user)

    def __call__(self, method: str, path: str, data: Any = None, **headers: str) -> Any:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {} if data is None else {"data": data, "content_type": "application/json"}
        return getattr(self.client, method)(path if path.startswith("/") else f"/api/{path}", headers=given, **body)

    def get(self, path: str, **headers: str) -> Any:
        return self("get", path, **headers)

    def post(self, path: str, data: Any, **headers: str) -> Any:
        return self("post", path, data, **headers)

    def patch(self, path: str, data: Any, **headers: str) -> Any:
        return self("patch", path, data, **headers)

    def put(self, path: str, data: Any, **headers: str) -> Any:
        return self("put", path, data, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self("delete", path, **headers)


@dataclass
class World:
    """acme: alice (owner), ann (admin), bob (member), erin (guest), dave. globex: carol (owner), dave.

    Of acme: general, public lobby, read-only announcements, private board of alice and bob.
    """

    users: dict[str, Any]
    acme: models.Tenant
    globex: models.Tenant
    clients: dict[str, Rest] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        """The REST client of a person."""
        if name not in self.users:
            raise AttributeError(name)
        if name not in self.clients:
            self.clients[name] = Rest(self.users[name])
        return self.clients[name]

    def id(self, name: str) -> str:
        return str(self.users[name].pk)

    def room(self, address: str) -> models.Room:
        tenant, _, slug = address.partition("/")
        return models.Room.objects.select_related("tenant", "log").get(tenant__slug=tenant, slug=slug)

    def say(self, name: str, text: str, address: str = "acme/general") -> dict[str, Any]:
        """A message of this person's, as REST answered it."""
        tenant, _, slug = address.partition("/")
        answer = getattr(self, name).post(f"tenants/{tenant}/rooms/{slug}/messages/", {"text": text})
        assert answer.status_code == 201, answer.content
        message: dict[str, Any] = answer.json()
        return message

    def events(self, name: str, address: str, after: int = 0) -> list[Any]:
        """The events of a room as this person reads them: ``[name, data, meta]``."""
        tenant, _, slug = address.partition("/")
        answer = getattr(self, name).get(f"tenants/{tenant}/rooms/{slug}/events/?after={after}&limit=1000")
        assert answer.status_code == 200, answer.content
        found: list[Any] = answer.json()["events"]
        return found


# The rows of a world, by table. Services make them once a process, a tenth of a second; copying takes a tenth of that,
# and hundreds of tests begin with one.
ROWS: list[list[Model]] = []


def make_world() -> World:
    """Fill an empty database."""
    if not ROWS:
        _by_services()
        tables = [get_user_model(), *apps.get_app_config("rooms").get_models()]
        ROWS.extend(rows for table in tables if (rows := list(table._base_manager.all())))
    else:
        with transaction.atomic():
            for rows in ROWS:
                type(rows[0])._base_manager.bulk_create(rows)
    users = {user.get_username(): user for user in get_user_model().objects.all()}
    tenants = {tenant.slug: tenant for tenant in models.Tenant.objects.all()}
    return World(users, tenants["acme"], tenants["globex"])


def _by_services() -> None:
    people = ("alice", "ann", "bob", "erin", "carol", "dave")
    users = {name: get_user_model().objects.create(username=name) for name in people}
    acme = services.tenants.create("acme", name="Acme", owner=users["alice"])
    globex = services.tenants.create("globex", name="Globex", owner=users["carol"])
    for name, role in (("ann", Role.ADMIN), ("bob", Role.MEMBER), ("erin", Role.GUEST), ("dave", Role.MEMBER)):
        services.members.set_role(acme, users[name], role)
    services.members.set_role(globex, users["dave"])
    for slug, options in (
        ("general", {}),
        ("lobby", {"visibility": Visibility.PUBLIC}),
        ("announcements", {"read_only": True}),
        ("board", {"visibility": Visibility.PRIVATE}),
    ):
        services.rooms.create(acme, slug, name=slug.title(), by=users["alice"], **options)  # type: ignore[arg-type]
    services.rooms.create(globex, "general", name="General", by=users["carol"])
    services.members.set_part(models.Room.objects.get(tenant=acme, slug="board"), users["bob"])

"""``manage.py seed_demo``: two tenants with people and rooms to try things out."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand, CommandError

from rooms import audit, services
from rooms.contract import Part, Role, Visibility
from rooms.models import Membership, Participant, Room, Tenant

PASSWORD = "demo"  # noqa: S105 known to everybody, hence the check in handle()

PEOPLE = {
    "alice": ("Alice", "Archer"),
    "bob": ("Bob", "Baker"),
    "carol": ("Carol", "Clarke"),
    "dave": ("Dave", "Dyer"),
    "erin": ("Erin", "Ellis"),
    "admin": ("Ada", "Admin"),  # superuser; in no tenant
}
TENANTS = {"acme": "Acme", "globex": "Globex"}
MEMBERS = [
    ("acme", "alice", Role.OWNER),
    ("acme", "bob", Role.MEMBER),
    ("acme", "dave", Role.MEMBER),
    ("acme", "erin", Role.GUEST),
    ("globex", "carol", Role.OWNER),
    ("globex", "dave", Role.MEMBER),
]
ROOMS: list[tuple[str, str, dict[str, Any]]] = [
    ("acme", "general", {"name": "General"}),
    ("acme", "random", {"name": "Random"}),
    ("acme", "announcements", {"name": "Announcements", "read_only": True}),
    ("acme", "board", {"name": "Board", "visibility": Visibility.PRIVATE}),
    ("acme", "lobby", {"name": "Lobby", "visibility": Visibility.PUBLIC}),
    ("globex", "general", {"name": "General"}),
]
PARTS = [("acme", "board", "alice", Part.MODERATOR)]


class Command(BaseCommand):
    help = (
        "Make the demo tenants acme and globex with people and rooms. What is there already stays as it is, so that it "
        f"may run again. Everybody's password is {PASSWORD!r}: without DEBUG or INSECURE it needs --force."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--force", action="store_true", help="even where strangers may reach the site")

    def handle(self, *args: Any, **options: Any) -> None:
        if not (settings.DEBUG or getattr(settings, "INSECURE", False) or options["force"]):
            raise CommandError(
                f"This makes a superuser and others whose password is {PASSWORD!r}, on a site that is neither DEBUG "
                "nor INSECURE. Give --force if that is what you want."
            )
        with audit.coming_from("command"):
            self._seed()
        self._show()

    def _seed(self) -> None:
        people = _people()
        tenants = {slug: _tenant(slug, name) for slug, name in TENANTS.items()}
        for tenant, username, role in MEMBERS:
            if not Membership.objects.filter(tenant=tenants[tenant], user=people[username]).exists():
                services.members.set_role(tenants[tenant], people[username], role)
        for tenant, slug, given in ROOMS:
            if not Room.objects.filter(tenant=tenants[tenant], slug=slug).exists():
                services.rooms.create(tenants[tenant], slug, **given)
        for tenant, slug, username, part in PARTS:
            room = Room.objects.select_related("tenant").get(tenant=tenants[tenant], slug=slug)
            if not Participant.objects.filter(room=room, user=people[username]).exists():
                services.members.set_part(room, people[username], part)

    def _show(self) -> None:
        self.stdout.write(f"People (password: {PASSWORD})")
        for username in PEOPLE:
            places = [f"{tenant} ({role})" for tenant, person, role in MEMBERS if person == username]
            self.stdout.write(f"  {username:8}{', '.join(places) or 'superuser, /admin/'}")
        self.stdout.write("Rooms")
        for tenant, slug, given in ROOMS:
            visibility = given.get("visibility", Visibility.TENANT)
            note = "read only" if given.get("read_only") else "" if visibility == Visibility.TENANT else visibility
            self.stdout.write(f"  {tenant}/{slug:15}{note}".rstrip())


def _people() -> dict[str, Any]:
    users = get_user_model()._default_manager
    there = {user.get_username() for user in users.filter(username__in=PEOPLE)}
    missing = [username for username in PEOPLE if username not in there]
    password = make_password(PASSWORD) if missing else ""  # once: a hash takes 0.3 s
    for username in missing:
        first, last = PEOPLE[username]
        admin = username == "admin"
        users.create(
            username=username,
            first_name=first,
            last_name=last,
            email=f"{username}@example.com",
            password=password,
            is_staff=admin,
            is_superuser=admin,
        )
    return {user.get_username(): user for user in users.filter(username__in=PEOPLE)}


def _tenant(slug: str, name: str) -> Tenant:
    return Tenant.objects.filter(slug=slug).first() or services.tenants.create(slug, name=name)

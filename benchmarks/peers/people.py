"""People with sessions, so that a client comes in as a browser does. Run with Django's settings in the environment:

    python -m benchmarks.peers.people FILE PEOPLE ROOMS

Writes a ``Cookie`` header a line for each of the people. Where the site has rooms, they are members of the tenant
``bench``, which has the rooms ``room-0`` and so on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path


def main(file: Path, people: int, rooms: int) -> None:
    import django

    django.setup()
    from django.apps import apps
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.core.management import call_command
    from django.db import transaction

    call_command("migrate", verbosity=0)
    with transaction.atomic():
        names = [f"person-{number}" for number in range(people)]
        users = [get_user_model().objects.create(username=name, password="!") for name in names]
        if apps.is_installed("rooms"):
            _fill(users, rooms)
        cookies = []
        for user in users:
            session = import_module(settings.SESSION_ENGINE).SessionStore()
            session[SESSION_KEY] = str(user.pk)
            session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
            session[HASH_SESSION_KEY] = user.get_session_auth_hash()
            session.save()
            cookies.append(f"Cookie: sessionid={session.session_key}\n")
    file.write_text("".join(cookies))


def _fill(users: Sequence[object], rooms: int) -> None:
    """The rooms by their rows: by the service, which tells everybody of each, ten thousand take minutes."""
    from rooms import audit, log, services
    from rooms.contract import Visibility
    from rooms.models import Room

    with audit.coming_from("command"):
        tenant = services.tenants.create("bench", name="Bench")
        for user in users:
            services.members.set_role(tenant, user)
    made = [Room(tenant=tenant, slug=f"room-{number}", name=f"Room {number}") for number in range(rooms)]
    mods = [
        Room(tenant=tenant, slug=f"{room.slug}~mods", kind=Room.Kind.MODS, parent=room, name=room.name) for room in made
    ]
    for room in mods:
        room.visibility = Visibility.PRIVATE
    for some in (made, mods):
        Room.objects.bulk_create(some)
        log.create(some)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

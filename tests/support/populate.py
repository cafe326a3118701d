"""People, rooms and sessions for a cell of the contract, made in one process by the site's own services.

By REST and the log-in form it is a third of the time that a cell takes. Run by ``manage.py shell``.
"""

from __future__ import annotations

import io
import json
from importlib import import_module

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.core.management import call_command
from django.db import transaction

from rooms import services
from rooms.contract import Role
from rooms.models import Tenant


def main(rooms: int, people: int = 0) -> None:
    """The demo's people, and so many rooms of acme, made by alice, and so many members more. Prints who has which id
    and session.
    """
    call_command("seed_demo", force=True, stdout=io.StringIO())
    acme, alice = Tenant.objects.get(slug="acme"), get_user_model().objects.get(username="alice")
    with transaction.atomic():
        for number in range(rooms):
            services.rooms.create(acme, f"case-{number}", name=f"Case {number}", by=alice)
        for number in range(people):
            newcomer = get_user_model().objects.create(username=f"newcomer-{number}")
            services.members.set_role(acme, newcomer, Role.MEMBER)
    found = {}
    for user in get_user_model().objects.all():
        session = import_module(settings.SESSION_ENGINE).SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        found[user.username] = {"id": str(user.pk), "session": session.session_key}
    print(json.dumps(found))

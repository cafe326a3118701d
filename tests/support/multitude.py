"""Many people of acme with sessions, in bulk: by the site's services it is a hundredth of a second for each.

``make`` is what a test calls; ``main`` runs in ``manage.py shell``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING

from tests.support.crowd import Badge

if TYPE_CHECKING:
    from tests.support.sites import Site


@dataclass(frozen=True)
class Soul:
    id: str
    badge: Badge


def make(site: Site, names: Sequence[str]) -> list[Soul]:
    """One for each name, in this order."""
    found: list[Soul] = []
    for start in range(0, len(names), 1_000):  # a command line is not longer
        code = f"from tests.support.multitude import main; main({list(names[start : start + 1_000])!r})"
        made = json.loads(site.manage("shell", "-v0", "-c", code).splitlines()[-1])
        found += [Soul(id, Badge(session, "c" * 32)) for id, session in made]
    return found


def main(names: Sequence[str]) -> None:
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.auth.hashers import make_password
    from django.db import transaction
    from django.utils import timezone

    from rooms.models import Membership, Tenant

    store = import_module(settings.SESSION_ENGINE).SessionStore()
    users = get_user_model()._default_manager
    acme = Tenant.objects.get(slug="acme")
    with transaction.atomic():
        made = users.bulk_create(
            [users.model(username=name, password=make_password(None)) for name in names], batch_size=200
        )
        Membership.objects.bulk_create([Membership(tenant=acme, user=user, role="member") for user in made])
        sessions = []
        for user in made:
            data = {
                SESSION_KEY: str(user.pk),
                BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
                HASH_SESSION_KEY: user.get_session_auth_hash(),
            }
            sessions.append(
                store.get_model_class()(
                    session_key=store._get_new_session_key(),
                    session_data=store.encode(data),
                    expire_date=timezone.now() + timedelta(days=1),
                )
            )
        store.get_model_class().objects.bulk_create(sessions)
    print(json.dumps([(str(user.pk), session.session_key) for user, session in zip(made, sessions, strict=True)]))

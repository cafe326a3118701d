"""The people of a chat log as people of this site: accounts, a room they may speak in, sessions to speak with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.utils.crypto import get_random_string

from rooms import log, services
from rooms.contract import Refused, Role, Visibility
from rooms.models import Membership, Participant, Room, Tenant

CHUNK = 50  # people in one transaction: some tenths of a second in which the tenant's other writers wait


def username(nick: str) -> str:
    """A valid username for each nick: nicks hold ``[]^|`` and a backtick, and some differ in case only."""
    return f"irc-{nick.encode().hex()}"


def accounts(nicks: Sequence[str]) -> dict[str, Any]:
    """The user of each nick, made when there is none: no password can log in, and the full name is the nick exactly.

    Others who do the same at the same time do no harm. An account that is there stays as it is.
    """
    users = get_user_model()._default_manager
    people = [
        users.model(username=username(nick), first_name=nick, password=make_password(None))  # None: unusable, no hash
        for nick in nicks
    ]
    users.bulk_create(people, ignore_conflicts=True, batch_size=CHUNK)
    by_username = {user.get_username(): user for user in users.filter(username__in=map(username, nicks))}
    return {nick: by_username[username(nick)] for nick in nicks}


def place(tenant: str, room: str, *, owner: Any = None) -> Room:
    """The room, made when there is none, and its tenant too; only then does ``owner`` become the tenant's owner.

    :raises Refused: when the address cannot be a room's, or the room is archived.
    """
    found = Tenant.objects.filter(slug=tenant).first()
    if found is None:
        try:
            with transaction.atomic():
                found = services.tenants.create(tenant, name=tenant.replace("-", " ").title(), owner=owner)
        except IntegrityError:  # another process was first
            found = Tenant.objects.get(slug=tenant)
    rooms = Room.objects.filter(tenant=found, slug=room, kind=Room.Kind.ROOM).select_related("tenant")
    if not rooms.exists():
        try:
            return services.rooms.create(found, room, name=f"#{room}")
        except Refused:  # another process was first
            pass
    return rooms.get()


def admit(room: Room, people: Iterable[Any]) -> None:
    """Make everybody a member of the room's tenant who is none, and let them take part where the room is private.

    Whoever has a role or a part keeps it.
    """
    members = set(Membership.objects.filter(tenant=room.tenant).values_list("user", flat=True))
    parts = set(Participant.objects.filter(room=room).values_list("user", flat=True))
    private = room.visibility == Visibility.PRIVATE
    missing = [user for user in people if user.pk not in members or (private and user.pk not in parts)]
    for start in range(0, len(missing), CHUNK):
        with log.batch():
            for user in missing[start : start + CHUNK]:
                if user.pk not in members:
                    services.members.set_role(room.tenant, user, Role.MEMBER)
                if private and user.pk not in parts:
                    services.members.set_part(room, user)


@dataclass(frozen=True, slots=True)
class Voice:
    """What a person's HTTP requests carry: a session that this process began, and its CSRF token."""

    session: str
    csrf: str


def log_in(people: Iterable[Any]) -> list[Voice]:
    """A session for each, as ``django.contrib.auth.login()`` would begin it; :func:`log_out` ends them."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    voices = []
    with transaction.atomic():
        for user in people:
            session, csrf = store(), get_random_string(32)
            session[SESSION_KEY] = str(user.pk)
            session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
            session[HASH_SESSION_KEY] = user.get_session_auth_hash()
            if settings.CSRF_USE_SESSIONS:
                session["_csrftoken"] = csrf
            session.create()
            voices.append(Voice(session.session_key, csrf))
    return voices


def log_out(voices: Iterable[Voice]) -> None:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    with transaction.atomic():
        for voice in voices:
            store().delete(voice.session)

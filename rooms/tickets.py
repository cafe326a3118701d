"""Tickets: a signed, short-lived word for who somebody is, for clients without a browser's cookies.

A ticket holds the user's id and a digest of the session hash, so that a changed password ends it, and the time of its
signature. It has only characters that an HTTP header's token allows, for it travels as a WebSocket subprotocol too.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import Any

import msgspec
from django.core.signing import BadSignature, TimestampSigner, b62_decode
from django.utils.crypto import constant_time_compare

from rooms import identity
from rooms.conf import config
from rooms.contract import Person, Ticket
from rooms.identity import Credential, Identity

MAX = 4_000  # characters


class _Content(msgspec.Struct, frozen=True, array_like=True):
    user: str
    proof: str


def issue(row: Any) -> Ticket:
    """A ticket for this user row."""
    content = urlsafe_b64encode(msgspec.json.encode(_Content(str(row.pk), _proof(row.get_session_auth_hash()))))
    now = datetime.now(UTC).replace(microsecond=0)  # a signature has whole seconds
    expires = now + timedelta(seconds=config().ticket_ttl)
    return Ticket(ticket=_signer().sign(content.decode().rstrip("=")), expires_at=expires)


def user(ticket: str) -> Any:
    """The user row whose ticket this is; None when it is forged or over, the account closed or the password another.

    Synchronous; it asks the database.
    """
    said = _open(ticket)
    return None if said is None else identity.account(said.user, partial(_proves, said.proof))


def identify(ticket: str) -> Identity | None:
    """As :func:`user`, for a connection."""
    said = _open(ticket)
    if said is None:
        return None
    proves = partial(_proves, said.proof)
    found = identity.account(said.user, proves)
    if found is None:
        return None
    expires = b62_decode(ticket.rsplit(".", 2)[1]) + config().ticket_ttl
    return Identity(found.pk, Person.from_row(found), Credential(found.pk, proves, expires=expires))


def _open(ticket: str) -> _Content | None:
    if len(ticket) > MAX or not ticket.isascii():
        return None
    try:
        content = _signer().unsign(ticket, max_age=timedelta(seconds=config().ticket_ttl))
        return msgspec.json.decode(urlsafe_b64decode(content + "=" * (-len(content) % 4)), type=_Content)
    except (BadSignature, ValueError, msgspec.MsgspecError):
        return None


def _signer() -> TimestampSigner:
    # Django's own separator, ":", is not allowed in a token; the salt keeps other signatures of the site from passing.
    return TimestampSigner(sep=".", salt="rooms.tickets")


def _proof(session_hash: str) -> str:
    """The hash itself would be as good as a password to whoever can sign sessions."""
    return blake2b(session_hash.encode(), digest_size=16).hexdigest()


def _proves(proof: str, session_hash: str) -> bool:
    return constant_time_compare(proof, _proof(session_hash))

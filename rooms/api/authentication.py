"""``Authorization: Bearer <ticket>``."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from rooms import identity, tickets


class TicketAuthentication(BaseAuthentication):
    """A request with a ticket needs no CSRF token, and its cookies are ignored: a bad ticket is nobody's."""

    def authenticate(self, request: Request) -> tuple[Any, str] | None:
        ticket = identity.bearer(request.headers.get("Authorization", ""))
        if ticket is None:
            return None
        user = tickets.user(ticket)
        if user is None:
            raise AuthenticationFailed
        return user, ticket

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="rooms"'

"""Middleware that a site may list; none of the rooms' own paths need it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware
from django.utils.functional import SimpleLazyObject, empty

from rooms import audit
from rooms.addresses import client_address
from rooms.audit import Origin, Source


@sync_and_async_middleware
def audit_origin(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Who changes accounts and sessions on pages of the site, the admin's among them, and from which address.

    ``rooms.middleware.audit_origin``, after ``AuthenticationMiddleware``. Without it such changes are recorded as those
    of the site's own code, by nobody.
    """
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> Any:
            with audit.during(partial(_of, request)):
                return await get_response(request)

        return asynchronous

    def synchronous(request: HttpRequest) -> Any:
        with audit.during(partial(_of, request)):
            return get_response(request)

    return synchronous


def _of(request: HttpRequest) -> Origin:
    """Looked for when something is changed: before that, nobody need know who asks.

    Who that is may be looked up at this very moment (a session that an old key proved gets another name, which is a
    change): then it is not asked again.
    """
    match = request.resolver_match
    source = Source.ADMIN if match is not None and "admin" in match.app_names else Source.PAGE
    user = getattr(request, "user", None)
    if isinstance(user, SimpleLazyObject) and user._wrapped is empty:
        user = None
    return Origin(source, client_address(request), user)

"""Every failure as the contract's error object, with the HTTP status that the contract gives its code."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from rooms.contract import Refused

logger = logging.getLogger(__name__)


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """For ``REST_FRAMEWORK["EXCEPTION_HANDLER"]``; the views of rooms use it whatever the site has there.

    None for what nobody foresaw: Django makes that a 500 and a line in the log.
    """
    refused = refusal(error)
    if refused is None:
        return None
    set_rollback()
    status = refused.http
    headers = {}
    if isinstance(error, exceptions.MethodNotAllowed):
        status = error.status_code
    if refused.code == "unauthenticated":
        headers["WWW-Authenticate"] = getattr(error, "auth_header", None) or 'Session realm="rooms"'
    if refused.retry_after_ms is not None:
        headers["Retry-After"] = str(-(-refused.retry_after_ms // 1000))
    return Response(msgspec.to_builtins(refused.as_data()), status=status, headers=headers)


def refusal(error: Exception) -> Refused | None:
    """What this exception means to a client; None when it means a bug."""
    match error:
        case Refused():
            return error
        case Http404() | exceptions.NotFound():
            return Refused("not_found", "There is nothing here.")
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return Refused("unauthenticated", "Log in to do this.")
        case exceptions.PermissionDenied():
            return Refused("forbidden", sentence(error.detail))
        case PermissionDenied():
            return Refused("forbidden", "You may not do this here.")
        case exceptions.Throttled():
            wait: float | None = error.wait  # type: ignore[attr-defined]  # the stubs forget it
            return Refused(
                "rate_limited", "Too many requests.", retry_after_ms=None if wait is None else round(wait * 1000)
            )
        case RequestDataTooBig():
            return Refused("too_large", "The body is too large.")
        case SuspiciousOperation() | BadRequest() | MultiPartParserError() | UnreadablePostError():
            return Refused("bad_data", "The request cannot be read.")
        case OperationalError() | InterfaceError():
            logger.warning("the database failed under a request: %s", error)
            return Refused("unavailable", "The database cannot serve this now.")
        case exceptions.APIException():
            code = "bad_data" if error.status_code < 500 else "unavailable"
            return Refused(code, sentence(error.detail))
    return None


def sentence(detail: Any) -> str:
    """The first of DRF's details, with its place."""
    if isinstance(detail, dict) and detail:
        place, inner = next(iter(detail.items()))
        return f"{sentence(inner)} - at `$.{place}`"
    if isinstance(detail, list | tuple) and detail:
        return sentence(detail[0])
    return str(detail)

"""What is refused, and why a connection ends."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from msgspec import UNSET, UnsetType

from rooms.contract.values import Version


class Error(msgspec.Struct, frozen=True):
    """The data of ``live.error``, and the body of a refused HTTP request."""

    code: str
    detail: str
    temporary: bool
    retry_after_ms: int | UnsetType = UNSET
    version: Version | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class ErrorCode:
    http: int
    temporary: bool = False


ERRORS: dict[str, ErrorCode] = {
    "bad_frame": ErrorCode(400),
    "bad_data": ErrorCode(400),
    "unknown_name": ErrorCode(400),
    "id_required": ErrorCode(400),
    "id_reused": ErrorCode(409),
    "too_large": ErrorCode(413),
    "unauthenticated": ErrorCode(401),
    "forbidden": ErrorCode(403),
    "not_found": ErrorCode(404),
    "not_joined": ErrorCode(409),
    "conflict": ErrorCode(409),
    "rate_limited": ErrorCode(429, temporary=True),
    "too_many_connections": ErrorCode(429, temporary=True),
    "too_many_rooms": ErrorCode(429, temporary=True),
    "unavailable": ErrorCode(503, temporary=True),
}


class Refused(Exception):
    """A command or request that is refused: a code of :data:`ERRORS` and a sentence that names no room."""

    def __init__(
        self, code: str, detail: str, *, version: int | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.version = version
        self.retry_after_ms = retry_after_ms

    @property
    def http(self) -> int:
        return ERRORS[self.code].http

    def as_data(self) -> Error:
        return Error(
            code=self.code,
            detail=self.detail,
            temporary=ERRORS[self.code].temporary,
            retry_after_ms=UNSET if self.retry_after_ms is None else self.retry_after_ms,
            version=UNSET if self.version is None else self.version,
        )


def not_found() -> Refused:
    """The one answer for a room that is not there and for one that this user may not know of."""
    return Refused("not_found", "There is no such room.")


def unavailable() -> Refused:
    return Refused("unavailable", "The database cannot serve this now.")


class Close(msgspec.Struct, frozen=True):
    """A close code and its reason, as ``live.bye`` tells it before the socket closes."""

    code: int
    reason: str
    retry_after_ms: int | UnsetType = UNSET


TOO_SLOW = Close(4408, "too slow")
REPLACED = Close(4412, "this node is being replaced")
TOO_MUCH = Close(4429, "too much")
IDLE = Close(4440, "idle")
PROTOCOL_ERROR = Close(4500, "protocol error")
UNAUTHENTICATED = Close(4501, "unauthenticated")
FORBIDDEN = Close(4503, "forbidden")
BY_CODE = {
    close.code: close for close in (TOO_SLOW, REPLACED, TOO_MUCH, IDLE, PROTOCOL_ERROR, UNAUTHENTICATED, FORBIDDEN)
}


def too_much(refused: Refused) -> Close:
    """What a limit refused, to a connection."""
    return Close(TOO_MUCH.code, refused.detail, refused.retry_after_ms or UNSET)


def replaced(retry_after_ms: int) -> Close:
    return Close(REPLACED.code, REPLACED.reason, retry_after_ms)

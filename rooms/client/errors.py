"""What goes wrong, as types with a code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LiveError(Exception):
    """A refusal.

    :ivar code: one of the protocol's error codes, or one of this client's own: ``timeout`` and ``closed``.
    :ivar detail: a sentence.
    :ivar temporary: the same thing may work later.
    :ivar retry_after: seconds, where the server says so.
    :ivar version: of the object, with ``conflict``.
    :ivar id: of the command; sent again with it, the command still happens once. After ``timeout`` and ``closed`` it
        may have happened or not.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        temporary: bool = False,
        retry_after: float | None = None,
        version: int | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.temporary = temporary
        self.retry_after = retry_after
        self.version = version
        self.id = id

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    def about(self, id: str) -> LiveError:
        """The same of this command."""
        return LiveError(
            self.code,
            self.detail,
            temporary=self.temporary,
            retry_after=self.retry_after,
            version=self.version,
            id=id,
        )

    @classmethod
    def from_data(cls, data: Any, id: str | None = None) -> LiveError:
        """From the data of ``live.error``, or the body of a refused request; whatever is missing is filled in."""
        said: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        wait, version = said.get("retry_after_ms"), said.get("version")
        return cls(
            str(said.get("code", "unknown")),
            str(said.get("detail", "The server gives no reason.")),
            temporary=said.get("temporary") is True,
            retry_after=wait / 1000 if isinstance(wait, int | float) else None,
            version=version if isinstance(version, int) else None,
            id=id,
        )


class Closed(LiveError):
    """The connection is closed for good. ``close`` is the close code: HTTP's 401 is 4501, 403 is 4503."""

    def __init__(self, close: int, reason: str, *, id: str | None = None) -> None:
        super().__init__("closed", f"{reason} ({close})", id=id)
        self.close = close
        self.reason = reason


class Broken(Exception):
    """The server broke a rule of the protocol: the connection is no longer trusted, and resumed from the last good
    place.
    """

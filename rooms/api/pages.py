"""Lists, a page at a time: ``{"results", "next", "previous"}``, by a key that stays when rows come and go."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any, ClassVar

from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from rooms.contract import SLUG_PATTERN, Refused

PAGE = 50  # rows
PAGE_MAX = 200
CURSOR = re.compile(
    r"(?P<reverse>r=1&)?p=(?P<place>[a-z0-9_-]{1,50})", re.ASCII
)  # an offset, which ours never need, is left out


def number(request: Request, name: str, default: int, *, least: int = 0, most: int) -> int:
    """A whole number from the query.

    :raises Refused: ``bad_data``, for what is no number or below ``least``.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,20}", text, re.ASCII) or int(text) < least:
        raise Refused("bad_data", f"A whole number of at least {least} is expected - at `{name}`")
    return min(int(text), most)


class Pages(CursorPagination):
    """By a whole number; the next page begins where this one ended, whatever was added or removed meanwhile.

    A cursor holds a number and no more: copied to another list it is a place there, and shows nothing of the first.
    """

    ordering: Any = "id"
    page_size = PAGE
    page_size_query_param = "limit"
    page_size_query_description = f"How many, at most {PAGE_MAX}."
    max_page_size = PAGE_MAX
    place: ClassVar[re.Pattern[str]] = re.compile(r"[0-9]{1,16}", re.ASCII)

    def get_page_size(self, request: Request) -> int:
        return number(request, "limit", PAGE, least=1, most=PAGE_MAX)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """:raises Refused: ``bad_data``, when it is none of ours."""
        encoded = request.query_params.get(self.cursor_query_param)
        if encoded is None:
            return None
        try:
            match = CURSOR.fullmatch(b64decode(encoded, validate=True).decode("ascii"))
        except ValueError:
            match = None
        if match is None or not self.place.fullmatch(match["place"]):
            raise Refused("bad_data", "This cursor is not from one of our links - at `cursor`")
        return _cursor(match["place"], reverse=match["reverse"] is not None)


class NewestFirst(Pages):
    ordering = "-seq"


class BySlug(Pages):
    """Of a list of rows that is at hand."""

    ordering = "slug"
    place = re.compile(SLUG_PATTERN, re.ASCII)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        rows: list[Any] = sorted(queryset, key=lambda row: row.slug)  # a database may sort by a locale
        self.base_url = request.build_absolute_uri()
        size, cursor = self.get_page_size(request), self.decode_cursor(request)
        start, end = 0, size
        if cursor is not None and cursor.position is not None:
            if cursor.reverse:
                end = sum(row.slug < cursor.position for row in rows)
                start = max(end - size, 0)
            else:
                start = sum(row.slug <= cursor.position for row in rows)
                end = start + size
        page = self.page = rows[start:end]
        self.has_previous = bool(page) and start > 0
        self.has_next = bool(page) and end < len(rows)
        return page

    def get_next_link(self) -> str | None:
        return self.encode_cursor(_cursor(self.page[-1].slug)) if self.page and self.has_next else None

    def get_previous_link(self) -> str | None:
        return self.encode_cursor(_cursor(self.page[0].slug, reverse=True)) if self.page and self.has_previous else None


def _cursor(place: str, *, reverse: bool = False) -> Cursor:
    return Cursor(offset=0, reverse=reverse, position=place)  # type: ignore[arg-type]  # the stubs hold it for an int

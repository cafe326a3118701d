"""What the views of the API have in common: the gate before every row, and commands for every write."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from rooms import access, audit, log
from rooms.access import Grant
from rooms.addresses import client_address
from rooms.api.authentication import TicketAuthentication
from rooms.api.errors import exception_handler
from rooms.api.pages import Pages
from rooms.api.schema import Schema
from rooms.api.serializers import JSONParser, JSONRenderer, shown
from rooms.commands import Answer
from rooms.conf import config
from rooms.contract import Cursor, Refused, StructValue, checked, not_found
from rooms.node import running

WRITES = "writes_per_user"
IF_MATCH = re.compile(r'"([0-9]{1,10})"', re.ASCII)


class OnlyJSON(BaseContentNegotiation):
    """JSON whatever is asked for: a refusal that cannot be shown in HTML is still a refusal."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        kind = request.content_type.partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == kind), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class MayAsk(BasePermission):
    """People who are logged in; and nobody in particular may read where ``ROOMS["PUBLIC_READ"]`` lets them.

    What they may see is the gate's to say.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        return request.user.is_authenticated or (request.method in SAFE_METHODS and config().public_read)


class View(APIView):
    """A view that reaches rows by :meth:`grant` alone, and changes them by :meth:`perform` alone.

    Who may not know of a room gets the very answer, at the very price, of a room that is not there.
    """

    parser_classes = [JSONParser]
    renderer_classes = [JSONRenderer]
    content_negotiation_class = OnlyJSON
    permission_classes = [MayAsk]
    metadata_class = None
    schema = Schema()
    pagination_class: type[Pages] = Pages

    def get_exception_handler(self) -> Any:
        return exception_handler

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with audit.coming_from("rest", address=client_address(request)):
            return super().dispatch(request, *args, **kwargs)

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        if "Transfer-Encoding" in request.headers and not request.META.get("CONTENT_LENGTH"):
            # DRF takes a body of unknown length for none, and a PATCH of nothing would seem to have been done
            request.META["CONTENT_LENGTH"] = str(config().max_frame_bytes)
        return super().initialize_request(request, *args, **kwargs)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response.headers.setdefault("Cache-Control", "no-store")
        return super().finalize_response(request, response, *args, **kwargs)

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Tickets, and what the site has."""
        return [TicketAuthentication(), *super().get_authenticators()]

    # --- reading

    def grant(self, tenant: str, room: str = "~all") -> Grant:
        """What the user may do in this room; ``~all`` stands for the tenant.

        :raises Refused: ``not_found``.
        :raises NotAuthenticated: the same for nobody in particular, who may log in and ask again.
        """
        try:
            return access.authorize(self.request.user.pk, f"{tenant}/{room}")
        except Refused:
            if self.request.user.is_authenticated:
                raise
            raise NotAuthenticated from None

    def live_cursor(self, grant: Grant) -> str:
        """``Live-Cursor``: taken *before* the rows are read, so that who joins with it misses nothing in between."""
        place = log.positions([grant.room]).get(grant.room)
        if place is None:
            raise not_found()
        return f"{grant.address}@{Cursor(*place)}"

    def page(self, struct: type[msgspec.Struct], rows: Any, cursor: str | None = None) -> Response:
        """One page of rows, shown as this Struct."""
        pages = self.pagination_class()
        found: list[Any] = pages.paginate_queryset(rows, self.request, view=self) or []
        response = pages.get_paginated_response([shown(struct, row) for row in found])
        if cursor is not None:
            response["Live-Cursor"] = cursor
        return response

    # --- writing

    def body(self, shape: type[StructValue]) -> StructValue:
        """:raises Refused: ``bad_data``."""
        return checked(self.request.data, shape)

    def perform(self, name: str, data: Any, *, room: str) -> Answer:
        """Do the command whose id is the ``Idempotency-Key``; its answer, the first one for a repeat.

        :raises Refused: as over a socket; ``rate_limited`` by the limit of writes.
        """
        key = self.request.headers.get("Idempotency-Key")
        if key == "":
            raise Refused("bad_data", "An Idempotency-Key is not empty.")
        return running.perform(self.request.user.pk, name, data, room=room, id=key, by=WRITES)

    def version(self) -> dict[str, int]:
        """``If-Match: "3"`` as a command's ``version``; nothing for ``*`` or none.

        :raises Refused: ``bad_data``.
        """
        given = self.request.headers.get("If-Match", "*").strip()
        if given == "*":
            return {}
        match = IF_MATCH.fullmatch(given)
        if match is None:
            raise Refused("bad_data", 'If-Match is one version in quotes, such as "3".')
        return {"version": int(match[1])}

    def changed(self, show: Callable[[], Response], status: int = 200) -> Response:
        """The object as it is after a write, or after the repeat of one.

        A repeat may come when the object is gone, or out of the user's sight: it was done, and there is nothing to
        show.
        """
        try:
            response = show()
        except Refused as refused:
            if refused.code != "not_found":
                raise
            return Response(status=204)
        response.status_code = status
        return response

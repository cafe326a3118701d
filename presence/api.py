"""Who is in a room, over REST: for who may read the room, as REST of rooms has it."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from drf_spectacular.utils import OpenApiParameter
from msgspec import UNSET, UnsetType
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from presence import directory
from presence.contract import Present
from presence.directory import Place
from rooms import contract
from rooms.api.base import View
from rooms.api.pages import PAGE, PAGE_MAX, number
from rooms.api.schema import operation
from rooms.api.serializers import shown
from rooms.contract import Refused, Time
from rooms.services import members

PLACE = re.compile(r"([0-9]{1,18})\.([0-9a-f]{32})", re.ASCII)  # microseconds since 1970, and the visit
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PresencePage(msgspec.Struct, frozen=True):
    """A page of who is here, in the order in which they came. ``count`` is all of them."""

    people: list[Present]
    count: int
    next: str | None


class Whereabouts(msgspec.Struct, frozen=True):
    """Whether a person is here: ``since`` when they are, ``last_seen`` when they have been."""

    user: contract.Person
    here: bool
    since: Time | UnsetType = UNSET
    last_seen: Time | UnsetType = UNSET


class People(View):
    @operation(
        "presence_list",
        answer=PresencePage,
        query=[
            OpenApiParameter("after", str, description="From a link `next`: who came later follows."),
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE},
                description="How many people.",
            ),
        ],
    )
    def get(self, request: Request, tenant: str, room: str) -> Response:
        """Who is in the room, by name in a room of any size."""
        grant = self.grant(tenant, room)
        limit = number(request, "limit", PAGE, least=1, most=PAGE_MAX)
        after = request.query_params.get("after")
        page = directory.page(grant.room, None if after is None else place(after), limit)
        link = None
        if page.end is not None:
            link = replace_query_param(request.build_absolute_uri(), "after", token(page.end))
        return Response(shown(PresencePage, PresencePage(page.people, page.count, link)))


class Person(View):
    @operation("presence_retrieve", answer=Whereabouts)
    def get(self, request: Request, tenant: str, room: str, user: str) -> Response:
        """Whether a person is in the room, since when, or when they were last. The id is the user's."""
        grant = self.grant(tenant, room)
        visit = directory.visit(grant.room, members.user_key(user))
        if visit is None:
            raise Refused("not_found", "There is no such member.")
        person = contract.Person.from_row(visit.user)
        if visit.ended is None:
            return Response(shown(Whereabouts, Whereabouts(person, True, since=visit.since)))
        return Response(shown(Whereabouts, Whereabouts(person, False, last_seen=visit.ended)))


def token(place: Place) -> str:
    microseconds = (place.since - EPOCH) // datetime.resolution
    return urlsafe_b64encode(f"{microseconds}.{place.visit.hex}".encode()).decode().rstrip("=")


def place(token: str) -> Place:
    """:raises Refused: ``bad_data``, when it is none of ours."""
    try:
        match = PLACE.fullmatch(urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii"))
        if match is not None:
            return Place(EPOCH + int(match[1]) * datetime.resolution, UUID(match[2]))
    except (ValueError, OverflowError):
        pass
    raise Refused("bad_data", "This place is not from one of our links - at `after`")

"""Policies that are wrong, each in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import OperationalError

from rooms.contract import Role, Visibility
from rooms.models import Tenant
from rooms.policy import NOTHING, READ, WRITE, Pair
from tests.hostapp.models import Course, Enrolment
from tests.hostapp.policy import CoursePolicy


class Raises(CoursePolicy):
    """Its table of people has not everybody."""

    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        given = super().authorize_many(pairs)
        for pair in pairs:
            if pair.user is not None and not Enrolment.objects.filter(user=pair.user).exists():
                raise LookupError(f"nobody knows {pair.user}")
        return given


class RaisesAlways:
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        raise RuntimeError("no")


class IsAway:
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        raise OperationalError("the database is away")


class BreaksTheTransaction:
    """A statement that fails: on PostgreSQL nothing more can be asked in that transaction."""

    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        Tenant.objects.create(slug=pairs[0].room.tenant, name="taken")


class LeavesOut(CoursePolicy):
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        return {pair: can for pair, can in super().authorize_many(pairs).items() if can}


class AnswersWithAList(CoursePolicy):
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        return list(super().authorize_many(pairs).values())


class NamesNoRight(CoursePolicy):
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        return {pair: ["read", "wrtie"] if can else [] for pair, can in super().authorize_many(pairs).items()}


class AnswersWithAWord(CoursePolicy):
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        return {pair: "read" if can else "" for pair, can in super().authorize_many(pairs).items()}


class WritesUnread(CoursePolicy):
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        return {pair: can - READ for pair, can in super().authorize_many(pairs).items()}


class GivesNothing:
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        return dict.fromkeys(pairs, NOTHING)


class OpenToAll(CoursePolicy):
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        return {pair: WRITE if pair.user is not None else can for pair, can in super().authorize_many(pairs).items()}


class OpenToNobody(CoursePolicy):
    """In particular."""

    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        return {pair: READ if pair.user is None else can for pair, can in super().authorize_many(pairs).items()}


class KnowsRoomsBySlug(CoursePolicy):
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        rows = Enrolment.objects.values_list("user", "course__room__slug")
        enrolled = set(rows)
        return {pair: WRITE if (pair.user, pair.room.slug) in enrolled else NOTHING for pair in pairs}


class Remembers(CoursePolicy):
    def __init__(self) -> None:
        self.found: dict[Any, Any] = {}

    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        new = [pair for pair in pairs if (pair.user, pair.room.id) not in self.found]
        for pair, can in super().authorize_many(new).items():
            self.found[pair.user, pair.room.id] = can
        return {pair: self.found[pair.user, pair.room.id] for pair in pairs}


class AsksForEach(CoursePolicy):
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        given = {}
        for pair in pairs:
            given |= super().authorize_many([pair])
        return given


class TakesTheFirstTenantsWord(CoursePolicy):
    """All pairs are of one tenant, it believes."""

    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        tenant = pairs[0].room.tenant if pairs else ""
        given = super().authorize_many(pairs)
        return {pair: can if pair.room.tenant == tenant else NOTHING for pair, can in given.items()}


class CountsFromTheEnd(CoursePolicy):
    """Only the last of each user's pairs is answered by the rows."""

    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        last = {pair.user: pair for pair in pairs}
        given = super().authorize_many(pairs)
        return {pair: can if last[pair.user] is pair else NOTHING for pair, can in given.items()}


class Writes(CoursePolicy):
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        Course.objects.filter(room__in=[pair.room.id for pair in pairs]).update(title="asked")
        return super().authorize_many(pairs)


class AnswersUnasked(CoursePolicy):
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        return super().authorize_many(pairs) or {"default": READ}


class LetsEverythingOpen:
    """All rights for everybody everywhere: what remains is what a policy cannot give away."""

    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        return {pair: ["read", "write", "moderate", "manage"] for pair in pairs}


class ShutsAdminsOut(CoursePolicy):
    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        given = super().authorize_many(pairs)
        return {pair: NOTHING if pair.role in (Role.OWNER, Role.ADMIN) else can for pair, can in given.items()}


class PublicToMembers:
    """Everybody may write in what is public: the visibility of a room that is not there is asked for too."""

    def authorize_many(self, pairs: Sequence[Pair]) -> Any:
        return {pair: WRITE if pair.room.visibility is Visibility.PUBLIC else NOTHING for pair in pairs}

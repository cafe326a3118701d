"""Who may do what in a room: by the courses of this site, and by membership where a room is no course's."""

from __future__ import annotations

from collections.abc import Sequence

from rooms.contract import Right, Role
from rooms.policy import MODERATE, NOTHING, WRITE, ByMembership, Pair
from tests.hostapp.models import Course, Enrolment


class CoursePolicy(ByMembership):
    """A course's room is for who is enrolled, a member of the tenant or not: students write, teachers moderate.

    Owners and admins of the tenant may do there what they may do everywhere. Two statements, however many pairs.
    """

    def authorize_many(self, pairs: Sequence[Pair]) -> dict[Pair, frozenset[Right]]:
        given = super().authorize_many(pairs)
        places = {pair.room.id for pair in pairs}
        courses = set(Course.objects.filter(room__in=places).values_list("room", flat=True))
        people = {pair.user for pair in pairs if pair.user is not None}
        enrolments = Enrolment.objects.filter(course__room__in=places, user__in=people)
        teaches = {(user, room): flag for user, room, flag in enrolments.values_list("user", "course__room", "teaches")}
        for pair in pairs:
            if pair.room.id in courses and pair.role not in (Role.OWNER, Role.ADMIN):
                flag = teaches.get((pair.user, pair.room.id))
                given[pair] = NOTHING if flag is None else MODERATE if flag else WRITE
        return given

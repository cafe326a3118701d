"""The kit that proves a host's policy: a right one passes, a wrong one is told in a sentence what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import TestCase

from rooms.models import Room, Tenant
from rooms.policy import ByMembership
from rooms.services import members
from rooms.testing import PolicyContract
from tests.hostapp.models import Course, Enrolment
from tests.hostapp.policy import CoursePolicy
from tests.support import policies

pytestmark = pytest.mark.django_db


class Courses(PolicyContract):
    """A host's own: what a test of theirs fills in."""

    gives = ("read", "write")

    def make_policy(self) -> Any:
        return CoursePolicy()

    def make_room(self, tenant: Tenant, slug: str) -> Room:
        room = super().make_room(tenant, slug)
        Course.objects.create(room=room, title=slug)
        return room

    def give(self, user: Any, room: Room) -> None:
        Course.objects.get(room=room).enrol(user)

    def take(self, user: Any, room: Room) -> None:
        Course.objects.get(room=room).dismiss(user)


class TestCoursePolicy(Courses):
    """As with pytest."""


class CoursePolicyTests(Courses, TestCase):
    """As with unittest."""


class TestByMembership(PolicyContract):
    def make_policy(self) -> Any:
        return ByMembership()

    def give(self, user: Any, room: Room) -> None:
        members.set_part(room, user, "listener")

    def take(self, user: Any, room: Room) -> None:
        members.remove_part(room, user)


class TestThePolicyOfTheSettings(TestByMembership):
    def make_policy(self) -> Any:
        return PolicyContract.make_policy(self)


class Silent(Courses):
    def take(self, user: Any, room: Room) -> None:
        Enrolment.objects.filter(course__room=room, user=user).delete()


class SilentOnPurpose(Silent):
    tells = False


WRONG: list[tuple[type[Any], str, str]] = [
    (policies.GivesNothing, "who_is_given_access_has_it", r"GivesNothing gives nothing to whom give\(\) gave access"),
    (policies.OpenToAll, "a_stranger_has_none", "OpenToAll gives read write to somebody who was given nothing"),
    (policies.OpenToNobody, "who_is_not_logged_in_has_none", "OpenToNobody gives read to who is not logged in"),
    (
        policies.KnowsRoomsBySlug,
        "access_ends_at_the_tenant",
        "in contract-other/contract to who has access to",
    ),
    (policies.Remembers, "access_that_is_taken_is_gone", "Remembers still gives read write after take()"),
    (policies.Raises, "every_pair_is_answered_with_rights", r"Raises raises LookupError\(.nobody knows"),
    (policies.LeavesOut, "every_pair_is_answered_with_rights", "LeavesOut leaves out user .* in contract-"),
    (policies.AnswersWithAList, "every_pair_is_answered_with_rights", "with a list, not with a mapping of pairs"),
    (policies.NamesNoRight, "every_pair_is_answered_with_rights", "There is no right 'wrtie': a right is read, write"),
    (policies.AnswersWithAWord, "every_pair_is_answered_with_rights", "'read' is no set of rights"),
    (policies.WritesUnread, "every_pair_is_answered_with_rights", "Who may write a room may read it"),
    (policies.AnswersUnasked, "nothing_is_asked_for_nothing", "answers {'default': .* when nothing is asked"),
    (policies.TakesTheFirstTenantsWord, "neither_order_nor_repetition_matters", "when the pairs are in another order"),
    (policies.CountsFromTheEnd, "many_are_told_what_each_is_told_alone", "alone, and nothing among 12 pairs"),
    (policies.CountsFromTheEnd, "neither_order_nor_repetition_matters", "when the pairs are"),
    (
        policies.AsksForEach,
        "a_hundred_pairs_cost_the_statements_of_one",
        "takes 200 statements for 100 pairs",
    ),
    (policies.Writes, "nothing_is_written", "Writes writes: UPDATE"),
]


@pytest.mark.parametrize(("wrong", "case", "sentence"), WRONG, ids=[f"{one.__name__}-{case}" for one, case, _ in WRONG])
def test_a_wrong_policy_is_told_what_is_wrong(wrong: type[Any], case: str, sentence: str) -> None:
    contract = Courses()
    contract.make_policy = wrong  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=sentence):
        getattr(contract, f"test_{case}")()


def test_a_change_that_nobody_is_told_of_is_one_unless_the_host_says_so() -> None:
    with pytest.raises(AssertionError, match=r"take\(\) does not call rooms.access_changed"):
        Silent().test_a_change_is_told()


def test_it_may_be_left_to_the_sweep() -> None:
    SilentOnPurpose().test_a_change_is_told()


def test_no_case_passes_whatever_the_policy_is() -> None:
    cases = {name.removeprefix("test_") for name in vars(PolicyContract) if name.startswith("test_")}
    assert cases == {case for _, case, _ in WRONG} | {"a_change_is_told"}


@pytest.mark.parametrize("name", ["give", "take"])
def test_what_the_host_has_to_write_is_said(name: str) -> None:
    method: Callable[..., None] = getattr(PolicyContract(), name)
    with pytest.raises(NotImplementedError, match=rf"{name}\(user, room\) is yours to write"):
        method(None, None)

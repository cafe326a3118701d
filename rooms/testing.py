"""For a host's own tests, with pytest and with unittest: what a policy of ``ROOMS["ACCESS"]`` must keep::

class CoursePolicyTests(PolicyContract, TestCase):  # with pytest: @pytest.mark.django_db, and no TestCase
    def make_room(self, tenant, slug):
        room = super().make_room(tenant, slug)
        Course.objects.create(room=room)
        return room

    def give(self, user, room):
        Course.objects.get(room=room).enrol(user)

    def take(self, user, room):
        Course.objects.get(room=room).dismiss(user)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rooms import access, policy, services
from rooms.access import Ask
from rooms.conf import config
from rooms.contract import Right, Visibility
from rooms.models import Room, Tenant
from rooms.policy import AccessPolicy, Pair

MANY = 10  # people and rooms: a hundred pairs
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")

Answers = dict[Pair, frozenset[Right]]


@dataclass(frozen=True, slots=True)
class _Scene:
    """``insider`` has access to ``room``, and to nothing else. ``twin`` bears the same slug in another tenant."""

    insider: Any
    stranger: Any
    closed: Any
    room: Room
    twin: Room

    def asks(self) -> list[Ask]:
        people = [self.insider.pk, self.stranger.pk, self.closed.pk, None]
        absent = f"{self.room.tenant.slug}/contract-absent"
        return [(user, address) for user in people for address in (self.room.address, absent, self.twin.address)]


class PolicyContract:
    """What every policy must keep; a failure says in a sentence what is wrong.

    Fill in :meth:`give` and :meth:`take`, and :meth:`make_room` where a room of this kind is not only a room. All rows
    are made by the tests themselves. They ask the policy alone: the bounds that the gate sets to it are ours to test.
    """

    gives: ClassVar[Collection[str]] = ("read",)  # what give() gives, at least
    strangers: ClassVar[Collection[str]] = ()  # what everybody may do in such a room who has an account
    anybody: ClassVar[Collection[str]] = ()  # and who has none
    tells: ClassVar[bool] = True  # whether give() and take() call rooms.access_changed()

    # --- to be filled in

    def give(self, user: Any, room: Room) -> None:
        """Change your rows so that this user may read the room, at least, and no other room."""
        raise NotImplementedError("PolicyContract.give(user, room) is yours to write")

    def take(self, user: Any, room: Room) -> None:
        """Undo :meth:`give`."""
        raise NotImplementedError("PolicyContract.take(user, room) is yours to write")

    def make_policy(self) -> AccessPolicy:
        """By default the one that the settings name."""
        return policy.named(config().access)

    def make_user(self, name: str) -> Any:
        """A row of your user model, saved and active."""
        users = get_user_model()
        return users._default_manager.create(**{users.USERNAME_FIELD: name})

    def make_room(self, tenant: Tenant, slug: str) -> Room:
        """A room of the kind that the policy is about; by default a private one."""
        return services.rooms.create(tenant, slug, name=slug, visibility=Visibility.PRIVATE)

    # --- what it may say

    def test_who_is_given_access_has_it(self) -> None:
        scene = self._scene()
        can = self._may(scene.insider, scene.room)
        for right in self.gives:
            assert right in can, f"{self._name} gives {_set(can)} to whom give() gave access: '{right}' is missing"

    def test_a_stranger_has_none(self) -> None:
        scene = self._scene()
        can = self._may(scene.stranger, scene.room)
        assert can <= set(self.strangers), f"{self._name} gives {_set(can)} to somebody who was given nothing"

    def test_who_is_not_logged_in_has_none(self) -> None:
        can = self._may(None, self._scene().room)
        assert can <= set(self.anybody), f"{self._name} gives {_set(can)} to who is not logged in (user is None)"

    def test_access_ends_at_the_tenant(self) -> None:
        """A twin of the room, with the same slug in another tenant, is another room."""
        scene = self._scene()
        can = self._may(scene.insider, scene.twin)
        assert can <= set(self.strangers), (
            f"{self._name} gives {_set(can)} in {scene.twin.address} to who has access to {scene.room.address} alone: "
            "a slug is not enough to know a room by, take its id"
        )

    def test_access_that_is_taken_is_gone(self) -> None:
        """From the instance that gave it before, as in a process that runs."""
        scene, asked = self._scene(), self.make_policy()
        self._may(scene.insider, scene.room, asked)
        self.take(scene.insider, scene.room)
        can = self._may(scene.insider, scene.room, asked)
        assert can <= set(self.strangers), (
            f"{self._name} still gives {_set(can)} after take(): it remembers what it found, or asks for something else"
        )

    def test_a_change_is_told(self) -> None:
        """Else the nodes find it with the next sweep, up to ``ROOMS["GRANT_TTL"]`` later. See ``tells``."""
        scene = self._scene()
        before = access.changes()
        self.take(scene.insider, scene.room)
        assert not self.tells or access.changes() != before, (
            "take() does not call rooms.access_changed(users=[user]): who lost access stays until the next sweep. "
            "If that is what you want, set tells = False"
        )

    # --- how it is asked

    def test_every_pair_is_answered_with_rights(self) -> None:
        """Who has no account any more, who never had one, whose account is closed; a room that is not there."""
        asks = self._scene().asks()
        self._ask([*asks, (self._gone(), asks[0][1])])

    def test_nothing_is_asked_for_nothing(self) -> None:
        answers = self._call([])
        assert not answers, f"{self._name} answers {answers!r} when nothing is asked"

    def test_many_are_told_what_each_is_told_alone(self) -> None:
        together = self._ask(self._scene().asks())
        for pair, can in together.items():
            alone = self._checked([pair], self._call([pair]))[pair]
            assert alone == can, (
                f"{self._name} gives {_set(alone)} to {_pair(pair)} alone, and {_set(can)} among {len(together)} pairs"
            )

    def test_neither_order_nor_repetition_matters(self) -> None:
        pairs = self._pairs(self._scene().asks())
        expected = self._checked(pairs, self._call(pairs))
        for said, given in (("in another order", pairs[::-1]), ("given twice", [*pairs, *pairs])):
            answers = self._checked(given, self._call(given))
            for pair, can in answers.items():
                assert can == expected[pair], (
                    f"{self._name} gives {_set(can)} to {_pair(pair)} when the pairs are {said}, "
                    f"and {_set(expected[pair])} otherwise"
                )

    def test_a_hundred_pairs_cost_the_statements_of_one(self) -> None:
        tenant = services.tenants.create("contract-many", name="Many")
        rooms = [self.make_room(tenant, f"contract-{number}") for number in range(MANY)]
        people = [self.make_user(f"contract-{number}") for number in range(MANY)]
        for person, room in zip(people, rooms, strict=True):
            self.give(person, room)
        pairs = self._pairs([(person.pk, room.address) for person in people for room in rooms])
        asked = self.make_policy()
        self._call(pairs[:1], asked)  # what is kept for good is asked for once
        one, many = (self._statements(some, asked) for some in (pairs[:1], pairs))
        assert len(many) <= len(one), (
            f"{self._name} takes {len(many)} statements for {len(pairs)} pairs and {len(one)} for one: "
            f"ask for all of them at once. The last was: {many[-1]}"
        )

    def test_nothing_is_written(self) -> None:
        for statement in self._statements(self._pairs(self._scene().asks()), self.make_policy()):
            word = statement.lstrip("( ").partition(" ")[0].upper()
            assert word not in WRITES, f"{self._name} writes: {statement}"

    # --- the parts of a case

    @property
    def _name(self) -> str:
        return type(self.make_policy()).__qualname__

    def _scene(self) -> _Scene:
        one, other = (services.tenants.create(f"contract-{slug}", name=slug) for slug in ("one", "other"))
        insider, stranger, closed = (self.make_user(f"contract-{name}") for name in ("insider", "stranger", "closed"))
        room, twin = self.make_room(one, "contract"), self.make_room(other, "contract")
        for person in (insider, closed):
            self.give(person, room)
        if hasattr(closed, "is_active"):
            type(closed)._default_manager.filter(pk=closed.pk).update(is_active=False)
        return _Scene(insider, stranger, closed, room, twin)

    def _gone(self) -> Any:
        user = self.make_user("contract-gone")
        key = user.pk
        user.delete()
        return key

    def _pairs(self, asks: Iterable[Ask]) -> list[Pair]:
        return list(access.pairs(asks).values())

    def _may(self, user: Any, room: Room, asked: AccessPolicy | None = None) -> frozenset[Right]:
        pairs = self._pairs([(None if user is None else user.pk, room.address)])
        return self._checked(pairs, self._call(pairs, asked))[pairs[0]]

    def _ask(self, asks: Iterable[Ask]) -> Answers:
        pairs = self._pairs(asks)
        return self._checked(pairs, self._call(pairs))

    def _call(self, pairs: Sequence[Pair], asked: AccessPolicy | None = None) -> Any:
        asked = asked or self.make_policy()
        try:
            return asked.authorize_many(pairs)
        except Exception as error:
            about = f"about {_pair(pairs[0])}" if len(pairs) == 1 else f"about {len(pairs)} pairs"
            raise AssertionError(f"{self._name} raises {error!r} when it is asked {about}") from error

    def _checked(self, pairs: Sequence[Pair], answers: Any) -> Answers:
        assert isinstance(answers, Mapping), (
            f"{self._name} answers with a {type(answers).__name__}, not with a mapping of pairs to rights"
        )
        given: Answers = {}
        for pair in pairs:
            assert pair in answers, f"{self._name} leaves out {_pair(pair)}: say set() for no access"
            try:
                given[pair] = policy.rights(answers[pair])
            except policy.PolicyError as error:
                raise AssertionError(f"{self._name} about {_pair(pair)}: {error}") from None
        return given

    def _statements(self, pairs: Sequence[Pair], asked: AccessPolicy) -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            self._call(pairs, asked)
        return [str(query["sql"]) for query in queries.captured_queries]


def _pair(pair: Pair) -> str:
    return f"user {pair.user!r} in {pair.room.address}"


def _set(rights: Collection[Right]) -> str:
    return " ".join(sorted(rights)) or "nothing"

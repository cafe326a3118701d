"""What a person may do in an ordinary room: by membership, or by a class of the host's that ``ROOMS["ACCESS"]`` names.

The gate (:mod:`rooms.access`) asks it, about all that it has to decide at once, and sets bounds to the answer that no
policy can give away. A policy that fails opens nothing: what it raises, leaves out or gets wrong is no access, counted
and logged, for the pairs that it concerns.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils.module_loading import import_string

from rooms import metrics
from rooms.conf import config
from rooms.contract import Part, Right, Role, Visibility

logger = logging.getLogger(__name__)

NOTHING: frozenset[Right] = frozenset()
READ = frozenset({Right.READ})
WRITE = READ | {Right.WRITE}
MODERATE = WRITE | {Right.MODERATE}
MANAGE = MODERATE | {Right.MANAGE}

BY_ROLE: dict[tuple[Role | None, Visibility], frozenset[Right]] = {
    **{(Role.OWNER, visibility): MANAGE for visibility in Visibility},
    **{(Role.ADMIN, visibility): MANAGE for visibility in Visibility},
    (Role.MEMBER, Visibility.PUBLIC): WRITE,
    (Role.MEMBER, Visibility.TENANT): WRITE,
    (Role.GUEST, Visibility.PUBLIC): WRITE,
    (Role.GUEST, Visibility.TENANT): READ,
}
BY_PART: dict[Part, frozenset[Right]] = {
    Part.MODERATOR: MODERATE,
    Part.SPEAKER: WRITE,
    Part.LISTENER: READ,
    Part.BANNED: NOTHING,
}

RIGHTS = [right.value for right in Right]
TRIES = 64  # calls for one question to a policy that raises; two bad pairs in a thousand are found in 40


class Place(NamedTuple):
    """An ordinary room. ``tenant`` and ``slug`` are the two halves of its address; they never change."""

    id: UUID
    tenant: str
    slug: str
    visibility: Visibility

    @property
    def address(self) -> str:
        return f"{self.tenant}/{self.slug}"


class Pair(NamedTuple):
    """A person and a room, and what this site knows of the two.

    ``user`` is the primary key, None for nobody; ``role`` is the role in the room's tenant, ``part`` the part in the
    room. Either may be None.
    """

    user: Any
    room: Place
    role: Role | None
    part: Part | None


class AccessPolicy(Protocol):
    """One instance serves the whole process, from many threads at once: it keeps nothing between two calls."""

    def authorize_many(self, pairs: Sequence[Pair]) -> Mapping[Pair, Collection[Right | str]]:
        """What each pair may do: a set of ``read``, ``write``, ``moderate``, ``manage``; an empty one is no access.

        No pair is given twice. Pairs of several tenants come together, and some are of rooms that are not there (what
        is said of those counts for nothing; they are asked about so that absence costs what refusal costs). Whoever may
        do anything may read.

        It is called inside transactions that hold locks, and for every command: a statement or two for all pairs, no
        network, nothing written. ``OperationalError`` and ``InterfaceError`` of the database mean that nobody can say
        now; anything else that is raised is no access.
        """
        ...


class ByMembership:
    """The role in the tenant, overridden by the part in the room. It asks nothing of the database.

    A host's policy may build on it: ask ``super().authorize_many(pairs)``, then give or take by its own objects.
    """

    def authorize_many(self, pairs: Sequence[Pair]) -> dict[Pair, frozenset[Right]]:
        public_read = config().public_read
        return {pair: by_membership(pair, public_read=public_read) for pair in pairs}


def by_membership(pair: Pair, *, public_read: bool) -> frozenset[Right]:
    if pair.part and pair.role not in (Role.OWNER, Role.ADMIN):
        return BY_PART[pair.part]
    can = BY_ROLE.get((pair.role, pair.room.visibility), NOTHING)
    return READ if not can and public_read and pair.room.visibility is Visibility.PUBLIC else can


class PolicyError(Exception):
    """What a policy said is no answer; a sentence."""


def rights(said: Any) -> frozenset[Right]:
    """:raises PolicyError: it is not a set of rights."""
    if isinstance(said, str) or not isinstance(said, Collection):
        raise PolicyError(f"{said!r} is no set of rights.")
    unknown = [right for right in said if right not in RIGHTS]
    if unknown:
        raise PolicyError(f"There is no right {unknown[0]!r}: a right is {', '.join(RIGHTS)}.")
    can = frozenset(map(Right, said))
    if can and Right.READ not in can:
        raise PolicyError(f"Who may {min(can)} a room may read it: 'read' is missing.")
    return can


@lru_cache(maxsize=8)
def named(path: str) -> AccessPolicy:
    """An instance of the class with this dotted path.

    :raises ImproperlyConfigured: in a sentence.
    """
    try:
        policy = import_string(path)()
    except Exception as error:
        raise ImproperlyConfigured(f"ROOMS['ACCESS']: no policy can be made of {path!r}: {error}") from error
    if not callable(getattr(policy, "authorize_many", None)):
        raise ImproperlyConfigured(f"ROOMS['ACCESS']: {path!r} has no method authorize_many.")
    return policy  # type: ignore[no-any-return]


def ask(pairs: Sequence[Pair]) -> Mapping[Pair, frozenset[Right]]:
    """What the site's policy says of these pairs, in one call; a pair that is absent has no access.

    When the policy raises, the pairs are halved until those are alone that make it raise: one person whose row it
    cannot bear does not shut out the others. After :data:`TRIES` calls, what is left has no access.
    """
    policy = named(config().access)
    if type(policy) is ByMembership:
        return policy.authorize_many(pairs)
    given: dict[Pair, frozenset[Right]] = {}
    waiting = [pairs] if pairs else []
    raised: Exception | None = None
    lost = 0
    for _ in range(TRIES):
        if not waiting:
            break
        some = waiting.pop()
        try:
            # In a transaction of the caller's, what the policy breaks is undone with this block alone.
            with transaction.atomic() if connection.in_atomic_block else nullcontext():
                given |= _checked(policy, some, policy.authorize_many(some))
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            raised = error
            half = len(some) // 2
            waiting += [part for part in (some[half:], some[:half]) if half and part]
            lost += not half
    if raised is not None:
        lost += sum(map(len, waiting))
        metrics.policy_failures.labels("raised").inc(lost)
        logger.error("%s raised: no access for %d of %d pairs", _name(policy), lost, len(pairs), exc_info=raised)
    return given


def _checked(policy: AccessPolicy, pairs: Sequence[Pair], answers: Any) -> dict[Pair, frozenset[Right]]:
    given: dict[Pair, frozenset[Right]] = {}
    missing: list[Pair] = []
    wrong: list[tuple[Pair, PolicyError]] = []
    for pair in pairs:
        try:
            if not isinstance(answers, Mapping):
                raise PolicyError(f"The answer is a {type(answers).__name__}, not a mapping of pairs to rights.")
            if pair in answers:
                given[pair] = rights(answers[pair])
            else:
                missing.append(pair)
        except PolicyError as refused:
            wrong.append((pair, refused))
    # One line each, for a policy is wrong about many at once.
    if missing:
        metrics.policy_failures.labels("missing").inc(len(missing))
        left, first = len(missing), _shown(missing[0])
        logger.error("%s left out %d of %d pairs: no access for %s", _name(policy), left, len(pairs), first)
    if wrong:
        metrics.policy_failures.labels("wrong").inc(len(wrong))
        pair, reason = wrong[0]
        logger.error("%s: %s No access for %s, and %d more", _name(policy), reason, _shown(pair), len(wrong) - 1)
    return given


def _name(policy: AccessPolicy) -> str:
    return f"{type(policy).__module__}.{type(policy).__qualname__}"


def _shown(pair: Pair) -> str:
    return f"user {pair.user!r} in {pair.room.address}"

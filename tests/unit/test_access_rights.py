"""Who may do what: the table of the gate, asked for every combination there is."""

from __future__ import annotations

from itertools import product
from uuid import UUID

import pytest

from rooms.access import Standing, bounded
from rooms.contract import Part, Right, Role, Visibility
from rooms.policy import Pair, Place, by_membership

R, W, MOD, MAN = Right.READ, Right.WRITE, Right.MODERATE, Right.MANAGE
NOTHING: set[Right] = set()

ROLES = [*Role, None]
PARTS = [*Part, None]
FLAGS = (False, True)

# The table as it stands in the documentation: role, then public, tenant, private room.
BY_ROLE = {
    Role.OWNER: ({R, W, MOD, MAN}, {R, W, MOD, MAN}, {R, W, MOD, MAN}),
    Role.ADMIN: ({R, W, MOD, MAN}, {R, W, MOD, MAN}, {R, W, MOD, MAN}),
    Role.MEMBER: ({R, W}, {R, W}, NOTHING),
    Role.GUEST: ({R, W}, {R}, NOTHING),
    None: (NOTHING, NOTHING, NOTHING),
}
BY_PART = {Part.MODERATOR: {R, W, MOD}, Part.SPEAKER: {R, W}, Part.LISTENER: {R}, Part.BANNED: NOTHING}
STANDS_ABOVE = (Role.OWNER, Role.ADMIN)


def standing(kind: str = "room", **given: object) -> Standing:
    usual = {
        "visibility": "tenant",
        "read_only": False,
        "archived": False,
        "tenant_active": True,
        "user_active": True,
        "nobody": False,
        "owns": False,
        "role": None,
        "part": None,
    }
    return Standing(kind=kind, **{**usual, **given})  # type: ignore[arg-type]


def rights(stands: Standing, *, public_read: bool) -> set[Right]:
    """What the site's own policy gives, within the bounds."""
    room = Place(UUID(int=1), "acme", "general", Visibility(stands.visibility))
    role, part = stands.role and Role(stands.role), stands.part and Part(stands.part)
    given = by_membership(Pair(1, room, role or None, part or None), public_read=public_read)
    return set(bounded(stands, given, public_read=public_read))


def everybody() -> list[tuple[Role | None, Part | None, Visibility, bool, bool, bool]]:
    """Role, part, visibility, read-only, archived, PUBLIC_READ."""
    return list(product(ROLES, PARTS, Visibility, FLAGS, FLAGS, FLAGS))


def expected(
    role: Role | None, part: Part | None, visibility: Visibility, read_only: bool, archived: bool, public_read: bool
) -> set[Right]:
    """The sentences of the documentation, one after the other."""
    if role in STANDS_ABOVE or part is None:
        can = set(BY_ROLE[role][list(Visibility).index(visibility)])
    else:
        can = set(BY_PART[part])
    if not can and role not in STANDS_ABOVE and part is None and public_read and visibility is Visibility.PUBLIC:
        can = {R}
    if read_only and MOD not in can:
        can -= {W}
    if archived:
        can -= {W, MOD}
    return can


@pytest.mark.parametrize("public_read", FLAGS)
@pytest.mark.parametrize("visibility", Visibility)
@pytest.mark.parametrize("role", ROLES)
def test_an_ordinary_room_is_as_the_table_says(role: Role | None, visibility: Visibility, public_read: bool) -> None:
    for part, read_only, archived in product(PARTS, FLAGS, FLAGS):
        stands = standing(role=role, part=part, visibility=visibility, read_only=read_only, archived=archived)
        assert rights(stands, public_read=public_read) == expected(
            role, part, visibility, read_only, archived, public_read
        ), stands


@pytest.mark.parametrize("kind", ["room", "all", "me", "mods"])
def test_a_suspended_tenant_and_a_deactivated_user_have_no_rooms(kind: str) -> None:
    for role, part, visibility, read_only, archived, public_read in everybody():
        for tenant_active, user_active, owns in product(FLAGS, FLAGS, FLAGS):
            if tenant_active and user_active:
                continue
            stands = standing(
                kind,
                role=role,
                part=part,
                visibility=visibility,
                read_only=read_only,
                archived=archived,
                tenant_active=tenant_active,
                user_active=user_active,
                owns=owns,
            )
            assert rights(stands, public_read=public_read) == NOTHING, stands


def test_the_moderators_room_is_for_those_who_moderate_the_room() -> None:
    for role, part, visibility, read_only, archived, public_read in everybody():
        stands = standing("mods", role=role, part=part, visibility=visibility, read_only=read_only, archived=archived)
        moderates = MOD in expected(role, part, visibility, read_only, False, public_read)
        wanted = NOTHING if not moderates else {R} if archived else {R, W}
        assert rights(stands, public_read=public_read) == wanted, stands


def test_everybody_reads_all_and_owners_and_admins_manage() -> None:
    for role, part, visibility, read_only, archived, public_read in everybody():
        stands = standing("all", role=role, part=part, visibility=visibility, read_only=read_only, archived=archived)
        wanted = NOTHING if role is None else {R, MAN} if role in STANDS_ABOVE else {R}
        assert rights(stands, public_read=public_read) == wanted, stands


def test_me_is_read_by_its_owner_who_is_a_member_and_by_nobody_else() -> None:
    for role, part, visibility, read_only, archived, public_read in everybody():
        for owns in FLAGS:
            stands = standing(
                "me",
                owns=owns,
                role=role,
                part=part,
                visibility=visibility,
                read_only=read_only,
                archived=archived,
            )
            wanted = {R} if owns and role else NOTHING
            assert rights(stands, public_read=public_read) == wanted, stands


def test_who_may_anything_may_read() -> None:
    for kind in ("room", "all", "me", "mods"):
        for role, part, visibility, read_only, archived, public_read in everybody():
            for owns in FLAGS:
                stands = standing(
                    kind, owns=owns, role=role, part=part, visibility=visibility, read_only=read_only, archived=archived
                )
                can = rights(stands, public_read=public_read)
                assert not can or R in can

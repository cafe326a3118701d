"""A policy of a host's under the gate: what it may give, what it cannot give away, and what its failures cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

import rooms as live
from rooms import access, changes, commands, metrics, policy
from rooms.access import authorize_many
from rooms.contract import Refused, Visibility
from rooms.models import Room
from rooms.pages import room_page
from rooms.services import members, rooms, tenants
from rooms.signals import access_changed
from tests.hostapp.models import Course, Enrolment
from tests.support.world import World

pytestmark = pytest.mark.django_db

EVERYBODY = ("alice", "ann", "bob", "erin", "carol", "dave", None)
ALL = {"read", "write", "moderate", "manage"}


@pytest.fixture
def course(world: World, settings: Any) -> Course:
    """Latin, whose room is private in acme: carol, who is nobody in acme, teaches; bob is enrolled."""
    use(settings, "tests.hostapp.policy.CoursePolicy")
    room = rooms.create(world.acme, "latin", name="Latin", visibility=Visibility.PRIVATE)
    course = Course.objects.create(room=room, title="Latin")
    course.enrol(world.users["carol"], teaches=True)
    course.enrol(world.users["bob"])
    return course


def use(settings: Any, path: str, **more: Any) -> None:
    settings.ROOMS = {"ACCESS": path if "." in path else f"tests.support.policies.{path}", **more}


def can(world: World, name: str | None, address: str) -> set[str]:
    user = None if name is None else world.users[name].pk
    grant = authorize_many([(user, address)]).get((user, address))
    return set() if grant is None else set(map(str, grant.can))


def failures(reason: str) -> float:
    return metrics.policy_failures.labels(reason)._value.get()


# --- what it gives


def test_a_policy_decides_by_the_hosts_own_objects(world: World, course: Course) -> None:
    may = {name: can(world, name, "acme/latin") for name in EVERYBODY}
    assert may == {
        "alice": ALL,
        "ann": ALL,
        "bob": {"read", "write"},
        "carol": {"read", "write", "moderate"},
        "erin": set(),
        "dave": set(),
        None: set(),
    }
    assert can(world, "bob", "acme/general") == {"read", "write"}
    assert can(world, "bob", "acme/board") == {"read", "write"}


def test_it_holds_on_every_way_in(world: World, course: Course) -> None:
    messages = "tenants/acme/rooms/latin/messages/"
    assert world.carol.post(messages, {"text": "salve"}).status_code == 201
    assert [message["text"] for message in world.bob.get(messages).json()["results"]] == ["salve"]
    assert world.erin.get(messages).status_code == 404
    assert world.dave.post(messages, {"text": "ave"}).status_code == 404
    assert room_page(world.users["bob"], "acme/latin") is not None
    assert room_page(world.users["erin"], "acme/latin") is None
    with pytest.raises(Refused, match="no such room"):
        commands.perform(world.users["erin"].pk, "chat.send", {"text": "x"}, room="acme/latin")
    listed = [room["slug"] for room in world.bob.get("tenants/acme/rooms/").json()["results"]]
    assert "latin" in listed
    assert "latin" not in str(world.erin.get("tenants/acme/rooms/").json())


def test_the_moderators_room_follows_its_room(world: World, course: Course) -> None:
    readers = {name for name in EVERYBODY if can(world, name, "acme/latin~mods")}
    assert readers == {"alice", "ann", "carol"}
    assert can(world, "carol", "acme/latin~mods") == {"read", "write"}


def test_a_hundred_questions_are_one_call_and_as_many_statements_as_one(world: World, course: Course) -> None:
    asks = [(world.users[name].pk, f"acme/{slug}") for name in ("bob", "erin") for slug in ("latin", "general")]
    asks += [(world.users[name].pk, f"acme/room-{n}") for name in EVERYBODY[:-1] for n in range(20)]
    counts = []
    for some in (asks[:1], asks, [*asks, *asks]):
        with CaptureQueriesContext(connection) as queries:
            authorize_many(some)
        counts.append(sum("SAVEPOINT" not in query["sql"] for query in queries.captured_queries))
    assert counts == [3, 3, 3]  # the gate's own, the courses, who is enrolled


def test_a_room_that_one_may_not_know_of_costs_what_one_costs_that_is_not_there(world: World, course: Course) -> None:
    told = []
    for address in ("acme/latin", "acme/nothing", "nothing/latin", "acme/latin~mods", "acme/nothing~mods"):
        with CaptureQueriesContext(connection) as queries, pytest.raises(Refused) as refused:
            access.authorize(world.users["erin"].pk, address)
        told.append((len(queries), refused.value.as_data()))
    assert all(each == told[0] for each in told)


def test_it_is_not_asked_about_rooms_that_are_there_by_themselves(world: World, settings: Any) -> None:
    asked = access.pairs((world.users["bob"].pk, f"acme/{slug}") for slug in ("~all", "~me", "general", "x", "x~mods"))
    assert sorted(pair.room.slug for pair in asked.values()) == ["general", "x", "x"]
    use(settings, "RaisesAlways")
    assert can(world, "bob", "acme/~all") == {"read"}
    assert can(world, "bob", "acme/~me") == {"read"}


# --- what it cannot give away


def test_a_policy_that_opens_everything_opens_what_it_may(world: World, settings: Any) -> None:
    use(settings, "LetsEverythingOpen")
    for name in EVERYBODY[:-1]:
        assert can(world, name, "acme/board") == ALL
    assert can(world, None, "acme/board") == set()


KEPT: dict[str, Callable[[World, Room], Any]] = {
    "a tenant is suspended": lambda world, room: tenants.update(world.acme, active=False),
    "an account is closed": lambda world, room: (
        type(world.users["bob"]).objects.filter(username="bob").update(is_active=False)
    ),
    "a person is banned": lambda world, room: members.set_part(room, world.users["bob"], "banned"),
    "an account is gone": lambda world, room: type(world.users["bob"]).objects.filter(username="bob").delete(),
}


@pytest.mark.parametrize("what", KEPT)
def test_where_nobody_enters_no_policy_opens(world: World, settings: Any, what: str) -> None:
    use(settings, "LetsEverythingOpen")
    user, room = world.users["bob"].pk, world.room("acme/general")
    KEPT[what](world, room)
    assert authorize_many([(user, "acme/general"), (user, "acme/general~mods")]) == {}


def test_nobody_writes_in_an_archived_room_whatever_the_policy_says(world: World, settings: Any) -> None:
    use(settings, "LetsEverythingOpen")
    rooms.update(world.room("acme/general"), archived=True)
    assert can(world, "bob", "acme/general") == {"read", "manage"}
    assert can(world, "bob", "acme/general~mods") == {"read"}
    assert access.authorize(world.users["bob"].pk, "acme/general").archived


def test_only_who_moderates_writes_in_a_read_only_room_whatever_the_policy_says(world: World, settings: Any) -> None:
    use(settings, "PublicToMembers")
    rooms.update(world.room("acme/lobby"), read_only=True)
    assert can(world, "bob", "acme/lobby") == {"read"}


def test_all_and_me_stay_whose_they_are(world: World, settings: Any) -> None:
    use(settings, "LetsEverythingOpen")
    assert can(world, "carol", "acme/~all") == can(world, "carol", "acme/~me") == set()
    assert can(world, "bob", "acme/~all") == {"read"}
    assert can(world, "alice", "acme/~all") == {"read", "manage"}
    for slug in Room.objects.filter(kind=Room.Kind.ME).values_list("slug", flat=True):
        assert can(world, "carol", f"acme/{slug}") == set()


def test_who_is_not_logged_in_reads_what_is_public_where_the_site_says_so(world: World, settings: Any) -> None:
    use(settings, "LetsEverythingOpen")
    assert can(world, None, "acme/lobby") == set()
    use(settings, "LetsEverythingOpen", PUBLIC_READ=True)
    assert can(world, None, "acme/lobby") == {"read"}
    for slug in ("general", "board", "~all", "~me", "lobby~mods"):
        assert can(world, None, f"acme/{slug}") == set()
    assert room_page(AnonymousUser(), "acme/general") is None


def test_a_policy_may_shut_a_tenants_admins_out_of_a_room(world: World, settings: Any) -> None:
    use(settings, "ShutsAdminsOut")
    assert can(world, "alice", "acme/general") == set()
    assert can(world, "alice", "acme/~all") == {"read", "manage"}


# --- its failures


def test_who_makes_a_policy_raise_has_no_access_and_the_others_have(
    world: World, course: Course, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use(settings, "Raises")  # at erin and dave, who are enrolled nowhere
    before = failures("raised")
    asks = [(world.users[name].pk, "acme/latin") for name in ("carol", "erin", "bob", "dave")]
    assert {user for user, _ in authorize_many(asks)} == {world.users["carol"].pk, world.users["bob"].pk}
    assert failures("raised") - before == 2
    (record,) = caplog.records
    assert record.getMessage() == "tests.support.policies.Raises raised: no access for 2 of 4 pairs"
    assert record.exc_info is not None and record.exc_info[0] is LookupError


def test_a_policy_that_always_raises_is_asked_no_more_than_it_takes(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(settings, "RaisesAlways")
    calls: list[int] = []
    real = type(policy.named("tests.support.policies.RaisesAlways"))

    def count(self: Any, pairs: Any) -> Any:
        calls.append(len(pairs))
        raise RuntimeError("no")

    monkeypatch.setattr(real, "authorize_many", count)
    before = failures("raised")
    assert authorize_many([(world.users["bob"].pk, f"acme/room-{n}") for n in range(500)]) == {}
    assert len(calls) == policy.TRIES
    assert failures("raised") - before == 500


@pytest.mark.parametrize(
    ("name", "reason", "sentence"),
    [
        ("LeavesOut", "missing", "LeavesOut left out 1 of 2 pairs: no access for user "),
        (
            "NamesNoRight",
            "wrong",
            "There is no right 'wrtie': a right is read, write, moderate, manage. No access for",
        ),
        ("AnswersWithAList", "wrong", "The answer is a list, not a mapping of pairs to rights."),
        ("WritesUnread", "wrong", "Who may write a room may read it: 'read' is missing."),
    ],
)
def test_what_is_no_answer_is_no_access_and_told_in_a_sentence(
    world: World, course: Course, settings: Any, caplog: pytest.LogCaptureFixture, name: str, reason: str, sentence: str
) -> None:
    use(settings, name)
    before = failures(reason)
    grants = authorize_many([(world.users["bob"].pk, "acme/latin"), (world.users["erin"].pk, "acme/latin")])
    assert set(grants) == ({(world.users["bob"].pk, "acme/latin")} if name == "LeavesOut" else set())
    assert failures(reason) > before
    assert sentence in caplog.text


def test_without_the_database_nobody_knows_and_that_is_no_answer(world: World, settings: Any) -> None:
    use(settings, "IsAway")
    with pytest.raises(OperationalError):
        authorize_many([(world.users["bob"].pk, "acme/general")])


def test_a_statement_that_fails_in_a_policy_does_not_take_the_transaction_along(world: World, settings: Any) -> None:
    use(settings, "BreaksTheTransaction")
    with transaction.atomic():
        assert authorize_many([(world.users["bob"].pk, "acme/general")]) == {}
        assert Room.objects.filter(slug="general").exists()


def test_a_policy_that_fails_fails_one_command_and_not_the_batch(world: World, course: Course, settings: Any) -> None:
    use(settings, "Raises")
    batch = [
        commands.command(world.users[name].pk, "chat.send", {"text": name}, room="acme/latin")
        for name in ("carol", "erin", "bob")
    ]
    outcomes = commands.perform_many(batch)
    assert [getattr(outcome, "code", "ok") for outcome in outcomes] == ["ok", "not_found", "ok"]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("no.such.Policy", "no policy can be made of 'no.such.Policy': No module named 'no'"),
        ("tests.hostapp.policy.Missing", "does not define a"),
        ("rooms.policy.Pair", "no policy can be made of 'rooms.policy.Pair'"),
        ("collections.OrderedDict", "'collections.OrderedDict' has no method authorize_many"),
    ],
)
def test_a_setting_that_names_no_policy_is_told(world: World, settings: Any, path: str, sentence: str) -> None:
    use(settings, path)
    with pytest.raises(ImproperlyConfigured, match=sentence):
        can(world, "bob", "acme/general")


# --- changes


def test_a_change_of_the_hosts_is_told_by_rows_and_by_keys(
    world: World, course: Course, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[changes.Change] = []

    def hear(notices: Any, **kwargs: Any) -> None:
        told.append(changes.opened(notices[0]))

    connection.run_on_commit.clear()  # what the world was made of
    access_changed.connect(hear)
    with django_capture_on_commit_callbacks(execute=True):
        live.access_changed(users=[world.users["bob"]], rooms=[world.room("acme/latin")])
        live.access_changed(users=[world.users["carol"].pk], rooms=["acme/general"], tenants=[world.globex, "acme"])
    access_changed.disconnect(hear)
    (one,) = told
    assert one.users == {world.id("bob"), world.id("carol")}
    assert (one.rooms, one.tenants) == ({"acme/latin", "acme/general"}, {"globex", "acme"})


def test_a_change_of_nobody_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="Name the users, the rooms or the tenants"):
        live.access_changed(users=[])


def test_a_command_that_changes_the_hosts_objects_binds_the_next_of_its_transaction(
    world: World, course: Course
) -> None:
    dismiss = commands.command(world.users["carol"].pk, "course.dismiss", {"user": world.id("bob")}, room="acme/latin")
    late = commands.command(world.users["bob"].pk, "chat.send", {"text": "too late"}, room="acme/latin")
    outcomes = commands.perform_many([dismiss, late])
    assert [getattr(outcome, "code", "ok") for outcome in outcomes] == ["ok", "not_found"]
    assert not Enrolment.objects.filter(user=world.users["bob"]).exists()

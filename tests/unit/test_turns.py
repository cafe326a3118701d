"""Who is next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rooms.node.turns import Turns

PLACES = st.tuples(st.sampled_from(["acme", "globex", "initech"]), st.integers(0, 3))


def filled(*places: tuple[str, int]) -> Turns[tuple[int, tuple[str, int]]]:
    turns: Turns[tuple[int, tuple[str, int]]] = Turns()
    for number, place in enumerate(places):
        turns.put((number, place), *place)
    return turns


def test_who_has_one_waits_for_one_of_each_other_tenant() -> None:
    turns = filled(*[("acme", 1)] * 1_000, ("globex", 2))
    assert [place for _, place in turns.take(2)] == [("acme", 1), ("globex", 2)]
    assert len(turns) == turns.of("acme") == 999


def test_within_a_tenant_people_have_turns() -> None:
    turns = filled(*[("acme", 1)] * 10, *[("acme", 2)] * 2, ("globex", 3))
    taken = [place for _ in range(5) for _, place in turns.take()]
    assert taken == [("acme", 1), ("globex", 3), ("acme", 2), ("acme", 1), ("acme", 2)]


def test_when_all_are_taken_they_are_as_they_came() -> None:
    places = [("acme", 1), ("globex", 2), ("acme", 1), ("acme", 3)]
    assert [number for number, _ in filled(*places).take(10)] == [0, 1, 2, 3]


def test_who_is_passed_over_keeps_the_turn() -> None:
    turns = filled(("acme", 1), ("globex", 2), ("acme", 3), ("initech", 1))
    assert [place for _, place in turns.take(9, but={"acme"})] == [("globex", 2), ("initech", 1)]
    assert turns.take(9, but={"acme"}) == []
    assert [place for _, place in turns.take(9)] == [("acme", 1), ("acme", 3)]


@given(st.lists(PLACES, max_size=40), st.integers(1, 5))
def test_nothing_is_lost_and_everybody_keeps_their_order(places: list[tuple[str, int]], most: int) -> None:
    turns = filled(*places)
    taken = []
    while turns:
        some = turns.take(most)
        assert 0 < len(some) <= most and some == sorted(some)
        taken += some
    assert len(turns) == 0 and sorted(taken) == list(enumerate(places))
    for place in set(places):
        mine = [number for number, whose in taken if whose == place]
        assert mine == sorted(mine)


@given(st.lists(PLACES, min_size=1, max_size=40), st.data())
def test_a_tenant_waits_at_most_for_one_of_each_other(places: list[tuple[str, int]], data: st.DataObject) -> None:
    turns = filled(*places)
    tenant = data.draw(st.sampled_from(sorted({tenant for tenant, _ in places})))
    others = {whose for whose, _ in places} - {tenant}
    assert tenant in {whose for _, (whose, _) in turns.take(len(others) + 1)}


@given(st.lists(PLACES, max_size=40), st.integers(0, 3))
def test_what_is_taken_out_is_gone(places: list[tuple[str, int]], person: int) -> None:
    turns = filled(*places)
    out = turns.remove(lambda item: item[1][1] == person)
    assert out == [item for item in enumerate(places) if item[1][1] == person]
    assert len(turns) == len(places) - len(out)
    assert turns.take(100) == [item for item in enumerate(places) if item[1][1] != person]


def test_one_is_taken_of_those_who_may_and_the_others_keep_their_turn() -> None:
    turns = filled(("acme", 1), ("acme", 2), ("globex", 3), ("acme", 1))
    taken = [turns.take_one(lambda tenant, person: (tenant, person) != ("acme", 1)) for _ in range(3)]
    assert taken == [(1, ("acme", 2)), (2, ("globex", 3)), None]
    assert turns.take(10) == [(0, ("acme", 1)), (3, ("acme", 1))]


@given(st.lists(PLACES, max_size=40))
def test_when_everybody_may_one_at_a_time_is_as_they_are_taken(places: list[tuple[str, int]]) -> None:
    one, other = filled(*places), filled(*places)
    assert [one.take_one(lambda *_: True) for _ in places] == [item for _ in places for item in other.take()]

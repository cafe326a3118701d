"""Commands go out in order, are said again until they are answered, and are settled once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rooms.client.errors import LiveError
from rooms.client.outbox import LEAST, MAX_AGE, Command, Outbox, Patience

LIMIT = 64 * 1024


class Heard(list[Any]):
    """What a command was settled with."""


def command(outbox: Outbox, id: str, *, size: int = 10, give_up: float = 60) -> Heard:
    heard = Heard()
    outbox.add(Command(id, b"x" * size, give_up, heard.append))
    return heard


def said(outbox: Outbox, now: float = 0, limit: int = LIMIT) -> list[str]:
    return [command.id for command in outbox.take(now, limit)]


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "detail": "No.", "temporary": code in ("unavailable", "rate_limited"), **more}


def test_in_order_and_each_once_a_connection() -> None:
    outbox = Outbox()
    for id in "abc":
        command(outbox, id)
    assert said(outbox) == ["a", "b", "c"]
    assert said(outbox) == []
    assert outbox.next_due(0) is None
    outbox.lost()
    assert outbox.next_due(5) == 5
    assert said(outbox) == ["a", "b", "c"]


def test_an_answer_settles_it() -> None:
    outbox = Outbox()
    heard = command(outbox, "a")
    said(outbox)
    assert outbox.answered("a", True, {"seq": 1}, 0, 0.5)
    assert heard == [{"seq": 1}]
    assert not outbox.answered("a", True, {"seq": 1}, 0, 0.5)
    assert len(outbox) == 0


def test_a_refusal_settles_it() -> None:
    outbox = Outbox()
    heard = command(outbox, "a")
    said(outbox)
    outbox.answered("a", False, error("conflict", version=3), 0, 0.5)
    (refused,) = heard
    assert (refused.code, refused.version, refused.id) == ("conflict", 3, "a")


@pytest.mark.parametrize("code", ["unavailable", "rate_limited"])
def test_refused_for_now_it_is_said_again_and_holds_up_the_others(code: str) -> None:
    outbox = Outbox()
    heard = command(outbox, "a")
    said(outbox)
    command(outbox, "b")
    outbox.answered("a", False, error(code, retry_after_ms=2000), 10, 0.5)
    assert said(outbox, 11.9) == []
    assert outbox.next_due(11.9) == 12
    assert said(outbox, 12) == ["a", "b"]
    assert heard == []


def test_waits_grow_when_the_server_does_not_say() -> None:
    outbox = Outbox()
    command(outbox, "a", give_up=1000)
    now, waits = 0.0, []
    for _ in range(4):
        assert said(outbox, now) == ["a"]
        outbox.answered("a", False, error("unavailable"), now, 1.0)
        due = outbox.next_due(now)
        assert due is not None
        waits.append(round(due - now - LEAST, 6))
        now = due
    assert waits == [0.5, 1, 2, 4]


def test_one_whose_time_is_over_by_then_has_the_refusal() -> None:
    outbox = Outbox()
    heard = command(outbox, "a", give_up=11)
    said(outbox)
    outbox.answered("a", False, error("rate_limited", retry_after_ms=2000), 10, 0.5)
    assert heard[0].code == "rate_limited"
    assert heard[0].retry_after == 2


def test_other_temporary_refusals_are_the_caller_s_matter() -> None:
    outbox = Outbox()
    heard = command(outbox, "a")
    said(outbox)
    outbox.answered("a", False, {**error("too_many_rooms"), "temporary": True}, 0, 0.5)
    assert heard[0].temporary


def test_time_is_over() -> None:
    outbox = Outbox()
    first, second = command(outbox, "a", give_up=5), command(outbox, "b", give_up=9)
    assert outbox.next_expiry() == 5
    outbox.expire(5)
    assert (first[0].code, first[0].temporary, first[0].id) == ("timeout", True, "a")
    assert second == []
    assert outbox.next_expiry() == 9


def test_it_tells_what_was_in_the_way() -> None:
    outbox = Outbox()
    heard = command(outbox, "a", give_up=5)
    said(outbox)
    outbox.lost()
    outbox.expire(5)
    assert "the connection was lost" in heard[0].detail


def test_frames_stay_below_the_limit() -> None:
    outbox = Outbox()
    for id in "abcde":
        command(outbox, id, size=40)
    assert [said(outbox, 0, 100) for _ in range(4)] == [["a", "b"], ["c", "d"], ["e"], []]


def test_what_is_too_large_by_itself_stops_nobody() -> None:
    outbox = Outbox()
    heard = command(outbox, "a", size=100)
    command(outbox, "b")
    assert said(outbox, 0, 100) == ["b"]
    assert heard[0].code == "too_large"


def test_withdrawn() -> None:
    outbox = Outbox()
    heard = Heard()
    gone = Command("a", b"x", 60, heard.append)
    outbox.add(gone)
    outbox.withdraw(gone)
    outbox.withdraw(gone)
    assert said(outbox) == []
    assert not outbox.answered("a", True, {}, 0, 0)
    assert heard == []


def test_an_id_is_under_way_once() -> None:
    outbox = Outbox()
    command(outbox, "a")
    with pytest.raises(ValueError, match="under way"):
        command(outbox, "a")


def test_the_end() -> None:
    outbox = Outbox()
    heard = [command(outbox, "a"), command(outbox, "b")]
    outbox.close(LiveError("closed", "Over.").about)
    assert [outcome.id for (outcome,) in heard] == ["a", "b"]
    assert len(outbox) == 0


def test_patience() -> None:
    patience = Patience(30, {"poll.vote": 5, "report.make": None})
    assert [patience.of(name) for name in ("chat.send", "poll.vote", "report.make")] == [30, 5, MAX_AGE]
    assert Patience(10**9).of("chat.send") == MAX_AGE == 20 * 3600
    assert Patience().of("chat.typing") < Patience().of("chat.send")


class Talk(RuleBasedStateMachine):
    """A server that does effects once by id, over connections that are lost with what was under way."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.now = 0.0
        self.outcomes: dict[str, Heard] = {}
        self.wire: list[str] = []  # said on this connection, not answered
        self.done: list[str] = []  # effects, in order

    @initialize()
    def begin(self) -> None:
        self.add()

    @rule()
    def add(self) -> None:
        id = f"{len(self.outcomes)}"
        self.outcomes[id] = command(self.outbox, id, give_up=10**6)

    @rule(seconds=st.floats(0, 5))
    def speak(self, seconds: float) -> None:
        self.now += seconds
        batch = said(self.outbox, self.now, 40)
        assert not set(batch) & set(self.wire), "said twice on one connection"
        self.wire += batch

    @precondition(lambda self: self.wire)
    @rule(answered=st.booleans())
    def perform(self, answered: bool) -> None:
        id = self.wire.pop(0)
        if id not in self.done:
            self.done.append(id)
        if answered:
            self.outbox.answered(id, True, id, self.now, 0.5)
        else:
            self.lose()

    @precondition(lambda self: self.wire)
    @rule(code=st.sampled_from(["unavailable", "rate_limited"]))
    def put_off(self, code: str) -> None:
        """Everything that is under way, as a server without time does: then the order stays."""
        for id in self.wire:
            self.outbox.answered(id, False, error(code), self.now, 0.5)
        self.wire.clear()

    @rule()
    def lose(self) -> None:
        self.wire.clear()
        self.outbox.lost()

    @invariant()
    def each_once_and_in_order(self) -> None:
        assert self.done == [f"{number}" for number in range(len(self.done))]
        assert all(outcome in ([], [id]) for id, outcome in self.outcomes.items())

    def teardown(self) -> None:
        for _ in range(len(self.outcomes) + 1):
            self.speak(100)
            while self.wire:
                self.perform(True)
        assert all(outcome == [id] for id, outcome in self.outcomes.items())
        assert len(self.outbox) == 0


TestTalk = Talk.TestCase
TestTalk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

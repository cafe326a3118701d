"""The window of one connection. Time is an argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.contract import Refused
from rooms.delivery.reader import Flow


def test_a_window_that_is_full_gives_no_credit_until_something_is_acknowledged() -> None:
    flow = Flow(window=3)
    for _ in range(3):
        assert flow.has_credit
        flow.count(now=0)
    assert not flow.has_credit
    flow.acknowledge(1)
    assert flow.has_credit


def test_without_a_window_there_is_always_credit_and_nothing_to_acknowledge() -> None:
    flow = Flow(window=None)
    for _ in range(10_000):
        flow.count(now=0)
    assert flow.has_credit
    assert flow.stalled_for(now=1_000) == 0
    with pytest.raises(Refused) as refused:
        flow.acknowledge(1)
    assert refused.value.code == "bad_data"


def test_acknowledging_more_than_was_sent_is_an_error() -> None:
    flow = Flow(window=3)
    flow.count(now=0)
    flow.acknowledge(1)
    with pytest.raises(ValueError, match="more was acknowledged"):
        flow.acknowledge(2)


def test_a_late_lower_acknowledgement_takes_nothing_back() -> None:
    flow = Flow(window=2)
    flow.count(now=0)
    flow.count(now=0)
    flow.acknowledge(2)
    flow.acknowledge(1)
    flow.count(now=0)
    assert flow.has_credit


def test_a_client_that_keeps_up_never_stalls() -> None:
    flow = Flow(window=4)
    for second in range(100):
        flow.count(now=second)
        flow.acknowledge(flow.sent)
        assert flow.stalled_for(now=second) == 0


def test_a_client_that_lags_but_moves_is_as_late_as_its_oldest_frame() -> None:
    flow = Flow(window=100)
    for second in range(20):
        flow.count(now=second)
    flow.acknowledge(15)
    assert flow.stalled_for(now=20) == 20 - 15, "frame 16 went out at 15"


def test_a_client_that_acknowledges_nothing_stalls_from_its_first_frame_on() -> None:
    flow = Flow(window=2)
    flow.count(now=5)
    flow.count(now=30)
    assert flow.stalled_for(now=36) == 31


def test_frames_that_go_together_need_credit_for_all_of_them_and_are_as_old_as_the_first() -> None:
    flow = Flow(window=4)
    flow.count(now=5)
    assert flow.has_credit_for(3) and not flow.has_credit_for(4)
    flow.count(now=7, frames=3)
    assert not flow.has_credit and flow.sent == 4
    flow.acknowledge(1)
    assert flow.stalled_for(now=10) == 3
    flow.acknowledge(3)
    assert flow.stalled_for(now=10) == 3 and flow.has_credit_for(3)
    flow.acknowledge(4)
    assert flow.stalled_for(now=10) == 0


@given(st.lists(st.tuples(st.floats(0, 5), st.one_of(st.none(), st.integers(0, 60))), max_size=80))
def test_the_age_is_that_of_the_oldest_frame_and_at_most_a_second_too_old(
    steps: list[tuple[float, int | None]],
) -> None:
    """Each step waits, then sends a frame (None) or acknowledges up to a count."""
    flow = Flow(window=1_000)
    times: list[float] = []
    now, acknowledged = 0.0, 0
    for wait, ack in steps:
        now += wait
        if ack is None:
            flow.count(now)
            times.append(now)
        elif ack <= len(times):
            flow.acknowledge(ack)
            acknowledged = max(acknowledged, ack)
        age = now - times[acknowledged] if acknowledged < len(times) else 0
        assert age - 1e-9 <= flow.stalled_for(now) <= age + 1 + 1e-9
        assert flow.has_credit == (len(times) - acknowledged < 1_000)

"""What is acknowledged is what the application has taken, in the order in which it came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rooms.client.flow import LATEST, Flow, Receipt


def opened(window: int | None = 16) -> Flow:
    flow = Flow()
    flow.begin()
    flow.open(window)
    return flow


def arrive(flow: Flow, events: int, *, counted: bool = True, now: float = 0) -> Receipt:
    receipt = flow.arrived(counted)
    receipt.waiting = events
    flow.complete(receipt, now)
    return receipt


def test_nothing_is_acknowledged_before_it_is_taken() -> None:
    flow = opened()
    receipt = arrive(flow, 2)
    assert flow.taken(receipt, 1) is False
    assert flow.next_due() is None
    assert flow.taken(receipt, 2) is True
    assert flow.next_due() == 2 + LATEST
    assert flow.acknowledge(2) is None
    assert flow.acknowledge(2 + LATEST) == 1
    assert flow.acknowledge(100) is None


def test_a_quarter_of_the_window_is_acknowledged_at_once() -> None:
    flow = opened(16)
    for receipt in [arrive(flow, 1) for _ in range(5)]:
        flow.taken(receipt, 3)
        acknowledged = flow.acknowledge(3)
        if acknowledged:
            assert acknowledged == 4
    assert flow.acknowledge(3 + LATEST) == 5


def test_a_window_of_one() -> None:
    flow = opened(1)
    flow.taken(arrive(flow, 1), 0)
    assert flow.acknowledge(0) == 1


def test_a_frame_waits_for_those_before_it() -> None:
    flow = opened(4)
    first, second = arrive(flow, 1), arrive(flow, 1)
    assert flow.taken(second, 0) is False
    assert flow.acknowledge(100) is None
    assert len(flow) == 2
    flow.taken(first, 0)
    assert flow.acknowledge(0) == 2
    assert len(flow) == 0


def test_a_counted_frame_of_which_nothing_waits_is_handled() -> None:
    flow = opened(4)
    arrive(flow, 0)
    assert flow.acknowledge(0) == 1


def test_control_frames_are_not_counted_and_take_no_place() -> None:
    flow = opened(4)
    arrive(flow, 0, counted=False)
    assert len(flow) == 0
    notice = arrive(flow, 1, counted=False)
    flow.taken(notice, 0)
    assert flow.next_due() is None


def test_a_new_connection_counts_from_zero_and_leaves_what_waits() -> None:
    flow = opened(4)
    old = arrive(flow, 1)
    flow.begin()
    flow.open(4)
    assert flow.leftover == len(flow) == 1
    new = arrive(flow, 1)
    flow.taken(new, 0)
    assert flow.acknowledge(100) is None
    flow.taken(old, 0)
    assert flow.acknowledge(100) == 1
    assert flow.leftover == 0


def test_without_a_window_nothing_is_said() -> None:
    flow = opened(None)
    flow.taken(arrive(flow, 1), 0)
    assert flow.next_due() is None
    assert flow.acknowledge(100) is None


@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60), st.randoms())
def test_against_counting(window: int, frames: list[tuple[int, bool]], dice: object) -> None:
    """Whatever is taken in whatever order, what is acknowledged is the counted frames before the first that waits."""
    flow, acknowledged, now = opened(window), 0, 0.0
    receipts = [arrive(flow, events, counted=counted) for events, counted in frames]
    waiting = [receipt for receipt in receipts for _ in range(receipt.waiting)]
    dice.shuffle(waiting)  # type: ignore[attr-defined]
    for receipt in waiting:
        now += 0.1
        flow.taken(receipt, now)
        handled = 0
        for other in receipts:
            if other.waiting:
                break
            handled += other.counted
        said = flow.acknowledge(now)
        if said is not None:
            assert acknowledged < said <= handled
            acknowledged = said
        assert handled - acknowledged < max(1, window // 4)
    said = flow.acknowledge(now + LATEST)
    assert (said or acknowledged) == sum(receipt.counted for receipt in receipts)
    assert len(flow) == 0

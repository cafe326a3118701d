"""Small forms of what tests/acceptance measures: a crowd whose node is killed, or is stopped, loses nothing."""

from __future__ import annotations

from tests.acceptance.drain_crowd import drain_crowd
from tests.acceptance.kill_node import kill_node
from tests.support import stages
from tests.support.sites import Sites


async def test_a_crowd_loses_nothing_when_a_node_is_killed(sites: Sites) -> None:
    with stages.staged(sites, rooms=2, nodes=2, layer="valkey") as stage:
        done = await kill_node(stage, clients=30, rate=20, seconds=0.7, jitter=0.1)
    print(done.report)
    assert done.problems == []


async def test_a_crowd_is_sent_away_and_loses_nothing_when_a_node_is_stopped(sites: Sites) -> None:
    with stages.staged(sites, rooms=2) as stage:
        done = await drain_crowd(stage, clients=30, rate=20, seconds=0.7, jitter=0.1)
    print(done.report)
    assert done.problems == []

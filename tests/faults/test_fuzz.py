"""Small forms of ``fuzz_frames`` and ``fuzz_rest``: another seed in each run, which a failure names.

On both backends: PostgreSQL refuses what SQLite takes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.faults import fuzz_frames, fuzz_rest
from tests.support import stages
from tests.support.sites import Site, Sites


@pytest.fixture(scope="module")
def site(sites: Sites) -> Iterator[Site]:
    with sites.running(settings=stages.SETTINGS, layer="memory", demo=True) as site:
        yield site


def test_a_node_lives_whatever_is_said_to_it(site: Site) -> None:
    done = fuzz_frames.fuzz(site, seconds=6, start=random.randrange(10**6))
    print(done.report)
    assert done.problems == []


def test_rest_answers_as_its_schema_says_and_tells_nobody_of_others(site: Site) -> None:
    done = fuzz_rest.fuzz(site, seconds=10, start=random.randrange(10**6))
    print(done.report)
    assert done.problems == []

"""What all tests may ask for. On which database and layer they run is settled in ``support/backends.py``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from rooms.node import database
from tests.support.backends import BACKEND
from tests.support.sites import Site, Sites

if TYPE_CHECKING:
    from playwright.sync_api import Browser


CELL = re.compile(r"\b(uvicorn|daphne)-(memory|valkey)-(SQLite|PostgreSQL)\b")


class BySite(LoadScopeScheduling):
    """What shares a site runs in one process: a file's tests, or those of a cell of the contract."""

    def _split_scope(self, nodeid: str) -> str:
        return _together(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySite:
    """xdist's own groups (3.8) are not heeded by pytest 9.2: each process would start each site."""
    return BySite(config, log)


@pytest.hookimpl(trylast=True)  # after pytest-django, which sorts them its own way
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cells take longest, then files that start a site: they come first, so that the quick ones fill the gaps in
    the end and no process is left alone with a long one.
    """
    rank: dict[str, int] = defaultdict(lambda: 2)
    for item in items:
        slow = "sites" in getattr(item, "fixturenames", ())
        together = _together(item.nodeid)
        rank[together] = 0 if CELL.search(item.nodeid) else min(rank[together], 1 if slow else 2)
    items.sort(key=lambda item: rank[_together(item.nodeid)])


def _together(nodeid: str) -> str:
    cell = CELL.search(nodeid)
    return cell[0] if cell else nodeid.partition("::")[0]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """pytest-django's, and before it removes the database the node's threads let go of their connections."""
    yield
    database.close()


@pytest.fixture(scope="session")
def sites(pytestconfig: pytest.Config) -> Sites:
    """For a site that several tests share: ``with sites.running(nodes=2) as site`` in a fixture of their module."""
    return Sites(pytestconfig.stash[BACKEND])


@pytest.fixture
def live_site(sites: Sites) -> Iterator[Callable[..., Site]]:
    """Starts the real site for this test: ``live_site(nodes=2, server="daphne")``; see ``Sites.running``."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(sites.running(**options))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, by Playwright's sync API. It keeps an event loop in this thread until the module ends.

    So tests that use it reach the site over http or by ``site.manage``, never through the ORM, and live in modules
    without async tests.
    """
    from tests.support.browsers import chromium

    with chromium() as found:
        yield found


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the contract took in each cell."""
    cells: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if isinstance(report, pytest.TestReport) and (found := CELL.search(report.nodeid)):
                cells[found[0]]["seconds"] += report.duration
                cells[found[0]][outcome] += bool(outcome)
    if cells:
        terminalreporter.section("the contract, by cell")
    for cell, numbers in cells.items():
        counts = ", ".join(f"{number:.0f} {name}" for name, number in numbers.items() if name not in ("", "seconds"))
        terminalreporter.write_line(f"{cell:28} {numbers['seconds']:6.1f} s  {counts}")

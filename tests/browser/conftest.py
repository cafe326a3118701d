"""The demo site, and people in browsers of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.support.client import log_in
from tests.support.people import Person
from tests.support.sites import Site, Sites

expect.set_options(timeout=30_000)  # five seconds by itself: the machine may be busy

# What a page does is seen on one backend. What goes through all of the site, from one page to another, on both.
THROUGH_THE_SITE = ("test_two_people.py", "test_host_model.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name not in THROUGH_THE_SITE:
            item.add_marker(pytest.mark.any_backend)


@pytest.fixture(scope="module")
def demo(sites: Sites) -> Iterator[Site]:
    """The site as a newcomer finds it."""
    with sites.running(settings="realtime_project.settings", demo=True) as site:
        yield site


@pytest.fixture(scope="module")
def rest(demo: Site) -> Iterator[Callable[[str], httpx.Client]]:
    """The REST API as somebody."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(closing(log_in(demo.url, name))))


@pytest.fixture
def visit(browser: Browser, demo: Site, rest: Callable[[str], httpx.Client]) -> Iterator[Callable[..., Person]]:
    """Opens a browser for somebody who is logged in, or for nobody. What its console complains of fails the test."""
    people: list[Person] = []

    def enter(name: str | None = None, **options: Any) -> Person:
        context = browser.new_context(base_url=demo.url, **options)
        if name is not None:
            context.add_cookies(
                [{"name": key, "value": value, "url": demo.url} for key, value in rest(name).cookies.items()]
            )
        people.append(Person(context.new_page()))
        return people[-1]

    yield enter
    for person in people:
        person.page.context.close()
    assert [person.complaints for person in people] == [[] for _ in people]


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def room(rest: Callable[[str], httpx.Client], numbers: Iterator[int]) -> str:
    """The address of a new room of acme, in which nothing was said."""
    slug = f"room-{next(numbers)}"
    answer = rest("alice").post("/api/tenants/acme/rooms/", json={"slug": slug, "name": slug})
    assert answer.status_code == 201, answer.text
    return f"acme/{slug}"

"""People in browsers, for the scripts here: pytest is not there to let them in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from playwright.sync_api import Browser

from tests.support.client import log_in
from tests.support.people import Person


@contextmanager
def entered(browser: Browser, url: str, name: str, **options: Any) -> Iterator[Person]:
    """Somebody who is logged in at this address, in a browser of their own, before a page is opened."""
    context = browser.new_context(base_url=url, **options)
    with closing(log_in(url, name)) as client:
        context.add_cookies([{"name": key, "value": value, "url": url} for key, value in client.cookies.items()])
    try:
        yield Person(context.new_page())
    finally:
        context.close()

"""Log-in and log-out in a browser, on pages that the content security policy leaves alone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.support.sites import Site, Sites


@pytest.fixture(scope="module")
def site(sites: Sites) -> Iterator[Site]:
    with sites.running(settings="realtime_project.settings", demo=True) as site:
        yield site


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """In a context of its own. What its console complains of fails the test: a blocked script, a missing file."""
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        where = message.location["url"]
        if message.type == "error" and not where.endswith("/favicon.ico"):  # the admin names none, browsers ask
            complaints.append(f"{message.text} ({where})")

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def log_in(page: Page, name: str, password: str = "demo") -> None:
    page.goto("/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_a_person_logs_in_and_out(page: Page, site: Site) -> None:
    log_in(page, "alice")
    expect(page).to_have_url(f"{site.url}/")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{site.url}/accounts/login/")
    page.goto("/")
    expect(page).to_have_url(f"{site.url}/accounts/login/?next=/")


def test_a_wrong_password_stays_at_the_door(page: Page, site: Site) -> None:
    log_in(page, "alice", "wrong")
    expect(page.get_by_label("Password")).to_be_visible()
    expect(page).to_have_url(f"{site.url}/accounts/login/?next=/")


@pytest.mark.parametrize("path", ["/admin/", "/api/docs/"])
def test_pages_of_others_live_with_the_policy_too(page: Page, path: str) -> None:
    log_in(page, "admin")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    page.goto(path)
    expect(page.locator("h1, h2").first).to_be_visible()

"""Somebody at a browser."""

from __future__ import annotations

from dataclasses import dataclass, field

from playwright.sync_api import Locator, Page, expect

from tests.support.client import PASSWORD

# What a browser itself writes into its console when a site is away.
AWAY = ("WebSocket connection to", "Failed to load resource: net::")


@dataclass
class Person:
    """``complaints`` is what the console was not happy with: an error, a blocked script, a dialog."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def without_workers(self) -> Person:
        """A browser that has no shared workers: a tab holds the connection, where Playwright sees it."""
        self.page.context.add_init_script("delete globalThis.SharedWorker")
        return self

    def log_in(self, name: str) -> Person:
        self.page.goto("/accounts/login/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_role("button", name="Log out")).to_be_visible()
        return self

    def open(self, room: str) -> Person:
        self.page.goto(f"/t/{room}/")
        self.is_connected()
        return self

    def is_connected(self) -> None:
        expect(self.status).to_have_text("Connected", timeout=40_000)

    def hurry(self) -> None:
        """The network tells that it is back: the page need not sit out its wait."""
        self.page.evaluate("() => void dispatchEvent(new Event('online'))")

    def forgive_absence(self) -> None:
        """The site was away on purpose: what the browser says of that is no complaint."""
        self.forgive(*AWAY)

    def forgive(self, *parts: str) -> None:
        self.complaints[:] = [line for line in self.complaints if not any(part in line for part in parts)]

    def say(self, text: str) -> None:
        self.composer.fill(text)
        self.composer.press("Enter")

    def sees(self, *texts: str) -> None:
        """These messages and no others, in this order, to the character, and none of them on its way."""
        self.page.wait_for_function(SEES, arg=list(texts), timeout=30_000)

    @property
    def status(self) -> Locator:
        return self.page.get_by_role("status")

    @property
    def composer(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message")

    @property
    def messages(self) -> Locator:
        return self.page.locator("[data-messages] li")


# to_have_text() of Playwright would take all white space for the same
SEES = """expected => {
    const items = [...document.querySelectorAll("[data-messages] li:not(.deleted)")];
    const texts = items.map((item) => item.querySelector("[data-part=text]").textContent);
    const settled = !items.some((item) => item.matches(".pending, .failed"));
    return settled && JSON.stringify(texts) === JSON.stringify(expected);
}"""

# The newest message is in sight.
AT_END = """() => {
    const log = document.querySelector("[role=log]");
    return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
}"""

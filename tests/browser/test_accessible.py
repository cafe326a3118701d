"""Every page as axe sees it, and a visit by keyboard alone, from the log-in to a message that is gone again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from django.template.loader import get_template
from playwright.sync_api import Page, Route, expect

from tests.support.client import PASSWORD
from tests.support.people import Person

Visit = Callable[..., Person]
Rest = Callable[[str], httpx.Client]

DESK: dict[str, Any] = {"color_scheme": "light"}
PHONE: dict[str, Any] = {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}
# What a site shows when something is refused or broken, by its template.
ERRORS = ("403.html", "403_csrf.html", "404.html", "500.html")


# Django's own: in inlines fields without a label and columns without a head, in breadcrumbs links among words.
DJANGOS = ("empty-table-header", "label", "link-in-text-block", "select-name")


def complaints(page: Page, *, but: Sequence[str] = ()) -> str:
    """:param but: rules that are left out."""
    # without its look for styles: it would look for those that a style imports in the wrong folder
    options = {"preload": False, "rules": {rule: {"enabled": False} for rule in but}}
    found = Axe().run(page, options=options)
    return found.generate_report() if found.violations_count else ""


def room(client: httpx.Client, slug: str, *said: str, **changes: Any) -> str:
    """The address of a room's page."""
    assert client.post("/api/tenants/acme/rooms/", json={"slug": slug, "name": slug}).status_code == 201
    for text in said:
        assert client.post(f"/api/tenants/acme/rooms/{slug}/messages/", json={"text": text}).status_code == 201
    if changes:
        assert client.patch(f"/api/tenants/acme/rooms/{slug}/", json=changes).status_code == 200
    return f"/t/acme/{slug}/"


@pytest.mark.parametrize("seen_on", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_on_any_page(visit: Visit, rest: Rest, seen_on: dict[str, Any]) -> None:
    """Past the content security policy: axe measures contrast with styles of its own."""
    kind = "phone" if seen_on is PHONE else "desk"
    alice = rest("alice")
    talk = room(alice, f"talk-{kind}", *map(str, range(60)))
    addresses = [
        "/",
        talk,
        f"{talk}?before=20",
        room(alice, f"empty-{kind}"),
        room(alice, f"quiet-{kind}", "only moderators write", read_only=True),
        room(alice, f"closed-{kind}", "the end", archived=True),
    ]
    bob = visit("bob", bypass_csp=True, **seen_on)
    found = {}
    for address in addresses:
        bob.page.goto(address)
        found[address] = complaints(bob.page)
    bob.page.goto(talk)
    bob.is_connected()
    expect(bob.page.locator("[data-people]")).to_have_count(1)
    if kind == "phone":
        bob.page.get_by_role("button", name="1 person here").click()
    bob.page.get_by_text("My status").click()
    found["who is here"] = complaints(bob.page)
    bob.page.context.set_offline(True)
    expect(bob.status).to_have_text("You are offline")
    bob.say("kept")
    found["offline"] = complaints(bob.page)
    bob.page.context.set_offline(False)
    nobody = visit(bypass_csp=True, **seen_on)
    nobody.page.goto("/accounts/login/")
    nobody.page.get_by_label("Username").fill("bob")
    nobody.page.get_by_label("Password").fill("wrong")
    nobody.page.keyboard.press("Enter")
    expect(nobody.page.get_by_role("alert")).to_be_visible()
    found["a wrong password"] = complaints(nobody.page)
    for name in ERRORS:
        nobody.page.route(f"**/{name}", shows(name))
        nobody.page.goto(f"/{name}")
        found[name] = complaints(nobody.page)
    bob.forgive_absence()
    assert {where: said for where, said in found.items() if said} == {}


def shows(name: str) -> Callable[[Route], None]:
    """The page as a handler of errors makes it: without a request."""
    html = get_template(name).render()
    return lambda route: route.fulfill(body=html, content_type="text/html")


def test_axe_finds_nothing_in_the_admin(visit: Visit) -> None:
    admin = visit("admin", bypass_csp=True)
    found = {}
    for address in ("/admin/", "/admin/rooms/room/", "/admin/rooms/tenant/"):
        admin.page.goto(address)
        found[address] = complaints(admin.page)
    admin.page.locator("#result_list tbody th a").first.click()
    expect(admin.page.get_by_role("heading", level=1)).to_contain_text("Change")
    found["change"] = complaints(admin.page, but=DJANGOS)
    admin.forgive("404")  # the admin names no icon, and browsers ask for one
    assert {where: said for where, said in found.items() if said} == {}


def test_a_visit_by_keyboard_alone(visit: Visit, rest: Rest) -> None:
    alice = rest("alice")
    address = room(alice, "by-keyboard", "a question")
    bob = visit()
    bob.page.goto(address)
    keys = bob.page.keyboard
    expect(bob.page.get_by_label("Username")).to_be_focused()
    keys.type("bob")
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    bob.is_connected()
    tab_to(bob, lambda: bob.page.get_by_role("link", name="My rooms"))
    keys.press("Enter")
    tab_to(bob, lambda: bob.page.get_by_role("link", name="by-keyboard"))
    keys.press("Enter")
    bob.is_connected()
    tab_to(bob, lambda: bob.composer)
    keys.type("an answer")
    keys.press("Enter")
    bob.sees("a question", "an answer")
    tab_to(bob, lambda: bob.page.get_by_role("log"), key="Shift+Tab")
    keys.press("End")  # to the newest message, whose toolbar is the next stop
    keys.press("Tab")
    keys.press("End")  # delete
    expect(bob.page.get_by_role("button", name="Delete", exact=True)).to_be_focused()
    keys.press("Enter")
    expect(bob.page.get_by_role("button", name="Keep it")).to_be_focused()
    keys.press("Tab")
    keys.press("Enter")
    bob.sees("a question")
    expect(bob.composer).to_be_focused()
    tab_to(bob, lambda: bob.page.get_by_role("button", name="Log out"), key="Shift+Tab")
    keys.press("Enter")
    expect(bob.page.get_by_label("Username")).to_be_focused()


def tab_to(person: Person, where: Callable[[], Any], key: str = "Tab", most: int = 40) -> None:
    for _ in range(most):
        if where().evaluate("element => element === document.activeElement"):
            return
        person.page.keyboard.press(key)
    raise AssertionError(f"the focus did not come there in {most} steps")

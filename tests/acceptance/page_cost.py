"""What a room's page costs on a slow line: requests, bytes, and the time to its first and its last paint.

::

    python -m tests.acceptance.page_cost

The room has 200 messages. The line has 1.6 Mb/s and 150 ms to the site and back. The first paint is that of the words;
the last is that of the status line, which says "Connected" when all modules are there and the room is joined. "again"
is the same page a moment later, from the browser's cache.

Starts everything itself and stops it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, Page

from tests.acceptance.browsing import entered
from tests.support import stages
from tests.support.browsers import chromium
from tests.support.stages import Stage

MESSAGES = 200
LINE = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 750e3 / 8}

# ms since the page was asked for
FIRST = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
LAST = """() => new Promise((tell) => {
    const look = () => {
        if (!document.querySelector("[data-status]")?.innerText.includes("Connected")) requestAnimationFrame(look);
        else requestAnimationFrame(() => setTimeout(() => tell(performance.now())));
    };
    look();
})"""
SHIFT = """() => new Promise((tell) => {
    let sum = 0;
    const add = (list) => list.forEach((shift) => (sum += shift.value));
    const observer = new PerformanceObserver((list) => add(list.getEntries()));
    observer.observe({ type: "layout-shift", buffered: true });
    setTimeout(() => tell(sum), 100);
})"""


@dataclass
class Cost:
    name: str
    requests: int
    kilobytes: float
    first: float
    last: float
    shift: float

    def __str__(self) -> str:
        return (
            f"{self.name:24}{self.requests:9}{self.kilobytes:9.1f}{self.first:13.0f} ms{self.last:11.0f} ms"
            f"{self.shift:9.3f}"
        )


def measure(page: Page, name: str, address: str) -> Cost:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", LINE)
    asked: set[str] = set()
    sizes: list[float] = []

    kept: set[str] = set()  # in the browser's memory

    def response(event: dict[str, Any]) -> None:
        if not event["response"].get("fromDiskCache"):
            asked.add(event["requestId"])

    session.on("Network.responseReceived", response)
    session.on("Network.requestServedFromCache", lambda event: kept.add(event["requestId"]))
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(address, wait_until="commit")
    last, first, shift = page.evaluate(LAST), page.evaluate(FIRST), page.evaluate(SHIFT)
    session.detach()
    return Cost(name, len(asked - kept), sum(sizes) / 1000, first, last, shift)


def costs(stage: Stage, browser: Browser) -> list[Cost]:
    room = stage.rooms[0]
    tenant, _, slug = room.partition("/")
    for number in range(MESSAGES):
        text = f"Message {number}: about as long as what people say to each other when they have something to say."
        answer = stage.alice.post(f"/api/tenants/{tenant}/rooms/{slug}/messages/", json={"text": text})
        assert answer.status_code == 201, answer.text
    with entered(browser, stage.site.url, "bob") as bob:
        return [measure(bob.page, name, f"/t/{room}/") for name in ("a room", "a room, again")]


def main() -> int:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    with (
        chromium() as browser,
        stages.sites("sqlite") as sites,
        stages.staged(sites, rooms=1, nodes=1) as stage,
    ):
        found = costs(stage, browser)
    print(f"{'':24}{'requests':>9}{'KB':>9}{'first paint':>16}{'last paint':>14}{'shift':>9}")
    for cost in found:
        print(cost)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Block a page's main thread for 5 s while 500 messages a second are said in its room, and see how it comes back.

::

    python -m tests.acceptance.blocked_page [--rate 500] [--seconds 12]

Prints how long the page needed, after the block, to show the end of the log again, and what it was like to use
meanwhile: the longest task, and the longest time from a key to its letter on the screen. In the end the page must hold
the newest messages of the log, in their order, each once.

Starts everything itself and stops it. Exits with 1 when the page is wrong.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser

from tests.acceptance.browsing import entered
from tests.support import stages
from tests.support.browsers import chromium
from tests.support.people import Person
from tests.support.stages import Stage

BLOCKED = 5.0  # s
BEFORE = 2.0  # s of messages before the block
BATCH = 100  # commands in one request
KEPT = 500  # messages that a page shows at least, of a flood
LIMIT = 60.0  # s until the page must be right, when all is said

WATCH = """() => {
    window.tasks = [];
    window.keys = [];
    const watch = (type, into, options) => new PerformanceObserver((list) => {
        for (const { startTime, duration } of list.getEntries()) into.push([startTime, duration]);
    }).observe({ type, ...options });
    watch("longtask", window.tasks);
    watch("event", window.keys, { durationThreshold: 16 });
}"""
BLOCK = """(ms) => {
    const until = performance.now() + ms;
    while (performance.now() < until);
    const newest = document.querySelector("[data-messages] ol").lastElementChild;
    return [performance.now(), Number(newest?.querySelector("[data-part=text]").textContent ?? -1)];
}"""
NEWEST = """() => document.querySelector("[data-messages] ol").lastElementChild
    ?.querySelector("[data-part=text]").textContent ?? ''"""
TEXTS = "() => [...document.querySelectorAll('[data-messages] [data-part=text]')].map((text) => text.textContent)"


@dataclass
class Flood:
    """Somebody who says so much, in a thread of its own; each message is its number."""

    stage: Stage
    rate: float
    said: int = 0
    refused: list[Any] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        room = self.stage.rooms[0]
        began = time.monotonic()
        while not self.over.is_set():
            numbers = range(self.said, self.said + BATCH)
            frame = [
                ["chat.send", {"text": str(number)}, {"room": room, "id": secrets.token_urlsafe(16)}]
                for number in numbers
            ]
            answer = self.stage.alice.post("/live/commands", json=frame)
            self.refused += [vector for vector in answer.json() if vector[0] != "live.ok"]
            self.said += BATCH
            self.over.wait(max(0, began + self.said / self.rate - time.monotonic()))


@dataclass
class Result:
    rate: float
    behind: int
    caught_up: float
    right: float
    longest_task: float
    slowest_key: float
    problems: list[str]


def blocked_page(stage: Stage, browser: Browser, *, rate: float, seconds: float) -> Result:
    with entered(browser, stage.site.url, "bob") as bob:
        bob.open(stage.rooms[0])
        bob.page.evaluate(WATCH)
        flood = Flood(stage, rate)
        began = time.monotonic()
        thread = threading.Thread(target=flood.run)
        thread.start()
        try:
            bob.page.wait_for_timeout(BEFORE * 1000)
            free, newest = bob.page.evaluate(BLOCK, BLOCKED * 1000)
            unblocked, said = time.monotonic(), flood.said
            behind = said - 1 - newest
            bob.composer.focus()
            while number(bob) < said - 1 and time.monotonic() < unblocked + LIMIT:
                bob.page.keyboard.type("x")
            caught_up = time.monotonic() - unblocked
            while time.monotonic() < began + seconds:
                bob.page.keyboard.type("x")
                bob.page.wait_for_timeout(50)
        finally:
            flood.over.set()
            thread.join()
        ended = time.monotonic()
        while number(bob) < flood.said - 1 and time.monotonic() < ended + LIMIT:
            bob.page.wait_for_timeout(10)
        right = time.monotonic() - ended
        shown = bob.page.evaluate(TEXTS)
        problems = [f"refused: {flood.refused[:3]}"] if flood.refused else []
        expected = [str(each) for each in range(flood.said)][-len(shown) :]
        if shown != expected or len(shown) < min(KEPT, flood.said):
            problems.append(f"the page shows {len(shown)} messages, {shown[:3]} … {shown[-3:]}, of {flood.said}")
        problems += [f"the console: {line}" for line in bob.complaints]
        task, key = (longest(bob, name, since=free) for name in ("tasks", "keys"))
        return Result(flood.said / (ended - began), behind, caught_up, right, task, key, problems)


def longest(person: Person, name: str, *, since: float) -> float:
    entries = person.page.evaluate(f"window.{name}")
    return max((length for at, length in entries if at >= since), default=0)


def number(person: Person) -> int:
    """Of the newest message on the page."""
    return int(person.page.evaluate(NEWEST) or -1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=500, help="messages a second (default: 500)")
    parser.add_argument("--seconds", type=float, default=12, help="of messages in all (default: 12)")
    options = parser.parse_args()
    with (
        chromium() as browser,
        stages.sites("sqlite") as sites,
        stages.staged(sites, rooms=1, nodes=1) as stage,
    ):
        result = blocked_page(stage, browser, rate=options.rate, seconds=options.seconds)
    print(f"{result.rate:.0f} messages a second; blocked for {BLOCKED:.0f} s the page was {result.behind} behind")
    print(f"back at what was said when it could move again: after {result.caught_up:.2f} s")
    print(f"right, after the last message: {result.right:.2f} s")
    print(f"after the block: longest task {result.longest_task:.0f} ms, slowest key {result.slowest_key:.0f} ms")
    for problem in result.problems:
        print(f"WRONG: {problem}")
    return bool(result.problems)


if __name__ == "__main__":
    sys.exit(main())

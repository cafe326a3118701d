"""Open a room where a network lets only some transports through, and measure how long a chat takes to work.

::

    python -m tests.acceptance.ways_through

The times are the client's real ones. From the moment that the page is asked for to the moment that two people have
heard each other: 5 s where the WebSocket does not get through, 10 s where the stream does not either, whichever way
they are blocked. Then the WebSocket is let through: within a minute the page is on it again, and nobody noticed.

Starts everything itself and stops it. Exits with 1 when a time is exceeded.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from playwright.sync_api import Browser

from tests.acceptance.browsing import entered
from tests.support import stages
from tests.support.browsers import chromium
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.people import Person
from tests.support.stages import Stage

BACK = 60.0  # s


@dataclass(frozen=True)
class Case:
    faults: dict[str, str]
    carries: str  # the transport that is left
    limit: float  # s until both have heard each other


CASES = [
    Case({}, "websocket", 5),
    *(Case({"websocket": how}, "sse", 5) for how in ("refuse", "reset", "stall", "swallow")),
    Case({"websocket": "refuse", "sse": "refuse"}, "poll", 10),
    Case({"websocket": "refuse", "sse": "swallow"}, "poll", 10),
    Case({"websocket": "swallow", "sse": "swallow"}, "poll", 10),
    Case({"websocket": "stall", "sse": "reset"}, "poll", 10),
]


@dataclass
class Times:
    case: Case
    heard: float = 0.0  # s from asking for the page to both having heard each other
    back: float | None = None  # s from letting the WebSocket through to being on it

    def __str__(self) -> str:
        blocked = ", ".join(f"{name} {fault}" for name, fault in self.case.faults.items()) or "nothing"
        back = "" if self.back is None else f"{self.back:6.1f} s"
        return f"{blocked:34}{self.case.carries:10}{self.heard:16.1f} s  {back}"

    def complaints(self) -> Iterator[str]:
        if self.heard > self.case.limit:
            yield f"{self.case}: {self.heard:.1f} s until both had heard each other"
        if self.back is not None and self.back > BACK:
            yield f"{self.case}: {self.back:.1f} s until it was back on the WebSocket"


def until(person: Person, condition: Callable[[], bool], limit: float = 90) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        person.page.wait_for_timeout(20)


def carries(network: FaultProxy, name: str) -> bool:
    """This transport, and no other that listens."""
    return network.carrying() - {"commands", "pages"} == {name}


def measure(stage: Stage, browser: Browser, case: Case, room: str) -> Times:
    times = Times(case)
    with (
        fault_proxy(stage.site.nodes[0].port) as network,
        entered(browser, stage.site.url, "alice") as alice,
        entered(browser, network.url, "bob") as bob,
    ):
        alice.open(room)
        network.faults.update(case.faults)
        began = time.monotonic()
        bob.page.goto(f"/t/{room}/")
        bob.say("hello")
        alice.sees("hello")
        alice.say("hello, you")
        bob.sees("hello", "hello, you")
        times.heard = time.monotonic() - began
        bob.is_connected()
        until(bob, lambda: carries(network, case.carries))
        if case.faults:
            network.faults.clear()
            whole = time.monotonic()
            until(bob, lambda: carries(network, "websocket"))
            times.back = time.monotonic() - whole
            bob.say("and on")
            alice.sees("hello", "hello, you", "and on")
            bob.sees("hello", "hello, you", "and on")
    return times


def main() -> int:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    with (
        chromium() as browser,
        stages.sites("sqlite") as sites,
        stages.staged(sites, rooms=len(CASES), nodes=1) as stage,
    ):
        all_times = [measure(stage, browser, case, room) for case, room in zip(CASES, stage.rooms, strict=True)]
    print(f"{'blocked':34}{'left':10}{'heard each other':>18}  back on the WebSocket")
    problems = [problem for times in all_times for problem in times.complaints()]
    for line in [*all_times, *(f"WRONG: {problem}" for problem in problems)]:
        print(line)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

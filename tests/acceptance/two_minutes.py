"""Two people chat for two minutes while both their networks break every few seconds, and prove that they said the same.

::

    python -m tests.acceptance.two_minutes [--seed 1] [--seconds 120] [--pictures FOLDER]

Two browsers on one room, each behind a proxy of its own. Faults come by chance, from the seed: connections are cut,
reset, held, left half open; a WebSocket is refused, or let through and its frames swallowed; a stream is collected;
answers to commands are lost. In the end both pages must show what the log holds, each message once and in its order,
and nothing may be on its way any more. Prints what each network truly did beside what the page's status line said of
it, and how often the page gave up and somebody had to press "Try again".

Starts everything itself and stops it. Exits with 1 when the promise is broken.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser

from tests.acceptance.browsing import entered
from tests.support import stages
from tests.support.browsers import chromium
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.people import Person
from tests.support.stages import Stage

LIVE = ("websocket", "sse", "poll", "commands")
QUIET = (1.5, 6.0)  # s between two faults of one network
LASTS = (1.0, 9.0)  # s
HALF_OPEN_LASTS = (5.0, 45.0)  # s: a page that says nothing needs up to 38 to find out, one that does 15
SAYS = (0.5, 2.5)  # s between two messages of one person
AFTER = 60.0  # s, with the network whole, until both must have everything

Network = FaultProxy


def cut(network: Network) -> None:
    for name in LIVE:
        network.cut(name)


def drop(network: Network) -> Callable[[], None]:
    cut(network)
    return lambda: None


def reset(network: Network) -> Callable[[], None]:
    return broken(network, dict.fromkeys(LIVE, "reset"))


def stall(network: Network) -> Callable[[], None]:
    """Nothing passes for a while; then what was held goes on."""
    for name in LIVE:
        network.hold(name)
    network.faults.update(dict.fromkeys(LIVE, "stall"))

    def end() -> None:
        network.faults.clear()
        for name in LIVE:
            network.let_go(name)

    return end


def half_open(network: Network) -> Callable[[], None]:
    """What is open is dead, and nobody says so; what is opened anew works."""
    for name in LIVE:
        network.hold(name)
    return lambda: None


def upgrade_refused(network: Network) -> Callable[[], None]:
    return broken(network, {"websocket": "refuse"})


def frames_swallowed(network: Network) -> Callable[[], None]:
    return broken(network, {"websocket": "swallow"})


def stream_collected(network: Network) -> Callable[[], None]:
    return broken(network, {"websocket": "refuse", "sse": "swallow"})


def answers_lost(network: Network) -> Callable[[], None]:
    return broken(network, {"websocket": "refuse", "commands": "lose"})


def broken(network: Network, faults: dict[str, str]) -> Callable[[], None]:
    network.faults.update(faults)
    cut(network)
    return network.faults.clear


FAULTS = (drop, reset, stall, half_open, upgrade_refused, frames_swallowed, stream_collected, answers_lost)


@dataclass
class Talker:
    """One of the two: what they say, and when, and what befalls their network."""

    name: str
    person: Person
    network: Network
    chance: random.Random
    said: list[str] = field(default_factory=list)
    record: list[tuple[float, str, str]] = field(default_factory=list)  # when, the network, the status line
    faults: int = 0
    again: int = 0  # messages that the page gave up, and the person sent again
    _next_word: float = 0.0
    _next_fault: float = 0.0
    _fault: str = ""
    _mend: Callable[[], None] | None = None

    def tick(self, now: float) -> bool:
        """Do what is due; gives whether the network has just changed."""
        changed = False
        if now >= self._next_fault:
            changed = True
            if self._mend is None:
                fault = self.chance.choice(FAULTS)
                self._fault, self._mend = fault.__name__.replace("_", " "), fault(self.network)
                self.faults += 1
                self._next_fault = now + self.chance.uniform(*(HALF_OPEN_LASTS if fault is half_open else LASTS))
            else:
                self.mend()
                self._next_fault = now + self.chance.uniform(*QUIET)
        if now >= self._next_word:
            self._next_word = now + self.chance.uniform(*SAYS)
            self.said.append(f"{self.name} {len(self.said)}")
            self.person.say(self.said[-1])
        self.look(now)
        return changed

    def mend(self) -> None:
        if self._mend is not None:
            self._mend()
        self._mend, self._fault = None, ""

    def look(self, now: float) -> None:
        state = (self._fault or "whole", self.status())
        if not self.record or self.record[-1][1:] != state:
            self.record.append((now, *state))

    def status(self) -> str:
        line: str = self.person.page.locator("[data-status]").evaluate(STATUS)
        return line

    def retry(self) -> None:
        """As somebody does who sees that a message was not sent."""
        buttons: int = self.person.page.locator("li.failed [data-part=retry]").evaluate_all(PRESS)
        self.again += buttons

    def shown(self) -> list[str]:
        texts: list[str] = self.person.page.evaluate(TEXTS)
        return texts

    def unsettled(self) -> int:
        return self.person.page.locator("li.pending, li.failed").count()


# The countdown changes by itself; what it counts down to does not.
STATUS = "line => line.innerText.trim().replaceAll(/\\d+ s/g, 'n s').replaceAll('\\n', ' ')"
PRESS = "buttons => (buttons.forEach((button) => button.click()), buttons.length)"
TEXTS = "() => [...document.querySelectorAll('[data-messages] [data-part=text]')].map((text) => text.textContent)"


@contextmanager
def talkers(stage: Stage, browser: Browser, seed: int) -> Iterator[list[Talker]]:
    with ExitStack() as stack:
        found = []
        for name in ("alice", "bob"):
            network = stack.enter_context(fault_proxy(stage.site.nodes[0].port))
            person = stack.enter_context(entered(browser, network.url, name))
            person.open(stage.rooms[0])
            found.append(Talker(name, person, network, random.Random(f"{seed}-{name}")))
        yield found


def two_minutes(
    stage: Stage, browser: Browser, *, seed: int, seconds: float, pictures: Path | None
) -> tuple[list[str], list[str]]:
    """Gives what happened, and what was wrong of it."""
    report = []
    with talkers(stage, browser, seed) as both:
        began = time.monotonic()
        taken = 0
        while (now := time.monotonic() - began) < seconds:
            for talker in both:
                if talker.tick(now) and pictures is not None:
                    picture(pictures, talker, taken, now)
                    taken += 1
            both[0].person.page.wait_for_timeout(100)
        for talker in both:
            talker.mend()
        whole = time.monotonic()
        log: list[str] = []
        while time.monotonic() - whole < AFTER:
            for talker in both:
                talker.retry()
                talker.look(time.monotonic() - began)
            log = [text for _, text in stage.log(stage.rooms[0]) if text]
            everything = len(log) >= sum(len(talker.said) for talker in both)
            if everything and all(talker.shown() == log and not talker.unsettled() for talker in both):
                break
            both[0].person.page.wait_for_timeout(200)
        took = time.monotonic() - whole
        for talker in both:
            report.append(
                f"--- {talker.name}: {len(talker.said)} said, {talker.faults} faults, {talker.again} sent again by hand"
            )
            report += [f"{when:7.1f} s  {network:18} {status}" for when, network, status in talker.record]
            if pictures is not None:
                picture(pictures, talker, taken, seconds)
                taken += 1
        report.append(f"With the networks whole, both had everything after {took:.1f} s.")
        return report, [problem for talker in both for problem in complaints(talker, log, both)]


def complaints(talker: Talker, log: list[str], both: list[Talker]) -> Iterator[str]:
    said = sorted(text for each in both for text in each.said)
    if sorted(log) != said:
        yield f"the log has {len(log)} messages, {len(said)} were said; apart: {sorted(set(log) ^ set(said))[:10]}"
    shown = talker.shown()
    if shown != log:
        missing, doubled = set(log) - set(shown), {text for text in shown if shown.count(text) > 1}
        yield f"{talker.name} sees {len(shown)} of {len(log)}; missing {sorted(missing)}, twice {sorted(doubled)}"
        if not missing and not doubled:
            place = next(number for number, (one, other) in enumerate(zip(shown, log, strict=False)) if one != other)
            yield f"{talker.name} sees another order from {place} on: {shown[place : place + 5]}"
    if left := talker.unsettled():
        yield f"{left} messages of {talker.name} are left on their way"
    errors = [line for line in talker.person.complaints if not any(part in line for part in EXPECTED)]
    if errors:
        yield f"{talker.name}'s console: {errors}"


# What a browser itself says of such networks.
EXPECTED = ("WebSocket connection to", "Failed to load resource")


def picture(folder: Path, talker: Talker, number: int, now: float) -> None:
    what = (talker._fault or "whole").replace(" ", "-")
    talker.person.page.screenshot(path=folder / f"{number:02}-{now:05.1f}s-{talker.name}-{what}.png")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--pictures", type=Path, help="a folder for screenshots, one at each change of a network")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
    with (
        chromium() as browser,
        stages.sites(options.database) as sites,
        stages.staged(sites, rooms=1, nodes=1) as stage,
    ):
        report, problems = two_minutes(
            stage, browser, seed=options.seed, seconds=options.seconds, pictures=options.pictures
        )
    print("\n".join(report))
    for problem in problems:
        print(f"WRONG: {problem}")
    print("WRONG" if problems else "Both saw the same, each message once, and nothing was left on its way.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

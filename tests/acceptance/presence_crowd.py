"""Kill a node under a crowd of people: how long until everybody knows who is still here, and that nobody flickered.

::

    python -m tests.acceptance.presence_crowd [--people 1500] [--database postgresql|sqlite]

Three nodes on Valkey, each person on one connection, over WebSocket, SSE and long-poll alike, in rooms whose people are
named. When every reader has everybody of the room, one node gets SIGKILL. Most of its people come back at the other
nodes, as the protocol says; some are gone for good. Timed is, for each reader, when its roster is right again: all but
the gone ones. Nobody who came back before the lease could end may have been told of as left, or have been missing in a
state, to any reader. Who came back later, by the waits that the protocol asks for, is counted apart, with the room.

Starts everything itself and stops it. Exits with 1 when a promise is broken. The clients are written from
``docs/protocol.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

from tests.support import crowd, multitude, stages, tally
from tests.support.crowd import Member, PollMember, SocketMember, StreamMember
from tests.support.stages import Stage

LEASE = 15  # s, the default
IN_TIME = LEASE - 5 - 0.5  # s; a lease that was about to be renewed ends so much earlier
SLACK = 10  # s beside the lease: a loaded machine, and polls that come between
GONE = 5  # of so many people of the killed node one does not come back


class Knowing(Member):
    """``people`` is who is here as it was told; ``changed`` when that last became another set; ``left`` and ``missed``
    whom it was told to have left, and who was not in a state, each with the time.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.user = ""
        self.people: set[str] | None = None
        self.changed = 0.0
        self.left: list[tuple[float, str]] = []
        self.states: list[tuple[float, set[str]]] = []

    def _take(self, frame: list[Any]) -> None:
        super()._take(frame)
        for vector in frame:
            name, data = vector[0], vector[1]
            before = self.people
            if name == "presence.state":
                self.people = {person["user"]["id"] for person in data["people"]}
                self.states.append((time.monotonic(), self.people))
            elif name == "presence.diff":
                self._differs(data)
            if self.people is not None and name.startswith("presence."):
                if data["count"] != len(self.people):
                    self.wrong.append(f"{data['count']} people are {len(self.people)}")
                if before != self.people:
                    self.changed = time.monotonic()

    def _differs(self, data: Any) -> None:
        if self.people is None:
            self.wrong.append("presence.diff before any presence.state")
            return
        gone = {person["user"]["id"] for person in data["left"]}
        self.left += [(time.monotonic(), user) for user in gone]
        self.people = (self.people | {person["user"]["id"] for person in data["joined"]}) - gone


class KnowingSocket(Knowing, SocketMember):
    pass


class KnowingStream(Knowing, StreamMember):
    pass


class KnowingPoll(Knowing, PollMember):
    pass


KINDS = (KnowingSocket, KnowingStream, KnowingPoll)


class Crowd:
    def __init__(self, stage: Stage, people: int) -> None:
        self.stage = stage
        self.story: list[str] = []
        self.problems: list[str] = []
        self.members: list[Knowing] = []
        souls = multitude.make(stage.site, [f"one-{number}" for number in range(people)])
        for number, soul in enumerate(souls):
            turn = number // len(KINDS)
            start = stage.addresses[turn % len(stage.addresses)]
            room = stage.rooms[turn // len(stage.addresses) % len(stage.rooms)]
            member = KINDS[number % len(KINDS)](stage.addresses, soul.badge, room, start)
            member.user = soul.id
            self.members.append(member)

    def truth(self, gone: set[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {room: set() for room in self.stage.rooms}
        for member in self.members:
            if member.user not in gone:
                found[member.room].add(member.user)
        return found

    async def play(self) -> None:
        everybody = self.truth(set())
        began = time.monotonic()
        try:
            await crowd.enter(self.members, seconds=600)
            entered = time.monotonic() - began
            await self._all_know(self.members, everybody, 60, "everybody knows everybody")
            self.story.append(
                f"{len(self.members)} people came in within {entered:.1f} s, "
                f"{max(member.changed for member in self.members) - began:.1f} s until all of them knew"
            )
            if not self.problems:
                await self._kill()
        finally:
            await crowd.leave(self.members)
        self.problems += [f"{member.transport}: {what}" for member in self.members for what in member.wrong][:10]

    async def _kill(self) -> None:
        orphans = [member for member in self.members if member.at == self.stage.addresses[1]]
        gone = {member.user: member for member in orphans[::GONE]}
        stay = [member for member in self.members if member.user not in gone]
        for member in gone.values():
            assert member._task is not None
            member._task.cancel()  # it is not even told by TCP: the node goes with it, and first
        self.stage.site.nodes[1].kill()
        killed = time.monotonic()
        truth = self.truth(set(gone))
        await self._all_know(stay, truth, LEASE + SLACK + 20, "everybody knows who is gone")
        ends = [(end, member) for member in stay for end in member.ends if end.back is not None]
        late = {member.user: end for end, member in ends if (end.back or 0) - killed > IN_TIME}
        delayed = {member.room for end, member in ends if member.user in late}
        took = [member.changed - killed for member in stay if member.room not in delayed]
        back = [(end.back or 0) - killed for end, _ in ends]
        self.story.append(
            f"{len(orphans)} people were on the killed node: {len(gone)} gone for good, "
            f"{len(back)} back after seconds: {tally.quantiles(back)}"
        )
        for end, member in ends:
            if member.user in late:
                self.story.append(
                    f"  late: {member.transport}, {(end.back or 0) - killed:.1f} s, {end.tries} attempts failed before"
                )
        self.story.append(
            f"rosters right, from the kill on, of {len(took)} readers in rooms where all came back within {IN_TIME} s: "
            f"{tally.quantiles(took)}"
        )
        for kind in KINDS:
            some = [m.changed - killed for m in stay if isinstance(m, kind) and m.room not in delayed]
            self.story.append(f"  {kind.transport:5}{len(some):5}: {tally.quantiles(some)}")
        told = [at - killed for member in stay for at, user in member.left if user in gone]
        self.story.append(f"first and last word of one who is gone: {min(told):.1f} and {max(told):.1f} s")
        slow = sum(each > LEASE + SLACK for each in took)
        if slow:
            self.problems.append(f"{slow} rosters were right later than {LEASE + SLACK} s")
        excused = gone.keys() | late.keys()
        flickers = [user for member in stay for at, user in member.left if at >= killed and user not in excused]
        missing = [
            user
            for member in stay
            for at, people in member.states
            if at >= killed
            for user in truth[member.room] - people - late.keys()
        ]
        self.story.append(
            f"of {len(stay) - len(late)} people who stayed or came back in time, {len(set(flickers))} were said to "
            f"have left and {len(set(missing))} were missing in a state, to any of {len(stay)} readers"
        )
        if flickers or missing:
            self.problems.append(f"flickered: {len(flickers)} times left, {len(missing)} times missing")

    async def _all_know(self, members: list[Knowing], truth: dict[str, set[str]], seconds: float, what: str) -> None:
        try:
            await crowd.until(lambda: all(each.people == truth[each.room] for each in members), seconds, what)
        except TimeoutError as late:
            wrong = [each for each in members if each.people != truth[each.room]]
            one = wrong[0]
            known = one.people or set()
            self.problems.append(
                f"{late}: {len(wrong)} rosters are wrong, one on {one.transport} with {len(known - truth[one.room])} "
                f"too many and {len(truth[one.room] - known)} missing"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--people", type=int, default=1_500)
    parser.add_argument("--rooms", type=int, default=10)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    options = parser.parse_args()
    crowd.room_for(4 * options.people + 500)
    with (
        stages.sites(options.database) as sites,
        stages.staged(sites, rooms=options.rooms, nodes=3, layer="valkey") as stage,
    ):
        play = Crowd(stage, options.people)
        asyncio.run(play.play())
    print(f"--- {options.people} people in {options.rooms} rooms, three nodes, {options.database}; seconds")
    print("\n".join(play.story))
    for problem in play.problems:
        print(f"WRONG: {problem}")
    print("WRONG" if play.problems else "Every roster became right, and nobody flickered.")
    return bool(play.problems)


if __name__ == "__main__":
    sys.exit(main())

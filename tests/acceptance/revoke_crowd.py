"""Take rights away from people in a crowd, in every way that there is: how long until nothing more can reach them.

::

    python -m tests.acceptance.revoke_crowd [--clients 1000] [--database sqlite|postgresql]

Three nodes on Valkey, clients over WebSocket, SSE and long-poll, each person with connections everywhere. Each change
is made once by itself; from its answer, or its commit, each connection that it concerns is timed until it is told
(``live.left``, ``live.bye``, a refused poll). Then all of it again with Valkey stopped, where only the sweep finds it.

Starts everything itself and stops it. Exits with 1 when a bound is broken: 1 s with the layer, ``grant_ttl`` without.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import httpx

from tests.support import crowd, stages, tally
from tests.support.crowd import Badge, Member, PollMember, SocketMember, StreamMember
from tests.support.stages import Stage

BOUND = {"up": 1.0, "stopped": 15.0 + 2}  # s; 2: a loaded machine, and polls that come between
EACH = 10  # connections of a person
PEOPLE = """
import json
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from rooms.models import Tenant
from rooms.services import members
store = import_module(settings.SESSION_ENGINE).SessionStore
acme, people = Tenant.objects.get(slug="acme"), []
for number in range({count}):
    user = get_user_model().objects.create(username=f"one-{prefix}-{{number}}")
    members.set_role(acme, user, "member")
    session = store()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    people.append((str(user.pk), session.session_key))
print(json.dumps(people))
"""
BY_HAND = """
import time
from django.contrib.auth import get_user_model
from rooms.models import Tenant
from rooms.services import tenants
{change}
print(time.monotonic())
"""
DEACTIVATE = """
user = get_user_model().objects.get(pk={person})
user.is_active = False
user.save()
"""
PASSWORD = """
user = get_user_model().objects.get(pk={person})
user.set_unusable_password()
user.save()
"""
SUSPEND = """tenants.update(Tenant.objects.get(slug="acme"), active={active})"""


class Revocable(Member):
    """``lost`` is when it was told that it may not be here any more; then it goes."""

    lost: float | None = None

    def _take(self, frame: list[Any]) -> None:
        if any(
            vector[0] in ("live.left", "live.bye", "live.error") for vector in frame
        ):  # the last on a poll's next turn
            self._go()
        super()._take([vector for vector in frame if vector[0] != "live.left"])

    def _wait(self, tries: int) -> float:
        self._go()  # turned away
        return 3_600

    def _go(self) -> None:
        if self.lost is None:
            self.lost = time.monotonic()
            assert self._task is not None
            asyncio.get_running_loop().call_soon(self._task.cancel)


class RevocableSocket(Revocable, SocketMember):
    pass


class RevocableStream(Revocable, StreamMember):
    pass


class RevocablePoll(Revocable, PollMember):
    pass


KINDS = (RevocableSocket, RevocableStream, RevocablePoll)


async def revoke_crowd(stage: Stage, clients: int, layer: str, story: list[str]) -> list[str]:
    """All changes once, told in the story; gives what broke a bound."""
    count = clients // EACH
    code = PEOPLE.format(count=count, prefix=layer)
    people = json.loads(await asyncio.to_thread(stage.site.manage, "shell", "-v0", "-c", code))
    members: dict[str, list[Revocable]] = {}
    for number, (person, session) in enumerate(people):
        badge = Badge(session, "c" * 32)
        members[person] = []
        for turn in range(EACH):
            place = number * EACH + turn
            start = stage.addresses[place % len(stage.addresses)]
            room = stage.rooms[number % len(stage.rooms)]
            members[person].append(KINDS[turn % len(KINDS)](stage.addresses, badge, room, start))
    everybody = [member for crew in members.values() for member in crew]
    began = time.monotonic()
    await crowd.enter(everybody)
    story.append(f"{len(everybody)} connections of {count} people came in within {time.monotonic() - began:.1f} s")
    if layer == "stopped":
        assert stage.site.valkey is not None
        await asyncio.to_thread(stage.site.valkey.stop)
    problems = []
    try:
        for what, change, concerned in _changes(stage, members):
            crew = [member for member in concerned if member.lost is None]
            at = await asyncio.to_thread(change)
            problems += await _told(what, crew, at, layer, story)
        restore = BY_HAND.format(change=SUSPEND.format(active=True))
        await asyncio.to_thread(stage.site.manage, "shell", "-v0", "-c", restore)
    finally:
        await crowd.leave(everybody)
        if layer == "stopped":
            assert stage.site.valkey is not None
            await asyncio.to_thread(stage.site.valkey.start)
    return problems


Changes = list[tuple[str, Callable[[], float], Sequence[Revocable]]]


def _changes(stage: Stage, members: dict[str, list[Revocable]]) -> Changes:
    """What happens, how it is done (giving when it was), and to whom."""
    people = iter(members)
    room_of = {person: crew[0].room for person, crew in members.items()}

    def asking(method: str, path: str, **data: Any) -> Callable[[], float]:
        def ask() -> float:
            answer = stage.alice.request(method, f"/api/tenants/acme/{path}", json=data or None)
            assert answer.is_success, answer.text
            return time.monotonic()

        return ask

    def by_hand(change: str) -> Callable[[], float]:
        code = BY_HAND.format(change=change)
        return lambda: float(stage.site.manage("shell", "-v0", "-c", code).split()[-1])

    def logging_out(person: str) -> Callable[[], float]:
        badge = members[person][0].badge
        headers = {"Cookie": f"sessionid={badge.session}; csrftoken={badge.csrf}", "X-CSRFToken": badge.csrf}

        def log_out() -> float:
            assert httpx.post(f"{stage.site.url}/accounts/logout/", headers=headers).status_code == 302
            return time.monotonic()

        return log_out

    def slug(person: str) -> str:
        return room_of[person].partition("/")[2]

    found: Changes = []
    one = next(people)
    found.append(("removed from the tenant", asking("DELETE", f"members/{one}/"), members[one]))
    one = next(people)
    ban = asking("PUT", f"rooms/{slug(one)}/members/{one}/", role="banned")
    found.append(("banned from the room", ban, members[one]))
    one = next(people)
    found.append(("logged out", logging_out(one), members[one]))
    one = next(people)
    found.append(("account closed", by_hand(DEACTIVATE.format(person=one)), members[one]))
    one = next(people)
    found.append(("another password", by_hand(PASSWORD.format(person=one)), members[one]))
    for what, data in (("room made private", {"visibility": "private"}), ("room archived", {"archived": True})):
        one = next(people)
        inside = [each for person, crew in members.items() if room_of[person] == room_of[one] for each in crew]
        found.append((what, asking("PATCH", f"rooms/{slug(one)}/", **data), inside))
    rest = [each for crew in members.values() for each in crew]
    found.append(("tenant suspended", by_hand(SUSPEND.format(active=False)), rest))
    return found


async def _told(what: str, crew: Sequence[Revocable], at: float, layer: str, story: list[str]) -> list[str]:
    bound = BOUND[layer]
    with suppress(TimeoutError):
        await crowd.until(lambda: all(member.lost is not None for member in crew), bound + 10, what)
    took = [max(0.0, member.lost - at) for member in crew if member.lost is not None]
    story.append(f"  {what:24}{len(crew):5} connections: {tally.quantiles(took)}")
    late = len(crew) - sum(each <= bound for each in took)
    return [f"layer {layer}, {what}: {late} of {len(crew)} were told later than {bound:g} s"] if late else []


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    options = parser.parse_args()
    crowd.room_for(4 * options.clients + 500)
    problems = []
    for layer in BOUND:
        story = [f"--- {options.nodes} nodes, {options.database}, the layer {layer}; seconds"]
        with (
            stages.sites(options.database) as sites,
            stages.staged(sites, rooms=10, nodes=options.nodes, layer="valkey") as stage,
        ):
            problems += asyncio.run(revoke_crowd(stage, options.clients, layer, story))
        print("\n".join(story))
    for problem in problems[:20]:
        print(f"WRONG: {problem}")
    print("WRONG" if problems else "Everybody was told in time.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

"""Random tenants, parts and rooms, and people who listen by every transport, against a model of who may see what.

Nothing reaches who may not have it: no event, no error that differs from that of a room which is not there, no list, no
hole in a sequence, nobody's presence; and a refusal costs the same statements as absence. Who may have it gets all of
it. Nobody is named to others, or counted, in a room that they may not read.
"""

from __future__ import annotations

import asyncio
import os
import socket
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import uvicorn
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck
from hypothesis import settings as conduct
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from websockets.exceptions import ConnectionClosed

from presence.models import Seat
from presence.tracker import Tracker
from realtime_project.asgi import application
from rooms import access
from rooms.conf import Config
from rooms.models import Membership, Participant, Room, Tenant
from rooms.node import running
from rooms.node.hub import Hub
from rooms.services import members, rooms, tenants
from tests.support.listeners import until
from tests.support.live_clients import TRANSPORTS, Caller, Ended, LiveClient, TurnedAway
from tests.support.world import Rest

# Steps of an example, and examples: some hundreds here, ten thousand by `make nightly`.
STEPS = int(os.environ.get("MODEL_STEPS", 25))
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", 8))

PATIENCE = 60  # seconds until a seat that stays is wrong: the machine may be busy
TOLD = timedelta(seconds=1)  # in which a change of rights has reached whoever is told of people

NAMES = ["ann", "ben", "cyd"]
ROOMS = ["acme/one", "acme/two", "globex/one"]
EVERYWHERE = [*ROOMS, "acme/~all", "globex/~all", "acme/~me", "acme/one~mods"]
ABSENT = "acme/absent"
ALL = {"read", "write", "moderate", "manage"}

people = st.sampled_from(NAMES)
addresses = st.sampled_from(ROOMS)


# --- the model: docs/access.md, said once more


@dataclass
class Place:
    visibility: str = "tenant"
    read_only: bool = False
    archived: bool = False
    parts: dict[str, str] = field(default_factory=dict)


@dataclass
class Model:
    active: set[str] = field(default_factory=lambda: {"acme", "globex"})
    roles: dict[tuple[str, str], str] = field(default_factory=dict)
    rooms: dict[str, Place] = field(default_factory=lambda: {address: Place() for address in ROOMS})
    closed: set[str] = field(default_factory=set)  # accounts

    def can(self, name: str, address: str) -> set[str]:
        """What this person may do there; nothing means that for them it is not there."""
        tenant, _, slug = address.partition("/")
        role = self.roles.get((tenant, name))
        above = role in ("owner", "admin")
        if tenant not in self.active or name in self.closed:
            return set()
        if slug == "~all":
            return set() if role is None else {"read", "manage"} if above else {"read"}
        if slug == "~me":
            return {"read"} if role else set()
        if slug.endswith("~mods"):
            parent = self.rooms[address.removesuffix("~mods")]
            can = {"read", "write"} if "moderate" in self._there(name, parent, role) else set()
            return can & {"read"} if parent.archived else can
        place = self.rooms.get(address)
        if place is None:
            return set()
        can = self._there(name, place, role)
        if place.archived:
            return can & {"read", "manage"}
        return can & {"read"} if place.read_only and "moderate" not in can else can

    def _there(self, name: str, place: Place, role: str | None) -> set[str]:
        if role in ("owner", "admin"):
            return ALL
        part = place.parts.get(name)
        if part is not None:
            return {"moderator": ALL - {"manage"}, "speaker": {"read", "write"}, "listener": {"read"}}.get(part, set())
        if place.visibility == "private" or role is None:
            return set()
        return {"read", "write"} if role == "member" or place.visibility == "public" else {"read"}

    def archived(self, address: str) -> bool:
        place = self.rooms.get(address.removesuffix("~mods"))
        return place is not None and place.archived

    def may_join(self, name: str, address: str) -> bool:
        return "read" in self.can(name, address) and not self.archived(address)


# --- the real thing


class Here:
    """This process is a node, and is reached over the network as any other."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.run(self._start())

    async def _start(self) -> None:
        config = Config(heal_interval=3_600, grant_ttl=3_600, feed_linger=0.01)
        self.hub = running._hub = Hub(config, attendance=Tracker)
        self.hub.start()
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        self.url, self.ws_url = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}/live/ws"
        self._server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off"))
        self._serving = asyncio.create_task(self._server.serve([listening]))
        await until(lambda: self._server.started)

    def work(self, do: Callable[[], Any]) -> Any:
        """On one of the node's threads, while its loop runs."""
        return self.run(self.hub.database.work(do))

    def close(self) -> None:
        self.run(self._stop())
        self.runner.close()

    async def _stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        await self._serving
        await running.stop()


@dataclass
class Ear:
    name: str
    client: LiveClient
    joined: set[str]
    inspected: int = 0  # of its events
    noticed: int = 0  # of what it heard of others' presence
    since: int = 0  # the step at which that was


class Gate(RuleBasedStateMachine):
    here: Here

    def __init__(self) -> None:
        super().__init__()
        self.hub = self.here.hub
        self.model = Model()
        self.ears: list[Ear] = []
        self.step = 0
        self.history: list[dict[str, set[str]]] = []  # who might read what, after each step
        self.since: list[datetime] = []  # when each of these began to hold
        self.here.work(self._make)
        self._remember()

    def _make(self) -> None:
        for model in (Room, Tenant, Session, get_user_model()):
            model._default_manager.all().delete()
        users = get_user_model()._default_manager
        self.users = {name: users.create(username=name) for name in ["root", *NAMES]}
        for slug in ("acme", "globex"):
            tenants.create(slug, name=slug, owner=self.users["root"])
            self.model.roles[slug, "root"] = "owner"
        for address in ROOMS:
            tenant, _, slug = address.partition("/")
            rooms.create(self._tenant(tenant), slug, name=slug, by=self.users["root"])
        self.rest = {name: Rest(user) for name, user in self.users.items()}

    def teardown(self) -> None:
        for ear in self.ears:
            self.here.run(ear.client.close())
        self.here.run(self.hub.deserted())

    # --- what may happen

    @initialize(roles=st.tuples(*[st.sampled_from(["admin", "member", "guest"])] * len(NAMES)), data=st.data())
    def they_are_there_and_listen(self, roles: tuple[str, ...], data: st.DataObject) -> None:
        def join() -> None:
            for name, role in zip(NAMES, roles, strict=True):
                members.set_role(self._tenant("acme"), self.users[name], role)
                self.model.roles["acme", name] = role

        self._move(join)
        self._settle()
        for name in NAMES:
            self.here.run(self._listen(name, data.draw(st.sampled_from(TRANSPORTS)), ["acme/one", "acme/~all"], False))

    @rule(
        name=people,
        tenant=st.sampled_from(["acme", "globex"]),
        role=st.sampled_from([None, "owner", "admin", "member", "guest"]),
        told=st.booleans(),
    )
    def somebody_has_another_role(self, name: str, tenant: str, role: str | None, told: bool) -> None:
        user = self.users[name]
        if role is None:
            self._move(lambda: members.remove(self._tenant(tenant), user))
            if self.model.roles.pop((tenant, name), None):
                for address, place in self.model.rooms.items():
                    if address.startswith(f"{tenant}/") and place.parts.get(name) != "banned":
                        place.parts.pop(name, None)
        else:
            if told or (tenant, name) not in self.model.roles:
                self._move(lambda: members.set_role(self._tenant(tenant), user, role))
            else:
                rows = Membership.objects.filter(tenant__slug=tenant, user=user)
                self._move(lambda: rows.update(role=role), told=False)
            self.model.roles[tenant, name] = role
        self._settle()

    @rule(
        name=people,
        address=addresses,
        part=st.sampled_from([None, "moderator", "speaker", "listener", "banned"]),
        told=st.booleans(),
    )
    def somebody_has_another_part(self, name: str, address: str, part: str | None, told: bool) -> None:
        user = self.users[name]
        parts = self.model.rooms[address].parts
        if part is None:
            self._move(lambda: members.remove_part(self._room(address), user))
            parts.pop(name, None)
        else:
            if told or name not in parts:
                self._move(lambda: members.set_part(self._room(address), user, part))
            else:
                rows = Participant.objects.filter(room__tenant__slug=address.split("/")[0], user=user)
                rows = rows.filter(room__slug=address.split("/")[1])
                self._move(lambda: rows.update(role=part), told=False)
            parts[name] = part
        self._settle()

    @rule(
        address=addresses,
        change=st.sampled_from(
            [
                {"visibility": "private"},
                {"visibility": "tenant"},
                {"visibility": "public"},
                {"read_only": True},
                {"read_only": False},
                {"archived": True},
                {"archived": False},
            ]
        ),
        told=st.booleans(),
    )
    def a_room_changes(self, address: str, change: dict[str, Any], told: bool) -> None:
        if told:
            self._move(lambda: rooms.update(self._room(address), **change))
        else:
            self._move(lambda: Room.objects.filter(pk=self._room(address).pk).update(**change), told=False)
        for name, value in change.items():
            setattr(self.model.rooms[address], name, value)
        self._settle()

    @rule(tenant=st.sampled_from(["acme", "globex"]), active=st.booleans(), told=st.booleans())
    def a_tenant_is_suspended_or_reopened(self, tenant: str, active: bool, told: bool) -> None:
        if told:
            self._move(lambda: tenants.update(self._tenant(tenant), active=active))
        else:
            self._move(lambda: Tenant.objects.filter(slug=tenant).update(active=active), told=False)
        (self.model.active.add if active else self.model.active.discard)(tenant)
        self._settle()

    @rule(name=people, active=st.booleans(), told=st.booleans())
    def an_account_is_closed_or_opened(self, name: str, active: bool, told: bool) -> None:
        def change() -> None:
            user = self.users[name]
            user.is_active = active
            if told:
                user.save(update_fields=["is_active"])
            else:
                type(user)._default_manager.filter(pk=user.pk).update(is_active=active)
            if not active:
                self.rest[name] = Rest(user)  # a log-in outlives it here, and must be worth nothing
            else:
                self.rest[name].client.force_login(user)

        self._move(change, told=told)
        (self.model.closed.discard if active else self.model.closed.add)(name)
        self._settle()

    @rule(name=people)
    def somebody_logs_out(self, name: str) -> None:
        def change() -> None:
            self.rest[name].client.logout()
            self.rest[name] = Rest(self.users[name])

        self._move(change)
        for ear in self.ears:
            if ear.name == name:
                ear.joined.clear()
        self._settle()

    @rule(
        name=people,
        transport=st.sampled_from(TRANSPORTS),
        wanted=st.sets(st.sampled_from(EVERYWHERE), min_size=1, max_size=4),
        early=st.booleans(),
    )
    @precondition(lambda self: len(self.ears) < 8)
    def somebody_listens(self, name: str, transport: type[LiveClient], wanted: set[str], early: bool) -> None:
        self.here.run(self._listen(name, transport, sorted(wanted), early))

    async def _listen(self, name: str, transport: type[LiveClient], wanted: list[str], early: bool) -> None:
        # from the beginning where they are told of it, and as somebody who guesses where they are not
        asked = [(room, "0000000000000001:0" if early and room in ROOMS else None) for room in [*wanted, ABSENT]]
        node: Any = self.here
        try:
            client = await transport.connect(node, self._caller(name), asked)
        except TurnedAway as refused:
            away = refused.code
        else:
            away = None
        assert away == ("unauthenticated" if name in self.model.closed else None)
        if away:
            return
        ear = Ear(name, client, set(), since=self.step)
        self.ears.append(ear)
        nothing_there = client.joins[ABSENT][1]
        for room in wanted:
            kind, data, _ = client.joins[room]
            if self.model.may_join(name, room):
                assert kind == "live.ok", f"{name} may join {room}: {data}"
                assert set(data["can"]) == self.model.can(name, room)
                ear.joined.add(room)
            elif self.model.can(name, room):
                assert data["code"] == "forbidden", f"{room} is archived"
            else:
                assert data == nothing_there, f"{name} can tell that {room} is there"

    async def _say(self, address: str) -> None:
        text = f"said at {self.step}"

        def say() -> None:
            tenant, _, slug = address.partition("/")
            answer = self.rest["root"].post(f"tenants/{tenant}/rooms/{slug}/messages/", {"text": text})
            assert answer.status_code == 201, answer.content

        await self.hub.database.work(say)
        await self._all_hear(address, text)

    @rule(name=people, address=st.sampled_from([*ROOMS, ABSENT]))
    def somebody_speaks(self, name: str, address: str) -> None:
        text = f"said at {self.step}"

        def speak() -> tuple[Any, Any]:
            def to(room: str) -> Any:
                tenant, _, slug = room.partition("/")
                return self.rest[name].post(f"tenants/{tenant}/rooms/{slug}/messages/", {"text": text})

            return to(address), to(ABSENT)

        said, nowhere = self.here.work(speak)
        if name in self.model.closed:
            assert said.status_code == nowhere.status_code == 401
        elif "write" in (can := self.model.can(name, address)):
            assert said.status_code == 201, said.content
            self.here.run(self._all_hear(address, text))
        else:
            assert said.status_code == (403 if can else 404)
            if not can:
                assert said.content == nowhere.content

    async def _all_hear(self, address: str, text: str) -> None:
        for ear in self.ears:
            if address in ear.joined:
                await ear.client.hears(address, text)

    @rule(
        name=people,
        address=st.sampled_from([*ROOMS, "acme/one~mods"]),
        what=st.sampled_from(["", "messages/", "events/"]),
    )
    def somebody_looks(self, name: str, address: str, what: str) -> None:
        """What is refused looks and costs as what is not there."""

        def look() -> list[tuple[int, bytes, int]]:
            found = []
            for room in (address, ABSENT):
                slug = room.partition("/")[2]
                with CaptureQueriesContext(connection) as queries:
                    answer = self.rest[name].get(f"tenants/{address.split('/')[0]}/rooms/{slug}/{what}")
                found.append((answer.status_code, answer.content, len(queries)))
            return found

        there, absent = self.here.work(look)
        if name in self.model.closed:
            assert there[0] == 401
        elif "read" in self.model.can(name, address):
            assert there[0] == 200
        else:
            assert there == absent

    @rule(name=people)
    def somebody_lists_their_rooms(self, name: str) -> None:
        def listed() -> dict[str, Any]:
            found = self.rest[name].get("tenants/")
            if found.status_code != 200:
                return {"status": found.status_code}
            slugs = [tenant["slug"] for tenant in found.json()["results"]]
            return {
                slug: [room["slug"] for room in self.rest[name].get(f"tenants/{slug}/rooms/").json()["results"]]
                for slug in slugs
            }

        found = self.here.work(listed)
        if name in self.model.closed:
            assert found == {"status": 401}
            return
        for tenant in ("acme", "globex"):
            expected = [room.split("/")[1] for room in ROOMS if room.startswith(tenant) and self.model.can(name, room)]
            if tenant in found:
                assert sorted(found[tenant]) == sorted(expected)
            else:
                assert (tenant, name) not in self.model.roles or tenant not in self.model.active

    # --- what holds after each

    def _move(self, change: Callable[[], Any], *, told: bool = True) -> None:
        self.step += 1

        async def move() -> None:
            await self.hub.database.work(change)
            if not told:
                for each in self.hub.connections.values():
                    each.looked_at -= 4_000
                await self.hub.watch.sweep()
            await until(lambda: not self.hub.watch._asking)

        self.here.run(move())

    def _settle(self) -> None:
        """Who lost a room is told so, or loses the connection; and nobody has heard what they might not."""
        for ear in self.ears:
            ear.joined = {room for room in ear.joined if self.model.may_join(ear.name, room)}
        self._remember()
        asks = [(self.users[name].pk, address) for name in self.users for address in EVERYWHERE]
        grants = self.here.work(lambda: access.authorize_many(asks))
        for name in self.users:
            for address in EVERYWHERE:
                grant = grants.get((self.users[name].pk, address))
                assert set(grant.can if grant else ()) == self.model.can(name, address), f"{name} in {address}"
        for address in ROOMS:
            if "write" in self.model.can("root", address):
                self.here.run(self._say(address))
        self.here.run(self._inspect())

    def _remember(self) -> None:
        self.history += [{}] * (self.step - len(self.history))
        able = {name: {room for room in EVERYWHERE if "read" in self.model.can(name, room)} for name in self.users}
        self.history.append(able)
        self.since += [datetime.now(UTC)] * (len(self.history) - len(self.since))
        self.step = len(self.history) - 1

    async def _inspect(self) -> None:
        for ear in [*self.ears]:
            if not await self._listens_on(ear):
                self.ears.remove(ear)
                await ear.client.close()
            for kind, data, meta in ear.client.events[ear.inspected :]:
                room = meta["room"]
                step = ear.since
                if kind == "chat.message":
                    step = max(step, int(data["message"].get("text", "said at 0").removeprefix("said at ")))
                if kind not in ("live.left", "live.cursor"):
                    able = any(room in able.get(ear.name, ()) for able in self.history[step:])
                    assert able, f"{ear.name} heard {kind} of {room} by {ear.client.transport}, at step {self.step}"
            self._notice(ear)
            ear.inspected = len(ear.client.events)
            ear.since = self.step
        await self._all_seats_are_rightful()

    def _notice(self, ear: Ear) -> None:
        """Each presence vector, and each person in it, is of a time when both might read the room.

        A client may read it steps after it was made; made it was within :data:`TOLD` of such a time.
        """
        names = {str(user.pk): name for name, user in self.users.items()}
        for kind, data, meta in ear.client.presence[ear.noticed :]:
            people = [person for key in ("people", "joined", "changed") for person in data.get(key, ())]
            made = datetime.fromisoformat(meta["at"])
            step = min(ear.since, max(0, bisect_right(self.since, made - TOLD) - 1))
            for name in [ear.name, *(names[person["user"]["id"]] for person in people)]:
                able = any(meta["room"] in able.get(name, ()) for able in self.history[step:])
                assert able, f"{ear.name} heard {kind} of {meta['room']} with {name}, at step {self.step}"
        ear.noticed = len(ear.client.presence)

    async def _all_seats_are_rightful(self) -> None:
        """Nobody stays who may not read the room, without a reader either."""
        tracker = self.hub.attendance
        assert isinstance(tracker, Tracker)
        await tracker._expel(None)  # as each renewal does, for what nobody tells of
        names = {user.pk: name for name, user in self.users.items()}

        def wrongful() -> list[tuple[str, str]]:
            seats = [(names[seat.user_id], seat.room.address) for seat in Seat.objects.select_related("room__tenant")]
            return [(name, address) for name, address in seats if not self.model.may_join(name, address)]

        patience = self.hub.loop.time() + PATIENCE
        while stay := await self.hub.database.work(wrongful):
            here = [(each, each.seats) for each in tracker._ledger.holdings.values()]
            assert self.hub.loop.time() < patience, f"{stay} stay, at step {self.step}: {tracker._polls}, {here}"
            await asyncio.sleep(0.02)  # its grace, and the next batch

    async def _listens_on(self, ear: Ear) -> bool:
        """Hear what has come; whether the connection stays."""
        left = {room for room in ear.client.places if room not in ear.joined}
        try:
            if ear.name in self.model.closed or left or not ear.joined:
                over = ear.name in self.model.closed or not self._logged_in(ear)
                await ear.client.until(lambda: not over and not left & ear.client.places.keys())
            return True
        except (Ended, TurnedAway, ConnectionClosed):
            assert not ear.joined, f"{ear.name} lost the connection with {ear.joined}"
            return False

    def _logged_in(self, ear: Ear) -> bool:
        return bool(ear.client.who.session == self._caller(ear.name).session)

    def _caller(self, name: str) -> Caller:
        return Caller(self.rest[name].client.cookies["sessionid"].value, "c" * 32)

    def _tenant(self, slug: str) -> Tenant:
        return Tenant.objects.get(slug=slug)

    def _room(self, address: str) -> Room:
        tenant, _, slug = address.partition("/")
        return Room.objects.select_related("tenant").get(tenant__slug=tenant, slug=slug)


@pytest.fixture
def here(transactional_db: None, settings: Any) -> Iterator[Here]:
    settings.PRESENCE = {"LEAVE_GRACE": 0.2, "FLUSH": 0.02}
    here = Here()
    yield here
    here.close()


def test_nothing_reaches_who_may_not_have_it(here: Here) -> None:
    Gate.here = here
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Gate,
        settings=conduct(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

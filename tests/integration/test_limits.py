"""Limits in a node: what floods is held back, what others have in common with it is shared in turns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from django.test import Client

from rooms import commands, conf, contract, metrics
from rooms.commands import Command, Repeated
from rooms.conf import Config
from rooms.contract import Refused
from rooms.limits import Amount
from rooms.models import Tenant
from rooms.node import pressure, running
from rooms.node.database import Database
from rooms.node.store import Store, _url
from rooms.node.writer import Writer
from rooms.services import tenants
from tests.support.servers import valkey
from tests.support.sockets import Socket
from tests.support.world import World


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets ``ROOMS_LIMITS`` for this process."""

    def set_to(limits: str) -> None:
        monkeypatch.setenv("ROOMS_LIMITS", limits)
        conf.site_limits.cache_clear()

    yield set_to
    monkeypatch.undo()
    conf.site_limits.cache_clear()


def send(world: World, name: str, text: str, room: str, over: Refused | None = None, id: str = "") -> Command:
    request = contract.request("chat.send", {"text": text}, room=room, id=id or contract.new_command_id())
    return Command(world.users[name].pk, request, over)


# --- remembered? → limits


@pytest.mark.django_db
def test_over_the_limit_an_answer_is_only_looked_up(world: World, key: str) -> None:
    late = Refused("rate_limited", "You send too many commands.")
    (first,) = commands.perform_many([send(world, "bob", "one", "acme/general", id=key)])
    again, other, new, stolen = commands.perform_many(
        [
            send(world, "bob", "one", "acme/general", late, id=key),
            send(world, "bob", "two", "acme/general", late, id=key),
            send(world, "bob", "three", "acme/general", late),
            send(world, "alice", "one", "acme/general", late, id=key),
        ]
    )
    assert isinstance(again, Repeated) and again == first
    assert isinstance(other, Refused) and other.code == "id_reused"
    assert new is late and stolen is late
    assert not commands.CommandResult.objects.exclude(command_id=key).exists()


@pytest.mark.django_db
def test_a_process_without_a_node_counts_writes_too(world: World, limit: Callable[[str], None], key: str) -> None:
    limit("writes_per_user=1/3")
    path = "tenants/acme/rooms/general/messages/"
    answers = [world.bob.post(path, {"text": "x"}, Idempotency_Key=key)]
    answers += [world.bob.post(path, {"text": "x"}) for _ in range(4)]
    assert [answer.status_code for answer in answers[:3]] == [201] * 3
    assert answers[-1].status_code == 429 and answers[-1].json()["code"] == "rate_limited"
    assert int(answers[-1].headers["Retry-After"]) >= 1
    again = world.bob.post(path, {"text": "x"}, Idempotency_Key=key)
    assert again.status_code == 201 and again.json()["id"] == answers[0].json()["id"]
    assert world.alice.post(path, {"text": "x"}).status_code == 201


@pytest.mark.django_db
def test_off_lifts_what_tenants_have_too_and_nonsense_is_passed_over(
    world: World, limit: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    tenants.update(world.acme, limits={"commands_per_user": "1/1"})
    Tenant.objects.filter(slug="globex").update(limits={"commands_per_user": "fast"})
    limit("off")
    assert tenants.limits() == {}
    limit("")
    found = tenants.limits()
    assert found.keys() == {"acme"} and found["acme"]["commands_per_user"] == Amount(1, 1)
    assert "the limits of the tenant globex" in caplog.text
    with pytest.raises(Refused, match="commands_per_user is a number"):
        tenants.update(world.acme, limits={"commands_per_user": "fast"})


# --- turns


@pytest_asyncio.fixture
async def database() -> AsyncIterator[Database]:
    database = Database(threads=2, control_threads=1)
    yield database
    await asyncio.to_thread(database.close)


@pytest.mark.django_db(transaction=True)
@pytest.mark.asyncio
async def test_a_tenant_that_floods_delays_another_by_a_batch(world: World, database: Database) -> None:
    writer = Writer(database, batch=10, batches=1, lanes=1)
    flood = [writer.submit(send(world, "alice", str(number), "acme/general")) for number in range(120)]
    friend = writer.submit(send(world, "bob", "me too", "acme/lobby"))
    other = writer.submit(send(world, "carol", "hello", "globex/general"))
    for waiting in (other, friend):
        assert isinstance(await waiting, bytes)
        assert sum(future.done() for future in flood) <= 30  # of what came before, a batch or two
    assert all(isinstance(outcome, bytes) for outcome in await asyncio.gather(*flood))
    await writer.drain()


@pytest.mark.django_db(transaction=True)
@pytest.mark.asyncio
async def test_what_waits_of_a_tenant_is_bounded(world: World, database: Database) -> None:
    writer = Writer(database, batch=10, batches=1, lanes=1, waiting=50)
    flood = [writer.submit(send(world, "alice", str(number), "acme/general")) for number in range(80)]
    other = writer.submit(send(world, "carol", "hello", "globex/general"))
    outcomes = await asyncio.gather(*flood)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert len(refused) == 30 and {(each.code, each.retry_after_ms) for each in refused} == {("unavailable", 1_000)}
    assert isinstance(await other, bytes)
    await writer.drain()


@pytest.mark.asyncio
async def test_tenants_have_turns_at_the_threads(database: Database) -> None:
    done: list[str] = []
    flood = [asyncio.create_task(database.work_for("acme", done.append, f"acme {number}")) for number in range(50)]
    other = asyncio.create_task(database.work_for("globex", done.append, "globex"))
    await asyncio.gather(*flood, other)
    assert done.index("globex") <= 4
    assert len(done) == 51


@pytest.mark.asyncio
async def test_a_thread_is_not_lost_with_who_waited_for_it(database: Database) -> None:
    tasks = [asyncio.create_task(database.work_for("acme", str, number)) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await asyncio.wait_for(asyncio.gather(*(database.work(int) for _ in range(4))), 20) == [0] * 4


# --- a socket


@pytest.fixture
def keys(world: World, settings: Any) -> dict[str, str]:
    """Session keys by name."""
    settings.ALLOWED_HOSTS = ["localhost"]
    found = {}
    for name in ("alice", "bob"):
        client = Client()
        client.force_login(world.users[name])
        found[name] = str(client.session.session_key)
    return found


@pytest.mark.django_db(transaction=True)
@pytest.mark.asyncio
async def test_who_presses_on_is_closed_and_others_are_not(
    keys: dict[str, str], limit: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit("commands_per_user=5/5")
    monkeypatch.setattr(pressure, "LONG", 0.3)  # ten seconds on a site
    running.start()
    try:
        calm, flooding = Socket(keys["bob"]), Socket(keys["alice"])
        for socket in (calm, flooding):
            assert (await socket.open())[0] == "live.hello"
        typing = ["chat.typing", {"typing": True}, {"room": "acme/general"}]
        for _ in range(30):
            flooding.send(*[typing] * 20)
        bye = await flooding.vector("live.bye")
        assert bye[1] == {"code": 4429, "reason": "too much for too long", "retry_after_ms": 30_000}
        assert (await calm.ask("chat.send", {"text": "hi"}))[0] == "live.ok"
        for socket in (calm, flooding):
            await socket.close()
        assert flooding.closed == 4429
    finally:
        await running.stop()


# --- the store


@pytest.mark.asyncio
async def test_a_store_that_dies_is_counted_logged_once_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(publish_timeout=0.5, breaker_failures=2, breaker_pause=0.1)
    failed, skipped = (metrics.limit_store.labels(outcome) for outcome in ("failed", "not_tried"))
    before = failed._value.get(), skipped._value.get()
    with valkey() as server:
        store = Store([server.connection_url], config)
        try:
            assert [await store.add("k", 3, 60), await store.add("k", 4, 60), await store.get("k")] == [3, 7, 7]
            server.stop()
            with caplog.at_level(logging.INFO, "rooms.node.store"):
                assert [await store.add("k", 1, 60) for _ in range(4)] == [None] * 4
                assert (failed._value.get() - before[0], skipped._value.get() - before[1]) == (2, 2)
                server.start()
                async with asyncio.timeout(60):
                    while await store.add("k", 1, 60) is None:
                        await asyncio.sleep(0.05)
            assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        finally:
            await store.close()


def test_the_layers_hosts_are_the_stores() -> None:
    assert _url("redis://one:6379/2") == "redis://one:6379/2"
    assert _url(("one", 6379)) == "redis://one:6379"
    assert _url({"address": "rediss://one"}) == "rediss://one"
    assert _url("unix:///run/valkey.sock?db=1") == "redis+unix:///run/valkey.sock?db=1"
    assert _url({"sentinels": [("one", 26379)], "master_name": "main"}) == ""

"""Commands: remembered? → limits → grant → effect → answer. The same for a socket, a POST and a REST write.

*Effects once.* An effect's id is claimed by inserting its :class:`CommandResult` in the effect's own transaction,
before the room locks: whoever sends the same id at the same time waits there and gets the first answer. Many commands
go into one transaction (bulk statements, no savepoint each: 5 to 10 times the throughput); when that fails, nothing of
it stays and its commands run one by one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import InterfaceError, OperationalError, connection

from rooms import access, audit, contract, log, metrics
from rooms.conf import config
from rooms.contract import Call, Refused, Request, not_found
from rooms.delivery.frames import encode
from rooms.models import CommandResult, Room
from rooms.rows import by_key, insert_new, table

logger = logging.getLogger(__name__)

ATTEMPTS = 4  # at a transaction that another one's locks made impossible
DEADLOCK, SERIALIZATION, LOCK_TIMEOUT = "40P01", "40001", "55P03"


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """A request and who makes it: the user's primary key, or None for nobody.

    :param over: for somebody who is over a limit: the answer that was given before is given again, and this is what a
        new command gets.
    :param connection: over which it came, as its client has it: it proves nothing.
    """

    user: Any
    request: Request
    over: Refused | None = None
    origin: audit.Origin = field(default_factory=audit.origin)
    connection: str | None = None


class Postponed:
    """Another transaction holds the room: to be tried again, patiently."""


class Repeated(bytes):
    """An answer that was given before."""


POSTPONED: Final = Postponed()
Answer = bytes  # JSON
Outcome = Answer | Refused | Postponed


def perform(user: Any, name: str, data: Any, *, room: str, id: str | None = None) -> Answer:
    """Do one command and give its answer, as JSON. Synchronous; for views and for a host's own code.

    :param user: the primary key.
    :param data: the command's Struct, or a dict of its shape.
    :param room: the address.
    :param id: without one, a repeat is another effect.
    :raises Refused: with the code that the same command would get over a socket.
    """
    (outcome,) = perform_many([command(user, name, data, room=room, id=id)])
    return answer(outcome)


def command(user: Any, name: str, data: Any, *, room: str, id: str | None = None) -> Command:
    """:raises Refused: as :func:`rooms.contract.request` does."""
    return Command(user, contract.request(name, data, room=room, id=id or contract.new_command_id()))


def answer(outcome: Outcome) -> Answer:
    """The answer in an outcome that was not postponed; raises it when it is a refusal."""
    if isinstance(outcome, Refused):
        raise outcome
    assert isinstance(outcome, bytes)
    return outcome


def perform_many(commands: Sequence[Command], *, skip_locked: bool = False) -> list[Outcome]:
    """Do these commands in this order, in one transaction where that works; one outcome each.

    With ``skip_locked``, a command whose room another transaction holds is :data:`POSTPONED`; else it waits for
    ``lock_timeout`` and is then ``unavailable``.
    """
    outcomes = _persist(commands, skip_locked)
    for command, outcome in zip(commands, outcomes, strict=True):
        if not isinstance(outcome, Postponed):
            metrics.commands.labels(command.request.type.name, _label(outcome)).inc()
    return outcomes


def forget(before: Any) -> int:
    """Drop the answers given before this time; how many there were."""
    return CommandResult.objects.filter(created_at__lt=before).delete()[0]


def _persist(commands: Sequence[Command], skip_locked: bool) -> list[Outcome]:
    """Try the transaction; a deadlock tries again, a failure of one command does not take the others down."""
    for attempt in range(ATTEMPTS):
        try:
            return _transact(commands, skip_locked)
        except (OperationalError, InterfaceError) as error:
            state = getattr(error.__cause__, "sqlstate", None)
            if state in (DEADLOCK, SERIALIZATION) and attempt < ATTEMPTS - 1:
                metrics.transaction_retries.inc()
                continue
            rooms = {command.request.room for command in commands}
            if state == LOCK_TIMEOUT and len(commands) > 1 and (skip_locked or len(rooms) > 1):
                break  # else they all waited for the same, and need not do so again one after the other
            logger.warning("%d commands could not be committed: %s", len(commands), error)
            return [Refused("unavailable", "The database cannot take this now.")] * len(commands)
        except Exception:
            if len(commands) > 1:
                logger.info("a batch of %d failed and runs one by one", len(commands), exc_info=True)
                break
            logger.exception("%s failed", commands[0].request.type.name)
            return [Refused("unavailable", "This could not be done now.")]
    return _one_by_one(commands, skip_locked)


def _one_by_one(commands: Sequence[Command], skip_locked: bool) -> list[Outcome]:
    """Each in a transaction of its own. Behind one that is postponed the others of its room are too: order is kept."""
    outcomes: list[Outcome] = []
    held: set[str] = set()
    for command in commands:
        outcome: Outcome = POSTPONED if command.request.room in held else _persist([command], skip_locked)[0]
        if isinstance(outcome, Postponed):
            held.add(command.request.room)
        outcomes.append(outcome)
    return outcomes


def _transact(commands: Sequence[Command], skip_locked: bool) -> list[Outcome]:
    outcomes: dict[Command, Outcome] = {}
    with log.batch() as batch:
        if connection.vendor == "postgresql":  # for ids and for rooms that an effect locks, with skip_locked too
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{config().lock_timeout * 1000:.0f}"])
        claims = _claim(commands, batch, outcomes)
        open_ones = [command for command in commands if command not in outcomes and command not in claims.repeats]
        _run(open_ones, batch, skip_locked, outcomes)
        for repeat, first in claims.repeats.items():
            outcome = outcomes[first]
            outcomes[repeat] = Repeated(outcome) if isinstance(outcome, bytes) else outcome
        batch.flush()
        _settle(claims.rows, outcomes)
    return [outcomes[command] for command in commands]


# --- remembered? -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Claims:
    rows: dict[Command, CommandResult]  # that are ours
    repeats: dict[Command, Command]  # the same id again within these commands


def _claim(commands: Sequence[Command], batch: log.Batch, outcomes: dict[Command, Outcome]) -> _Claims:
    """Claim the ids, in order of (id, user) so that transactions do not deadlock; answer what was answered before."""
    claims = _Claims({}, {})
    firsts: dict[tuple[str, Any], Command] = {}
    recalled: list[Command] = []
    for command in commands:
        if not command.request.type.remembered:
            continue
        if command.user is None:
            outcomes[command] = Refused("unauthenticated", "Log in to do this.")
            continue
        assert command.request.id is not None
        key = (command.request.id, command.user)
        if command.over is not None and key not in firsts:
            recalled.append(command)
            continue
        first = firsts.setdefault(key, command)
        if first is command:
            claims.rows[command] = CommandResult(
                command_id=command.request.id,
                user_id=command.user,
                fingerprint=_fingerprint(command.request),
                answer="",
                created_at=batch.now,
            )
        elif _fingerprint(first.request) == _fingerprint(command.request):
            claims.repeats[command] = first
        else:
            outcomes[command] = _reused()
    if not (claims.rows or recalled):
        return claims
    rows = sorted(claims.rows.values(), key=lambda row: (row.command_id, str(row.user_id)))
    ours = insert_new(rows)
    taken = [row.command_id for row in rows if row.pk not in ours]
    held = _held(taken + [str(command.request.id) for command in recalled])
    for command, row in list(claims.rows.items()):
        if row.pk not in ours:
            del claims.rows[command]
            outcomes[command] = _again(held[row.command_id, row.user_id], command)
    for command in recalled:
        found = held.get((str(command.request.id), command.user))
        assert command.over is not None
        outcomes[command] = command.over if found is None else _again(found, command)
    return claims


def _held(ids: list[str]) -> dict[tuple[str, Any], CommandResult]:
    """By id and user, what is remembered under these ids."""
    if not ids:
        return {}
    return {(row.command_id, row.user_id): row for row in CommandResult.objects.filter(command_id__in=ids)}


def _again(held: CommandResult, command: Command) -> Outcome:
    """What was answered the first time."""
    if held.fingerprint != _fingerprint(command.request):
        return _reused()
    return Repeated(held.answer.encode())


def _settle(rows: dict[Command, CommandResult], outcomes: dict[Command, Outcome]) -> None:
    """Keep the answers of what was done, and nothing of what was refused or put off."""
    answered, given_up = [], []
    for command, row in rows.items():
        outcome = outcomes[command]
        if isinstance(outcome, bytes):
            answered.append((outcome.decode(), row))
        else:
            given_up.append(row.pk)
    if given_up:
        CommandResult.objects.filter(pk__in=given_up).delete()
    if answered:  # bulk_update would build a CASE of them all: slower than the statements
        key = CommandResult._meta.pk
        sql = f"UPDATE {table(CommandResult)} SET answer = %s WHERE id = %s"  # noqa: S608 the name is the model's own
        values = [(answer, key.get_db_prep_value(row.pk, connection)) for answer, row in answered]
        with connection.cursor() as cursor:
            if len(values) == 1:  # the driver makes ready for many
                cursor.execute(sql, values[0])
            else:
                cursor.executemany(sql, values)


def _fingerprint(request: Request) -> str:
    return blake2b(encode((request.type.name, request.room, request.data)), digest_size=32).hexdigest()


def _reused() -> Refused:
    return Refused("id_reused", "This id was used for something else.")


# --- grant → effect --------------------------------------------------------------------------------------------------


def _run(commands: Sequence[Command], batch: log.Batch, skip_locked: bool, outcomes: dict[Command, Outcome]) -> None:
    if not commands:
        return
    asks = [(command.user, command.request.room) for command in commands]
    grants = access.authorize_many(asks)
    locks = {
        grants[ask].room
        for command, ask in zip(commands, asks, strict=True)
        if ask in grants and command.request.type.right in grants[ask].can and not command.request.type.transient
    }
    rooms = batch.lock(locks, skip_locked=skip_locked)
    if locks and connection.features.has_select_for_update:  # else the whole database was locked before we asked
        grants = access.authorize_many(asks)
    rooms |= _unlocked(grants, set(rooms) | locks)
    people = by_key(get_user_model(), {command.user for command in commands if command.user is not None})
    changes = access.changes()
    for command, ask in zip(commands, asks, strict=True):
        if access.changes() != changes:  # by a command before this one
            changes, grants = access.changes(), access.authorize_many(asks)
            rooms |= _unlocked(grants, set(rooms) | locks)
        outcomes[command] = _effect(command, grants.get(ask), rooms, people)


def _unlocked(grants: dict[access.Ask, access.Grant], known: set[UUID]) -> dict[UUID, Room]:
    """Rooms that need no lock (typing), or to which a right came when it was too late to lock them with the others."""
    missing = {grant.room for grant in grants.values()} - known
    return {room.pk: room for room in access.rooms_by_id(missing)} if missing else {}


def _effect(command: Command, grant: access.Grant | None, rooms: Any, people: Any) -> Outcome:
    kind = command.request.type
    try:
        if command.user is None:
            raise Refused("unauthenticated", "Log in to do this.")
        if grant is None:
            raise not_found()
        grant.require(kind.right)
        if grant.room not in rooms:
            return POSTPONED
        call = Call(people[command.user], rooms[grant.room], grant.can, command.request.id, command.connection)
        with log.batch(), audit.during(lambda: command.origin):
            answer = kind.effect(call, command.request.data)
        return b"{}" if answer is None else encode(answer)
    except Refused as refused:
        return refused


def _label(outcome: Outcome) -> str:
    return outcome.code if isinstance(outcome, Refused) else "ok"

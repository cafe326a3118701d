"""Commands that have no answer yet. Pure: time and chance come in as arguments, seconds of any steady clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rooms.client.errors import LiveError
from rooms.client.retry import backoff

AGAIN = frozenset({"unavailable", "rate_limited"})  # said again until the command's time is over
LEAST = 0.1  # seconds before that, when the server does not say
MAX_AGE = 20 * 3600.0  # seconds; the server remembers an answer for 24 hours


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a command is tried, in seconds, by its name; None: for :data:`MAX_AGE`."""

    default: float | None = 60.0
    by_name: Mapping[str, float | None] = field(default_factory=lambda: {"chat.typing": 5.0, "chat.read": 20.0})

    def of(self, name: str) -> float:
        seconds = self.by_name.get(name, self.default)
        return MAX_AGE if seconds is None else min(seconds, MAX_AGE)


@dataclass(eq=False, slots=True)
class Command:
    """``settle`` is called once, with the answer or a :class:`LiveError`.

    :ivar give_up: when it is tried no longer.
    :ivar tries: how often it was said.
    :ivar said: on this connection, and not answered.
    :ivar trouble: what became of it the last time.
    """

    id: str
    vector: bytes
    give_up: float
    settle: Callable[[Any], object]
    tries: int = 0
    said: bool = False
    trouble: str = ""


class Outbox:
    """Says commands in their order, each until it is answered, and settles each once.

    What was under way when a connection was lost is said again, in its old place, under its id: the server does it
    once. While one was refused for now, none goes; those that were under way with it may overtake it.
    """

    def __init__(self) -> None:
        self._commands: dict[str, Command] = {}
        self._hold = 0.0  # when something may be said again
        self._failures = 0  # in a row

    def __len__(self) -> int:
        return len(self._commands)

    def __contains__(self, command: object) -> bool:
        return isinstance(command, Command) and self._commands.get(command.id) is command

    def add(self, command: Command) -> None:
        """:raises ValueError: a command with this id is under way."""
        if command.id in self._commands:
            raise ValueError(f"a command with the id {command.id!r} is under way")
        self._commands[command.id] = command

    def withdraw(self, command: Command) -> None:
        """Say it no more. It may have happened."""
        if command in self:
            del self._commands[command.id]

    def lost(self) -> None:
        """The connection is gone, and with it the answers."""
        for command in self._commands.values():
            if command.said:
                command.said, command.trouble = False, "the connection was lost"

    def take(self, now: float, max_bytes: int) -> list[Command]:
        """What is to be said next in one frame of at most so many bytes. What is larger by itself is ``too_large``."""
        batch: list[Command] = []
        size = 5  # the frame's own bytes: two in JSON, at most five in MessagePack
        if now < self._hold:
            return batch
        for command in list(self._commands.values()):
            if command.said:
                continue
            if size + len(command.vector) > max_bytes:
                if batch:
                    break
                detail = f"A frame has at most {max_bytes} bytes."
                self._settle(command, LiveError("too_large", detail, id=command.id))
                continue
            size += len(command.vector) + 1
            command.said = True
            command.tries += 1
            batch.append(command)
        return batch

    def answered(self, id: str, ok: bool, data: Any, now: float, chance: float) -> bool:
        """Whether it was a command's answer; of one that is withdrawn or settled it is none.

        :param chance: from 0 to 1.
        """
        command = self._commands.get(id)
        if command is None:
            return False
        if ok:
            self._failures = 0
            self._settle(command, data)
            return True
        error = LiveError.from_data(data, id)
        if error.code in AGAIN:
            self.failed([command], now, chance, error.retry_after, error.detail, error)
        else:
            self._settle(command, error)
        return True

    def failed(
        self,
        commands: Iterable[Command],
        now: float,
        chance: float,
        retry_after: float | None = None,
        reason: str = "",
        error: LiveError | None = None,
    ) -> None:
        """These are to be said again, after a while; one whose time is over by then has the error, if there is one."""
        wait = LEAST + backoff(self._failures, chance) if retry_after is None else retry_after
        self._failures += 1
        self._hold = max(self._hold, now + wait)
        for command in commands:
            command.said = False
            command.trouble = reason
            if error is not None and self._hold >= command.give_up:
                self._settle(command, error)

    def refuse(self, commands: Iterable[Command], error: Callable[[str], LiveError]) -> None:
        """These are over; each has the error that is made for its id."""
        for command in list(commands):
            self._settle(command, error(command.id))

    def close(self, error: Callable[[str], LiveError]) -> None:
        """All are over."""
        self.refuse(list(self._commands.values()), error)

    def expire(self, now: float) -> None:
        """Those whose time is over have ``timeout``."""
        for command in list(self._commands.values()):
            if now >= command.give_up:
                trouble = f" ({command.trouble})" if command.trouble else ""
                detail = f"There was no answer in time{trouble}; the command may have happened."
                self._settle(command, LiveError("timeout", detail, temporary=True, id=command.id))

    def next_due(self, now: float) -> float | None:
        """When :meth:`take` has something; None for never."""
        if all(command.said for command in self._commands.values()):
            return None
        return max(now, self._hold)

    def next_expiry(self) -> float | None:
        """When :meth:`expire` has something to do."""
        return min((command.give_up for command in self._commands.values()), default=None)

    def _settle(self, command: Command, outcome: Any) -> None:
        if self._commands.pop(command.id, None) is not None:
            command.settle(outcome)

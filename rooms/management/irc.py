"""The format of IRC logs that ``replay`` reads. Pure: text in, lines out.

::

    [09:03] <nick> text                        somebody says something
    [09:03]  * nick does something             somebody does something (one space or two)
    === nick  has joined #room                 somebody comes; ``nick  [n=user@host]  has joined`` too
    === nick  has left #room ["why"]           somebody goes
    === old is now known as new                somebody changes their nick
    === anything else                          a notice

Lines end with ``\\n`` and with nothing else: form feeds, carriage returns and U+2028 are text. The time is a wall clock
of minutes, of 12 hours or of 24; lines without one share the minute of the line before them.

A nick has no space in it (RFC 2812, section 2.3.1). The program that wrote the older logs puts one behind every ``]``
of a nick (``<John[1] >``), which is taken out again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NICK_MAX = 73  # bytes: twice that in hex, with "irc-" before it, is a username of 150 characters
_CLOCK = 720  # minutes on the face of a clock
_SET_BACK = 60  # minutes: a fall of less is a clock that was set back, not the next half day


@dataclass(frozen=True, slots=True)
class Said:
    """``text`` is never empty and exact to the byte. ``minute`` is the clock's, 0 to 1439."""

    minute: int
    nick: str
    text: str


@dataclass(frozen=True, slots=True)
class Acted:
    """``/me text``"""

    minute: int
    nick: str
    text: str


@dataclass(frozen=True, slots=True)
class Joined:
    nick: str


@dataclass(frozen=True, slots=True)
class Left:
    nick: str


@dataclass(frozen=True, slots=True)
class Renamed:
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A line of no other kind, whole: what the server says, a mode, an empty line.

    The oldest logs write ``/me sulks`` as ``=== nick sulks``, which nothing tells from what the server says.
    """

    line: str


Line = Said | Acted | Joined | Left | Renamed | Notice

_TIME = r"\[([01][0-9]|2[0-3]):([0-5][0-9])\] "
_WORD = r"[^\s<>\0]"
_NICK = rf"({_WORD}+(?:(?<=\]) {_WORD}*)*)"
_SAID = re.compile(rf"{_TIME}<{_NICK}> (.+)\Z", re.DOTALL)
_ACTED = re.compile(rf"{_TIME} ?\* ({_WORD}+) (.+)\Z", re.DOTALL)  # of newer logs, without the spaces
_HOST = r"(?: {1,2}\[[^\s\]]*@[^\s\]]*\])?"
_JOINED = re.compile(rf"=== {_NICK}{_HOST} {{1,2}}has joined [#&]\S+\Z")
_LEFT = re.compile(rf"=== {_NICK}{_HOST} {{1,2}}has left [#&]\S+(?: \[.*\])?\Z", re.DOTALL)
_RENAMED = re.compile(rf"=== {_NICK} is now known as {_NICK}\Z")


def parse(text: str) -> list[Line]:
    """Every line of a log; the first of the list is line 1. What is of no known kind is a :class:`Notice`."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [_parse(line) for line in lines]


def render(lines: Sequence[Line]) -> str:
    """The log of these lines: :func:`parse` gives them back."""
    return "".join(f"{_render(line)}\n" for line in lines)


def timed(lines: Sequence[Line]) -> Iterator[tuple[float, Line]]:
    """Each line with its minutes since the beginning: the lines of one minute are spread evenly over it.

    They never fall. A clock that goes from 12:59 to 01:00, or from 23:59 to 00:00, went on by one minute.
    """
    minutes = list(_elapsed(lines))
    shares = Counter(minutes)
    places: Counter[int] = Counter()
    for minute, line in zip(minutes, lines, strict=True):
        yield minute + places[minute] / shares[minute], line
        places[minute] += 1


def nicks(lines: Sequence[Line]) -> list[str]:
    """Everybody who appears, each once, in order of appearance. Nicks that differ in case only are two people."""
    found: dict[str, None] = {}
    for line in lines:
        match line:
            case Renamed(old, new):
                found |= {old: None, new: None}
            case Notice():
                pass
            case _:
                found[line.nick] = None
    return list(found)


def spoken(line: Line) -> tuple[str, str] | None:
    """Who says what in a chat that has text and nothing else; an action as the log has it, ``* nick text``."""
    match line:
        case Said(_, nick, text):
            return nick, text
        case Acted(_, nick, text):
            return nick, f"* {nick} {text}"
        case _:
            return None


def _parse(line: str) -> Line:
    if match := _SAID.match(line):
        hour, minute, nick, text = match.groups()
        if (clean := _clean(nick)) is not None:
            return Said(int(hour) * 60 + int(minute), clean, text)
    elif match := _ACTED.match(line):
        hour, minute, nick, text = match.groups()
        if (clean := _clean(nick)) is not None:
            return Acted(int(hour) * 60 + int(minute), clean, text)
    elif match := _JOINED.match(line):
        if (clean := _clean(match[1])) is not None:
            return Joined(clean)
    elif match := _LEFT.match(line):
        if (clean := _clean(match[1])) is not None:
            return Left(clean)
    elif match := _RENAMED.match(line):
        old, new = _clean(match[1]), _clean(match[2])
        if old is not None and new is not None:
            return Renamed(old, new)
    return Notice(line)


def _clean(nick: str) -> str | None:
    nick = nick.replace("] ", "]")
    return nick if len(nick.encode()) <= NICK_MAX else None


def _render(line: Line) -> str:
    match line:
        case Said(minute, nick, text):
            return f"[{minute // 60:02}:{minute % 60:02}] <{nick}> {text}"
        case Acted(minute, nick, text):
            return f"[{minute // 60:02}:{minute % 60:02}]  * {nick} {text}"
        case Joined(nick):
            return f"=== {nick}  has joined #irc"
        case Left(nick):
            return f"=== {nick}  has left #irc []"
        case Renamed(old, new):
            return f"=== {old} is now known as {new}"
        case Notice(text):
            return text


def _elapsed(lines: Sequence[Line]) -> Iterator[int]:
    """The minutes since the first line that has a time."""
    elapsed, clock = 0, None
    for line in lines:
        if isinstance(line, Said | Acted):
            if clock is not None and line.minute >= clock:
                elapsed += line.minute - clock
            elif clock is not None:
                on = (line.minute - clock) % _CLOCK
                elapsed += on if on <= _CLOCK - _SET_BACK else 0
            clock = line.minute
        yield elapsed

"""``manage.py replay FILE --room acme/ubuntu``: a real chat log, spoken through the public API."""

from __future__ import annotations

import asyncio
import os
import re
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from rooms.contract import SLUG_MAX, SLUG_PATTERN, TEXT_MAX, Refused
from rooms.management import cast, irc
from rooms.management.cast import Voice
from rooms.management.site import NotSaid, Site
from rooms.models import Room

HELP = """\
Play an IRC log into a room of a running site, through its public API.

Everybody in the log becomes a user of the site without a usable password, with the nick as the full name, and a
member of the room's tenant. The room is made when it is not there, and so is its tenant. Every line is posted by its
own speaker, in order, each exactly once: the next line goes when the last was answered, and what fails is sent again
under the same key. "* nick does something" is posted as it stands.

Passed over: what the server says ("=== mode/..."), empty lines, lines of no known kind; the summary counts them.
Whoever is in the channel is only counted for now: nobody sees people come and go, and they stay members of the
tenant afterwards. A nick that speaks without having joined joins.

This command needs the site's own settings (DATABASE_URL, SECRET_KEY): it begins the speakers' sessions itself."""

EVERY = 500  # lines between two lines of progress where nobody watches a terminal


class Command(BaseCommand):
    help = HELP

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        port = os.environ.get("PORT", "8000")
        parser.add_argument("file", type=Path, help="the log; UTF-8, lines end with \\n")
        parser.add_argument("--room", required=True, help="<tenant>/<room>, as in acme/ubuntu")
        parser.add_argument(
            "--speed", type=float, default=60.0, help="minutes of the log a minute; 0: as fast as it goes (default: 60)"
        )
        parser.add_argument("--url", default=f"http://127.0.0.1:{port}", help="of the site (default: %(default)s)")
        parser.add_argument("--limit", type=int, help="read this many lines of the log and no more")
        parser.add_argument("--owner", metavar="USERNAME", help="who owns the tenant when it has to be made")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant, room = _address(options["room"])
        if urlsplit(options["url"]).scheme not in ("http", "https") or not urlsplit(options["url"]).netloc:
            raise CommandError(f"--url is the address of a site, as in http://127.0.0.1:8000, not {options['url']!r}.")
        if not options["speed"] >= 0:
            raise CommandError("--speed is 0 or more.")
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError("--limit is 1 or more.")
        lines = _lines(options["file"])[: options["limit"]]
        spoken = [speech for line in lines if (speech := irc.spoken(line))]
        if not spoken:
            raise CommandError(f"Nobody says anything in {options['file']}: is it an IRC log?")
        owner = _owner(options["owner"])
        _reach(Site(options["url"], tenant, room))
        people = self._cast(cast.place(tenant, room, owner=owner), lines)
        speakers = list(dict.fromkeys(nick for nick, _ in spoken))
        voices = dict(zip(speakers, cast.log_in(people[nick] for nick in speakers), strict=True))
        progress = Progress(self.stdout, len(spoken))
        play = Play(Site(options["url"], tenant, room), voices, progress, speed=options["speed"])
        try:
            asyncio.run(play.perform(lines))
        except NotSaid as error:
            raise CommandError(f"Line {play.line}: {error} {progress.done} lines were said.") from error
        except KeyboardInterrupt:
            raise CommandError(f"Stopped; {progress.done} lines were said.") from None
        finally:
            progress.end()
            cast.log_out(voices.values())
        self.stdout.write(self.style.SUCCESS(play.summary(options["room"])))

    def _cast(self, room: Room, lines: Sequence[irc.Line]) -> dict[str, Any]:
        """The user of each nick, admitted to the room; those who only come and go, too."""
        people = cast.accounts(irc.nicks(lines))
        try:
            cast.admit(room, people.values())
        except Refused as refused:
            raise CommandError(refused.detail) from refused
        return people


class Play:
    """One run through a log."""

    def __init__(self, site: Site, voices: dict[str, Voice], progress: Progress, *, speed: float) -> None:
        self.line = 0  # of the log, from 1
        self.here: set[str] = set()  # nicks in the channel now
        self.most = 0  # of them at one time
        self.passed_over = 0
        self._site = site
        self._voices = voices
        self._progress = progress
        self._speed = speed

    async def perform(self, lines: Sequence[irc.Line]) -> None:
        """:raises NotSaid: at :attr:`line`; nothing after it was said."""
        clock = asyncio.get_running_loop().time
        start = clock()
        async with self._site:
            for self.line, (minutes, line) in enumerate(irc.timed(lines), start=1):
                if self._speed:
                    await asyncio.sleep(max(0.0, start + minutes * 60 / self._speed - clock()))
                await self._act(line)
                self.most = max(self.most, len(self.here))

    async def _act(self, line: irc.Line) -> None:
        if speech := irc.spoken(line):
            await self._say(*speech)
        match line:
            case irc.Joined(nick):
                self.here.add(nick)
            case irc.Left(nick):
                self.here.discard(nick)
            case irc.Renamed(old, new):
                self.here.discard(old)
                self.here.add(new)
            case irc.Notice():
                self.passed_over += 1

    async def _say(self, nick: str, text: str) -> None:
        self.here.add(nick)
        await self._site.say(self._voices[nick], text)
        self._progress.step()

    def summary(self, room: str) -> str:
        extra = [f"sent again {self._site.retries} times"] if self._site.retries else []
        extra += [f"{self.passed_over} lines passed over"] if self.passed_over else []
        return "; ".join(
            [f"{room}: {self._progress.figures()}", f"{len(self._voices)} people spoke, {self.most} were there", *extra]
        )


class Progress:
    """Lines said, per second, and since when: one line that is rewritten on a terminal, else one every 500 lines."""

    def __init__(self, out: OutputWrapper, total: int) -> None:
        self.done = 0
        self._total = total
        self._out = out
        self._live = out.isatty()
        self._start = self._shown = time.monotonic()

    def step(self) -> None:
        self.done += 1
        now = time.monotonic()
        if self._live and now - self._shown >= 0.1:
            self._shown = now
            self._write(f"\r\x1b[K{self.figures()}")
        elif not self._live and self.done % EVERY == 0:
            self._write(f"{self.figures()}\n")

    def end(self) -> None:
        if self._live:
            self._write("\r\x1b[K")

    def figures(self) -> str:
        elapsed = time.monotonic() - self._start
        pace = self.done / elapsed if elapsed else 0
        return f"{self.done} of {self._total} lines said, {pace:.0f} a second, {elapsed:.1f} s"

    def _write(self, text: str) -> None:
        self._out.write(text, ending="")
        self._out.flush()


def _address(text: str) -> tuple[str, str]:
    tenant, slash, room = text.partition("/")
    for slug in (tenant, room):
        if not slash or not re.match(SLUG_PATTERN, slug) or len(slug) > SLUG_MAX:
            raise CommandError(f"--room is <tenant>/<room> in small letters, digits, - and _, not {text!r}.")
    return tenant, room


def _lines(file: Path) -> list[irc.Line]:
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8 at byte {error.start}.") from error
    lines = irc.parse(text)
    for number, line in enumerate(lines, start=1):
        _, text = irc.spoken(line) or ("", "")
        if len(text) > TEXT_MAX or "\0" in text:
            raise CommandError(f"Line {number} of {file} cannot be said: U+0000, or above {TEXT_MAX} characters.")
    return lines


def _owner(username: str | None) -> Any:
    if username is None:
        return None
    users = get_user_model()
    user = users._default_manager.filter(**{users.USERNAME_FIELD: username}).first()
    if user is None:
        raise CommandError(f"There is no user {username!r}.")
    return user


def _reach(site: Site) -> None:
    async def greet() -> None:
        async with site:
            await site.greet()

    try:
        asyncio.run(greet())
    except NotSaid as error:
        raise CommandError(str(error)) from error

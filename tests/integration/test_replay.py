"""A chat log through the public API of the real site: every line is heard, once, in order, to the byte."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper

from rooms import access, services
from rooms.contract import Part, Role, Visibility
from rooms.management import cast, irc
from rooms.management.cast import Voice
from rooms.management.commands.replay import Play, Progress
from rooms.models import Membership, Participant, Room, Tenant
from tests.support.sites import ROOT, Site

SAMPLE = ROOT / "tests" / "data" / "irc-sample.txt"
ACCEPTANCE = ROOT / "tests" / "acceptance" / "replay_all.py"


# --- the whole way ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 2])
def test_every_reader_hears_every_line(live_site: Callable[..., Site], nodes: int) -> None:
    site = live_site(nodes=nodes)
    urls = [argument for node in site.nodes for argument in ("--url", node.url)]
    done = subprocess.run(
        [sys.executable, str(ACCEPTANCE), str(SAMPLE.parent), *urls, "--readers", "4"],
        cwd=ROOT,
        env=site.env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "48 messages, 192 deliveries" in done.stdout
    assert "Every reader has every line, once, in order, to the byte." in done.stdout


def test_lost_answers_double_nothing(live_site: Callable[..., Site]) -> None:
    site = live_site()
    with forgetful_proxy(site.url) as (url, lost):
        output = site.manage("replay", str(SAMPLE), "--room", "acme/lossy", "--speed", "0", "--url", url)
    assert len(lost) > 5
    assert "48 of 48 lines said" in output
    assert f"sent again {len(lost)} times" in output
    lines = irc.parse(SAMPLE.read_bytes().decode())
    assert messages(site, "acme", "lossy") == [speech for line in lines if (speech := irc.spoken(line))]


def test_it_stops_at_the_line_that_is_refused(live_site: Callable[..., Site]) -> None:
    site = live_site(demo=True)
    with pytest.raises(AssertionError, match=r"Line 2: .* refused it: forbidden: You may not do this here\. 0 lines"):
        site.manage("replay", str(SAMPLE), "--room", "acme/announcements", "--speed", "0", "--url", site.url)
    assert messages(site, "acme", "announcements") == []


@contextmanager
def forgetful_proxy(url: str) -> Iterator[tuple[str, list[str]]]:
    """Passes requests on, and one answer in four gets lost; gives its address and what was lost."""
    dice, lost = random.Random(7), []
    upstream = httpx.Client(base_url=url, trust_env=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name not in ("Connection", "Host")}
            answer = upstream.request(self.command, self.path, content=body, headers=headers)
            if self.command == "POST" and dice.random() < 0.25:
                lost.append(body.decode())
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", lost
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        upstream.close()


def messages(site: Site, tenant: str, room: str) -> list[tuple[str, str]]:
    """What was said in a room, from its beginning."""
    program = (
        "import json; from rooms.models import Message; "
        f"rows = Message.objects.filter(room__tenant__slug={tenant!r}, room__slug={room!r}).order_by('seq'); "
        "print(json.dumps([(row.author.get_full_name(), row.text) for row in rows.select_related('author')]))"
    )
    output = site.manage("shell", "--no-imports", "--verbosity", "0", "--command", program)
    return [(name, text) for name, text in httpx.Response(200, text=output.splitlines()[-1]).json()]


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": "no-such.txt"}, "no-such.txt cannot be read: No such file or directory."),
        ({"file": "."}, "cannot be read: Is a directory"),
        ({"file": __file__}, "Nobody says anything in"),
        ({"room": "acme"}, "--room is <tenant>/<room>"),
        ({"room": "acme/"}, "--room is <tenant>/<room>"),
        ({"room": "acme/~all"}, "--room is <tenant>/<room>"),
        ({"room": "acme/general~mods"}, "--room is <tenant>/<room>"),
        ({"room": "acme/a/b"}, "--room is <tenant>/<room>"),
        ({"room": "acme/" + "x" * 51}, "--room is <tenant>/<room>"),
        ({"speed": -1.0}, "--speed"),
        ({"speed": float("nan")}, "--speed"),
        ({"limit": 0}, "--limit"),
        ({"url": "somewhere"}, "--url"),
        ({"url": "ftp://site.example"}, "--url"),
        ({"url": "http://127.0.0.1:9"}, "does not answer"),  # the port of discard
        ({"url": "http://site.invalid"}, "does not answer"),
        ({"owner": "nobody"}, "There is no user 'nobody'."),
    ],
)
@pytest.mark.django_db
def test_what_cannot_be_played_changes_nothing(options: dict[str, Any], message: str) -> None:
    given = {"file": str(SAMPLE), "room": "acme/ubuntu", "url": "http://127.0.0.1:9", **options}
    with pytest.raises(CommandError, match=message):
        call_command("replay", given.pop("file"), **given)
    assert not Tenant.objects.exists()
    assert not get_user_model()._default_manager.exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[09:03] <ann> caf\xe9\n", "is not UTF-8 at byte 17"),
        (b"\n[09:03] <ann> a\0b\n", "Line 2 of .* cannot be said"),
        (b"[09:03] <ann> " + b"x" * 8001, "Line 1 of .* cannot be said"),
        (b"[09:03]  * ann " + b"x" * 7995, "Line 1 of .* cannot be said"),
    ],
)
def test_what_cannot_be_said_is_found_before_anything_is_said(tmp_path: Path, line: bytes, message: str) -> None:
    file = tmp_path / "log.txt"
    file.write_bytes(line)
    with pytest.raises(CommandError, match=message):
        call_command("replay", str(file), room="acme/ubuntu", url="http://127.0.0.1:9")


# --- the cast --------------------------------------------------------------------------------------------------------

NICKS = ["Ann", "ann", "[x]^|`", "a|b", "zoë", "\\o/", "{}", "n" * irc.NICK_MAX]


@pytest.mark.django_db
def test_everybody_has_an_account_of_their_own_with_the_nick_as_name() -> None:
    people = cast.accounts(NICKS)
    assert [user.get_full_name() for user in people.values()] == NICKS
    assert len({user.pk for user in people.values()}) == len(NICKS)
    assert not any(user.has_usable_password() for user in people.values())
    for user in people.values():
        user.clean_fields()
    assert cast.accounts(list(reversed(NICKS))) == people


@pytest.mark.django_db
def test_they_become_members_and_those_who_are_something_stay_it() -> None:
    room = cast.place("acme", "ubuntu")
    people = cast.accounts(["ann", "bo"])
    services.members.set_role(room.tenant, people["ann"], Role.ADMIN)
    cast.admit(room, people.values())
    cast.admit(room, people.values())
    roles = Membership.objects.filter(tenant=room.tenant).values_list("user__first_name", "role")
    assert dict(roles) == {"ann": "admin", "bo": "member"}
    assert not Participant.objects.exists()
    assert all(access.authorize(user.pk, "acme/ubuntu") for user in people.values())


@pytest.mark.django_db
def test_in_a_private_room_they_take_part() -> None:
    tenant = services.tenants.create("acme", name="Acme")
    room = services.rooms.create(tenant, "board", name="Board", visibility=Visibility.PRIVATE)
    people = cast.accounts(["ann", "bo"])
    services.members.set_part(room, people["bo"], Part.BANNED)
    cast.admit(cast.place("acme", "board"), people.values())
    parts = Participant.objects.filter(room=room).values_list("user__first_name", "role")
    assert dict(parts) == {"ann": "speaker", "bo": "banned"}


@pytest.mark.django_db
def test_the_place_is_made_once() -> None:
    owner = get_user_model()._default_manager.create(username="olive")
    room = cast.place("new-tenant", "ubuntu", owner=owner)
    assert (room.name, room.tenant.name, room.visibility) == ("#ubuntu", "New Tenant", Visibility.TENANT)
    assert Membership.objects.get(tenant=room.tenant).role == "owner"
    assert cast.place("new-tenant", "ubuntu", owner=cast.accounts(["ann"])["ann"]) == room
    assert Room.objects.filter(kind=Room.Kind.ROOM).count() == Membership.objects.count() == 1


@pytest.mark.django_db
def test_sessions_are_those_of_a_login_and_end(client: Any) -> None:
    user = cast.accounts(["ann"])["ann"]
    (voice,) = cast.log_in([user])
    client.cookies["sessionid"] = voice.session
    assert client.get("/api/tenants/").status_code == 200
    cast.log_out([voice])
    assert client.get("/api/tenants/").status_code in (401, 403)


# --- the play --------------------------------------------------------------------------------------------------------


class Stage:
    """In place of a site: hears who says what, and when."""

    retries = 0

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, float]] = []

    async def __aenter__(self) -> None:
        self._start = asyncio.get_running_loop().time()

    async def __aexit__(self, *error: object) -> None:
        pass

    async def say(self, voice: Voice, text: str) -> None:
        self.heard.append((voice.session, text, asyncio.get_running_loop().time() - self._start))


def play(log: str, *, speed: float = 0) -> tuple[Play, Stage]:
    lines, stage = irc.parse(log), Stage()
    voices = {nick: Voice(nick, "") for nick in irc.nicks(lines)}
    run = Play(stage, voices, Progress(OutputWrapper(StringIO()), 1), speed=speed)  # type: ignore[arg-type]
    asyncio.run(run.perform(lines))
    return run, stage


def test_minutes_pass_at_the_speed_that_is_asked_for() -> None:
    _, stage = play("[09:00] <a> 1\n[09:00] <a> 2\n[09:01] <b> 3\n", speed=600)  # a minute in 0.1 s
    assert [text for _, text, _ in stage.heard] == ["1", "2", "3"]
    for (_, _, when), due in zip(stage.heard, [0, 0.05, 0.1], strict=True):
        assert due <= when + 0.001 < due + 0.05


def test_who_is_there() -> None:
    run, stage = play(
        "=== a  has joined #x\n=== b  has joined #x\n=== a  has left #x []\n[09:00] <a> back without a join\n"
        "=== b is now known as c\n[09:00]  * c waves\n=== mode/#x  by c\n"
    )
    assert run.here == {"a", "c"}
    assert run.most == 2
    assert run.passed_over == 1
    assert [(who, text) for who, text, _ in stage.heard] == [("a", "back without a join"), ("c", "* c waves")]


def test_progress_is_a_line_now_and_then() -> None:
    out = StringIO()
    progress = Progress(OutputWrapper(out), 1200)
    for _ in range(1200):
        progress.step()
    progress.end()
    assert [line.partition(",")[0] for line in out.getvalue().splitlines()] == [
        "500 of 1200 lines said",
        "1000 of 1200 lines said",
    ]

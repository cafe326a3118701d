"""Say what nobody says, at a real node, by every way in, and see that it lives.

::

    python -m tests.faults.fuzz_frames [--seconds 600] [--seed 1] [--database sqlite|postgresql]

Half of it is almost right: vectors with known names, with ids, cursors, rooms and data that are sometimes theirs. The
rest is bytes. It goes out over WebSockets of both subprotocols, in frames that no WebSocket has, as the body of POST,
and in the query and the headers of streams, polls and handshakes. The node must answer all of it without a 5xx or a
1011, write no traceback, let go of every connection, keep its memory, and still carry a message in the end.

Exits with 1 when it did not, and prints the seed, with which the same is said again.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support import stages
from tests.support.cells import metric
from tests.support.client import log_in
from tests.support.conversation import new_id
from tests.support.sites import Node, Site

PATIENCE = 30  # seconds for an answer
BATCH = 12  # moves between two looks at whether all is well
BATCHES = 20  # of one seed
GROWTH = 32 * 1024  # KB that a node may grow once it is warm
FINE = {None, 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 4408, 4440, 4500, 4501, 4503}  # 1006: our own doing

# --- what is said

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63) - 1, 2**64, 10**30, 1e308, -0.0])
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
    | st.sampled_from(["", "\0", "\ud800", "\u2028", "a" * 9_000, "__proto__", "constructor"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
addresses = st.sampled_from(
    ["acme/general"] * 8 + ["acme/~all", "acme/~me", "acme/general~mods", "globex/general", "acme/nothing"]
) | st.sampled_from(["", "/", "acme", "acme/", "/general", "acme/general/x", "ACME/General", "acme/../globex", "ä/ö"])
cursors = st.builds(
    "{}:{}".format,
    st.sampled_from(["", "e7a1", "0" * 16, "f" * 17, "-1", "é"]),
    st.sampled_from(["", "0", "1", "-1", "41", "1e3", "9" * 30, str(2**63), "\u0663"]),
) | st.text(max_size=12)
ids = st.builds(new_id) | st.sampled_from(["short", "x" * 64, "x" * 65, "an-id-of-a-fuzzer", "", "ü" * 16])
messages = st.integers(1, 400).map(str) | st.sampled_from(["0", "-1", str(2**63), "9" * 40, "\uff11"])
shaped = st.sampled_from(
    [
        ("chat.send", {"text": st.text(min_size=1, max_size=40), "reply_to": st.none() | messages}),
        ("chat.edit", {"message": messages, "text": st.text(max_size=40), "version": st.integers(-1, 5)}),
        ("chat.delete", {"message": messages, "version": st.integers(-1, 5)}),
        ("chat.react", {"message": messages, "emoji": st.sampled_from(["👍", "", "x" * 99]), "on": st.booleans()}),
        ("chat.typing", {"typing": st.booleans()}),
        ("chat.read", {"seq": st.integers(-1, 2**64)}),
        ("live.join", {"cursor": cursors, "state": st.booleans()}),
        ("live.leave", {}),
        ("live.ack", {"frames": st.integers(-1, 2**64)}),
        ("live.auth", {"ticket": st.text(max_size=40)}),
        ("room.create", {"slug": st.text(max_size=9), "name": st.text(max_size=9)}),
        ("live.hello", {}),
    ]
)


@st.composite
def vectors(draw: st.DrawFn) -> Any:
    """Nearly one: each part may be missing, or something else."""
    name, fields = draw(shaped)
    data = {key: draw(value) for key, value in fields.items() if draw(st.integers(0, 7))}
    meta: dict[str, Any] = {"room": draw(addresses), "id": draw(ids)}
    spoil = draw(st.integers(0, 9))
    if spoil == 0:
        data[draw(st.text(max_size=8))] = draw(junk)
    elif spoil == 1:
        meta[draw(st.sampled_from(["room", "id", "re", "seq", "by", "x"]))] = draw(junk)
    elif spoil == 2:
        return draw(junk)
    elif spoil == 3:
        return [draw(junk), draw(junk), draw(junk)]
    elif spoil == 4:
        name = draw(st.text(max_size=30))
    return [name, data, meta] if draw(st.integers(0, 9)) else [name, data]


frames = st.lists(vectors(), max_size=6) | st.builds(lambda vector: [vector] * 300, vectors()) | junk


def as_json(value: Any) -> bytes:
    """Whatever it is: NaN, lone surrogates as escapes, integers without end."""
    return json.dumps(value).encode()


def as_msgpack(value: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(value)
    except (UnicodeEncodeError, OverflowError):
        return msgspec.msgpack.encode([["chat.send", b"bytes", {1: msgspec.msgpack.Ext(5, b"x")}]])


@st.composite
def bitten(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of something, cut, doubled or with others among them."""
    data = draw(whole)
    place = draw(st.integers(0, len(data)))
    match draw(st.integers(0, 3)):
        case 0:
            return data[:place]
        case 1:
            return data[:place] + draw(st.binary(min_size=1, max_size=8)) + data[place:]
        case 2:
            return data[:place] + draw(st.binary(min_size=1, max_size=3)) + data[place + 2 :]
        case _:
            return data + data


deep = st.sampled_from(
    [b"[" * 40, b"[" * 20_000, b'{"a":' * 5_000, b"\x91" * 20_000, b"\xdd\xff\xff\xff\xff", b"[" * 90_000]
)


def messages_of(encode: Callable[[Any], bytes]) -> st.SearchStrategy[bytes]:
    whole = frames.map(encode)
    return st.one_of(whole, whole, whole, bitten(whole), st.binary(max_size=60), deep)


queries = st.lists(
    st.one_of(
        st.builds("room={}@{}".format, addresses.map(quote), cursors.map(lambda text: quote(text, errors="replace"))),
        st.builds("room={}".format, addresses.map(quote)),
        st.builds("room={}".format, st.text(max_size=20).map(lambda text: quote(text, errors="replace"))),
        st.builds("wait={}".format, st.sampled_from(["0", "0.01", "-1", "1e9", "nan", "\u0663", ""])),
        st.sampled_from(["connection=", "connection=x", "flow=ack", "%00", "room=%ff%fe", "&&=", "room=%ed%a0%80"]),
    ),
    max_size=6,
).map("&".join) | st.just("&".join(["room=acme/general"] * 300))  # fmt: skip
HEADERS = (
    "Last-Event-ID", "Cookie", "Authorization", "Origin", "Host", "X-CSRFToken", "Sec-Fetch-Site", "X-Forwarded-For",
    "X-Forwarded-Proto",
)  # fmt: skip
VALUES = (
    "", "x", "null", "Bearer ", "Bearer x.y.z", "sessionid=", "sessionid=%00", "a=b; sessionid=zzz", "\xe9", "[::1",
    ", ,", "http://[", "https://127.0.0.1", "9" * 900,
)  # fmt: skip
headers = st.dictionaries(
    st.sampled_from(HEADERS),
    st.sampled_from(VALUES) | cursors.map(lambda text: f"acme/general@{text}"),
    max_size=2,
)
offers = ["live.v1", "live.v1.msgpack", "live.v2", "ticket.", "ticket.x.y.z", "ticket." + "x" * 5_000]
subprotocols = st.lists(st.sampled_from(offers), max_size=3)
socket_bytes = st.one_of(
    st.binary(max_size=40),
    # a head of a frame, more or less: opcode, mask and length, then too much or too little
    st.builds(
        lambda head, length, rest: bytes([head, length]) + rest,
        st.integers(0, 255), st.integers(0, 255), st.binary(max_size=40),
    ),
)  # fmt: skip

moves = st.one_of(
    st.tuples(st.just("text"), messages_of(as_json)),
    st.tuples(st.just("packed"), messages_of(as_msgpack)),
    st.tuples(st.just("wrong kind"), st.binary(max_size=30)),
    st.tuples(st.just("post"), messages_of(as_json)),
    st.tuples(st.just("stream"), st.tuples(queries, headers)),
    st.tuples(st.just("poll"), st.tuples(queries, headers)),
    st.tuples(st.just("handshake"), st.tuples(queries, headers, subprotocols)),
    st.tuples(st.just("bytes"), st.lists(socket_bytes, min_size=1, max_size=3)),
)


# --- saying it


@dataclass
class Fuzzer:
    """Speaks as alice, who may do the most."""

    node: Node
    http: httpx.Client
    said: Counter[str] = field(default_factory=Counter)
    heard: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    _sockets: dict[str, ClientConnection] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)

    def make(self, kind: str, what: Any) -> None:
        self.said[kind] += 1
        match kind:
            case "text":
                self._say("live.v1", what.decode("utf-8", "replace"))
            case "packed":
                self._say("live.v1.msgpack", what)
            case "wrong kind":
                self._say("live.v1", what)
                self._say("live.v1.msgpack", what.decode("latin-1"))
            case "post":
                answer = self.http.post("/live/commands", content=what)
                self._answered(kind, what, answer.status_code)
            case "stream" | "poll":
                self._get(kind, *what)
            case "handshake":
                self._shake_hands(*what)
            case "bytes":
                self._write(what)

    def look(self) -> None:
        """Everything that was said over sockets is answered, and the node is well."""
        for subprotocol in list(self._sockets):
            id = new_id()
            self._say(subprotocol, ["live.leave", {}, {"room": "acme/never", "id": id}], probe=True)
            self._until(subprotocol, id)
        self._answered("/healthz", "", self.http.get("/healthz").status_code)

    def leave(self) -> None:
        self._sockets.clear()
        self._open.close()

    def _socket(self, subprotocol: str) -> ClientConnection:
        if subprotocol not in self._sockets:
            self._sockets[subprotocol] = self._open.enter_context(self._connect("flow=ack", [subprotocol], {}))
        return self._sockets[subprotocol]

    def _connect(
        self, query: str, offered: list[Any], more: dict[str, Any]
    ) -> AbstractContextManager[ClientConnection]:
        origin, cookie = self.node.url, f"sessionid={self.http.cookies['sessionid']}"
        return connect(
            f"{self.node.ws_url}?{query}",
            additional_headers={"Origin": origin, "Cookie": cookie, **more},
            subprotocols=offered or None,
            proxy=None,
            max_size=None,
            compression=None,
            close_timeout=PATIENCE,
        )

    def _say(self, subprotocol: str, what: Any, *, probe: bool = False) -> None:
        try:
            if probe:
                what = as_json([what]).decode() if subprotocol == "live.v1" else as_msgpack([what])
            self._socket(subprotocol).send(what)
        except ConnectionClosed as closed:
            self._closed(subprotocol, closed)

    def _until(self, subprotocol: str, id: str) -> None:
        """Read to the answer of this id, or to the end."""
        decode = json.loads if subprotocol == "live.v1" else msgspec.msgpack.decode
        while subprotocol in self._sockets:
            try:
                message = self._sockets[subprotocol].recv(timeout=PATIENCE)
            except ConnectionClosed as closed:
                self._closed(subprotocol, closed)
                return
            except TimeoutError:
                self.problems.append(f"{subprotocol}: no answer in {PATIENCE} s")
                return
            for name, data, *meta in decode(message):
                self.heard[f"{name} {data['code']}" if name == "live.error" else name] += 1
                if meta and meta[0].get("re") == id:
                    return

    def _closed(self, subprotocol: str, closed: ConnectionClosed) -> None:
        self._sockets.pop(subprotocol, None)
        code = closed.rcvd.code if closed.rcvd else None
        self.heard[f"closed {code}"] += 1
        if code not in FINE:
            self.problems.append(f"{subprotocol} was closed with {code}")

    def _get(self, kind: str, query: str, more: dict[str, str]) -> None:
        given = {name: value.encode("utf-8", "replace") for name, value in more.items()}
        try:
            with self.http.stream("GET", f"/live/{kind}?{query}&wait=0", headers=given) as answer:
                if kind == "stream" and answer.status_code == 200:
                    next(answer.iter_raw())
                else:
                    answer.read()
            self._answered(kind, (query, more), answer.status_code)
        except httpx.RemoteProtocolError:  # the server will not even answer such a request
            self.heard[f"{kind} cut off"] += 1
        except httpx.LocalProtocolError:  # and this client not say it
            self.said[kind] -= 1

    def _shake_hands(self, query: str, more: dict[str, str], offered: list[Any]) -> None:
        given = {name: value.encode("utf-8", "replace").decode("latin-1") for name, value in more.items() if value}
        try:
            with self._connect(query, offered, given) as open:
                open.recv(timeout=PATIENCE)
                open.close()
            self.heard["handshake"] += 1
        except InvalidStatus as refused:
            self._answered("handshake", (query, more, offered), refused.response.status_code)
        except ConnectionClosed as closed:
            self._closed("handshake", closed)
        except TimeoutError:
            self.problems.append(f"handshake: nothing in {PATIENCE} s for {(query, more, offered)!r:.2000}")
        except Exception as error:  # what a client will not send, or not take
            self.heard[f"handshake {type(error).__name__}"] += 1

    def _write(self, pieces: list[bytes]) -> None:
        """Bytes instead of frames, on a WebSocket that is open."""
        head = (
            f"GET /live/ws HTTP/1.1\r\nHost: 127.0.0.1:{self.node.port}\r\nOrigin: {self.node.url}\r\n"
            f"Cookie: sessionid={self.http.cookies['sessionid']}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Protocol: live.v1\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", self.node.port), timeout=PATIENCE) as open, suppress(OSError):
            open.sendall(head.encode())
            if not open.recv(4_096).startswith(b"HTTP/1.1 101"):
                self.problems.append("a handshake by hand was refused")
            for piece in pieces:
                open.sendall(piece)
        self.heard["bytes"] += 1

    def _answered(self, kind: str, what: Any, status: int) -> None:
        self.heard[f"{kind} {status}"] += 1
        if status >= 500:
            self.problems.append(f"{kind}: {status} for {what!r:.2000}")


@dataclass
class Result:
    report: str
    problems: list[str]


def fuzz(site: Site, *, seconds: float, start: int) -> Result:
    """As long as that; ``start`` is the seed."""
    node = site.nodes[0]
    sizes: list[int] = []
    with closing(log_in(node.url, "alice")) as http:
        http.headers["Content-Type"] = "application/json"
        http.timeout = httpx.Timeout(PATIENCE)
        fuzzer = Fuzzer(node, http)
        began, turn = time.monotonic(), start
        while time.monotonic() - began < seconds and not fuzzer.problems:
            _turn(fuzzer, turn, began + seconds)
            sizes.append(memory(node.pid))
            turn += 1
        fuzzer.leave()
        problems = [f"{problem} (seed {turn - 1})" for problem in fuzzer.problems]
        problems += _left_behind(node, http)
    warm = sizes[len(sizes) // 4]
    if sizes[-1] - warm > GROWTH:
        problems.append(f"memory grew from {warm} to {sizes[-1]} KB: {sizes}")
    problems += complaints(node)
    lines = [
        f"{sum(fuzzer.said.values())} moves in {time.monotonic() - began:.0f} s, seeds {start} to {turn - 1}",
        f"said: {dict(fuzzer.said.most_common())}",
        f"heard: {dict(fuzzer.heard.most_common())}",
        f"memory of the node, KB: {sizes[0]} at first, {warm} when warm, {sizes[-1]} in the end",
    ]
    return Result("\n".join(lines), problems)


def _turn(fuzzer: Fuzzer, start: int, end: float) -> None:
    """What this seed says, as far as there is time for it."""

    @seed(start)
    @settings(
        max_examples=BATCHES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(moves, min_size=BATCH, max_size=BATCH))
    def say(batch: list[tuple[str, Any]]) -> None:
        if fuzzer.problems or time.monotonic() > end:  # raised, it would be shrunk, against a node that is not well
            return
        for kind, what in batch:
            fuzzer.make(kind, what)
        fuzzer.look()

    say()


def _left_behind(node: Node, http: httpx.Client) -> list[str]:
    """What the node still has when all are gone, and whether it still serves."""
    deadline = time.monotonic() + PATIENCE
    while metric(node, "rooms_connections") and time.monotonic() < deadline:
        time.sleep(0.1)
    problems = []
    if left := metric(node, "rooms_connections"):
        problems.append(f"{left:.0f} connections are left of clients that are gone")
    frame = [["chat.send", {"text": "well?"}, {"room": "acme/general", "id": new_id()}]]
    answer = http.post("/live/commands", json=frame)
    if answer.status_code != 200 or answer.json()[0][0] != "live.ok":
        problems.append(f"it does not serve: {answer.status_code} {answer.text}")
    return problems


def complaints(node: Node) -> list[str]:
    """What the node's log says of a failure, the first alone."""
    log = node.log.read_text(errors="replace").splitlines()
    for number, line in enumerate(log):
        if " ERROR " in line or "Traceback" in line:
            around = "\n".join(log[max(number - 5, 0) : number + 60])
            return [f"the log complains:\n{around:.8000}"]
    return []


def memory(pid: int) -> int:
    """KB that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    with stages.sites(options.database) as sites, sites.running(settings=stages.SETTINGS) as site:
        site.manage("seed_demo")
        result = fuzz(site, seconds=options.seconds, start=options.seed)
    print(result.report)
    print("\n".join(result.problems) or "It lives.")
    sys.exit(bool(result.problems))


if __name__ == "__main__":
    main()

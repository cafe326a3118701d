"""rooms/live.js against a server that says what a test wants: what the protocol asks of a client."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.support.people import AT_END, Person

ID = re.compile(r"[A-Za-z0-9_-]{22}")  # 128 bits
WINDOW = 16


class Server:
    """Stands in for the site's socket, one connection after the other."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.sockets: list[WebSocketRoute] = []
        self.frames: list[list[Any]] = []  # that the page sent, of all connections
        self.cursor = ""  # that the page has
        self.room = ""
        self.user: Any = None
        self.on_open: Callable[[], None] = self.hello
        person.page.route_web_socket(re.compile("/live/ws"), self._opened)

    def open(self, room: str) -> None:
        self.person.page.goto(f"/t/{room}/")
        element = self.person.page.locator("live-room")
        self.room = room
        self.cursor = element.get_attribute("cursor") or ""
        self.epoch, _, seq = self.cursor.partition(":")
        self.seq = int(seq)
        self.user = {"id": element.get_attribute("user-id"), "name": element.get_attribute("user-name")}
        self.until(lambda: self.sockets)

    def _opened(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(lambda text: self.frames.append(json.loads(text)))

    def until(self, condition: Callable[[], Any]) -> Any:
        for _ in range(2000):
            if found := condition():
                return found
            self.person.page.wait_for_timeout(10)  # lets Playwright hand over what the page sent
        raise AssertionError(f"it did not happen; the page said {self.frames}")

    def say(self, *vectors: Any) -> None:
        self.sockets[-1].send(json.dumps(vectors))

    def hello(self, **changes: Any) -> None:
        hello = {"protocol": 1, "user": self.user, "heartbeat_s": 25, "window": WINDOW, "max_frame_bytes": 65536}
        self.say(["live.hello", {**hello, **changes}])

    def heard(self, name: str, number: int = 1) -> Any:
        """The n-th vector of this name that the page sends."""
        self.until(lambda: len(self.said(name)) >= number)
        return self.said(name)[number - 1]

    def said(self, name: str) -> list[Any]:
        return [vector for frame in self.frames for vector in frame if vector[0] == name]

    def answer(self, vector: Any, **data: Any) -> None:
        self.say(["live.ok", data, {"re": vector[2]["id"]}])

    def beat(self) -> None:
        """Send a heartbeat, and wait for the answer: what the page said before has come."""
        answers = self.frames.count([])
        self.say()
        self.until(lambda: self.frames.count([]) > answers)

    def refuse(self, vector: Any, code: str, *, temporary: bool = False, **data: Any) -> None:
        self.say(
            ["live.error", {"code": code, "detail": code, "temporary": temporary, **data}, {"re": vector[2]["id"]}]
        )

    def join(self, number: int = 1, *, verdict: str = "resumed", cursor: str | None = None) -> Any:
        """Greet and let in; gives what the page asked for."""
        self.hello()
        asked = self.heard("live.join", number)
        self.let_in(asked, verdict=verdict, cursor=cursor)
        return asked

    def let_in(self, asked: Any, *, verdict: str = "resumed", cursor: str | None = None) -> None:
        cursor = cursor or asked[1]["cursor"]
        epoch, _, head = cursor.partition(":")
        can = ["read", "write"]
        self.answer(asked, room=self.room, verdict=verdict, cursor=cursor, epoch=epoch, head=int(head), can=can)

    def message(self, ahead: int, text: str, *, id: str | None = None, author: Any = None) -> Any:
        """The event of a message, so many seqs after the page's cursor."""
        shown = {
            "id": id or f"m{ahead}",
            "text": text,
            "author": author or {"id": "0", "name": "Somebody"},
            "created_at": "2026-11-24T12:00:00Z",
            "version": 1,
            "reply_to": None,
        }
        return ["chat.message", {"message": shown}, {"room": self.room, "seq": self.seq + ahead, "at": "", "by": "0"}]

    def page_with(self, cursor: str, *messages: Any) -> str:
        """The room's page as the site makes it, with these messages, oldest first, and this cursor."""
        html = self.person.page.request.get(f"/t/{self.room}/").text()
        item = re.findall(r"<template>(.*?)</template>", html, re.DOTALL)[0]
        rows = []
        for _, data, meta in messages:
            shown = data["message"]
            row = item.replace("<li ", f'<li data-id="{shown["id"]}" data-seq="{meta["seq"]}" data-version="1" ')
            row = row.replace('data-part="time"', f'data-part="time" datetime="{shown["created_at"]}"')
            rows.append(row.replace('data-part="text" dir="auto">', f'data-part="text" dir="auto">{shown["text"]}'))
        html = re.sub(r"<ol>.*?</ol>", f"<ol>{''.join(rows)}</ol>", html, flags=re.DOTALL)
        return re.sub(r' cursor="[^"]*"', f' cursor="{cursor}"', html)


@pytest.fixture
def server(visit: Callable[..., Person], room: str) -> Server:
    server = Server(visit("bob").without_workers())
    server.open(room)
    return server


def test_it_joins_from_the_cursor_of_the_page(server: Server) -> None:
    _, data, meta = server.join()
    assert (data, meta["room"]) == ({"cursor": server.cursor}, server.room)
    assert ID.fullmatch(meta["id"])
    assert "flow=ack" in server.sockets[0].url


def test_it_is_connected_when_the_server_has_spoken_and_not_before(server: Server) -> None:
    expect(server.person.status).to_have_text("Connecting…")
    server.hello()
    expect(server.person.status).to_have_text("Connected")


def test_what_was_deleted_while_one_was_away_has_its_place(server: Server) -> None:
    server.join()
    gone = server.message(1, "")
    del gone[1]["message"]["text"]
    gone[1]["message"].update(deleted=True, version=2)
    server.say(gone, server.message(2, "after it"))
    server.person.sees("after it")
    expect(server.person.messages.first.get_by_text("This message was deleted.")).to_be_visible()
    expect(server.person.messages).to_have_count(2)
    expect(server.person.page.locator("[data-announcer]")).to_have_text("Somebody: after it")


def test_what_comes_twice_is_told_once(server: Server) -> None:
    server.join()
    one, two = server.message(1, "one"), server.message(2, "two")
    server.say(one, one)
    server.say(two)
    server.say(one, two)
    server.say(server.message(3, "three"))
    server.say(one)
    server.person.sees("one", "two", "three")
    server.sockets[-1].close(code=1006)
    server.until(lambda: len(server.sockets) == 2)
    assert server.join(2)[1] == {"cursor": f"{server.epoch}:{server.seq + 3}"}


def test_it_goes_on_where_it_was(server: Server) -> None:
    server.join()
    server.say(server.message(1, "one"))
    server.say(["live.cursor", {"seq": server.seq + 5, "skipped": 4}, {"room": server.room}])
    server.person.sees("one")
    server.sockets[-1].close(code=1012)
    server.until(lambda: len(server.sockets) == 2)
    assert server.join(2)[1] == {"cursor": f"{server.epoch}:{server.seq + 5}"}
    server.say(server.message(1, "one"), server.message(6, "six"))
    server.person.sees("one", "six")


def test_a_command_is_sent_until_it_is_answered_with_one_id(server: Server) -> None:
    server.join()
    server.person.say("hello")
    first = server.heard("chat.send")
    assert ID.fullmatch(first[2]["id"])
    server.sockets[-1].close(code=1006)
    server.until(lambda: len(server.sockets) == 2)
    server.person.say("while away")
    server.join(2)
    assert [server.heard("chat.send", number)[1]["text"] for number in (2, 3)] == ["hello", "while away"]
    assert server.heard("chat.send", 2) == first
    assert server.frames.index([server.heard("live.join", 2)]) < server.frames.index([server.heard("chat.send", 3)])
    server.answer(first, seq=server.seq + 1, message="m1", version=1, created_at="2026-11-24T12:00:00Z")
    expect(server.person.page.locator("li.pending")).to_have_count(1)
    server.sockets[-1].close(code=1006)
    server.until(lambda: len(server.sockets) == 3)
    server.join(3)
    assert server.heard("chat.send", 4)[1]["text"] == "while away"


def test_our_own_message_is_there_once_when_its_event_comes_first(server: Server) -> None:
    server.join()
    server.say(server.message(1, "before"))
    server.person.say("mine")
    sent = server.heard("chat.send")
    server.say(server.message(2, "in between"), server.message(3, "mine", id="m3", author=server.user))
    server.person.sees("before", "in between", "mine")
    server.answer(sent, seq=server.seq + 3, message="m3", version=1, created_at="2026-11-24T12:00:00Z")
    server.say(server.message(4, "after"))
    server.person.sees("before", "in between", "mine", "after")


def test_our_own_message_is_there_once_when_its_answer_comes_first(server: Server) -> None:
    server.join()
    server.say(server.message(1, "before"))
    server.person.say("mine")
    sent = server.heard("chat.send")
    server.answer(sent, seq=server.seq + 3, message="m3", version=1, created_at="2026-11-24T12:00:00Z")
    server.person.sees("before", "mine")
    server.say(server.message(2, "in between"), server.message(3, "mine", id="m3", author=server.user))
    server.say(server.message(4, "after"))
    server.person.sees("before", "in between", "mine", "after")


def test_the_same_words_from_our_other_page_do_not_swallow_ours(server: Server) -> None:
    server.join()
    server.person.say("yes")
    sent = server.heard("chat.send")
    server.say(server.message(1, "yes", id="other", author=server.user))
    server.person.sees("yes")
    server.answer(sent, seq=server.seq + 2, message="ours", version=1, created_at="2026-11-24T12:00:00Z")
    server.say(server.message(2, "yes", id="ours", author=server.user))
    server.person.sees("yes", "yes")


def test_the_same_words_from_our_other_page_do_not_hide_a_refusal(server: Server) -> None:
    server.join()
    server.person.say("yes")
    sent = server.heard("chat.send")
    server.say(server.message(1, "yes", id="other", author=server.user))
    server.person.sees("yes")
    server.refuse(sent, "rate_limited", temporary=True)
    expect(server.person.page.locator("li.failed")).to_contain_text("yes")
    server.person.page.get_by_role("button", name="Try again").click()
    assert server.heard("chat.send", 2) == sent


def test_what_the_server_refuses_for_a_while_is_said_again_then(server: Server) -> None:
    server.join()
    server.person.say("later")
    sent = server.heard("chat.send")
    server.refuse(sent, "rate_limited", temporary=True, retry_after_ms=50)
    assert server.heard("chat.send", 2) == sent
    server.refuse(sent, "rate_limited", temporary=True, retry_after_ms=60_000)  # longer than anybody waits
    expect(server.person.page.locator("li.failed")).to_contain_text("later")


def test_of_the_same_words_said_twice_the_refused_ones_are_shown_as_such(server: Server) -> None:
    server.join()
    server.person.say("yes")
    server.person.say("yes")
    first, second = server.heard("chat.send"), server.heard("chat.send", 2)
    server.say(server.message(1, "yes", id="second", author=server.user))
    server.refuse(first, "unavailable", temporary=True)
    server.answer(second, seq=server.seq + 1, message="second", version=1, created_at="2026-11-24T12:00:00Z")
    expect(server.person.page.locator("li.failed")).to_have_count(1)
    expect(server.person.page.locator("li.pending")).to_have_count(0)
    expect(server.person.messages).to_have_count(2)
    server.person.page.get_by_role("button", name="Try again").click()
    assert server.heard("chat.send", 3) == first


def test_what_cannot_be_sent_fails_on_the_page_and_harms_nothing(server: Server) -> None:
    server.hello(max_frame_bytes=1000)
    server.let_in(server.heard("live.join"))
    server.person.say("x" * 2000)
    expect(server.person.page.locator("li.failed")).to_contain_text("too long")
    server.person.page.get_by_role("button", name="Discard").click()
    server.person.composer.evaluate("field => (field.value = 'half \\ud83d')")
    server.person.composer.press("Enter")
    expect(server.person.page.locator("li.failed")).to_contain_text("half a character")
    server.person.say("fine \\ud83d")
    assert server.heard("chat.send")[1] == {"text": "fine \\ud83d"}


def test_a_flood_leaves_the_newest_on_the_page(server: Server) -> None:
    server.join()
    for start in range(1, 3001, 100):
        server.say(*(server.message(number, str(number)) for number in range(start, start + 100)))
    server.person.sees(*map(str, range(2501, 3001)))
    server.person.page.wait_for_function(AT_END)


# --- lost histories


def test_a_lost_history_is_read_afresh_and_what_came_meanwhile_is_merged(server: Server) -> None:
    server.join()
    server.say(server.message(1, "stale"))
    server.person.sees("stale")
    asked: list[Any] = []
    server.person.page.route(re.compile(f"/t/{server.room}/$"), lambda route: asked.append(route))
    server.say(["live.reset", {"cursor": "feed:40", "reason": ""}, {"room": server.room}])
    server.seq = 40
    server.say(server.message(1, "in the snapshot"), server.message(2, "after it"))
    route = server.until(lambda: asked)[0]
    rows = [server.message(-30, "old"), server.message(1, "in the snapshot")]
    route.fulfill(body=server.page_with("feed:41", *rows), content_type="text/html")
    server.person.sees("old", "in the snapshot", "after it")
    server.say(server.message(2, "after it"), server.message(3, "live"))
    server.person.sees("old", "in the snapshot", "after it", "live")
    server.sockets[-1].close(code=1006)
    server.until(lambda: len(server.sockets) == 2)
    server.hello()
    assert server.heard("live.join", 2)[1] == {"cursor": "feed:43"}


def test_a_snapshot_ahead_of_the_events_silences_those_it_has(server: Server) -> None:
    server.hello()
    asked = server.heard("live.join")
    rows = [server.message(1, "one"), server.message(2, "two")]
    page = server.page_with(f"{server.epoch}:{server.seq + 2}", *rows)
    server.person.page.route(
        re.compile(f"/t/{server.room}/$"), lambda route: route.fulfill(body=page, content_type="text/html")
    )
    server.let_in(asked, verdict="reset", cursor=server.cursor)
    server.person.sees("one", "two")
    deleted = ["chat.deleted", {"message": {"id": "m1", "version": 2, "deleted": True}}]
    server.say([*deleted, {"room": server.room, "seq": server.seq + 2}])  # in the snapshot already: not told
    server.say(server.message(3, "three"))
    server.person.sees("one", "two", "three")


def test_a_history_that_cannot_be_read_is_tried_again(server: Server) -> None:
    tries: list[Any] = []

    def answer(route: Any) -> None:
        tries.append(route)
        if len(tries) < 2:
            route.fulfill(status=503, body="{}")
        else:
            route.fulfill(body=page, content_type="text/html")

    page = server.page_with(server.cursor)
    server.person.page.route(re.compile(f"/t/{server.room}/$"), answer)
    server.hello()
    server.let_in(server.heard("live.join"), verdict="reset", cursor=server.cursor)
    server.say(server.message(1, "held"))
    server.person.sees("held")
    assert len(tries) == 2
    server.person.forgive("503")


# --- flow control and heartbeats


# The page paints when the test says so, and is never late. (A busy machine paints late and seldom: how many frames one
# paint shows, and so how many one acknowledgement names, is its affair.)
BY_HAND = """() => {
    const { setTimeout } = window;
    const waiting = [];
    window.setTimeout = (task, ms) => ms ? 0 : setTimeout(task);
    window.requestAnimationFrame = (callback) => waiting.push(callback);
    window.paint = () => waiting.splice(0).forEach((callback) => callback());
}"""


def test_it_acknowledges_what_it_painted_after_a_quarter_of_the_window(server: Server) -> None:
    def come(frames: int) -> None:
        for _ in range(frames):
            number = server.person.messages.count() + 1
            server.say(server.message(number, str(number)))
            uncounted = ["live.cursor", {"seq": server.seq + number, "skipped": 0}, {"room": server.room}]
            server.say(uncounted)
            server.until(lambda number=number: server.person.messages.count() == number)

    def acknowledged(*counts: int) -> bool:
        server.person.page.evaluate("paint()")
        return server.said("live.ack") == [["live.ack", {"frames": count}] for count in counts]

    server.join()
    server.person.page.evaluate(BY_HAND)
    come(WINDOW // 4)
    server.beat()
    assert server.said("live.ack") == [], "nothing is painted yet"
    server.until(lambda: acknowledged(4))
    come(WINDOW // 4 - 1)
    assert acknowledged(4)
    server.beat()
    assert acknowledged(4), "that is no quarter"
    come(4)
    server.until(lambda: acknowledged(4, 11))


def test_it_acknowledges_a_single_frame_within_five_seconds(server: Server) -> None:
    server.join()
    server.say(server.message(1, "alone"), server.message(2, "in one frame"))
    server.person.sees("alone", "in one frame")
    server.until(lambda: server.said("live.ack"))
    assert server.said("live.ack") == [["live.ack", {"frames": 1}]]


def test_a_hidden_page_acknowledges_at_once(server: Server) -> None:
    server.join()
    server.person.page.evaluate(
        "() => { Object.defineProperty(document, 'hidden', { get: () => true });"
        " window.setTimeout = () => 0; window.requestAnimationFrame = () => 0;"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    server.say(server.message(1, "unseen"))
    assert server.heard("live.ack")[1] == {"frames": 1}


def test_without_a_window_nothing_is_acknowledged(server: Server) -> None:
    server.hello(window=None)
    server.let_in(server.heard("live.join"))
    server.person.page.evaluate("() => Object.defineProperty(document, 'hidden', { get: () => true })")
    server.say(server.message(1, "one"))
    server.person.say("two")
    server.heard("chat.send")
    assert server.said("live.ack") == []


def test_it_answers_the_heartbeat(server: Server) -> None:
    server.join()
    server.beat()


def test_a_silent_server_is_left(server: Server) -> None:
    server.person.page.clock.install()
    server.person.page.reload()
    server.until(lambda: len(server.sockets) == 2)
    server.join()
    server.person.page.clock.run_for(34_000)
    expect(server.person.status).to_have_text("Connected")
    server.person.page.clock.run_for(2_000)
    server.until(lambda: server.person.page.clock.run_for(1_000) or len(server.sockets) == 3)


def test_a_server_that_owes_an_answer_is_left_before_the_command_is_given_up(server: Server) -> None:
    server.person.page.clock.install()
    server.person.page.reload()
    server.until(lambda: len(server.sockets) == 2)
    server.join()
    clock = server.person.page.clock
    clock.pause_at(server.person.page.evaluate("Date.now() / 1000 + 1"))  # a busy machine's seconds do not count
    server.person.say("is anybody there?")
    sent = server.heard("chat.send")
    clock.run_for(10_000)
    server.say()  # that it is alive is enough
    server.until(lambda: [] in server.frames)
    clock.run_for(10_000)
    expect(server.person.status).to_have_text("Connected")
    server.person.say("are you?")
    server.heard("chat.send", 2)
    clock.run_for(9_000)
    assert len(server.sockets) == 2
    server.answer(sent, seq=server.seq + 1, message="m1", version=1, created_at="2026-11-24T12:00:00Z")
    expect(server.person.page.locator("li.pending")).to_have_count(1)
    server.person.say("hello?")
    server.heard("chat.send", 3)
    clock.run_for(16_000)
    server.until(lambda: clock.run_for(20) or len(server.sockets) == 3)
    server.join(2)
    assert [server.heard("chat.send", number)[1]["text"] for number in (4, 5)] == ["are you?", "hello?"]
    expect(server.person.page.locator("li.failed")).to_have_count(0)


def test_a_server_that_never_says_hello_is_left(server: Server) -> None:
    server.person.page.clock.install()
    server.person.page.reload()
    server.until(lambda: len(server.sockets) == 2)
    server.person.page.clock.run_for(11_000)
    server.until(lambda: server.person.page.clock.run_for(1_000) or len(server.sockets) == 3)


# --- coming back, or not


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4000, 4408, 4412, 4429, 4499])
def test_it_comes_back_after(server: Server, code: int) -> None:
    server.join()
    server.sockets[-1].close(code=code, reason="try again")
    server.until(lambda: len(server.sockets) == 2)


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1009, 4440, 4500, 4503, 4999])
def test_it_stays_away_after(server: Server, code: int) -> None:
    server.join()
    server.say(["live.bye", {"code": code, "reason": "enough"}])
    server.sockets[-1].close(code=code, reason="enough")
    expect(server.person.page.get_by_role("button", name="Reload")).to_be_visible()
    expect(server.person.page.locator("[data-status]")).to_have_attribute("data-state", "stopped")
    assert len(server.sockets) == 1


def test_an_end_by_an_administrator_is_said_and_who_speaks_is_back(server: Server) -> None:
    server.join()
    server.say(["live.bye", {"code": 4440, "reason": "disconnected by an administrator"}])
    server.sockets[-1].close(code=4440, reason="disconnected by an administrator")
    expect(server.person.status).to_have_text("Live updates have stopped: disconnected by an administrator.")
    server.person.say("hello again")
    server.until(lambda: len(server.sockets) == 2)


def test_a_login_that_ended_is_tried_once_more(server: Server) -> None:
    server.join()
    server.sockets[-1].close(code=4501)
    server.until(lambda: len(server.sockets) == 2)
    server.person.say("unsent")
    server.sockets[-1].close(code=4501)
    expect(server.person.status).to_have_text("You are logged out here.")
    login = server.person.page.get_by_role("link", name="Log in")
    expect(login).to_have_attribute("href", f"/accounts/login/?next=/t/{server.room}/")
    expect(server.person.page.locator("li.failed")).to_contain_text("unsent")
    assert len(server.sockets) == 2


def test_a_connection_of_somebody_else_is_not_used(server: Server) -> None:
    server.person.say("for bob to say")
    server.hello(user={"id": "1", "name": "Alice"} if server.user["id"] != "1" else {"id": "2", "name": "Bob"})
    expect(server.person.status).to_have_text("You are logged out here.")
    assert server.frames == []


def test_the_server_says_how_long_to_wait(server: Server) -> None:
    server.join()
    server.person.page.clock.install()
    server.say(["live.bye", {"code": 4412, "reason": "the node is being replaced", "retry_after_ms": 60_000}])
    server.sockets[-1].close(code=4412)
    expect(server.person.page.locator("[data-part=countdown]")).to_have_text(" in 60 s")
    server.person.hurry()
    server.person.page.clock.run_for(50_000)
    expect(server.person.page.locator("[data-part=countdown]")).to_have_text(re.compile(" in (9|10) s"))
    assert len(server.sockets) == 1
    server.person.page.clock.run_for(11_000)
    server.until(lambda: len(server.sockets) == 2)


def test_a_room_that_may_not_be_joined_is_left_alone(server: Server) -> None:
    server.hello()
    server.refuse(server.heard("live.join"), "not_found", detail="There is no such room.")
    expect(server.person.status).to_have_text("There is no such room.")
    expect(server.person.composer).to_be_hidden()


def test_a_join_that_is_refused_for_now_is_tried_again(server: Server) -> None:
    server.hello()
    server.refuse(server.heard("live.join"), "unavailable", temporary=True, retry_after_ms=10)
    server.let_in(server.heard("live.join", 2))
    server.say(server.message(1, "in"))
    server.person.sees("in")


def test_a_right_that_ends_is_told(server: Server) -> None:
    server.join()
    server.say(["live.left", {"code": "revoked", "reason": "You may no longer read this room."}, {"room": server.room}])
    expect(server.person.status).to_have_text("You may no longer read this room.")
    expect(server.person.composer).to_be_hidden()

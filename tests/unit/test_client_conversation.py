"""What is heard, what comes of it, and what a WebSocket has to say: without a socket."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec
import pytest

from rooms.client import speech
from rooms.client.conversation import BACKLOG, Conversation
from rooms.client.errors import Broken, LiveError
from rooms.client.events import Reset
from rooms.client.following import Standing
from rooms.client.frames import JSON, MSGPACK, Format, Frame
from rooms.client.outbox import Command
from rooms.client.retry import End

ROOM = "acme/general"
HELLO = {
    "protocol": 1, "connection": "c1", "user": {"id": "7", "name": "Ann"}, "transport": "ws", "heartbeat_s": 25,
    "window": 16, "max_frame_bytes": 65536, "max_rooms": 100, "time": "2026-01-01T00:00:00Z",
}  # fmt: skip


DEEP: Any = 1
for _ in range(31):
    DEEP = [DEEP]


class Talk:
    """A conversation, and the server's part in it."""

    def __init__(self, format: Format = JSON) -> None:
        self.conversation = Conversation()
        self.format = format
        self.now = 0.0
        self._ids = count(1)

    def hear(self, *vectors: Any) -> End | None:
        return self.conversation.hear(Frame.of(list(vectors)), self.now, 0.5)

    def said(self) -> list[Any]:
        """The vectors that are due now."""
        decode = msgspec.json.decode if self.format.text else msgspec.msgpack.decode
        new_id = lambda: f"q{next(self._ids)}"  # noqa: E731
        frames = list(speech.due(self.conversation, self.format, self.now, new_id))
        return [vector for frame in frames for vector in decode(frame)]

    def connect(self, **more: Any) -> None:
        self.conversation.begin()
        self.hear(["live.hello", {**HELLO, **more}])

    def joined(self, cursor: str = "e1:10") -> Any:
        room = self.conversation.follow(ROOM, None)
        ((name, _, meta),) = self.said()
        assert name == "live.join"
        self.hear(["live.ok", {"room": ROOM, "verdict": "live", "cursor": cursor, "can": []}, {"re": meta["id"]}])
        assert room.standing is Standing.JOINED
        return room

    def messages(self, *seqs: int) -> None:
        for seq in seqs:
            self.hear(["chat.message", {}, {"room": ROOM, "seq": seq}])

    def take(self, room: Any) -> Any:
        return self.conversation.take(room, self.now)[0]


@pytest.fixture
def talk() -> Talk:
    talk = Talk()
    talk.connect()
    return talk


def test_nothing_is_said_before_the_hello() -> None:
    talk = Talk()
    talk.conversation.begin()
    talk.conversation.follow(ROOM, None)
    assert talk.said() == []
    assert speech.next_due(talk.conversation, 0) is None
    talk.hear(["live.hello", HELLO])
    assert [name for name, *_ in talk.said()] == ["live.join"]


def test_each_connection_asks_for_the_rooms_where_they_are(talk: Talk) -> None:
    talk.joined()
    talk.messages(11, 12)
    talk.connect()
    assert talk.said() == [["live.join", {"cursor": "e1:12"}, {"room": ROOM, "id": "q2"}]]
    assert talk.said() == []


def test_an_answer_of_an_earlier_connection_is_nobody_s(talk: Talk) -> None:
    talk.conversation.follow(ROOM, None)
    talk.said()
    talk.connect()
    talk.said()
    talk.hear(["live.ok", {"verdict": "live", "cursor": "e1:1"}, {"re": "q1"}])
    assert talk.conversation.rooms[ROOM].standing is Standing.ASKED


def test_a_reset_waits_in_the_stream(talk: Talk) -> None:
    room = talk.conversation.follow(ROOM, "e0:5")
    talk.said()
    talk.hear(
        ["live.ok", {"verdict": "reset", "cursor": "e1:7"}, {"re": "q1"}],
        ["chat.message", {}, {"room": ROOM, "seq": 8}],
    )
    assert isinstance(talk.take(room), Reset)
    assert talk.take(room).seq == 8


def test_a_poll_says_nothing_of_a_room_that_goes_on(talk: Talk) -> None:
    joins: list[int] = []
    talk.conversation.on_join = lambda: joins.append(1)
    known, new = talk.conversation.follow(ROOM, "e1:10"), talk.conversation.follow("acme/new", None)
    for room in (known, new):
        talk.conversation.ask(room, room.name)
    frame = Frame.of([["live.error", {"code": "unavailable", "temporary": True}, {"re": "acme/new"}]])
    talk.conversation.resumes([known, new], frame)
    talk.conversation.hear(frame, 0, 0.5)
    assert (known.standing, new.standing, len(joins)) == (Standing.JOINED, Standing.WANTED, 1)
    assert talk.conversation.due(0.4) == []
    assert talk.conversation.due(5) == [new]


def test_acknowledged_when_taken(talk: Talk) -> None:
    room = talk.joined()
    talk.messages(*range(11, 15))
    assert talk.said() == []
    for _ in range(4):
        talk.take(room)
    assert talk.said() == [["live.ack", {"frames": 4}]]


def test_a_frame_of_a_room_that_is_not_ours_is_counted(talk: Talk) -> None:
    talk.hear(["chat.message", {}, {"room": "acme/other", "seq": 1}])
    talk.now = 5
    assert talk.said() == [["live.ack", {"frames": 1}]]


def test_leaving_drops_what_waits_and_acknowledges_it(talk: Talk) -> None:
    room = talk.joined()
    talk.messages(*range(11, 15))
    talk.conversation.leave(room, 0)
    assert talk.said() == [["live.ack", {"frames": 4}], ["live.leave", {}, {"room": ROOM, "id": "q2"}]]
    talk.messages(15)
    assert len(talk.conversation.flow) == 0
    again = talk.conversation.follow(ROOM, None)
    assert again is not room


def test_rooms_wait_for_an_application_that_is_behind() -> None:
    """Else one that never catches up would be given another window by each connection."""
    talk = Talk()
    talk.connect(window=1000)
    room = talk.joined()
    talk.messages(*range(11, 11 + BACKLOG + 5))
    talk.connect()
    assert talk.said() == []
    assert speech.next_due(talk.conversation, 0) is None
    command = Command("a-command-of-ours", JSON.vector("chat.send", {}, room=ROOM, id="a"), 60, lambda outcome: None)
    talk.conversation.outbox.add(command)
    assert [name for name, *_ in talk.said()] == ["chat.send"]
    for _ in range(6):
        talk.take(room)
    assert [name for name, *_ in talk.said()] == ["live.join"]


def test_a_goodbye_is_the_end() -> None:
    talk = Talk()
    talk.connect()
    bye = {"code": 4412, "reason": "this node is being replaced", "retry_after_ms": 250}
    assert talk.hear(["live.bye", bye]) == End(4412, "this node is being replaced", 0.25)


def test_a_broken_rule_keeps_what_came_before(talk: Talk) -> None:
    room = talk.joined()
    with pytest.raises(Broken):
        talk.hear(
            ["chat.message", {}, {"room": ROOM, "seq": 11}],
            ["chat.message", {}, {"room": ROOM, "seq": 13}],
        )
    assert talk.take(room).seq == 11
    assert room.cursor == "e1:11"


def test_a_malformed_vector_costs_only_itself(talk: Talk) -> None:
    room = talk.joined()
    talk.hear(7, ["x"], ["chat.message", {}, {"room": ROOM, "seq": "one"}], ["chat.typing", {}, {"room": ROOM}])
    assert talk.conversation.malformed == 3
    assert talk.take(room).name == "chat.typing"


def test_what_answers_nothing_is_a_complaint(talk: Talk) -> None:
    complaints: list[LiveError] = []
    talk.conversation.on_complaint = complaints.append
    talk.hear(["live.error", {"code": "bad_frame", "detail": "What?", "temporary": False}])
    talk.hear(["live.ok", {}, {"re": "unknown"}])
    assert [error.code for error in complaints] == ["bad_frame"]


def test_frames_stay_below_the_limit() -> None:
    talk = Talk()
    talk.connect(max_frame_bytes=300)
    for number in range(20):
        talk.conversation.follow(f"acme/room-{number}", "e1:1")
    frames = list(speech.due(talk.conversation, JSON, 0, lambda: "x" * 22))
    assert len(frames) > 5
    assert max(map(len, frames)) <= 300
    assert sum(len(msgspec.json.decode(frame)) for frame in frames) == 20


def test_the_same_in_messagepack() -> None:
    talk = Talk(MSGPACK)
    talk.connect()
    talk.joined()
    assert talk.conversation.hello is not None
    assert talk.conversation.hello.user is not None
    assert talk.conversation.hello.user.name == "Ann"


@pytest.mark.parametrize("format", [JSON, MSGPACK])
class TestFormats:
    def test_there_and_back(self, format: Format) -> None:
        sent = [format.vector("a.b", {"text": "é\u2028"}, room=ROOM), format.vector("a.c", {})]
        frame = format.parse(format.frame(sent))
        assert [(vector.name, vector.data, vector.meta.room) for vector in frame.vectors] == [
            ("a.b", {"text": "é\u2028"}, ROOM),
            ("a.c", {}, None),
        ]
        assert frame.counted
        assert format.parse(format.frame([])) == Frame([])

    @pytest.mark.parametrize(
        "data",
        [
            {"a": "\ud800"},
            {"a": object()},
            {"a": 2**70},
            {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
        ],
    )
    def test_what_no_frame_holds(self, format: Format, data: Any) -> None:
        if format is JSON and data == {"a": 2**70}:
            pytest.skip("JSON's numbers have no end")
        with pytest.raises(LiveError, match="bad_data"):
            format.vector("a.b", data)

    @pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xff", b'{"a": 1}', b"7", b"\xc1", b"[" * 5000])
    def test_what_is_no_frame(self, format: Format, raw: bytes) -> None:
        with pytest.raises(Broken):
            format.parse(raw)

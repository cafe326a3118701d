"""What a client must not say: each row of the protocol's error table that a session decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rooms import contract
from rooms.contract import PROTOCOL_ERROR
from rooms.delivery.session import Session, Shut, Terms
from tests.unit.test_session import EFFECT, IDS, ROOM, answer, joined, say

pytestmark = pytest.mark.usefixtures("host_commands")

REFUSED: dict[str, tuple[Any, str, str | None]] = {
    # what is said: (vector, code, re)
    "a vector that is no array": ("chat.send", "bad_data", None),
    "a vector of one": (["chat.send"], "bad_data", None),
    "a vector of four": (["chat.send", {}, IDS, 1], "bad_data", None),
    "a name that is a number": ([1, {}, IDS], "bad_data", EFFECT),
    "data that is null": (["chat.send", None, IDS], "bad_data", EFFECT),
    "data that is an array": (["chat.send", ["hi"], IDS], "bad_data", EFFECT),
    "meta that is an array": (["chat.send", {"text": "x"}, []], "bad_data", None),
    "a NUL in the text": (["chat.send", {"text": "a\0b"}, IDS], "bad_data", EFFECT),
    "a NUL in a key": (["test.vote", {"a\0": 1}, IDS], "bad_data", EFFECT),
    "a NUL in the name": (["chat\0send", {}, IDS], "bad_data", EFFECT),
    "a NUL in the room": (["test.vote", {"option": 1}, {"room": "a\0/b", "id": EFFECT}], "bad_data", EFFECT),
    "a text that is empty": (["chat.send", {"text": ""}, IDS], "bad_data", EFFECT),
    "a text that is a number": (["chat.send", {"text": 1}, IDS], "bad_data", EFFECT),
    "a field that nobody knows": (["chat.send", {"text": "x", "x": 1}, IDS], "bad_data", EFFECT),
    "a field that is missing": (["chat.send", {}, IDS], "bad_data", EFFECT),
    "a command without a room": (["chat.send", {"text": "x"}, {"id": EFFECT}], "bad_data", EFFECT),
    "a room that is a number": (["chat.send", {"text": "x"}, {"id": EFFECT, "room": 7}], "bad_data", EFFECT),
    "an id that is a number": (["test.vote", {"option": 1}, {"room": ROOM, "id": 7}], "bad_data", None),
    "an id with a space": (["test.vote", {"option": 1}, {"room": ROOM, "id": EFFECT + " "}], "bad_data", None),
    "an id with a line end": (["test.vote", {"option": 1}, {"room": ROOM, "id": EFFECT + "\n"}], "bad_data", None),
    "an id of 65": (["test.vote", {"option": 1}, {"room": ROOM, "id": "x" * 65}], "bad_data", None),
    "an effect's id of 15": (["test.vote", {"option": 1}, {"room": ROOM, "id": "x" * 15}], "bad_data", "x" * 15),
    "an effect without an id": (["test.vote", {"option": 1}, {"room": ROOM}], "id_required", None),
    "a name that nobody knows": (["poll.open", {}, IDS], "unknown_name", EFFECT),
    "an event's name": (["chat.message", {}, IDS], "unknown_name", EFFECT),
    "a name of the server's": (["live.ok", {}, IDS], "unknown_name", EFFECT),
    "a live name that nobody knows": (["live.shout", {}, IDS], "unknown_name", EFFECT),
    "an empty name": (["", {}, IDS], "unknown_name", EFFECT),
    "a command that only REST offers": (["test.rest_only", {"option": 1}, IDS], "unknown_name", EFFECT),
    "the same without an id": (["test.rest_only", {"option": 1}, {"room": ROOM}], "unknown_name", None),
    "the making of a member": (["member.set", {"user": "1", "role": "owner"}, IDS], "unknown_name", EFFECT),
    "a join without an id": (["live.join", {}, {"room": ROOM}], "id_required", None),
    "a join without a room": (["live.join", {}, {"id": "1"}], "bad_data", "1"),
    "a cursor that is none": (["live.join", {"cursor": "41"}, {"room": ROOM, "id": "1"}], "bad_data", "1"),
    "a cursor below zero": (["live.join", {"cursor": "e7a1:-1"}, {"room": ROOM, "id": "1"}], "bad_data", "1"),
    "a cursor of other digits": (["live.join", {"cursor": "e7a1:\u0664"}, {"room": ROOM, "id": "1"}], "bad_data", "1"),
    "an empty cursor": (["live.join", {"cursor": ""}, {"room": ROOM, "id": "1"}], "bad_data", "1"),
    "a cursor and the state": (
        ["live.join", {"cursor": "e7a1:4", "state": True}, {"room": ROOM, "id": "1"}],
        "bad_data",
        "1",
    ),
    "leaving what was not joined": (["live.leave", {}, {"room": ROOM, "id": "1"}], "not_joined", "1"),
    "leaving with data": (["live.leave", {"why": 1}, {"room": ROOM, "id": "1"}], "bad_data", "1"),
    "an acknowledgement of a word": (["live.ack", {"frames": "all"}], "bad_data", None),
    "an acknowledgement below zero": (["live.ack", {"frames": -1}], "bad_data", None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_answered_and_closes_nothing(session: Session, case: str) -> None:
    vector, code, re = REFUSED[case]
    actions = say(session, vector)
    assert [answer(action) for action in actions] == [(code, re)]


def test_the_table_covers_the_codes_that_a_session_decides() -> None:
    """The others need the gate, the log or the clock of a node."""
    elsewhere = {
        "not_found",
        "forbidden",
        "unauthenticated",
        "conflict",
        "id_reused",
        "rate_limited",
        "too_many_connections",
        "unavailable",
    }
    below = {"bad_frame", "too_large", "too_many_rooms"}
    assert {code for _, code, _ in REFUSED.values()} | below | elsewhere == set(contract.ERRORS)


def test_more_rooms_than_the_limit_are_refused(session: Session) -> None:
    joined(session, "acme/a", "acme/b")
    (action,) = say(session, ["live.join", {}, {"room": "acme/c", "id": "1"}])
    assert answer(action) == ("too_many_rooms", "1")


BROKEN: dict[str, str | bytes | None] = {
    "an empty message": "",
    "no message at all": None,
    "no JSON": "hello",
    "half of a frame": '[["chat.send", {"text": "x"}',
    "two frames": "[][]",
    "an object": "{}",
    "a string": '"[]"',
    "a number": "1",
    "null": "null",
    "a binary message": b"[]",
    "a binary message that is empty": b"",
    "a byte order mark": "\ufeff[]",
    "a lone surrogate": '[["chat.send", {"text": "\ud800"}]]',
    "a lone surrogate, escaped": r'[["chat.send", {"text": "\ud800"}, {"room": "acme/general"}]]',
    "half of an escaped pair": r'[["chat.send", {"text": "\ud83dx"}]]',
    "a number beyond all": "[[1e999]]",
    "not a number": "[NaN]",
    "33 levels": "[" * 33 + "]" * 33,
    "33 levels of objects": '[["x",' + '{"a":' * 31 + "1" + "}" * 31 + "]]",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_frame_that_cannot_be_read_is_answered_once(session: Session, case: str) -> None:
    actions = list(session.receive(BROKEN[case], now=0))
    assert [answer(action) for action in actions] == [("bad_frame", None)]


def test_thirty_two_levels_are_read(session: Session) -> None:
    frame = '[["x",' + '{"a":' * 30 + "1" + "}" * 30 + "]]"
    assert [answer(action) for action in session.receive(frame, now=0)] == [("unknown_name", None)]


def test_ten_thousand_levels_are_refused_like_any_other(terms: Terms) -> None:
    session = Session(replace(terms, max_frame_bytes=65_536), now=0)
    for text in ("[" * 10_000, "[" * 10_000 + "]" * 10_000, '[["x",' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "]]"):
        assert [answer(action) for action in session.receive(text, now=0)] == [("bad_frame", None)]


def test_a_frame_above_the_limit_is_answered_and_above_twice_the_limit_ends_it(session: Session, terms: Terms) -> None:
    limit = terms.max_frame_bytes
    assert [answer(action) for action in session.receive("[" + " " * limit + "]", now=0)] == [("too_large", None)]
    assert list(session.receive("[" + " " * (limit - 2) + "]", now=0)) == []
    umlauts = '["' + "ä" * (limit // 2) + '"]'
    assert [answer(action) for action in session.receive(umlauts, now=0)] == [("too_large", None)], "bytes count"
    assert list(session.receive(" " * (2 * limit + 1), now=0)) == [Shut(PROTOCOL_ERROR)]


def test_the_fifth_broken_frame_in_a_minute_ends_it(session: Session) -> None:
    for now in (0, 10, 20, 30):
        assert [answer(action) for action in session.receive("x", now=now)] == [("bad_frame", None)]
    last = list(session.receive("x", now=59))
    assert answer(last[0]) == ("bad_frame", None)
    assert last[1:] == [Shut(PROTOCOL_ERROR)]


def test_broken_frames_that_are_further_apart_do_not(session: Session) -> None:
    for number in range(100):
        assert [answer(action) for action in session.receive("x", now=number * 15.1)] == [("bad_frame", None)]


def test_what_is_refused_otherwise_never_counts_as_broken(session: Session, terms: Terms) -> None:
    large = "[" + " " * terms.max_frame_bytes + "]"
    for _ in range(50):
        assert not any(isinstance(action, Shut) for action in say(session, ["nobody.knows", {}], ["x"], 7))
        assert not any(isinstance(action, Shut) for action in session.receive(large, now=0))

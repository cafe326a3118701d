"""One connection's conversation: what a client may say, what it is told, and when it ends. Time is an argument."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest

from rooms import contract
from rooms.contract import IDLE, PROTOCOL_ERROR, TOO_SLOW, Cursor
from rooms.delivery.frames import HEARTBEAT
from rooms.delivery.session import UNANSWERED, Action, Credit, Join, Leave, Perform, Renew, Say, Session, Shut, Terms

ROOM = "acme/general"
EFFECT = "k3J9-abc_DEF0123"


IDS = {"room": ROOM, "id": EFFECT}
pytestmark = pytest.mark.usefixtures("host_commands")


def say(session: Session, *vectors: Any, now: float = 0) -> list[Action]:
    return list(session.receive(msgspec.json.encode(vectors).decode(), now))


def joined(session: Session, *rooms: str) -> None:
    session.rooms.update({room: cast(Any, object()) for room in rooms})


def answer(action: Action) -> tuple[str, str | None]:
    """The code of a live.error and its ``re``."""
    assert isinstance(action, Say)
    name, data, *rest = msgspec.json.decode(action.vector)
    assert name == "live.error"
    assert data["temporary"] is contract.ERRORS[data["code"]].temporary
    assert data["detail"].strip()
    return data["code"], rest[0]["re"] if rest else None


# --- what is right


def test_an_empty_frame_is_the_heartbeat_and_asks_for_nothing(session: Session) -> None:
    assert say(session) == []


def test_a_command_is_handed_on_with_its_data_checked(session: Session) -> None:
    (action,) = say(session, ["test.vote", {"option": 3}, {"room": ROOM, "id": EFFECT}])
    assert isinstance(action, Perform)
    assert (action.request.type.name, action.request.room, action.request.id) == ("test.vote", ROOM, EFFECT)
    assert action.request.data.option == 3


def test_vectors_are_handled_in_their_order_and_a_bad_one_refuses_only_itself(session: Session) -> None:
    first, second, third = say(
        session,
        ["test.vote", {"option": 1}, {"room": ROOM, "id": EFFECT + "1"}],
        ["test.vote", {"option": "x"}, {"room": ROOM, "id": EFFECT + "2"}],
        ["test.vote", {"option": 3}, {"room": ROOM, "id": EFFECT + "3"}],
    )
    assert isinstance(first, Perform)
    assert answer(second) == ("bad_data", EFFECT + "2")
    assert isinstance(third, Perform)


def test_a_join_may_have_a_cursor_or_ask_for_the_state(session: Session) -> None:
    assert say(session, ["live.join", {}, {"room": ROOM, "id": "1"}]) == [Join("1", ROOM, None, False)]
    assert say(session, ["live.join", {"state": True}, {"room": ROOM, "id": "1"}]) == [Join("1", ROOM, None, True)]
    cursor = Cursor("e7a1", 41)
    assert say(session, ["live.join", {"cursor": "e7a1:41"}, {"room": ROOM, "id": "1"}]) == [
        Join("1", ROOM, cursor, False)
    ]


def test_a_joined_room_can_be_left_and_can_be_joined_again_at_the_limit(session: Session) -> None:
    joined(session, ROOM, "acme/random")
    assert say(session, ["live.leave", {}, {"room": ROOM, "id": "1"}]) == [Leave("1", session.rooms[ROOM])]
    assert isinstance(say(session, ["live.join", {}, {"room": ROOM, "id": "2"}])[0], Join)


def test_text_is_neither_trimmed_nor_normalised(session: Session) -> None:
    text = "  e\u0301 \u00e9\t\x01\r\n "
    (action,) = say(session, ["chat.send", {"text": text}, {"room": ROOM, "id": EFFECT}])
    assert isinstance(action, Perform)
    assert action.request.data.text == text


# --- acknowledgements


def test_an_acknowledgement_gives_credit_and_is_never_answered(session: Session) -> None:
    session.flow.count(now=0)
    assert say(session, ["live.ack", {"frames": 1}]) == [Credit()]
    assert say(session, ["live.ack", {"frames": 1}, {"id": "1"}]) == [Credit()]


def test_acknowledging_more_than_was_sent_ends_it(session: Session) -> None:
    assert say(session, ["live.ack", {"frames": 1}]) == [Shut(PROTOCOL_ERROR)]


def test_nothing_is_done_of_a_frame_after_what_ended_it(session: Session) -> None:
    actions = say(session, ["live.ack", {"frames": 1}], ["test.vote", {"option": 1}, IDS])
    assert actions == [Shut(PROTOCOL_ERROR)]


def test_without_a_window_an_acknowledgement_is_refused(terms: Terms) -> None:
    session = Session(replace(terms, window=None), now=0)
    assert [answer(action) for action in say(session, ["live.ack", {"frames": 0}])] == [("bad_data", None)]


# --- time


def test_the_heartbeat_comes_after_silence_and_its_answer_keeps_it_alive(session: Session) -> None:
    joined(session, ROOM)
    assert list(session.tick(now=24.9)) == []
    assert list(session.tick(now=25)) == [Say(HEARTBEAT)]
    session.wrote(now=25)
    assert list(session.tick(now=30)) == [], "one is enough"
    say(session, now=34.9)
    assert list(session.tick(now=36)) == []


def test_a_heartbeat_without_an_answer_ends_it(session: Session) -> None:
    joined(session, ROOM)
    list(session.tick(now=25))
    session.wrote(now=25)
    assert list(session.tick(now=34.9)) == []
    assert list(session.tick(now=35)) == [Shut(UNANSWERED)]


def test_a_client_that_only_listens_is_asked_too(session: Session) -> None:
    """Else one that has gone without a word would be written to for ever."""
    joined(session, ROOM)
    for now in range(25):
        session.wrote(now)
        assert list(session.tick(now)) == []
    assert list(session.tick(now=25)) == [Say(HEARTBEAT)]


def test_a_client_that_talks_is_told_that_the_server_lives(session: Session) -> None:
    joined(session, ROOM)
    for now in range(25):
        say(session, ["live.ack", {"frames": 0}], now=now)
    assert list(session.tick(now=25)) == [Say(HEARTBEAT)]


def test_an_oldest_frame_that_is_too_old_ends_it(session: Session) -> None:
    joined(session, ROOM)
    session.flow.count(now=0)
    say(session, now=29)
    session.wrote(now=29)
    assert list(session.tick(now=30)) == []
    assert Shut(TOO_SLOW) in list(session.tick(now=30.1))


def test_joined_to_nothing_it_is_idle_after_a_while_whatever_else_it_does(session: Session) -> None:
    for now in range(0, 120, 10):
        say(session, now=now)
        session.wrote(now)
        assert list(session.tick(now)) == []
    say(session, now=119)
    session.wrote(119)
    assert list(session.tick(now=120)) == [Shut(IDLE)]


def test_the_time_that_it_was_joined_is_not_idle(session: Session) -> None:
    def alive(now: float) -> list[Action]:
        say(session, now=now)
        session.wrote(now)
        return list(session.tick(now))

    joined(session, ROOM)
    assert alive(1_000) == []
    session.rooms.clear()
    assert alive(1_119) == []
    assert alive(1_120) == [Shut(IDLE)]


def test_a_newer_ticket_is_shown_to_whoever_carries_out(session: Session) -> None:
    assert say(session, ["live.auth", {"ticket": "x"}, {"id": "1"}]) == [Renew("1", "x")]
    assert answer(say(session, ["live.auth", {}, {"id": "2"}])[0]) == ("bad_data", "2")

"""What may be said: the registries, the names, and each shape there and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms import contract
from rooms.contract import COMMANDS, EVENTS, Cursor, Policy, Refused

PERSON = contract.Person("7", "Ada Lovelace")
NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
MESSAGE = contract.Message("m1", PERSON, NOW, 1, None, text="hi")
GONE = contract.Message("m1", None, NOW, 2, "m0", deleted=True)
ROOM: dict[str, Any] = {
    "slug": "general",
    "tenant": "acme",
    "name": "General",
    "visibility": contract.Visibility.TENANT,
    "read_only": False,
    "archived": False,
    "epoch": "e7a1",
    "head": 41,
}

SHAPES: list[msgspec.Struct] = [
    PERSON,
    MESSAGE,
    GONE,
    contract.DeletedMessage("m1", 2),
    contract.Room(**ROOM),
    contract.Tenant("acme", "Acme", contract.Role.OWNER),
    contract.Member(PERSON, "guest"),
    contract.Ticket("W10.1.x", NOW),
    contract.Error("conflict", "A newer version exists.", False, version=3),
    contract.Error("rate_limited", "Slower.", True, retry_after_ms=100),
    contract.Close(4408, "too slow"),
    contract.Close(4412, "replaced", retry_after_ms=5),
    contract.Empty(),
    contract.ChatMessage(MESSAGE),
    contract.ChatEdited(MESSAGE),
    contract.ChatDeleted(contract.DeletedMessage("m1", 2)),
    contract.ChatReaction("m1", "👍", ["7"]),
    contract.ChatRead(PERSON, 41),
    contract.ChatRead(PERSON, 41, "general"),
    contract.ChatTyping(PERSON, True),
    contract.RoomEvent(**ROOM),
    contract.RoomRemoved("general"),
    contract.RoomAnnouncement("maintenance", "warning"),
    contract.LiveJoin(cursor="e7a1:41"),
    contract.LiveJoin(state=True),
    contract.LiveAck(7),
    contract.LiveAuth("t"),
    contract.ChatSend("hi", "m0"),
    contract.ChatEdit("m1", "hi", 2),
    contract.ChatDelete("m1"),
    contract.ChatReact("m1", "👍", on=False),
    contract.SetTyping(),
    contract.MarkRead(41),
    contract.CreateRoom("general", "General"),
    contract.UpdateRoom(archived=True),
    contract.UpdateTenant("Acme"),
    contract.SetMember("7", contract.Role.ADMIN),
    contract.SetParticipant("7", contract.Part.BANNED),
    contract.Remove("7"),
    contract.Sent(42, "m1", 1, NOW),
    contract.Changed(43, 2),
    contract.Logged(44),
    Cursor("e7a1", 41),
]
SHAPELESS = {contract.Request}  # never on the wire


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What a test declares is gone afterwards."""
    events, commands = dict(EVENTS), dict(COMMANDS)
    yield
    for registry, before in ((EVENTS, events), (COMMANDS, commands)):
        registry.clear()
        registry.update(before)  # type: ignore[arg-type]


# --- shapes


@pytest.mark.parametrize("value", SHAPES, ids=lambda value: type(value).__name__)
def test_each_shape_goes_out_and_comes_back_the_same(value: msgspec.Struct) -> None:
    assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value


def test_no_shape_was_forgotten_above() -> None:
    declared = {
        found
        for found in vars(contract).values()
        if isinstance(found, type)
        and issubclass(found, msgspec.Struct)
        and found.__module__.startswith(contract.__name__)
    }
    assert declared - SHAPELESS == {type(value) for value in SHAPES}


@pytest.mark.parametrize("kind", COMMANDS.values(), ids=lambda kind: kind.name)
def test_a_command_takes_no_field_that_it_does_not_know(kind: contract.CommandType) -> None:
    """Else a client's typing error would be obeyed in part."""
    assert kind.data.__struct_config__.forbid_unknown_fields


def test_a_deleted_message_has_no_text_and_a_message_no_deleted() -> None:
    assert set(msgspec.to_builtins(GONE)) == {"id", "author", "created_at", "version", "reply_to", "deleted"}
    assert set(msgspec.to_builtins(MESSAGE)) == {"id", "author", "created_at", "version", "reply_to", "text"}


def test_times_are_rfc_3339_in_utc_and_need_a_zone() -> None:
    assert msgspec.to_builtins(MESSAGE)["created_at"] == "2026-11-24T06:30:00Z"
    with pytest.raises(Refused):
        contract.checked({"seq": 1, "message": "m", "version": 1, "created_at": "2026-11-24T06:30:00"}, contract.Sent)


@pytest.mark.parametrize("slug", ["a", "7", "a-b_c", "x" * 50])
def test_what_a_slug_may_be(slug: str) -> None:
    assert contract.checked({"slug": slug, "name": "x"}, contract.CreateRoom).slug == slug


@pytest.mark.parametrize(
    "slug", ["", "A", "~all", "a~mods", "-a", "_a", "a/b", "a b", "ä", "a\n", "x" * 51, "a\0", "٣"]
)
def test_what_a_slug_may_not_be(slug: str) -> None:
    with pytest.raises(Refused) as refused:
        contract.checked({"slug": slug, "name": "x"}, contract.CreateRoom)
    assert refused.value.code == "bad_data"


def test_a_text_has_8000_characters_and_not_one_more() -> None:
    assert contract.checked({"text": "\U0001f600" * 8_000}, contract.ChatSend)
    with pytest.raises(Refused):
        contract.checked({"text": "x" * 8_001}, contract.ChatSend)


# --- events


def test_the_built_in_events_have_the_policies_of_the_protocol() -> None:
    assert {
        name: str(kind.policy) for name, kind in EVENTS.items() if name.partition(".")[0] in ("chat", "room", "member")
    } == {
        "chat.message": "durable",
        "chat.edited": "durable",
        "chat.deleted": "durable",
        "chat.reaction": "latest",
        "chat.read": "latest",
        "chat.typing": "transient",
        "room.created": "durable",
        "room.updated": "durable",
        "room.archived": "durable",
        "room.removed": "durable",
        "room.announcement": "durable",
        "member.added": "durable",
        "member.changed": "durable",
        "member.removed": "durable",
    }


def test_the_keys_of_latest_events_tell_apart_what_is_apart() -> None:
    reaction, read = EVENTS["chat.reaction"].key, EVENTS["chat.read"].key
    assert reaction is not None
    assert read is not None
    assert reaction(contract.ChatReaction("m1", "👍", [])) != reaction(contract.ChatReaction("m1", "👎", []))
    marks = [
        contract.ChatRead(PERSON, 1),
        contract.ChatRead(PERSON, 1, "general"),
        contract.ChatRead(PERSON, 1, "random"),
    ]
    assert len({read(mark) for mark in marks}) == 3
    longest = contract.ChatReaction("m" * 36, "x" * contract.EMOJI_MAX, [])
    assert len(reaction(longest)) <= contract.KEY_MAX


@pytest.mark.parametrize(
    "name", ["poll", "Poll.voted", "poll.", ".poll", "poll..voted", "poll voted", "live.poll", "poll.x\n", "1.a"]
)
def test_a_name_that_is_none_is_not_declared(name: str) -> None:
    with pytest.raises(ValueError, match="not an event name"):
        contract.event(name)
    with pytest.raises(ValueError, match="not a command name"):
        contract.command(name, contract.Empty)
    assert name not in EVENTS
    assert name not in COMMANDS


def test_a_name_is_declared_once() -> None:
    contract.event("test.once")(contract.Empty)
    with pytest.raises(ValueError, match="declared already"):
        contract.event("test.once")
    contract.command("test.once", contract.Empty)(lambda call, data: None)
    with pytest.raises(ValueError, match="declared already"):
        contract.command("test.once", contract.Empty)


@pytest.mark.parametrize("policy", [Policy.DURABLE, Policy.TRANSIENT])
def test_a_key_belongs_to_a_latest_event_and_to_no_other(policy: Policy) -> None:
    with pytest.raises(ValueError, match="a key belongs"):
        contract.event("test.keyed", policy=policy, key=lambda data: "x")
    with pytest.raises(ValueError, match="a key belongs"):
        contract.event("test.keyed", policy="latest")


def test_a_transient_command_is_never_remembered() -> None:
    contract.command("test.transient", contract.Empty, transient=True)(lambda call, data: None)
    assert not COMMANDS["test.transient"].remembered


# --- errors, closings, cursors


def test_an_error_never_names_a_room_and_tells_whether_to_try_again() -> None:
    for code, kind in contract.ERRORS.items():
        data = Refused(code, "No.").as_data()
        assert (data.code, data.temporary) == (code, kind.temporary)
        assert 400 <= Refused(code, "No.").http < 600
    assert "general" not in contract.not_found().detail


def test_close_codes_tell_whether_to_come_back() -> None:
    """4000 to 4499 may reconnect, 4500 to 4999 must not."""
    come_back = {contract.TOO_SLOW, contract.IDLE}
    stay_away = {contract.PROTOCOL_ERROR, contract.UNAUTHENTICATED, contract.FORBIDDEN}
    assert all(4000 <= close.code < 4500 for close in come_back)
    assert all(4500 <= close.code < 5000 for close in stay_away)


@given(st.text("0123456789abcdef", min_size=1, max_size=16), st.integers(0, 2**53))
def test_a_cursor_is_written_as_it_is_read(epoch: str, seq: int) -> None:
    assert Cursor.parse(str(Cursor(epoch, seq))) == Cursor(epoch, seq)


@given(st.text(max_size=40))
def test_what_is_no_cursor_is_refused_and_nothing_else_happens(text: str) -> None:
    with suppress(Refused):
        assert Cursor.parse(text).seq < 2**63


def test_command_ids_are_long_and_differ() -> None:
    ids = {contract.new_command_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(contract.COMMAND_ID.match(one) and len(one) >= contract.EFFECT_ID_MIN for one in ids)


@given(
    st.recursive(
        st.text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_a_nul_is_found_wherever_it_hides(value: Any) -> None:
    there = "\\u0000" in msgspec.json.encode(value).decode().replace("\\\\", "")
    assert contract.any_nul(value) == there
    assert contract.holds_nul(msgspec.json.encode(value)) == there

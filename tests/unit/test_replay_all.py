"""The acceptance check finds what it is there to find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rooms.management import irc
from tests.acceptance.replay_all import Part, Reader, Spoken, Wrong, expected

SAMPLE = Path(__file__).parents[1] / "data" / "irc-sample.txt"
LINES = [("ann", "one"), ("bo", " two "), ("ann", "three")]


def message(seq: int, name: str, text: str) -> Any:
    author = {"id": name, "name": name}
    return ["chat.message", {"message": {"author": author, "text": text}}, {"room": "a/b", "seq": seq, "by": name}]


def heard(*vectors: Any, head: int = 0) -> Reader:
    reader = Reader("http://site.example", "a/b", "", len(LINES), _place=head)
    for vector in vectors:
        reader._take([vector])
    return reader


def complaints(*spoken: Spoken) -> list[str]:
    reader = heard(*(message(seq, *line) for seq, line in enumerate(spoken, start=1)))
    return list(Part(SAMPLE, "a/b", LINES, [reader]).complaints())


def test_two_readings_of_the_format_agree() -> None:
    lines = irc.parse(SAMPLE.read_bytes().decode())
    assert expected(SAMPLE.read_bytes()) == [speech for line in lines if (speech := irc.spoken(line))]


def test_all_is_well() -> None:
    assert complaints(*LINES) == []
    reader = heard(message(8, "ann", "one"), ["live.cursor", {"seq": 12, "skipped": 4}, {"room": "a/b"}], head=7)
    reader._take([message(13, "bo", " two "), message(14, "ann", "three")])
    assert (reader.complete.is_set(), reader.skipped, reader.frames) == (True, 4, 2)


@pytest.mark.parametrize(
    "spoken",
    [
        LINES[:2],
        [*LINES, LINES[2]],
        [LINES[0], LINES[0], *LINES[1:]],
        [LINES[1], LINES[0], LINES[2]],
        [LINES[0], ("bo", "two"), LINES[2]],
        [LINES[0], ("Bo", " two "), LINES[2]],
        [],
    ],
)
def test_missing_doubled_reordered_and_changed_lines_are_found(spoken: list[Spoken]) -> None:
    assert len(complaints(*spoken)) == 1


@pytest.mark.parametrize(
    "vectors",
    [
        [message(1, "ann", "one"), message(1, "ann", "one")],
        [message(1, "ann", "one"), message(3, "ann", "three")],
        [message(2, "ann", "one")],
        [["live.cursor", {"seq": 0, "skipped": 0}, {"room": "a/b"}]],
        [["live.reset", {"cursor": "e:1", "reason": "trimmed"}, {"room": "a/b"}]],
        [["live.left", {"code": "revoked", "reason": ""}, {"room": "a/b"}]],
        [["live.bye", {"code": 4408, "reason": "too slow"}]],
        [["chat.message", {}, {"room": "another/room", "seq": 1}]],
    ],
)
def test_what_the_protocol_does_not_allow_is_found(vectors: list[Any]) -> None:
    with pytest.raises(Wrong):
        heard(*vectors)

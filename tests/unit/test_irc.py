"""The format of IRC logs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.management import irc
from rooms.management.irc import Acted, Joined, Left, Line, Notice, Renamed, Said

SAMPLE = Path(__file__).parent.parent / "data" / "irc-sample.txt"

# any text that UTF-8 can hold, on one line
texts = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1)
words = st.text(st.characters(codec="utf-8", exclude_characters="<>\0"), min_size=1, max_size=30)
nicks = words.map(lambda word: "".join(word.split())).filter(lambda nick: 0 < len(nick.encode()) <= irc.NICK_MAX)
minutes = st.integers(0, 1439)
lines: st.SearchStrategy[Line] = st.one_of(
    st.builds(Said, minutes, nicks, texts),
    st.builds(Acted, minutes, nicks, texts),
    st.builds(Joined, nicks),
    st.builds(Left, nicks),
    st.builds(Renamed, nicks, nicks),
    st.sampled_from([Notice(""), Notice("=== mode/#ubuntu  by ChanServ"), Notice("=== radix sulks"), Notice("hm")]),
)


@given(st.lists(lines))
def test_what_is_rendered_is_parsed_back(log: list[Line]) -> None:
    assert irc.parse(irc.render(log)) == log


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_lines_and_no_line_is_lost(text: str) -> None:
    assert len(irc.parse(text)) == text.count("\n") + (not text.endswith("\n") and text != "")


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("[09:03] <nick> text", Said(543, "nick", "text")),
        ("[23:59] <nick>  two  spaces ", Said(1439, "nick", " two  spaces ")),
        ("[00:00] <nick>  ", Said(0, "nick", " ")),
        ("[00:00] <a> <b> text", Said(0, "a", "<b> text")),
        ("[00:00] <John[1] > text", Said(0, "John[1]", "text")),
        ("[00:00] <[a]b> text", Said(0, "[a]b", "text")),
        ("[00:00] <*> text", Said(0, "*", "text")),
        ("[00:00] <nick> \x02bold\x02 \x0c\x1f\x85\u2028\r", Said(0, "nick", "\x02bold\x02 \x0c\x1f\x85\u2028\r")),
        ("[00:00] <nick> === nick  has joined #ubuntu", Said(0, "nick", "=== nick  has joined #ubuntu")),
        ("[04:48]  * unperson sits and listens", Acted(288, "unperson", "sits and listens")),
        ("[04:48] * unperson sits", Acted(288, "unperson", "sits")),
        ("[04:48]  * x[1] does  this", Acted(288, "x[1]", "does  this")),
        ("=== HaRDaWaY  has joined #ubuntu", Joined("HaRDaWaY")),
        ("=== HaRDaWaY has joined #Ubuntu", Joined("HaRDaWaY")),
        ("=== [x]  [n=4UK@host.example]  has joined #ubuntu", Joined("[x]")),
        ("=== [_x_] _ [n=a@host.example]  has joined #ubuntu", Joined("[_x_]_")),
        ("=== nick [i=~a@host.example] has joined #ubuntu", Joined("nick")),
        ("=== nick  has left #ubuntu []", Left("nick")),
        ("=== nick  has left #ubuntu", Left("nick")),
        ('=== nick  has left #ubuntu ["so long [and] thanks"]', Left("nick")),
        ("=== [x]  [n=4UK@host.example]  has left #ubuntu []", Left("[x]")),
        ("=== Foo is now known as foo", Renamed("Foo", "foo")),
        ("=== [a] is now known as a|b^`", Renamed("[a]", "a|b^`")),
    ],
)
def test_every_kind_of_line(line: str, parsed: Line) -> None:
    assert irc.parse(line) == [parsed]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "=== mode/#ubuntu  by ChanServ",
        "=== nick has joined the dark side",
        "=== nick is now known as nobody at all",
        "=== radix sulks",
        "[09:03] <nick>",
        "[09:03] <nick> ",
        "[9:03] <nick> text",
        "[24:00] <nick> text",
        "[09:60] <nick> text",
        "[09:03] <two words> text",
        "[09:03] <> text",
        "[09:03] <" + "n" * (irc.NICK_MAX + 1) + "> text",
        " [09:03] <nick> text",
    ],
)
def test_what_is_of_no_known_kind_is_a_notice(line: str) -> None:
    assert irc.parse(line + "\n") == [Notice(line)]


def test_only_a_newline_ends_a_line() -> None:
    text = "[00:00] <a> 1\x0b2\x0c3\x1c4\x1d5\x1e6\x857\u20288\u20299\r"
    assert irc.parse(text + "\n" + text) == irc.parse(text) * 2


def test_nicks_appear_once_and_their_case_tells_them_apart() -> None:
    log = [Joined("Ann"), Said(0, "ann", "x"), Said(0, "Ann", "x"), Renamed("ann", "bo"), Left("cy"), Notice("dee")]
    assert irc.nicks(log) == ["Ann", "ann", "bo", "cy"]


def test_the_lines_of_a_minute_are_spread_over_it() -> None:
    log = [Joined("a"), Said(62, "a", "1"), Said(62, "a", "2"), Joined("b"), Said(63, "a", "3"), Said(65, "b", "4")]
    assert [minute for minute, _ in irc.timed(log)] == [0, 0.25, 0.5, 0.75, 1, 3]


@pytest.mark.parametrize(
    ("clock", "elapsed"),
    [
        ([779, 60], 1),  # 12:59, 1:00
        ([1439, 0], 1),  # 23:59, 0:00
        ([1410, 40], 70),
        ([600, 599, 601], 2),  # set back: the time stands still, and goes on from there
        ([600, 545, 546], 1),
        ([600, 500], 620),  # 10:00, 8:20 in the evening
        ([0, 1439], 1439),
    ],
)
def test_the_clock_goes_round(clock: list[int], elapsed: int) -> None:
    log = [Said(minute, "a", "x") for minute in clock]
    assert int(list(irc.timed(log))[-1][0]) == elapsed


@given(st.lists(lines))
def test_time_never_falls(log: list[Line]) -> None:
    timed = list(irc.timed(log))
    assert [line for _, line in timed] == log
    assert [minute for minute, _ in timed] == sorted(minute for minute, _ in timed)


def test_the_sample_has_what_makes_logs_hard() -> None:
    log = irc.parse(SAMPLE.read_bytes().decode())
    assert irc.render(irc.parse(irc.render(log))) == irc.render(log)
    assert {type(line) for line in log} == {Said, Acted, Joined, Left, Renamed, Notice}
    said = [line.text for line in log if isinstance(line, Said)]
    assert any(text != text.strip() for text in said)
    assert any(not text.isascii() for text in said)
    assert any(ord(character) < 32 for text in said for character in text)
    people = irc.nicks(log)
    assert len({nick.lower() for nick in people}) < len(people)

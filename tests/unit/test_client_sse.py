"""The line parser of server-sent events: however the bytes are cut, the same messages come out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.client.errors import Broken
from rooms.client.frames import LARGEST
from rooms.client.sse import Message, Parser


def parse(*chunks: bytes) -> list[Message]:
    parser = Parser()
    return [message for chunk in chunks for message in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b"data: a\n\n", [("a", "")]),
        (b"data:a\n\n", [("a", "")]),
        (b"data:  a\n\n", [(" a", "")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("a", "")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [("b", "")]),  # only the first is a mark
        (b"data: a\r\ndata: b\r\n\r\n", [("a\nb", "")]),
        (b"data: a\rdata: b\r\r", [("a\nb", "")]),
        (b"data: a\n\r\n", [("a", "")]),
        (b"data\n\n", [("", "")]),
        (b"data\ndata\n\n", [("\n", "")]),
        (b"id: 1\ndata: a\n\ndata: b\n\n", [("a", "1"), ("b", "1")]),
        (b"id: 1\n\ndata: b\n\n", [("b", "1")]),
        (b"id: 1\ndata: a\n\nid\ndata: b\n\n", [("a", "1"), ("b", "")]),
        (b"id: a\0b\ndata: a\n\n", [("a", "")]),
        (b": comment\n:\n\ndata: a\n: more\n\n", [("a", "")]),
        (b"event: x\nretry: 10\nnonsense\ndata: a\n\n", [("a", "")]),
        (b"data: cut off\n", []),
        (b"\n\n\n", []),
        ("data: é\u2028\x0b\n\n".encode(), [("é\u2028\x0b", "")]),  # those end no line
        (b"data: \xff\n\n", [("\ufffd", "")]),
    ],
)
def test_what_the_standard_says(stream: bytes, messages: list[tuple[str, str]]) -> None:
    expected = [Message(*message) for message in messages]
    assert parse(stream) == expected
    assert parse(*(bytes([byte]) for byte in stream)) == expected


@given(
    st.lists(st.sampled_from([b"data: x", b"data:", b"id: 7", b"id", b":", b"", b"\n", b"\r", b"\r\n", b"a: b"])),
    st.data(),
)
def test_however_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(*chunks) == parse(stream)


@given(st.lists(st.tuples(st.text(), st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"])))))
def test_what_is_written_is_read(messages: list[tuple[str, str]]) -> None:
    def lines(data: str) -> list[str]:
        return data.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    stream = "".join(f"id: {id}\n" + "".join(f"data: {line}\n" for line in lines(data)) + "\n" for data, id in messages)
    heard = parse(b"\xef\xbb\xbf" + stream.encode())
    assert heard == [Message("\n".join(lines(data)), id) for data, id in messages]


def test_a_line_that_ends_with_a_carriage_return_waits_for_nothing() -> None:
    assert parse(b"data: a\r", b"\r") == [Message("a", "")]
    assert parse(b"data: a\r", b"\n\r") == [Message("a", "")]


def test_a_message_without_end_is_given_up() -> None:
    parser = Parser()
    chunk = b"x" * (LARGEST // 4)
    assert not parser.feed(b"data: " + chunk)
    with pytest.raises(Broken):
        for _ in range(5):
            parser.feed(b"\ndata: " + chunk)

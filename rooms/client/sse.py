"""The line format of server-sent events. Pure: bytes in, messages out.

The algorithm is that of the HTML standard, section 9.2.6, without ``event`` and ``retry``, which the protocol does not
use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rooms.client.errors import Broken
from rooms.client.frames import LARGEST

_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Message:
    """``last_id`` is the last ``id`` that came on the stream, with this message or before it."""

    data: str
    last_id: str


class Parser:
    """One stream from its beginning. A message that is cut off at the end is never given out."""

    def __init__(self) -> None:
        self.last_id = ""
        self._buffer = b""
        self._began = False
        self._after_cr = False  # the last line ended with \r, and a \n that follows belongs to it
        self._data: list[bytes] = []
        self._size = 0
        self._id = ""

    def feed(self, data: bytes) -> list[Message]:
        """:raises Broken: a message above :data:`~rooms.client.frames.LARGEST` bytes."""
        messages = []
        for line in self._lines(data):
            if line:
                self._field(line)
                continue
            self.last_id = self._id
            if self._data:
                messages.append(Message(b"\n".join(self._data).decode("utf-8", "replace"), self.last_id))
                self._data, self._size = [], 0
        if len(self._buffer) + self._size > LARGEST:
            raise Broken(f"a message above {LARGEST} bytes")
        return messages

    def _lines(self, data: bytes) -> list[bytes]:
        if not self._began:
            data = self._buffer + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._buffer = data
                return []
            self._began, self._buffer, data = True, b"", data.removeprefix(_BOM)
        if data and self._after_cr:
            self._after_cr, data = False, data.removeprefix(b"\n")
        self._after_cr = self._after_cr or data.endswith(b"\r")
        first, *rest = _LINE.split(data)
        if not rest:
            self._buffer += first
            return []
        lines = [self._buffer + first, *rest[:-1]]
        self._buffer = rest[-1]
        return lines

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value)
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")

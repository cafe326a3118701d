"""``permessage-deflate``, RFC 7692, that keeps nothing for a connection.

Both sides start anew with each message, so one compressed message serves any number of sockets, and what comes waits
compressed until it is taken: what many small messages would inflate to is never in memory at once.

A worker imports this before Django is set up, so nothing here may need it on import.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from websockets.exceptions import NegotiationError, PayloadTooBig
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.typing import ExtensionParameter

from rooms.delivery.frames import FLUSHED, WINDOW


class Deflated(Frame):
    """The first frame of a message that came compressed, with its data as they came."""


class Anew(PerMessageDeflate):
    """What goes to one is sent as it is: compressed messages are for many, and written as finished bytes.

    Without a state, so that one serves all connections.
    """

    def __init__(self) -> None:
        super().__init__(True, True, 15, WINDOW)

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        if frame.rsv1 and frame.opcode in (Opcode.TEXT, Opcode.BINARY):  # at others it is an error, which is found
            return Deflated(frame.opcode, frame.data, frame.fin, False, frame.rsv2, frame.rsv3)
        return frame

    def encode(self, frame: Frame) -> Frame:
        return frame


class Offer(ServerPerMessageDeflateFactory):
    """Accepts who can take what is compressed for all: with a window of so many bits, or more."""

    def __init__(self) -> None:
        super().__init__(True, True, WINDOW, None)
        self._extension = Anew()

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Any]:
        answer, negotiated = super().process_request_params(params, accepted_extensions)
        if negotiated.local_max_window_bits < WINDOW:
            raise NegotiationError("no smaller window")
        return answer, self._extension


OFFERS = (Offer(),)


def inflated(data: bytes, most: int) -> bytes:
    """
    :param most: bytes that may come of it; no more are made.
    :raises PayloadTooBig: there would be more.
    :raises zlib.error: this is nothing compressed.
    """
    found = zlib.decompressobj(-15).decompress(data + FLUSHED, most + 1)
    if len(found) > most:
        raise PayloadTooBig(None, most)
    return found

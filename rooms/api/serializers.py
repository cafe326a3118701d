"""What REST shows is a Struct of :mod:`rooms.contract`, and what it takes is one: no field is listed twice."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import msgspec
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.serializers import BaseSerializer

from rooms.conf import config
from rooms.contract import MAX_NESTING, Refused, checked, holds_nul
from rooms.delivery.session import look_through

IN_FRAME = 2  # a command's data stands in a vector, and that in a frame


class StructSerializer(BaseSerializer[Any]):
    """A serializer whose fields are a Struct's. Text is never trimmed.

    It shows the Struct itself, or a row by the Struct's ``from_row``; it takes plain values and gives the Struct.
    """

    struct: ClassVar[type[msgspec.Struct]]

    def to_representation(self, instance: Any) -> Any:
        if not isinstance(instance, msgspec.Struct):
            instance = self.struct.from_row(instance)  # type: ignore[attr-defined]
        return msgspec.to_builtins(instance)

    def to_internal_value(self, data: Any) -> msgspec.Struct:
        """:raises Refused: ``bad_data``, with the place of what is wrong."""
        return checked(data, self.struct)


@cache
def serializer(struct: type[msgspec.Struct]) -> type[StructSerializer]:
    """The serializer class of a Struct."""
    return type(f"{struct.__name__}Serializer", (StructSerializer,), {"struct": struct})


def shown(struct: type[msgspec.Struct], row: Any) -> Any:
    """A row as this Struct, in plain values."""
    return serializer(struct)(row).data


class JSONParser(BaseParser):
    """A JSON body of at most ``max_frame_bytes``, in UTF-8, without U+0000, nested as deep as it may be in a frame."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """:raises Refused: ``too_large`` or ``bad_data``."""
        largest = config().max_frame_bytes
        body = stream.read(largest + 1)
        if len(body) > largest:
            raise Refused("too_large", f"A body has at most {largest} bytes.")
        try:
            value = msgspec.json.decode(body)
            nul = holds_nul(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refused("bad_data", "The body is not JSON in UTF-8, or nested too deep.") from None
        try:
            look_through(value, MAX_NESTING - IN_FRAME)
        except Refused as refused:
            raise Refused("bad_data", f"A body is nested at most {MAX_NESTING - IN_FRAME} deep.") from refused
        if nul:
            raise Refused("bad_data", "U+0000 is not allowed in text.")
        return value


class JSONRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Any = None,
    ) -> bytes:
        return b"" if data is None else msgspec.json.encode(data)

"""OpenAPI from the Structs, for drf-spectacular.

Needs ``OAS_VERSION`` 3.1: what msgspec makes is JSON Schema 2020-12.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentIdentity, ResolvedComponent
from drf_spectacular.utils import OpenApiParameter, extend_schema

from rooms import contract
from rooms.api.serializers import StructSerializer, serializer

REFERENCE = "#/components/schemas/{name}"
Method = TypeVar("Method", bound=Callable[..., Any])


class Schema(AutoSchema):
    """Of the views of rooms, whatever ``DEFAULT_SCHEMA_CLASS`` is."""

    def _get_serializer_name(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        if isinstance(serializer, StructSerializer):  # a PATCH takes what its Struct says, not a "Patched" variant
            return serializer.struct.__name__
        return super()._get_serializer_name(serializer, direction, bypass_extensions)


class TicketExtension(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """``Authorization: Bearer <ticket>``."""

    target_class = "rooms.api.authentication.TicketAuthentication"
    name = "ticket"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer"}


class StructExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """A Struct's own JSON Schema, with what it refers to as components."""

    target_class = StructSerializer
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: Any) -> str | None:
        return str(self.target.struct.__name__)

    def get_identity(self, auto_schema: AutoSchema, direction: Any) -> Any:
        return f"struct {self.target.struct.__name__}"

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> Any:
        name = self.target.struct.__name__
        _, components = msgspec.json.schema_components([self.target.struct], ref_template=REFERENCE)
        components = json.loads(json.dumps(components), object_hook=portable)
        for other in components.keys() - {name}:
            identity = ComponentIdentity(f"struct {other}")  # type: ignore[no-untyped-call]
            auto_schema.registry.register_on_missing(
                ResolvedComponent(other, "schemas", components[other], identity)  # type: ignore[no-untyped-call]
            )
        return components[name]


def portable(schema: dict[str, Any]) -> dict[str, Any]:
    """For readers that are not msgspec."""
    if "pattern" in schema:  # Python's \\Z is the letter Z in JavaScript, whose $ does not match before a newline
        schema["pattern"] = str(schema["pattern"]).replace(r"\Z", "$")
    if isinstance(schema.get("enum"), list):  # a hook of drf-spectacular's wants a type beside it
        schema.setdefault("type", "boolean" if schema["enum"] == [True] else "string")
    return schema


def operation(
    name: str,
    *,
    body: type[msgspec.Struct] | None = None,
    answer: type[msgspec.Struct] | None = None,
    many: bool = False,
    status: int = 200,
    live: bool = False,
    match: bool = False,
    query: Sequence[OpenApiParameter] = (),
) -> Callable[[Method], Method]:
    """Say what a view's method takes and answers; its docstring says the rest.

    :param live: the answer carries ``Live-Cursor``.
    :param match: it honours ``If-Match``.
    """
    said = None if answer is None else serializer(answer)(many=True) if many else serializer(answer)
    parameters = list(query)
    if live:
        parameters.append(
            OpenApiParameter(
                "Live-Cursor", str, OpenApiParameter.HEADER, response=[status],
                description="Join with it, and nothing that happens after this answer is missed.",
            )
        )  # fmt: skip
    if status == 201 or name.rpartition("_")[2] in ("set", "update", "delete"):
        parameters.append(
            OpenApiParameter(
                "Idempotency-Key", str, OpenApiParameter.HEADER,
                description="16 to 64 of `A-Z a-z 0-9 _ -`, random. The same key again has no second effect.",
            )
        )  # fmt: skip
    if match:
        parameters.append(
            OpenApiParameter(
                "If-Match",
                str,
                OpenApiParameter.HEADER,
                description='The version it is about: `"3"`.',
            )
        )
    return extend_schema(
        operation_id=name,
        tags=[name.partition("_")[0]],
        request=None if body is None else serializer(body),
        responses={status: said, "default": serializer(contract.Error)},
        parameters=parameters,
    )

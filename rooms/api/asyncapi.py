"""``/api/asyncapi.json``: what is said over the live connection, as AsyncAPI 3.0, from the Structs alone.

A message here is a vector: an array of a name, its data and its meta. A frame is an array of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from rooms import contract
from rooms.api.schema import REFERENCE, portable
from rooms.contract import COMMANDS, EVENTS, Policy

CONTROL: dict[str, type[msgspec.Struct]] = {  # of the protocol's own, said by clients
    "live.join": contract.LiveJoin,
    "live.leave": contract.Empty,
    "live.ack": contract.LiveAck,
    "live.auth": contract.LiveAuth,
}
ANSWERS: dict[str, type[msgspec.Struct]] = {"live.error": contract.Error, "live.bye": contract.Close}
ASKED = {
    "type": "object",
    "properties": {"room": {"type": "string"}, "id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}},
}
TOLD = {
    "type": "object",
    "properties": {
        "room": {"type": "string"},
        "at": {"type": "string", "format": "date-time"},
        "by": {"type": ["string", "null"]},
        "seq": {"type": "integer", "minimum": 0},
        "key": {"type": "string"},
        "re": {"type": "string"},
    },
}


@require_safe
def asyncapi(request: HttpRequest) -> HttpResponse:
    """For everybody, as ``/api/schema/`` is: it holds no name of a room or a person."""
    return HttpResponse(document(), content_type="application/json")


@cache  # apps have declared what they declare before the first request
def document() -> bytes:
    said = {**CONTROL, **{name: kind.data for name, kind in COMMANDS.items() if kind.wire}}
    heard = {**ANSWERS, **{name: kind.data for name, kind in EVENTS.items()}}
    _, schemas = msgspec.json.schema_components({*said.values(), *heard.values()}, ref_template=REFERENCE)
    messages = _messages("say", said, ASKED) | _messages("hear", heard, TOLD)
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Live rooms",
            "version": str(contract.PROTOCOL),
            "description": "A frame is an array of these messages. docs/protocol.md says when each of them comes.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "live": {
                "address": "/live/ws",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {"say": _operation("receive", "say", said), "hear": _operation("send", "hear", heard)},
        "components": {"messages": messages, "schemas": schemas},
    }
    return json.dumps(json.loads(json.dumps(document), object_hook=portable)).encode()


def _messages(kind: str, shapes: Mapping[str, type[msgspec.Struct]], meta: dict[str, Any]) -> dict[str, Any]:
    """By the operation and the name: some are said in one shape and heard in another."""
    found = {}
    for name, shape in shapes.items():
        data: dict[str, Any] = {"$ref": REFERENCE.format(name=shape.__name__)}
        event = EVENTS.get(name) if kind == "hear" else None
        if event is not None and event.policy is Policy.LATEST:  # null: the key is removed
            data = {"anyOf": [data, {"type": "null"}]}
        found[f"{kind}.{name}"] = {
            "name": name,
            "summary": (shape.__doc__ or "").strip().partition("\n")[0],
            "payload": {
                "type": "array",
                "prefixItems": [{"const": name}, data, meta],
                "minItems": 2,
                "maxItems": 3,
            },
        }
        if event is not None:
            found[f"{kind}.{name}"]["x-policy"] = event.policy.value
    return found


def _operation(action: str, kind: str, names: Iterable[str]) -> dict[str, Any]:
    """As the server does it: it receives what clients say."""
    messages = [{"$ref": f"#/channels/live/messages/{kind}.{name}"} for name in names]
    return {"action": action, "channel": {"$ref": "#/channels/live"}, "messages": messages}

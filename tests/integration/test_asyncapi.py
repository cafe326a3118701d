"""What is said live, as a document that programs read."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from django.test import Client

from rooms.contract import COMMANDS, EVENTS


@pytest.fixture
def document() -> Any:
    answer = Client().get("/api/asyncapi.json")
    assert answer.status_code == 200
    assert answer["content-type"] == "application/json"
    return answer.json()


def named(document: Any, operation: str) -> set[str]:
    """The names of what is said, or heard, but for the protocol's own."""
    keys = [each["$ref"].rpartition("/")[2] for each in document["operations"][operation]["messages"]]
    names = {document["components"]["messages"][key]["name"] for key in keys}
    return {name for name in names if not name.startswith("live.")}


def test_every_event_and_command_is_in_it(document: Any) -> None:
    assert document["asyncapi"] == "3.0.0"
    assert named(document, "say") == {name for name, kind in COMMANDS.items() if kind.wire}
    assert named(document, "hear") == EVENTS.keys()


def test_all_that_it_refers_to_is_there(document: Any) -> None:
    def look(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                found: Any = document
                for part in value["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
            for each in value.values():
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(document)


@pytest.mark.parametrize(
    ("key", "vector", "valid"),
    [
        ("say.chat.send", ["chat.send", {"text": "hi"}, {"room": "acme/general", "id": "0123456789abcdef"}], True),
        ("say.chat.send", ["chat.send", {"text": ""}, {"room": "acme/general"}], False),
        ("say.chat.send", ["chat.edit", {"text": "hi"}, {"room": "acme/general"}], False),
        ("say.chat.send", ["chat.send"], False),
        ("say.chat.typing", ["chat.typing", {"typing": True}, {"room": "acme/general"}], True),
        ("hear.chat.typing", ["chat.typing", {"typing": True}, {"room": "acme/general"}], False),
        ("hear.chat.typing", ["chat.typing", {"user": {"id": "1", "name": "Ann"}, "typing": True}], True),
        ("hear.chat.reaction", ["chat.reaction", None, {"room": "acme/general", "key": "a:b"}], True),
        ("hear.chat.message", ["chat.message", None, {"room": "acme/general"}], False),
        ("say.presence.set", ["presence.set", {"status": "asleep"}, {"room": "acme/general"}], False),
        ("say.live.join", ["live.join", {"cursor": "e7a1:41"}, {"room": "acme/general", "id": "1"}], True),
    ],
)
def test_a_vector_is_held_against_it(document: Any, key: str, vector: Any, valid: bool) -> None:
    schema = {**document["components"]["messages"][key]["payload"], "components": document["components"]}
    assert jsonschema.Draft202012Validator(schema).is_valid(vector) is valid

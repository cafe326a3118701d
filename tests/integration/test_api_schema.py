"""The schema that REST shows of itself."""

from __future__ import annotations

import io
import re
from typing import Any

import msgspec
import pytest
from django.core.management import call_command

from rooms import contract

# What is declared, and not what is stored.
pytestmark = pytest.mark.any_backend

GENERAL = "tenants/acme/rooms/general/"


@pytest.fixture
def schema(db, client) -> Any:
    answer = client.get("/api/schema/?format=json")
    assert answer.status_code == 200
    return msgspec.json.decode(answer.content)


def test_it_is_valid_and_made_without_a_warning():
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=io.StringIO())


def test_objects_are_those_of_the_contract(schema):
    components = schema["components"]["schemas"]
    for struct in (
        contract.Message,
        contract.Room,
        contract.Tenant,
        contract.Member,
        contract.Error,
        contract.ChatSend,
    ):
        shown = components[struct.__name__]
        assert set(shown["properties"]) == set(struct.__struct_fields__)
        assert shown["required"] == [field.name for field in msgspec.structs.fields(struct) if field.required]
    assert components["Message"]["properties"]["created_at"]["format"] == "date-time"


def test_what_refers_to_a_component_finds_it(schema):
    references = set(re.findall(r"#/components/schemas/(\w+)", msgspec.json.encode(schema).decode()))
    assert references <= set(schema["components"]["schemas"])
    assert {"Person", "Role", "Part", "Visibility"} <= references


def test_patterns_are_those_of_javascript_too(schema):
    assert r"\\Z" not in msgspec.json.encode(schema).decode()


def test_every_operation_says_how_it_is_refused_and_every_write_how_it_is_repeated(schema):
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if not path.startswith("/api/tenants/"):
                continue
            error = operation["responses"]["default"]["content"]["application/json"]["schema"]
            assert error == {"$ref": "#/components/schemas/Error"}
            names = {parameter["name"] for parameter in operation.get("parameters", [])}
            assert ("Idempotency-Key" in names) == (method != "get"), (path, method)
            assert operation["description"], (path, method)
    events = schema["paths"]["/api/tenants/{tenant}/rooms/{room}/events/"]["get"]
    assert {"after", "limit"} <= {parameter["name"] for parameter in events["parameters"]}
    messages = schema["paths"]["/api/tenants/{tenant}/rooms/{room}/messages/"]["get"]
    assert "Live-Cursor" in messages["responses"]["200"]["headers"]


def test_answers_are_as_the_schema_says(world, schema):
    world.say("bob", "hello")
    for path, name in (
        (f"{GENERAL}messages/", "Message"),
        ("tenants/acme/rooms/", "Room"),
        ("tenants/", "Tenant"),
        ("tenants/acme/members/", "Member"),
    ):
        listed = world.bob.get(path).json()
        assert set(listed) == set(schema["components"]["schemas"][f"Paginated{name}List"]["properties"])
        for row in listed["results"]:
            msgspec.convert(row, getattr(contract, name), strict=True)


def test_the_docs_page_has_no_inline_script_or_style_and_loads_nothing_from_elsewhere(db, client):
    page = client.get("/api/docs/").content.decode()
    assert "<style" not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    assert all(address.startswith("/") and not address.startswith("//") for address in loaded)
    assert client.get("/api/docs/?script=").headers["Content-Type"].startswith("application/javascript")

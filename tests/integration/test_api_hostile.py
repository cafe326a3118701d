"""Whatever is sent, the answer is the contract's error object with its status, and never a 500."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from django.db import OperationalError
from django.test import RequestFactory

from rooms import access, models
from rooms.api.errors import exception_handler
from rooms.api.views import Room
from rooms.contract import ERRORS, Error
from tests.support.world import Rest

ACME = "tenants/acme/"
GENERAL = f"{ACME}rooms/general/"
MESSAGES = f"{GENERAL}messages/"


def error(answer: Any, status: int | None = None) -> Error:
    """The error object, checked against the contract."""
    found = msgspec.json.decode(answer.content, type=Error)
    assert answer["Content-Type"] == "application/json"
    assert answer.status_code == (status or ERRORS[found.code].http)
    assert found.temporary == ERRORS[found.code].temporary
    assert found.detail.endswith((".", "`"))
    for name in ("acme", "general", "globex"):
        assert name not in found.detail
    return found


def send(person: Rest, body: bytes, path: str = MESSAGES, kind: str = "application/json", method: str = "post") -> Any:
    return person.client.generic(method.upper(), f"/api/{path}", body, content_type=kind)


BODIES = {
    "empty": b"",
    "blank": b" ",
    "broken": b'{"text": ',
    "trailing": b'{"text": "x"} {}',
    "not an object": b'["x"]',
    "a string": b'"x"',
    "null": b"null",
    "NaN": b'{"text": NaN}',
    "no text": b"{}",
    "empty text": b'{"text": ""}',
    "text that is a number": b'{"text": 7}',
    "text that is null": b'{"text": null}',
    "a field too many": b'{"text": "x", "seq": 1}',
    "text too long": b'{"text": "' + b"x" * 8001 + b'"}',
    "U+0000": b'{"text": "a\\u0000b"}',
    "a raw zero byte": b'{"text": "a\0b"}',
    "U+0000 in a name": b'{"te\\u0000xt": "x"}',
    "U+0000 deep": b'{"text": "x", "reply_to": {"a": ["\\u0000"]}}',
    "a lone surrogate": b'{"text": "\\ud800"}',
    "a lone low surrogate": b'{"text": "\\udc00 x"}',
    "a surrogate in UTF-8": b'{"text": "\xed\xa0\x80"}',
    "invalid UTF-8": b'{"text": "\xff"}',
    "UTF-16": '{"text": "x"}'.encode("utf-16"),
    "nested ten thousand deep": b'{"text": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "nested deep with U+0000": b'{"text": ' + b"[" * 900 + b'"\\u0000"' + b"]" * 900 + b"}",
    "an enormous number": b'{"text": ' + b"9" * 5000 + b"}",
    "a reply to nonsense": b'{"text": "x", "reply_to": ""}',
}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", MESSAGES),
        ("patch", f"{MESSAGES}01890000-0000-7000-8000-000000000000/"),
        ("post", f"{ACME}rooms/"),
        ("patch", ACME),
        ("post", f"{ACME}members/"),
        ("put", f"{ACME}members/1/"),
        ("post", f"{GENERAL}members/"),
        ("patch", f"{GENERAL}members/1/"),
    ],
)
def test_a_body_that_is_not_of_the_shape_is_bad_data(world, method, path):
    for name, body in BODIES.items():
        if path == ACME:
            body = body.replace(b'"text"', b'"name"')
        assert error(send(world.alice, body, path, method=method)).code == "bad_data", name
    assert not models.Message.objects.exists()


def test_a_body_is_as_large_as_a_frame_and_no_larger(world, settings):
    settings.ROOMS = {**settings.ROOMS, "MAX_FRAME_BYTES": 1000}
    fits = b'{"text": "x"' + b" " * (1000 - 13) + b"}"
    assert len(fits) == 1000
    assert send(world.bob, fits).status_code == 201
    for size in (1, 100_000, 10_000_000):
        assert error(send(world.bob, fits + b" " * size)).code == "too_large"
    assert error(send(world.bob, b"x" * 10_000_000, kind="application/x-www-form-urlencoded")).code == "bad_data"


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "/",
        "x" * 300,
    ],
)
def test_a_body_that_is_not_json_is_bad_data(world, kind):
    assert error(send(world.bob, b'{"text": "x"}', kind=kind)).code == "bad_data"


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=latin-1"]
)
def test_json_is_utf8_whatever_its_charset_says(world, kind):
    answer = send(world.bob, '{"text": "ü"}'.encode(), kind=kind)
    assert (answer.status_code, answer.json()["text"]) == (201, "ü")


def test_a_body_of_unknown_length_is_read_or_refused_and_not_taken_for_none(world):
    """DRF takes it for none, and a PATCH of nothing would seem to have been done."""
    request = RequestFactory().generic("PATCH", "/", b'{"name": "New"}', content_type="application/json")
    del request.META["CONTENT_LENGTH"]
    request.META["HTTP_TRANSFER_ENCODING"] = "chunked"
    request.user = world.users["alice"]
    request._dont_enforce_csrf_checks = True  # as the client of the other tests does
    answer = Room.as_view()(request, tenant="acme", room="general").render()
    assert (answer.status_code, world.room("acme/general").name) == (200, "New")


QUERIES = {
    "limit": ["0", "-1", "x", "", "1.5", "1e3", "٣", "9" * 30, "1\0", " 1", "\ud800".encode("utf-8", "surrogatepass")],
    "cursor": [
        "x", "%00", "ünïcode", "=", "A" * 5000, b64encode(b"p=X").decode(), b64encode(b"p=1%00").decode(),
        b64encode(b"p=" + b"9" * 60).decode(), b64encode(b"p=-1").decode(), b64encode(b"o=x").decode(),
        b64encode(b"r=x&p=1").decode(), b64encode(b"\xff\xfe").decode(), b64encode(b"p=1&p=x\0").decode()[:-3],
        b64encode(b"p=").decode(), b64encode("p=٣".encode()).decode(),
    ],
    "after": ["-1", "x", "", "1.5", "9" * 30, "\0", "٣"],
}  # fmt: skip


@pytest.mark.parametrize(
    "path", [MESSAGES, f"{ACME}rooms/", f"{ACME}members/", f"{GENERAL}members/", "tenants/", f"{GENERAL}events/"]
)
def test_a_parameter_that_makes_no_sense_is_bad_data(world, path):
    for name in ("after", "limit") if path.endswith("events/") else ("cursor", "limit"):
        for value in QUERIES[name]:
            assert error(world.bob.client.get(f"/api/{path}", {name: value})).code == "bad_data", (name, value)


@pytest.mark.parametrize(
    "slug",
    [
        "%00",
        "%ED%A0%80",
        "%FF",
        "a%00b",
        "x" * 3000,
        "%2e%2e",
        "..;",
        "general%20",
        "GENERAL",
        "gen%25eral",
        "'--",
        "%E2%80%AE",
    ],
)
def test_a_name_that_is_none_is_not_found(world, slug):
    for path in (
        f"tenants/{slug}/",
        f"{ACME}rooms/{slug}/",
        f"{ACME}rooms/{slug}/messages/",
        f"{MESSAGES}{slug}/",
        f"{ACME}members/{slug}/",
    ):
        answer = world.alice.get(path)
        assert error(answer).code == "not_found"
        if "messages" not in path or "general" not in path:
            written = world.alice.patch(path, {"name": "x"})
            assert written.status_code in (400, 404, 405)
    for path in (f"{MESSAGES}{slug}/", f"{ACME}members/{slug}/", f"{GENERAL}members/{slug}/"):
        assert error(world.alice.delete(path)).code in ("not_found", "bad_data")


@pytest.mark.parametrize("method", ["put", "delete", "options", "trace"])
def test_a_method_that_is_not_there_says_so_in_the_same_shape(world, method):
    answer = world.bob.client.generic(method.upper(), f"/api/{MESSAGES}")
    assert error(answer, 405).code == "bad_data"
    assert answer["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_a_write_without_the_csrf_token_is_forbidden(world):
    strict = Rest(world.users["bob"], enforce_csrf_checks=True)
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        assert error(send(strict, b'{"text": "x"}', kind=kind)).code == "forbidden"
    strict.client.cookies["csrftoken"] = "x" * 32  # now Django looks for the token in the form
    assert error(send(strict, b"x" * 10_000_000, kind="application/x-www-form-urlencoded")).code == "bad_data"
    assert not models.Message.objects.exists()
    assert error(send(Rest(), b'{"text": "x"}')).code == "unauthenticated"


def test_a_database_that_fails_is_unavailable(world, monkeypatch):
    def fails(*args):
        raise OperationalError("the server closed the connection")

    bob = world.bob
    monkeypatch.setattr(access, "_look_up", fails)
    for answer in (bob.get(MESSAGES), bob.post(MESSAGES, {"text": "x"}), bob.get(f"{ACME}rooms/")):
        found = error(answer)
        assert (found.code, found.temporary) == ("unavailable", True)
        assert "closed" not in found.detail


def test_a_bug_is_not_dressed_as_an_answer():
    assert exception_handler(RuntimeError("a bug"), {}) is None

"""Structs through DRF, and places in lists."""

from __future__ import annotations

import io

import msgspec
import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from rooms import contract
from rooms.api.pages import number
from rooms.api.serializers import JSONParser, JSONRenderer, serializer, shown
from rooms.contract import Refused


def test_a_struct_is_shown_and_taken_as_it_is():
    send = serializer(contract.ChatSend)(data={"text": "  kept  "})
    assert send.is_valid()
    assert send.validated_data == contract.ChatSend("  kept  ")
    assert shown(contract.ChatSend, send.validated_data) == {"text": "  kept  ", "reply_to": None}
    assert serializer(contract.ChatSend) is serializer(contract.ChatSend)


def test_what_a_struct_refuses_is_bad_data_and_says_where():
    with pytest.raises(Refused, match=r"\$\.text"):
        serializer(contract.ChatSend)(data={"text": 7}).is_valid()


def test_a_field_that_is_not_set_is_left_out():
    error = contract.Error("conflict", "Newer.", temporary=False, version=3)
    assert "retry_after_ms" not in shown(contract.Error, error)


def test_a_body_is_nested_as_deep_as_data_in_a_frame_may_be():
    """The frame and the vector are two of the 32."""
    nested = [b"[" * depth + b"]" * depth for depth in (30, 31)]
    JSONParser().parse(io.BytesIO(nested[0]))
    with pytest.raises(Refused, match="nested at most 30 deep"):
        JSONParser().parse(io.BytesIO(nested[1]))


@pytest.mark.parametrize("body", [b"[" * 10_000, b'"\\ud800"', b'"\xff"', b'{"a": "\\u0000"}', b"", b"{} {}", b"\0"])
def test_the_parser_refuses_in_one_way(body):
    with pytest.raises(Refused) as refused:
        JSONParser().parse(io.BytesIO(body))
    assert refused.value.code == "bad_data"


def test_the_renderer_takes_json_that_is_finished_already():
    assert JSONRenderer().render({"events": [msgspec.Raw(b'["a.b",{},{}]')]}) == b'{"events":[["a.b",{},{}]]}'
    assert JSONRenderer().render(None) == b""


def ask(query: str) -> Request:
    return Request(APIRequestFactory().get("/" + query))


def test_a_number_of_the_query_is_capped_and_never_guessed():
    assert number(ask(""), "limit", 50, least=1, most=200) == 50
    assert number(ask("?limit=7"), "limit", 50, least=1, most=200) == 7
    assert number(ask("?limit=7000"), "limit", 50, least=1, most=200) == 200
    for wrong in ("0", "-1", "x", "", "1.0", "%D9%A3", "9" * 21):
        with pytest.raises(Refused, match="limit"):
            number(ask(f"?limit={wrong}"), "limit", 50, least=1, most=200)

"""Failures as the contract's error object: no database, no request."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions

from rooms.api.errors import exception_handler, refusal, sentence
from rooms.contract import ERRORS, Refused


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("conflict", "A newer version exists.", version=3), "conflict"),
        (Http404(), "not_found"),
        (exceptions.NotFound(), "not_found"),
        (exceptions.NotAuthenticated(), "unauthenticated"),
        (exceptions.AuthenticationFailed(), "unauthenticated"),
        (exceptions.PermissionDenied(), "forbidden"),
        (PermissionDenied(), "forbidden"),
        (exceptions.Throttled(wait=1.2), "rate_limited"),
        (RequestDataTooBig(), "too_large"),
        (SuspiciousOperation(), "bad_data"),
        (exceptions.ParseError(), "bad_data"),
        (exceptions.UnsupportedMediaType("text/plain"), "bad_data"),
        (exceptions.ValidationError({"dish": ["This field is required."]}), "bad_data"),
        (OperationalError("gone"), "unavailable"),
        (InterfaceError("gone"), "unavailable"),
        (exceptions.APIException(), "unavailable"),
    ],
)
def test_each_failure_has_its_code_and_the_status_of_the_code(error, code):
    answer = exception_handler(error, {})
    assert answer is not None
    assert (answer.data["code"], answer.status_code) == (code, ERRORS[code].http)
    assert answer.data["temporary"] is ERRORS[code].temporary


def test_a_version_and_a_time_to_wait_are_in_the_body():
    assert exception_handler(Refused("conflict", "Newer.", version=3), {}).data["version"] == 3
    answer = exception_handler(exceptions.Throttled(wait=1.2), {})
    assert (answer.data["retry_after_ms"], answer["Retry-After"]) == (2000, "2")  # DRF rounds up
    assert "retry_after_ms" not in exception_handler(exceptions.Throttled(), {}).data


def test_a_method_that_is_not_there_keeps_its_status():
    assert exception_handler(exceptions.MethodNotAllowed("PUT"), {}).status_code == 405


def test_what_nobody_foresaw_is_nobodys_answer():
    assert refusal(ValueError("a bug")) is None


def test_the_sentence_of_a_validation_error_says_where():
    detail = exceptions.ValidationError({"lines": [{"dish": ["Too long."]}]}).detail
    assert sentence(detail) == "Too long. - at `$.dish` - at `$.lines`"

"""When the client comes back, and when it does not; compared with the tables of docs/protocol.md."""

from __future__ import annotations

import re

import pytest

from rooms.client.retry import (
    STEADY,
    End,
    Renew,
    Rest,
    Retries,
    Return,
    Stop,
    backoff,
    http_end,
    may_return,
)
from rooms.contract import BY_CODE
from tests.support.sites import ROOT


def documented() -> dict[int, str]:
    """The rows "close code | come back?"."""
    page = (ROOT / "docs" / "protocol.md").read_text()
    table = page.partition("| close code | come back? |")[2].partition("\n\n")[0]
    rows = (line.split("|") for line in table.splitlines() if re.match(r"\| \d", line))
    return {int(code): row[2].strip() for row in rows for code in row[1].split(",")}


@pytest.mark.parametrize(("code", "comes_back"), documented().items())
def test_each_close_code_of_the_contract(code: int, comes_back: str) -> None:
    verdict = Retries(renewable=True).ended(End(code, ""), 0, 0.5)
    kinds = {"yes": Return, "no": Stop, "when": Rest, "once": Renew}
    assert type(verdict) is kinds[re.match(r"\w+", comes_back)[0]]  # type: ignore[index]


def test_every_code_of_the_contract_is_documented() -> None:
    assert BY_CODE.keys() <= documented().keys()


@pytest.mark.parametrize("code", [4000, 4321, 4499, 1013, 1014])
def test_unknown_codes_come_back(code: int) -> None:
    assert may_return(code)


@pytest.mark.parametrize("code", [4500, 4777, 4999])
def test_unknown_codes_that_do_not(code: int) -> None:
    assert not may_return(code)


def test_full_jitter() -> None:
    assert [backoff(tries, 1.0) for tries in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff(10_000, 1.0) == 30
    assert backoff(3, 0.0) == 0
    assert backoff(3, 0.25) == 1


def test_waits_grow_until_a_connection_proved_itself() -> None:
    retries = Retries(renewable=False)
    lost = End(1006, "lost")
    assert [retries.ended(lost, 0, 1.0) for _ in range(3)] == [Return(0.5), Return(1), Return(2)]
    retries.opened(10)
    assert retries.ended(lost, 11, 1.0) == Return(4)  # hello alone proves nothing
    retries.opened(20)
    retries.proved()
    assert retries.ended(lost, 21, 1.0) == Return(0.5)
    retries.opened(30)
    assert retries.ended(lost, 30 + STEADY, 1.0) == Return(0.5)


def test_the_server_knows_better() -> None:
    retries = Retries(renewable=False)
    assert retries.ended(End(4412, "", 7.5), 0, 1.0) == Return(7.5)
    assert retries.ended(End(4412, "", 0), 0, 1.0) == Return(0)


def test_a_login_is_renewed_once() -> None:
    retries = Retries(renewable=True)
    ended = End(4501, "the login ended")
    assert isinstance(retries.ended(ended, 0, 1.0), Renew)
    retries.opened(1)
    assert retries.ended(ended, 2, 1.0) == Stop()


def test_and_once_again_when_that_was_good() -> None:
    retries = Retries(renewable=True)
    ended = End(4501, "the login ended")
    assert isinstance(retries.ended(ended, 0, 1.0), Renew)
    retries.opened(1)
    retries.proved()
    assert isinstance(retries.ended(ended, 300, 1.0), Renew)


def test_a_login_that_cannot_be_renewed() -> None:
    assert Retries(renewable=False).ended(End(4501, ""), 0, 1.0) == Stop()


def test_a_server_that_breaks_rules_after_each_join_is_not_hammered() -> None:
    retries = Retries(renewable=False)
    waits = []
    for _ in range(5):
        retries.opened(0)
        retries.proved()
        verdict = retries.ended(End(1006, "", broken=True), 1, 1.0)
        assert isinstance(verdict, Return)
        waits.append(verdict.wait)
    assert waits == [0.5, 1, 2, 4, 8]


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, 4501), (403, 4503), (404, 4500), (301, 4500), (413, 4500), (429, 1006), (500, 1006), (503, 1006)],
)
def test_http_statuses(status: int, code: int) -> None:
    assert http_end(status, "why", 3.0) == End(code, f"{status} why", 3.0)

"""What is declared in code stands in the docs, and the other way round."""

import re
from pathlib import Path
from typing import Any

import prometheus_client
import pytest

from presence import commands  # noqa: F401 they register themselves
from presence import conf as presence_conf
from presence import metrics as presence_metrics
from rooms import contract, metrics, policy
from rooms.conf import Config
from rooms.contract import BY_CODE, COMMANDS, ERRORS, EVENTS, Part, Role, Visibility
from rooms.limits import LIMITS
from rooms.services import messages  # noqa: F401 its commands register themselves

OURS = ("rooms.", "presence.")
DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows(page: str, first: str) -> list[list[str]]:
    """The cells of the table whose head begins with this cell."""
    found, inside = [], False
    for line in (DOCS / page).read_text().splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == first:
            inside = True
        elif inside and not set(cells[0]) <= {"-", " "}:
            found.append(cells)
    assert found, f"{page} has no table that begins with {first}"
    return found


def named(cell: str) -> list[str]:
    return re.findall(r"`([a-z_.]+)`", cell)


def test_every_error_code_has_its_row_and_status() -> None:
    documented = {}
    for names, statuses, _ in rows("protocol.md", "error code"):
        codes, numbers = named(names), [int(status) for status in statuses.split(",")]
        documented |= dict(zip(codes, numbers if len(numbers) > 1 else numbers * len(codes), strict=True))
    assert documented == {code: error.http for code, error in ERRORS.items()}


def test_every_close_code_of_ours_has_its_row() -> None:
    documented = {int(code) for row in rows("protocol.md", "close code") for code in re.findall(r"\b4\d{3}\b", row[0])}
    assert documented == set(BY_CODE)


def test_every_limit_has_its_row() -> None:
    documented = {named(row[0])[0]: (row[1], row[2], named(row[3])[0]) for row in rows("protocol.md", "limit")}
    expected = {}
    for limit in LIMITS.values():
        amount, burst = limit.default.amount, limit.default.burst
        expected[limit.name] = (
            f"{amount:,}" if burst is None else f"{amount:,} / s, burst {burst:,}",
            limit.by,
            limit.code,
        )
    assert documented == expected


def test_every_command_that_a_socket_takes_has_its_row() -> None:
    documented = {name for row in rows("protocol.md", "command") for name in named(row[0])}
    ours = {name for name, kind in COMMANDS.items() if kind.wire and kind.effect.__module__.startswith(OURS)}
    assert documented - {"meta.room"} == ours | {"live.join", "live.leave", "live.ack", "live.auth"}


def test_every_event_has_its_row_and_policy() -> None:
    documented = {name: row[2].split(",")[0] for row in rows("protocol.md", "event") for name in named(row[0])}
    ours = {name: kind for name, kind in EVENTS.items() if kind.data.__module__.startswith(OURS)}
    assert documented == {name: kind.policy.value for name, kind in ours.items()}


@pytest.mark.parametrize(
    ("page", "first", "defaults"),
    [("settings.md", "name", Config()), ("presence.md", "setting", presence_conf.Config())],
    ids=["rooms", "presence"],
)
def test_every_setting_has_its_row_and_default(page: str, first: str, defaults: Any) -> None:
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows(page, first)}
    expected: dict[str, Any] = {}
    for name in defaults.__struct_fields__:
        value = getattr(defaults, name)
        seconds = isinstance(value, int | float) and "." in documented.get(name.upper(), "")
        expected[name.upper()] = (
            '""' if value == "" else f'"{value}"' if isinstance(value, str) else str(float(value) if seconds else value)
        )
    assert documented == expected


@pytest.mark.parametrize(("app", "page"), [("rooms", "settings.md"), ("presence", "presence.md")])
def test_every_check_has_its_row(app: str, page: str) -> None:
    given = re.findall(rf'id="({app}\.[EW]\d+)"', (DOCS.parent / app / "checks.py").read_text())
    assert len(given) == len(set(given))
    assert [row[0].strip("`") for row in rows(page, "check")] == sorted(given)


def test_every_metric_has_its_row_and_labels() -> None:
    documented = {
        row[0].strip("`"): [label for label in row[1].split(", ") if label] for row in rows("metrics.md", "metric")
    }
    kinds = prometheus_client.Counter, prometheus_client.Gauge
    ours = [value for each in (metrics, presence_metrics) for value in vars(each).values() if isinstance(value, kinds)]
    assert documented == {
        metric._name + ("_total" if isinstance(metric, prometheus_client.Counter) else ""): list(metric._labelnames)
        for metric in ours
    }


@pytest.mark.parametrize("column", list(Visibility))
def test_the_table_of_roles_is_what_the_gate_does(column: Visibility) -> None:
    place = 1 + list(Visibility).index(column)
    for row in rows("access.md", "role in the tenant"):
        roles: list[Role | None] = [Role(name) for name in row[0].split(", ") if name in list(Role)] or [None]
        for role in roles:
            can = " ".join(right.value for right in contract.Right if right in policy.BY_ROLE.get((role, column), ()))
            assert row[place].split(",")[0] == (can or "no such room"), (role, column)


def test_the_table_of_parts_is_what_the_gate_does() -> None:
    documented = {row[0]: row[1] for row in rows("access.md", "part")}
    assert documented == {
        part.value: " ".join(right.value for right in contract.Right if right in policy.BY_PART[part]) or "no such room"
        for part in Part
    }


CLIENT = Path(contract.__file__).parents[1] / "static" / "rooms"


def test_every_state_of_the_browser_client_has_its_row() -> None:
    (words,) = re.findall(r"const WORDS = \{(.*?)\};", (CLIENT / "status.js").read_text(), re.DOTALL)
    states = re.findall(r"^  (\w+):", words, re.MULTILINE)
    assert [named(row[0])[0] for row in rows("browser.md", "state")] == [*states, "stopped"]


def test_every_need_of_a_page_has_its_row() -> None:
    (orders,) = re.findall(r"export const ORDER = \{(.*?)\};", (CLIENT / "transports.js").read_text(), re.DOTALL)
    code = {need: re.findall(r'"(\w+)"', names) for need, names in re.findall(r"(\w+): \[(.*?)\]", orders)}
    assert {named(row[0])[0]: named(row[1]) for row in rows("browser.md", "need")} == code

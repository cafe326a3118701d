"""What a person, an address, a tenant and a node may use: every limit, declared once.

A *rate* lets ``amount`` a second pass, and ``burst`` at once when nothing was asked before. A *count* is how many may
be there at the same time. ``ROOMS["LIMITS"]`` changes them for a site, the environment's ``ROOMS_LIMITS`` for a
process, and a tenant may have its own of those that its people meet::

    ROOMS = {"LIMITS": {"connections_per_user": 20, "commands_per_user": "40/200"}}
    ROOMS_LIMITS=connections_per_user=20000,commands_per_user=0

A rate alone keeps its proportion to the burst; 0 is no limit. ``ROOMS_LIMITS=off`` lifts them all. Sizes, nesting and
the window are no limits of this kind: they are settings, or fixed, and nothing lifts them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rooms.contract import Refused

MOST = 10**9
OFF = "off"
_VALUE = re.compile(r"([0-9]{1,10})(?:/([0-9]{1,10}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Amount:
    """``burst`` is None for a count."""

    amount: int
    burst: int | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """One row of the table in ``docs/protocol.md``.

    :param by: what it counts by: ``user`` (of somebody who is not logged in the address), ``address``, ``tenant``,
        ``node``.
    :param detail: the sentence that a refusal says.
    :param tenants: whether a tenant may have its own.
    """

    name: str
    default: Amount
    by: str
    detail: str
    tenants: bool = False

    @property
    def code(self) -> str:
        return "too_many_connections" if self.default.burst is None else "rate_limited"

    def refused(self, wait: float) -> Refused:
        """:param wait: seconds."""
        return Refused(self.code, self.detail, retry_after_ms=max(1, round(wait * 1000)))


LIMITS: dict[str, Limit] = {
    limit.name: limit
    for limit in (
        Limit("connections_per_user", Amount(50), "user", "You have too many connections: close one.", True),
        Limit("connections_per_address", Amount(200), "address", "Too many connections from your address."),
        Limit("connections_per_tenant", Amount(20_000), "tenant", "The tenant has too many connections.", True),
        Limit("connections_per_node", Amount(50_000), "node", "This node has too many connections."),
        Limit("commands_per_user", Amount(20, 100), "user", "You send too many commands.", True),
        Limit("commands_per_tenant", Amount(2_000, 5_000), "tenant", "The tenant sends too many commands.", True),
        Limit("joins_per_user", Amount(20, 200), "user", "You join too many rooms.", True),
        Limit("handshakes_per_address", Amount(20, 200), "address", "Too many come at once from your address."),
        Limit("handshakes_per_node", Amount(500, 500), "node", "Too many come at once."),
        Limit("writes_per_user", Amount(20, 100), "user", "You write too much.", True),
    )
}

Amounts = Mapping[str, Amount]  # by name; one that is not there is no limit
DEFAULTS: Amounts = {limit.name: limit.default for limit in LIMITS.values()}


def site(given: Mapping[str, Any], spoken: str) -> Amounts:
    """What holds on a site.

    :param given: ``ROOMS["LIMITS"]``.
    :param spoken: ``ROOMS_LIMITS`` of the environment.
    :raises ValueError: with a sentence.
    """
    try:
        amounts = {**DEFAULTS, **read(given)}
    except ValueError as error:
        raise ValueError(f"settings.ROOMS: LIMITS: {error}") from None
    try:
        if spoken.strip().lower() == OFF:
            return {}
        pairs = [item.partition("=") for item in spoken.split(",") if item.strip()]
        amounts |= read({name.strip(): value.strip() for name, _, value in pairs})
    except ValueError as error:
        raise ValueError(f"ROOMS_LIMITS: {error}") from None
    return {name: amount for name, amount in amounts.items() if amount.amount}


def of_tenant(given: Any, amounts: Amounts) -> Amounts:
    """What holds in a tenant that has limits of its own.

    :raises ValueError: with a sentence.
    """
    own = {**amounts, **read_of_tenant(given)}
    return {name: amount for name, amount in own.items() if amount.amount}


def read_of_tenant(given: Any) -> dict[str, Amount]:
    """:raises ValueError: with a sentence."""
    if not isinstance(given, dict):
        raise ValueError('This is an object, such as {"commands_per_user": "40/200"}.')  # noqa: TRY004 told to people
    return read(given, [limit.name for limit in LIMITS.values() if limit.tenants])


def read(given: Mapping[str, Any], names: Any = tuple(LIMITS)) -> dict[str, Amount]:
    """Limits as people write them: a number, or a string of a number, a slash and a burst.

    :raises ValueError: with a sentence.
    """
    for name in given:
        if name not in names:
            raise ValueError(f"{name} is none of {', '.join(names)}.")
    return {name: _amount(LIMITS[name], value) for name, value in given.items()}


def _amount(limit: Limit, value: Any) -> Amount:
    match = None if isinstance(value, bool) or not isinstance(value, int | str) else _VALUE.fullmatch(str(value))
    rate = limit.default.burst is not None
    if match is None or int(match[1]) > MOST or (match[2] and (not rate or not 1 <= int(match[2]) <= MOST)):
        shape = "20, or 20/100 for a burst of 100" if rate else "50"
        raise ValueError(f"{limit.name} is a number such as {shape}; 0 is no limit. This is {value!r}.")
    amount = int(match[1])
    if limit.default.burst is None:
        return Amount(amount)
    return Amount(amount, int(match[2] or -(-amount * limit.default.burst // limit.default.amount)))

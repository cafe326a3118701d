"""Medians with their intervals, and ratios of what was measured side by side. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

WANTED = 0.95  # that the interval holds the true median, where there are rounds enough


@dataclass(frozen=True)
class Figure:
    """A median of so many rounds, and an interval for it."""

    median: float
    low: float
    high: float
    rounds: int

    @property
    def confidence(self) -> float:
        """How sure it is that the true median lies in the interval, whatever the distribution."""
        return confidence(self.rounds, _cut(self.rounds))


def figure(values: Sequence[float]) -> Figure:
    """The interval lies between order statistics: the narrowest pair that is 95 % sure, or, of fewer than 6 rounds, the
    least and the greatest, which is less sure: 75 % of 3, 94 % of 5.

    :raises ValueError: of nothing.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    cut = _cut(len(ordered))
    return Figure(middle(ordered), ordered[cut], ordered[-1 - cut], len(ordered))


def middle(ordered: Sequence[float]) -> float:
    """The median of what is in order already."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Figure | None:
    """Of pairs: what each measured in one round. None when they have no round in common."""
    pairs = [ours[round] / theirs[round] for round in sorted(ours.keys() & theirs.keys()) if theirs[round]]
    return figure(pairs) if pairs else None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def confidence(count: int, cut: int) -> float:
    """That the true median lies between the (cut + 1)-th least and the (cut + 1)-th greatest of ``count`` values."""
    return 1 - 2 * sum(comb(count, below) for below in range(cut + 1)) / float(2**count)


def _cut(count: int) -> int:
    """How many values may be left out at each end."""
    cut = 0
    while 2 * (cut + 1) < count and confidence(count, cut + 1) >= WANTED:
        cut += 1
    return cut

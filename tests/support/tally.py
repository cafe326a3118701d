"""What a crowd heard, held against the log, and figures for people to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.support.crowd import Member


@dataclass
class Tally:
    """What the members heard, held against the log; all but ``heard`` must be 0."""

    heard: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    changed: int = 0
    wrong: list[str] = field(default_factory=list)

    def count(self, member: Member, log: Sequence[tuple[int, str]]) -> None:
        due = {seq: text for seq, text in log if seq > member.began_at}
        seqs = [seq for seq, _ in member.heard]
        self.heard += len(seqs)
        self.lost += len(due.keys() - set(seqs))
        self.doubled += len(seqs) - len(set(seqs))
        self.disordered += sum(later < earlier for earlier, later in pairwise(seqs))
        self.changed += sum(due.get(seq) != text for seq, text in member.heard)
        self.wrong += [f"{member.transport} in {member.room}: {what}" for what in member.wrong]

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.doubled or self.disordered or self.changed or self.wrong)

    def __str__(self) -> str:
        return (
            f"{self.heard:,} events heard; lost {self.lost}, doubled {self.doubled}, out of order {self.disordered}, "
            f"changed {self.changed}, against the protocol {len(self.wrong)}"
        )


def histogram(values: Iterable[float], *, step: float, unit: str = "s") -> str:
    """One line for each step: from, how many, a bar."""
    counts = Counter(int(value // step) for value in values)
    if not counts:
        return "  (none)"
    widest = max(counts.values())
    lines = []
    for slot in range(min(counts), max(counts) + 1):
        if counts[slot] or counts[slot - 1]:  # of a long gap only its first line
            bar = "#" * -(-40 * counts[slot] // widest) or "..."
            lines.append(f"  {slot * step:6.4g} {unit} {counts[slot]:5} {bar}")
    return "\n".join(lines)


def quantiles(values: Iterable[float]) -> str:
    found = sorted(values)
    if not found:
        return "none"
    p50, p99 = found[len(found) // 2], found[min(len(found) - 1, int(len(found) * 0.99))]
    return f"median {p50:.2f}, 99 % {p99:.2f}, most {found[-1]:.2f}"

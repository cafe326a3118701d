"""What a run wrote down, and how to find something in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import Figure, figure

Record = Mapping[str, Any]
OURS = "rooms"


@dataclass(frozen=True)
class Records:
    """
    :param all: as the parts yield them.
    :param titles: of peers, by name, in order.
    """

    all: Sequence[Record]
    titles: Mapping[str, str]

    def of(self, part: str, **wanted: Any) -> list[Record]:
        """Those of a part that came to something and have these values."""
        found = [record for record in self.all if record["part"] == part and "failed" not in record]
        return [record for record in found if all(record.get(name) == value for name, value in wanted.items())]

    def rounds(self, key: str, part: str, **wanted: Any) -> dict[int, float]:
        return {record["round"]: record[key] for record in self.of(part, **wanted) if key in record}

    def figure(self, key: str, part: str, **wanted: Any) -> Figure | None:
        found = self.rounds(key, part, **wanted)
        return figure(list(found.values())) if found else None

    def best(self, peer: str, readers: int) -> dict[int, float]:
        """Deliveries per CPU second of each round, with as many messages in flight as suit this peer best."""
        found: dict[int, float] = {}
        for record in self.of("fanout", peer=peer, readers=readers):
            if "per_cpu" in record:
                found[record["round"]] = max(found.get(record["round"], 0), record["per_cpu"])
        return found

    def failures(self, **wanted: Any) -> list[Record]:
        failed = [record for record in self.all if "failed" in record]
        return [record for record in failed if all(record.get(name) == value for name, value in wanted.items())]

    def why_not(self, part: str, peer: str, **wanted: Any) -> str:
        """Why there is no figure: ``void``, and the reason."""
        failed = self.failures(part=part, peer=peer, **wanted)
        return f"void: {failed[0]['failed'] if failed else f'{self.title(peer)} was not run'}"

    @property
    def sizes(self) -> list[int]:
        """Of the rooms in the part ``fanout``."""
        return sorted({record["readers"] for record in self.all if record["part"] == "fanout"})

    def run_at(self, readers: int) -> list[str]:
        """Peers that were tried with so many readers."""
        tried = {record["peer"] for record in self.all if record["part"] == "fanout" and record["readers"] == readers}
        return [peer for peer in self.titles if peer in tried]

    def title(self, peer: str) -> str:
        return self.titles.get(peer, peer)


def is_ours(peer: str) -> bool:
    return peer.startswith(OURS)

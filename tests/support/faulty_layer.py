"""A channel layer that does what real ones do on a bad day."""

import random
from typing import Any

from channels.layers import InMemoryChannelLayer


class FaultyLayer(InMemoryChannelLayer):
    """Drops, doubles and holds back what is sent to groups, from a seed; ``dead`` refuses everything."""

    def __init__(self, seed: int = 1, *, drop: float = 0.2, double: float = 0.2, reorder: float = 0.2) -> None:
        super().__init__(capacity=100_000)
        self.random = random.Random(seed)
        self.rates = (drop, double, reorder)
        self.dead = False
        self.faults = {"dropped": 0, "doubled": 0, "reordered": 0, "refused": 0}
        self._late: list[tuple[str, dict[str, Any]]] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self._refuse_when_dead()
        drop, double, reorder = self.rates
        chance = self.random.random()
        if chance < drop:
            self.faults["dropped"] += 1
            return
        if chance < drop + reorder:
            self.faults["reordered"] += 1
            self._late.append((group, message))
            return
        await super().group_send(group, message)
        if chance > 1 - double:
            self.faults["doubled"] += 1
            await super().group_send(group, message)
        while self._late and self.random.random() < 0.5:
            await super().group_send(*self._late.pop(self.random.randrange(len(self._late))))

    async def group_add(self, group: str, channel: str) -> None:
        self._refuse_when_dead()
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self._refuse_when_dead()
        await super().group_discard(group, channel)

    def _refuse_when_dead(self) -> None:
        if self.dead:
            self.faults["refused"] += 1
            raise ConnectionError("the layer is dead")

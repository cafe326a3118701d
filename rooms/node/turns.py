"""Who is next: each tenant in turn, and within a tenant each person. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """What waits, and whose it is. Of one person everything stays in the order in which it came.

    Whoever has a thousand waiting is taken one from when the others are, so that who has one waits for as many others
    as there are tenants, and people in the tenant.
    """

    def __init__(self) -> None:
        # In the order of their turns; an empty one is not there.
        self._tenants: dict[str, dict[Hashable, deque[tuple[int, T]]]] = {}
        self._sizes: Counter[str] = Counter()
        self._came = 0

    def __len__(self) -> int:
        return self._sizes.total()

    def __bool__(self) -> bool:
        return bool(self._tenants)

    def of(self, tenant: str) -> int:
        """How many of this tenant's wait."""
        return self._sizes[tenant]

    def put(self, item: T, tenant: str, person: Hashable = None) -> None:
        self._came += 1
        self._tenants.setdefault(tenant, {}).setdefault(person, deque()).append((self._came, item))
        self._sizes[tenant] += 1

    def take(self, most: int = 1, *, but: Collection[str] = ()) -> list[T]:
        """Those whose turn it is; what is taken together is in the order in which it came.

        :param but: of these tenants nothing is taken.
        """
        taken: list[tuple[int, T]] = []
        while len(taken) < most:
            tenant = next((each for each in self._tenants if each not in but), None)
            if tenant is None:
                break
            taken.append(self._take(tenant, next(iter(self._tenants[tenant]))))
        return [item for _, item in sorted(taken, key=lambda each: each[0])]

    def take_one(self, may: Callable[[str, Hashable], bool]) -> T | None:
        """The one whose turn it is among those tenants and people who may; None when nobody of them waits."""
        for tenant, people in self._tenants.items():
            for person in people:
                if may(tenant, person):
                    return self._take(tenant, person)[1]
        return None

    def _take(self, tenant: str, person: Hashable) -> tuple[int, T]:
        """The first of this person's; tenant and person go behind the others."""
        people = self._tenants.pop(tenant)
        items = people.pop(person)
        taken = items.popleft()
        if items:
            people[person] = items
        if people:
            self._tenants[tenant] = people
        self._shrink(tenant, 1)
        return taken

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take these out, in the order in which they came."""
        found = []
        for tenant, people in list(self._tenants.items()):
            for person, items in list(people.items()):
                out = [each for each in items if unwanted(each[1])]
                if not out:
                    continue
                found += out
                self._shrink(tenant, len(out))
                people[person] = deque(each for each in items if not unwanted(each[1]))
                if not people[person]:
                    del people[person]
            if not people:
                del self._tenants[tenant]
        return [item for _, item in sorted(found, key=lambda each: each[0])]

    def _shrink(self, tenant: str, by: int) -> None:
        self._sizes[tenant] -= by
        if not self._sizes[tenant]:
            del self._sizes[tenant]

"""A bounded memo of plans by shape.

Events of one kind have the same keys, so what to do with each key is worked out once per shape (the tuple of keys,
with whatever else decides) and looked up for every later event. Senders choose the keys, so the memo is bounded
by its number of plans and by the characters in their keys; a full memo starts again, which costs time, never memory.

Some shippers write the same keys in another order every time. So a shape gets a plan of its own only when it is seen
for the second time, and only while half of the memo is free; otherwise its event is put into the order of the
alphabet, whose plan all orders share.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Plan = TypeVar("Plan")


class Shapes(Generic[Plan]):
    """Plans by shape.

    Attributes:
        most: plans kept.
        weight: characters of keys kept, over all plans.
    """

    __slots__ = ("_plans", "_seen", "_weight", "get", "most", "weight")

    def __init__(self, most: int = 2048, weight: int = 4_000_000) -> None:
        self.most = most
        self.weight = weight
        self._plans: dict[Hashable, Plan] = {}
        self._seen: set[int] = set()
        self._weight = 0
        self.get: Callable[[Hashable], Plan | None] = self._plans.get

    def put(self, shape: Hashable, plan: Plan, weight: int) -> None:
        """Keeps a plan; one that would fill more than a tenth of the memo by itself is not kept."""
        if weight > self.weight // 10:
            return
        if len(self._plans) >= self.most or self._weight + weight > self.weight:
            self._plans.clear()
            self._weight = 0
        self._plans[shape] = plan
        self._weight += weight

    def deserves_plan(self, shape: Hashable) -> bool:
        """Whether this order of keys comes again, and there is room for a plan of its own."""
        if 2 * len(self._plans) >= self.most or 2 * self._weight >= self.weight:
            return False
        mark = hash(shape)
        if mark in self._seen:
            return True
        if len(self._seen) >= 4 * self.most:
            self._seen.clear()
        self._seen.add(mark)
        return False

    def __len__(self) -> int:
        return len(self._plans)

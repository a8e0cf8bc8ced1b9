"""The room on ShopSets while groups change one by one: what may change now, and what waits for another that makes room."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from typing import Final

from shopset.core.placement.evaluating import normal_loads
from shopset.core.placement.problems import Floats, Ints, Problem

FULL: Final = 1 + 1e-9
"""Loads up to this share of a capacity fit."""
_LEAST: Final = 1e-9
"""What is left of a load, by rounding, when all of it was taken away."""

Shift = Mapping[int, float]
"""A ShopSet's resource -> what a change adds to its load there; less than nothing where it takes load away."""


class Room:
    """The normal load of each ShopSet in each resource, kept up while groups change.

    Plain numbers and not arrays: a change is about a handful of them, and there are thousands of changes.
    """

    def __init__(self, problem: Problem, legs: Ints, limit: Floats) -> None:
        """Begin at some legs. `limit` (S, R) is the most that each ShopSet may have."""
        self._problem = problem
        self._resources = len(problem.follows_traffic)
        self._follows = problem.follows_traffic.tolist()
        self._used: list[float] = normal_loads(problem, legs).ravel().tolist()
        self._limit: list[float] = (limit * FULL + _LEAST).ravel().tolist()

    def shift(self, row: int, before: Sequence[int], after: Sequence[int]) -> Shift:
        """Return what it means for the loads that a group has other replicas, or the same in another order."""
        demand = self._problem.demand[row].tolist()
        active = int(self._problem.active[row])
        found: defaultdict[int, float] = defaultdict(float)
        for replicas, sign in ((before, -1), (after, 1)):
            present = [leg for leg in replicas if leg >= 0]
            serving = present[:active]
            for leg in present:
                for resource, amount in enumerate(demand):
                    if not self._follows[resource]:
                        found[self._place(leg, resource)] += sign * amount
                    elif leg in serving:
                        found[self._place(leg, resource)] += sign * amount / len(serving)
        return {place: amount for place, amount in found.items() if amount}

    def of(self, shift: Shift, shopsets: Container[int]) -> Shift:
        """Return the part of a change that is about some ShopSets."""
        return {place: amount for place, amount in shift.items() if place // self._resources in shopsets}

    def fits(self, shift: Shift) -> bool:
        """Whether a change gives no ShopSet too much."""
        return all(amount <= 0 or self._used[place] + amount <= self._limit[place] for place, amount in shift.items())

    def fullness(self, shift: Shift) -> float:
        """Return how full a change would make the fullest of the ShopSets to which it brings load."""
        filled = ((self._used[place] + amount) / self._limit[place] for place, amount in shift.items() if amount > 0)
        return max(filled, default=0.0)

    def put(self, shift: Shift) -> None:
        """Make a change."""
        for place, amount in shift.items():
            self._used[place] += amount

    def take_back(self, made: Mapping[int, Shift], last: Container[int]) -> set[int]:
        """Take back as many changes that were made as it takes until none of them gives a ShopSet too much. Returns which.

        Those that add most go first, and those in `last` after all others.
        """
        back: set[int] = set()
        adding: dict[int, list[int]] = defaultdict(list)
        for key, shift in made.items():
            for place, amount in shift.items():
                if amount > 0:
                    adding[place].append(key)
        while (full := next((each for each in adding if self._used[each] > self._limit[each]), None)) is not None:
            there = [key for key in adding[full] if key not in back]
            if not there:
                del adding[full]
                continue
            key = min(there, key=lambda key: (key in last, -made[key][full]))
            self.put({place: -amount for place, amount in made[key].items()})
            back.add(key)
        return back

    def _place(self, shopset: int, resource: int) -> int:
        return shopset * self._resources + resource

"""Shuffle sharding: groups of a class share all their replicas as rarely as can be, so that one's trouble is few others'."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np

from shopset.core.placement.evaluating import arrivals, loads, worst, worst_n1
from shopset.core.placement.modelling import apart_at
from shopset.core.placement.problems import Bools, Floats, Ints, Problem

_Set = tuple[int, ...]
_FULL: Final = 1 + 1e-9
_SWEEPS: Final = 2


def shuffled(problem: Problem, legs: Ints, kinds: Bools) -> Ints:
    """Return the legs with some of the replicas that move anyway elsewhere, where their group then shares its fate with fewer.

    `kinds` tells of each kind whether it is shuffled. No move is added, and no ShopSet is overloaded by it.
    """
    rows = np.flatnonzero(kinds[problem.kind] & arrivals(problem.legs, legs).any(1) & ~problem.fixed)
    if not len(rows):
        return legs
    found = _Shuffle(problem, legs.copy(), kinds)
    for _ in range(_SWEEPS):
        for row in rows.tolist():
            found.improve(row)
    before, after = (loads(problem, each) for each in (legs, found.legs))
    overloads = any(fullest(problem, after) > max(_FULL, fullest(problem, before)) for fullest in (worst, worst_n1))
    return legs if overloads else found.legs


def shared_fates(sets: Iterable[tuple[int, ...] | tuple[str, ...]]) -> int:
    """Return how many pairs of groups share all their replicas, in whichever order."""
    counts = Counter(tuple(sorted(each)) for each in sets)
    return sum(number * (number - 1) // 2 for number in counts.values())


class _Shuffle:
    def __init__(self, problem: Problem, legs: Ints, kinds: Bools) -> None:
        self.problem, self.legs = problem, legs
        self.able = problem.allowed & (problem.takes & ~problem.leaves)
        self.used = loads(problem, legs).normal.copy()
        self.counts: dict[int, Counter[_Set]] = {}
        for row in np.flatnonzero(kinds[problem.kind]).tolist():
            self._of(row)[self._set(row)] += 1

    def improve(self, row: int) -> None:
        """Change one replica of a group that is new to it, where that leaves it with fewer of the same set."""
        counts, present = self._of(row), self._set(row)
        best: tuple[int, float, int, int] | None = None
        for position, leg in enumerate(self.legs[row].tolist()):
            if leg < 0 or leg in self.problem.legs[row]:
                continue
            for column in np.flatnonzero(self.able[self.problem.kind[row]]).tolist():
                if column in present:
                    continue
                after = tuple(sorted({*present, column} - {leg}))
                fate = counts[after]
                if fate >= counts[present] - 1 or not apart_at(self.problem, int(self.problem.kind[row]), after):
                    continue
                fullness = self._fullness(row, position, column)
                if fullness <= _FULL and (best is None or (fate, fullness) < best[:2]):
                    best = (fate, fullness, position, column)
        if best is not None:
            self._move(row, best[2], best[3])

    def _move(self, row: int, position: int, column: int) -> None:
        counts = self._of(row)
        counts[self._set(row)] -= 1
        self.used[self.legs[row, position]] -= self._load(row, position)
        self.used[column] += self._load(row, position)
        self.legs[row, position] = column
        counts[self._set(row)] += 1

    def _fullness(self, row: int, position: int, column: int) -> float:
        return float(((self.used[column] + self._load(row, position)) / self.problem.capacity[column]).max())

    def _load(self, row: int, position: int) -> Floats:
        active = int(self.problem.active[row])
        share = 1 / active if position < active else 0.0
        load: Floats = np.where(self.problem.follows_traffic, share, 1.0) * self.problem.demand[row]
        return load

    def _of(self, row: int) -> Counter[_Set]:
        return self.counts.setdefault(int(self.problem.kind[row]), Counter())

    def _set(self, row: int) -> _Set:
        return tuple(sorted(leg for leg in self.legs[row].tolist() if leg >= 0))

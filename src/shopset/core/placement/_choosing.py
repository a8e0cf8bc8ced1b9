"""Which changes go now: as many as may be between two ShopSets, and none that gives a ShopSet too much before another makes room."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shopset.core.placement._room import FULL, Room
from shopset.core.placement.evaluating import normal_loads
from shopset.core.placement.problems import Ints, Problem


class Option(NamedTuple):
    """A change that may go now."""

    legs: Ints
    """(K,): the replicas that the group is to have."""
    shops: int
    """How many shops it leaves between two ShopSets; none where only the order of its replicas changes."""


@dataclass
class Share:
    """How many shops may be between two ShopSets, and how many are. One change may always go."""

    most: int
    between: int = 0

    def allows(self, shops: int) -> bool:
        """Whether so many more may be."""
        return not (shops and self.between) or self.between + shops <= self.most


def chosen(
    problem: Problem, legs: Ints, options: Mapping[int, Option], share: Share, pressing: Collection[int]
) -> set[int]:
    """Return the rows of those that go now, and take their share. `legs` is what all others have then.

    A ShopSet may have what it bears, what it has, and what it is to have once all have gone. Together goes what can, so that
    two that change places do not wait for each other. Where nothing can go, one of the `pressing` ones goes all the same,
    that by which ShopSets get least full: what waits for ever is not served better.
    """
    allowed = []
    for row, option in options.items():
        if share.allows(option.shops):
            share.between += option.shops
            allowed.append(row)
    if len(allowed) == len(options):
        return set(allowed)
    after, goal = _with(legs, options, allowed), _with(legs, options, options)
    limit = np.maximum.reduce([problem.capacity, *(normal_loads(problem, each) for each in (problem.legs, legs, goal))])
    if (normal_loads(problem, after) <= limit * FULL).all():
        return set(allowed)
    return _Chooser(Room(problem, after, limit), legs, options, share, allowed).run(pressing)


def _with(legs: Ints, options: Mapping[int, Option], rows: Collection[int]) -> Ints:
    """Return legs with some options made."""
    after = legs.copy()
    if rows:
        after[[*rows]] = [options[row].legs for row in rows]
    return after


class _Chooser:
    """Choosing one by one, where not all can go that the share allows."""

    def __init__(
        self, room: Room, legs: Ints, options: Mapping[int, Option], share: Share, taken: Collection[int]
    ) -> None:
        self.room, self.share = room, share
        self.shifts = {row: room.shift(row, legs[row].tolist(), each.legs.tolist()) for row, each in options.items()}
        self.shops = {row: each.shops for row, each in options.items()}
        self.taken = set(taken)

    def run(self, pressing: Collection[int]) -> set[int]:
        self._take_back()
        self._fill()
        if pressing and not self.taken:
            self._take(min(pressing, key=lambda row: self.room.fullness(self.shifts[row])))
            self._fill()
        return self.taken

    def _take_back(self) -> None:
        """Take back what gives a ShopSet too much: first of all orders, for those cost no move."""
        made = {row: self.shifts[row] for row in self.shifts if row in self.taken}
        moves = frozenset(row for row in made if self.shops[row])
        for row in self.room.take_back(made, last=moves):
            self.taken.remove(row)
            self.share.between -= self.shops[row]

    def _fill(self) -> None:
        """Take what fits until nothing more does: each makes room for others."""
        left = [row for row in self.shifts if row not in self.taken]
        count = -1
        while left and count != len(self.taken):
            count = len(self.taken)
            for row in left:
                if self.share.allows(self.shops[row]) and self.room.fits(self.shifts[row]):
                    self._take(row)
            left = [row for row in left if row not in self.taken]

    def _take(self, row: int) -> None:
        self.taken.add(row)
        self.room.put(self.shifts[row])
        self.share.between += self.shops[row]

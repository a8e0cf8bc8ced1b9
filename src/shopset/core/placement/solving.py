"""The solver: a Problem in, a Solution out. Pure and deterministic."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from shopset.core.placement._balancing import Balance
from shopset.core.placement._completing import complete
from shopset.core.placement._curing import cure
from shopset.core.placement._improving import Choice, flip, flippable, reseat, restore
from shopset.core.placement._keeping import kept
from shopset.core.placement._parts import parts, restricted
from shopset.core.placement._placing import by_size, missing_positions, place, sizes
from shopset.core.placement.bounding import pooled_bounds, priced_bounds
from shopset.core.placement.evaluating import arrivals, loads, scenarios, worst, worst_n1
from shopset.core.placement.problems import Ints, Problem, Solution

_SHARPNESS: Final = (20.0, 45.0, 100.0, 200.0, 400.0, 900.0)
_FIRST: Final = 2
"""So many of these are gone through before small groups are placed."""
_STEEPEST: Final = 60.0
"""No row is to cost more than exp of this in the end: beside one that nothing makes less full, the others would not count any more."""
_SAFETY: Final = (60.0, 150.0)
"""The same where a ShopSet has more than it can carry."""
_BOUND_ROUNDS: Final = 60
_FEW: Final = 5.1
"""For every so many moves, one shop's replicas may change their roles only to even out the loads."""
_PRICE: Final = 5.0
"""If as many shops as move changed their roles, each would have to divide the cost by exp of this in the mean."""
_DEAREST: Final = 0.005
"""No change of roles has to take off more than this share of the cost for each shop."""
_ROCK: Final = 0.08
"""Groups that need more of a ShopSet than this do not move within a budget: ShopSets full of them can't be evened out any more."""
_NIMBLE: Final = 4_000
"""So many groups are looked at for each improvement: those that count most."""


def solve(problem: Problem, budget: int = 0) -> Solution:
    """Return a placement that moves what must move, and as many shops more as the budget allows where that evens out the loads."""
    legs = np.full(problem.legs.shape, -1, np.int32)
    bound = bound_n1 = 0.0
    for part in parts(problem):
        if not len(part.shopsets):
            continue
        small = restricted(problem, part)
        balance = _solve_part(small, budget)
        legs[part.groups] = np.append(part.shopsets, -1)[balance.legs]
        low, low_n1 = _bounds(balance, free=budget > 0)
        bound, bound_n1 = max(bound, low), max(bound_n1, low_n1)
    legs = packed(legs)
    state = loads(problem, legs)
    return Solution(legs, worst(problem, state), worst_n1(problem, state), bound, bound_n1)


def _bounds(balance: Balance, *, free: bool) -> tuple[float, float]:
    """Return lower bounds; those that take longer are sought only where it depends on them whether the placement could be safe."""
    problem, legs = balance.problem, balance.legs
    low, low_n1 = pooled_bounds(problem, legs)
    if balance.is_safe():
        return low, low_n1
    prices = np.concatenate([balance.normal[None], balance.after])
    rounds = _BOUND_ROUNDS if low_n1 <= 1 else 0
    priced, priced_n1 = priced_bounds(problem, legs, prices, free=free, rounds=rounds)
    return max(low, priced), max(low_n1, priced_n1)


def _solve_part(problem: Problem, budget: int) -> Balance:
    stay = kept(problem)
    missing = missing_positions(problem, stay)
    balance = Balance(problem, stay.copy(), _aims(problem), _SHARPNESS[0], ~missing[:, 0] & (stay >= 0).any(1))
    if missing.any() or budget > 0:
        order = by_size(balance)
        todo = order[missing[order].any(1)]
        effort = Effort(balance, stay, budget)
        place(balance, todo[: _NIMBLE // 2])
        effort.even_out(_SHARPNESS[:_FIRST])
        place(balance, todo[_NIMBLE // 2 :])
        complete(balance)
        effort.even_out(_SHARPNESS[_FIRST:])
    _make_safe(balance)
    return balance


def _make_safe(balance: Balance) -> None:
    """Where a ShopSet is overloaded, or would be after a loss: change the order of as many replicas as it takes, then move some."""
    if balance.is_safe():
        return
    low, low_n1 = balance.aims
    balance.aims = (1.0, 1.0)
    weight = balance.problem.weight
    swapped = np.zeros(len(weight), np.bool_)
    able = np.flatnonzero(flippable(balance))
    for sharpness in _SAFETY:
        balance.sharpen(sharpness)
        flip(balance, able, int(weight.sum()), swapped, until_safe=True)
    if low <= 1 and balance.utilisation()[0].max(initial=0) > 1:
        cure(balance, after_loss=False)
    if low_n1 <= 1 and not balance.is_safe():
        saved = balance.legs.copy()
        if not cure(balance, after_loss=True):
            restore(balance, np.arange(len(saved)), saved)


class Effort:
    """What may be improved: where moved replicas are, the roles of a few others, and what the budget allows."""

    def __init__(self, balance: Balance, stay: Ints, budget: int) -> None:
        self.balance, self.stay, self.budget = balance, stay, budget
        weight = balance.problem.weight
        largest = np.argsort(-sizes(balance) / weight.clip(1), kind="stable")
        free = largest[~balance.problem.fixed[largest]]
        sand = free[sizes(balance)[free] <= _ROCK]
        self.loose = Choice(np.sort((sand if len(sand) else free)[:_NIMBLE]), stay, tied=True)
        shops = int((missing_positions(balance.problem, stay).sum(1) * weight).sum()) + budget
        self.allowance, self.price = int(shops / _FEW), min(_PRICE / max(shops, 1), _DEAREST)
        self.swapped = np.zeros(len(weight), np.bool_)

    def even_out(self, sharpness: Sequence[float]) -> None:
        """Make the fullest rows less full, more and more to the point."""
        balance = self.balance
        again = Choice(np.flatnonzero(arrivals(self.stay, balance.legs).any(1)), self.stay, tied=False)
        for sharp in sharpness:
            if sharp > _SAFETY[-1] and sharp * (balance.fullest() - 1) > _STEEPEST:
                break
            balance.sharpen(sharp)
            able = np.flatnonzero(flippable(balance))
            self.allowance = flip(balance, able, self.allowance, self.swapped, price=self.price)
            if self.budget > 0:
                self.budget = reseat(balance, self.loose, self.budget, 40)
            if len(again.groups):
                reseat(balance, again, 0, 10)


def _aims(problem: Problem) -> tuple[float, float]:
    """Return about how full the ShopSets would be, normally and after the worst loss, if all demand were spread evenly."""
    usable = problem.allowed[np.unique(problem.kind)].any(0) & ~problem.leaves
    living = np.vstack([usable[None], usable & ~scenarios(problem).lost])
    capacity = np.where(living[:, :, None], problem.capacity, 0).sum(1)
    demand = np.where(problem.follows_traffic, problem.demand, problem.demand * problem.replicas[:, None])
    lasting = demand[problem.replicas > 1].sum(0)
    normal = np.divide(demand.sum(0), capacity[0], out=np.zeros_like(capacity[0]), where=capacity[0] > 0).max(initial=0)
    after = np.divide(lasting, capacity[1:], out=np.zeros_like(capacity[1:]), where=capacity[1:] > 0).max(initial=0)
    return max(float(normal), 1e-9), max(float(normal), float(after), 1e-9)


def packed(legs: Ints) -> Ints:
    """Move what is not there to the end of each row."""
    order = np.argsort(legs < 0, axis=1, kind="stable")
    return np.take_along_axis(legs, order, axis=1)

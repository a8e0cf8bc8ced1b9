"""The solver: a Problem in, a Solution out. Pure and deterministic."""

from typing import Final

import numpy as np

from shopset.core.placement._balancing import Balance
from shopset.core.placement._improving import flip, flippable, rebalance, resettle
from shopset.core.placement._keeping import kept
from shopset.core.placement._parts import parts, restricted
from shopset.core.placement._placing import missing_positions, place, sizes
from shopset.core.placement.bounding import pooled_bounds
from shopset.core.placement.evaluating import loads, worst, worst_n1
from shopset.core.placement.problems import Bools, Ints, Problem, Solution

_SHARPNESS: Final = (40.0, 80.0, 120.0, 160.0)
_NIMBLE: Final = 4_000
"""So many groups are looked at for each improvement: those that count most."""


def solve(problem: Problem, budget: int = 0) -> Solution:
    """Return a placement that moves what must move, and as many shops more as the budget allows where that evens out the loads."""
    legs = np.full(problem.legs.shape, -1, np.int32)
    bound = bound_n1 = 0.0
    for part in parts(problem):
        small = restricted(problem, part)
        found = _solve_part(small, budget)
        legs[part.groups] = np.append(part.shopsets, -1)[found]
        low, low_n1 = pooled_bounds(small, found)
        bound, bound_n1 = max(bound, low), max(bound_n1, low_n1)
    legs = packed(legs)
    state = loads(problem, legs)
    return Solution(legs, worst(problem, state), worst_n1(problem, state), bound, bound_n1)


def _solve_part(problem: Problem, budget: int) -> Ints:
    legs = kept(problem)
    missing = missing_positions(problem, legs)
    balance = Balance(problem, legs, _aims(problem), 40.0, ~missing[:, 0] & (legs >= 0).any(1))
    place(balance)
    moved = missing & (balance.legs >= 0)
    _even_out(balance, moved, budget)
    return balance.legs


def _even_out(balance: Balance, moved: Bools, budget: int) -> None:
    """Improve what may be improved: where moved replicas are, the roles of a few others, and what the budget allows."""
    weight = balance.problem.weight
    size = sizes(balance)
    nimble = np.argsort(-size / np.maximum(weight, 1), kind="stable")
    flips = nimble[flippable(balance)[nimble]][:_NIMBLE]
    large = np.argsort(-size, kind="stable")
    again = large[moved[large].any(1)][:_NIMBLE]
    row, positions = np.nonzero(moved[again])
    loose = nimble[~balance.problem.fixed[nimble]][:_NIMBLE]
    swapped = np.zeros(len(weight), np.bool_)
    allowance = (int((moved.sum(1) * weight).sum()) + budget) // 5
    for sharpness in _SHARPNESS:
        balance.sharpen(sharpness)
        if budget > 0:
            budget = rebalance(balance, loose, budget, 40, 32)
        if allowance > 0:
            allowance = flip(balance, flips, allowance, swapped, 25)
        if len(again):
            resettle(balance, again[row], positions, 30, 16)


def _aims(problem: Problem) -> tuple[float, float]:
    low, low_n1 = pooled_bounds(problem, problem.legs)
    return max(low, 1e-9), max(low_n1, 1e-9)


def packed(legs: Ints) -> Ints:
    """Move what is not there to the end of each row."""
    order = np.argsort(legs < 0, axis=1, kind="stable")
    return np.take_along_axis(legs, order, axis=1)

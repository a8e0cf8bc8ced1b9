"""Which replicas stay where they are, and which positions are to be filled."""

from itertools import combinations

import numpy as np

from shopset.core.placement.problems import Bools, Ints, Problem

_EXHAUSTIVE = 10
"""Replicas up to which the largest set that may stay is searched for; beyond it they are taken in their order."""


def kept(problem: Problem) -> Ints:
    """Return the legs with -1 wherever a replica must go: its ShopSet is left or not allowed, or another one is too near."""
    legs = problem.legs.copy()
    legs[np.arange(legs.shape[1])[None, :] >= problem.replicas[:, None]] = -1
    present = legs >= 0
    misplaced = ~problem.allowed[problem.kind[:, None], legs] & ~problem.fixed[:, None]
    legs[present & (problem.leaves[legs] | misplaced)] = -1
    near = _near(problem, legs)
    for group in np.flatnonzero(near.any((1, 2))):
        stay = _apart(near[group], np.flatnonzero(legs[group] >= 0))
        legs[group, ~np.isin(np.arange(legs.shape[1]), stay)] = -1
    return legs


def _near(problem: Problem, legs: Ints) -> Bools:
    """(G, K, K): the pairs of replicas that may not be together."""
    size = legs.shape[1]
    near = np.zeros((len(legs), size, size), np.bool_)
    apart = problem.apart[problem.kind]
    for first, second in combinations(range(size), 2):
        one, other = legs[:, first], legs[:, second]
        both = (one >= 0) & (other >= 0)
        if not both.any():
            continue
        close = one == other
        for level, domain in enumerate(problem.domains):
            close |= apart[:, level] & (domain[one] == domain[other])
        near[:, first, second] = near[:, second, first] = close & both
    return near


def _apart(near: Bools, present: np.ndarray[tuple[int], np.dtype[np.intp]]) -> tuple[int, ...]:
    """Return the largest set of positions of which no two are near, the earliest of several."""
    positions = tuple(int(position) for position in present)
    if len(positions) <= _EXHAUSTIVE:
        for count in range(len(positions), 0, -1):
            for some in combinations(positions, count):
                if not near[np.ix_(some, some)].any():
                    return some
    chosen: list[int] = []
    for position in positions:
        if not near[position, chosen].any():
            chosen.append(position)
    return tuple(chosen)

"""What a placement means for each ShopSet: its load as things are, and after the loss of each domain.

A *scenario* is the loss of one domain of one level; scenarios are numbered level by level, domain by domain. Row 0 of every
table of loads is the state in which nothing is lost, and row 1 + n that of scenario n.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shopset.core.placement.problems import Bools, Floats, Ints, Problem

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Scenarios:
    """The losses that a placement is to survive."""

    level: Ints
    """(scenarios,)"""
    domain: Ints
    """(scenarios,): within its level."""
    of: Index
    """(L, S): the scenario in which each ShopSet is lost at each level."""
    lost: Bools
    """(scenarios, S)"""

    def __len__(self) -> int:
        return len(self.level)


@dataclass(frozen=True)
class Loads:
    """The loads of a placement."""

    rows: Floats
    """(1 + scenarios, S, R); 0 where the ShopSet is lost."""
    down: Bools
    """(1 + scenarios, G): groups that no replica serves. One without any replica is down in each."""

    @property
    def normal(self) -> Floats:
        """(S, R): the loads while nothing is lost."""
        return np.asarray(self.rows[0])


def scenarios(problem: Problem) -> Scenarios:
    """Return the loss of each domain of each level."""
    levels, size = problem.domains.shape
    counts = [int(problem.domains[level].max(initial=-1)) + 1 for level in range(levels)]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
    of = problem.domains.astype(np.intp) + starts[:-1, None]
    lost = np.zeros((int(starts[-1]), size), np.bool_)
    for level in range(levels):
        lost[of[level], np.arange(size)] = True
    level_of = np.repeat(np.arange(levels, dtype=np.int32), counts)
    domain_of = (
        np.concatenate([np.arange(count, dtype=np.int32) for count in counts]) if counts else np.zeros(0, np.int32)
    )
    return Scenarios(level_of, domain_of.astype(np.int32), of, lost)


def loads(problem: Problem, legs: Ints) -> Loads:
    """Return the load of every ShopSet in every scenario."""
    losses = scenarios(problem)
    size, resources = problem.capacity.shape
    rows = np.zeros((1 + len(losses), size, resources))
    down = np.zeros((1 + len(losses), len(legs)), np.bool_)
    down[0] = (legs < 0).all(1)
    _add_traffic(problem, legs, losses, rows, down)
    _add_static(problem, legs, rows)
    rows[1:][losses.lost] = 0
    return Loads(rows, down)


def normal_loads(problem: Problem, legs: Ints) -> Floats:
    """(S, R): the loads while nothing is lost, without a look at any loss."""
    rows = np.zeros((1, *problem.capacity.shape))
    _scatter(rows[0], legs, _shares(legs, problem.active), problem.demand * problem.follows_traffic)
    _add_static(problem, legs, rows)
    return np.asarray(rows[0])


def _add_traffic(problem: Problem, legs: Ints, losses: Scenarios, rows: Floats, down: Bools) -> None:
    """Add the demand that follows the replica which serves, and say who is down."""
    demand = problem.demand * problem.follows_traffic
    size = len(problem.capacity)
    shares = _shares(legs, problem.active)
    _scatter(rows[0], legs, shares, demand)
    rows[1:] = rows[0]
    nowhere = np.full((len(losses), size + 1), False)
    nowhere[:, :size] = losses.lost
    for scenario in range(len(losses)):
        lost = nowhere[scenario][legs]
        hit = np.flatnonzero(lost.any(1))
        before = legs[hit]
        after = np.where(lost[hit], -1, before)
        down[1 + scenario] = down[0]
        down[1 + scenario, hit] = (after < 0).all(1)
        changed = _shares_of_rest(before, after, problem.active[hit]) - shares[hit]
        _scatter(rows[1 + scenario], before, changed, demand[hit])


def _shares(legs: Ints, active: Ints) -> Floats:
    """(G, K): the part of its traffic that each replica of a group serves."""
    present = legs >= 0
    serving = present & (np.cumsum(present, axis=1) <= active[:, None])
    count = serving.sum(1, keepdims=True)
    return np.asarray(serving / np.maximum(count, 1), np.float64)


def _shares_of_rest(before: Ints, after: Ints, active: Ints) -> Floats:
    """The same after a loss: the active ones that are left share all of it; where none is, the first replica that is left."""
    present = before >= 0
    was_active = present & (np.cumsum(present, axis=1) <= active[:, None])
    serving = was_active & (after >= 0)
    none = ~serving.any(1)
    serving[none] = (after[none] >= 0) & (np.cumsum(after[none] >= 0, axis=1) <= 1)
    return np.asarray(serving / np.maximum(serving.sum(1, keepdims=True), 1), np.float64)


def _scatter(row: Floats, legs: Ints, shares: Floats, demand: Floats) -> None:
    """Add each group's shares of its demand to the ShopSets of its replicas."""
    group, position = np.nonzero(shares)
    target, part = legs[group, position], shares[group, position]
    for resource in range(row.shape[1]):
        row[:, resource] += np.bincount(target, demand[group, resource] * part, len(row))


def _add_static(problem: Problem, legs: Ints, rows: Floats) -> None:
    """Add what each replica uses whether it serves or not."""
    if problem.follows_traffic.all():
        return
    static = np.zeros(rows.shape[1:])
    _scatter(static, legs, (legs >= 0).astype(np.float64), problem.demand * ~problem.follows_traffic)
    rows += static


def utilisation(problem: Problem, rows: Floats) -> Floats:
    """Return load over capacity; no load is 0 of any capacity, and a load on none is infinite."""
    capacity = np.broadcast_to(problem.capacity, rows.shape)
    with np.errstate(divide="ignore"):
        return np.divide(rows, capacity, out=np.zeros_like(rows), where=rows > 0)


def worst(problem: Problem, found: Loads) -> float:
    """Return the largest load over capacity while nothing is lost."""
    return float(utilisation(problem, found.normal).max(initial=0.0))


def worst_n1(problem: Problem, found: Loads) -> float:
    """Return the largest load over capacity, whichever one domain is lost."""
    return float(utilisation(problem, found.rows).max(initial=0.0))


def arrivals(before: Ints, after: Ints) -> Bools:
    """(G, K): the replicas that were not there before."""
    return np.asarray((after >= 0) & ~(after[:, :, None] == before[:, None, :]).any(2))


def moves(problem: Problem, legs: Ints) -> int:
    """Return how many shops come to a ShopSet on which they were not, counted once for each such replica."""
    return int((arrivals(problem.legs, legs).sum(1) * problem.weight).sum())


def role_changes(problem: Problem, legs: Ints) -> int:
    """Return how many shops have a replica that stays and has another position than before."""
    stays = (legs >= 0) & ~arrivals(problem.legs, legs)
    return int(((stays & (legs != problem.legs)).any(1) * problem.weight).sum())

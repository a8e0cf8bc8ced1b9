"""Placement problems for tests, and a slow evaluation of placements that shares nothing with the solver's."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import numpy as np

from shopset.core.placement.problems import Ints, Problem

Row = tuple[int, ...]


def random_problem(
    seed: int,
    *,
    shopsets: int,
    groups: int,
    replicas: int = 2,
    levels: int = 1,
    resources: int = 1,
    load: float = 0.5,
    classes: int = 1,
) -> Problem:
    """Make a problem in which some ShopSets are left, some replicas are missing, and classes share some of the ShopSets."""
    rng = np.random.default_rng(seed)
    domains = np.sort(rng.integers(0, max(2, shopsets // 2 + 1), (levels, shopsets)), axis=0)
    allowed = rng.random((classes, shopsets)) < (0.8 if classes > 1 else 1.0)
    kind = rng.integers(0, classes, groups)
    count = rng.integers(1, replicas + 1, groups)
    leaves = rng.random(shopsets) < 0.2
    legs = np.full((groups, replicas), -1)
    for group in range(groups):
        present = rng.permutation(shopsets)[: int(rng.integers(0, count[group] + 1))]
        legs[group, rng.permutation(int(count[group]))[: len(present)]] = present
    demand = rng.pareto(1.2, (groups, resources)) + 0.1
    capacity = rng.uniform(0.7, 1.3, (shopsets, resources)) * demand.sum(0) / (load * shopsets)
    return Problem(
        capacity=capacity,
        follows_traffic=np.arange(resources) < max(1, resources - 1),
        domains=domains.astype(np.int32),
        takes=~leaves & (rng.random(shopsets) < 0.9),
        leaves=leaves,
        allowed=allowed,
        apart=rng.random((classes, levels)) < 0.8,
        kind=kind.astype(np.int32),
        replicas=count.astype(np.int32),
        legs=legs.astype(np.int32),
        demand=demand,
        weight=rng.integers(1, 5, groups).astype(np.int32),
        fixed=rng.random(groups) < 0.1,
        active=np.where((count > 1) & (rng.random(groups) < 0.15), 2, 1).astype(np.int32),
    )


def near(problem: Problem, kind: int, one: int, other: int) -> bool:
    """Whether two replicas of a class may not be on these ShopSets."""
    return one == other or any(
        problem.apart[kind, level] and problem.domains[level, one] == problem.domains[level, other]
        for level in range(len(problem.domains))
    )


def is_legal(problem: Problem, group: int, row: Row) -> bool:
    """Whether a group may have these replicas."""
    kind, present = int(problem.kind[group]), set(problem.legs[group].tolist())
    for position, leg in enumerate(row):
        if problem.leaves[leg] or any(near(problem, kind, leg, other) for other in row[:position]):
            return False
        old = leg in present
        if not (old and problem.fixed[group]) and not problem.allowed[kind, leg]:
            return False
        if not old and not problem.takes[leg]:
            return False
    return True


def choices(problem: Problem, group: int) -> Iterator[Row]:
    """All that a group may have."""
    for count in range(int(problem.replicas[group]) + 1):
        for row in permutations(range(len(problem.capacity)), count):
            if is_legal(problem, group, row):
                yield row


def moved(problem: Problem, group: int, row: Row) -> int:
    """How many shops come to a ShopSet on which they were not."""
    return len(set(row) - set(problem.legs[group].tolist())) * int(problem.weight[group])


def lost_sets(problem: Problem) -> list[set[int]]:
    """What is lost in each scenario; the first is nothing."""
    found: list[set[int]] = [set()]
    for domain in problem.domains.tolist():
        found += [
            {shopset for shopset, where in enumerate(domain) if where == number} for number in range(max(domain) + 1)
        ]
    return found


def slow_loads(problem: Problem, rows: list[Row]) -> tuple[np.ndarray, list[set[int]]]:
    """The loads of every scenario, and the groups that are down in it, one replica at a time."""
    scenarios = lost_sets(problem)
    loads = np.zeros((len(scenarios), *problem.capacity.shape))
    down: list[set[int]] = []
    for number, lost in enumerate(scenarios):
        dark = set()
        for group, row in enumerate(rows):
            serving = [leg for leg in row[: int(problem.active[group])] if leg not in lost]
            if not serving:
                serving = [leg for leg in row if leg not in lost][:1]
            if not serving:
                dark.add(group)
            for resource, follows in enumerate(problem.follows_traffic.tolist()):
                amount = float(problem.demand[group, resource])
                for leg in serving if follows else [leg for leg in row if leg not in lost]:
                    loads[number, leg, resource] += amount / len(serving) if follows else amount
        down.append(dark)
    return loads, down


def slow_worst(problem: Problem, rows: list[Row]) -> tuple[float, float]:
    """The largest load over capacity, as things are and after any loss."""
    full = slow_loads(problem, rows)[0] / problem.capacity
    return float(full[0].max()), float(full.max())


def rows_of(legs: Ints) -> list[Row]:
    """A placement as tuples."""
    return [tuple(leg for leg in row if leg >= 0) for row in legs.tolist()]


def permuted(problem: Problem, order: np.ndarray) -> Problem:
    """The same problem with its groups in another order."""
    return replace(
        problem,
        **{
            name: getattr(problem, name)[order]
            for name in ("kind", "replicas", "legs", "demand", "weight", "fixed", "active")
        },
    )

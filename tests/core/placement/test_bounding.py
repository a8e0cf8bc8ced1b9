"""Bounds hold for every placement that there is, and certificates tell the truth."""

from dataclasses import replace
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shopset.core.placement.bounding import pooled_bounds, priced_bounds, shortages
from shopset.core.placement.evaluating import scenarios
from shopset.core.placement.problems import Problem
from shopset.core.placement.solving import solve
from support.placement_problems import Row, choices, random_problem, rows_of, slow_loads, slow_worst

seeds = st.integers(0, 10**9)


def fullest(problem: Problem) -> list[list[Row]]:
    """Per group, all it may have with as many replicas as there can be."""
    found = []
    for group in range(len(problem.kind)):
        rows = list(choices(problem, group))
        most = max(len(row) for row in rows)
        found.append([row for row in rows if len(row) == most])
    return found


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 4), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
def test_no_placement_is_below_a_bound(
    seed: int, shopsets: int, groups: int, replicas: int, levels: int, classes: int
) -> None:
    problem = random_problem(
        seed, shopsets=shopsets, groups=groups, replicas=replicas, levels=levels, classes=classes, resources=2
    )
    problem = replace(problem, fixed=np.zeros_like(problem.fixed))
    legs = solve(problem).legs
    losses = scenarios(problem)
    prices = np.random.default_rng(seed).random((1 + len(losses), shopsets, 2))
    bounds = [pooled_bounds(problem, legs), priced_bounds(problem, legs, prices, free=True, rounds=5)]
    for some in product(*fullest(problem)):
        low, low_n1 = slow_worst(problem, list(some))
        for bound, bound_n1 in bounds:
            assert bound <= low + 1e-9
            assert bound_n1 <= low_n1 + 1e-9


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 4), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2))
def test_a_shortage_is_one_in_every_placement(seed: int, shopsets: int, groups: int, levels: int, classes: int) -> None:
    """Whatever is placed where, the ShopSets of the named classes have to carry more than they can."""
    problem = random_problem(
        seed, shopsets=shopsets, groups=groups, replicas=2, levels=levels, classes=classes, load=1.2
    )
    found = shortages(problem, solve(problem))
    for some in product(*fullest(problem)):
        loads, _ = slow_loads(problem, list(some))
        for one in found:
            row = 0 if one.lost is None else 1 + _scenario(problem, one.lost)
            mine = [group for group, kind in enumerate(problem.kind.tolist()) if kind in one.classes]
            theirs = slow_loads(
                replace(problem, demand=problem.demand * np.isin(np.arange(groups), mine)[:, None]), list(some)
            )[0]
            assert theirs[row, :, one.resource].sum() >= (one.missing + one.present) * (1 - 1e-9)
            assert (loads[row] > problem.capacity * (1 - 1e-9)).any()


def _scenario(problem: Problem, lost: tuple[int, int]) -> int:
    losses = scenarios(problem)
    return int(np.flatnonzero((losses.level == lost[0]) & (losses.domain == lost[1]))[0])


def test_a_shortage_in_numbers() -> None:
    """Two clusters of 100 each: 150 fit, but not when one is lost."""
    problem = random_problem(1, shopsets=2, groups=3, replicas=2)
    problem = replace(
        problem,
        capacity=np.array([[100.0], [100.0]]),
        domains=np.array([[0, 1]], np.int32),
        takes=np.ones(2, np.bool_),
        leaves=np.zeros(2, np.bool_),
        apart=np.ones((1, 1), np.bool_),
        replicas=np.full(3, 2, np.int32),
        legs=np.array([[0, 1], [1, 0], [-1, -1]], np.int32),
        demand=np.full((3, 1), 50.0),
        fixed=np.zeros(3, np.bool_),
        active=np.ones(3, np.int32),
    )
    solution = solve(problem)
    assert solution.is_safe is False
    assert solution.bound_n1 == 1.5
    assert [
        (one.classes, one.resource, one.lost, one.missing, one.present) for one in shortages(problem, solution)
    ] == [
        ((0,), 0, (0, 0), 50.0, 100.0),
        ((0,), 0, (0, 1), 50.0, 100.0),
    ]
    assert rows_of(solution.legs)[:2] == [(0, 1), (1, 0)]

"""Loads: the vectors agree with counting one replica at a time."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shopset.core.placement.evaluating import arrivals, loads, moves, role_changes, worst, worst_n1
from support.placement_problems import moved, random_problem, rows_of, slow_loads, slow_worst

seeds = st.integers(0, 10**9)


@settings(max_examples=150, deadline=None)
@given(seeds, st.integers(2, 7), st.integers(1, 12), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))
def test_loads_and_who_is_down(
    seed: int, shopsets: int, groups: int, replicas: int, levels: int, resources: int
) -> None:
    problem = random_problem(
        seed, shopsets=shopsets, groups=groups, replicas=min(replicas, shopsets), levels=levels, resources=resources
    )
    found = loads(problem, problem.legs)
    rows = rows_of(problem.legs)
    expected, down = slow_loads(problem, rows)
    np.testing.assert_allclose(found.rows, expected)
    assert [set(np.flatnonzero(row).tolist()) for row in found.down] == down
    np.testing.assert_allclose((worst(problem, found), worst_n1(problem, found)), slow_worst(problem, rows))


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_moves_are_counted_by_shops(seed: int) -> None:
    problem = random_problem(seed, shopsets=6, groups=8, replicas=3)
    legs = random_problem(seed + 1, shopsets=6, groups=8, replicas=3).legs
    assert moves(problem, legs) == sum(moved(problem, group, row) for group, row in enumerate(rows_of(legs)))
    assert moves(problem, problem.legs) == role_changes(problem, problem.legs) == 0
    assert not arrivals(problem.legs, problem.legs).any()


def test_only_a_replica_that_stays_changes_its_role() -> None:
    problem = random_problem(0, shopsets=5, groups=3, replicas=2)
    before = np.array([[0, 1], [0, 1], [0, 1]], np.int32)
    after = np.array([[1, 0], [2, 1], [1, 2]], np.int32)
    problem = type(problem)(**{**problem.__dict__, "legs": before, "weight": np.array([1, 10, 100], np.int32)})
    assert role_changes(problem, after) == 101
    assert moves(problem, after) == 110

"""Shuffle sharding: fewer groups share all their replicas, with the same moves, and nothing is overloaded by it."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopset.core.placement.evaluating import loads, moves, worst_n1
from shopset.core.placement.problems import Problem
from shopset.core.placement.shuffling import shared_fates, shuffled
from shopset.core.placement.solving import solve
from support.placing import STANDARD, make_shops, placing_fleet
from support.placing_world import PlacingWorld

SHUFFLED = np.array([True])


def problem(shopsets: int, groups: int, replicas: int = 2, clusters: int = 4, capacity: float = 100.0) -> Problem:
    return Problem(
        capacity=np.full((shopsets, 1), capacity),
        follows_traffic=np.array([True]),
        domains=np.arange(shopsets, dtype=np.int32)[None, :] % clusters,
        takes=np.ones(shopsets, bool),
        leaves=np.zeros(shopsets, bool),
        allowed=np.ones((1, shopsets), bool),
        apart=np.ones((1, 1), bool),
        kind=np.zeros(groups, np.int32),
        replicas=np.full(groups, replicas, np.int32),
        legs=np.full((groups, replicas), -1, np.int32),
        demand=np.ones((groups, 1)),
        weight=np.ones(groups, np.int32),
        fixed=np.zeros(groups, bool),
        active=np.ones(groups, np.int32),
    )


def sets_of(legs: "np.ndarray[tuple[int, int], np.dtype[np.int32]]") -> list[tuple[int, ...]]:
    return [tuple(row) for row in legs.tolist()]


def fewest_shared_fates(groups: int, sets: int) -> int:
    """Return how many pairs of so many groups share all their replicas at least, where there are so many different sets."""
    if not sets:
        return 0
    each, more = divmod(groups, sets)
    return more * (each + 1) * each // 2 + (sets - more) * each * (each - 1) // 2


@pytest.mark.parametrize(("groups", "most"), [(12, 0), (18, 0), (24, 2), (48, 28)])
def test_eight_shopsets_on_four_clusters_have_24_pairs(groups: int, most: int) -> None:
    found = problem(8, groups)
    legs = shuffled(found, solve(found).legs, SHUFFLED)
    assert fewest_shared_fates(groups, 24) <= shared_fates(sets_of(legs)) <= most


def test_fewest_shared_fates_is_what_an_even_division_gives() -> None:
    assert [fewest_shared_fates(groups, 24) for groups in (0, 24, 25, 48, 49)] == [0, 0, 1, 24, 26]
    for groups, sets in ((5, 2), (7, 3), (9, 4)):
        divided = [(number % sets,) for number in range(groups)]
        assert fewest_shared_fates(groups, sets) == shared_fates(divided)


def test_a_class_that_is_not_shuffled_is_left_alone() -> None:
    found = problem(8, 60)
    legs = solve(found).legs
    assert shuffled(found, legs, np.array([False])) is legs


def test_what_stays_is_not_touched() -> None:
    first = problem(8, 24)
    legs = solve(first).legs
    again = Problem(**{**vars(first), "legs": legs})
    assert shuffled(again, legs, SHUFFLED) is legs


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 9), st.integers(1, 40), st.integers(2, 3), st.integers(3, 4), st.floats(5.0, 60.0))
def test_it_only_ever_helps(shopsets: int, groups: int, replicas: int, clusters: int, capacity: float) -> None:
    found = problem(shopsets, groups, replicas, clusters, capacity)
    before = solve(found).legs
    after = shuffled(found, before, SHUFFLED)
    assert shared_fates(sets_of(after)) <= shared_fates(sets_of(before))
    assert moves(found, after) == moves(found, before)
    full = worst_n1(found, loads(found, after))
    assert full <= max(1 + 1e-9, worst_n1(found, loads(found, before)))
    for row in after.tolist():
        domains = [column % clusters for column in row if column >= 0]
        assert len(domains) == len(set(domains))
    sets = sum(
        len({column % clusters for column in each}) == replicas for each in combinations(range(shopsets), replicas)
    )
    if (after >= 0).all():
        assert shared_fates(sets_of(after)) >= fewest_shared_fates(groups, sets)


def test_a_class_that_asks_for_it_is_shuffled_and_told_how_far() -> None:
    shuffling = {"standard": {**STANDARD, "isolation": {"shuffle": True}}}
    capacity = {"requestsPerSecond": 1000.0}
    shopsets = {f"{name}-{n}": {"cluster": name, "capacity": capacity} for name in "abcd" for n in (1, 2)}
    world = PlacingWorld(
        placing_fleet({name: {} for name in "abcd"}, shopsets, shuffling),
        make_shops([(f"shop-{n}", "standard", 50.0) for n in range(12)]),
    )
    world.settle()
    assert shared_fates(group.replicas for group in world.placement.groups.values()) == 0
    (told,) = (each for each in world.plan().conditions if each.type == "Shuffled")
    assert told.message == "0 of 66 pairs of its groups share all their replicas"

"""What changes now and what waits: on the way to its end no placement gives a ShopSet too much that it need not have."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopset.core.placement._choosing import Option, Share, chosen
from shopset.core.placement.evaluating import loads, normal_loads
from shopset.core.placement.modelling import model
from shopset.core.placement.problems import Floats, Ints, Problem
from shopset.core.placement.requests import LoseCluster, ReturnCluster
from support.placing import STANDARD, make_shops, placing_fleet
from support.placing_world import PlacingWorld

LEAST = 1e-6


def tight_world(seed: int) -> PlacingWorld:
    """Return three ShopSets that two of them can just replace, and shops of which few make most of the requests."""
    chance = random.Random(seed)  # noqa: S311  # the same each time
    demand = [min(chance.paretovariate(1.2), 8.0) for _ in range(chance.randint(14, 24))]
    capacity = {"requestsPerSecond": sum(demand) / 2 * chance.choice([1.0, 1.03, 1.06])}
    fleet = placing_fleet(
        {name: {} for name in "abc"},
        {f"{name}-1": {"cluster": name, "capacity": capacity} for name in "abc"},
        {"standard": STANDARD},
        placement={"groupsPerShopset": 8, "waves": {"share": 15, "pause": "1s"}},
    )
    shops = make_shops([(f"shop-{chance.randint(0, 9999)}-{n}", "standard", each) for n, each in enumerate(demand)])
    world = PlacingWorld(fleet, shops)
    world.settle()
    return world


def shares(world: PlacingWorld) -> Floats:
    """Return how full each ShopSet is."""
    seen = world.seen()
    problem = model(world.fleet, seen.shops, seen.placement, seen.clusters).problem
    return np.asarray(loads(problem, problem.legs).normal[:, 0] / problem.capacity[:, 0])


# Orders that went home before waves made room for them gave a ShopSet 111 % and 108 % with the first two seeds.
@pytest.mark.parametrize("seed", [23, 36, 0, 1])
def test_on_its_way_home_no_shopset_has_more_than_it_bears_or_had_or_is_to_have(seed: int) -> None:
    world = tight_world(seed)
    home, before = shares(world), {shop: world.replicas(shop) for shop in world.placement.members}
    world.ask(LoseCluster(cluster="a", reason="fire"))
    world.settle()
    most = np.maximum.reduce([home, shares(world), np.ones(3)]) + LEAST
    plan = world.ask(ReturnCluster(cluster="a", reason="the fire is out"))
    while plan.actions or plan.wake_at:
        assert (shares(world) <= most).all()
        world.now = world.now if plan.actions else plan.wake_at or world.now
        plan = world.step()
    assert {shop: world.replicas(shop) for shop in world.placement.members} == before


def problem_of(capacity: Floats, demand: Floats, legs: Ints) -> Problem:
    """Return a problem of one class with two replicas, on ShopSets in domains of their own."""
    size, groups = len(capacity), len(demand)
    return Problem(
        capacity=np.column_stack([capacity, np.full(size, np.inf)]),
        follows_traffic=np.array([True, False]),
        domains=np.arange(size, dtype=np.int32)[None],
        takes=np.ones(size, np.bool_),
        leaves=np.zeros(size, np.bool_),
        allowed=np.ones((1, size), np.bool_),
        apart=np.ones((1, 1), np.bool_),
        kind=np.zeros(groups, np.int32),
        replicas=np.full(groups, 2, np.int32),
        legs=legs,
        demand=np.column_stack([demand, np.ones(groups)]),
        weight=np.ones(groups, np.int32),
        fixed=np.zeros(groups, np.bool_),
        active=np.ones(groups, np.int32),
    )


PAIRS = st.tuples(st.permutations(range(3)), st.permutations(range(3)), st.integers(1, 9))
"""Where a group is, where it is to be, and its demand."""


@settings(max_examples=200)
@given(st.lists(PAIRS, min_size=1, max_size=7), st.lists(st.integers(0, 20), min_size=3, max_size=3), st.integers(1, 3))
def test_step_by_step_all_get_there_and_only_what_can_wait_for_nothing_overloads(
    groups: list[tuple[list[int], list[int], int]], capacity: list[int], most: int
) -> None:
    legs = np.array([before[:2] for before, _, _ in groups], np.int32)
    goal = np.array([after[:2] for _, after, _ in groups], np.int32)
    bears, demand = np.array(capacity, float), np.array([each for _, _, each in groups], float)
    problem = problem_of(bears, demand, legs)
    for _ in groups:
        left = np.flatnonzero((legs != goal).any(1)).tolist()
        options = {row: Option(goal[row], int(set(legs[row]) != set(goal[row]))) for row in left}
        share = Share(most)
        before, limit = legs.copy(), np.maximum.reduce([bears, *(_served(problem, each) for each in (legs, goal))])
        now = problem_of(bears, demand, before)
        taken = sorted(chosen(now, legs, options, share, pressing=left))
        assert bool(taken) == bool(left)
        assert share.between == sum(options[row].shops for row in taken) <= max(most, 1)
        legs[taken] = goal[taken]
        over = (_served(problem, legs) > limit + LEAST).any()
        # One that goes alone had to go: nothing else could.
        assert not over or not any(_fits(now, before, goal, row, limit) for row in left)
        if not over:
            rest = [row for row in left if row not in taken and share.allows(options[row].shops)]
            assert not any(_fits(now, legs, goal, row, limit) for row in rest)
    assert (legs == goal).all()


def _served(problem: Problem, legs: Ints) -> Floats:
    return np.asarray(normal_loads(problem, legs)[:, 0])


def _fits(problem: Problem, legs: Ints, goal: Ints, row: int, limit: Floats) -> bool:
    after = legs.copy()
    after[row] = goal[row]
    return bool((_served(problem, after) <= limit + LEAST).all())

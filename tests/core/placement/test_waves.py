"""Lost clusters, drains and returns: what moves, when, and what never happens on the way."""

import random
from collections.abc import Callable
from copy import copy
from datetime import timedelta
from functools import cache

import numpy as np
import pytest

from shopset.core.fleets import Fleet
from shopset.core.placement.formats import dump_placement
from shopset.core.placement.plans import PlacementPlan
from shopset.core.placement.requests import DrainCluster, LoseCluster, ReturnCluster
from support.placing import STANDARD, even_fleet, make_shops, placing_fleet
from support.placing_checks import (
    are_apart,
    between,
    check_rest,
    check_step,
    check_whole,
    is_gone,
    live,
    wanted,
    weights,
)
from support.placing_world import PlacingWorld

PAUSE = timedelta(seconds=30)
SEEDS = range(3)
SHOPS = [(f"shop-{n:03}", "single" if n % 5 == 0 else "standard", 1.0 + n % 7) for n in range(100)]


FLEET = even_fleet("abcd", 2, placement={"groupsPerShopset": 8})


@cache
def first_placement() -> PlacingWorld:
    world = PlacingWorld(FLEET, make_shops(SHOPS))
    world.settle()
    return world


def settled(fleet: Fleet | None = None) -> PlacingWorld:
    if fleet is None:
        return copy(first_placement())
    world = PlacingWorld(fleet, make_shops(SHOPS))
    world.settle()
    return world


def on(world: PlacingWorld, cluster: str) -> list[str]:
    """Return the shops that have a replica on a cluster."""
    theirs = {name for name, each in world.fleet.shopsets.items() if each.spec.cluster == cluster}
    return [shop for shop in world.placement.members if not theirs.isdisjoint(world.replicas(shop))]


def walk(world: PlacingWorld, look: Callable[[PlacementPlan], None] = lambda _: None) -> list[PlacementPlan]:
    """Plan and act until nothing is left to do, and check each step."""
    plans = []
    for _ in range(300):
        before = world.placement
        plan = world.step()
        plans.append(plan)
        check_step(world, before, world.placement)
        check_whole(world)
        look(plan)
        if not plan.actions:
            if plan.wake_at is None:
                return plans
            world.now = plan.wake_at
    raise AssertionError(world.subjects[-5:])


def drain(world: PlacingWorld, cluster: str, version: str = "") -> PlacementPlan:
    return world.ask(DrainCluster(cluster=cluster, reason="upgrade", version=version))


def state(world: PlacingWorld, cluster: str) -> str:
    return world.records[cluster].state


def conditions(plan: PlacementPlan, resource: str) -> dict[str, str]:
    return {each.reason: each.message for each in plan.conditions if each.resource == resource}


# -- lost


def test_a_lost_cluster_is_replaced_at_once_with_the_fewest_moves() -> None:
    world = settled()
    before, down = world.placement, on(world, "a")
    plan = world.ask(LoseCluster(cluster="a", reason="fire"))
    assert [each.kind for each in plan.actions] == ["Cluster", "Place"]
    assert not plan.later
    assert plan.shops_moved == len(down)
    assert {each.why for each in plan.moves if each.arrivals} == {"cluster a is lost"}
    for shop in before.members:
        old, new = set(before.groups[before.members[shop]].replicas), set(world.replicas(shop))
        assert {name for name in old if not name.startswith("a-")} <= new
        assert len(new) == len(old)
    check_step(world, before, world.placement)
    walk(world)
    check_rest(world)
    assert not on(world, "a")


def test_a_lost_cluster_does_not_wait_for_a_pause() -> None:
    world = settled()
    drain(world, "b")
    plan = world.ask(LoseCluster(cluster="a", reason="fire"))
    assert plan.now < (world.head_at or plan.now) + PAUSE
    assert all(live(world, world.replicas(shop)) for shop in world.placement.members)


def test_shops_that_lived_only_there_are_down_until_they_are_placed() -> None:
    world = settled()
    alone = [shop for shop in on(world, "a") if len(world.replicas(shop)) == 1]
    assert alone
    plan = world.ask(LoseCluster(cluster="a", reason="fire"))
    world.files = world.history[f"{len(world.history) - 1:040x}"]
    assert not any(live(world, world.replicas(shop)) for shop in alone)
    moved = {shop for shop in alone if world.placement.members[shop] in {each.group for each in plan.moves}}
    assert moved == set(alone)


def test_where_nothing_is_left_shops_are_told_and_come_home() -> None:
    world = settled(even_fleet("a", 2))
    home = world.placement
    plan = world.ask(LoseCluster(cluster="a", reason="fire"))
    assert not any(group.replicas for group in world.placement.groups.values())
    assert conditions(plan, "ShopClass/single") == {
        "NoShopSet": "20 shops have no ShopSet: none of the tier and configuration of single takes shops now. "
        "Add a ShopSet, or let one of them take shops again"
    }
    world.settle()
    world.ask(ReturnCluster(cluster="a", reason="it was a false alarm"))
    walk(world)
    assert dump_placement(world.placement) == dump_placement(home)


def test_lost_in_the_middle_of_a_drain() -> None:
    world = settled()
    home = world.placement
    drain(world, "a")
    half = set(on(world, "a"))
    assert half
    world.ask(LoseCluster(cluster="a", reason="it burns"))
    assert world.records["a"].state == "Lost"
    assert all(len(live(world, world.replicas(shop))) >= 1 for shop in world.placement.members)
    assert not any(len(live(world, world.replicas(shop))) < 2 for shop in half if int(shop[-3:]) % 5)
    walk(world)
    check_rest(world)
    world.ask(ReturnCluster(cluster="a", reason="the fire is out"))
    walk(world)
    assert dump_placement(world.placement) == dump_placement(home)


# -- drained


def test_a_drain_goes_in_waves_within_its_share() -> None:
    world = settled()
    budget = len(world.shops) // 10
    largest = max(weights(world.placement).values())
    seen: list[int] = []
    plan = drain(world, "a")
    seen.append(between(world))
    walk(world, lambda _: seen.append(between(world)))
    assert max(seen) <= max(budget, largest)
    assert len({each for each in seen if each}) >= 1
    assert plan.later
    assert state(world, "a") == "Upgrading"
    assert not on(world, "a")
    check_rest(world)


def test_a_group_that_is_larger_than_the_share_goes_alone() -> None:
    fleet = even_fleet("abc", 1, placement={"groupsPerShopset": 1, "waves": {"share": 1}})
    world = settled(fleet)
    together: list[int] = []

    def look(_: PlacementPlan) -> None:
        together.append(sum(len(each.replicas) > wanted(fleet, each) for each in world.placement.groups.values()))

    drain(world, "a")
    walk(world, look)
    assert max(together) == 1
    assert not on(world, "a")


def test_a_drain_moves_each_shop_once_and_only_what_is_there() -> None:
    world = settled()
    before, theirs = world.placement, len(on(world, "a"))
    plans = [drain(world, "a"), *walk(world)]
    assert sum(len(each.arrivals) * each.shops for plan in plans for each in plan.moves) == theirs
    for shop in before.members:
        old, new = before.groups[before.members[shop]].replicas, world.replicas(shop)
        assert {name for name in old if not name.startswith("a-")} <= set(new)


def test_new_replicas_lie_apart_from_those_that_stay() -> None:
    regions = {name: {"region": "east" if name in "ab" else "west"} for name in "abcd"}
    shopsets = {
        f"{name}-{n}": {"cluster": name, "capacity": {"requestsPerSecond": 900.0}} for name in "abcd" for n in (1, 2)
    }
    fleet = placing_fleet(
        regions,
        shopsets,
        {"standard": {**STANDARD, "across": ["region"]}, "single": {**STANDARD, "replicas": 1}},
        ("cluster", "region"),
    )
    world = settled(fleet)

    def look(_: PlacementPlan) -> None:
        for group in world.placement.groups.values():
            assert are_apart(fleet, group, group.replicas[: wanted(fleet, group)])

    drain(world, "a")
    walk(world, look)
    assert not on(world, "a")


def test_old_replicas_stay_for_the_pause() -> None:
    world = settled()
    drain(world, "a")
    moved = [name for name, group in world.placement.groups.items() if len(group.replicas) > wanted(world.fleet, group)]
    plan = world.plan()
    assert not plan.actions
    assert plan.wake_at == (world.head_at or world.now) + PAUSE
    world.now += PAUSE - timedelta(seconds=1)
    assert not world.plan().actions
    world.now += timedelta(seconds=1)
    world.step()
    assert all(
        len(world.placement.groups[name].replicas) == wanted(world.fleet, world.placement.groups[name])
        for name in moved
    )


def test_old_replicas_stay_until_the_new_ones_are_ready() -> None:
    world = settled()
    plan = drain(world, "a")
    late = plan.moves[0].arrivals[0]
    world.unready[late] = "is Progressing"
    world.now += PAUSE
    world.settle()
    group = world.placement.groups[plan.moves[0].group]
    assert group.replicas[: wanted(world.fleet, group)] == plan.moves[0].after
    assert any(name.startswith("a-") for name in group.replicas)
    assert state(world, "a") == "Draining"
    del world.unready[late]
    walk(world)
    assert not on(world, "a")
    assert state(world, "a") == "Upgrading"


def test_the_old_replica_serves_until_any_new_one_does_even_where_the_plan_changes() -> None:
    """A single shop moves from a to a ShopSet that never runs, which is then drained itself."""
    world = PlacingWorld(even_fleet("abc", 1), make_shops([("hoge", "single", 1.0)]))
    world.settle()
    (first,) = world.replicas("hoge")
    drain(world, first[0])
    second = world.replicas("hoge")[0]
    world.unready[second] = "is Missing"
    world.now += PAUSE
    before = world.placement
    drain(world, second[0])
    check_step(world, before, world.placement)
    third, *others = world.replicas("hoge")
    assert third not in (first, second)
    assert sorted(others) == sorted((first, second))
    world.unready[third] = "is Progressing"
    walk(world)
    assert first in world.replicas("hoge")
    world.unready.clear()
    walk(world)
    assert world.replicas("hoge") == (third,)


def test_the_old_replica_is_kept_when_the_new_one_is_lost() -> None:
    world = PlacingWorld(even_fleet("abc", 1), make_shops([("hoge", "single", 1.0)]))
    world.settle()
    (first,) = world.replicas("hoge")
    drain(world, first[0])
    second = world.replicas("hoge")[0]
    world.now += PAUSE
    world.ask(LoseCluster(cluster=second[0], reason="fire"))
    third = world.replicas("hoge")[0]
    assert world.replicas("hoge") == (third, first)
    walk(world)
    assert world.replicas("hoge") == (third,)


def test_a_cluster_is_upgrading_only_once_it_is_empty() -> None:
    world = settled()

    def look(_: PlacementPlan) -> None:
        assert (world.records["a"].state == "Draining") or not on(world, "a")

    drain(world, "a", "1.37")
    walk(world, look)
    assert state(world, "a") == "Upgrading"
    assert world.records["a"].version == "1.37"
    assert "cluster a is empty: upgrade" in world.subjects


def test_a_drain_without_another_place_waits_and_says_so() -> None:
    world = settled(even_fleet("ab", 2))
    drain(world, "a")
    plans = walk(world)
    assert state(world, "a") == "Draining"
    assert all(len(live(world, world.replicas(shop))) == 2 for shop in on(world, "a"))
    found = conditions(plans[-1], "ShopClass/standard")
    assert found == {
        "NowhereElse": "80 shops have a replica where they should not, and keep it: no other ShopSet of standard that takes "
        "shops lies apart from their other replicas. Add a ShopSet, or let one of them take shops again"
    }
    assert conditions(plans[-1], "Cluster/a") == {
        "Draining": "its shops leave, for upgrade: 80 have a replica there still"
    }
    world.fleet = even_fleet("abc", 2)
    walk(world)
    assert state(world, "a") == "Upgrading"


# -- returned


def test_a_return_brings_everything_home() -> None:
    world = settled()
    home = world.placement
    drain(world, "a")
    walk(world)
    assert dump_placement(world.placement) != dump_placement(home)
    world.ask(ReturnCluster(cluster="a", reason="upgraded"))
    walk(world)
    assert dump_placement(world.placement) == dump_placement(home)
    assert not world.records
    assert "cluster a is back" in world.subjects


def test_a_return_goes_in_waves() -> None:
    world = settled()
    drain(world, "a")
    walk(world)
    seen: list[int] = []
    plan = world.ask(ReturnCluster(cluster="a", reason="upgraded"))
    seen.append(between(world))
    walk(world, lambda _: seen.append(between(world)))
    assert plan.later
    assert max(seen) <= max(len(world.shops) // 10, *weights(world.placement).values())


def test_a_return_waits_for_the_version_and_for_its_shopsets() -> None:
    world = settled()
    home = world.placement
    drain(world, "a", "1.37")
    walk(world)
    world.versions["a"] = "1.36"
    plan = world.ask(ReturnCluster(cluster="a", reason="upgraded"))
    assert [each.kind for each in plan.actions] == ["Cluster"]
    assert conditions(world.settle()[-1], "Cluster/a") == {"NotReady": "its shops wait: it runs version 1.36, not 1.37"}
    del world.versions["a"]
    assert "version unknown" in conditions(world.plan(), "Cluster/a")["NotReady"]
    world.versions["a"] = "1.37"
    world.unready = {"a-1": "is Progressing", "b-1": "is Degraded"}
    assert conditions(world.settle()[-1], "Cluster/a") == {"NotReady": "its shops wait: a-1 is Progressing"}
    assert not on(world, "a")
    world.unready.clear()
    assert conditions(world.plan(), "Cluster/a") == {"Returning": "its shops come back"}
    walk(world)
    assert dump_placement(world.placement) == dump_placement(home)


def test_a_drain_is_taken_back_in_the_middle() -> None:
    world = settled()
    home = world.placement
    drain(world, "a")
    world.now += PAUSE
    world.step()
    assert on(world, "a")
    world.ask(ReturnCluster(cluster="a", reason="not today"))
    walk(world)
    assert dump_placement(world.placement) == dump_placement(home)
    assert not world.records


def test_two_clusters_away_come_home_in_the_opposite_order() -> None:
    world = settled(even_fleet("abcde", 2, placement={"groupsPerShopset": 6}))
    home = world.placement
    world.ask(LoseCluster(cluster="a", reason="fire"))
    walk(world)
    drain(world, "b")
    walk(world)
    for cluster in ("b", "a"):
        world.ask(ReturnCluster(cluster=cluster, reason="it is fine again"))
        walk(world)
    assert dump_placement(world.placement) == dump_placement(home)


def test_two_clusters_away_come_home_in_the_order_in_which_they_left() -> None:
    world = settled(even_fleet("abcde", 2, placement={"groupsPerShopset": 6}))
    world.ask(LoseCluster(cluster="a", reason="fire"))
    walk(world)
    theirs = on(world, "b")
    drain(world, "b")
    walk(world)
    for cluster in ("a", "b"):
        world.ask(ReturnCluster(cluster=cluster, reason="it is fine again"))
        walk(world)
    assert on(world, "b") == theirs
    assert on(world, "a")
    check_rest(world)


def test_shops_without_room_at_home_stay_and_are_told() -> None:
    world = settled()
    drain(world, "a")
    walk(world)
    sizes = {f"{name}-{n}": 1.0 if name == "a" else 1000.0 for name in "abcd" for n in (1, 2)}
    world.fleet = placing_fleet(
        {name: {} for name in "abcd"},
        {name: {"cluster": name[0], "capacity": {"requestsPerSecond": size}} for name, size in sizes.items()},
    )
    plan = world.ask(ReturnCluster(cluster="a", reason="upgraded, and smaller"))
    assert "NoRoom" in conditions(plan, "Placement")
    walk(world)
    assert not world.records


def test_what_was_added_while_a_cluster_was_away_stays() -> None:
    world = settled()
    drain(world, "a")
    walk(world)
    world.shops = make_shops([*SHOPS, ("zulu", "single", 1.0)])
    walk(world)
    there = world.replicas("zulu")
    world.ask(ReturnCluster(cluster="a", reason="upgraded"))
    walk(world)
    assert world.placement.members["zulu"]
    assert not is_gone(world, world.replicas("zulu")[0])
    assert there


def on_its_way_home(
    fleet: Fleet, chance: random.Random, demand: float
) -> tuple[PlacingWorld, dict[str, tuple[str, ...]]]:
    """Return a world in which cluster a was lost and has been asked to return, and where its 12 shops were before."""
    world = PlacingWorld(fleet, make_shops([]))
    names = [f"shop-{number}" for number in range(12)]
    chance.shuffle(names)
    # Shops come by and by, so that they are not where they would be if they came at once.
    for count in (chance.randint(1, 6), chance.randint(7, 11), 12):
        world.shops = make_shops([(name, "standard", demand) for name in names[:count]])
        world.settle()
    before = {name: world.replicas(name) for name in names}
    world.ask(LoseCluster(cluster="a", reason="its power is gone"))
    world.settle()
    world.ask(ReturnCluster(cluster="a", reason="power is back"))
    return world, before


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cluster_that_flaps_on_its_way_home_moves_nothing_else(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # the same each time
    fleet = even_fleet("abc", 1, placement={"groupsPerShopset": 4, "waves": {"share": 30, "pause": "1s"}})
    world, before = on_its_way_home(fleet, chance, np.nan)
    reasons = set()
    for step in range(60):
        flaps = step < 30
        world.unready = {name: "is Progressing" for name in fleet.shopsets if flaps and chance.random() < 0.3}
        plan = world.plan()
        reasons |= {move.why for move in plan.moves}
        world.act(plan)
        world.now += timedelta(seconds=chance.choice([0.3, 1, 2]))
    assert reasons == {"cluster a is back"}
    assert {name: world.replicas(name) for name in before} == before


# With these seeds a planner that looked at the middle of a return moved shops that were at home, to relieve what relieved itself.
@pytest.mark.parametrize("seed", [41, 62])
def test_what_is_overloaded_only_on_the_way_home_is_relieved_by_nothing_else(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # the same each time
    fleet = even_fleet("abc", 1, 6.0, placement={"groupsPerShopset": 4, "waves": {"share": 30, "pause": "1s"}})
    world, before = on_its_way_home(fleet, chance, 1.0)
    reasons = set()
    for step in range(45):
        world.unready = {name: "is Progressing" for name in fleet.shopsets if step < 25 and chance.random() < 0.3}
        world.unusable = {name for name in world.unready if chance.random() < 0.2}
        plan = world.plan()
        reasons |= {move.why for move in plan.moves}
        world.act(plan)
        world.now += timedelta(seconds=chance.choice([0.3, 1, 2]))
    assert "so that no ShopSet is overloaded" not in reasons
    assert {name: world.replicas(name) for name in before} == before

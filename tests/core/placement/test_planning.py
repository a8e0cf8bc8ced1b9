"""The planner on small fleets: what a change of the fleet or of the shops does, and what people are told."""

from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shopset.core.fleets import Fleet
from shopset.core.placement.formats import dump_placement
from shopset.core.placement.placements import Placement
from shopset.core.placement.planning import plan_placement
from shopset.core.placement.plans import PlacementPlan, Seen
from shopset.core.placement.requests import DrainCluster, LoseCluster, ReturnCluster
from shopset.core.placement.shops import Shops
from shopset.core.release.records import ClusterRecord
from support.placing import SINGLE, STANDARD, even_fleet, make_shops, placing_fleet
from support.placing_checks import are_apart, check_rest, check_step, check_whole, wanted
from support.placing_world import LostRaceError, PlacingWorld
from support.pure import START, SUZUKI

SHOPS = [(f"shop-{n:03}", "single" if n % 5 == 0 else "standard", 1.0 + n % 7) for n in range(60)]
COARSE: dict[str, Any] = {"groupsPerShopset": 4}


def fleet(clusters: str = "abc", each: int = 2, requests: float = 300.0, **classes: dict[str, Any]) -> Fleet:
    shopsets = {
        f"{name}-{n}": {"cluster": name, "capacity": {"requestsPerSecond": requests}}
        for name in clusters
        for n in range(1, each + 1)
    }
    return placing_fleet(
        {name: {} for name in clusters}, shopsets, {"standard": STANDARD, "single": SINGLE, **classes}, placement=COARSE
    )


def settled(found: Fleet | None = None, shops: Shops | None = None) -> PlacingWorld:
    world = PlacingWorld(found or fleet(), make_shops(SHOPS) if shops is None else shops)
    settle(world)
    return world


def settle(world: PlacingWorld) -> PlacementPlan:
    """Do all steps, check each, and return the last plan."""
    for _ in range(100):
        before = world.placement
        plan = world.step()
        check_step(world, before, world.placement)
        check_whole(world)
        if not plan.actions:
            if plan.wake_at is None:
                check_rest(world)
                return plan
            world.now = plan.wake_at
    raise AssertionError(world.subjects[-5:])


def told(plan: PlacementPlan) -> dict[tuple[str, str], str]:
    return {(each.resource, each.reason): each.message for each in plan.conditions}


def with_class(found: Fleet, name: str, **spec: Any) -> Fleet:
    before = found.shop_classes[name]
    after = before.model_copy(update={"spec": before.spec.model_copy(update=spec)})
    return replace(found, shop_classes={**found.shop_classes, name: after})


def with_shopset(found: Fleet, name: str, **spec: Any) -> Fleet:
    before = found.shopsets[name]
    after = before.model_copy(update={"spec": before.spec.model_copy(update=spec)})
    return replace(found, shopsets={**found.shopsets, name: after})


# -- nothing and everything


def test_the_first_placement() -> None:
    world = PlacingWorld(fleet(), make_shops(SHOPS))
    plan = world.step()
    (action,) = plan.actions
    assert action.what.startswith("place 60 shops: new")
    assert action.why == ("60 shops: new",)
    assert set(world.placement.members) == {name for name, _, _ in SHOPS}
    for group in world.placement.groups.values():
        assert len(group.replicas) == wanted(world.fleet, group)
        assert are_apart(world.fleet, group, group.replicas)
    assert plan.after.normal <= 1
    assert not plan.conditions


def test_nothing_to_do_is_nothing() -> None:
    world = settled()
    seen = world.seen()
    plan = plan_placement(world.fleet, seen)
    assert plan.placement is seen.placement
    assert (plan.actions, plan.moves, plan.later, plan.wake_at) == ((), (), (), None)


def test_equal_inputs_make_equal_plans_whatever_their_order() -> None:
    one = PlacingWorld(fleet(), make_shops(SHOPS))
    two = PlacingWorld(fleet(), make_shops(list(reversed(SHOPS))))
    assert one.plan().actions == two.plan().actions
    one.settle()
    shuffled = Placement(
        dict(reversed([*one.placement.groups.items()])),
        dict(reversed([*one.placement.members.items()])),
        dict(one.placement.hosts.items()),
    )
    assert not plan_placement(one.fleet, replace(one.seen(), placement=shuffled)).actions


def test_a_fleet_without_shops_needs_no_branch() -> None:
    world = PlacingWorld(fleet(), Shops())
    plan = world.step()
    assert not plan.actions
    assert not plan.conditions


def test_a_fleet_without_shopsets() -> None:
    world = PlacingWorld(placing_fleet({"a": {}}, {}), make_shops(SHOPS))
    assert told(world.step()) == {
        (
            "ShopClass/single",
            "NoShopSet",
        ): "12 shops have no ShopSet: none of the tier and configuration of single takes shops now. "
        "Add a ShopSet, or let one of them take shops again",
        (
            "ShopClass/standard",
            "NoShopSet",
        ): "48 shops have no ShopSet: none of the tier and configuration of standard takes shops "
        "now. Add a ShopSet, or let one of them take shops again",
    }
    check_whole(world)
    assert not world.plan().actions
    world.fleet = fleet()
    settle(world)


def test_shops_of_a_new_fleet_wait_for_its_first_release() -> None:
    world = PlacingWorld(fleet(), make_shops(SHOPS))
    world.unready = {**dict.fromkeys(world.fleet.shopsets, "waits for the first release of prod"), "c-2": "is Degraded"}
    world.unusable = set(world.fleet.shopsets)
    told_of = told(world.step())
    assert told_of["ShopClass/standard", "NoShopSet"] == (
        "48 shops have no ShopSet: none of the tier and configuration of standard takes shops now: "
        "a-1 waits for the first release of prod, c-2 is Degraded (and 4 more). They are placed once one serves"
    )
    world.unusable -= {"a-1", "a-2"}
    assert told(world.step())["ShopClass/standard", "NoOtherDomain"].endswith(
        "apart from those that they have. b-1 waits for the first release of prod, c-2 is Degraded (and 2 more): "
        "wait for that, or add a ShopSet"
    )


def test_a_plan_without_a_branch_or_shops_known() -> None:
    assert plan_placement(fleet(), Seen(START, Shops(), Placement())).actions == ()


# -- classes


def test_a_class_that_cannot_be_had_does_not_stop_others() -> None:
    found = fleet(vip={**STANDARD, "replicas": 5}, gold={**SINGLE, "isolation": {"dedicated": True}})
    shops = make_shops([*SHOPS, ("vip-1", "vip", 3.0), ("gold-1", "gold", 3.0)])
    world = settled(found, shops)
    assert len(world.replicas("vip-1")) == 3
    assert world.replicas("gold-1") == ()
    assert all(world.replicas(name) for name, _, _ in SHOPS)
    found_conditions = told(world.plan())
    assert found_conditions["ShopClass/vip", "NoOtherDomain"].startswith("1 shop has fewer replicas than vip asks for")
    assert found_conditions["ShopClass/gold", "NoShopSet"].startswith("1 shop has no ShopSet")


def test_shops_of_a_class_that_the_fleet_does_not_have() -> None:
    world = settled()
    home = world.replicas("shop-001")
    world.shops = make_shops([*SHOPS, ("late", "nope", 1.0)])
    assert told(settle(world))["ShopClass/nope", "NoShopClass"].startswith(
        "1 shop is of the class nope, which the fleet does not have"
    )
    assert "late" not in world.placement.members
    moved = [(name, "nope" if name == "shop-001" else each, demand) for name, each, demand in SHOPS]
    world.shops = make_shops(moved)
    settle(world)
    assert world.replicas("shop-001") == home
    world.fleet = replace(world.fleet, shop_classes={"single": world.fleet.shop_classes["single"]})
    assert ("ShopClass/standard", "NoShopClass") in told(settle(world))
    assert world.replicas("shop-001") == home


def test_a_class_gets_more_and_fewer_replicas() -> None:
    world = settled()
    two = world.placement
    world.fleet = with_class(world.fleet, "standard", replicas=3)
    plan = world.plan()
    assert {each.why for each in plan.moves} == {"it is to have more replicas"}
    assert plan.shops_moved == 48
    assert not plan.later
    settle(world)
    assert {len(each.replicas) for each in world.placement.groups.values()} == {1, 3}
    world.fleet = with_class(world.fleet, "standard", replicas=2)
    assert settle(world).shops_moved == 0
    assert {name: set(each.replicas) for name, each in world.placement.groups.items()} == {
        name: set(each.replicas) for name, each in two.groups.items()
    }


def test_replicas_that_are_too_near_are_moved() -> None:
    regions = {name: {"region": "east" if name in "ab" else "west"} for name in "abcd"}
    shopsets = {f"{name}-1": {"cluster": name, "capacity": {"requestsPerSecond": 500.0}} for name in "abcd"}
    classes = {"standard": STANDARD, "single": SINGLE}
    world = settled(placing_fleet(regions, shopsets, classes, ("cluster", "region"), placement=COARSE))
    near = [
        shop
        for shop, group in world.placement.members.items()
        if group.startswith("standard") and not apart_by_region(world.replicas(shop))
    ]
    assert near
    world.fleet = with_class(world.fleet, "standard", across=("cluster", "region"))
    plans = world.settle()
    assert {each.why for each in plans[0].moves if each.arrivals} == {"two of its replicas would fail together"}
    assert sum(len(each.arrivals) * each.shops for plan in plans for each in plan.moves) == len(near)
    check_rest(world)


def apart_by_region(replicas: tuple[str, ...]) -> bool:
    return len({name[0] in "ab" for name in replicas}) == len(replicas)


# -- ShopSets


def test_a_shopset_that_is_removed_leaves_its_shops_at_once() -> None:
    world = settled()
    theirs = [shop for shop in world.placement.members if "a-1" in world.replicas(shop)]
    world.fleet = replace(
        world.fleet, shopsets={name: each for name, each in world.fleet.shopsets.items() if name != "a-1"}
    )
    plan = world.plan()
    assert not plan.later
    assert plan.shops_moved == len(theirs)
    assert {each.why for each in plan.moves if each.arrivals} == {"the fleet has no ShopSet a-1 any more"}
    settle(world)


def test_a_shopset_of_another_tier_is_left_in_waves() -> None:
    world = settled()
    theirs = [shop for shop in world.placement.members if "a-1" in world.replicas(shop)]
    world.fleet = with_shopset(world.fleet, "a-1", configuration="other")
    plan = world.plan()
    assert plan.later
    assert plan.shops_moved == len(theirs)
    assert any(each.why == "a-1 serves the class standard no more" for each in (*plan.moves, *plan.later))
    settle(world)
    assert not [shop for shop in world.placement.members if "a-1" in world.replicas(shop)]


def test_a_shopset_that_is_added_moves_nothing() -> None:
    world = settled()
    world.fleet = fleet("abcd")
    assert not world.plan().moves


def test_a_shopset_that_shrinks_gives_shops_away() -> None:
    world = settled()
    used = world.plan().before.normal
    world.fleet = with_shopset(
        world.fleet, "a-1", capacity=fleet(requests=300.0 * used / 3).shopsets["a-1"].spec.capacity
    )
    plan = world.plan()
    assert plan.before.normal > 1
    assert {each.why for each in plan.moves if each.arrivals} == {"so that no ShopSet is overloaded"}
    settle(world)
    after = world.plan()
    assert after.before.normal <= 1
    assert not after.actions


def wished_empty(world: PlacingWorld, cluster: str, **more: bool) -> Fleet:
    found = world.fleet.clusters[cluster]
    drained = found.model_copy(update={"spec": found.spec.model_copy(update={"wish": "Drained", **more})})
    return replace(world.fleet, clusters={**world.fleet.clusters, cluster: drained})


def shops_on(world: PlacingWorld, cluster: str) -> list[str]:
    there = f"{cluster}-"
    return [shop for shop in world.placement.members if any(name.startswith(there) for name in world.replicas(shop))]


def groups_on(world: PlacingWorld, cluster: str) -> set[str]:
    there = f"{cluster}-"
    return {
        name for name, each in world.placement.groups.items() if any(one.startswith(there) for one in each.replicas)
    }


def test_a_wish_to_empty_a_cluster_waits_for_a_release_on_it() -> None:
    world = settled(fleet("abcd"))
    before, world.busy = world.placement, {"dev": "being synced", "prod": "baking"}
    world.fleet = wished_empty(world, "a")
    message = told(settle(world))["Cluster/a", "Waiting"]
    assert dump_placement(world.placement) == dump_placement(before)
    assert message.startswith(
        f"prod is baking, and a drain would change what is measured: {len(shops_on(world, 'a'))} "
    )
    assert "spec.duringBake: true" in message
    there = groups_on(world, "a")
    world.records["b"] = ClusterRecord.model_validate(
        {"cluster": "b", "state": "Lost", "since": START, "by": str(SUZUKI), "reason": "power failure"}
    )
    settle(world)
    assert groups_on(world, "a") == there, "only what was there stays there, whatever else happens"
    del world.records["b"]
    world.busy = {}
    assert told(world.plan())["Cluster/a", "Draining"].startswith("its shops leave, as spec.wish asks")
    settle(world)
    assert not shops_on(world, "a")


def test_a_wish_to_empty_a_cluster_goes_on_in_the_middle_of_a_release_where_that_is_wished_or_a_person_began_it() -> (
    None
):
    world = settled(fleet("abcd"))
    world.busy, world.fleet = {"prod": "baking"}, wished_empty(world, "a", during_bake=True)
    settle(world)
    assert not shops_on(world, "a")
    world.fleet = wished_empty(world, "b")
    world.ask(DrainCluster(cluster="b", reason="upgrade", during_bake=True))
    settle(world)
    assert not shops_on(world, "b")


def test_a_cluster_that_is_wished_empty_is_emptied_in_waves() -> None:
    world = settled(fleet("abcd"))
    world.fleet = wished_empty(world, "a")
    plan = world.plan()
    assert plan.later
    assert {each.why for each in plan.moves if each.arrivals} == {"cluster a is to be empty"}
    settle(world)
    assert not shops_on(world, "a")
    assert ("Cluster/a", "Draining") not in told(world.plan())


def test_nothing_new_comes_where_nothing_may() -> None:
    world = PlacingWorld(fleet("abcd"), make_shops(SHOPS), unusable={"a-1", "b-2"})
    cordoned = world.fleet.clusters["c"]
    spec = cordoned.spec.model_copy(update={"wish": "Cordoned"})
    world.fleet = replace(
        world.fleet, clusters={**world.fleet.clusters, "c": cordoned.model_copy(update={"spec": spec})}
    )
    settle(world)
    used = {name for group in world.placement.groups.values() for name in group.replicas}
    assert used == {"a-2", "b-1", "d-1", "d-2"}


def test_a_shopset_that_breaks_keeps_its_shops() -> None:
    world = settled()
    world.unusable, world.unready = {"a-1"}, {"a-1": "is Degraded"}
    assert not world.plan().actions


# -- shops


def test_a_shop_that_comes_moves_no_other() -> None:
    world = settled()
    before = {shop: world.replicas(shop) for shop in world.placement.members}
    world.shops = make_shops([*SHOPS, ("zulu", "standard", 1.0)])
    plan = world.step()
    assert plan.actions[0].what == "add zulu"
    assert {shop: world.replicas(shop) for shop in before} == before
    assert world.replicas("zulu")
    world.shops = make_shops(SHOPS)
    assert world.step().actions[0].what == "remove zulu"


def test_hosts_are_brought_up_to_date() -> None:
    world = settled()
    world.shops = make_shops(SHOPS, "{}.example.org")
    plan = world.step()
    assert plan.actions[0].what == "bring hosts up to date"
    assert world.placement.hosts["shop-001"] == ("shop-001.example.org",)


def test_more_than_can_be_carried_is_told_with_what_to_add() -> None:
    shops = make_shops([(name, shop_class, demand * 12) for name, shop_class, demand in SHOPS])
    world = settled(shops=shops)
    total = sum(12 * demand for _, _, demand in SHOPS)
    plan = world.plan()
    message = told(plan)["ShopClass/single", "CapacityShort"]
    assert message.startswith(
        f"the ShopSets of single, standard lack {total - 1800:,.0f} requests/s: they have 1,800. Add a ShopSet"
    )
    assert not plan.actions


def test_what_is_safe_only_while_nothing_is_lost_is_told() -> None:
    world = settled(shops=make_shops([(name, "standard", demand * 6) for name, _, demand in SHOPS]))
    found = {(each.resource, each.reason): each for each in world.plan().conditions}
    condition = found["ShopClass/standard", "CapacityShort"]
    assert condition.severity == "Warning"
    assert "when the cluster " in condition.message
    assert "Add a ShopSet outside " in condition.message


def test_two_large_shops_that_cannot_be_divided_are_not_proven() -> None:
    """Of two large shops and one small ShopSet no bound knows: who looks at one ShopSet's room only sees enough in sum."""
    world = settled(
        fleet("ab", 1, 10.0), make_shops([("one", "single", 6.0), ("two", "single", 6.0), ("three", "single", 6.0)])
    )
    found = told(world.plan())
    assert any(reason in ("NotProven", "CapacityShort") for _, reason in found)


def test_a_capacity_that_nobody_stated_is_told() -> None:
    world = settled(with_shopset(fleet(), "a-1", capacity=None))
    assert told(world.plan()) == {
        (
            "ShopSet/a-1",
            "Assumed",
        ): "nobody stated how many requests it bears, so what is said of its load is a guess: set spec.capacity"
    }


def test_demand_that_nobody_stated_is_assumed() -> None:
    shops = make_shops(SHOPS)
    world = settled(shops=replace(shops, demand=np.full_like(shops.demand, np.nan)))
    assert 0 < world.plan().before.normal <= 1


# -- pins of the source


def pinned(pins: dict[str, tuple[str, ...]]) -> Shops:
    shops = make_shops(SHOPS)
    return replace(shops, pins={list(shops.names).index(name): found for name, found in pins.items()})


def test_a_source_pins_a_shop() -> None:
    world = settled()
    world.shops = pinned({"shop-001": ("c-2", "b-2"), "shop-000": ("a-1",)})
    settle(world)
    assert world.replicas("shop-001") == ("c-2", "b-2")
    assert world.replicas("shop-000") == ("a-1",)
    home = world.placement
    world.ask(LoseCluster(cluster="c", reason="fire"))
    settle(world)
    assert "b-2" in world.replicas("shop-001")
    assert "c-2" not in world.replicas("shop-001")
    world.ask(ReturnCluster(cluster="c", reason="the fire is out"))
    settle(world)
    assert dump_placement(world.placement) == dump_placement(home)
    world.shops = pinned({"shop-001": ("a-1", "b-2"), "shop-000": ("a-1",)})
    settle(world)
    assert world.replicas("shop-001") == ("a-1", "b-2")


@pytest.mark.parametrize(
    ("pins", "objection"),
    [
        (("a-1",), "standard asks for 2 replicas, and it names 1: name 2 ShopSets"),
        (("a-1", "x-1"), "the fleet has no ShopSet x-1"),
        (("a-1", "a-2"), "a-1 and a-2 would fail together, and standard asks for replicas that lie apart"),
        (("a-1", "b-1"), "b-1 is not of the tier and configuration of standard"),
    ],
)
def test_a_pin_that_cannot_be_is_told(pins: tuple[str, ...], objection: str) -> None:
    world = settled(with_shopset(fleet(), "b-1", configuration="other"), pinned({"shop-001": pins}))
    assert told(world.plan())["Shop/shop-001", "CannotBe"] == (
        f"it is placed by its class, not where its source pins it: {objection}"
    )
    assert len(world.replicas("shop-001")) == 2


# -- races


def test_the_second_of_two_planners_loses_and_plans_again() -> None:
    world = settled()
    world.shops = make_shops([*SHOPS, ("zulu", "standard", 1.0)])
    slow = world.plan()
    world.shops = make_shops([*SHOPS, ("yankee", "standard", 1.0), ("zulu", "standard", 1.0)])
    world.step()
    before = world.files
    with pytest.raises(LostRaceError):
        world.act(slow)
    assert world.files is before
    settle(world)
    assert {"yankee", "zulu"} <= set(world.placement.members)


def test_a_planner_that_dies_is_taken_over() -> None:
    world = settled(fleet("abcd"))
    twin = copy(world)
    request = DrainCluster(cluster="a", reason="upgrade")
    world.ask(request)
    twin.act(twin.respond(request), 1)
    assert dump_placement(twin.placement) != dump_placement(world.placement)
    for each in (world, twin):
        settle(each)
    assert dump_placement(world.placement) == dump_placement(twin.placement)
    assert world.records["a"].state == twin.records["a"].state == "Upgrading"


def test_even_fleets_are_placed_evenly() -> None:
    world = settled(even_fleet("abcd", 2, 100.0, placement=COARSE))
    plan = world.plan()
    assert plan.before.after_loss <= 1

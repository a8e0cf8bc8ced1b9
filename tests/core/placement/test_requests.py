"""What people ask for shops: what it does, why it is refused, and how it is undone."""

from copy import copy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from shopset.core.fleets import Fleet
from shopset.core.placement.formats import dump_placement
from shopset.core.placement.grouping import own_group
from shopset.core.placement.plans import PlacementPlan
from shopset.core.placement.requests import (
    DrainCluster,
    Isolate,
    LoseCluster,
    PlacementRequest,
    Rebalance,
    Release,
    ReturnCluster,
    Serve,
    Spread,
    respond_placement,
)
from shopset.core.release.refusals import RequestRefusedError
from support.placing import SINGLE, STANDARD, even_fleet, make_shops, placing_fleet
from support.placing_checks import check_rest, check_step, check_whole
from support.placing_world import PlacingWorld
from support.pure import SUZUKI, YAMADA

SHOPS = make_shops([(f"shop-{n:03}", "single" if n % 5 == 0 else "standard", 1.0 + n % 3) for n in range(60)])
WHY: dict[str, Any] = {"reason": "flash sale"}


def fleet(*, dedicated: str = "de", wishes: dict[str, str] | None = None) -> Fleet:
    """Return a fleet of clusters a to e, with two shared ShopSets each and one that is dedicated on some."""
    shopsets: dict[str, dict[str, Any]] = {
        f"{name}-{n}": {"cluster": name, "capacity": {"requestsPerSecond": 100.0}} for name in "abcde" for n in (1, 2)
    }
    shopsets |= {f"{name}-own": {"cluster": name, "dedicated": True} for name in dedicated}
    found = placing_fleet(
        {name: {} for name in "abcde"},
        shopsets,
        {"standard": STANDARD, "single": SINGLE},
        placement={"groupsPerShopset": 2},
    )
    for name, wish in (wishes or {}).items():
        found = wished(found, name, wish)
    return found


def wished(before: Fleet, cluster: str, wish: str) -> Fleet:
    found = before.clusters[cluster]
    changed = found.model_copy(update={"spec": found.spec.model_copy(update={"wish": wish})})
    return replace(before, clusters={**before.clusters, cluster: changed})


@cache
def _first() -> PlacingWorld:
    world = PlacingWorld(fleet(), SHOPS)
    world.settle()
    return world


@pytest.fixture
def world() -> PlacingWorld:
    return copy(_first())


def ask(world: PlacingWorld, request: PlacementRequest) -> PlacementPlan:
    """Ask, and check that the plan says what it does and that it is met then."""
    before = world.placement
    plan = world.ask(request)
    assert dump_placement(plan.placement) == dump_placement(world.placement)
    check_step(world, before, world.placement)
    for _ in range(9):
        before = world.placement
        step = world.step()
        check_step(world, before, world.placement)
        check_whole(world)
        if not step.actions:
            if step.wake_at is None:
                break
            world.now = step.wake_at
    check_rest(world)
    again = respond_placement(world.fleet, world.seen(), request, YAMADA) if not isinstance(request, Release) else None
    assert again is None or not again.actions
    return plan


def refusal(world: PlacingWorld, request: PlacementRequest, busy: dict[str, str] | None = None) -> str:
    with pytest.raises(RequestRefusedError) as caught:
        respond_placement(world.fleet, world.seen(), request, YAMADA, busy)
    return str(caught.value)


def elsewhere(world: PlacingWorld, shop: str) -> tuple[str, str]:
    """Return two ShopSets on clusters on which a shop is not."""
    taken = {name[0] for name in world.replicas(shop)}
    first, second = [f"{name}-1" for name in "abcde" if name not in taken][:2]
    return first, second


def test_a_shop_moves_and_moves_back(world: PlacingWorld) -> None:
    home, there = world.placement, elsewhere(world, "shop-001")
    old = world.replicas("shop-001")
    plan = world.ask(Serve(shop="shop-001", replicas=there, **WHY))
    assert world.replicas("shop-001") == (*there, *old)
    assert plan.actions[0].what == f"Yamada moves shop shop-001 to {there[0]}, {there[1]}: flash sale"
    assert plan.actions[0].author == YAMADA
    assert [(each.shops, each.after, each.why) for each in plan.moves] == [(1, there, "flash sale")]
    ask(world, Serve(shop="shop-001", replicas=there, **WHY))
    assert world.replicas("shop-001") == there
    ask(world, Serve(shop="shop-001", replicas=old, **WHY))
    assert dump_placement(world.placement) == dump_placement(home)


def test_a_host_names_its_shop(world: PlacingWorld) -> None:
    there = elsewhere(world, "shop-001")
    ask(world, Serve(shop="shop-001.example.com", replicas=there, **WHY))
    assert world.replicas("shop-001") == there


def test_a_pin_is_released(world: PlacingWorld) -> None:
    home, there = world.placement, elsewhere(world, "shop-001")
    ask(world, Serve(shop="shop-001", replicas=there, pinned=True, **WHY))
    assert world.placement.groups["standard/shop-001"].pinned
    ask(world, Release(shop="shop-001", **WHY))
    assert dump_placement(world.placement) == dump_placement(home)


def test_a_pin_comes_home_with_its_cluster(world: PlacingWorld) -> None:
    there = elsewhere(world, "shop-001")
    ask(world, Serve(shop="shop-001", replicas=there, pinned=True, **WHY))
    home = world.placement
    ask(world, LoseCluster(cluster=there[0][0], **WHY))
    assert there[0] not in world.replicas("shop-001")
    assert there[1] in world.replicas("shop-001")
    world.ask(ReturnCluster(cluster=there[0][0], **WHY))
    world.settle()
    assert dump_placement(world.placement) == dump_placement(home)


def test_a_pin_may_be_where_the_convention_would_not_have_it(world: PlacingWorld) -> None:
    ask(world, Serve(shop="shop-000", replicas=("d-own",), pinned=True, **WHY))
    assert world.replicas("shop-000") == ("d-own",)
    world.settle()
    assert world.replicas("shop-000") == ("d-own",)


def test_a_shop_is_isolated_and_released(world: PlacingWorld) -> None:
    home = world.placement
    ask(world, Isolate(shop="shop-001", **WHY))
    assert world.replicas("shop-001") == ("d-own", "e-own")
    assert {name for name, each in world.placement.groups.items() if "d-own" in each.replicas} == {"standard/shop-001"}
    message = refusal(world, Isolate(shop="shop-002", **WHY))
    assert message.startswith(
        "it needs 2 dedicated ShopSets of prod with production that are free, apart and running, and there are 0"
    )
    assert "spec.dedicated: true" in message
    ask(world, Release(shop="shop-001", **WHY))
    assert dump_placement(world.placement) == dump_placement(home)


def test_dedicated_shopsets_must_lie_apart(world: PlacingWorld) -> None:
    world.fleet = fleet(dedicated="d")
    assert "and there are 1. Add one" in refusal(world, Isolate(shop="shop-001", **WHY))
    world.fleet = fleet()
    world.unready["e-own"] = "has no Application yet"
    assert "and there are 1. Add one" in refusal(world, Isolate(shop="shop-001", **WHY))


def test_a_hot_shop_is_spread_and_released(world: PlacingWorld) -> None:
    home = world.placement
    ask(world, Spread(shop="shop-001", replicas=4, **WHY))
    assert len(world.replicas("shop-001")) == 4
    assert world.replicas("shop-001")[:2] == home.groups[home.members["shop-001"]].replicas
    ask(world, Release(shop="shop-001", **WHY))
    assert dump_placement(world.placement) == dump_placement(home)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            Serve(shop="nope", replicas=("a-1", "b-1"), **WHY),
            "there is no shop 'nope' in the placement: shopctl shop list",
        ),
        (Serve(shop="shop-001", replicas=("a-1",), **WHY), "standard asks for 2 different replicas: name as many"),
        (
            Serve(shop="shop-001", replicas=("a-1", "a-1"), **WHY),
            "standard asks for 2 different replicas: name as many",
        ),
        (
            Serve(shop="shop-001", replicas=("a-1", "x-1"), **WHY),
            "the fleet has no ShopSet 'x-1': shopctl get shopsets",
        ),
        (
            Serve(shop="shop-001", replicas=("a-1", "a-2"), **WHY),
            "a-1 and a-2 are both in cluster a, and fail together: name one in another cluster",
        ),
        (
            Serve(shop="shop-001", replicas=("d-own", "a-1"), **WHY),
            "d-own is a dedicated ShopSet, and standard asks for none: shopctl shop isolate",
        ),
        (
            Release(shop="shop-001", **WHY),
            "shop shop-001 is placed by its class standard already: to have it elsewhere, shopctl shop move",
        ),
        (
            Spread(shop="shop-001", replicas=1, **WHY),
            "a shop is spread over at least 2 ShopSets: shopctl shop release takes it back",
        ),
        (
            Spread(shop="shop-001", replicas=6, **WHY),
            "6 replicas cannot lie apart: standard has 5 domains of cluster. Ask for at most 5, or add a ShopSet",
        ),
        (
            Spread(shop="shop-000", replicas=11, **WHY),
            "11 replicas cannot lie apart: single has 10 ShopSets. Ask for at most 10, or add a ShopSet",
        ),
        (Rebalance(most=0, **WHY), "0 shops cannot move: say how many may, at least 1"),
        (LoseCluster(cluster="x", **WHY), "the fleet has no cluster 'x': it has a, b, c, d, e"),
        (DrainCluster(cluster="x", **WHY), "the fleet has no cluster 'x': it has a, b, c, d, e"),
        (ReturnCluster(cluster="x", **WHY), "the fleet has no cluster 'x': it has a, b, c, d, e"),
        (ReturnCluster(cluster="a", **WHY), "cluster a is neither lost nor drained: its shops are where they belong"),
    ],
)
def test_what_cannot_be_is_refused(world: PlacingWorld, request_: PlacementRequest, message: str) -> None:
    assert refusal(world, request_).startswith(message)


def test_a_dedicated_shop_moves_only_to_dedicated_shopsets(world: PlacingWorld) -> None:
    ask(world, Isolate(shop="shop-001", **WHY))
    message = refusal(world, Serve(shop="shop-001", replicas=("a-1", "b-1"), **WHY))
    assert message.startswith("a-1 is no dedicated ShopSet, and the shop is to have such")
    assert "shopctl shop release" in message


def test_nothing_is_served_from_where_shops_leave(world: PlacingWorld) -> None:
    there = Serve(shop="shop-001", replicas=("a-1", "b-1"), **WHY)
    world.fleet = fleet(wishes={"a": "Drained"})
    assert refusal(world, there).startswith("a-1 is on cluster a, which is wished to be Drained: name another ShopSet")
    world.fleet = fleet(wishes={"a": "Cordoned"})
    if "a-1" not in world.replicas("shop-001"):
        assert refusal(world, there).startswith("a-1 is on cluster a, which is wished to be Cordoned")
    world.fleet = fleet()
    world.ask(LoseCluster(cluster="a", **WHY))
    assert refusal(world, there).startswith("a-1 is on cluster a, which is Lost: name another ShopSet")
    world.records.clear()
    world.settle()
    world.unusable = {"a-1"}
    assert refusal(world, there).startswith("a-1 serves nobody now: name another ShopSet")


def test_a_shopset_of_another_tier_is_refused(world: PlacingWorld) -> None:
    spec = world.fleet.shopsets["a-1"].spec.model_copy(update={"configuration": "other"})
    changed = world.fleet.shopsets["a-1"].model_copy(update={"spec": spec})
    world.fleet = replace(world.fleet, shopsets={**world.fleet.shopsets, "a-1": changed})
    message = refusal(world, Serve(shop="shop-001", replicas=("a-1", "b-1"), **WHY))
    assert message == "a-1 is of tier prod with configuration other, and standard asks for prod with production"


@pytest.mark.parametrize(
    "request_",
    [
        Serve(shop="shop-001", replicas=("a-1", "b-1"), **WHY),
        Isolate(shop="shop-001", **WHY),
        Spread(shop="shop-001", replicas=3, **WHY),
        Release(shop="shop-001", **WHY),
    ],
)
def test_what_a_source_pins_is_changed_there(world: PlacingWorld, request_: PlacementRequest) -> None:
    world.shops = replace(SHOPS, pins={1: ("d-1", "e-1")})
    world.settle()
    assert refusal(world, request_) == "the source of shop shop-001 pins it to d-1, e-1: change its pins there"


def test_a_shop_of_a_class_that_is_gone_is_refused(world: PlacingWorld) -> None:
    world.fleet = replace(world.fleet, shop_classes={"single": world.fleet.shop_classes["single"]})
    message = refusal(world, Isolate(shop="shop-001", **WHY))
    assert message == "shop shop-001 is of the class standard, which the fleet does not have: add the ShopClass first"


def test_no_drain_in_the_middle_of_a_bake(world: PlacingWorld) -> None:
    message = refusal(world, DrainCluster(cluster="a", **WHY), {"prod": "baking"})
    assert message == (
        "prod, which has ShopSets on cluster a, is baking: wait for it (shopctl release watch), or give --during-bake"
    )
    asked = DrainCluster(cluster="a", during_bake=True, **WHY)
    assert respond_placement(world.fleet, world.seen(), asked, YAMADA, {"prod": "baking"}).actions
    lost = LoseCluster(cluster="a", **WHY)
    assert respond_placement(world.fleet, world.seen(), lost, YAMADA, {"prod": "baking"}).actions


def test_a_request_that_is_met_does_nothing(world: PlacingWorld) -> None:
    for request in (
        LoseCluster(cluster="a", **WHY),
        DrainCluster(cluster="b", **WHY),
        ReturnCluster(cluster="a", **WHY),
    ):
        world.ask(request)
        again = respond_placement(world.fleet, world.seen(), request, SUZUKI)
        assert not [each for each in again.actions if each.kind == "Cluster"]


@pytest.mark.parametrize(
    ("reason", "told", "recorded"),
    [("", " after power failure", "after power failure"), ("mended", ": mended", "mended")],
)
def test_a_cluster_returns_for_a_reason(world: PlacingWorld, reason: str, told: str, recorded: str) -> None:
    world.ask(LoseCluster(cluster="a", reason="power failure"))
    world.ask(ReturnCluster(cluster="a", reason=reason))
    assert f"Yamada brings cluster a back{told}" in world.subjects
    assert world.records["a"].reason == recorded


def test_a_cluster_that_is_wished_away_does_not_return(world: PlacingWorld) -> None:
    world.ask(LoseCluster(cluster="a", **WHY))
    world.fleet = fleet(wishes={"a": "Drained"})
    message = refusal(world, ReturnCluster(cluster="a", **WHY))
    assert message == "cluster a is wished to be Drained: set spec.wish to Active first"


def test_a_record_says_who_and_where_home_is(world: PlacingWorld) -> None:
    head = world.head
    world.ask(DrainCluster(cluster="a", version="1.37", **WHY))
    record = world.records["a"]
    assert (record.state, record.by, record.reason, record.version, record.home) == (
        "Draining",
        str(YAMADA),
        "flash sale",
        "1.37",
        head,
    )
    world.settle()
    world.ask(LoseCluster(cluster="a", **WHY))
    assert world.records["a"].home == head


# -- rebalance


def uneven() -> PlacingWorld:
    """Return a world whose ShopSets were added after its shops."""
    small = even_fleet("ab", 2, 40.0, placement={"groupsPerShopset": 10})
    world = PlacingWorld(small, make_shops([(f"shop-{n:03}", "standard", 1.0) for n in range(100)]))
    world.settle()
    world.fleet = even_fleet("abcd", 2, 40.0, placement={"groupsPerShopset": 10})
    world.settle()
    return world


def test_a_rebalance_keeps_its_budget() -> None:
    world = uneven()
    assert not world.plan().actions
    plan = world.ask(Rebalance(most=7, reason="new ShopSets"))
    assert 0 < plan.shops_moved <= 7
    assert not plan.later
    assert plan.after.normal <= plan.before.normal
    assert {each.why for each in plan.moves if each.arrivals} == {"rebalance"}
    assert "Yamada asked for it: new ShopSets" in plan.actions[0].why
    assert len(world.settle()) < 9
    check_rest(world)


def test_a_rebalance_is_at_most_one_wave_and_is_asked_for_again() -> None:
    world = uneven()
    before = world.plan().before.normal
    moved = []
    for _ in range(20):
        plan = world.ask(Rebalance(most=1000, reason="new ShopSets"))
        moved.append(plan.shops_moved)
        assert plan.shops_moved <= 10
        assert not plan.later
        world.settle()
        if not plan.moves:
            break
    assert world.plan().before.normal < before * 0.7
    check_rest(world)


def test_the_group_of_its_own_is_named_after_the_shop(world: PlacingWorld) -> None:
    ask(world, Spread(shop="shop-000", replicas=2, **WHY))
    assert world.placement.members["shop-000"] == own_group("single", "shop-000")

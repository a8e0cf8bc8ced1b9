"""What edges have to know: taken from the fleet, written with each step, and forgotten only when no shop needs it."""

from collections.abc import Mapping
from typing import Any

import pytest

from shopset.core.fleets import Fleet, assemble
from shopset.core.placement.edges import (
    NO_EDGE,
    EdgeClass,
    EdgeHealth,
    EdgeSettings,
    EdgeShop,
    EdgeShopSet,
    RateLimit,
)
from shopset.core.placement.modelling import model
from shopset.core.placement.requests import DrainCluster, LoseCluster, ReturnCluster, Serve
from shopset.core.placement.shops import EdgeWish, Shops
from support.placing import make_shops
from support.placing_world import PlacingWorld
from support.pure import resource

HTTPS = "https://{shopset}.{cluster}.example.com"
STANDARD = {"tier": "prod", "configuration": "production", "replicas": 2, "across": ["cluster"]}
SINGLE = {"tier": "prod", "configuration": "production"}
COPIES = {
    "a-1": ("prod", "production", "a"),
    "b-1": ("prod", "production", "b"),
    "c-1": ("prod", "production", "c"),
    "beta-a": ("beta", "production", "a"),
    "beta-b": ("beta", "production", "b"),
    "beta-s": ("beta", "staging", "b"),
    "dev-a": ("dev", "staging", "a"),
}


def fleet(
    copies: Mapping[str, tuple[str, str, str]] = COPIES,
    endpoints: Mapping[str, str] | None = None,
    shopsets: Mapping[str, Mapping[str, Any]] | None = None,
    classes: Mapping[str, Mapping[str, Any]] | None = None,
    **edge: Any,
) -> Fleet:
    """Return a fleet: ShopSet -> (tier, configuration, cluster), cluster -> endpoint, ShopSet -> more of its spec."""
    repositories = {key: f"/srv/git/shopset-{key}.git" for key in ("system", "apps", "configuration")}
    delivery = {"directory": {"path": "/clusters"}}
    found = [resource("Platform", "shop", repositories=repositories, delivery=delivery, edge=edge)]
    found += [resource("Tier", name, level=level) for level, name in enumerate(("dev", "beta", "prod"))]
    found += [resource("Configuration", name, path=name) for name in ("production", "staging")]
    found.append(resource("FailureDomain", "cluster", topologyKey="cluster"))
    templates = dict.fromkeys("abc", HTTPS) if endpoints is None else endpoints
    for name in "abc":
        found.append(resource("Cluster", name, **({"endpoint": templates[name]} if name in templates else {})))
    for name, (tier, configuration, cluster) in copies.items():
        more = (shopsets or {}).get(name, {})
        found.append(resource("ShopSet", name, tier=tier, configuration=configuration, cluster=cluster, **more))
    for name, spec in (classes or {"standard": STANDARD}).items():
        found.append(resource("ShopClass", name, **spec))
    assembly = assemble(found)
    assert assembly.fleet is not None, assembly.problems
    return assembly.fleet


def shops(edge: Mapping[str, EdgeWish] | None = None, shop_class: str = "standard", number: int = 6) -> Shops:
    found = make_shops((f"s-{row}", shop_class, 1.0) for row in range(number))
    rows = {found.names.index(name): wish for name, wish in (edge or {}).items()}
    return Shops(found.names, found.hosts, found.class_names, found.classes, found.demand, edge=rows)


def settled(given: Fleet, found: Shops | None = None) -> PlacingWorld:
    world = PlacingWorld(given, shops() if found is None else found)
    world.settle()
    return world


def told(world: PlacingWorld) -> dict[str, str]:
    """Return resource -> reason of what edges lack."""
    return {each.resource: each.reason for each in world.plan().conditions if each.type == "Routable"}


def edge_paths(world: PlacingWorld) -> set[str]:
    return {path for path in world.files if path.startswith("edge/")}


class TestFacts:
    def test_a_fleet_without_endpoints_has_none(self) -> None:
        world = settled(fleet(endpoints={}, clients={"requestsPerSecond": 5.0}), shops({"s-1": EdgeWish(5.0)}))
        assert world.placement.edge == NO_EDGE
        assert (edge_paths(world), told(world)) == (set(), {})

    def test_where_shopsets_are_reached(self) -> None:
        more: dict[str, dict[str, Any]] = {
            "b-1": {"endpoint": "http://10.0.0.1:8080/", "capacity": {"concurrency": 40, "shops": 1000}},
            "c-1": {"endpoint": "https://{namespace}.{tier}.example.com"},
        }
        assert settled(fleet(shopsets=more)).placement.edge.shopsets == {
            "a-1": EdgeShopSet("a-1", "https://a-1.a.example.com", "prod", "a"),
            "b-1": EdgeShopSet("b-1", "http://10.0.0.1:8080", "prod", "b", 40),
            "c-1": EdgeShopSet("c-1", "https://shopset-c-1.prod.example.com", "prod", "c"),
        }

    def test_what_platform_and_classes_say(self) -> None:
        limits = {"requestsPerSecond": 20.0, "burst": 40}
        traffic = {"weights": [70, 30], "overload": "Spill"}
        classes: dict[str, dict[str, Any]] = {
            "standard": {**STANDARD, "limits": limits, "traffic": traffic},
            "single": {"tier": "prod", "configuration": "production", "limits": {"burst": 5}},
        }
        health = {
            "path": "/up",
            "interval": "1s",
            "timeout": "1.5s",
            "fall": 3,
            "rise": 4,
            "slowStart": "1m",
            "panic": 70,
        }
        edge: dict[str, Any] = {
            "health": health,
            "clients": {"requestsPerSecond": 9.0},
            "lanes": ["/buy"],
            "redirect": "Https",
        }
        found = settled(fleet(classes=classes, **edge)).placement.edge
        assert found.settings == EdgeSettings(
            EdgeHealth("/up", 1000, 1500, 3, 4, 60_000, 70), RateLimit(9.0), ("/buy",), "Https"
        )
        assert found.classes == {
            "single": EdgeClass("single"),
            "standard": EdgeClass("standard", RateLimit(20.0, 40), (70, 30), "Spill", replicas=2),
        }

    @pytest.mark.parametrize(("time", "slow"), [("1ms", "0s"), ("1h", "1h")])
    def test_whatever_a_fleet_may_say_can_be_read(self, time: str, slow: str) -> None:
        health = {"interval": time, "timeout": time, "slowStart": slow, "fall": 100, "rise": 1000}
        limits = {"requestsPerSecond": 5e-324 if slow == "0s" else 1.7e308, "burst": 10**9}
        classes = {"standard": {**STANDARD, "limits": limits}}
        capacity = {name: {"capacity": {"concurrency": 10**9}} for name in COPIES}
        wish = {"s-1": EdgeWish(1.7e308, 10**15 - 1)}
        # A world reads what it writes, and takes no damage.
        world = settled(fleet(classes=classes, shopsets=capacity, health=health, clients=limits), shops(wish))
        assert world.placement.edge.settings.clients == RateLimit(limits["requestsPerSecond"], 10**9)

    def test_what_platforms_say_by_default_is_what_edges_take_by_default(self) -> None:
        assert settled(fleet()).placement.edge.settings == EdgeSettings()

    @pytest.mark.parametrize(
        ("wish", "expected"),
        [
            (EdgeWish(5.0), EdgeShop("s-1", RateLimit(5.0, 40))),
            (EdgeWish(5.0, 10), EdgeShop("s-1", RateLimit(5.0, 10))),
            (EdgeWish(burst=10), EdgeShop("s-1", RateLimit(20.0, 10))),
            (EdgeWish(burst=0), EdgeShop("s-1", RateLimit(20.0, 0))),
            (EdgeWish(20.0, 40), None),
            (EdgeWish(20.0), None),
            (EdgeWish(20.0, maintenance=True), EdgeShop("s-1", None, maintenance=True)),
            (EdgeWish(maintenance=True), EdgeShop("s-1", None, maintenance=True)),
        ],
    )
    def test_what_is_special_about_a_shop(self, wish: EdgeWish, expected: EdgeShop | None) -> None:
        classes = {"standard": {**STANDARD, "limits": {"requestsPerSecond": 20.0, "burst": 40}}}
        found = settled(fleet(classes=classes), shops({"s-1": wish})).placement.edge
        assert found.shops == ({} if expected is None else {"s-1": expected})

    def test_a_burst_without_a_limit_is_none(self) -> None:
        found = settled(fleet(), shops({"s-1": EdgeWish(burst=9), "s-2": EdgeWish(3.0)})).placement.edge
        assert found.shops == {"s-2": EdgeShop("s-2", RateLimit(3.0))}

    def test_a_shop_that_is_not_placed_has_none(self) -> None:
        world = settled(fleet(), shops({"s-1": EdgeWish(5.0)}, shop_class="unknown"))
        assert (world.placement.members, world.placement.edge.shops) == ({}, {})

    def test_even_weights_count_in_loads_as_a_spread_does(self) -> None:
        demand = {}
        for weights in ([], [50, 50]):
            world = settled(fleet(classes={"standard": {**STANDARD, "traffic": {"weights": weights}}}))
            problem = model(world.fleet, world.shops, world.placement, {}).problem
            demand[len(weights)] = problem.active.tolist()
        assert set(demand[0]) == {1}
        assert set(demand[2]) == {2}


class TestEndpointsThatAreMissing:
    def test_it_is_told_what_to_write(self) -> None:
        more = {"b-1": {"endpoint": "http://b.example.com/shops"}}
        world = settled(fleet(endpoints={"a": HTTPS}, shopsets=more))
        assert set(world.placement.edge.shopsets) == {"a-1"}
        assert told(world) == {"ShopSet/b-1": "EndpointUnusable", "ShopSet/c-1": "NoEndpoint"}
        messages = {each.reason: each.message for each in world.plan().conditions}
        assert "set spec.endpoint of the Cluster c, as in https://{shopset}.c.example.com" in messages["NoEndpoint"]
        assert "http://b.example.com/shops is more than a server" in messages["EndpointUnusable"]

    def test_one_that_is_taken_away_counts_while_shops_are_there(self) -> None:
        world = settled(fleet())
        before = world.placement.edge.shopsets
        world.fleet = fleet(endpoints={"a": HTTPS, "b": HTTPS})
        world.settle()
        assert world.placement.edge.shopsets == before
        assert told(world) == {"ShopSet/c-1": "NoEndpoint"}
        (condition,) = (each for each in world.plan().conditions if each.reason == "NoEndpoint")
        assert "the edge goes on with https://c-1.c.example.com" in condition.message

    def test_other_tiers_need_none(self) -> None:
        assert told(settled(fleet(shopsets={"dev-a": {"endpoint": "http://x/y"}}))) == {}


class TestWhatTheFleetHasNoMore:
    def test_a_shopset_stays_until_no_group_names_it(self) -> None:
        world = settled(fleet())
        name = world.replicas("s-1")[0]
        known = world.placement.edge.shopsets[name]
        others = {key: value for key, value in COPIES.items() if key != name}
        # Shops of a class that the fleet has no more stay where they are.
        world.fleet = fleet(others, classes={"single": SINGLE})
        world.settle()
        assert name in world.replicas("s-1")
        assert world.placement.edge.shopsets[name] == known
        world.shops = shops(shop_class="single")
        world.settle()
        assert name not in world.placement.edge.shopsets

    def test_a_class_stays_as_it_was_while_it_has_shops(self) -> None:
        limits = {"requestsPerSecond": 20.0}
        world = settled(fleet(classes={"standard": {**STANDARD, "limits": limits}}))
        known = world.placement.edge.classes["standard"]
        world.fleet = fleet(classes={"single": SINGLE})
        world.settle()
        assert world.placement.edge.classes == {"single": EdgeClass("single"), "standard": known}
        world.shops = shops(shop_class="single")
        world.settle()
        assert world.placement.edge.classes == {"single": EdgeClass("single")}

    def test_a_class_of_which_nothing_is_known_has_all_its_replicas(self) -> None:
        world = settled(fleet(endpoints={}))
        world.fleet = fleet(classes={"single": SINGLE})
        world.settle()
        assert world.placement.edge.classes["standard"] == EdgeClass("standard", replicas=2)


CANARY = {"standard": {**STANDARD, "traffic": {"canary": {"tier": "beta", "percent": 5}}}}


class TestCanaries:
    def test_they_are_shopsets_of_the_tier_with_the_same_configuration(self) -> None:
        found = settled(fleet(classes=CANARY)).placement.edge
        assert found.classes["standard"] == EdgeClass(
            "standard", canaries=("beta-a", "beta-b"), canary_percent=5, replicas=2
        )
        assert found.shopsets["beta-a"] == EdgeShopSet("beta-a", "https://beta-a.a.example.com", "beta", "a")
        assert not found.shopsets.keys() & {"beta-s", "dev-a"}

    def test_dedicated_ones_and_those_without_an_endpoint_are_none(self) -> None:
        world = settled(fleet(classes=CANARY, shopsets={"beta-a": {"dedicated": True}}))
        assert world.placement.edge.classes["standard"].canaries == ("beta-b",)
        world = settled(fleet(classes=CANARY, endpoints={"a": HTTPS}))
        assert world.placement.edge.classes["standard"].canaries == ("beta-a",)
        assert told(world)["ShopSet/beta-b"] == "NoEndpoint"

    def test_none_is_on_a_cluster_that_is_lost_or_emptied(self) -> None:
        world = settled(fleet(classes=CANARY))
        world.ask(LoseCluster(cluster="a", reason="fire"))
        # With the first push, not with a later one.
        assert world.placement.edge.classes["standard"].canaries == ("beta-b",)
        world.ask(DrainCluster(cluster="b", reason="upgrade"))
        world.settle()
        assert world.placement.edge.classes["standard"] == EdgeClass("standard", replicas=2)
        assert told(world) == {"ShopClass/standard": "NoCanary"}
        world.ask(ReturnCluster(cluster="a", reason="out"))
        world.settle()
        assert world.placement.edge.classes["standard"].canaries == ("beta-a",)


class TestPlanning:
    def test_facts_come_with_the_step_and_once(self) -> None:
        world = PlacingWorld(fleet(), shops({"s-1": EdgeWish(5.0)}))
        first = world.step()
        assert edge_paths(world) == {"edge/classes.jsonl", "edge/shops.jsonl", "edge/shopsets.jsonl"}
        assert first.placement.edge == world.placement.edge
        world.settle()
        number = len(world.subjects)
        assert world.plan().actions == ()
        world.settle()
        assert len(world.subjects) == number

    @pytest.mark.parametrize(
        "change",
        [
            {"endpoints": {"a": "http://{shopset}.new.example.com", "b": HTTPS, "c": HTTPS}},
            {"classes": {"standard": {**STANDARD, "limits": {"requestsPerSecond": 1.0}}}},
            {"redirect": "Https"},
        ],
    )
    def test_what_is_of_the_edge_alone_moves_nobody(self, change: dict[str, Any]) -> None:
        world = settled(fleet())
        before = world.placement
        world.fleet = fleet(**change)
        plan = world.step()
        assert world.subjects[-1] == "bring the edge up to date"
        assert (plan.moves, plan.later) == ((), ())
        assert (world.placement.groups, world.placement.members) == (before.groups, before.members)
        assert world.placement.edge != before.edge
        assert world.plan().actions == ()

    def test_maintenance_moves_nobody(self) -> None:
        world = settled(fleet())
        world.shops = shops({"s-3": EdgeWish(maintenance=True)})
        world.step()
        assert world.subjects[-1] == "bring the edge up to date"
        assert world.placement.edge.shops == {"s-3": EdgeShop("s-3", maintenance=True)}
        world.shops = shops()
        world.step()
        assert "edge/shops.jsonl" not in world.files

    def test_a_shop_that_leaves_leaves_the_facts(self) -> None:
        world = settled(fleet(), shops({"s-3": EdgeWish(4.0)}))
        world.shops = shops(number=3)
        world.step()
        assert world.subjects[-1] == "remove s-3, s-4, s-5"
        assert world.placement.edge.shops == {}

    def test_a_request_brings_them_along(self) -> None:
        world = settled(fleet())
        copies = {**COPIES, "d-1": ("prod", "production", "a")}
        world.fleet = fleet(copies)
        there = world.replicas("s-1")
        free = next(name for name in ("b-1", "c-1") if name not in there)
        world.ask(Serve(shop="s-1", reason="try it", replicas=("d-1", free)))
        assert "d-1" in world.placement.edge.shopsets

    def test_a_revert_to_before_the_edge_is_mended(self) -> None:
        world = settled(fleet())
        world.files = {path: content for path, content in world.files.items() if not path.startswith("edge/")}
        world.step()
        assert set(world.placement.edge.shopsets) == {"a-1", "b-1", "c-1"}

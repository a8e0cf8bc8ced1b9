"""What a fleet still takes: reckoned by hand, and by the planner."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.api import Resource, ShopClass
from shopset.api.shops import Traffic
from shopset.core.capacity.reporting import CanaryLeg, Report, enumerated, report
from shopset.core.fleets import Fleet, assemble
from shopset.core.placement.modelling import model
from shopset.core.placement.placements import Group, Placement
from support.placing import SINGLE, STANDARD, make_shops, placing_fleet
from support.pure import resource


def reported(fleet: Fleet, groups: Mapping[str, tuple[str, float, Sequence[str]]]) -> Report:
    shops = make_shops([(name, shop_class, demand) for name, (shop_class, demand, _) in groups.items()])
    found = {
        name: Group(name, shop_class, tuple(replicas)) for name, (shop_class, _, replicas) in sorted(groups.items())
    }
    return report(fleet, model(fleet, shops, Placement(found, {name: name for name in groups}), {}))


def assembled(resources: Iterable[Resource]) -> Fleet:
    found = assemble(resources).fleet
    assert found is not None
    return found


def replace_traffic(each: Resource) -> Resource:
    """Return a class without a canary; anything else as it is."""
    if not isinstance(each, ShopClass):
        return each
    return each.model_copy(update={"spec": each.spec.model_copy(update={"traffic": Traffic()})})


def fleet_of(capacities: dict[str, dict[str, float] | None], **specs: Any) -> Fleet:
    """Return a fleet with a ShopSet for each cluster; the name's first letter is its cluster."""
    shopsets = {
        name: {"cluster": name[0], **({"capacity": capacity} if capacity else {})}
        for name, capacity in capacities.items()
    }
    return placing_fleet({name[0]: {} for name in capacities}, shopsets, **specs)


def test_what_is_left_keeps_room_for_the_loss_of_a_cluster() -> None:
    capacity = {"requestsPerSecond": 1000.0, "shops": 50}
    fleet = fleet_of({"a-1": capacity, "b-1": capacity, "c-1": capacity})
    groups = {
        "x": ("standard", 300.0, ["a-1", "b-1"]),
        "y": ("standard", 300.0, ["b-1", "c-1"]),
        "z": ("single", 100.0, ["c-1"]),
    }
    (pool,) = reported(fleet, groups).pools
    requests, connections, shops = pool.amounts
    assert (pool.tier, pool.configuration, pool.shops) == ("prod", "production", 3)
    # Without a, b has 600 and c 100; without b, 300 and 400; without c, where z is down, 300 and 300.
    assert (requests.used, requests.capacity, requests.left, requests.left_after_loss) == (700, 3000, 2300, 1300)
    assert (shops.used, shops.capacity, shops.left, shops.left_after_loss) == (5, 150, 145, 96)
    assert (connections.used, connections.capacity, connections.left_after_loss) == (3, None, None)
    assert (pool.takes, pool.limited_by) == (int(1300 / (700 / 3)), "requests")


@pytest.mark.parametrize("percent", [10, 50])
def test_a_canary_share_has_a_row_of_its_own(percent: int) -> None:
    capacity = {"requestsPerSecond": 250.0}
    canary = {"traffic": {"canary": {"tier": "beta", "percent": percent}}}
    beta = {"tier": "beta", "configuration": "production", "capacity": capacity}
    classes = {"standard": {**STANDARD, **canary}, "single": {**SINGLE, **canary}, "plain": SINGLE}
    prod = placing_fleet({name: {} for name in "abc"}, {f"{name}-1": {"cluster": name} for name in "abc"}, classes={})
    found = [
        *(prod.platform, *prod.tiers, *prod.configurations.values(), *prod.failure_domains.values()),
        *prod.clusters.values(),
        *prod.shopsets.values(),
        resource("Tier", "beta", level=1),
        resource("ShopSet", "beta-a", cluster="a", **beta),
        resource("ShopSet", "beta-b", cluster="b", **beta),
        resource("ShopSet", "beta-c", cluster="c", dedicated=True, **beta),
        resource("ShopClass", "early", tier="beta", configuration="production"),
        *(resource("ShopClass", name, **spec) for name, spec in classes.items()),
    ]
    fleet = assembled(found)
    groups = {
        "v": ("early", 40.0, ["beta-a"]),
        "w": ("standard", 9000.0, []),
        "x": ("standard", 600.0, ["a-1", "b-1"]),
        "y": ("single", 400.0, ["c-1"]),
        "z": ("plain", 5000.0, ["c-1"]),
    }
    found_report = reported(fleet, groups)
    assert found_report.canaries == (
        CanaryLeg("beta", "production", ("single", "standard"), ("beta-a", "beta-b"), 10.0 * percent, 40.0, 500.0),
    )
    assert found_report.canaries[0].left == 460 - 10 * percent
    told = [each.message for each in found_report.notes if "canary" in each.message]
    assert [message.partition(":")[0] for message in told] == (
        []
        if percent == 10
        else [
            "the canary share of single and standard, 500 requests/s, is more by 40 than beta-a and beta-b can take beside their own shops"
        ]
    )
    # It is no replica: what the pools have is the same.
    plain = [replace_traffic(each) for each in found]
    assert [each.pools for each in (found_report, reported(assembled(plain), groups))] == [found_report.pools] * 2


def test_where_the_number_of_shops_is_short_first_it_says_so() -> None:
    capacity = {"requestsPerSecond": 100000.0, "shops": 3}
    (pool,) = reported(fleet_of({"a-1": capacity, "b-1": capacity}), {"x": ("standard", 1.0, ["a-1", "b-1"])}).pools
    assert (pool.takes, pool.limited_by) == (1, "shops")


def test_a_missing_capacity_is_a_note_and_no_infinity() -> None:
    fleet = fleet_of({"a-1": None, "b-1": None})
    found = reported(fleet, {"x": ("single", 10.0, ["a-1"])})
    (pool,) = found.pools
    assert (pool.takes, pool.limited_by, pool.amounts[0].capacity, pool.amounts[0].used) == (None, "", None, 10)
    (note,) = found.notes
    assert (note.resource, note.message[:40]) == ("Tier/prod", "a-1 and b-1 have no capacity: their load")
    some = reported(fleet_of({"a-1": None, "b-1": {"requestsPerSecond": 500.0}}), {"x": ("single", 10.0, ["a-1"])})
    assert (some.pools[0].amounts[0].capacity, some.pools[0].amounts[0].left) == (500, 500)
    assert some.notes[0].message.startswith("a-1 has no capacity: its load is not checked")


def test_an_empty_tier_takes_what_is_assumed_of_a_shop() -> None:
    capacity = {"requestsPerSecond": 100.0}
    fleet = fleet_of({"a-1": capacity, "b-1": capacity}, placement={"demand": {"requestsPerSecond": 8.0}})
    assert reported(fleet, {}).pools[0].takes == 12


def test_clusters_and_databases_say_how_many_more() -> None:
    repositories = {key: f"/srv/git/shopset-{key}.git" for key in ("system", "apps", "configuration")}
    databases = [
        {"name": "orders", "connections": 100, "connectionsPerShopset": 30},
        {"name": "search", "connections": 500},
    ]
    of = {"tier": "prod", "configuration": "production"}
    fleet = assemble(
        [
            resource("Platform", "shop", repositories=repositories, delivery={"directory": {"path": "/clusters"}}),
            resource("Tier", "prod", level=0),
            resource("Configuration", "production", path="production", databases=databases),
            resource("Cluster", "a", capacity={"shopsets": 5}),
            resource("Cluster", "b"),
            resource("ShopSet", "a-1", **of, cluster="a"),
            resource("ShopSet", "a-2", **of, cluster="a", capacity={"connections": 20}),
        ]
    ).fleet
    assert fleet is not None
    found = report(fleet, model(fleet, make_shops([]), Placement(), {}))
    assert [(each.cluster, each.shopsets, each.holds, each.more) for each in found.rooms] == [
        ("a", 2, 5, 3),
        ("b", 0, None, None),
    ]
    orders, search = found.databases
    assert (orders.taken, orders.left, orders.room, orders.unknown) == (50, 50, 1, ())
    assert (search.taken, search.left, search.room, search.unknown) == (20, 480, None, ("a-1",))
    (note,) = found.notes
    assert note.message.startswith("how many connections a-1 opens to the database search is not stated")


def test_names_in_a_sentence() -> None:
    assert [enumerated([*"abcdefg"][:count]) for count in (0, 1, 2, 3, 5, 6)] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b, c, d and e",
        "a, b, c, d, e and 1 more",
    ]


names = ["a-1", "a-2", "b-1", "c-1"]


@given(
    st.lists(st.one_of(st.none(), st.integers(50, 400)), min_size=4, max_size=4),
    st.lists(st.tuples(st.integers(1, 200), st.permutations(names)), max_size=6),
)
def test_any_pool_is_what_one_reckons_by_hand(
    capacities: list[int | None], wishes: list[tuple[int, list[str]]]
) -> None:
    fleet = fleet_of(
        {
            name: {"requestsPerSecond": float(capacity)} if capacity else None
            for name, capacity in zip(names, capacities, strict=True)
        },
        classes={"standard": STANDARD},
    )
    groups = {}
    for number, (demand, order) in enumerate(wishes):
        second = next(name for name in order[1:] if name[0] != order[0][0])
        groups[f"g-{number}"] = ("standard", float(demand), [order[0], second])
    requests = reported(fleet, groups).pools[0].amounts[0]
    known = {name: capacity for name, capacity in zip(names, capacities, strict=True) if capacity}

    def left(lost: str) -> float:
        load = dict.fromkeys(names, 0.0)
        for _, demand, (first, second) in groups.values():
            load[second if first[0] == lost else first] += demand
        return sum(max(capacity - load[name], 0) for name, capacity in known.items() if name[0] != lost)

    assert requests.used == pytest.approx(sum(demand for _, demand, _ in groups.values()))
    if not known:
        assert (requests.capacity, requests.left, requests.left_after_loss) == (None, None, None)
    else:
        assert requests.capacity == sum(known.values())
        assert requests.left == pytest.approx(left(""))
        assert requests.left_after_loss == pytest.approx(min(left(lost) for lost in ["", *"abc"]))

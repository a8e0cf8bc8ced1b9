"""What would be: counted by hand on small fleets, and what is advised is true."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopset.core.fleets import Fleet
from shopset.core.placement.modelling import Model, model
from shopset.core.placement.placements import Group, Placement
from shopset.core.placement.shops import Shops
from shopset.core.placement.simulating import (
    Change,
    Outcome,
    UnknownDomainError,
    lost_shopsets,
    parse_factor,
    parse_loss,
    simulate,
)
from shopset.core.placement.solving import solve
from support.placing import SINGLE, STANDARD, even_fleet, make_shops, placing_fleet

CLUSTERS = {
    "a": {"provider": "aws", "region": "tokyo"},
    "b": {"provider": "aws", "region": "osaka"},
    "c": {"provider": "gcp", "region": "tokyo"},
    "d": {"provider": "gcp", "region": "osaka"},
}


def placed(fleet: Fleet, groups: Mapping[str, tuple[str, float, Sequence[str]]], **fields: Any) -> Model:
    """Return the model of groups with one shop each: name -> class, demand, replicas."""
    shops = make_shops([(f"of-{name}", shop_class, demand) for name, (shop_class, demand, _) in groups.items()])
    found = {
        name: Group(name, shop_class, tuple(replicas), **fields)
        for name, (shop_class, _, replicas) in sorted(groups.items())
    }
    return model(fleet, shops, Placement(found, {f"of-{name}": name for name in groups}), {})


def settled(fleet: Fleet, shops: Shops) -> Model:
    """Return the model of shops with a group of their own each, where the planner put them."""
    groups = {
        name: Group(name, shops.class_names[number], ())
        for name, number in zip(shops.names, shops.classes, strict=True)
    }
    members = {name: name for name in shops.names}
    found = model(fleet, shops, Placement(groups, members), {})
    legs = solve(found.problem).legs
    there = {each.name: replace(each, replicas=found.replicas(legs[row])) for row, each in enumerate(found.groups)}
    return model(fleet, shops, Placement(there, members), {})


def test_who_is_down_and_who_is_degraded() -> None:
    fleet = even_fleet("abc", 1)
    found = placed(
        fleet,
        {
            "both": ("standard", 100.0, ["a-1", "b-1"]),
            "other": ("standard", 50.0, ["b-1", "c-1"]),
            "alone": ("single", 30.0, ["a-1"]),
        },
    )
    outcome = simulate(fleet, found, Change(lose=(("cluster", "a"),)))
    assert (outcome.lost, outcome.shops, outcome.touched, outcome.down) == (("a-1",), 3, 2, 1)
    assert outcome.down_groups == ("alone",)
    assert outcome.moves == outcome.least_moves == 2
    single, standard = outcome.classes
    assert (single.name, single.touched, single.down, single.unplaced) == ("single", 1, 1, 0)
    assert (standard.touched, standard.down, standard.degraded, standard.unplaced) == (1, 0, 0, 0)
    b = outcome.requests["b-1"]
    assert (b.before, b.during, b.capacity) == (50.0, 150.0, 1000.0)
    assert outcome.requests["a-1"].after == 0
    assert sum(each.after for each in outcome.requests.values()) == pytest.approx(180)
    assert outcome.during.worst is not None
    assert (outcome.during.worst.shopset, outcome.during.worst.share) == ("b-1", 0.15)


def test_with_two_clusters_left_of_two_nothing_is_left() -> None:
    fleet = even_fleet("ab", 1)
    found = placed(fleet, {"both": ("standard", 100.0, ["a-1", "b-1"])})
    outcome = simulate(fleet, found, Change(lose=(("cluster", "a"),)))
    (standard,) = outcome.classes
    assert (standard.down, standard.degraded, standard.unplaced) == (0, 1, 0)
    assert (outcome.after.is_safe, outcome.after.down_after_loss) == (False, 1)
    (short,) = outcome.shortages
    assert "1 shop would lack a replica in a domain of its own" in short.message
    assert (
        "add 1 prod ShopSet of 1,000 requests/s on a cluster in a domain of its own, outside cluster a" in short.advice
    )
    outcome = simulate(fleet, found, Change(lose=(("cluster", "a"), ("shopset", "b-1"))))
    (standard,) = outcome.classes
    assert (standard.down, standard.degraded, standard.unplaced) == (1, 0, 1)


def test_what_is_advised_is_enough() -> None:
    shops = make_shops([(f"s-{n:02}", "standard", 100.0) for n in range(20)])
    fleet = even_fleet("abc", 1, 1000.0)
    found = settled(fleet, shops)
    assert not simulate(fleet, found, Change()).shortages
    grown = simulate(fleet, found, Change(demand=1.5))
    (short,) = grown.shortages
    assert short.tier == "prod"
    assert "would overload by" in short.message
    number = int(short.advice.split()[1])
    clusters: dict[str, dict[str, str]] = {name: {} for name in [*"abc", *(f"n-{n}" for n in range(number))]}
    capacity = {"requestsPerSecond": 1000.0}
    shopsets = {f"{name}-1": {"cluster": name, "capacity": capacity} for name in clusters}
    wider = placing_fleet(clusters, shopsets)
    assert not simulate(wider, settled(wider, shops), Change(demand=1.5)).shortages
    fewer = {name: each for name, each in shopsets.items() if name != f"n-{number - 1}-1"}
    narrower = placing_fleet(clusters, fewer)
    assert simulate(narrower, settled(narrower, shops), Change(demand=1.5)).shortages


@pytest.mark.parametrize(
    ("shop_class", "replicas"), [("single", ["a-1"]), ("standard", ["a-1", "b-1"])], ids=["overloaded", "not N-1 safe"]
)
def test_loads_that_are_only_uneven_need_no_shopset(shop_class: str, replicas: list[str]) -> None:
    """1,600 requests/s in all, on four ShopSets that bear 1,000 each: either moves cure it, or a rebalance is advised."""
    fleet = even_fleet("abcd", 1)
    outcome = simulate(fleet, placed(fleet, {f"g-{n}": (shop_class, 200.0, replicas) for n in range(8)}), Change())
    assert outcome.before.worst_after_loss is not None
    assert outcome.before.worst_after_loss.share > 1
    assert outcome.moves or outcome.shortages
    assert all(each.advice.startswith("no ShopSet is missing: shopctl rebalance") for each in outcome.shortages)


def test_more_shopsets_do_not_help_a_shop_that_is_larger_than_one() -> None:
    fleet = even_fleet("abcd", 1)
    found = placed(fleet, {"big": ("single", 700.0, ["a-1"]), "small": ("single", 10.0, ["b-1"])})
    (short,) = simulate(fleet, found, Change(demand=2.0)).shortages
    assert short.message == "a-1 would overload by 400 requests/s"
    assert short.advice.startswith("big takes more than one ShopSet bears: spread it over more replicas")


def test_demand_of_one_class_grows() -> None:
    fleet = even_fleet("ab", 1)
    found = placed(fleet, {"x": ("standard", 100.0, ["a-1", "b-1"]), "y": ("single", 40.0, ["a-1"])})
    outcome = simulate(fleet, found, Change(demand=3.0, classes=("single",)))
    assert (outcome.requests["a-1"].before, outcome.requests["a-1"].during) == (140.0, 220.0)
    assert (outcome.touched, outcome.down, outcome.moves) == (0, 0, 0)


def test_a_capacity_that_nobody_stated_is_a_note_and_never_a_load() -> None:
    clusters: dict[str, dict[str, str]] = {"a": {}, "b": {}}
    shopsets: dict[str, dict[str, Any]] = {
        "a-1": {"cluster": "a"},
        "b-1": {"cluster": "b", "capacity": {"requestsPerSecond": 1000.0}},
    }
    fleet = placing_fleet(clusters, shopsets)
    found = placed(fleet, {"x": ("single", 5000.0, ["a-1"]), "y": ("single", 10.0, ["b-1"])})
    outcome = simulate(fleet, found, Change())
    assert outcome.requests["a-1"].capacity is None
    assert outcome.before.worst is not None
    assert (outcome.before.worst.shopset, outcome.before.worst.capacity) == ("b-1", 1000.0)
    (note,) = outcome.notes
    assert note.resource == "Tier/prod"
    assert note.message.startswith("a-1 has no capacity: its load is not checked. State spec.capacity")
    bare = placing_fleet(clusters, {name: {"cluster": each["cluster"]} for name, each in shopsets.items()})
    nothing = simulate(bare, placed(bare, {"x": ("single", 5000.0, ["a-1"])}), Change())
    assert (nothing.before.worst, nothing.after.is_safe, nothing.shortages) == (None, None, ())


def test_domains_of_every_level_can_be_lost() -> None:
    shopsets = {f"{name}-1": {"cluster": name} for name in CLUSTERS}
    fleet = placing_fleet(CLUSTERS, shopsets, levels=("cluster", "region"))
    assert lost_shopsets(fleet, [("region", "tokyo")]) == {"a-1", "c-1"}
    assert lost_shopsets(fleet, [("provider", "aws")]) == {"a-1", "b-1"}
    assert lost_shopsets(fleet, [("cluster", "a"), ("shopset", "d-1")]) == {"a-1", "d-1"}
    assert lost_shopsets(fleet, []) == frozenset()


@pytest.mark.parametrize(
    ("level", "domain", "words"),
    [
        ("region", "kyoto", "no region 'kyoto'; there are osaka and tokyo"),
        ("cluster", "z", "there are a, b, c and d"),
        ("rack", "r1", "no cluster has a rack; what can be lost is a cluster, a provider, a region, a shopset"),
        ("shopset", "z-1", "there are a-1, b-1, c-1 and d-1"),
    ],
)
def test_what_is_not_there_cannot_be_lost(level: str, domain: str, words: str) -> None:
    fleet = placing_fleet(CLUSTERS, {f"{name}-1": {"cluster": name} for name in CLUSTERS})
    with pytest.raises(UnknownDomainError, match=words):
        lost_shopsets(fleet, [(level, domain)])


def test_words_that_say_nothing() -> None:
    assert (parse_factor("x2"), parse_factor("1.5"), parse_loss("region=tokyo")) == (2.0, 1.5, ("region", "tokyo"))
    for text in ("", "x", "x0", "-1", "xnan", "1e3", "x2x", "inf"):
        with pytest.raises(UnknownDomainError, match="no factor"):
            parse_factor(text)
    for text in ("", "a", "=a", "cluster="):
        with pytest.raises(UnknownDomainError, match="nothing to lose"):
            parse_loss(text)
    fleet = even_fleet("ab", 1)
    with pytest.raises(UnknownDomainError, match="no ShopClass 'gold'; there are single and standard"):
        simulate(fleet, placed(fleet, {"x": ("single", 1.0, ["a-1"])}), Change(classes=("gold",)))


names = ["a-1", "a-2", "b-1", "b-2", "c-1"]


@st.composite
def placements(draw: st.DrawFn) -> dict[str, tuple[str, float, list[str]]]:
    found = {}
    for number in range(draw(st.integers(1, 8))):
        standard = draw(st.booleans())
        if standard:
            one, other = draw(st.permutations("abc").map(lambda found: found[:2]))
            replicas = [draw(st.sampled_from([each for each in names if each[0] == of])) for of in (one, other)]
        else:
            replicas = [draw(st.sampled_from(names))]
        found[f"g-{number}"] = ("standard" if standard else "single", float(draw(st.integers(1, 300))), replicas)
    return found


@settings(max_examples=40)
@given(placements(), st.lists(st.sampled_from([*"abc"]), max_size=2, unique=True), st.integers(1, 3))
def test_what_happens_at_once_is_what_one_counts_by_hand(
    groups: dict[str, tuple[str, float, list[str]]], lose: list[str], factor: int
) -> None:
    capacity = {"requestsPerSecond": 4000.0}
    fleet = placing_fleet(
        {name: {} for name in "abc"},
        {name: {"cluster": name[0], "capacity": capacity} for name in names},
        {"standard": STANDARD, "single": SINGLE},
    )
    change = Change(lose=tuple(("cluster", name) for name in lose), demand=float(factor))
    outcome = simulate(fleet, placed(fleet, groups), change)
    living = {name: [each for each in replicas if each[0] not in lose] for name, (_, _, replicas) in groups.items()}
    assert outcome.touched == sum(len(living[name]) < len(groups[name][2]) for name in groups)
    assert set(outcome.down_groups) == {name for name in groups if not living[name]}
    for shopset in names:
        before = sum(demand for _, demand, replicas in groups.values() if replicas[0] == shopset)
        during = sum(demand * factor for name, (_, demand, _) in groups.items() if living[name][:1] == [shopset])
        assert outcome.requests[shopset].before == pytest.approx(before)
        assert outcome.requests[shopset].during == pytest.approx(during)
    check_afterwards(outcome, groups, lose, factor)


def check_afterwards(
    outcome: Outcome, groups: dict[str, tuple[str, float, list[str]]], lose: list[str], factor: int
) -> None:
    """All are served where a cluster is left, and a second replica is there where two are."""
    assert all(outcome.requests[name].after == 0 for name in names if name[0] in lose)
    total = sum(demand * factor for _, demand, _ in groups.values())
    assert sum(each.after for each in outcome.requests.values()) == pytest.approx(total)
    degraded = sum(each.degraded for each in outcome.classes)
    assert degraded == (sum(of == "standard" for of, _, _ in groups.values()) if len(lose) == 2 else 0)
    assert sum(each.unplaced for each in outcome.classes) == 0
    assert outcome.moves >= outcome.least_moves
    worst = max(each.after / 4000.0 for each in outcome.requests.values())
    assert outcome.after.worst is not None
    assert outcome.after.worst.share == pytest.approx(worst)
    redundant = sum(of == "standard" for of, _, _ in groups.values())
    assert outcome.after.down_after_loss == (redundant if len(lose) == 2 else 0)
    assert outcome.after.is_safe is not bool(outcome.after.down_after_loss)

"""Groups: every shop is in exactly one of its class, and neither order nor history of a shop's coming moves another."""

import random
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shopset.core.placement.grouping import home_of, is_shared, join, own_group, regroup
from shopset.core.placement.placements import Group, Placement
from shopset.core.placement.shops import Shops
from support.placing import even_fleet, make_shops

FLEET = even_fleet("abc", 2)
COARSE = even_fleet("abc", 2, placement={"groupsPerShopset": 1})


def shops_of(number: int, demand: float = 1.0, shop_class: str = "standard") -> list[tuple[str, str, float]]:
    return [(f"shop-{n:05}", shop_class, demand) for n in range(number)]


def check(shops: Shops, placement: Placement) -> None:
    """Every shop of a known class is in one group of its class; a shared group is the only one on the way to it."""
    assert set(placement.members) == set(shops.names)
    for name, number in zip(shops.names, shops.classes, strict=True):
        group = placement.groups[placement.members[name]]
        assert group.shop_class == shops.class_names[number]
        if is_shared(group.name):
            assert join(placement.groups, group.shop_class, name) == group.name
        else:
            assert group.name == own_group(group.shop_class, name)
    assert set(placement.groups) == set(placement.members.values())
    shared = sorted(name for name in placement.groups if is_shared(name))
    assert not any(two.startswith(one) for one, two in pairwise(shared))


def serve(placement: Placement, replicas: tuple[str, ...] = ("a-1", "b-1")) -> Placement:
    return placement.with_groups(
        Group(each.name, each.shop_class, replicas) for each in placement.groups.values() if not each.replicas
    )


def test_a_class_has_about_as_many_groups_as_asked_for() -> None:
    shops = make_shops(shops_of(20_000))
    found = regroup(FLEET, shops, Placement()).placement
    check(shops, found)
    assert 80 <= len(found.groups) <= 300


def test_a_large_shop_has_a_group_of_its_own() -> None:
    shops = make_shops([*shops_of(5_000), ("giant", "standard", 900.0)])
    found = regroup(FLEET, shops, Placement()).placement
    check(shops, found)
    assert found.members["giant"] == "standard/giant"
    assert is_shared(found.members["shop-00001"])


def test_nothing_to_do_is_nothing() -> None:
    shops = make_shops(shops_of(500))
    placement = serve(regroup(FLEET, shops, Placement()).placement)
    again = regroup(FLEET, shops, placement)
    assert again.placement is placement
    assert (again.joined, again.left, again.split, again.merged) == ((), (), (), ())


def test_a_new_shop_moves_no_other() -> None:
    few = shops_of(3_000)
    placement = serve(regroup(FLEET, make_shops(few), Placement()).placement)
    found = regroup(FLEET, make_shops([*few, ("hoge", "standard", 1.0)]), placement)
    assert found.joined == ("hoge",)
    assert {name: found.placement.members[name] for name, _, _ in few} == dict(placement.members.items())
    assert found.placement.groups[found.placement.members["hoge"]].replicas == ("a-1", "b-1")


def test_a_group_that_has_grown_divides_and_its_halves_stay_where_it_was() -> None:
    few = shops_of(400)
    placement = serve(regroup(COARSE, make_shops(few), Placement()).placement)
    name = next(iter(sorted(placement.groups)))
    crowd = [
        (f"crowd-{n}", "standard", 1.0)
        for n in range(8_000)
        if join(placement.groups, "standard", f"crowd-{n}") == name
    ]
    shops = make_shops([*few, *crowd])
    found = regroup(COARSE, shops, placement)
    check(shops, found.placement)
    assert name in found.split
    assert {each.replicas for each in found.placement.groups.values()} == {("a-1", "b-1")}
    for half in found.placement.groups:
        home = home_of(placement.groups, half)
        assert home is not None
        assert half.startswith(home.name) or home.name.startswith(half)


def test_halves_that_are_small_become_one_where_they_have_the_same_replicas() -> None:
    many = shops_of(2_000)
    placement = serve(regroup(FLEET, make_shops(many), Placement()).placement)
    few = make_shops([*many[:300], ("giant", "single", 100.0)])
    coarse = regroup(COARSE, few, placement)
    check(few, coarse.placement)
    assert coarse.merged
    apart = placement.with_groups(
        Group(each.name, each.shop_class, ("b-1", "c-1") if each.name.endswith("1") else each.replicas)
        for each in placement.groups.values()
    )
    assert not regroup(COARSE, few, apart).merged


def test_a_shop_that_changes_its_class_joins_a_group_of_that_class() -> None:
    placement = serve(regroup(FLEET, make_shops(shops_of(50)), Placement()).placement)
    changed = make_shops([*shops_of(49), ("shop-00049", "single", 1.0)])
    found = regroup(FLEET, changed, placement)
    check(changed, found.placement)
    assert found.joined == ("shop-00049",)


EVENTS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "grow"]), st.integers(1, 200), st.floats(0.1, 50.0)), max_size=8
)


@settings(max_examples=25)
@given(EVENTS, st.randoms(use_true_random=False))
def test_whatever_comes_and_goes_every_shop_is_in_one_group(
    events: list[tuple[str, int, float]], dice: random.Random
) -> None:
    present: dict[str, tuple[str, str, float]] = {}
    placement = Placement()
    for kind, number, demand in events:
        names = sorted(present)
        for _ in range(number):
            if kind == "add":
                name = f"s{dice.randrange(10_000)}"
                present[name] = (name, dice.choice(["standard", "single"]), demand)
            elif names:
                name = dice.choice(names)
                if kind == "remove":
                    present.pop(name, None)
                elif name in present:
                    present[name] = (name, present[name][1], demand * 10)
        shops = make_shops(present.values())
        before = placement
        placement = regroup(COARSE, shops, placement).placement
        check(shops, placement)
        for name in set(before.members) & set(placement.members):
            one, two = before.groups[before.members[name]], placement.groups[placement.members[name]]
            if one.shop_class == two.shop_class:
                assert one.replicas == two.replicas, "no shop changes its replicas by regrouping"
        placement = serve(placement, dice.choice([("a-1", "b-1"), ("c-2", "b-1")]))


def test_bits_do_not_depend_on_the_process(monkeypatch: Any) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    assert join({}, "standard", "hoge") == "standard#"
    assert join({"standard#00": Group("standard#00", "standard", ())}, "standard", "hoge") in (
        "standard#00",
        "standard#01",
        "standard#10",
        "standard#11",
    )

"""A source that is away empties nothing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shopset.core.placement.edges import EdgeFacts, EdgeShop, RateLimit
from shopset.core.placement.grouping import regroup
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.core.placement.shops import EdgeWish, Shops
from shopset.core.placement.staying import with_staying
from support.placing import even_fleet, make_shops

NAMES = tuple("abcdefgh")
names = st.sets(st.sampled_from(NAMES))


def placement(of: set[str]) -> Placement:
    groups = [Group("single#0", "single", ("a-1",)), Group("single#1", "single", ("b-1",))]
    return Placement.of(
        groups, [PlacedShop(name, groups[NAMES.index(name) % 2].name, (f"{name}.old.com",)) for name in of]
    )


@given(read=names, placed=names, unread=names, earlier=names)
def test_who_stays(read: set[str], placed: set[str], unread: set[str], earlier: set[str]) -> None:
    shops, known = (
        make_shops([(name, "standard", demand) for name in of]) for of, demand in ((read, 2.0), (earlier, 7.0))
    )
    for is_whole in (True, False):
        found = with_staying(shops, placement(placed), unread, is_whole=is_whole, known=known)
        staying = (placed - read) if not is_whole else (placed & unread) - read
        assert list(found.names) == sorted(read | staying)
        for row, name in enumerate(found.names):
            shop_class, demand = found.class_names[found.classes[row]], found.demand[row][0]
            if name in read:
                assert (shop_class, demand, found.hosts[row]) == ("standard", 2.0, (f"{name}.example.com",))
            else:
                assert (shop_class, found.hosts[row]) == ("single", (f"{name}.old.com",))
                assert demand == 7.0 if name in earlier else np.isnan(demand)


def test_the_placement_keeps_them_where_they_are() -> None:
    before, fleet = placement(set(NAMES)), even_fleet("ab", 1)
    nothing = make_shops([])
    kept = with_staying(nothing, before, frozenset(), is_whole=False)
    assert whereabouts(regroup(fleet, kept, before).placement) == whereabouts(before)
    gone = with_staying(nothing, before, frozenset(), is_whole=True)
    assert whereabouts(regroup(fleet, gone, before).placement) == {}


def whereabouts(found: Placement) -> dict[str, tuple[object, ...]]:
    """Return shop -> its hosts and replicas; its group may have been divided."""
    places = {name: where for name in NAMES if (where := found.shop(name)) is not None}
    return {name: (where.shop.hosts, where.group.replicas) for name, where in places.items()}


def test_pins_keep_their_shops() -> None:
    shops = make_shops([("b", "single", 1.0), ("d", "single", 1.0)])
    pinned = type(shops)(shops.names, shops.hosts, shops.class_names, shops.classes, shops.demand, {1: ("a-1",)})
    found = with_staying(pinned, placement({"a", "c"}), frozenset(), is_whole=False)
    assert {found.names[row]: pins for row, pins in found.pins.items()} == {"d": ("a-1",)}


def test_they_are_served_by_the_edge_as_before() -> None:
    shops = make_shops([("b", "single", 1.0), ("d", "single", 1.0)])
    read = Shops(shops.names, shops.hosts, shops.class_names, shops.classes, shops.demand, edge={1: EdgeWish(3.0)})
    special = {"a": EdgeShop("a", RateLimit(2.0)), "b": EdgeShop("b", maintenance=True), "c": EdgeShop("c", None, True)}
    placed = placement({"a", "b", "c"}).with_edge(EdgeFacts(shops=special))
    found = with_staying(read, placed, frozenset(), is_whole=False)
    assert {found.names[row]: wish for row, wish in found.edge.items()} == {
        "a": EdgeWish(2.0, 0),
        "c": EdgeWish(maintenance=True),
        "d": EdgeWish(3.0),
    }

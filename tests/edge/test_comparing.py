"""What is told of the difference between two placements."""

from dataclasses import replace

from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeSettings, EdgeShop, EdgeShopSet, RateLimit
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.edge.comparing import Comparison, GroupChange, Rule, compare

FACTS = EdgeFacts(
    shopsets={"a-1": EdgeShopSet("a-1", "http://a.example.com")},
    classes={"standard": EdgeClass("standard", limit=RateLimit(10.0, 5))},
)
GROUPS = (Group("standard#0", "standard", ("a-1", "b-1")), Group("standard#1", "standard", ("b-1",)))
SHOPS = (
    PlacedShop("foo", "standard#0", ("foo.example.com", "www.foo.example.com")),
    PlacedShop("bar", "standard#0", ("bar.example.com",)),
    PlacedShop("baz", "standard#1", ("baz.example.com",)),
)
BEFORE = Placement.of(GROUPS, SHOPS, FACTS)


def test_nothing_differs_from_itself() -> None:
    assert compare(BEFORE, Placement.of(GROUPS, SHOPS, FACTS)).is_empty


def test_hosts_come_go_and_are_handed_over() -> None:
    found = compare(
        BEFORE,
        BEFORE.without_shops(["bar"]).with_shops(
            [
                PlacedShop("foo", "standard#0", ("foo.example.com", "new.example.com")),
                PlacedShop("baz", "standard#1", ("baz.example.com", "bar.example.com")),
            ]
        ),
    )
    assert (found.added, found.removed) == (("new.example.com",), ("www.foo.example.com",))
    assert found.handed == {"bar.example.com": ("bar", "baz")}
    assert (found.groups, found.regrouped, found.rules) == ((), 0, ())


def test_a_moved_group_counts_its_shops() -> None:
    found = compare(BEFORE, BEFORE.with_groups([replace(GROUPS[0], replicas=("c-1", "b-1"))]))
    assert found == Comparison(groups=(GroupChange("standard#0", ("a-1", "b-1"), ("c-1", "b-1"), 2),))


def test_a_group_that_is_gone_counts_the_shops_that_it_had() -> None:
    left = BEFORE.without_shops(["baz"]).with_groups([], without=["standard#1"])
    found = compare(BEFORE, left)
    assert found.groups == (GroupChange("standard#1", ("b-1",), (), 1),)
    assert found.removed == ("baz.example.com",)


def test_shops_that_change_their_group_are_counted() -> None:
    found = compare(BEFORE, BEFORE.with_shops([PlacedShop("bar", "standard#1", ("bar.example.com",))]))
    assert found == Comparison(regrouped=1)


def test_rules_are_told_with_what_they_were() -> None:
    facts = EdgeFacts(
        settings=EdgeSettings(redirect="Https"),
        shopsets={
            "a-1": EdgeShopSet("a-1", "https://a.example.com", concurrency=5),
            "b-1": EdgeShopSet("b-1", "http://b"),
        },
        classes={"standard": EdgeClass("standard", limit=RateLimit(12.5, 5), weights=(60, 40))},
        shops={"foo": EdgeShop("foo", maintenance=True)},
    )
    assert compare(BEFORE, BEFORE.with_edge(facts)).rules == (
        Rule("settings", ("redirect None -> Https",)),
        Rule("ShopSet a-1", ("endpoint http://a.example.com -> https://a.example.com", "concurrency none -> 5")),
        Rule("ShopSet b-1", ("added",)),
        Rule("class standard", ("limit.requests_per_second 10 -> 12.5", "weights none -> 60, 40")),
        Rule("shop foo", ("added",)),
    )

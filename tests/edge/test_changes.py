"""What lies over the large map makes it what another commit says."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeShop, EdgeShopSet
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.edge.changes import Side, compare, counted, differing_paths, judge, overlay, spare_backends
from shopset.edge.routes import GONE, ROUTE_PREFIX, host_entries, routes
from support.edge_agents import placement

NAMES = [f"shop-{number}" for number in range(12)]
GROUPS = [f"standard#{number}" for number in range(3)]
SHOPSETS = ["a-1", "b-1", "c-1"]


def side(placed: Placement, backends: Mapping[str, str] | None = None) -> Side:
    return Side(placed.edge, placed.groups, routes(placed.edge, placed.groups, placed.members, backends))


def table(placed: Placement, of: Side) -> dict[str, str]:
    """Return the large map of a placement."""
    found: dict[str, str] = {}
    for shard in placed.shards.values():
        for host, value in host_entries(shard, of.facts, of.routes):
            found.setdefault(host, value)
    return found


def seen(hosts: Mapping[str, str], moved: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return host -> shop and route, as HAProxy's rules read two maps."""
    found = {}
    for host, value in {**hosts, **moved}.items():
        if value != GONE and not host.startswith(ROUTE_PREFIX):
            shop, route, text = value.split(":", 2)
            found[host] = (shop, moved.get(route, text))
    return found


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    groups = {name: draw(st.permutations(SHOPSETS))[: draw(st.integers(1, 3))] for name in GROUPS}
    members = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(GROUPS)))
    # Hosts go from shop to shop, but no two have the same.
    owners = draw(st.permutations(range(len(NAMES))))
    special = draw(st.sets(st.sampled_from(NAMES), max_size=3))
    return placement(
        groups,
        members,
        {name: f"http://{name}.example.com" for name in SHOPSETS},
        special=[EdgeShop(name, maintenance=draw(st.booleans())) for name in special],
        hosts=lambda shop: (f"h{owners[NAMES.index(shop)]}.example.com",),
    )


@given(placements(), placements())
def test_base_and_overlay_together_are_the_other_commit(before: Placement, after: Placement) -> None:
    old, new = side(before), side(after)
    paths = differing_paths(blobs(before), blobs(after), old.facts, new.facts)
    pairs = ((before.shards.get(path[6:9], ()), after.shards.get(path[6:9], ())) for path in paths)
    changes = compare(pairs, old, new, 10_000)
    assert seen(table(before, old), overlay(changes, old, new)) == seen(table(after, new), {})
    assert changes.dropped == len(table(before, old).keys() - table(after, new).keys())
    hosts = {name: sum(len(shop.hosts) for shop in shops_of(before, name)) for name in GROUPS}
    assert counted({name: count for name, count in hosts.items() if count}, changes) == {
        name: count for name in GROUPS if (count := sum(len(shop.hosts) for shop in shops_of(after, name)))
    }
    assert compare([], old, new, 10_000).entries == {}


def blobs(placed: Placement) -> dict[str, str]:
    return {f"shops/{key}.jsonl": str(hash(shard)) for key, shard in placed.shards.items()}


def shops_of(placed: Placement, group: str) -> list[PlacedShop]:
    return [shop for shard in placed.shards.values() for shop in shard if shop.group == group]


def facts(*shopsets: str) -> EdgeFacts:
    known = {name: EdgeShopSet(name, f"http://{name}.example.com") for name in shopsets}
    return EdgeFacts(shopsets=known, classes={"standard": EdgeClass("standard")})


def with_groups(of: EdgeFacts, **groups: tuple[str, ...]) -> Side:
    made = {name: Group(name, "standard", replicas) for name, replicas in groups.items()}
    return Side(of, made, routes(of, made, {}))


def shops(group: str, count: int) -> list[PlacedShop]:
    return [PlacedShop(f"{group}-{number}", group, (f"{group}-{number}.example.com",)) for number in range(count)]


def test_hosts_that_would_be_served_by_nobody_are_counted_wherever_they_are() -> None:
    """In files that differ, and in those that do not: there the group alone has changed."""
    old, new = with_groups(facts("a"), x=("a",), y=("a",)), with_groups(facts("a"), x=("b",), y=("a",))
    unchanged = compare([], old, new, 0)
    assert (
        judge(unchanged, {"x": 7, "y": 3}, old, new).reason
        == "7 of 10 hosts would have no ShopSet that this edge knows"
    )
    moved = compare([(shops("y", 3), [shop._replace(group="x") for shop in shops("y", 3)])], old, new, 100)
    assert judge(moved, {"x": 10}, old, new).orphans == 10
    came = compare([((), shops("x", 3))], old, new, 100)
    assert judge(came, {"x": 3, "y": 3}, old, new).reason == "", "nobody was ever led there"
    assert judge(came, {"x": 3, "y": 3}, new, new).reason == ""


def test_a_large_drop_is_told_and_a_small_one_is_not() -> None:
    of = with_groups(facts("a"), x=("a",))
    some = compare([(shops("x", 101), ())], of, of, 1000)
    assert judge(some, {"x": 900}, of, of).reason == "101 of 1,001 hosts would be gone at once"
    assert judge(some, {"x": 1000}, of, of).reason == ""
    assert judge(compare([(shops("x", 100), ())], of, of, 1000), {}, of, of).reason == "", "a hundred may always go"


def test_more_than_is_to_be_collected_is_cut_and_still_counted() -> None:
    of = with_groups(facts("a"), x=("a",))
    changes = compare([(shops("x", 5), ()), ((), shops("x", 2))], of, of, 4)
    assert (changes.is_cut, changes.entries, changes.dropped) == (True, {}, 3)


@given(st.sets(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("abcdefgh")), st.integers(0, 4))
def test_a_shopset_keeps_its_spare(first: set[str], second: set[str], count: int) -> None:
    named = {"a", "b"}
    kept = spare_backends(first, named, {}, count)
    if kept is None:
        assert len(first - named) > count
        return
    assert kept.keys() == first - named
    found = spare_backends(second, named, kept, count)
    if found is not None:
        assert found.keys() == second - named
        assert len(set(found.values())) == len(found)
        assert all(found[name] == backend for name, backend in kept.items() if name in found)

"""Of several shops with one name or one host, one is taken: judged by a slow and plain oracle."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shopset.api import Shop
from shopset.core.placement.claims import settle
from shopset.core.placement.shops import EdgeWish, Shops
from shopset.core.placement.tables import Table, from_resources

Row = tuple[str, str, tuple[str, ...], float]
"""Name, class, hosts, creation time."""


def table(source: str, rows: Sequence[Row], **more: object) -> Table:
    classes = sorted({row[1] for row in rows})
    shops = Shops(
        [row[0] for row in rows],
        [row[2] for row in rows],
        tuple(classes),
        np.array([classes.index(row[1]) for row in rows], np.int32),
        np.array([[index, math.nan] for index in range(len(rows))], np.float64).reshape(-1, 2),
        {index: (f"{source}-{row[0]}",) for index, row in enumerate(rows)},
        {index: EdgeWish(burst=index) for index in range(1, len(rows))},
    )
    created = np.array([row[3] for row in rows], np.float64)
    return Table(source, shops, ((0, source),), np.arange(1, len(rows) + 1, dtype=np.int32), created, **more)  # type: ignore[arg-type]


def told(
    tables: Sequence[Table], incumbents: Mapping[str, str] | None = None, classes: set[str] | None = None
) -> list[str]:
    return [str(problem) for problem in settle(tables, incumbents or {}, classes).problems]


A, B = "a.example.com", "b.example.com"


def test_the_loser_of_a_host_is_told_who_has_it_and_why() -> None:
    first = table("first.csv", [("one", "c", (A,), math.nan)])
    second = table("second.csv", [("two", "c", (A, B), math.nan)])
    assert told([first, second]) == [
        (
            f"second.csv:1: two: hosts: the host {A} is taken by the shop one, whose source comes first (first.csv:1):"
            " a host leads to one shop"
        )
    ]
    assert told([first, second], {A: "two"}) == [
        (
            f"first.csv:1: one: hosts: the host {A} is taken by the shop two, which is placed with it (second.csv:1):"
            " a host leads to one shop; this one has no other, and is not placed"
        )
    ]
    aged = table("a.csv", [("one", "c", (A,), 2.0), ("two", "c", (A, B), 1.0), ("wild", "c", ("*.example.com",), 3.0)])
    assert told([aged]) == [
        (
            f"a.csv:1: one: hosts: the host {A} is taken by the shop two, which is older (a.csv:2):"
            " a host leads to one shop; this one has no other, and is not placed"
        )
    ]
    assert "whose name comes first" in told([table("a.csv", [("z", "c", (A,), 1.0), ("y", "c", (A,), 1.0)])])[0]


def test_one_name_twice_is_told() -> None:
    tables = [
        table("a.csv", [("one", "c", (A,), 1.0)]),
        table("b.csv", [("one", "c", (B,), 0.0), ("two", "c", (B,), 5.0)]),
    ]
    settled = settle(tables, {})
    assert told(tables) == [
        "b.csv:1: one: name: there is a shop one already, at a.csv:1: rename or remove one of them; the first is taken"
    ]
    assert dict(zip(settled.shops.names, settled.shops.hosts, strict=True)) == {"one": (A,), "two": (B,)}


def test_an_unknown_class_is_a_problem_of_its_shops_and_gives_nobody_their_hosts() -> None:
    tables = [table("a.csv", [("one", "gone", (A,), 1.0), ("two", "c", (A, B), 2.0)])]
    settled = settle(tables, {}, {"c"})
    assert dict(zip(settled.shops.names, settled.shops.hosts, strict=True)) == {"two": (B,)}
    assert (
        told(tables, {}, {"c"})[0]
        == "a.csv:1: one: class: there is no ShopClass gone: add it, or name another: there are c"
    )


def test_very_many_shops_of_an_unknown_class_are_counted() -> None:
    rows = [(f"s{number:04}", "gone", (f"s{number:04}.example.com",), 1.0) for number in range(1500)]
    found = told([table("a.csv", rows)], {}, {"c"})
    assert len(found) == 1001
    assert "this and 499 more have the ShopClass gone" in found[-1]


def test_a_shop_that_cannot_be_read_now_keeps_its_hosts() -> None:
    rows: list[Row] = [("two", "c", (A, B), 2.0)]
    incumbents = {A: "one"}
    assert settle([table("a.csv", rows)], incumbents).shops.hosts == [(A, B)]
    for away in (table("a.csv", rows, unread=frozenset({"one"})), table("a.csv", rows, is_whole=False)):
        settled = settle([away], incumbents)
        assert settled.shops.hosts == [(B,)]
        assert f"{A} is taken by the shop one, which is placed with it and cannot be read now" in str(
            settled.problems[0]
        )
        assert settled.is_whole == away.is_whole
        assert settled.unread == away.unread


def test_shop_resources_are_a_table() -> None:
    def shop(name: str, at: datetime | None, **spec: object) -> Shop:
        metadata = {"name": name, "creationTimestamp": at}
        return Shop.model_validate(
            {"metadata": metadata, "spec": {"hosts": ["shared.example.com", f"{name}.example.com"], **spec}}
        )

    newer = shop("a", datetime(2026, 2, 1, tzinfo=UTC), **{"class": "standard"})
    older = shop(
        "b",
        datetime(2026, 1, 1, tzinfo=UTC),
        pins=["b-1"],
        demand={"requestsPerSecond": 2.5},
        limits={"burst": 4},
        **{"class": "single"},
    )
    found = from_resources([older, newer])
    settled = settle([found], {})
    assert settled.shops.names == ["a", "b"]
    assert settled.shops.hosts == [("a.example.com",), ("shared.example.com", "b.example.com")]
    assert settled.shops.pins == {1: ("b-1",)}
    assert settled.shops.edge == {1: EdgeWish(None, 4)}
    np.testing.assert_equal(settled.shops.demand, [[math.nan, math.nan], [2.5, math.nan]])
    assert [settled.shops.class_names[each] for each in settled.shops.classes] == ["standard", "single"]
    assert [problem.place for problem in settled.problems] == ["Shop/a"]


def test_no_shops_are_none() -> None:
    for tables in ([], [from_resources([])]):
        assert len(settle(tables, {}).shops) == 0


hosts = st.lists(st.sampled_from(["a.x", "b.x", "c.x", "*.x"]), min_size=1, max_size=3, unique=True).map(tuple)
names = st.sampled_from(["one", "two", "three", "four"])
rows = st.tuples(names, st.sampled_from(["c", "d"]), hosts, st.sampled_from([1.0, 2.0, math.nan]))
sources = st.lists(st.lists(rows, max_size=4), max_size=3)
owners = st.dictionaries(st.sampled_from(["a.x", "b.x", "c.x", "*.x"]), names)


def oracle(
    found: Sequence[Sequence[Row]],
    incumbents: Mapping[str, str],
    unread: frozenset[str],
    is_whole: bool,
    classes: set[str],
) -> dict[str, tuple[int, int, tuple[str, ...]]]:
    """Return of each shop that is taken its source, its row, and its hosts."""
    first: dict[str, tuple[int, int]] = {}
    for source, listed in enumerate(found):
        for index, row in enumerate(listed):
            first.setdefault(row[0], (source, index))

    def has(name: str, host: str) -> bool:
        claimants = [other for other, (source, index) in first.items() if host in found[source][index][2]]
        owner = incumbents.get(host)
        if owner in claimants:
            return name == owner
        if owner is not None and (owner in unread or not is_whole) and owner not in first:
            return False

        def order(other: str) -> tuple[int, float, str]:
            source, index = first[other]
            at = found[source][index][3]
            return source, math.inf if math.isnan(at) else at, other

        return name == min(claimants, key=order)

    kept = {}
    for name, (source, index) in first.items():
        row = found[source][index]
        left = tuple(host for host in row[2] if has(name, host))
        if left and row[1] in classes:
            kept[name] = source, index, left
    return kept


@given(sources, owners, st.frozensets(names, max_size=2), st.booleans(), st.sampled_from([{"c"}, {"c", "d"}]))
def test_what_is_taken_is_what_the_rules_say(
    found: list[list[Row]], incumbents: dict[str, str], unread: frozenset[str], is_whole: bool, classes: set[str]
) -> None:
    tables = [table(f"source-{number}", listed) for number, listed in enumerate(found)]
    tables.append(table("last", [], unread=unread, is_whole=is_whole))
    settled = settle(tables, incumbents, classes)
    expected = oracle(found, incumbents, unread, is_whole, classes)
    shops = settled.shops
    assert list(shops.names) == sorted(expected)
    for row, name in enumerate(shops.names):
        source, index, left = expected[name]
        assert shops.hosts[row] == left
        assert shops.class_names[shops.classes[row]] == found[source][index][1]
        assert shops.demand[row, 0] == index
        assert shops.pins[row] == (f"source-{source}-{name}",)
        assert shops.edge.get(row) == (EdgeWish(burst=index) if index else None)
    claimed = [host for each in shops.hosts for host in each]
    assert len(claimed) == len(set(claimed))
    # Whoever is not taken as its source says, is told.
    places = {problem.place for problem in settled.problems}
    for source, listed in enumerate(found):
        for index, given_row in enumerate(listed):
            whole = expected.get(given_row[0]) == (source, index, given_row[2])
            assert (f"source-{source}:{index + 1}" in places) == (not whole)


@given(st.lists(rows, max_size=5, unique_by=lambda row: row[0]), owners, st.randoms())
def test_the_order_of_rows_in_a_source_changes_nothing(
    found: list[Row], incumbents: dict[str, str], random: object
) -> None:
    other = list(found)
    random.shuffle(other)  # type: ignore[attr-defined]
    one, two = (settle([table("a", listed)], incumbents).shops for listed in (found, other))
    assert (one.names, one.hosts, one.pins) == (two.names, two.hosts, two.pins)
    assert one.classes.tolist() == two.classes.tolist()

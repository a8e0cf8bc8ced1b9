"""Which group each shop is in: what is known of before makes it cheaper, and is never wrong."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopset.core.placement import seats as module
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.core.placement.seats import Seats, find_seats
from shopset.core.placement.shops import Shops
from support.placing import make_shops

Hosts = tuple[str, ...]
NAMES = [f"shop-{n:02}" for n in range(12)]
JP: Hosts = ("{}.jp",)
COM: Hosts = ("{}.com",)
HOSTS: st.SearchStrategy[Hosts] = st.sampled_from([JP, COM, ("{}.com", "www.{}.com")])
SOURCE = st.dictionaries(st.sampled_from(NAMES), HOSTS, max_size=12)
PLACED = st.dictionaries(st.sampled_from(NAMES), st.tuples(st.sampled_from("abcd"), HOSTS), max_size=12)
GROUPS = st.sets(st.sampled_from("abcd"))
World = tuple[dict[str, Hosts], dict[str, tuple[str, Hosts]], set[str]]


def hosts_of(name: str, forms: Hosts) -> Hosts:
    return tuple(form.format(name) for form in forms)


def made(world: World) -> tuple[Shops, Placement]:
    """Return shops of a source, and a placement of maybe others; a group that it names may be missing."""
    source, placed, groups = world
    shops = make_shops([(name, "standard", 1.0) for name in source])
    shops = replace(shops, hosts=[hosts_of(name, source[name]) for name in shops.names])
    rows = [PlacedShop(name, f"standard#{group}", hosts_of(name, forms)) for name, (group, forms) in placed.items()]
    return shops, Placement.of([Group(f"standard#{each}", "standard", ()) for each in groups], rows)


def said(found: Seats) -> tuple[object, ...]:
    return found.groups, found.group.tolist(), found.left, found.rehosted


def looked_up(shops: Shops, placement: Placement) -> tuple[object, ...]:
    """Look up each shop, one after the other."""
    groups = tuple(placement.groups)
    of = [placement.members.get(name) for name in shops.names]
    group = [groups.index(each) if each in groups else -1 for each in of]
    rehosted = [
        row for row, name in enumerate(shops.names) if group[row] >= 0 and placement.hosts[name] != shops.hosts[row]
    ]
    return groups, group, tuple(sorted(set(placement.members) - set(shops.names))), tuple(rehosted)


@settings(max_examples=100)
@given(st.lists(st.tuples(SOURCE, PLACED, GROUPS), min_size=1, max_size=3), st.data())
def test_whatever_is_known_the_answer_is_that_of_looking_up_each(worlds: list[World], data: st.DataObject) -> None:
    known: Seats | None = None
    for world in worlds:
        # Sometimes only a little of it differs from the world before.
        for _ in range(2):
            shops, placement = made(world)
            known = find_seats(shops, placement, known)
            assert said(known) == looked_up(shops, placement)
            for name in data.draw(st.lists(st.sampled_from(NAMES), max_size=2)):
                data.draw(st.sampled_from(world[:2])).pop(name, None)


def test_where_much_has_changed_all_are_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    half = dict.fromkeys(NAMES[::2], JP)
    placed = dict.fromkeys(NAMES, ("a", JP))
    before = find_seats(*made((half, placed, {"a"})))
    for world in (
        (dict.fromkeys(NAMES, JP), placed, {"a"}),
        (dict.fromkeys(half, COM), placed, {"a"}),
        (half, dict.fromkeys(NAMES, ("b", JP)), {"a", "b"}),
    ):
        shops, placement = made(world)
        assert said(find_seats(shops, placement, before)) == looked_up(shops, placement)


@given(
    st.integers(0, 200), st.integers(0, 3), st.integers(0, 3), st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1))
)
def test_how_much_is_alike_is_what_going_through_both_finds(
    same: int, i: int, j: int, one: list[int], other: list[int]
) -> None:
    old, new = [7] * i + [5] * same + one, [8] * j + [5] * same + other
    pairs = zip(old[i:], new[j:], strict=False)
    assert module._alike(old, i, new, j) == len([*takewhile(lambda pair: pair[0] == pair[1], pairs)])


class _Once(list[str]):
    """Names that may be gone through once."""

    gone = False

    def __iter__(self) -> Iterator[str]:
        assert not self.gone, "each shop is looked at once more"
        self.gone = True
        return super().__iter__()


def test_shops_that_stay_are_not_gone_through_again() -> None:
    shops, placement = made((dict.fromkeys(NAMES, JP), dict.fromkeys(NAMES, ("a", JP)), {"a"}))
    shops = replace(shops, names=_Once(shops.names))
    known = find_seats(shops, placement)
    moved = placement.with_shops([PlacedShop(NAMES[3], "standard#b", ("shop-03.jp",))])
    moved = moved.with_groups([Group("standard#b", "standard", ("b-1",))])
    again = find_seats(shops, moved, known)
    assert again.group.tolist() == [int(row == 3) for row in range(len(NAMES))]

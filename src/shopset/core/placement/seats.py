"""Which group each shop is in by a placement: looked up once, and then only where the shops or the placement have changed. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress, count, repeat
from operator import ne
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shopset.core.placement._shards import PlacedShop, Shard, Shards, shard_of
from shopset.core.placement.placements import Placement
from shopset.core.placement.problems import Ints
from shopset.core.placement.shops import Shops

_MOST: Final = 20_000
"""Changes that are looked up one by one; where there are more, all shops are looked up again."""
_FEWEST, _BLOCK = 16, 4_096
"""How many shops are compared at once."""


@dataclass(frozen=True, eq=False)
class Seats:
    """What a placement says of some shops."""

    shops: Shops
    shards: Shards
    """Those of the placement."""
    groups: tuple[str, ...]
    """The names of its groups, in their order."""
    group: Ints
    """(shops,): the number of each shop's group; -1 where it has none."""
    left: tuple[str, ...] = ()
    """Shops of the placement that are not there any more, sorted."""
    rehosted: tuple[int, ...] = ()
    """Rows of the shops that are placed with other hosts than they have."""

    @property
    def seated(self) -> "Seated":
        """The same without what has changed."""
        return Seated(_numbers(self.groups), self.group)


@dataclass(frozen=True, eq=False)
class Seated:
    """Which of some groups each of some shops is in."""

    numbers: Mapping[str, int]
    """Group -> its number, of all that were ever looked at."""
    group: Ints
    """(shops,): the number of each shop's group; -1 where it has none."""


def find_seats(shops: Shops, placement: Placement, known: Seats | None = None) -> Seats:
    """Return what a placement says of some shops.

    What is `known` of like shops and a like placement makes it cheaper, and never other than it is.
    """
    found = None if known is None else _again(shops, placement, known)
    return _from_scratch(shops, placement) if found is None else found


def _from_scratch(shops: Shops, placement: Placement) -> Seats:
    """Sort the shops of the placement by name, as the others are, and go through both at once; all else is done with arrays."""
    shards, groups = placement.shards, tuple(placement.groups)
    names = list(chain.from_iterable(each.names for each in shards.values()))
    hosts = list(chain.from_iterable(each.hosts for each in shards.values()))
    order = sorted(range(len(names)), key=names.__getitem__)
    placed = Shops([names[each] for each in order], [hosts[each] for each in order])
    same = _same(placed, shops)
    named = chain.from_iterable(each.groups for each in shards.values())
    of_placed = np.fromiter(map(_numbers(groups).get, named, repeat(-1)), np.int32, len(names))
    group = np.append(of_placed[order], np.int32(-1))[same.rows]
    left = tuple(placed.names[row] for row in same.removed)
    return Seats(shops, shards, groups, group, left, tuple(row for row in same.rehosted if group[row] >= 0))


def _again(shops: Shops, placement: Placement, known: Seats) -> Seats | None:
    """Look up what has changed; None where that is much."""
    same = _same(known.shops, shops)
    replaced = _replaced(known.shards, shards := placement.shards)
    if replaced is None:
        return None
    groups = tuple(placement.groups)
    group = np.append(_renumbered(known, groups), np.int32(-1))[same.rows]
    anew = {*np.flatnonzero(same.rows < 0).tolist(), *same.rehosted}
    anew.update(row for row in map(shops.row, (known.shops.names[each] for each in known.rehosted)) if row is not None)
    anew.update(row for row in map(shops.row, replaced) if row is not None)
    if groups != known.groups:
        # Their group may be one that was not there.
        anew.update(np.flatnonzero(group < 0).tolist())
    if len(anew) > _MOST:
        return None
    numbers, rehosted = _numbers(groups), []
    for row in sorted(anew):
        placed = _find(shards, shops.names[row])
        group[row] = -1 if placed is None else numbers.get(placed.group, -1)
        if placed is not None and group[row] >= 0 and placed.hosts != shops.hosts[row]:
            rehosted.append(row)
    maybe = {*known.left, *(known.shops.names[row] for row in same.removed), *replaced}
    left = sorted(name for name in maybe if shops.row(name) is None and _find(shards, name) is not None)
    return Seats(shops, shards, groups, group, tuple(left), tuple(rehosted))


def _numbers(groups: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(groups)}


def _renumbered(known: Seats, groups: tuple[str, ...]) -> Ints:
    """Return the group of each shop that is known, as some groups are numbered."""
    if groups == known.groups:
        return known.group
    numbers = _numbers(groups)
    return np.array([*(numbers.get(name, -1) for name in known.groups), -1], np.int32)[known.group]


def _find(shards: Shards, shop: str) -> PlacedShop | None:
    shard = shards.get(shard_of(shop), Shard())
    row = shard.row(shop)
    return None if row is None else PlacedShop(shop, shard.groups[row], shard.hosts[row])


def _replaced(before: Shards, after: Shards) -> set[str] | None:
    """Return the shops that came into a placement, left it, or changed in it; None where those are many."""
    found: set[str] = set()
    if before is after:
        return found
    for key in before.keys() | after.keys():
        one, other = before.get(key, Shard()), after.get(key, Shard())
        if one is not other and one != other:
            found.update(each.name for each in {*one} ^ {*other})
        if len(found) > _MOST:
            return None
    return found


@dataclass(frozen=True)
class _Same:
    """How some shops are those that there were before."""

    rows: NDArray[np.int64]
    """Of each shop: its row before; -1 where it is new."""
    removed: Sequence[int] = ()
    """Rows before."""
    rehosted: Sequence[int] = ()
    """Rows of shops with other hosts than before."""


def _same(before: Shops, after: Shops) -> _Same:
    """Compare some shops with others: by going through both, which are sorted, or by name, where they differ much."""
    old, new = before.names, after.names
    rows = np.full(len(new), -1, np.int64)
    removed: list[int] = []
    rehosted: list[int] = []
    i = j = 0
    for _ in range(_MOST):
        length = _alike(old, i, new, j)
        rows[j : j + length] = np.arange(i, i + length)
        rehosted += _differing(before.hosts, i, after.hosts, j, length)
        i, j = i + length, j + length
        if i == len(old) or j == len(new):
            return _Same(rows, [*removed, *range(i, len(old))], rehosted)
        if old[i] < new[j]:
            removed.append(i)
            i += 1
        else:
            j += 1
    return _same_by_name(before, after)


def _same_by_name(before: Shops, after: Shops) -> _Same:
    places = dict(zip(before.names, range(len(before)), strict=True))
    rows = np.fromiter(map(places.get, after.names, repeat(-1)), np.int64, len(after))
    here = np.zeros(len(before), np.bool_)
    here[rows[rows >= 0]] = True
    there = np.flatnonzero(rows >= 0)
    then, now = map(before.hosts.__getitem__, rows[there].tolist()), map(after.hosts.__getitem__, there.tolist())
    differs = np.fromiter(map(ne, then, now), np.bool_, len(there))
    return _Same(rows, np.flatnonzero(~here).tolist(), there[differs].tolist())


def _alike(old: Sequence[object], i: int, new: Sequence[object], j: int) -> int:
    """Return how many of two sequences are the same from two places on."""
    if old is new and i == j:
        return len(old) - i
    length, size = 0, _FEWEST
    while (block := old[i + length : i + length + size]) and block == new[j + length : j + length + size]:
        length, size = length + len(block), min(2 * size, _BLOCK)
    while size := size // 2:
        block = old[i + length : i + length + size]
        if block and block == new[j + length : j + length + size]:
            length += len(block)
    return length


def _differing(old: Sequence[Any], i: int, new: Sequence[Any], j: int, length: int) -> list[int]:
    """Return where two parts of one length differ, as places of the second."""
    if old is new and i == j:
        return []
    one, other = old[i : i + length], new[j : j + length]
    return [] if one == other else [*compress(count(j), map(ne, one, other))]

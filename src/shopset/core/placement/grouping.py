"""Which group a shop is in: by its name's hash, as in extendible hashing, so that groups split and merge one by one.

A shared group `standard#0110` has the shops of its class whose hash begins with these bits; no group's bits begin with another's.
A shop that is too large to share has a group of its own, `standard/hoge`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from operator import ne
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shopset.core.fleets import Fleet
from shopset.core.placement.modelling import effective_demand
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.core.placement.problems import Floats
from shopset.core.placement.shops import Shops

_BITS: Final = 32
_TOO_LARGE: Final = 2.0
"""Grains of demand above which a shared group splits."""
_TOO_SMALL: Final = 0.5
"""Grains below which two halves become one again."""


@dataclass(frozen=True)
class Regrouping:
    """A placement whose groups have exactly the shops that there are. Groups that are new have no replicas yet."""

    placement: Placement
    joined: tuple[str, ...] = ()
    """Shops that came, or changed their class."""
    left: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    """Groups that were divided, or that a shop left for one of its own."""
    merged: tuple[str, ...] = ()
    rows: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Group -> rows of its shops."""


def own_group(shop_class: str, shop: str) -> str:
    """Return the name of a shop's group of its own."""
    return f"{shop_class}/{shop}"


def is_shared(group: str) -> bool:
    """Tell whether a group is one that shops share."""
    return "#" in group


def home_of(groups: Mapping[str, Group], name: str) -> Group | None:
    """Return the group that `name` is, was split off from, or was made one of, in an earlier placement."""
    found = groups.get(name)
    if found is not None or not is_shared(name):
        return found
    shop_class, _, bits = name.partition("#")
    for depth in range(len(bits) - 1, -1, -1):
        if (whole := groups.get(f"{shop_class}#{bits[:depth]}")) is not None:
            return whole
    return next((group for half, group in groups.items() if half.startswith(name)), None)


def join(groups: Mapping[str, Group], shop_class: str, shop: str) -> str:
    """Return the shared group of its class that a shop is in; maybe one that is not there yet."""
    prefix, bits = f"{shop_class}#", _bits(shop)
    for depth in range(_BITS + 1):
        if prefix + bits[:depth] in groups:
            return prefix + bits[:depth]
    # Nothing is on the way to it: below the deepest group there is room.
    deepest = max((len(each) - len(prefix) for each in groups if each.startswith(prefix)), default=0)
    return prefix + bits[:deepest]


def grain(fleet: Fleet, shop_class: str, demand: float) -> float:
    """Return the demand that one group of a class should have, where the class has `demand` requests a second in all."""
    spec = fleet.shop_classes[shop_class].spec
    serving = sum(
        (each.spec.tier, each.spec.configuration, each.spec.dedicated)
        == (spec.tier, spec.configuration, spec.isolation.dedicated)
        for each in fleet.shopsets.values()
    )
    return demand / (fleet.platform.spec.placement.groups_per_shopset * max(serving, 1))


def conventional_group(fleet: Fleet, shops: Shops, placement: Placement, shop_class: str, shop: str) -> Group | None:
    """Return the shared group in which the convention has a shop; None where it is too large, or where there is none."""
    row = shops.row(shop)
    if row is None or shop_class not in fleet.shop_classes:
        return None
    demand = effective_demand(fleet, shops)[:, 0]
    limit = grain(fleet, shop_class, float(demand[shops.classes == shops.classes[row]].sum()))
    return None if demand[row] > limit else placement.groups.get(join(placement.groups, shop_class, shop))


def regroup(fleet: Fleet, shops: Shops, placement: Placement) -> Regrouping:
    """Let new shops join, those that are gone leave, and divide groups that have grown. No shop changes its replicas by that.

    Shops of classes that the fleet does not have are not placed; where they are placed already, they stay.
    """
    return _Regrouper(fleet, shops, placement).run()


@dataclass
class _Regrouper:
    fleet: Fleet
    shops: Shops
    placement: Placement
    groups: dict[str, Group] = field(init=False)
    demand: Floats = field(init=False)
    grains: dict[str, float] = field(init=False)
    fresh: dict[str, int] = field(init=False)
    """Class without a shared group yet -> bits of its first ones."""
    moved: dict[str, PlacedShop] = field(default_factory=dict)
    joined: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    left: tuple[str, ...] = ()
    rows: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Group -> rows of its shops."""

    def __post_init__(self) -> None:
        self.groups = dict(self.placement.groups)
        self.demand = effective_demand(self.fleet, self.shops)[:, 0]
        self.grains = self._grains()
        divided = {each.shop_class for each in self.groups.values() if is_shared(each.name)}
        self.fresh = {name: self._depth(name) for name in self.grains if name not in divided}

    def run(self) -> Regrouping:
        joining = self._keep()
        for row in joining:
            self._join(row)
        for name in [*self.rows]:
            if is_shared(name):
                self._divide(name)
        self._merge()
        self._rejoin()
        empty = [name for name in self.placement.groups if name not in self.rows]
        made = [self.groups[name] for name in self.rows if self.placement.groups.get(name) != self.groups[name]]
        after = self.placement
        if made or empty:
            after = after.with_groups(made, empty)
        if self.left:
            after = after.without_shops(self.left)
        if self.moved:
            after = after.with_shops(self.moved.values())
        return Regrouping(after, tuple(self.joined), self.left, tuple(self.split), tuple(self.merged), self.rows)

    def _keep(self) -> list[int]:
        """Return the rows of shops that are in no group of their class yet; the others are in theirs.

        A million shops are looked up once, and all else is done with arrays.
        """
        shops, shards = self.shops, self.placement.shards.values()
        placed = list(chain.from_iterable(each.names for each in shards))
        placed_hosts = list(chain.from_iterable(each.hosts for each in shards))
        numbers = {name: number for number, name in enumerate(self.groups)}
        of_placed = np.fromiter(
            map(numbers.get, chain.from_iterable(each.groups for each in shards), repeat(-1)), np.int64, len(placed)
        )
        places = dict(zip(placed, range(len(placed)), strict=True))
        at = np.fromiter(map(places.get, shops.names, repeat(-1)), np.int64, len(shops))
        group = np.append(of_placed, -1)[at]
        here = np.zeros(len(placed), np.bool_)
        here[at[at >= 0]] = True
        self.left = tuple(sorted(placed[place] for place in np.flatnonzero(~here)))
        joining = self._joining(group)
        self._fill(group, np.flatnonzero((group >= 0) & ~joining), at, placed_hosts)
        return np.flatnonzero(joining).tolist()

    def _joining(self, group: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which shops are to be in another group than that of which the number is given; -1: in none."""
        shops, groups = self.shops, list(self.groups.values())
        classes = {name: number for number, name in enumerate(shops.class_names)}
        class_of = np.array([*(classes.get(each.shop_class, -1) for each in groups), -1], np.int64)
        joining = class_of[group] != shops.classes
        for row in shops.pins:
            its = groups[group[row]] if group[row] >= 0 else None
            joining[row] |= its is None or is_shared(its.name) or not its.pinned
        known = np.array([name in self.fleet.shop_classes for name in shops.class_names], np.bool_)
        return np.asarray(joining & known[shops.classes])

    def _fill(
        self,
        group: NDArray[np.int64],
        rows: NDArray[np.int64],
        at: NDArray[np.int64],
        placed_hosts: Sequence[tuple[str, ...]],
    ) -> None:
        """Put shops into the groups that they are in, and note those whose hosts have changed."""
        ordered = rows[np.argsort(group[rows], kind="stable")]
        ends = np.cumsum(np.bincount(group[rows], minlength=len(self.groups))).tolist()
        start = 0
        for name, end in zip(self.groups, ends, strict=True):
            if end > start:
                self.rows[name] = ordered[start:end].tolist()
            start = end
        names = list(self.groups)
        hosts = self.shops.hosts
        differs = map(ne, map(placed_hosts.__getitem__, at[rows].tolist()), map(hosts.__getitem__, rows.tolist()))
        for row in rows[np.fromiter(differs, np.bool_, len(rows))].tolist():
            shop = self.shops.names[row]
            self.moved[shop] = PlacedShop(shop, names[group[row]], hosts[row])

    def _grains(self) -> dict[str, float]:
        totals = np.bincount(self.shops.classes, self.demand, len(self.shops.class_names))
        return {
            name: grain(self.fleet, name, float(total))
            for name, total in zip(self.shops.class_names, totals, strict=True)
            if name in self.fleet.shop_classes
        }

    def _depth(self, shop_class: str) -> int:
        """Return how many bits make about as many groups as the class should have."""
        members = self.shops.classes == self.shops.class_names.index(shop_class)
        small = self.demand[members & (self.demand <= self.grains[shop_class])].sum()
        return int(small / self.grains[shop_class]).bit_length() if small else 0

    def _join(self, row: int) -> None:
        shop, shop_class = self.shops.names[row], self.shops.class_names[self.shops.classes[row]]
        alone = row in self.shops.pins or self.demand[row] > self.grains[shop_class]
        name = own_group(shop_class, shop) if alone else self._shared(shop_class, shop)
        if alone and name not in self.groups:
            # What it has goes on serving it.
            old = self.groups.get(self.placement.members.get(shop, ""))
            kept = old.replicas if old is not None and old.shop_class == shop_class else ()
            self.groups[name] = Group(name, shop_class, kept)
        if row in self.shops.pins:
            self.groups[name] = replace(self.groups[name], pinned=True)
        self.groups.setdefault(name, Group(name, shop_class, ()))
        self._put(row, name)
        self.joined.append(shop)

    def _shared(self, shop_class: str, shop: str) -> str:
        if shop_class in self.fresh:
            return f"{shop_class}#{_bits(shop)[: self.fresh[shop_class]]}"
        return join(self.groups, shop_class, shop)

    def _put(self, row: int, group: str) -> None:
        self.rows[group].append(row)
        shop = self.shops.names[row]
        self.moved[shop] = PlacedShop(shop, group, self.shops.hosts[row])

    def _divide(self, name: str) -> None:
        group, rows = self.groups[name], self.rows[name]
        if group.shop_class not in self.grains:
            return
        size, limit = self.demand[rows].sum(), self.grains[group.shop_class]
        if size <= _TOO_LARGE * limit or len(rows) < 2 or len(name.partition("#")[2]) >= _BITS:
            return
        self.split.append(name)
        del self.rows[name], self.groups[name]
        depth = len(name.partition("#")[2])
        for row in rows:
            shop = self.shops.names[row]
            large = self.demand[row] > limit
            part = own_group(group.shop_class, shop) if large else name + _bits(shop)[depth]
            self.groups.setdefault(part, replace(group, name=part))
            self._put(row, part)
        for half in (f"{name}0", f"{name}1"):
            if half in self.rows:
                self._divide(half)

    def _merge(self) -> None:
        """Make one of two halves that have the same replicas and are both small."""
        for name in sorted(self.rows, key=len, reverse=True):
            bits = name.partition("#")[2]
            whole, other = name[:-1], f"{name[:-1]}1"
            if not (bits.endswith("0") and name in self.rows and other in self.rows):
                continue
            one, two = self.groups[name], self.groups[other]
            rows = self.rows[name] + self.rows[other]
            if (
                replace(two, name=name) == one
                and one.replicas
                and one.shop_class in self.grains
                and self.demand[rows].sum() < _TOO_SMALL * self.grains[one.shop_class]
            ):
                self.merged.append(whole)
                for half in (name, other):
                    del self.groups[half], self.rows[half]
                self.groups[whole] = replace(one, name=whole)
                for row in rows:
                    self._put(row, whole)

    def _rejoin(self) -> None:
        """Let small shops of which nothing is special any more be with the others, where those have the same replicas."""
        for name in [each for each in self.rows if not is_shared(each)]:
            group, rows = self.groups[name], self.rows[name]
            limit = _TOO_SMALL * self.grains.get(group.shop_class, 0.0)
            if not group.replicas or self.demand[rows].sum() > limit or len(rows) != 1:
                continue
            shared = join(self.groups, group.shop_class, self.shops.names[rows[0]])
            if shared in self.rows and replace(group, name=shared) == self.groups[shared]:
                self.merged.append(name)
                del self.groups[name], self.rows[name]
                self._put(rows[0], shared)


def _bits(shop: str) -> str:
    return f"{crc32(shop.encode()):0{_BITS}b}"

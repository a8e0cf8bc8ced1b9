"""Which group a shop is in: by its name's hash, as in extendible hashing, so that groups split and merge one by one.

A shared group `standard#0110` has the shops of its class whose hash begins with these bits; no group's bits begin with another's.
A shop that is too large to share has a group of its own, `standard/hoge`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shopset.core.fleets import Fleet
from shopset.core.placement.evaluating import Index
from shopset.core.placement.modelling import effective_demand
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.core.placement.problems import Floats, Ints
from shopset.core.placement.seats import Seated, Seats, find_seats
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
    seated: Seated
    """Which of its groups each shop is in."""
    seats: Seats
    """What the placement before said of the shops."""
    joined: tuple[str, ...] = ()
    """Shops that came, or changed their class."""
    left: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    """Groups that were divided, or that a shop left for one of its own."""
    merged: tuple[str, ...] = ()


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


def regroup(fleet: Fleet, shops: Shops, placement: Placement, known: Seats | None = None) -> Regrouping:
    """Let new shops join, those that are gone leave, and divide groups that have grown. No shop changes its replicas by that.

    Shops of classes that the fleet does not have are not placed; where they are placed already, they stay.
    What is `known` of like shops makes it cheaper.
    """
    return _Regrouper(fleet, shops, placement, find_seats(shops, placement, known)).run()


class _Regrouper:
    def __init__(self, fleet: Fleet, shops: Shops, placement: Placement, seats: Seats) -> None:
        self.fleet, self.shops, self.placement, self.seats = fleet, shops, placement, seats
        self.groups = dict(placement.groups)
        self.demand = effective_demand(fleet, shops)[:, 0]
        self.grains = self._grains()
        divided = {each.shop_class for each in self.groups.values() if is_shared(each.name)}
        self.fresh = {name: self._depth(name) for name in self.grains if name not in divided}
        """Class without a shared group yet -> bits of its first ones."""
        self.moved: dict[str, PlacedShop] = {}
        self.joined: list[str] = []
        self.split: list[str] = []
        self.merged: list[str] = []
        self.members = _Members(seats.groups, seats.group, self.demand)

    def run(self) -> Regrouping:
        joining = self._joining()
        self._bring_hosts_up_to_date(joining)
        joiners = np.flatnonzero(joining)
        self.members.group[joiners] = -1
        for row in joiners.tolist():
            self._join(row)
        self.members.count()
        self._divide_all()
        self._merge()
        self._rejoin()
        return self._regrouping()

    def _regrouping(self) -> Regrouping:
        members, before = self.members, self.placement.groups
        empty = [name for name in before if name not in members]
        made = [self.groups[name] for name, _ in members.present() if before.get(name) != self.groups[name]]
        after, left = self.placement, self.seats.left
        if made or empty:
            after = after.with_groups(made, empty)
        if left:
            after = after.without_shops(left)
        if self.moved:
            after = after.with_shops(self.moved.values())
        seated = Seated(members.numbers, members.group)
        told = (tuple(each) for each in (self.joined, left, self.split, self.merged))
        return Regrouping(after, seated, self.seats, *told)

    def _joining(self) -> NDArray[np.bool_]:
        """Return which shops are to be in another group than that in which they are, or in one at all."""
        shops, groups, group = self.shops, list(self.groups.values()), self.seats.group
        classes = {name: number for number, name in enumerate(shops.class_names)}
        class_of = np.array([*(classes.get(each.shop_class, -1) for each in groups), -1], np.int32)
        joining = class_of[group] != shops.classes
        for row in shops.pins:
            its = groups[group[row]] if group[row] >= 0 else None
            joining[row] |= its is None or is_shared(its.name) or not its.pinned
        known = np.array([name in self.fleet.shop_classes for name in shops.class_names], np.bool_)
        return np.asarray(joining & known[shops.classes])

    def _bring_hosts_up_to_date(self, joining: NDArray[np.bool_]) -> None:
        for row in self.seats.rehosted:
            if not joining[row]:
                self._place(row, self.seats.groups[self.seats.group[row]])

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
        if name not in self.groups:
            self.groups[name] = Group(name, shop_class, ())
        self.members.group[row] = self.members.number(name)
        self._place(row, name)
        self.joined.append(shop)

    def _shared(self, shop_class: str, shop: str) -> str:
        if shop_class in self.fresh:
            return f"{shop_class}#{_bits(shop)[: self.fresh[shop_class]]}"
        return join(self.groups, shop_class, shop)

    def _place(self, row: int, group: str) -> None:
        shop = self.shops.names[row]
        self.moved[shop] = PlacedShop(shop, group, self.shops.hosts[row])

    def _divide_all(self) -> None:
        limits = {name: _TOO_LARGE * each for name, each in self.grains.items()}
        for name, size in [*self.members.present()]:
            if is_shared(name) and size > limits.get(self.groups[name].shop_class, np.inf):
                self._divide(name)

    def _divide(self, name: str) -> None:
        group, rows, depth = self.groups[name], self.members.rows(name), len(name.partition("#")[2])
        limit = self.grains[group.shop_class]
        if self.demand[rows].sum() <= _TOO_LARGE * limit or len(rows) < 2 or depth >= _BITS:
            return
        self.split.append(name)
        self.members.empty(name)
        del self.groups[name]
        parts: defaultdict[str, list[int]] = defaultdict(list)
        for row in rows:
            shop = self.shops.names[row]
            large = self.demand[row] > limit
            parts[own_group(group.shop_class, shop) if large else name + _bits(shop)[depth]].append(row)
        for part, its in parts.items():
            self.groups.setdefault(part, replace(group, name=part))
            self._put(its, part)
        for half in (f"{name}0", f"{name}1"):
            if half in parts:
                self._divide(half)

    def _put(self, rows: list[int], group: str) -> None:
        self.members.put(rows, group)
        for row in rows:
            self._place(row, group)

    def _merge(self) -> None:
        """Make one of two halves that have the same replicas and are both small."""
        limits = {name: _TOO_SMALL * each for name, each in self.grains.items()}
        halves = [name for name, size in self.members.present() if self._is_small_half(name, size, limits)]
        for name in sorted(halves, key=len, reverse=True):
            whole, other = name[:-1], f"{name[:-1]}1"
            if not (name in self.members and other in self.members):
                continue
            one, two = self.groups[name], self.groups[other]
            small = self.members.size(name) + self.members.size(other) < limits[one.shop_class]
            if small and one.replicas and replace(two, name=name) == one:
                self.merged.append(whole)
                rows = self.members.rows(name) + self.members.rows(other)
                for half in (name, other):
                    self.members.empty(half)
                    del self.groups[half]
                self.groups[whole] = replace(one, name=whole)
                self._put(rows, whole)

    def _is_small_half(self, name: str, size: float, limits: Mapping[str, float]) -> bool:
        """Whether a group may be the first half of one that is small."""
        return name.endswith("0") and is_shared(name) and size < limits.get(self.groups[name].shop_class, 0.0)

    def _rejoin(self) -> None:
        """Let small shops of which nothing is special any more be with the others, where those have the same replicas."""
        for name in [each for each, _ in self.members.present() if not is_shared(each)]:
            group = self.groups[name]
            limit = _TOO_SMALL * self.grains.get(group.shop_class, 0.0)
            if not group.replicas or self.members.size(name) > limit or len(rows := self.members.rows(name)) != 1:
                continue
            shared = join(self.groups, group.shop_class, self.shops.names[rows[0]])
            if shared in self.members and replace(group, name=shared) == self.groups[shared]:
                self.merged.append(name)
                self.members.empty(name)
                del self.groups[name]
                self._put(rows, shared)


class _Members:
    """Which rows are in which group, by numbers of groups, so that nothing is done for each shop that stays where it is."""

    def __init__(self, names: Sequence[str], group: Ints, demand: Floats) -> None:
        self.numbers = {name: number for number, name in enumerate(names)}
        self.group = group.copy()
        self.demand = demand
        self.counts: list[int] = []
        self.sizes: list[float] = []
        """The demand of each group."""
        self.changed: dict[int, list[int]] = {}
        """Number -> rows, of groups that have changed since all were counted."""
        self.ordered: tuple[Index, list[int]] | None = None
        """All rows by group as they were counted, and where those of each group end."""

    def __contains__(self, name: str) -> bool:
        number = self.numbers.get(name)
        return number is not None and self.counts[number] > 0

    def number(self, name: str) -> int:
        """Return the number of a group, a new one where it has none yet."""
        return self.numbers.setdefault(name, len(self.numbers))

    def count(self) -> None:
        """Count the shops and the demand of each group."""
        places, size = self.group + 1, len(self.numbers) + 1
        self.counts = np.bincount(places, minlength=size)[1:].tolist()
        self.sizes = np.bincount(places, self.demand, size)[1:].tolist()

    def present(self) -> Iterator[tuple[str, float]]:
        """Yield the groups that have shops, with their demand."""
        return compress(zip(self.numbers, self.sizes, strict=True), self.counts)

    def size(self, name: str) -> float:
        """Return the demand of a group."""
        return self.sizes[self.numbers[name]]

    def rows(self, name: str) -> list[int]:
        """Return the rows of a group."""
        number = self.numbers[name]
        if number in self.changed:
            return self.changed[number]
        if self.ordered is None:
            ends = np.cumsum(np.bincount(self.group + 1, minlength=len(self.numbers) + 1)).tolist()
            self.ordered = np.argsort(self.group, kind="stable"), ends
        order, ends = self.ordered
        return [] if number + 1 >= len(ends) else order[ends[number] : ends[number + 1]].tolist()

    def put(self, rows: list[int], name: str) -> None:
        """Add rows to a group."""
        number = self.number(name)
        if number == len(self.counts):
            self.counts.append(0)
            self.sizes.append(0.0)
        self.changed[number] = self.rows(name) + rows
        self.counts[number] += len(rows)
        self.sizes[number] += float(self.demand[rows].sum())
        self.group[rows] = number

    def empty(self, name: str) -> None:
        """Take all rows out of a group; they are put elsewhere."""
        number = self.numbers[name]
        self.changed[number], self.counts[number], self.sizes[number] = [], 0, 0.0


def _bits(shop: str) -> str:
    return f"{crc32(shop.encode()):0{_BITS}b}"

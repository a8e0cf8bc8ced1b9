"""From a fleet, its shops and their placement to a Problem in arrays, and back to names."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from shopset.api import ShopClass, ShopSet
from shopset.core.fleets import Fleet
from shopset.core.placement.placements import Group, Placement
from shopset.core.placement.problems import Bools, Floats, Ints, Problem
from shopset.core.placement.seats import Seated
from shopset.core.placement.shops import RESOURCES, Shops
from shopset.core.release.records import ClusterRecord

_LEFT: Final = frozenset({"Lost", "Draining", "Upgrading"})
"""States of clusters that no shop is to be on."""


@dataclass(frozen=True)
class Model:
    """A Problem with the names of what its rows are."""

    problem: Problem
    shopsets: tuple[str, ...]
    """Sorted, as the columns of the arrays."""
    levels: tuple[str, ...]
    """Names of FailureDomains, sorted."""
    domains: tuple[tuple[str, ...], ...]
    """The domains of each level, in the order of their numbers."""
    groups: tuple[Group, ...]
    classes: tuple[str, ...]
    """Sorted; each has two kinds: 2n as it is, 2n + 1 for its groups that a person isolated."""
    assumed: Bools
    """(S, R): capacities that nobody stated, and that were assumed so that loads can be compared."""

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """ShopSet -> its column."""
        return {name: number for number, name in enumerate(self.shopsets)}

    def replicas(self, legs: Ints) -> tuple[str, ...]:
        """Return one row of legs as names."""
        return tuple(self.shopsets[leg] for leg in legs if leg >= 0)


def model(
    fleet: Fleet,
    shops: Shops,
    placement: Placement,
    clusters: Mapping[str, ClusterRecord],
    unusable: Set[str] = frozenset(),
    seated: Seated | None = None,
) -> Model:
    """Return the problem that a placement poses. Its groups are all of classes that the fleet has.

    `clusters` is what the ledger says of clusters; to `unusable` ShopSets nothing new is to come.
    `seated` says which group each shop is in, where the caller knows it.
    """
    groups = tuple(each for each in placement.groups.values() if each.shop_class in fleet.shop_classes)
    shopsets, classes = tuple(fleet.shopsets), tuple(fleet.shop_classes)
    numbers = {name: number for number, name in enumerate(shopsets)}
    levels = tuple(fleet.failure_domains)
    names = [_domains(fleet, level) for level in levels]
    allowed = _allowed(fleet, classes)
    kind = np.array([2 * classes.index(each.shop_class) + each.dedicated for each in groups], np.int32)
    wanted = np.array([wanted_replicas(fleet, each) for each in groups], np.int32)
    demand, weight = group_demand(fleet, shops, placement, groups, seated)
    capacity, assumed = _capacity(fleet, demand)
    problem = Problem(
        capacity=capacity,
        follows_traffic=np.array([resource != "shops" for resource in RESOURCES]),
        domains=np.array([numbers_of for _, numbers_of in names], np.int32).reshape(len(levels), len(shopsets)),
        takes=np.array(
            [takes(fleet, each, clusters) and each.name not in unusable for each in fleet.shopsets.values()], bool
        ),
        leaves=np.array([is_left(fleet, each, clusters) for each in fleet.shopsets.values()], bool),
        allowed=allowed,
        apart=np.array([_apart(each, levels) for each in fleet.shop_classes.values() for _ in range(2)], bool).reshape(
            2 * len(classes), len(levels)
        ),
        kind=kind,
        replicas=wanted,
        legs=_legs(groups, wanted, kind, allowed, numbers),
        demand=demand,
        weight=weight,
        fixed=np.array([each.pinned for each in groups], bool),
        active=np.array([_active(fleet, each) for each in groups], np.int32),
    )
    return Model(problem, shopsets, levels, tuple(found for found, _ in names), groups, classes, assumed)


def apart_at(problem: Problem, kind: int, columns: Sequence[int]) -> bool:
    """Tell whether some different ShopSets share no domain that replicas of a kind may not share."""
    places = problem.domains[problem.apart[kind]][:, list(columns)]
    return len(set(columns)) == len(columns) and all(len(set(row)) == len(columns) for row in places.tolist())


def wanted_replicas(fleet: Fleet, group: Group) -> int:
    """Return how many replicas a group is to have."""
    return max(fleet.shop_classes[group.shop_class].spec.replicas, group.spread)


def _active(fleet: Fleet, group: Group) -> int:
    """Return how many replicas serve a group side by side. Of weights that differ the mean is taken."""
    return max(group.spread, len(fleet.shop_classes[group.shop_class].spec.traffic.weights), 1)


def effective_demand(fleet: Fleet, shops: Shops) -> Floats:
    """Return the demand of each shop in each resource, (shops, R): the stated one, or what the Platform assumes."""
    assumed = fleet.platform.spec.placement.demand
    defaults = np.array([assumed.requests_per_second, float(assumed.connections)])
    stated = np.where(np.isnan(shops.demand), defaults, shops.demand)
    return np.column_stack([stated, np.ones(len(shops))])


def group_demand(
    fleet: Fleet,
    shops: Shops,
    placement: Placement,
    groups: Sequence[Group],
    seated: Seated | None = None,
) -> tuple[Floats, Ints]:
    """Return the demand (G, R) of groups, and how many shops each has (G,)."""
    rows = {each.name: row for row, each in enumerate(groups)}
    if seated is None:
        members = dict(placement.members.items())
        of_shops = np.fromiter((rows.get(members.get(name, ""), -1) for name in shops.names), np.int64, len(shops))
    else:
        row_of = np.array([*(rows.get(name, -1) for name in seated.numbers), -1], np.int64)
        of_shops = row_of[seated.group]
    demand, places, size = effective_demand(fleet, shops), of_shops + 1, len(groups) + 1
    sums = [np.bincount(places, demand[:, column], size)[1:] for column in range(len(RESOURCES))]
    return np.column_stack(sums), sums[-1].astype(np.int32)


def _domains(fleet: Fleet, level: str) -> tuple[tuple[str, ...], list[int]]:
    """Return the domains of a level, and the number of that of each ShopSet."""
    of_clusters = {name: fleet.domain(level, name) for name in fleet.clusters}
    found = tuple(sorted(set(of_clusters.values())))
    return found, [found.index(of_clusters[each.spec.cluster]) for each in fleet.shopsets.values()]


def takes(fleet: Fleet, shopset: ShopSet, clusters: Mapping[str, ClusterRecord]) -> bool:
    """Tell whether shops may come to a ShopSet, by what is said of its cluster."""
    cluster = fleet.clusters[shopset.spec.cluster]
    return cluster.spec.wish == "Active" and cluster.name not in clusters


def is_left(fleet: Fleet, shopset: ShopSet, clusters: Mapping[str, ClusterRecord]) -> bool:
    """Tell whether a ShopSet is on a cluster that no shop is to be on."""
    cluster = fleet.clusters[shopset.spec.cluster]
    record = clusters.get(cluster.name)
    return cluster.spec.wish == "Drained" or (record is not None and record.state in _LEFT)


def _allowed(fleet: Fleet, classes: Sequence[str]) -> Bools:
    rows = np.zeros((2 * len(classes), len(fleet.shopsets)), bool)
    for number, name in enumerate(classes):
        spec = fleet.shop_classes[name].spec
        for column, shopset in enumerate(fleet.shopsets.values()):
            if (shopset.spec.tier, shopset.spec.configuration) == (spec.tier, spec.configuration):
                rows[2 * number, column] = shopset.spec.dedicated == spec.isolation.dedicated
                rows[2 * number + 1, column] = shopset.spec.dedicated
    return rows


def _apart(shop_class: ShopClass, levels: Sequence[str]) -> list[bool]:
    return [level in shop_class.spec.across for level in levels]


def _legs(groups: Sequence[Group], wanted: Ints, kind: Ints, allowed: Bools, numbers: Mapping[str, int]) -> Ints:
    """Return the present replicas. One that is not there any more, or not for this kind, counts as missing."""
    legs = np.full((len(groups), int(wanted.max(initial=1))), -1, np.int32)
    for row, group in enumerate(groups):
        for leg, name in enumerate(group.replicas[: wanted[row]]):
            column = numbers.get(name, -1)
            if column >= 0 and (allowed[kind[row], column] or group.pinned):
                legs[row, leg] = column
    return legs


def _capacity(fleet: Fleet, demand: Floats) -> tuple[Floats, Bools]:
    """Return capacities (S, R), and which of them are assumed.

    What a ShopSet's requests are limited to must be known to compare loads: where nobody stated it, it counts as the
    median of those that are stated; where none is, as twice an even share. Other limits that are left out are none.
    """
    stated = [
        (spec.requests_per_second, spec.connections, spec.shops) if (spec := each.spec.capacity) else (None, None, None)
        for each in fleet.shopsets.values()
    ]
    capacity = np.array([[np.nan if value is None else value for value in row] for row in stated], float).reshape(-1, 3)
    missing = np.isnan(capacity)
    known = capacity[~missing[:, 0], 0]
    even = 2 * demand[:, 0].sum() / max(len(stated), 1)
    capacity[missing[:, 0], 0] = np.median(known) if len(known) else max(even, 1.0)
    assumed = missing & np.array([True, False, False])
    return np.where(np.isnan(capacity), np.inf, capacity), assumed

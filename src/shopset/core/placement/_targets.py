"""Where each group is to be in the end: what the solver says, and home for the groups of a cluster that returns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from shopset.core.fleets import Fleet
from shopset.core.placement.evaluating import loads
from shopset.core.placement.grouping import home_of, own_group
from shopset.core.placement.modelling import Model
from shopset.core.placement.placements import Placement
from shopset.core.placement.plans import Seen
from shopset.core.placement.problems import Floats, Ints, Solution
from shopset.core.placement.solving import solve


@dataclass(frozen=True)
class Targets:
    """The goal of a placement."""

    legs: Ints
    """(G, K)"""
    why: Mapping[int, str]
    """Row -> why the group goes elsewhere, where that is not because its replicas must leave."""
    solution: Solution | None
    """What the solver answered; None where nothing had to move."""
    unfit: tuple[str, ...] = ()
    """Groups that cannot go home."""


def targets(fleet: Fleet, seen: Seen, found: Model, budget: int) -> Targets:
    """Return the goal. `budget` is how many shops more than needed may move."""
    problem = found.problem
    missing = (problem.legs >= 0).sum(1) < problem.replicas
    leaving = (problem.leaves[problem.legs] & (problem.legs >= 0)).any(1)
    solution = solve(problem, budget) if budget or missing.any() or leaving.any() else None
    legs = (problem.legs if solution is None else solution.legs).copy()
    why: dict[int, str] = {}
    if budget:
        why = {int(row): "rebalance" for row in np.flatnonzero((legs != problem.legs).any(1))}
    for row, pins in _pinned(seen, found, legs):
        legs[row] = pins
        why[row] = "its source pins it"
    unfit: list[str] = []
    room = _Room(found, legs)
    for cluster, home in sorted(seen.homes.items()):
        record = seen.clusters.get(cluster)
        if record is not None and record.state == "Returning" and not waits_for(fleet, seen, cluster):
            for row, there in _homeward(fleet, found, cluster, home, legs):
                if room.take(row, there):
                    why[row] = f"cluster {cluster} is back"
                else:
                    unfit.append(found.groups[row].name)
    return Targets(legs, why, solution, tuple(unfit))


def _pinned(seen: Seen, found: Model, legs: Ints) -> Iterator[tuple[int, Ints]]:
    """Yield the groups of shops whose source pins them elsewhere, with those replicas, where they can be had."""
    rows = {group.name: row for row, group in enumerate(found.groups)}
    problem, shops = found.problem, seen.shops
    for number, names in shops.pins.items():
        row = rows.get(own_group(shops.class_names[shops.classes[number]], shops.names[number]))
        pins = [found.numbers.get(name, -1) for name in names]
        if row is None or len(pins) != problem.replicas[row] or -1 in pins or problem.leaves[pins].any():
            continue
        wanted = np.full(legs.shape[1], -1, np.int32)
        wanted[: len(pins)] = pins
        if not np.array_equal(wanted, legs[row]):
            yield row, wanted


def waits_for(fleet: Fleet, seen: Seen, cluster: str) -> str:
    """Return what a cluster that returns still lacks; empty where its shops may come."""
    record = seen.clusters.get(cluster)
    wanted, has = record.version if record else "", seen.versions.get(cluster, "")
    if wanted and wanted != has:
        return f"it runs version {has or 'unknown'}, not {wanted}"
    lagging = [
        f"{name} {seen.unready[name]}"
        for name, each in fleet.shopsets.items()
        if each.spec.cluster == cluster and name in seen.unready
    ]
    return "; ".join(lagging)


def _homeward(fleet: Fleet, found: Model, cluster: str, home: Placement, legs: Ints) -> Iterator[tuple[int, Ints]]:
    """Yield the groups that were on a cluster and are not, with their replicas then."""
    back = {name for name, each in fleet.shopsets.items() if each.spec.cluster == cluster}
    problem = found.problem
    for row, group in enumerate(found.groups):
        before = home_of(home.groups, group.name)
        if (
            before is None
            or group.pinned
            or group.dedicated
            or back.isdisjoint(before.replicas[: problem.replicas[row]])
        ):
            continue
        names = before.replicas[: problem.replicas[row]]
        there = np.full(legs.shape[1], -1, np.int32)
        there[: len(names)] = [found.numbers.get(name, -1) for name in names]
        usable = [
            leg >= 0
            and problem.allowed[problem.kind[row], leg]
            and (found.shopsets[leg] in back or problem.takes[leg] or leg in legs[row])
            for leg in there[: problem.replicas[row]]
        ]
        if len(usable) == problem.replicas[row] and all(usable) and not np.array_equal(there, legs[row]):
            yield row, there


class _Room:
    """The normal load of each ShopSet, kept up while groups go home."""

    def __init__(self, found: Model, legs: Ints) -> None:
        self.problem = found.problem
        self.legs = legs
        self.used = loads(found.problem, legs).normal.copy()

    def take(self, row: int, there: Ints) -> bool:
        """Let a group go home, where its new ShopSets have room for it. Tells whether they have."""
        after = self.used - self._of(row, self.legs[row]) + self._of(row, there)
        arrivals = [leg for leg in there if leg >= 0 and leg not in self.legs[row]]
        if (after[arrivals] > self.problem.capacity[arrivals] * (1 + 1e-9)).any():
            return False
        self.legs[row], self.used = there, after
        return True

    def _of(self, row: int, legs: Ints) -> Floats:
        """Return the load (S, R) that one group puts on each ShopSet."""
        load, problem = np.zeros_like(self.used), self.problem
        present = legs[legs >= 0]
        load[present] = np.where(problem.follows_traffic, 0.0, problem.demand[row])
        serving = present[: problem.active[row]]
        load[serving] += np.where(problem.follows_traffic, problem.demand[row] / max(len(serving), 1), 0.0)
        return load

"""Where each group is to be in the end: what the solver says, and home for the groups of a cluster that returns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from shopset.core.fleets import Fleet
from shopset.core.placement._keeping import kept
from shopset.core.placement.evaluating import arrivals, loads, worst, worst_n1
from shopset.core.placement.grouping import home_of, own_group
from shopset.core.placement.modelling import Model, apart_at
from shopset.core.placement.placements import Placement
from shopset.core.placement.plans import Seen
from shopset.core.placement.problems import Bools, Floats, Ints, Problem, Solution
from shopset.core.placement.shuffling import shuffled
from shopset.core.placement.solving import packed, solve

REBALANCE: Final = "rebalance"
"""Why groups move that need not."""
_FULL: Final = 1 + 1e-9
_LEAST: Final = 1e-6
"""A load that gets less by no more is the same."""


@dataclass(frozen=True)
class Targets:
    """The goal of a placement."""

    legs: Ints
    """(G, K)"""
    why: Mapping[int, str]
    """Row -> why the group goes elsewhere, where that is not because its replicas must leave."""
    solution: Solution | None
    """What the solver answered; None where nothing had to move, or nothing could."""
    unfit: tuple[str, ...] = ()
    """Groups that cannot go home."""
    refused: tuple[tuple[str, str], ...] = ()
    """Shops that cannot be where their source pins them, and why."""


def targets(fleet: Fleet, seen: Seen, found: Model, budget: int) -> Targets:
    """Return the goal. `budget` is how many shops more than needed may move."""
    problem = found.problem
    stay = kept(problem) if len(found.shopsets) else problem.legs
    forced = (stay != problem.legs).any(1) | ((stay >= 0).sum(1) < problem.replicas)
    solution = _solved(problem, stay, forced, budget) if len(found.shopsets) else None
    if solution is not None:
        solution = replace(solution, legs=shuffled(problem, solution.legs, _shuffled_kinds(fleet, found)))
    legs = packed(stay) if solution is None else solution.legs.copy()
    why: dict[int, str] = {}
    if solution is not None:
        changed = (legs != problem.legs).any(1) if budget else arrivals(problem.legs, legs).any(1)
        cause = REBALANCE if budget else "so that no ShopSet is overloaded"
        why = dict.fromkeys(np.flatnonzero(changed & ~forced).tolist(), cause)
    refused: list[tuple[str, str]] = []
    pinned: set[int] = set()
    for row, shop, pins in _pinned(seen, found):
        if objection := _against(found, row, pins):
            refused.append((shop, objection))
            continue
        pinned.add(row)
        there = _pins(found, row, pins, legs)
        if there is not None:
            legs[row] = there
            why[row] = "its source pins it"
    unfit: list[str] = []
    room = _Room(found, legs)
    for cluster, home in sorted(seen.homes.items(), key=lambda item: item[0]):
        record = seen.clusters.get(cluster)
        if record is not None and record.state == "Returning" and not waits_for(fleet, seen, cluster):
            for row, there in _homeward(fleet, seen, found, cluster, home, legs):
                if row in pinned:
                    continue
                if room.take(row, there):
                    why[row] = is_back(cluster)
                else:
                    unfit.append(found.groups[row].name)
    return Targets(legs, why, solution, tuple(unfit), tuple(refused))


def _shuffled_kinds(fleet: Fleet, found: Model) -> Bools:
    """Tell of each kind whether its class asks for shuffle sharding; what is isolated has ShopSets to itself."""
    asked = [fleet.shop_classes[name].spec.isolation.shuffle for name in found.classes]
    return np.array([each and not isolated for each in asked for isolated in (False, True)], bool)


def is_back(cluster: str) -> str:
    """Return why groups go home."""
    return f"cluster {cluster} is back"


def _solved(problem: Problem, stay: Ints, forced: Bools, budget: int) -> Solution | None:
    """Return what the solver answers; None where nothing would be better by it, so that what can't be had moves nothing."""
    before = loads(problem, problem.legs)
    normal, after_loss = worst(problem, before), worst_n1(problem, before)
    if not (budget or forced.any() or max(normal, after_loss) > _FULL):
        return None
    solution = solve(problem, budget)
    places = ((solution.legs >= 0).sum(1) > (stay >= 0).sum(1)).any()
    excess = (max(solution.worst, _FULL), max(solution.worst_n1, _FULL))
    relieves = excess < (max(normal, _FULL) - _LEAST, np.inf) or (
        excess[0] <= max(normal, _FULL) and excess[1] < max(after_loss, _FULL) - _LEAST
    )
    return solution if budget or places or relieves else None


def _pinned(seen: Seen, found: Model) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Yield the groups of shops that their source pins: row, shop, ShopSets."""
    shops = seen.shops
    if not shops.pins:
        return
    rows = {group.name: row for row, group in enumerate(found.groups)}
    for number, names in sorted(shops.pins.items()):
        shop = shops.names[number]
        row = rows.get(own_group(shops.class_names[shops.classes[number]], shop))
        if row is not None:
            yield row, shop, names


def _against(found: Model, row: int, pins: tuple[str, ...]) -> str:
    """Return why a shop can't be where its source pins it; empty where it can, once those ShopSets take shops."""
    problem, group = found.problem, found.groups[row]
    wanted, kind = int(problem.replicas[row]), int(problem.kind[row]) // 2 * 2
    if len(pins) != wanted:
        return f"{group.shop_class} asks for {wanted} replicas, and it names {len(pins)}: name {wanted} ShopSets"
    for name in pins:
        if name not in found.numbers:
            return f"the fleet has no ShopSet {name}"
        if not problem.allowed[kind : kind + 2, found.numbers[name]].any():
            return f"{name} is not of the tier and configuration of {group.shop_class}"
    if not apart_at(problem, kind, [found.numbers[name] for name in pins]):
        return f"{' and '.join(pins)} would fail together, and {group.shop_class} asks for replicas that lie apart"
    return ""


def _pins(found: Model, row: int, pins: tuple[str, ...], legs: Ints) -> Ints | None:
    """Return the pins as replicas; None where it has them, or where new ones may not come now."""
    problem, columns = found.problem, [found.numbers[name] for name in pins]
    present = set(legs[row].tolist()) | set(problem.legs[row].tolist())
    if any(problem.leaves[each] or not (problem.takes[each] or each in present) for each in columns):
        return None
    there = _row(legs, columns)
    return None if np.array_equal(there, legs[row]) else there


def _row(legs: Ints, columns: Sequence[int]) -> Ints:
    row = np.full(legs.shape[1], -1, np.int32)
    row[: len(columns)] = columns
    return row


def waits_for(fleet: Fleet, seen: Seen, cluster: str) -> str:
    """Return what a cluster that returns still lacks; empty where its shops may come."""
    record = seen.clusters.get(cluster)
    wanted, has = record.version if record else "", seen.versions.get(cluster, "")
    if wanted and wanted != has:
        return f"it runs version {has or 'unknown'}, not {wanted}"
    lagging = [f"{name} {seen.unready[name]}" for name in fleet.hosted(cluster) if name in seen.unready]
    return "; ".join(lagging)


def _homeward(
    fleet: Fleet, seen: Seen, found: Model, cluster: str, home: Placement, legs: Ints
) -> Iterator[tuple[int, Ints]]:
    """Yield the groups that were on a cluster and are not, with replicas there again; and those that only changed their order."""
    problem = found.problem
    back = frozenset(
        found.numbers[name]
        for name in fleet.hosted(cluster)
        if name not in seen.unusable and not problem.leaves[found.numbers[name]]
    )
    for row, group in enumerate(found.groups):
        before = home_of(home.groups, group.name)
        # Where a person decided otherwise since, that counts.
        if before is None or (group.pinned, group.dedicated) != (before.pinned, before.dedicated):
            continue
        wanted = int(problem.replicas[row])
        then = [found.numbers.get(name, -1) for name in before.replicas[:wanted]]
        there = _row(legs, _returned(problem, row, then, legs[row, :wanted].tolist(), back))
        if not np.array_equal(there, legs[row]):
            yield row, there


def _returned(problem: Problem, row: int, then: list[int], now: list[int], back: frozenset[int]) -> list[int]:
    """Return the replicas of a group with those on a cluster that is back, each in the place of one that stood in for it."""
    kind = int(problem.kind[row])
    for place, leg in enumerate(then):
        if leg not in back or leg in now or not (problem.allowed[kind, leg] or problem.fixed[row]):
            continue
        free = [each for each, other in enumerate(now) if other < 0 or other not in then]
        if not free:
            continue
        instead = place if place in free else min(free, key=lambda each: now[each] >= 0)
        after = [*now[:instead], leg, *now[instead + 1 :]]
        if apart_at(problem, kind, [each for each in after if each >= 0]):
            now = after
    return [leg for leg in (then if set(now) == set(then) else now) if leg >= 0]


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

"""Where each group is to be in the end: what the solver says, and home for the groups of a cluster that returns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from shopset.core.fleets import Fleet
from shopset.core.placement._homing import homes, row_of
from shopset.core.placement._keeping import kept
from shopset.core.placement._room import FULL
from shopset.core.placement.evaluating import arrivals, loads, worst, worst_n1
from shopset.core.placement.grouping import own_group
from shopset.core.placement.modelling import Model, apart_at
from shopset.core.placement.plans import Seen
from shopset.core.placement.problems import Bools, Ints, Problem, Solution
from shopset.core.placement.shuffling import shuffled
from shopset.core.placement.solving import packed, solve

REBALANCE: Final = "rebalance"
"""Why groups move that need not."""
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
    refused: list[tuple[str, str]] = []
    pinned: dict[int, tuple[str, ...]] = {}
    for row, shop, pins in _pinned(seen, found):
        if objection := _against(found, row, pins):
            refused.append((shop, objection))
        else:
            pinned[row] = pins
    home = homes(fleet, seen, found, pinned)
    # The solver looks at what there is once all are home: what mends itself on the way must not be mended for good.
    problem = replace(found.problem, legs=home.legs)
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
    why |= home.why
    for row, there in home.meanwhile.items():
        legs[row] = there
    for row, pins in pinned.items():
        pinned_to = _pins(found, row, pins, legs)
        if pinned_to is not None:
            legs[row] = pinned_to
            why[row] = "its source pins it"
    return Targets(legs, why, solution, home.unfit, tuple(refused))


def _shuffled_kinds(fleet: Fleet, found: Model) -> Bools:
    """Tell of each kind whether its class asks for shuffle sharding; what is isolated has ShopSets to itself."""
    asked = [fleet.shop_classes[name].spec.isolation.shuffle for name in found.classes]
    return np.array([each and not isolated for each in asked for isolated in (False, True)], bool)


def _solved(problem: Problem, stay: Ints, forced: Bools, budget: int) -> Solution | None:
    """Return what the solver answers; None where nothing would be better by it, so that what can't be had moves nothing."""
    before = loads(problem, problem.legs)
    normal, after_loss = worst(problem, before), worst_n1(problem, before)
    if not (budget or forced.any() or max(normal, after_loss) > FULL):
        return None
    solution = solve(problem, budget)
    places = ((solution.legs >= 0).sum(1) > (stay >= 0).sum(1)).any()
    excess = (max(solution.worst, FULL), max(solution.worst_n1, FULL))
    relieves = excess < (max(normal, FULL) - _LEAST, np.inf) or (
        excess[0] <= max(normal, FULL) and excess[1] < max(after_loss, FULL) - _LEAST
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
    there = row_of(legs, columns)
    return None if np.array_equal(there, legs[row]) else there

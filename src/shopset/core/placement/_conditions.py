"""What people should know of the placement: shops without a ShopSet, replicas that are missing, what is not safe, and why."""

from collections.abc import Iterator
from typing import Final, Literal

import numpy as np

from shopset.core.fleets import Fleet
from shopset.core.placement._homing import waits_for
from shopset.core.placement._targets import Targets
from shopset.core.placement._waves import Step
from shopset.core.placement.bounding import Shortage, shortages
from shopset.core.placement.drains import waiting
from shopset.core.placement.evaluating import loads, worst, worst_n1
from shopset.core.placement.modelling import Model, takes
from shopset.core.placement.plans import Seen
from shopset.core.placement.problems import Solution
from shopset.core.placement.shops import RESOURCES
from shopset.core.placement.shuffling import shared_fates
from shopset.core.release.plans import Condition

_UNITS: Final = {"requests": "requests/s", "connections": "connections", "shops": "shops"}
_ADD: Final = "Add a ShopSet, or let one of them take shops again"


def conditions(fleet: Fleet, seen: Seen, found: Model, goal: Targets, step: Step) -> Iterator[Condition]:
    """Yield the conditions of shops, classes, clusters and ShopSets."""
    yield from _of_unknown_classes(fleet, seen)
    yield from _of_classes(fleet, seen, found, goal, step)
    yield from _of_pins(goal)
    yield from _of_safety(found, goal)
    yield from _of_clusters(fleet, seen, found, step)
    yield from _of_homes(goal)
    yield from _of_capacities(found)
    yield from _of_shuffling(fleet, found, goal)


def _shops(number: int, one: str = "has", more: str = "have") -> str:
    return f"1 shop {one}" if number == 1 else f"{number:,} shops {more}"


def _of_unknown_classes(fleet: Fleet, seen: Seen) -> Iterator[Condition]:
    counts = np.bincount(seen.shops.classes, minlength=len(seen.shops.class_names))
    for number, shop_class in enumerate(seen.shops.class_names):
        if counts[number] and shop_class not in fleet.shop_classes:
            message = (
                f"{_shops(counts[number], 'is', 'are')} of the class {shop_class}, which the fleet does not have: those that are placed "
                "stay where they are, whatever happens there, and others are not placed. Add the ShopClass, or change their class"
            )
            yield Condition(f"ShopClass/{shop_class}", "Placed", "NoShopClass", message)


def _of_classes(fleet: Fleet, seen: Seen, found: Model, goal: Targets, step: Step) -> Iterator[Condition]:
    problem = found.problem
    stranded = np.zeros(len(found.groups), np.int32)
    for row, names in step.stranded.items():
        stranded[row] = len(names)
    present = (goal.legs >= 0).sum(1)
    for number, shop_class in enumerate(found.classes):
        rows = problem.kind // 2 == number
        unplaced = int(problem.weight[rows & (present + stranded == 0)].sum())
        short = int(problem.weight[rows & (present > 0) & (present + stranded < problem.replicas)].sum())
        stuck = int(problem.weight[rows & (stranded > 0)].sum())
        silent = _silent(fleet, seen, found, number)
        advice = f"{silent}: wait for that, or add a ShopSet" if silent else _ADD
        if unplaced:
            message = (
                f"{_shops(unplaced)} no ShopSet: none of the tier and configuration of {shop_class} takes shops now"
            )
            message += f": {silent}. They are placed once one serves" if silent else f". {_ADD}"
            yield Condition(f"ShopClass/{shop_class}", "Placed", "NoShopSet", message)
        if stuck:
            message = (
                f"{_shops(stuck)} a replica where they should not, and keep it: no other ShopSet of {shop_class} that takes "
                f"shops lies apart from their other replicas. {advice}"
            )
            yield Condition(f"ShopClass/{shop_class}", "Placed", "NowhereElse", message, "Warning")
        if short:
            message = (
                f"{_shops(short)} fewer replicas than {shop_class} asks for: no other ShopSet that takes shops lies apart "
                f"from those that they have. {advice}"
            )
            yield Condition(f"ShopClass/{shop_class}", "Redundant", "NoOtherDomain", message, "Warning")


def _silent(fleet: Fleet, seen: Seen, found: Model, number: int) -> str:
    """Return why ShopSets that may take the shops of a class do not; empty where that is not why: one of each state."""
    states = {
        name: seen.unready.get(name, "serves nobody")
        for name, allowed in zip(found.shopsets, found.problem.allowed[2 * number], strict=True)
        if allowed and name in seen.unusable and takes(fleet, fleet.shopsets[name], seen.clusters)
    }
    firsts = {state: name for name, state in reversed(states.items())}
    told = sorted(f"{name} {state}" for state, name in firsts.items())
    more = f" (and {len(states) - len(told)} more)" if len(states) > len(told) else ""
    return ", ".join(told) + more


def _of_pins(goal: Targets) -> Iterator[Condition]:
    for shop, objection in goal.refused:
        message = f"it is placed by its class, not where its source pins it: {objection}"
        yield Condition(f"Shop/{shop}", "Pinned", "CannotBe", message, "Warning")


def _of_safety(found: Model, goal: Targets) -> Iterator[Condition]:
    seen = loads(found.problem, goal.legs)
    normal, after_loss = worst(found.problem, seen), worst_n1(found.problem, seen)
    if max(normal, after_loss) <= 1 + 1e-9:
        return
    solution = goal.solution or Solution(goal.legs, normal, after_loss, 0.0, 0.0)
    found_short = shortages(found.problem, solution)
    if found_short:
        for each in found_short:
            yield _shortage(found, each)
        return
    state = "overloaded" if normal > 1 else "overloaded after the loss of one domain"
    message = (
        f"the worst ShopSet is at {max(normal, after_loss):.0%} of its capacity ({state}), and it is not proven that it has to be: "
        "shopctl rebalance may help"
    )
    yield Condition("Placement", "Safe", "NotProven", message, "Warning")


def _shortage(found: Model, short: Shortage) -> Condition:
    classes = sorted({found.classes[kind // 2] for kind in short.classes})
    when = where = ""
    if short.lost is not None:
        level, domain = short.lost
        name = found.domains[level][domain]
        when, where = f" when the {found.levels[level]} {name} is lost", f" outside {name}"
    message = (
        f"the ShopSets of {', '.join(classes)} lack {short.missing:,.0f} {_UNITS[RESOURCES[short.resource]]}{when}: they have "
        f"{short.present:,.0f}. Add a ShopSet{where}, or raise spec.capacity of those that bear more"
    )
    severity: Literal["Error", "Warning"] = "Error" if short.lost is None else "Warning"
    return Condition(f"ShopClass/{classes[0]}", "Safe", "CapacityShort", message, severity)


def _of_clusters(fleet: Fleet, seen: Seen, found: Model, step: Step) -> Iterator[Condition]:
    for cluster, record in sorted(seen.clusters.items()):
        reference = f"Cluster/{cluster}"
        if record.state == "Draining":
            message = (
                f"its shops leave, for {record.reason}: {_on(fleet, found, step, cluster):,} have a replica there still"
            )
            yield Condition(reference, "Drained", "Draining", message, "Info")
        elif record.state == "Returning":
            lacks = waits_for(fleet, seen, cluster)
            reason, message = (
                ("NotReady", f"its shops wait: {lacks}") if lacks else ("Returning", "its shops come back")
            )
            yield Condition(reference, "Returned", reason, message, "Info")
    for cluster, each in fleet.clusters.items():
        if each.spec.wish == "Drained" and cluster not in seen.clusters:
            yield from _of_wish(fleet, seen, found, step, cluster)


def _of_wish(fleet: Fleet, seen: Seen, found: Model, step: Step, cluster: str) -> Iterator[Condition]:
    tiers, left = waiting(fleet, seen).get(cluster, ()), _on(fleet, found, step, cluster)
    if not left:
        return
    reason, message = "Draining", f"its shops leave, as spec.wish asks: {left:,} have a replica there still"
    if tiers:
        busy = " and ".join(f"{tier} is {seen.busy[tier]}" for tier in tiers)
        reason = "Waiting"
        message = (
            f"{busy}, and a drain would change what is measured: {left:,} shops with a replica there stay until then. "
            "spec.duringBake: true empties it now"
        )
    yield Condition(f"Cluster/{cluster}", "Drained", reason, message, "Info")


def _on(fleet: Fleet, found: Model, step: Step, cluster: str) -> int:
    """Return how many shops have a replica on a cluster after a step."""
    there = set(fleet.hosted(cluster))
    after = {each.name: each for each in step.groups}
    groups = (after.get(each.name, each) for each in found.groups)
    return int(found.problem.weight[[not there.isdisjoint(each.replicas) for each in groups]].sum())


def _of_homes(goal: Targets) -> Iterator[Condition]:
    if goal.unfit:
        message = f"{len(goal.unfit):,} groups stay where they are: their old ShopSets have no room for them any more"
        yield Condition("Placement", "Returned", "NoRoom", message, "Warning")


def _of_capacities(found: Model) -> Iterator[Condition]:
    for column in np.flatnonzero(found.assumed.any(1) & found.problem.allowed.any(0)):
        message = "nobody stated how many requests it bears, so what is said of its load is a guess: set spec.capacity"
        yield Condition(f"ShopSet/{found.shopsets[column]}", "CapacityKnown", "Assumed", message, "Warning")


def _of_shuffling(fleet: Fleet, found: Model, goal: Targets) -> Iterator[Condition]:
    """Say how many groups share their fate, of classes that ask for as few as can be."""
    problem = found.problem
    for number, name in enumerate(found.classes):
        if not fleet.shop_classes[name].spec.isolation.shuffle:
            continue
        rows = np.flatnonzero((problem.kind == 2 * number) & ((goal.legs >= 0).sum(1) == problem.replicas))
        shared = shared_fates(found.replicas(goal.legs[row]) for row in rows.tolist())
        pairs = len(rows) * (len(rows) - 1) // 2
        message = f"{shared:,} of {pairs:,} pairs of its groups share all their replicas"
        yield Condition(f"ShopClass/{name}", "Shuffled", "FatesCounted", message, "Info")

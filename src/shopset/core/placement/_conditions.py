"""What people should know of the placement: shops without a ShopSet, replicas that are missing, what is not safe, and why."""

from collections.abc import Iterator

import numpy as np

from shopset.core.fleets import Fleet
from shopset.core.placement._targets import Targets, waits_for
from shopset.core.placement._waves import Step
from shopset.core.placement.evaluating import loads, worst, worst_n1
from shopset.core.placement.modelling import Model
from shopset.core.placement.plans import Seen, shops_of
from shopset.core.release.plans import Condition


def conditions(fleet: Fleet, seen: Seen, found: Model, goal: Targets, step: Step) -> Iterator[Condition]:
    """Yield the conditions of classes, clusters and ShopSets."""
    yield from _of_classes(found, goal)
    yield from _of_safety(found, goal)
    yield from _of_clusters(fleet, seen, step, goal)
    yield from _of_capacities(found)


def _of_classes(found: Model, goal: Targets) -> Iterator[Condition]:
    problem = found.problem
    present = (goal.legs >= 0).sum(1)
    for number, shop_class in enumerate(found.classes):
        rows = problem.kind // 2 == number
        unplaced = int(problem.weight[rows & (present == 0)].sum())
        short = int(problem.weight[rows & (present > 0) & (present < problem.replicas)].sum())
        if unplaced:
            message = f"{unplaced:,} shops have no ShopSet: none of the tier and configuration of {shop_class} takes shops now"
            yield Condition(f"ShopClass/{shop_class}", "Placed", "NoShopSet", message)
        if short:
            message = (
                f"{short:,} shops have fewer replicas than {shop_class} asks for: no other ShopSet that takes shops lies apart "
                "from those that they have"
            )
            yield Condition(f"ShopClass/{shop_class}", "Redundant", "NoOtherDomain", message, "Warning")


def _of_safety(found: Model, goal: Targets) -> Iterator[Condition]:
    seen = loads(found.problem, goal.legs)
    normal, after_loss = worst(found.problem, seen), worst_n1(found.problem, seen)
    if max(normal, after_loss) <= 1 + 1e-9:
        return
    state = "overloaded" if normal > 1 else "overloaded after the loss of one domain"
    message = (
        f"the worst ShopSet is at {max(normal, after_loss):.0%} of its capacity ({state}), and it is not proven that it has to be: "
        "shopctl rebalance may help"
    )
    yield Condition("Placement", "Safe", "NotProven", message, "Warning")


def _of_clusters(fleet: Fleet, seen: Seen, step: Step, goal: Targets) -> Iterator[Condition]:
    for cluster, record in sorted(seen.clusters.items()):
        reference = f"Cluster/{cluster}"
        if record.state == "Draining":
            waiting = [each for each in step.later if any(_is_on(fleet, name, cluster) for name in each.before)]
            message = f"its shops leave, for {record.reason}: {shops_of(waiting):,} are still to go"
            yield Condition(reference, "Drained", "Draining", message, "Info")
        elif record.state == "Returning":
            lacks = waits_for(fleet, seen, cluster)
            reason, message = (
                ("NotReady", f"its shops wait: {lacks}") if lacks else ("Returning", "its shops come back")
            )
            yield Condition(reference, "Returned", reason, message, "Info")
    if goal.unfit:
        message = f"{len(goal.unfit):,} groups stay where they are: their old ShopSets have no room for them any more"
        yield Condition("Placement", "Returned", "NoRoom", message, "Warning")


def _is_on(fleet: Fleet, shopset: str, cluster: str) -> bool:
    return shopset in fleet.shopsets and fleet.shopsets[shopset].spec.cluster == cluster


def _of_capacities(found: Model) -> Iterator[Condition]:
    for column in np.flatnonzero(found.assumed.any(1)):
        message = "nobody stated how many requests it bears, so what is said of its load is a guess: set spec.capacity"
        yield Condition(f"ShopSet/{found.shopsets[column]}", "CapacityKnown", "Assumed", message, "Warning")

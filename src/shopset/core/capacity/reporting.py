"""How much a fleet still takes: shops and requests of its tiers, ShopSets of its clusters, connections of its databases."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from shopset.api import ShopClass, ShopSet
from shopset.core.capacity.budgets import Budget, cluster_budgets, database_budgets
from shopset.core.fleets import Fleet
from shopset.core.placement.evaluating import Loads, loads, scenarios
from shopset.core.placement.facts import canaries
from shopset.core.placement.modelling import Model
from shopset.core.placement.problems import Bools, Floats
from shopset.core.placement.shops import RESOURCES

UNITS: Final = {"requests": "requests/s", "connections": "connections", "shops": "replicas of shops"}
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of a resource there is in a pool. What nobody stated is None, and never infinity."""

    used: float
    capacity: float | None
    """Of the ShopSets that state one."""
    left: float | None
    """What is left of that, as things are."""
    left_after_loss: float | None
    """What is left of that whichever one domain is lost, as far as what comes is spread evenly."""


@dataclass(frozen=True)
class Pool:
    """ShopSets that serve the same shops: those of a tier and a configuration."""

    tier: str
    configuration: str
    dedicated: bool
    shopsets: tuple[str, ...]
    shops: int
    """Shops that are served here."""
    amounts: tuple[Amount, ...]
    """As RESOURCES."""
    takes: int | None
    """How many shops more it takes, of those as they are on average, with any one domain lost; None where no limit is stated."""
    limited_by: str
    """The resource that is short first; empty where none is limited."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many ShopSets are on a cluster, and how many more fit."""

    cluster: str
    shopsets: int
    holds: int | None
    more: int | None


@dataclass(frozen=True, slots=True)
class CanaryLeg:
    """The share of traffic that ShopSets of another tier are to take. It is on top of their own shops', and no replica."""

    tier: str
    configuration: str
    classes: tuple[str, ...]
    """The classes whose shops give it, sorted."""
    shopsets: tuple[str, ...]
    """Who may take it now."""
    requests: float
    """Requests per second that are to be expected of it."""
    own: float
    """Those of the shops that are served here by placement."""
    capacity: float | None
    """Of the ShopSets that state one."""

    @property
    def left(self) -> float | None:
        """What is left of the capacity; negative where more is to be expected than they bear."""
        return None if self.capacity is None else self.capacity - self.own - self.requests


@dataclass(frozen=True, slots=True)
class Note:
    """Something about one object that a person should know."""

    resource: str
    message: str


@dataclass(frozen=True)
class Report:
    """What a fleet still takes."""

    pools: tuple[Pool, ...]
    rooms: tuple[Room, ...]
    databases: tuple[Budget, ...]
    canaries: tuple[CanaryLeg, ...]
    notes: tuple[Note, ...]


def report(fleet: Fleet, found: Model) -> Report:
    """Return what a fleet still takes with its shops where they are."""
    state = loads(found.problem, found.problem.legs)
    pools = tuple(_pool(fleet, found, state, key, names) for key, names in _pools(fleet).items())
    rooms = {budget.owner: budget for budget in cluster_budgets(fleet.clusters, fleet.shopsets)}
    databases = tuple(database_budgets(fleet.configurations, fleet.shopsets))
    legs = tuple(_canary_legs(fleet, found, state))
    return Report(
        pools=pools,
        rooms=tuple(_room(fleet, name, rooms.get(each.reference)) for name, each in fleet.clusters.items()),
        databases=databases,
        canaries=legs,
        notes=(*unstated(fleet, serving(fleet)), *_of_budgets((*databases, *rooms.values())), *_of_canaries(legs)),
    )


def stated(found: Model) -> Bools:
    """Return which capacities somebody stated, (S, R)."""
    return np.asarray(~found.assumed & np.isfinite(found.problem.capacity))


def serving(fleet: Fleet) -> tuple[str, ...]:
    """Return the ShopSets that some class of shops may be on, sorted."""
    wanted = {(each.spec.tier, each.spec.configuration) for each in fleet.shop_classes.values()}
    return tuple(name for name, each in fleet.shopsets.items() if (each.spec.tier, each.spec.configuration) in wanted)


def unstated(fleet: Fleet, names: Iterable[str]) -> Iterator[Note]:
    """Yield a note where ShopSets do not state how many requests they bear, one for each tier."""
    missing: dict[str, list[str]] = {}
    for name in names:
        shopset = fleet.shopsets[name]
        if shopset.spec.capacity is None or shopset.spec.capacity.requests_per_second is None:
            missing.setdefault(shopset.spec.tier, []).append(name)
    for tier, found in missing.items():
        verb, whose = ("has", "its load is") if len(found) == 1 else ("have", "their load is")
        message = (
            f"{enumerated(found)} {verb} no capacity: {whose} not checked. "
            f"State spec.capacity.requestsPerSecond, or estimate it: shopctl capacity {tier} --estimate"
        )
        yield Note(f"Tier/{tier}", message)


def enumerated(names: Sequence[str]) -> str:
    """Return names as a sentence has them: `a-1, a-2 and 3 more`."""
    shown, more = names[:_SHOWN], len(names) - _SHOWN
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def _pools(fleet: Fleet) -> dict[tuple[str, str, bool], tuple[str, ...]]:
    """Return (tier, configuration, dedicated) -> its ShopSets; tiers by their level."""
    levels = {tier.name: tier.spec.level for tier in fleet.tiers}
    found: dict[tuple[str, str, bool], list[str]] = {}
    for name, shopset in fleet.shopsets.items():
        found.setdefault(_key(shopset), []).append(name)
    return {key: tuple(found[key]) for key in sorted(found, key=lambda each: (levels[each[0]], *each[1:]))}


def _key(shopset: ShopSet) -> tuple[str, str, bool]:
    return shopset.spec.tier, shopset.spec.configuration, shopset.spec.dedicated


def _pool(fleet: Fleet, found: Model, state: Loads, key: tuple[str, str, bool], names: tuple[str, ...]) -> Pool:
    problem = found.problem
    columns = np.array([found.numbers[name] for name in names], np.intp)
    here = np.isin(problem.legs[:, 0], columns) if problem.legs.size else np.zeros(0, bool)
    amounts = _amounts(found, state, columns)
    shops = int(problem.weight[here].sum())
    takes, limited_by = _takes(fleet, found, here, amounts)
    return Pool(*key, names, shops, amounts, takes, limited_by)


def _canary_legs(fleet: Fleet, found: Model, state: Loads) -> Iterator[CanaryLeg]:
    """Yield the canary shares of each tier and configuration; tiers by their level."""
    problem, requests = found.problem, RESOURCES.index("requests")
    classes: dict[tuple[str, str], list[ShopClass]] = {}
    for shop_class in fleet.shop_classes.values():
        canary = shop_class.spec.traffic.canary
        if canary is not None:
            classes.setdefault((canary.tier, shop_class.spec.configuration), []).append(shop_class)
    for tier, configuration in sorted(classes, key=lambda key: (fleet.tier(key[0]).spec.level, key[1])):
        given = classes[tier, configuration]
        columns = [found.numbers[each.name] for each in canaries(fleet, given[0])]
        usable = [column for column in columns if not problem.leaves[column]]
        served = (problem.legs >= 0).any(1)
        share = 0.0
        for each in given:
            here = served & (problem.kind // 2 == found.classes.index(each.name))
            percent = each.spec.traffic.canary.percent if each.spec.traffic.canary else 0
            share += float(problem.demand[here, requests].sum()) * percent / 100
        known = [column for column in usable if stated(found)[column, requests]]
        yield CanaryLeg(
            tier,
            configuration,
            tuple(each.name for each in given),
            tuple(found.shopsets[column] for column in usable),
            share,
            float(state.normal[usable, requests].sum()),
            float(problem.capacity[known, requests].sum()) if known else None,
        )


def _of_canaries(legs: Iterable[CanaryLeg]) -> Iterator[Note]:
    for leg in legs:
        whose = f"the canary share of {enumerated(leg.classes)}, {leg.requests:,.0f} requests/s,"
        if not leg.shopsets:
            yield Note(f"Tier/{leg.tier}", f"{whose} is taken by no ShopSet now: their replicas have it too")
        elif leg.left is not None and leg.left < 0:
            message = (
                f"{whose} is more by {-leg.left:,.0f} than {enumerated(leg.shopsets)} can take beside their own shops: "
                "lower the percentage, or raise spec.capacity of those that bear more"
            )
            yield Note(f"Tier/{leg.tier}", message)


def _amounts(found: Model, state: Loads, columns: np.ndarray) -> tuple[Amount, ...]:
    problem = found.problem
    known, staying = stated(found)[columns], ~problem.leaves[columns]
    lost = np.vstack([np.zeros(len(problem.capacity), bool), scenarios(problem).lost])[:, columns]
    amounts = []
    for number in range(len(RESOURCES)):
        used = state.rows[:, columns, number]
        counted = known[:, number] & staying
        capacity = problem.capacity[columns, number]
        free = np.where(counted & ~lost, np.maximum(np.where(counted, capacity, 0.0) - used, 0.0), 0.0).sum(1)
        whole = float(used[0].sum())
        if not counted.any():
            amounts.append(Amount(whole, None, None, None))
        else:
            amounts.append(Amount(whole, float(capacity[counted].sum()), float(free[0]), float(free.min())))
    return tuple(amounts)


def _takes(fleet: Fleet, found: Model, here: Bools, amounts: Sequence[Amount]) -> tuple[int | None, str]:
    """Return how many shops more fit, and which resource says so."""
    most: list[tuple[int, str]] = []
    for number, (name, amount) in enumerate(zip(RESOURCES, amounts, strict=True)):
        each = _of_one_shop(fleet, found.problem.demand[here], found.problem.weight[here], number)
        if not found.problem.follows_traffic[number]:
            each *= _replicas(found, here)
        if amount.left_after_loss is not None and each > 0:
            most.append((int(amount.left_after_loss / each + 1e-9), name))
    return min(most, default=(None, ""))


def _of_one_shop(fleet: Fleet, demand: Floats, weight: np.ndarray, number: int) -> float:
    """Return what a shop takes on average; where there is none yet, what is assumed of one."""
    if weight.sum() > 0:
        return float(demand[:, number].sum() / weight.sum())
    assumed = fleet.platform.spec.placement.demand
    return (assumed.requests_per_second or 0.0, float(assumed.connections or 0), 1.0)[number]


def _replicas(found: Model, here: Bools) -> float:
    weight = found.problem.weight[here]
    return float((found.problem.replicas[here] * weight).sum() / weight.sum()) if weight.sum() else 1.0


def _room(fleet: Fleet, name: str, budget: Budget | None) -> Room:
    hosted = len(fleet.hosted(name))
    return Room(name, hosted, budget.limit if budget else None, budget.room if budget else None)


def _of_budgets(budgets: Iterable[Budget]) -> Iterator[Note]:
    for budget in budgets:
        if budget.left < 0:
            yield Note(budget.owner, f"{budget.arithmetic}: {budget.advice}")
        if budget.unknown:
            verb = "opens" if len(budget.unknown) == 1 else "open"
            message = (
                f"how many connections {enumerated(budget.unknown)} {verb} to the database {budget.database} is not "
                "stated, so the budget is not checked for them: state connectionsPerShopset of the database"
            )
            yield Note(budget.owner, message)

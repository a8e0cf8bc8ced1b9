"""The loads of a placement in the making, and what a change of it costs.

Each ShopSet has a *row* per state of the world: nothing lost, or one domain. A row costs exp(sharpness * load / capacity / aim),
so the sum over all rows is governed by the fullest, and a change is worth what it takes off the sum: exactly, since a group adds
the same to every row of its primary, and to one row per level of the replica that is next.
"""

from dataclasses import dataclass, field

import numpy as np

from shopset.core.placement.evaluating import Index, Scenarios, loads, scenarios
from shopset.core.placement.problems import Bools, Floats, Ints, Problem

_LARGEST_EXPONENT = 300.0
_FULLEST = 300.0
"""No row costs more than exp of this, so that sums and products stay finite."""
_GRAIN = 1e-4
"""The share of all demand that is spread over the shops evenly, so that those without any demand are spread, too."""


@dataclass
class Balance:
    """Mutable: the loads of a placement that is being made, and the cost of its rows."""

    problem: Problem
    legs: Ints
    """(G, K): -1 where there is none (yet)."""
    aims: tuple[float, float]
    """What the fullest ShopSet should come to, normally and after a loss."""
    sharpness: float
    counted: Bools
    """(G,): whose load is in the sums."""
    losses: Scenarios = field(init=False)
    traffic: Floats = field(init=False)
    static: Floats = field(init=False)
    unit: Floats = field(init=False)
    """(S, R): 1 / capacity."""
    base: Floats = field(init=False)
    """(S, R): what primaries, and whatever is static, load each ShopSet with."""
    extra: Floats = field(init=False)
    """(scenarios, S, R): what comes to it after a loss."""
    normal: Floats = field(init=False)
    """(S, R): cost of the normal rows."""
    after: Floats = field(init=False)
    """(scenarios, S, R): cost of the others."""
    total: Floats = field(init=False)
    """(S, R): the sum of `after`."""

    def __post_init__(self) -> None:
        problem = self.problem
        self.losses = scenarios(problem)
        demand = problem.demand + _grain(problem)
        self.traffic = demand * problem.follows_traffic
        self.static = demand * ~problem.follows_traffic
        self.unit = _unit(problem, demand)
        self.recount()

    def recount(self) -> None:
        """Sum up all loads anew."""
        size, resources = self.problem.capacity.shape
        self.base = np.zeros((size, resources))
        self.extra = np.zeros((len(self.losses), size, resources))
        self.add(np.flatnonzero(self.counted), 1)
        self.sharpen(self.sharpness)

    def sharpen(self, sharpness: float) -> None:
        """Set how much the fullest rows count above the others."""
        self.sharpness = sharpness
        self.normal = np.zeros_like(self.base)
        self.after = np.zeros_like(self.extra)
        self.total = np.zeros_like(self.base)
        self.refresh(np.arange(len(self.base)))

    @property
    def rates(self) -> tuple[Floats, Floats]:
        """(S, R) each: by how much the logarithm of a normal row's cost, and of another's, grows with a unit of demand."""
        return self.unit * (self.sharpness / self.aims[0]), self.unit * (self.sharpness / self.aims[1])

    def refresh(self, shopsets: Index) -> None:
        """Reckon the costs of some ShopSets' rows anew."""
        now, then = (rate[shopsets] for rate in self.rates)
        base = self.base[shopsets]
        self.normal[shopsets] = np.exp(np.minimum(base * now - self.sharpness, _FULLEST))
        after = np.exp(np.minimum((base + self.extra[:, shopsets]) * then - self.sharpness, _FULLEST))
        after[self.losses.lost[:, shopsets]] = 0
        self.after[:, shopsets] = after
        self.total[shopsets] = after.sum(0)

    def after_loss(self, scenarios: Index, shopsets: Index | Ints) -> Floats:
        """(n, R): the cost of the row of each ShopSet in the scenario beside it."""
        size, resources = self.base.shape
        rows = self.after.reshape(-1, resources)
        return np.asarray(rows.take(scenarios * size + shopsets, axis=0), np.float64)

    def cost(self) -> float:
        """Return the sum over all rows."""
        return float(self.normal.sum() + self.total.sum())

    def utilisation(self) -> tuple[Floats, Floats]:
        """Return load over capacity: (S, R) normally, (scenarios, S, R) after each loss."""
        after = (self.base + self.extra) * self.unit
        after[self.losses.lost] = 0
        return self.base * self.unit, after

    def fullest(self) -> float:
        """Return how full the fullest row is, as a part of what it should come to."""
        normal, after = self.utilisation()
        return max(float(normal.max(initial=0)) / self.aims[0], float(after.max(initial=0)) / self.aims[1])

    def is_safe(self) -> bool:
        """Whether no ShopSet is overloaded, whatever domain is lost."""
        normal, after = self.utilisation()
        return bool(max(normal.max(initial=0), after.max(initial=0)) <= 1)

    def serving(self, groups: Index) -> tuple[Ints, Ints]:
        """Return the primary of each group, and (groups, L) which replica is next where a domain of the level takes the primary."""
        return serving(self.problem.domains, self.legs[groups])

    def add(self, groups: Index, sign: int) -> Index:
        """Add the load of groups, or take it away, and return whose loads have changed. Costs are not yet refreshed."""
        spread = self.problem.active[groups] > 1
        if spread.any():
            found = loads(
                replace_groups(self.problem, groups[spread], self.traffic + self.static), self.legs[groups[spread]]
            ).rows
            self.base += sign * found[0]
            self.extra += sign * np.where(self.losses.lost[:, :, None], 0, found[1:] - found[0])
        self._add_plain(groups[~spread], sign)
        legs = self.legs[groups]
        return np.unique(legs[legs >= 0]).astype(np.intp)

    def _add_plain(self, groups: Index, sign: int) -> None:
        legs = self.legs[groups]
        primary, following = serving(self.problem.domains, legs)
        there = primary >= 0
        amount = sign * self.traffic[groups]
        np.add.at(self.base, primary[there], amount[there])
        for level in range(following.shape[1]):
            to = following[:, level]
            some = there & (to >= 0)
            np.add.at(self.extra, (self.losses.of[level][primary[some]], to[some]), amount[some])
        if not self.problem.follows_traffic.all():
            row, position = np.nonzero(legs >= 0)
            np.add.at(self.base, legs[row, position], sign * self.static[groups][row])


def serving(domains: Ints, legs: Ints) -> tuple[Ints, Ints]:
    """Return the first replica of each group, and per level the first one in another domain; -1 where there is none."""
    primary = legs[:, 0].copy()
    for position in range(1, legs.shape[1]):
        primary = np.where(primary < 0, legs[:, position], primary)
    following = np.full((len(legs), len(domains)), -1, np.int32)
    for level, domain in enumerate(domains):
        away = np.append(domain, -1)
        home = away[primary]
        for position in range(legs.shape[1]):
            leg = legs[:, position]
            take = (following[:, level] < 0) & (leg >= 0) & (away[leg] != home)
            following[take, level] = leg[take]
    return primary, following


def growth(amount: Floats) -> Floats:
    """Return exp(amount) - 1, kept finite."""
    return np.asarray(np.expm1(np.minimum(amount, _LARGEST_EXPONENT)), np.float64)


def summed(rows: Floats) -> Floats:
    """(n,): the sum of (n, R) over the resources; numpy's own takes ten times as long where a row is that short."""
    total = rows[:, 0].copy()
    for resource in range(1, rows.shape[1]):
        total += rows[:, resource]
    return total


def _grain(problem: Problem) -> Floats:
    """(G, R): a little demand for each shop."""
    shops = max(int(problem.weight.sum()), 1)
    finite = np.where(np.isfinite(problem.capacity), problem.capacity, 0).mean(0)
    return np.asarray(problem.weight[:, None] * (_GRAIN * (problem.demand.sum(0) + finite) / shops), np.float64)


def _unit(problem: Problem, demand: Floats) -> Floats:
    """(S, R): 1 / capacity; an unlimited one is taken for ten times what there is, and none for very little."""
    limitless = 10 * demand.sum(0) + 1
    capacity = np.where(np.isfinite(problem.capacity), problem.capacity, limitless)
    return np.asarray(1 / np.maximum(capacity, 1e-6 * limitless), np.float64)


def replace_groups(problem: Problem, groups: Index, demand: Floats) -> Problem:
    """Return the problem of some groups only, with another demand."""
    return Problem(
        problem.capacity, problem.follows_traffic, problem.domains, problem.takes, problem.leaves, problem.allowed, problem.apart,
        problem.kind[groups], problem.replicas[groups], problem.legs[groups], demand[groups], problem.weight[groups],
        problem.fixed[groups], problem.active[groups],
    )  # fmt: skip

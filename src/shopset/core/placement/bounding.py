"""Lower bounds: how evenly any placement at all can load the ShopSets, and who is short of what.

*Pools*: what the groups of some classes need is carried by the ShopSets that they may be on; so the fullest of these is at least as full
as they are together. *Prices*: for any prices of the rows (a ShopSet normally, or after one loss) that sum
to one, the fullest row is at least as full as the mean weighted with them, and that is least where each group is served as cheaply as it
can be: the Lagrangian dual of the linear program in which groups may be divided. Every set of prices makes a valid bound; prices that
follow the loads of a good placement make a good one.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from shopset.core.placement._keeping import kept
from shopset.core.placement.evaluating import Index, Scenarios, scenarios
from shopset.core.placement.problems import Bools, Floats, Ints, Problem, Solution

_ENOUGH: Final = 1 + 1e-9


@dataclass(frozen=True)
class Shortage:
    """Some classes need more of a resource than all ShopSets that they may be on have."""

    classes: tuple[int, ...]
    resource: int
    lost: tuple[int, int] | None
    """Level and domain of the loss; None: as things are."""
    missing: float
    """What has to be added on ShopSets for these classes, outside of the lost domain."""
    present: float
    """What these ShopSets have."""


def shortages(problem: Problem, solution: Solution) -> tuple[Shortage, ...]:
    """Return who is short of what, the worst first, whatever is moved where; one for each set of classes, resource and loss."""
    losses = scenarios(problem)
    served, demand = _served(problem, solution.legs), _needed(problem, solution.legs)
    found = []
    for classes, pool in _pools(problem, solution.legs):
        present, need = _pooled(problem, losses, served, demand, classes, pool)
        for row, resource in np.argwhere(need > present * _ENOUGH).tolist():
            lost = None if row == 0 else (int(losses.level[row - 1]), int(losses.domain[row - 1]))
            here = float(present[row, resource])
            found.append(Shortage(classes, resource, lost, float(need[row, resource]) - here, here))
    return tuple(
        sorted(
            found,
            key=lambda one: (-one.missing / max(one.present, 1e-9), one.classes, one.resource, one.lost or (-1, -1)),
        )
    )


def pooled_bounds(problem: Problem, legs: Ints) -> tuple[float, float]:
    """Return what `worst` and `worst_n1` are at least, since pools are as full as they are in the mean, and no group is divided."""
    losses = scenarios(problem)
    served, demand = _served(problem, legs), _needed(problem, legs)
    low = after = _largest(problem, legs)
    for classes, pool in _pools(problem, legs):
        present, need = _pooled(problem, losses, served, demand, classes, pool)
        mean = np.divide(need, present, out=np.zeros_like(need), where=(need > 0) & (present > 0))
        low = max(low, float(mean[0].max(initial=0)))
        after = max(after, float(mean.max(initial=0)))
    return low, after


def _pools(problem: Problem, legs: Ints) -> list[tuple[tuple[int, ...], Bools]]:
    """Sets of ShopSets, each with the classes that may be nowhere else: for each class, and for all together."""
    may = reachable(problem, legs)
    used = np.unique(problem.kind)
    found: dict[tuple[int, ...], Bools] = {}
    for pool in [may[used].any(0), *may[used]]:
        classes = tuple(int(kind) for kind in used if not (may[kind] & ~pool).any())
        found[classes] = pool
    return list(found.items())


def reachable(problem: Problem, legs: Ints) -> Bools:
    """(C, S): where groups of each class may be: they may come, or some stay."""
    may = problem.allowed & (problem.takes & ~problem.leaves)
    for some in (problem.legs, legs):
        group, position = np.nonzero(some >= 0)
        may[problem.kind[group], some[group, position]] = True
    return np.asarray(may & ~problem.leaves)


def _served(problem: Problem, legs: Ints) -> Bools:
    """(L, G): the groups that every placement serves after the loss of any domain of a level."""
    apart = problem.apart.copy()
    for level, domain in enumerate(problem.domains):
        for other, wider in enumerate(problem.domains):
            if level != other and _within(domain, wider):
                apart[:, level] |= problem.apart[:, other]
    several = np.count_nonzero(legs >= 0, axis=1) > 1
    return np.asarray(apart[problem.kind].T & several, np.bool_)


def _needed(problem: Problem, legs: Ints) -> Floats:
    """(G, R): what each group uses of all ShopSets together: once what follows the traffic, and the rest with each replica."""
    replicas = (legs >= 0).sum(1)[:, None]
    return np.asarray(problem.demand * np.where(problem.follows_traffic, np.minimum(replicas, 1), replicas), np.float64)


def _within(domain: Ints, wider: Ints) -> bool:
    """Whether each domain of one level lies in a single one of the other."""
    return bool(np.unique(np.stack([domain, wider]), axis=1).shape[1] == len(np.unique(domain)))


def _pooled(
    problem: Problem, losses: Scenarios, served: Bools, demand: Floats, classes: tuple[int, ...], pool: Bools
) -> tuple[Floats, Floats]:
    """(1 + scenarios, R) each: the capacity of a pool, and what is certainly served from it."""
    living = np.vstack([pool[None], pool & ~losses.lost])
    capacity = np.where(living[:, :, None], problem.capacity, 0).sum(1)
    inside = np.isin(problem.kind, classes)
    need = np.zeros_like(capacity)
    need[0] = demand[inside].sum(0)
    for level in range(len(served)):
        total = (problem.demand[inside & served[level]] * problem.follows_traffic).sum(0)
        need[1:][losses.level == level] = total
    return capacity, need


def _largest(problem: Problem, legs: Ints) -> float:
    """How full the ShopSet of the largest group is at least."""
    may = reachable(problem, legs)
    best = np.where(may[:, :, None], problem.capacity, 0).max(1, initial=0)[problem.kind]
    share = problem.demand / np.where(problem.follows_traffic, problem.active.clip(1)[:, None], 1)
    placed = np.any(legs >= 0, axis=1, keepdims=True)
    return float(np.divide(share, best, out=np.zeros_like(share), where=(best > 0) & placed).max(initial=0))


def priced_bounds(problem: Problem, legs: Ints, prices: Floats, *, free: bool, rounds: int = 0) -> tuple[float, float]:
    """Return bounds of `worst` and `worst_n1` from the prices of rows; (1 + scenarios, S, R).

    `free`: replicas that could stay may move, too. `rounds`: how often the prices are improved: those of full rows rise.
    """
    dual = _Dual(problem, legs, free=free)
    low = after = 0.0
    for resource in np.flatnonzero(problem.follows_traffic):
        both = prices[:, :, resource]
        low = max(low, dual.value(_normalised(both * (np.arange(len(both)) == 0)[:, None]), int(resource))[0])
        after = max(after, dual.improved(_normalised(both), int(resource), rounds))
    return low, max(low, after)


def _normalised(prices: Floats) -> Floats:
    total = float(prices.sum())
    return np.asarray(prices / total, np.float64) if total > 0 else prices


class _Dual:
    """What each group costs at least, given prices. Only the primary and the next of each level matter, and are chosen freely."""

    def __init__(self, problem: Problem, legs: Ints, *, free: bool) -> None:
        self.problem = problem
        self.losses = scenarios(problem)
        self.served = _served(problem, legs)
        self.may = reachable(problem, legs) if free else problem.allowed & (problem.takes & ~problem.leaves)
        self.stay = kept(problem)
        if free:
            self.stay[~problem.fixed] = -1
        self.missing = (legs >= 0).sum(1) - (self.stay >= 0).sum(1)
        self.counted = ((legs >= 0).any(1)) & (problem.active <= 1)

    def improved(self, prices: Floats, resource: int, rounds: int) -> float:
        """Return the best bound of some rounds in which the prices of rows that are full rise."""
        best, step = 0.0, 0.5
        for _ in range(rounds + 1):
            bound, use = self.value(prices, resource)
            best = max(best, bound)
            if rounds == 0 or best > _ENOUGH or use.max(initial=0) <= 0:
                break
            prices = _normalised(prices * np.exp(step * (use / use.max() - 1) * 4))
            step *= 0.97
        return best

    def value(self, prices: Floats, resource: int) -> tuple[float, Floats]:
        """Return the sum of the least costs, and the load over capacity that the choices make: (1 + scenarios, S)."""
        problem, losses = self.problem, self.losses
        capacity = problem.capacity[:, resource]
        unit = np.where(capacity > 0, 1 / np.maximum(capacity, 1e-12), 0)
        price = prices * unit
        price[1:][losses.lost] = 0
        lead = price.sum(0)
        follow = [price[1 + losses.of[level]] for level in range(len(problem.domains))]
        demand = np.where(self.counted, problem.demand[:, resource], 0)
        cost, primary, following = self._cheapest(lead, follow)
        use = self._use(demand, primary, following) * unit
        return float((demand * cost).sum()), use

    def _cheapest(self, lead: Floats, follow: list[Floats]) -> tuple[Floats, Ints, Ints]:
        """Return per group the least cost of a unit of demand, and the choice that makes it; -1 where it is nobody's."""
        count = len(self.stay)
        best = np.full(count, np.inf)
        primary = np.full(count, -1, np.int32)
        following = np.full((count, len(follow)), -1, np.int32)
        for position in range(self.stay.shape[1]):
            some = np.flatnonzero(self.stay[:, position] >= 0)
            if len(some):
                self._offer(some, self.stay[some, position], lead, follow, best, primary, following, new=0)
        some = np.flatnonzero(self.missing > 0)
        if len(some):
            self._offer(some, self._new_primary(some, lead, follow), lead, follow, best, primary, following, new=1)
        best[~np.isfinite(best)] = 0
        return best, primary, following

    def _new_primary(self, groups: Index, lead: Floats, follow: list[Floats]) -> Ints:
        """(groups,): the new replica that makes the cheapest primary, of all groups with the same others."""
        signs = np.column_stack(
            [self.problem.kind[groups], self.missing[groups] > 1, self.served[:, groups].T, self.stay[groups]]
        )
        key, where = np.unique(signs, axis=0, return_inverse=True)
        levels = len(follow)
        anywhere = {kind: self._next_anywhere(kind, follow) for kind in np.unique(key[:, 0]).tolist()}
        chosen = np.empty(len(key), np.int32)
        for number, (kind, more, *rest) in enumerate(key.tolist()):
            cost = lead.copy()
            legs = [leg for leg in rest[levels:] if leg >= 0]
            for level, table in enumerate(follow):
                cost += self._next_of_any(
                    legs, level, table, anywhere[kind][level] if more else None, sure=bool(rest[level])
                )
            chosen[number] = np.where(self.may[kind], cost, np.inf).argmin()
        return chosen[where.reshape(-1)]

    def _next_anywhere(self, kind: int, follow: list[Floats]) -> list[Floats]:
        """Per level (S,): the cheapest new next replica for each primary."""
        found = []
        for domain, table in zip(self.problem.domains, follow, strict=True):
            apart = self.may[kind][None, :] & (domain[:, None] != domain[None, :])
            found.append(np.where(apart, table, np.inf).min(1, initial=np.inf))
        return found

    def _next_of_any(self, legs: list[int], level: int, table: Floats, new: Floats | None, *, sure: bool) -> Floats:
        """(S,): the cheapest next for each primary: one of the legs that stay, or a new one; 0 where perhaps nobody serves."""
        domain = self.problem.domains[level]
        cost = np.full(len(domain), np.inf) if new is None else new.copy()
        known = np.full(len(domain), sure)
        for leg in legs:
            apart = domain != domain[leg]
            cost = np.where(apart, np.minimum(cost, table[:, leg]), cost)
            known |= apart
        return np.where(known & np.isfinite(cost), cost, 0)

    def _offer(
        self,
        groups: Index,
        first: Ints,
        lead: Floats,
        follow: list[Floats],
        best: Floats,
        primary: Ints,
        following: Ints,
        *,
        new: int,
    ) -> None:
        """Take a primary for groups where it is cheaper than what they have."""
        cost = lead[first].copy()
        nexts = np.full((len(groups), len(follow)), -1, np.int32)
        for level, table in enumerate(follow):
            each, nexts[:, level] = self._next_of(groups, first, level, table, new)
            cost += each
        better = cost < best[groups]
        best[groups[better]] = cost[better]
        primary[groups[better]] = first[better]
        following[groups[better]] = nexts[better]

    def _next_of(self, groups: Index, first: Ints, level: int, table: Floats, new: int) -> tuple[Floats, Ints]:
        """(groups,) each: the least cost of a next replica and which it is; 0 and -1 where perhaps nobody serves."""
        domain = self.problem.domains[level]
        cost = np.full(len(groups), np.inf)
        chosen = np.full(len(groups), -1, np.int32)
        for position in range(self.stay.shape[1]):
            leg = self.stay[groups, position]
            each = np.where((leg >= 0) & (domain[leg] != domain[first]), table[first, leg], np.inf)
            chosen = np.where(each < cost, leg, chosen)
            cost = np.minimum(cost, each)
        more = self.missing[groups] > new
        for kind in np.unique(self.problem.kind[groups[more]]):
            some = np.flatnonzero(more & (self.problem.kind[groups] == kind))
            apart = self.may[kind][None, :] & (domain[:, None] != domain[None, :])
            options = np.where(apart, table, np.inf)
            target = options.argmin(1).astype(np.int32)[first[some]]
            each = options[first[some], target]
            chosen[some] = np.where(each < cost[some], target, chosen[some])
            cost[some] = np.minimum(cost[some], each)
        unsure = ~np.isfinite(cost) | ~self._surely_served(groups, first, level)
        return np.where(unsure, 0, cost), np.where(unsure, -1, chosen).astype(np.int32)

    def _surely_served(self, groups: Index, first: Ints, level: int) -> Bools:
        domain = self.problem.domains[level]
        stay = self.stay[groups]
        elsewhere = ((stay >= 0) & (domain[stay] != domain[first][:, None])).any(1)
        return np.asarray(self.served[level, groups] | elsewhere)

    def _use(self, demand: Floats, primary: Ints, following: Ints) -> Floats:
        """(1 + scenarios, S): the load of the choices."""
        size = len(self.problem.capacity)
        there = primary >= 0
        use = np.zeros((1 + len(self.losses), size))
        use[:] = np.bincount(primary[there], demand[there], size)
        for level in range(following.shape[1]):
            some = there & (following[:, level] >= 0)
            row = 1 + self.losses.of[level][primary[some]]
            np.add.at(use, (row, following[some, level]), demand[some])
        use[1:][self.losses.lost] = 0
        return use

"""Where missing replicas go: the largest first, each to the ShopSet where it costs least."""

from collections.abc import Iterator, Sequence
from math import exp
from typing import Final

import numpy as np

from shopset.core.placement._balancing import Balance, growth
from shopset.core.placement.evaluating import Index
from shopset.core.placement.problems import Bools, Floats, Ints, Problem

_BATCH: Final = 256
_SMALL: Final = ((0.1, 1), (0.5, 3), (2.0, 8))
"""Up to these changes of a row's logarithm so many terms of exp(x) - 1 will do."""
_THIRD: Final = 0.01
"""What load that comes only after a second loss counts for."""
_DEAREST: Final = 1e30
_STEP: Final = 0.02
"""Groups are placed in one step up to this share of the capacity of a ShopSet, times the number of ShopSets."""


def place(balance: Balance, order: Index) -> None:
    """Give groups their missing replicas in some order, as far as there is a ShopSet for them."""
    hopeless = np.zeros(balance.legs.shape, np.bool_)
    while True:
        missing = missing_positions(balance.problem, balance.legs) & ~hopeless
        groups = order[missing[order].any(1)]
        if not len(groups):
            return
        positions = missing.argmax(1)
        for some in batches(balance, groups):
            found = settle(balance, some, positions[some])
            none = some[found < 0]
            hopeless[none, positions[none]] = True


def missing_positions(problem: Problem, legs: Ints) -> Bools:
    """(G, K): where a replica is to come."""
    return (legs < 0) & (np.arange(legs.shape[1])[None, :] < problem.replicas[:, None])


def sizes(balance: Balance) -> Floats:
    """(G,): the demand of each group as a part of a mean ShopSet, in the resource that it needs most of."""
    return np.asarray(((balance.traffic + balance.static) * balance.unit.mean(0)).max(1), np.float64)


def by_size(balance: Balance) -> Index:
    """Return all groups, those whose shops are largest first, and of equal ones the first."""
    return np.argsort(-sizes(balance), kind="stable")


def batches(balance: Balance, groups: Index) -> Iterator[Index]:
    """Cut groups into pieces that are small beside what there is: the cost of one's placement hardly depends on the others'."""
    limit = _STEP * len(balance.base)
    size = sizes(balance)[groups]
    start = 0
    while start < len(groups):
        end = start + max(1, int(np.searchsorted(np.cumsum(size[start : start + _BATCH]), limit, side="right")))
        yield groups[start:end]
        start = end


def settle(balance: Balance, groups: Index, positions: Index) -> Ints:
    """Place one replica of each of some groups, and return where; -1 where no ShopSet will do.

    Groups that were counted already are taken out of the loads for the time being.
    """
    counted = groups[balance.counted[groups]]
    if len(counted):
        balance.refresh(balance.add(counted, -1))
    costs = candidate_costs(balance, groups, positions)
    targets = _choose(balance, costs, groups)
    some = targets >= 0
    balance.legs[groups[some], positions[some]] = targets[some]
    balance.counted[groups] = complete(balance, groups, targets >= 0)
    balance.refresh(balance.add(groups[balance.counted[groups]], 1))
    return targets


def complete(balance: Balance, groups: Index, placed: Bools) -> Bools:
    """Whether the load of a group is to be counted: its primary is known, or all was done that can be."""
    legs = balance.legs[groups]
    missing = (legs < 0) & (np.arange(legs.shape[1])[None, :] < balance.problem.replicas[groups][:, None])
    return (legs >= 0).any(1) & ((legs[:, 0] >= 0) | ~placed | ~missing.any(1))


def possible(problem: Problem, legs: Ints, groups: Index, positions: Index) -> Bools:
    """(groups, S): where a replica may come beside the others of its group."""
    kinds = problem.kind[groups]
    able = (problem.allowed & (problem.takes & ~problem.leaves))[kinds]
    apart = problem.apart[kinds]
    rows = np.arange(len(groups))
    for position in range(legs.shape[1]):
        other = np.where(positions == position, -1, legs[groups, position])
        there = other >= 0
        if not there.any():
            continue
        able[rows[there], other[there]] = False
        for level, domain in enumerate(problem.domains):
            some = there & apart[:, level]
            able[some] &= domain[None, :] != domain[other[some]][:, None]
    return able


def candidate_costs(balance: Balance, groups: Index, positions: Index) -> Floats:
    """(groups, S): what a replica in the given position of each group costs on each ShopSet; infinite where it may not be."""
    problem = balance.problem
    legs = balance.legs[groups]
    legs[np.arange(len(groups)), positions] = -1
    earlier = np.where(np.arange(legs.shape[1]) < positions[:, None], legs, -1)
    later = np.where(np.arange(legs.shape[1]) > positions[:, None], legs, -1)
    costs = _static_costs(balance, groups)
    leads = (earlier < 0).all(1) | (problem.active[groups] > 1)
    for some, reckon in ((np.flatnonzero(leads), _as_primary), (np.flatnonzero(~leads), _as_other)):
        for start in range(0, len(some), _BATCH):
            part = some[start : start + _BATCH]
            traffic = balance.traffic[groups[part]] / np.maximum(problem.active[groups[part]], 1)[:, None]
            costs[part] += reckon(balance, traffic, earlier[part], later[part])
    costs[~possible(problem, balance.legs, groups, positions)] = np.inf
    return costs


def _static_costs(balance: Balance, groups: Index) -> Floats:
    if balance.problem.follows_traffic.all():
        return np.zeros((len(groups), len(balance.base)))
    now, then = balance.rates
    return _priced(balance.static[groups], (now, balance.normal), (then, balance.total))


def _as_primary(balance: Balance, traffic: Floats, _earlier: Ints, later: Ints) -> Floats:
    """What it costs to serve groups from each ShopSet, their other replicas being next."""
    now, then = balance.rates
    costs = _priced(traffic, (now, balance.normal), (then, balance.total))
    for level, domain in enumerate(balance.problem.domains):
        # By domain, since all ShopSets of one are lost together. Nothing comes to a replica that is lost with them.
        after = balance.after[balance.losses.level == level]
        following = np.zeros((len(traffic), len(after)))
        unserved = np.ones(following.shape, np.bool_)
        for position in range(later.shape[1]):
            some = np.flatnonzero(later[:, position] >= 0)
            if not len(some):
                continue
            to = later[some, position]
            rows = np.einsum("dgr,gr->gd", after.take(to, axis=1), growth(traffic[some] * then[to]))
            following[some] += np.where(unserved[some], rows, 0)
            unserved[some] &= np.arange(len(after)) == domain[to][:, None]
        costs += following.take(domain, axis=1)
    return costs


def _as_other(balance: Balance, traffic: Floats, earlier: Ints, later: Ints) -> Floats:
    """What it costs to make each ShopSet the one that follows, where none before it does."""
    everyone = np.concatenate([earlier, later], axis=1)
    primary, before = _first_and_next(balance.problem, everyone, earlier.shape[1])
    _, then = balance.rates
    costs = _THIRD * _priced(traffic, (then, balance.total))
    for level in range(len(balance.problem.domains)):
        scenario = balance.losses.of[level][primary]
        weight = np.where(before[:, level] < 0, 1.0, _THIRD)[:, None]
        for lost in np.unique(scenario):
            some = scenario == lost
            # What is lost with the primary costs nothing in this row.
            costs[some] += weight[some] * _priced(traffic[some], (then, balance.after[lost]))
    return costs


def _priced(traffic: Floats, *rows: tuple[Floats, Floats]) -> Floats:
    """(groups, S): what the load of each group adds to rows of each ShopSet, each given by its rate and its cost."""
    largest = (traffic * np.maximum.reduce([rate for rate, _ in rows]).max(0)).max(1)
    small = largest < _SMALL[-1][0]
    if small.all():
        return _about_priced(traffic, rows, float(largest.max(initial=0)))
    costs = np.empty((len(traffic), len(rows[0][0])))
    if small.any():
        costs[small] = _about_priced(traffic[small], rows, float(largest[small].max()))
    costs[~small] = _exactly_priced(traffic[~small], rows)
    return costs


def _about_priced(traffic: Floats, rows: Sequence[tuple[Floats, Floats]], largest: float) -> Floats:
    """By the first terms of exp(x) - 1, all in one product of matrices: that takes a small part of the time of so many exponentials."""
    terms = next(count for limit, count in _SMALL if largest < limit)
    parts, weights = [traffic], [[cost * rate for rate, cost in rows]]
    for term in range(2, terms + 1):
        parts.append(parts[-1] * traffic / term)
        weights.append([weight * rate for weight, (rate, _) in zip(weights[-1], rows, strict=True)])
    return np.asarray(
        np.concatenate(parts, axis=1) @ np.concatenate([sum(each) for each in weights], axis=1).T, np.float64
    )


def _exactly_priced(traffic: Floats, rows: Sequence[tuple[Floats, Floats]]) -> Floats:
    costs = np.zeros((len(traffic), len(rows[0][0])))
    for rate, cost in rows:
        for resource in range(cost.shape[1]):
            costs += cost[:, resource] * growth(traffic[:, resource, None] * rate[:, resource])
    return costs


def _first_and_next(problem: Problem, legs: Ints, count: int) -> tuple[Ints, Ints]:
    """Return the primary, and per level the next replica among the first `count` legs."""
    primary = legs[:, 0].copy()
    for position in range(1, count):
        primary = np.where(primary < 0, legs[:, position], primary)
    following = np.full((len(legs), len(problem.domains)), -1, np.int32)
    for level, domain in enumerate(problem.domains):
        for position in range(count):
            leg = legs[:, position]
            take = (following[:, level] < 0) & (leg >= 0) & (domain[leg] != domain[primary])
            following[take, level] = leg[take]
    return primary, following


def _choose(balance: Balance, costs: Floats, groups: Index) -> Ints:
    """Take the cheapest ShopSet for each group in turn; each choice makes its ShopSet dearer for the groups after it."""
    rates = balance.rates[1].tolist()
    needs = (balance.traffic[groups] + balance.static[groups]).tolist()
    scale, scaled = np.ones(costs.shape[1]), np.empty(costs.shape[1])
    targets = np.full(len(groups), -1, np.int32)
    for row, (cost, need) in enumerate(zip(costs, needs, strict=True)):
        target = int(np.multiply(cost, scale, out=scaled).argmin())
        if cost[target] < np.inf:
            targets[row] = target
            more = max([amount * rate for amount, rate in zip(need, rates[target], strict=True)])
            scale[target] = min(scale[target] * exp(min(more, 30.0)), _DEAREST)
    return targets

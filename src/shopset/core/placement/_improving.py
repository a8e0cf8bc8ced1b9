"""Improving a placement: the order of a few groups' replicas is changed, and replicas that have to move go elsewhere."""

import numpy as np

from shopset.core.placement._balancing import Balance, growth
from shopset.core.placement._placing import settle
from shopset.core.placement.evaluating import Index, arrivals
from shopset.core.placement.problems import Bools, Floats, Ints

_LEAST = 1e-6
"""A change that takes off less than this share of the cost is not worth it."""


def flip_costs(balance: Balance, groups: Index) -> Floats:
    """(groups,): what it costs to let the first two replicas of each change places. They have two, and one serves."""
    now, then = balance.rates
    one, two = balance.legs[groups, 0], balance.legs[groups, 1]
    traffic = balance.traffic[groups]
    less, more = balance.total[one].copy(), balance.total[two].copy()
    for level, domain in enumerate(balance.problem.domains):
        of = balance.losses.of[level]
        apart = (domain[one] != domain[two])[:, None]
        less -= np.where(apart, balance.after[of[two], one], 0)
        more -= np.where(apart, balance.after[of[one], two], 0)
    change = balance.normal[one] * growth(-traffic * now[one]) + np.maximum(less, 0) * growth(-traffic * then[one])
    change += balance.normal[two] * growth(traffic * now[two]) + np.maximum(more, 0) * growth(traffic * then[two])
    return np.asarray(change.sum(1), np.float64)


def flippable(balance: Balance) -> Bools:
    """(G,): the groups whose first two replicas may change places."""
    problem = balance.problem
    if balance.legs.shape[1] < 2:
        return np.zeros(len(balance.legs), np.bool_)
    return (balance.legs[:, :2] >= 0).all(1) & ~problem.fixed & (problem.active <= 1)


def flip(balance: Balance, groups: Index, allowance: int, swapped: Bools, sweeps: int) -> int:
    """Let replicas change places where that lowers the cost, for `allowance` shops at most; return what is left of it."""
    weight = balance.problem.weight
    for _ in range(sweeps):
        if not len(groups):
            break
        change = flip_costs(balance, groups)
        price = np.where(swapped[groups], 0, weight[groups])
        worth = change / np.maximum(weight[groups], 1)
        good = np.flatnonzero((change < -_LEAST * balance.cost()) & (price <= allowance))
        order = good[np.argsort(worth[good], kind="stable")][: len(balance.base)]
        chosen = _disjoint(balance.legs, groups[order], len(balance.base))
        spent = np.cumsum(np.where(swapped[chosen], -weight[chosen], weight[chosen]))
        chosen = chosen[spent <= allowance]
        if not len(chosen):
            break
        before = balance.cost()
        _swap(balance, chosen)
        if balance.cost() > before:
            _swap(balance, chosen)
            chosen = chosen[:1]
            _swap(balance, chosen)
            if balance.cost() > before:
                _swap(balance, chosen)
                break
        allowance -= int(np.where(swapped[chosen], -weight[chosen], weight[chosen]).sum())
        swapped[chosen] = ~swapped[chosen]
    return allowance


def _swap(balance: Balance, groups: Index) -> None:
    touched = balance.add(groups, -1)
    balance.legs[groups, 0], balance.legs[groups, 1] = balance.legs[groups, 1], balance.legs[groups, 0].copy()
    balance.add(groups, 1)
    balance.refresh(touched)


def _disjoint(legs: Ints, groups: Index, size: int) -> Index:
    """Return those of some groups that share neither of their first two ShopSets with one before them."""
    used = np.zeros(size, np.bool_)
    chosen = []
    for group, (one, two) in zip(groups.tolist(), legs[groups, :2].tolist(), strict=True):
        if not used[one] and not used[two]:
            used[one] = used[two] = True
            chosen.append(group)
    return np.asarray(chosen, np.intp)


def relief(balance: Balance, groups: Index, positions: Index) -> Floats:
    """(replicas,): about what it would take off the cost if each were nowhere: the costliest are worth another try first."""
    now, then = balance.rates
    legs = balance.legs[groups, positions]
    primary, following = balance.serving(groups)
    amount = balance.traffic[groups]
    leads = legs == primary
    off = balance.normal[legs] * growth(-amount * now[legs]) + balance.total[legs] * growth(-amount * then[legs])
    gain = -np.where(leads, off.sum(1), 0)
    for level in range(following.shape[1]):
        to = following[:, level]
        row = balance.after[balance.losses.of[level][primary], to]
        gain -= np.where((to >= 0) & (leads | (to == legs)), (row * growth(-amount * then[to])).sum(1), 0)
    return np.asarray(gain, np.float64)


def resettle(balance: Balance, groups: Index, positions: Index, sweeps: int, batch: int) -> None:
    """Let replicas that move anyway choose again, those first that sit where it is fullest."""
    quiet = 0
    tried = np.zeros(len(groups), np.int64)
    for _ in range(sweeps):
        gain = relief(balance, groups, positions) / (1 + tried)
        some = np.argsort(-gain, kind="stable")[:batch]
        _, first = np.unique(groups[some], return_index=True)
        some = some[np.sort(first)]
        before, saved = balance.cost(), balance.legs[groups[some]].copy()
        settle(balance, groups[some], positions[some])
        tried[some] += 1
        if balance.cost() > before * (1 + 1e-12):
            restore(balance, groups[some], saved)
        quiet = quiet + 1 if balance.cost() > before * (1 - 1e-4) else 0
        if quiet > 8:
            return


def restore(balance: Balance, groups: Index, legs: Ints) -> None:
    """Put groups back to where they were."""
    touched = balance.add(groups, -1)
    balance.legs[groups] = legs
    balance.refresh(np.union1d(touched, balance.add(groups, 1)))


def rebalance(balance: Balance, groups: Index, budget: int, sweeps: int, batch: int) -> int:
    """Move replicas where that lowers the cost, for `budget` shops at most; return what is left of it."""
    problem, weight = balance.problem, balance.problem.weight
    row, positions = np.nonzero(balance.legs[groups] >= 0)
    groups = groups[row]
    tried = np.zeros(len(groups), np.int64)
    for _ in range(sweeps):
        gain = relief(balance, groups, positions) / weight[groups].clip(1) / (1 + tried)
        some = np.argsort(-gain, kind="stable")[:batch]
        _, first = np.unique(groups[some], return_index=True)
        some = some[np.sort(first)]
        some = some[np.cumsum(weight[groups[some]]) <= max(budget, 0)]
        if not len(some):
            return budget
        chosen, where = groups[some], positions[some]
        before, saved = balance.cost(), balance.legs[chosen].copy()
        settle(balance, chosen, where, _surcharge(balance, chosen, before))
        spent = _spent(problem.legs[chosen], saved, balance.legs[chosen], weight[chosen])
        tried[some] += 1
        if balance.cost() > before * (1 - _LEAST):
            restore(balance, chosen, saved)
        else:
            budget -= spent
    return budget


def _surcharge(balance: Balance, groups: Index, cost: float) -> Floats:
    """(groups, S): a little for each ShopSet where a group was not, so that nothing moves for next to nothing."""
    strange = np.full((len(groups), len(balance.base)), _LEAST * cost)
    origin = balance.problem.legs[groups]
    there = origin >= 0
    strange[np.nonzero(there)[0], origin[there]] = 0
    return strange


def _spent(origin: Ints, before: Ints, after: Ints, weight: Ints) -> int:
    """Return by how many shops' moves a change of some groups is dearer than what was."""
    more = arrivals(origin, after).sum(1) - arrivals(origin, before).sum(1)
    return int((more * weight).sum())

"""Improving a placement: the order of a few groups' replicas is changed, and replicas that have to move go elsewhere."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from shopset.core.placement._balancing import Balance, growth, summed
from shopset.core.placement._placing import candidate_costs
from shopset.core.placement.evaluating import Index, arrivals
from shopset.core.placement.problems import Bools, Floats, Ints

_LEAST: Final = 1e-6
"""A change that takes off less than this share of the cost is not worth it."""
_WORTH: Final = 1e-3
_PATIENCE: Final = 2
"""So many sweeps in a row may each take off less than that share before it is left at that."""
_PROMISING: Final = 1_024
"""So many changes of roles are looked at again after the first sweep."""
_LOOKS: Final = 2
"""So often all groups are looked at for changes of roles."""
_CERTAIN: Final = 1e-9
"""Up to this share of a sum, what is left of it when the rest is taken off is not exact."""
_LOOKED_AT: Final = 256
_SWEEPS: Final = 30
"""So many sweeps are made over those."""
_URGENT: Final = 12
"""So many where it is only about safety, so that little else is given up for it."""
_HOT: Final = 4
"""Replicas on this part of the ShopSets, the fullest, are looked at."""


@dataclass(frozen=True)
class Choice:
    """Which replicas may choose again."""

    groups: Index
    kept: Ints
    """(G, K): those that stay where they are; empty if none has to."""
    tied: bool
    """Whether a move has a price, so that the shops to look at first are the largest, not the largest groups."""

    def slots(self, balance: Balance) -> tuple[Index, Index]:
        """Return group and position of each."""
        legs = balance.legs[self.groups]
        free = legs >= 0 if self.tied else arrivals(self.kept[self.groups], legs)
        row, position = np.nonzero(free)
        return self.groups[row], position


def flip_costs(balance: Balance, groups: Index) -> Floats:
    """(groups,): what it costs to let the first two replicas of each change places. They have two, and one serves."""
    one, two = balance.legs[groups, 0], balance.legs[groups, 1]
    traffic = balance.traffic.take(groups, axis=0)
    return summed(
        _served(balance, one, -traffic, _others(balance, one, two))
        + _served(balance, two, traffic, _others(balance, two, one))
    )


def _served(balance: Balance, shopsets: Index | Ints, traffic: Floats, after: Floats) -> Floats:
    """(n, R): what more or less traffic of primaries costs on ShopSets whose rows after a loss cost `after`."""
    now, then = (rate.take(shopsets, axis=0) for rate in balance.rates)
    return balance.normal.take(shopsets, axis=0) * growth(traffic * now) + after * growth(traffic * then)


def _others(balance: Balance, shopsets: Index, without: Index) -> Floats:
    """(groups, R): what the rows of ShopSets after a loss cost, but for those in which `without` is lost, too."""
    lost = balance.losses.of[:, without]
    taken = sum((balance.after_loss(scenario, shopsets) for scenario in lost), start=np.zeros((len(shopsets), 1)))
    total = balance.total.take(shopsets, axis=0)
    rest = total - taken
    near = np.flatnonzero((rest < _CERTAIN * total).any(1))
    if len(near):
        # Hardly anything is left of the sum, so it is not known by subtraction.
        rows = balance.after[:, shopsets[near]]
        for scenario in lost[:, near]:
            rows[scenario, np.arange(len(near))] = 0
        rest[near] = rows.sum(0)
    return np.asarray(rest, np.float64)


def flippable(balance: Balance) -> Bools:
    """(G,): the groups whose first two replicas may change places."""
    problem = balance.problem
    if balance.legs.shape[1] < 2:
        return np.zeros(len(balance.legs), np.bool_)
    return (balance.legs[:, :2] >= 0).all(1) & ~problem.fixed & (problem.active <= 1)


def flip(
    balance: Balance, groups: Index, allowance: int, swapped: Bools, *, price: float = 0.0, until_safe: bool = False
) -> int:
    """Let replicas change places where that lowers the cost, for `allowance` shops at most; return what is left of it.

    `price`: the share of the cost that has to be taken off for each shop.
    """
    looks, sweeps = (1, _URGENT) if until_safe else (_LOOKS, _SWEEPS)
    for _ in range(looks if len(groups) else 0):
        some, costs = _worth_a_change(balance, groups, swapped, price)
        before = allowance
        for _ in range(sweeps):
            if not len(some) or (until_safe and balance.is_safe()):
                break
            net = _net(balance, some, costs, swapped, price)
            chosen = _best_changes(balance, some, net, allowance, swapped)
            while len(chosen) and not _try_swap(balance, chosen):
                chosen = chosen[: len(chosen) // 2]
            if not len(chosen):
                break
            allowance -= int(_paid(balance, chosen, swapped).sum())
            swapped[chosen] = ~swapped[chosen]
            stale = _on_any(balance.legs[some, :2], balance.legs[chosen], len(balance.base))
            costs[stale] = flip_costs(balance, some[stale])
        if allowance == before:
            break
    return allowance


def _on_any(legs: Ints, others: Ints, size: int) -> Bools:
    """(n,): whether any replica is on a ShopSet on which one of the others is."""
    touched = np.zeros(size + 1, np.bool_)
    touched[others] = True
    touched[-1] = False
    return np.asarray(touched[legs[:, 0]] | touched[legs[:, 1]])


def _paid(balance: Balance, groups: Index, swapped: Bools) -> Ints:
    """(groups,): how many shops more have changed their roles once these change; less where they change back."""
    weight = balance.problem.weight[groups]
    return np.where(swapped[groups], -weight, weight)


def _net(balance: Balance, groups: Index, costs: Floats, swapped: Bools, price: float) -> Floats:
    """(groups,): what changes of roles cost, with their price."""
    return costs + _paid(balance, groups, swapped) * (price * balance.cost())


def _worth_a_change(balance: Balance, groups: Index, swapped: Bools, price: float) -> tuple[Index, Floats]:
    """Return the groups whose change promises most for each shop, and what each costs.

    What a change takes off is at most what the group's primary bears.
    """
    now, then = balance.rates
    one, traffic = balance.legs[groups, 0], balance.traffic.take(groups, axis=0)
    most = balance.normal.take(one, axis=0) * np.minimum(traffic * now.take(one, axis=0), 1)
    most += balance.total.take(one, axis=0) * np.minimum(traffic * then.take(one, axis=0), 1)
    groups = groups[summed(most) > price * balance.cost() * _paid(balance, groups, swapped)]
    costs = flip_costs(balance, groups)
    each = _net(balance, groups, costs, swapped, price) / balance.problem.weight[groups].clip(1)
    promising = _first(each, _PROMISING)
    return groups[promising], costs[promising]


def _first(values: Floats, count: int) -> Index:
    """Return the places of the least values below 0, in their order; of equal ones the first."""
    below = np.flatnonzero(values < 0)
    return np.sort(below[np.argsort(values[below], kind="stable")[:count]])


def _best_changes(balance: Balance, groups: Index, net: Floats, allowance: int, swapped: Bools) -> Index:
    """Return groups whose changes, which cost `net`, take off most for each shop, no two of them on the same ShopSet."""
    size = len(balance.base)
    good = np.flatnonzero((net < -_LEAST * balance.cost()) & (_paid(balance, groups, swapped) <= allowance))
    order = groups[good[np.argsort((net / balance.problem.weight[groups].clip(1))[good], kind="stable")][:size]]
    chosen = order[_disjoint(balance.legs[order, :2], size)]
    return chosen[np.cumsum(_paid(balance, chosen, swapped)) <= allowance]


def _try_swap(balance: Balance, groups: Index) -> bool:
    before = balance.cost()
    _swap(balance, groups)
    if balance.cost() < before:
        return True
    _swap(balance, groups)
    return False


def _swap(balance: Balance, groups: Index) -> None:
    touched = balance.add(groups, -1)
    balance.legs[groups, 0], balance.legs[groups, 1] = balance.legs[groups, 1], balance.legs[groups, 0].copy()
    balance.add(groups, 1)
    balance.refresh(touched)


def _disjoint(touched: Ints, size: int) -> Index:
    """Return the rows that share no ShopSet with a row before them that was taken."""
    used = [False] * (size + 1)
    chosen: list[int] = []
    for number, row in enumerate(touched.tolist()):
        for leg in row:
            if used[leg]:
                break
        else:
            for leg in row:
                used[leg] = True
            used[-1] = False
            chosen.append(number)
    return np.asarray(chosen, np.intp)


def relief(balance: Balance, groups: Index, positions: Index) -> Floats:
    """(replicas,): about what it would take off the cost if each were nowhere: the costliest are worth another try first."""
    _, then = balance.rates
    legs = balance.legs[groups, positions]
    primary, following = balance.serving(groups)
    amount = balance.traffic.take(groups, axis=0)
    leads = legs == primary
    gain = np.where(leads, -summed(_served(balance, legs, -amount, balance.total.take(legs, axis=0))), 0)
    for level in range(following.shape[1]):
        to = following[:, level]
        row = balance.after_loss(balance.losses.of[level][primary], to)
        gain -= np.where((to >= 0) & (leads | (to == legs)), summed(row * growth(-amount * then.take(to, axis=0))), 0)
    return np.asarray(gain, np.float64)


def reseat(balance: Balance, choice: Choice, budget: int, sweeps: int) -> int:
    """Let replicas choose again as long as that lowers the cost; return what is left of the budget.

    `budget`: how many shops may come to a ShopSet on which neither their group was nor `choice` says that it has to come to one.
    """
    weight = balance.problem.weight
    quiet = 0
    slots = choice.slots(balance)
    for _ in range(sweeps):
        if not len(slots[0]):
            break
        some = _worth_a_look(balance, *slots, tied=choice.tied)
        groups, positions = slots[0][some], slots[1][some]
        gain = relief(balance, groups, positions)
        costs = candidate_costs(balance, groups, positions)
        here = balance.legs[groups, positions]
        costs[np.arange(len(groups)), here] = np.inf
        target = costs.argmin(1).astype(np.int32)
        start = balance.cost()
        change = costs[np.arange(len(groups)), target] - gain
        price = _spent(balance, groups, positions, target) if choice.tied else np.zeros(len(groups), np.int32)
        good = np.flatnonzero((change < -_LEAST * start) & (price <= budget))
        order = good[np.argsort((change / (weight[groups].clip(1) if choice.tied else 1))[good], kind="stable")]
        touched = np.concatenate([balance.legs[groups], target[:, None]], axis=1)
        apart = _disjoint(touched[order], len(balance.base))
        taken = order[apart[np.cumsum(price[order[apart]]) <= budget]]
        while len(taken) and not _try(balance, groups[taken], positions[taken], target[taken]):
            taken = taken[: len(taken) // 2]
        budget -= int(price[taken].sum())
        quiet = quiet + 1 if balance.cost() > start * (1 - _WORTH) else 0
        if not len(taken) or quiet == _PATIENCE:
            break
    return budget


def _worth_a_look(balance: Balance, groups: Index, positions: Index, *, tied: bool) -> Index:
    """Return the replicas that might save most: what they cost where they are, less what they would where it is emptiest."""
    now, then = balance.rates
    cost = balance.normal.sum(1) + balance.total.sum(1)
    empty = int(np.where(balance.problem.takes, cost, np.inf).argmin())
    hot = np.zeros(len(cost), np.bool_)
    hot[np.argsort(-cost, kind="stable")[: max(4, len(cost) // _HOT)]] = True
    near = np.flatnonzero(hot[balance.legs[groups, positions]])
    amount = balance.traffic[groups[near]]
    there = balance.normal[empty] * growth(amount * now[empty]) + balance.total[empty] * growth(amount * then[empty])
    worth = relief(balance, groups[near], positions[near]) - there.sum(1)
    if tied:
        worth /= balance.problem.weight[groups[near]].clip(1)
    return near[np.argsort(-worth, kind="stable")[:_LOOKED_AT]]


def _try(balance: Balance, groups: Index, positions: Index, targets: Ints) -> bool:
    before, saved = balance.cost(), balance.legs[groups].copy()
    changed = saved.copy()
    changed[np.arange(len(groups)), positions] = targets
    restore(balance, groups, changed)
    if balance.cost() < before:
        return True
    restore(balance, groups, saved)
    return False


def _spent(balance: Balance, groups: Index, positions: Index, targets: Ints) -> Ints:
    """(groups,): how many shops more have moved when a replica of each group goes elsewhere."""
    before, origin = balance.legs[groups], balance.problem.legs[groups]
    after = before.copy()
    after[np.arange(len(groups)), positions] = targets
    more = arrivals(origin, after).sum(1) - arrivals(origin, before).sum(1)
    return np.asarray(more * balance.problem.weight[groups], np.int32)


def restore(balance: Balance, groups: Index, legs: Ints) -> None:
    """Put groups back to where they were."""
    touched = balance.add(groups, -1)
    balance.legs[groups] = legs
    balance.refresh(np.union1d(touched, balance.add(groups, 1)))

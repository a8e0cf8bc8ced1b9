"""Taking load off ShopSets that have more than they can carry, by moving replicas that could have stayed: as few as possible."""

import numpy as np

from shopset.core.placement._balancing import Balance
from shopset.core.placement._improving import restore
from shopset.core.placement._placing import candidate_costs
from shopset.core.placement.evaluating import Index
from shopset.core.placement.problems import Floats, Ints

_FULL = 1 + 1e-9
_STEPS = 64
"""So many replicas are moved at most for one ShopSet."""
_LOOKED_AT = 16


def cure(balance: Balance, *, after_loss: bool) -> bool:
    """Move replicas off overloaded ShopSets, and return whether none is left.

    What was moved for a ShopSet that stays overloaded moves back. `after_loss`: it is to bear the loss of any domain, or there is no use.
    """
    incurable = np.zeros(len(balance.base), np.bool_)
    while True:
        excess = _excess(balance, after_loss=after_loss)
        excess[:, incurable] = 0
        if excess.max(initial=0) <= 0:
            break
        shopset = int(excess.max((0, 2)).argmax())
        saved = balance.legs.copy()
        if not _relieve(balance, shopset, after_loss=after_loss):
            incurable[shopset] = True
            _put_back(balance, saved)
            if after_loss:
                break
    return not incurable.any()


def _excess(balance: Balance, *, after_loss: bool) -> Floats:
    """(rows, S, R): load over capacity beyond 1, of the normal row, or of all."""
    normal, after = balance.utilisation()
    rows = np.concatenate([normal[None], after]) if after_loss else normal[None]
    return np.where(rows > _FULL, rows - 1, 0)


def _relieve(balance: Balance, shopset: int, *, after_loss: bool) -> bool:
    for _ in range(_STEPS):
        excess = _excess(balance, after_loss=after_loss)
        if excess[:, shopset].max() <= 0:
            return True
        row, resource = np.unravel_index(int(excess[:, shopset].argmax()), excess[:, shopset].shape)
        groups, positions = _contributors(balance, shopset, int(row))
        if not len(groups):
            return False
        order = _order(balance, groups, shopset, int(resource), float(excess[row, shopset, resource]))
        if not _move_one(balance, groups[order], positions[order], float(excess.sum()), after_loss=after_loss):
            return False
    return False


def _contributors(balance: Balance, shopset: int, row: int) -> tuple[Index, Index]:
    """Return the replicas whose load is in a row of a ShopSet."""
    legs = balance.legs
    everyone = np.arange(len(legs))
    primary, following = balance.serving(everyone)
    serves = primary == shopset
    if row > 0:
        level = int(balance.losses.level[row - 1])
        lost = balance.losses.of[level][primary] == row - 1
        serves |= lost & (following[:, level] == shopset)
    if not balance.problem.follows_traffic.all():
        serves |= (legs == shopset).any(1)
    serves &= ~balance.problem.fixed & (legs == shopset).any(1)
    groups = np.flatnonzero(serves)
    return groups, (legs[groups] == shopset).argmax(1)


def _order(balance: Balance, groups: Index, shopset: int, resource: int, excess: float) -> Index:
    """First those that cure it alone, the fewest and smallest shops of them first; then those that do most per shop."""
    load = (balance.traffic + balance.static)[groups, resource] * balance.unit[shopset, resource]
    weight = balance.problem.weight[groups].clip(1)
    enough = load >= excess
    return np.lexsort((groups, np.where(enough, load, -load), np.where(enough, weight, -load / weight), ~enough))[
        :_LOOKED_AT
    ]


def _move_one(balance: Balance, groups: Index, positions: Index, excess: float, *, after_loss: bool) -> bool:
    """Move the first replica that leaves less overload than there was."""
    costs = candidate_costs(balance, groups, positions)
    costs[np.arange(len(groups)), balance.legs[groups, positions]] = np.inf
    targets = costs.argmin(1).astype(np.int32)
    for number, (group, position, target) in enumerate(zip(groups, positions, targets, strict=True)):
        if not np.isfinite(costs[number, target]):
            continue
        one = np.asarray([group])
        saved = balance.legs[one].copy()
        changed = saved.copy()
        changed[0, position] = target
        restore(balance, one, changed)
        if _excess(balance, after_loss=after_loss).sum() < excess - 1e-12:
            return True
        restore(balance, one, saved)
    return False


def _put_back(balance: Balance, legs: Ints) -> None:
    changed = np.flatnonzero((balance.legs != legs).any(1))
    restore(balance, changed, legs[changed])

"""Groups that found too few ShopSets: where levels of domains do not nest, a replica may stand in the way of two others."""

from typing import Final

import numpy as np

from shopset.core.placement._balancing import Balance
from shopset.core.placement._improving import restore
from shopset.core.placement._placing import missing_positions
from shopset.core.placement.problems import Problem

_NODES: Final = 5_000
"""So many ShopSets are tried for one kind of group before the best so far is taken."""

Row = tuple[int, ...]


def complete(balance: Balance) -> None:
    """Give groups that lack replicas the largest set of ShopSets that can be found, with as many of the present ones as possible."""
    problem = balance.problem
    lacking = np.flatnonzero(missing_positions(problem, balance.legs).any(1) & (problem.apart[problem.kind].sum(1) > 1))
    known: dict[tuple[int, int, bool, Row], Row] = {}
    for group in lacking.tolist():
        present = tuple(leg for leg in problem.legs[group].tolist() if leg >= 0 and _may_stay(problem, group, leg))
        key = (int(problem.kind[group]), int(problem.replicas[group]), bool(problem.fixed[group]), present)
        if key not in known:
            known[key] = _largest(balance, *key)
        found = known[key]
        before = [leg for leg in balance.legs[group].tolist() if leg >= 0]
        if _rating(found, present, fixed=key[2]) > _rating(tuple(before), present, fixed=key[2]):
            _give(balance, group, found)


def _may_stay(problem: Problem, group: int, leg: int) -> bool:
    return not problem.leaves[leg] and bool(problem.fixed[group] or problem.allowed[problem.kind[group], leg])


def _rating(row: Row, present: Row, *, fixed: bool) -> tuple[int, int]:
    """The more replicas the better, and then the more of those that are there; of fixed groups the other way round."""
    stay = len(set(row) & set(present))
    return (stay, len(row)) if fixed else (len(row), stay)


def _largest(balance: Balance, kind: int, count: int, fixed: bool, present: Row) -> Row:
    """Return the best set of ShopSets: one of each combination of domains is enough to try, the emptiest."""
    problem = balance.problem
    levels = np.flatnonzero(problem.apart[kind])
    cost = balance.normal.sum(1) + balance.total.sum(1)
    able = np.flatnonzero(problem.allowed[kind] & problem.takes & ~problem.leaves)
    able = able[np.argsort(cost[able], kind="stable")]
    seen: dict[Row, int] = {}
    for shopset in able.tolist():
        seen.setdefault(tuple(problem.domains[levels, shopset].tolist()), shopset)
    options = [*present, *(shopset for shopset in seen.values() if shopset not in present)]
    domains = problem.domains[levels].T.tolist()
    best: Row = ()
    nodes = 0

    def extend(row: Row, start: int) -> None:
        nonlocal best, nodes
        if _rating(row, present, fixed=fixed) > _rating(best, present, fixed=fixed):
            best = row
        if len(row) == count:
            return
        for number in range(start, len(options)):
            nodes += 1
            if nodes > _NODES:
                return
            other = options[number]
            if all(one != two for leg in row for one, two in zip(domains[leg], domains[other], strict=True)):
                extend((*row, other), number + 1)

    extend((), 0)
    return best


def _give(balance: Balance, group: int, row: Row) -> None:
    """Let a group have these replicas: those that it has keep their positions."""
    legs = balance.legs[group].copy()
    legs[~np.isin(legs, row)] = -1
    for leg in row:
        if leg not in legs:
            origin = np.flatnonzero(balance.problem.legs[group] == leg)
            free = np.flatnonzero(legs < 0)
            position = origin[0] if len(origin) and legs[origin[0]] < 0 else free[0]
            legs[position] = leg
    one = np.asarray([group])
    if balance.counted[group]:
        restore(balance, one, legs[None])
    else:
        balance.legs[group] = legs
        balance.counted[group] = True
        balance.refresh(balance.add(one, 1))

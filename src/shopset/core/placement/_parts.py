"""A problem falls into parts that share no ShopSet: what happens in one moves nothing in another."""

from dataclasses import dataclass

import numpy as np

from shopset.core.placement.evaluating import Index
from shopset.core.placement.problems import Problem


@dataclass(frozen=True)
class Part:
    """Some groups, and the ShopSets that only they may be on."""

    groups: Index
    shopsets: Index


def parts(problem: Problem) -> tuple[Part, ...]:
    """Return the parts, in the order of their first ShopSet; groups that may be nowhere make one without ShopSets."""
    classes = len(problem.allowed)
    touches = problem.allowed.copy()
    group, position = np.nonzero(problem.legs >= 0)
    touches[problem.kind[group], problem.legs[group, position]] = True
    used = np.zeros(classes, np.bool_)
    used[problem.kind] = True
    left = used.copy()
    found = []
    while left.any():
        inside = np.zeros(classes, np.bool_)
        inside[int(np.flatnonzero(left)[0])] = True
        while True:
            shopsets = touches[inside].any(0)
            wider = inside | (left & (touches & shopsets).any(1))
            if (wider == inside).all():
                break
            inside = wider
        left &= ~inside
        found.append(Part(np.flatnonzero(inside[problem.kind]), np.flatnonzero(shopsets)))
    return tuple(found)


def restricted(problem: Problem, part: Part) -> Problem:
    """Return the problem of one part, with its own numbers for ShopSets; classes and domains keep theirs."""
    number = np.full(problem.allowed.shape[1] + 1, -1, np.int32)
    number[part.shopsets] = np.arange(len(part.shopsets), dtype=np.int32)
    groups = part.groups
    return Problem(
        problem.capacity[part.shopsets], problem.follows_traffic, problem.domains[:, part.shopsets], problem.takes[part.shopsets],
        problem.leaves[part.shopsets], problem.allowed[:, part.shopsets], problem.apart, problem.kind[groups], problem.replicas[groups],
        number[problem.legs[groups]], problem.demand[groups], problem.weight[groups], problem.fixed[groups], problem.active[groups],
    )  # fmt: skip

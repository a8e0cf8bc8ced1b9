"""Lower bounds: how evenly any placement can load the ShopSets."""

import numpy as np

from shopset.core.placement.evaluating import scenarios
from shopset.core.placement.problems import Ints, Problem


def pooled_bounds(problem: Problem, legs: Ints) -> tuple[float, float]:
    """Return what `worst` and `worst_n1` come to if all demand could be spread over all ShopSets that may serve it."""
    usable = (
        (problem.allowed.any(0) & problem.takes) | np.isin(np.arange(len(problem.capacity)), legs)
    ) & ~problem.leaves
    lost = np.vstack([np.zeros(len(usable), np.bool_), scenarios(problem).lost])
    # A product would make NaN of a capacity without limit that is lost.
    capacity = np.where((usable & ~lost)[:, :, None], problem.capacity, 0.0).sum(1)
    able = (problem.replicas > 1) & (problem.legs >= -1).any(1)
    total = problem.demand.sum(0)
    safe = problem.demand[able].sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.nan_to_num(total / capacity[0], nan=0, posinf=0).max(initial=0)
        after = np.nan_to_num(safe / capacity[1:], nan=0, posinf=0).max(initial=0)
    return float(low), float(max(low, after))

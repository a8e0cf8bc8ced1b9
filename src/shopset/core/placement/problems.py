"""A placement problem in arrays: S ShopSets, R resources, L levels of failure domains, C classes, G groups, K replicas at most."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Problem:
    """What a solver needs to know. Indices are those of the caller's own sorted lists, so equal fleets make equal problems."""

    capacity: Floats
    """(S, R); infinity where it is not limited."""
    follows_traffic: Bools
    """(R,): True where only the replica that serves uses the resource (requests, connections); False where each does (shops)."""
    domains: Ints
    """(L, S): the domain of each ShopSet at each level; domains of a level are numbered from 0. Every domain is a scenario of loss."""
    takes: Bools
    """(S,): whether new replicas may come."""
    leaves: Bools
    """(S,): whether replicas must go: its cluster is lost or being emptied, or it is no ShopSet of that kind any more."""
    allowed: Bools
    """(C, S): tier and configuration match, and dedicated ones are for those that ask for them."""
    apart: Bools
    """(C, L): whether no two replicas may share a domain of the level."""
    kind: Ints
    """(G,): class of each group."""
    replicas: Ints
    """(G,): how many each group is to have, 1..K."""
    legs: Ints
    """(G, K): present replicas in their order, the primary first; -1 where there is none."""
    demand: Floats
    """(G, R): of all shops of the group together."""
    weight: Ints
    """(G,): shops in the group: what a move of one of its replicas counts."""
    fixed: Bools
    """(G,): a person chose the replicas: none moves but from where they must leave."""
    active: Ints
    """(G,): over how many of its replicas the demand is spread evenly; 1: the primary serves it all."""


@dataclass(frozen=True)
class Solution:
    """A new placement for a Problem."""

    legs: Ints
    """(G, K) as in the problem: -1 where no ShopSet could be found."""
    worst: float
    """The largest load over capacity of any ShopSet and resource."""
    worst_n1: float
    """The same after the worst loss of one domain of any level."""
    bound: float
    """No placement that moves only what must move has a `worst` below it."""
    bound_n1: float
    """The same of `worst_n1`."""

    @property
    def is_safe(self) -> bool | None:
        """Whether any one domain may be lost without overload; None where that is neither reached nor disproved."""
        return True if self.worst_n1 <= 1 + 1e-9 else False if self.bound_n1 > 1 + 1e-9 else None

"""What a plan of the placement is made from, and what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shopset.core.placement.placements import Placement
from shopset.core.placement.seats import Seats
from shopset.core.placement.shops import Shops
from shopset.core.release.actions import PushCommits
from shopset.core.release.plans import Condition
from shopset.core.release.records import ClusterRecord


@dataclass(frozen=True)
class Seen:
    """One observation of everything that a placement depends on, besides the fleet."""

    now: datetime
    shops: Shops
    placement: Placement
    head: str | None = None
    """The commit of the branch `placement`; None where there is none yet."""
    head_at: datetime | None = None
    """When the groups that are between two ShopSets came to be so; where none is, when `head` was made."""
    clusters: Mapping[str, ClusterRecord] = field(default_factory=dict)
    """What the ledger says of clusters."""
    ledger_head: str | None = None
    homes: Mapping[str, Placement] = field(default_factory=dict)
    """Cluster of which the ledger says something -> the placement before its shops left."""
    unready: Mapping[str, str] = field(default_factory=dict)
    """ShopSets that do not run their tier's pin in health -> what they do instead."""
    unusable: frozenset[str] = frozenset()
    """ShopSets that serve nobody now: nothing new is to come to them."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Cluster -> its Kubernetes version, where it is known."""
    busy: Mapping[str, str] = field(default_factory=dict)
    """Tier in the middle of a release -> what it is at; looked up only where a wish waits for it."""
    known: Seats | None = field(default=None, compare=False, repr=False)
    """`seats` of an earlier plan: it makes a plan cheaper, and never another one."""


@dataclass(frozen=True, slots=True)
class Move:
    """A group that gets other replicas."""

    group: str
    shops: int
    before: tuple[str, ...]
    after: tuple[str, ...]
    why: str
    """As in `cluster a is lost`."""

    @property
    def arrivals(self) -> tuple[str, ...]:
        """The ShopSets that are new to it."""
        return tuple(name for name in self.after if name not in self.before)


@dataclass(frozen=True, slots=True)
class Utilisation:
    """How loaded the worst ShopSet is, as a share of its capacity."""

    normal: float
    after_loss: float
    """After the worst loss of one more domain."""


@dataclass(frozen=True)
class PlacementPlan:
    """One step of the placement: what is written now, what later steps will do, and how things stand."""

    now: datetime
    placement: Placement
    """As it is after `actions`."""
    actions: tuple[PushCommits, ...] = ()
    moves: tuple[Move, ...] = ()
    """What this step changes, sorted by group."""
    later: tuple[Move, ...] = ()
    """What steps after it will change, as far as can be seen now."""
    before: Utilisation = Utilisation(0.0, 0.0)
    after: Utilisation = Utilisation(0.0, 0.0)
    """Once all moves are made."""
    conditions: tuple[Condition, ...] = ()
    wake_at: datetime | None = None
    seats: Seats | None = field(default=None, compare=False, repr=False)
    """What was found of each shop; for the plan after it."""

    @property
    def shops_moved(self) -> int:
        """Replicas of shops that come to another ShopSet, now and later."""
        return sum(len(each.arrivals) * each.shops for each in (*self.moves, *self.later))


def shops_of(moves: Sequence[Move]) -> int:
    """Return how many shops some moves are of."""
    return sum(each.shops for each in moves)

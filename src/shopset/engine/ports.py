"""What the engine needs of the world. Adapters fit these shapes without knowing of them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from shopset.api import Gate
from shopset.core.fleets import Fleet
from shopset.core.manifests import Build
from shopset.core.release.actions import PushCommits, PushMerge, PushRefs
from shopset.core.release.ledgers import Ledger
from shopset.core.release.observed import (
    BuildOf,
    Components,
    ComponentsOf,
    Contents,
    GateReading,
    IsAncestor,
    ObservedApplication,
    ObservedRepository,
    ObservedTier,
    Repository,
    RunningImages,
    SameTree,
    SubjectOf,
    Trouble,
)
from shopset.core.release.plans import Condition

if TYPE_CHECKING:
    # A command that places no shops must not pay for NumPy.
    from shopset.core.placement.formats import PlacementReading
    from shopset.core.placement.placements import Group
    from shopset.core.placement.shops import Shops


class GitObservation(Protocol):
    """What was seen of the three repositories."""

    @property
    def repositories(self) -> Mapping[Repository, ObservedRepository]:
        """The heads of each."""
        ...

    @property
    def tiers(self) -> Mapping[str, ObservedTier]:
        """Tier -> the head of its system branch."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The ledger at its head."""
        ...


class Git(Protocol):
    """The three repositories. Pushing raises LostRaceError, RefusedError or UnreachableError of `shopset.gitops`."""

    def observe(self, branches: Mapping[str, str], *, look: bool = True) -> GitObservation:
        """Look at the repositories. `branches` is tier -> branch. Never raises for one that cannot be read."""
        ...

    def answer(self, question: IsAncestor | SameTree | SubjectOf | ComponentsOf) -> bool | str | Components:
        """Answer a question about commits that were observed."""
        ...

    def push_commits(self, action: PushCommits, parents: Mapping[str, str | None]) -> Mapping[str, str]:
        """Make the commits and push them in one atomic push. Return branch -> commit.

        `parents` has the heads of branches that an earlier action of the same plan moved.
        """
        ...

    def push_refs(self, action: PushRefs) -> Mapping[str, str]:
        """Push existing commits to refs."""
        ...

    def push_merge(self, action: PushMerge) -> Mapping[str, str]:
        """Make a merge and push it."""
        ...

    def read_blob(self, blob: str) -> bytes:
        """Return a file of the system repository."""
        ...

    def placement(self, commit: str) -> "PlacementReading":
        """Return the placement at a commit of the system repository; what is malformed is listed in it."""
        ...

    def placed_since(self, commit: str, groups: "Collection[Group]") -> datetime:
        """Return when what the placement says of some groups was changed last, up to a commit."""
        ...

    def contents(self, commit: str) -> Contents | None:
        """Return what a commit of the system repository holds; None where the commit is not to be had."""
        ...


class Delivery(Protocol):
    """Argo CD, or what stands in for it. Raises DeliveryError of its own package where it cannot be reached."""

    def observe(
        self, manifests: Mapping[str, str], /
    ) -> tuple[Mapping[str, ObservedApplication], Mapping[str, Trouble]]:
        """Return ShopSet -> Application, and cluster -> why its Applications are not to be seen.

        `manifests` is ShopSet -> blob id of the file that its tier's branch has for it.
        """
        ...

    def apply(self, cluster: str, application: str, manifest: bytes) -> None:
        """Apply an Application."""
        ...

    def refresh(self, cluster: str, application: str) -> None:
        """Ask for a look at git now. One that is not there is no error."""
        ...

    def sync(self, cluster: str, application: str) -> None:
        """Start a sync that failed for good once more. One that is not there is no error."""
        ...

    def delete(self, cluster: str, application: str) -> None:
        """Delete an Application and what it brought. One that is not there is no error."""
        ...


class Builder(Protocol):
    """kustomize."""

    def build(self, question: BuildOf) -> Build:
        """Build one overlay. What does not build is a Build with a problem, never an error."""
        ...


class PodReader(Protocol):
    """The Pods of the clusters."""

    def read(self, places: Iterable[tuple[str, str]], /) -> RunningImages:
        """Return the images that run at some places (cluster, namespace). A place not to be seen is a problem, no error."""
        ...


class GateReader(Protocol):
    """Prometheus, or what stands in for it."""

    def read(self, gate: Gate, tier: str, start: datetime, end: datetime) -> GateReading:
        """Read a gate over a span of time. Where nothing can be read the result is Unknown, never an error."""
        ...


@dataclass(frozen=True)
class ShopsReading:
    """The shops that are to be placed, and what is wrong with others."""

    shops: "Shops"
    conditions: tuple[Condition, ...] = ()
    unread: frozenset[str] = frozenset()
    """Shops that are there and cannot be read: where they are placed already, they stay."""
    is_whole: bool = True
    """Whether a shop that is neither in `shops` nor in `unread` is really gone; False where a source could not be read."""


class ShopReader(Protocol):
    """Where the shops of a fleet come from."""

    def read(self, fleet: Fleet, incumbents: Mapping[str, str], /) -> ShopsReading:
        """Read all sources. `incumbents` is host -> the shop that the placement has it at."""
        ...

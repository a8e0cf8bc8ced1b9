"""What was seen of the world: values that the adapters fill in and the plan only reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal, Self, overload

from shopset.core.manifests import Build
from shopset.core.release.ledgers import Ledger
from shopset.core.release.revisions import Revision


class Repository(StrEnum):
    """One of the three repositories of a Platform."""

    SYSTEM = "system"
    APPS = "apps"
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something could not be observed: a condition's reason and message."""

    reason: str
    message: str


@dataclass(frozen=True)
class ObservedRepository:
    """The heads of one repository."""

    branches: Mapping[str, str] = field(default_factory=dict)
    """Branch (without refs/heads/) -> commit."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tag `shopset/...` (without refs/tags/) -> commit."""
    trouble: Trouble | None = None
    """Set when the repository could not be read; branches and tags are then empty."""


@dataclass(frozen=True)
class ObservedTier:
    """The head of a tier's branch in the system repository."""

    head: str
    revision: Revision | None
    """None when `trouble` says why."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path -> blob id of every file of the tree."""
    overlays: Mapping[str, str] = field(default_factory=dict)
    """ShopSet -> id of the tree `overlays/<shopset>`."""
    gitlinks: Mapping[str, str] = field(default_factory=dict)
    """`base` and `configuration` -> commit."""
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Contents:
    """What a commit of the system repository holds, as far as an Application that runs it is concerned."""

    overlays: Mapping[str, str]
    """ShopSet -> id of the tree `overlays/<shopset>`."""
    gitlinks: Mapping[str, str]


Sync = Literal["Synced", "OutOfSync", "Unknown"]
Health = Literal["Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"]


@dataclass(frozen=True)
class ObservedApplication:
    """The Argo CD Application of one ShopSet, as Argo CD (or a directory cluster) reports it."""

    shopset: str
    cluster: str
    name: str
    manifest: str = ""
    """Blob id of the manifest that was applied last; empty when unknown."""
    sync: Sync = "Unknown"
    commit: str | None = None
    """The commit of the system repository in `status.sync.revision`."""
    overlay: str | None = None
    """Id of the tree `overlays/<shopset>` in that commit."""
    gitlinks: Mapping[str, str] = field(default_factory=dict)
    """The gitlinks of that commit."""
    synced_at: datetime | None = None
    """When the last sync operation finished."""
    operating: bool = False
    """Whether a sync operation runs."""
    sync_error: str = ""
    """The message of the last operation, if it failed for good."""
    inconclusive: bool = False
    """Whether that says nothing of the commit that it looks at: the operation was of another one, or a person started it."""
    health: Health = "Unknown"
    health_since: datetime | None = None
    message: str = ""
    images: tuple[str, ...] = ()
    looked_at: datetime | None = None
    """When Argo CD compared it last; None where whoever keeps it looks at every commit by itself."""
    refreshing: bool = False
    """Whether it was asked to look again."""
    deleting: bool = False
    """Whether it is being deleted."""

    def is_at(self, head: ObservedTier) -> bool:
        """Whether the commit that it looks at holds what a tier's head holds for it: maybe another commit."""
        return self.overlay == head.overlays.get(self.shopset) and self.gitlinks == head.gitlinks


@dataclass(frozen=True, slots=True, order=True)
class IsAncestor:
    """Is one commit an ancestor of another, or the same? The answer is a bool."""

    repository: Repository
    ancestor: str
    descendant: str


@dataclass(frozen=True, slots=True, order=True)
class SameTree:
    """Do two commits have the same content? The answer is a bool."""

    repository: Repository
    one: str
    other: str


@dataclass(frozen=True, slots=True, order=True)
class SubjectOf:
    """What is the subject line of a commit? The answer is a str; empty where the commit is not to be had."""

    repository: Repository
    commit: str


@dataclass(frozen=True, slots=True, order=True)
class ComponentsOf:
    """Which components does the base of this apps commit have? The answer is Components."""

    apps: str


@dataclass(frozen=True, slots=True, order=True)
class BuildOf:
    """What does building this overlay at this revision give? The answer is a Build.

    `overlay` is the content of the kustomization.yaml. The plan asks for one ShopSet per Configuration: the others differ only in
    the namespace and labels, which can neither fail nor change an image.
    """

    apps: str
    configuration: str
    overlay: bytes


@dataclass(frozen=True, slots=True, order=True)
class GateOver:
    """What does a gate of a tier read over a span of time? The answer is a GateReading.

    A span, not a moment: what fired and went away while nobody looked counts too.
    """

    tier: str
    gate: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, order=True)
class ImagesAt:
    """Which images run in the Pods of some ShopSets? The answer is RunningImages; it is found once for each moment."""

    shopsets: tuple[str, ...]
    at: datetime


Question = GateOver | ImagesAt | IsAncestor | SameTree | SubjectOf | ComponentsOf | BuildOf


@dataclass(frozen=True, slots=True)
class Components:
    """The components of a base: `("",)` for a root kustomization, else folder names, sorted; or the problem."""

    names: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class GateReading:
    """What a gate read over a span of time."""

    result: Literal["Pass", "Fail", "Unknown"]
    evidence: str = ""
    since: datetime | None = None
    """Since when the result is Unknown, where it is."""


@dataclass(frozen=True)
class RunningImages:
    """The images of running Pods: name, as the Pod's spec has it -> ids, sorted; or why they are not all to be seen."""

    ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problem: str = ""


Answer = bool | str | Components | Build | GateReading | RunningImages


def _lasts(question: Question, answer: Answer) -> bool:
    match answer:
        case Build():
            return not answer.transient
        case RunningImages():
            return not answer.problem
        case _:
            return not isinstance(question, GateOver)


class Facts:
    """Answers about things that do not change: commits, trees, the past. Never changed, only extended into a new one."""

    def __init__(self, answers: Mapping[Question, Answer] | None = None) -> None:
        self._answers: dict[Question, Answer] = dict(answers or {})

    @overload
    def get(self, question: IsAncestor | SameTree) -> bool | None: ...
    @overload
    def get(self, question: SubjectOf) -> str | None: ...
    @overload
    def get(self, question: ComponentsOf) -> Components | None: ...
    @overload
    def get(self, question: BuildOf) -> Build | None: ...
    @overload
    def get(self, question: GateOver) -> GateReading | None: ...
    @overload
    def get(self, question: ImagesAt) -> RunningImages | None: ...
    def get(self, question: Question) -> Answer | None:
        """Return the answer, or None where nobody has asked yet."""
        return self._answers.get(question)

    def __len__(self) -> int:
        return len(self._answers)

    def lasting(self) -> Self:
        """Return the facts that will be true in the next round too."""
        return type(self)({question: answer for question, answer in self._answers.items() if _lasts(question, answer)})

    def extended(self, answers: Mapping[Question, Answer]) -> Self:
        """Return these facts and more."""
        return type(self)({**self._answers, **answers})


@dataclass(frozen=True)
class Observed:
    """One observation of everything that a plan depends on."""

    now: datetime
    repositories: Mapping[Repository, ObservedRepository]
    tiers: Mapping[str, ObservedTier] = field(default_factory=dict)
    """Tier -> head of its system branch; absent where there is no such branch."""
    ledger: Ledger = field(default_factory=Ledger)
    applications: Mapping[str, ObservedApplication] = field(default_factory=dict)
    """ShopSet -> its Application; also of ShopSets that the fleet does not have any more."""
    deliveries: Mapping[str, Trouble] = field(default_factory=dict)
    """Cluster -> why its Applications could not be observed."""
    serving: Mapping[str, int] = field(default_factory=dict)
    """ShopSet that the fleet does not have any more -> how many shops it still serves; 0 where the placement cannot be read."""
    facts: Facts = field(default_factory=Facts)
    looked: bool = True
    """Whether git was looked at for it; else it is as it was last seen."""

    @property
    def rendered(self) -> frozenset[str]:
        """The ShopSets that some tier's tree has."""
        return frozenset(name for head in self.tiers.values() for name in head.overlays)

    def with_answers(self, answers: Mapping[Question, Answer]) -> Self:
        """Return the same observation that knows more."""
        return replace(self, facts=self.facts.extended(answers))

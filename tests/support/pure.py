"""A world without any I/O: repositories as dictionaries, clusters that do what a test says, and a clock."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shopset.api import API_VERSION, KINDS, Resource
from shopset.core.fleets import Fleet, assemble
from shopset.core.manifests import Build
from shopset.core.release.actions import (
    AnyAction,
    ApplyApplication,
    Commit,
    DeleteApplication,
    Identity,
    PushCommits,
    PushMerge,
    PushRefs,
)
from shopset.core.release.ledgers import BRANCH, Ledger, read_ledger
from shopset.core.release.observed import (
    Answer,
    BuildOf,
    Components,
    ComponentsOf,
    GateOver,
    GateReading,
    ImagesAt,
    IsAncestor,
    Observed,
    ObservedApplication,
    ObservedRepository,
    ObservedTier,
    Question,
    Repository,
    RunningImages,
    SameTree,
    Trouble,
)
from shopset.core.release.planning import plan
from shopset.core.release.plans import Check, Plan
from shopset.core.release.requests import Request, respond
from shopset.core.release.revisions import Revision, blob_id
from shopset.core.rendering import RENDERERS, Renderers

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)  # a Monday
YAMADA = Identity("Yamada", "yamada@example.com")
SUZUKI = Identity("Suzuki", "suzuki@example.com")


def resource(kind: str, name: str, **spec: Any) -> Resource:
    """Return a resource with a spec in YAML's spelling."""
    return KINDS[kind].model_validate(
        {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    )


def make_fleet(
    tiers: Mapping[str, Mapping[str, Any]],
    shopsets: Mapping[str, tuple[str, str, str]],
    platform: Mapping[str, Any] | None = None,
) -> Fleet:
    """Return a fleet: tier -> promotion in ascending order, ShopSet -> (tier, configuration, cluster)."""
    repositories = {key: f"/srv/git/shopset-{key}.git" for key in ("system", "apps", "configuration")}
    spec = {"repositories": repositories, "delivery": {"directory": {"path": "/clusters"}}, **(platform or {})}
    resources = [resource("Platform", "shop", **spec)]
    resources += [
        resource("Tier", name, level=level, promotion=dict(promotion))
        for level, (name, promotion) in enumerate(tiers.items())
    ]
    resources += [
        resource("Configuration", name, path=name)
        for name in sorted({found[1] for found in shopsets.values()} or {"production"})
    ]
    resources += [resource("Cluster", name) for name in ("a", "b", "c")]
    for name, (tier, configuration, cluster) in shopsets.items():
        resources.append(resource("ShopSet", name, tier=tier, configuration=configuration, cluster=cluster))
    assembly = assemble(resources)
    assert assembly.fleet is not None, assembly.problems
    return assembly.fleet


SHOPSETS = {
    "c-1": ("dev", "staging", "c"),
    "b-1": ("beta", "production", "b"),
    "a-1": ("prod", "production", "a"),
    "b-2": ("prod", "production", "b"),
}


@dataclass
class Branch:
    """The head of a branch of the system repository."""

    commit: str
    files: dict[str, bytes] = field(default_factory=dict)
    gitlinks: dict[str, str] = field(default_factory=dict)


@dataclass
class PureWorld:
    """Everything that a plan sees, changed by the actions of plans and by tests."""

    fleet: Fleet
    now: datetime = START
    renderers: Renderers = RENDERERS
    sources: dict[Repository, dict[str, str]] = field(
        default_factory=lambda: {Repository.APPS: {}, Repository.CONFIGURATION: {}}
    )
    tags: dict[Repository, dict[str, str]] = field(
        default_factory=lambda: {Repository.APPS: {}, Repository.CONFIGURATION: {}}
    )
    system: dict[str, Branch] = field(default_factory=dict)
    parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    trees: dict[str, str] = field(default_factory=dict)
    applications: dict[str, ObservedApplication] = field(default_factory=dict)
    troubles: dict[Repository, Trouble] = field(default_factory=dict)
    deliveries: dict[str, Trouble] = field(default_factory=dict)
    serving: dict[str, int] = field(default_factory=dict)
    builds: Callable[[BuildOf], Build] = lambda _: Build(images=("example.com/cart:1.0",))
    components: Components = field(default_factory=lambda: Components(("cart",)))
    gates: Callable[[GateOver], GateReading] = lambda _: GateReading("Pass")
    pods: Callable[[ImagesAt], RunningImages] = lambda _: RunningImages()
    asked: list[Question] = field(default_factory=list)
    done: list[AnyAction] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    # -- developers

    def commit(self, *parents: str) -> str:
        """Make a commit in a source repository."""
        made = f"{next(self._numbers):040x}"
        self.parents[made], self.trees[made] = parents, made
        return made

    def push(self, branch: str = "tier-0", repository: Repository = Repository.APPS, commit: str | None = None) -> str:
        """Push a commit on top of a branch."""
        head = self.sources[repository].get(branch)
        self.sources[repository][branch] = commit or self.commit(*([head] if head else []))
        return self.sources[repository][branch]

    def begin(self) -> str:
        """Push the first commits of both lowest branches."""
        self.push(repository=Repository.CONFIGURATION)
        return self.push()

    # -- observing and planning

    @property
    def ledger(self) -> Ledger:
        """The ledger as it is."""
        branch = self.system.get(BRANCH)
        return read_ledger(branch.files if branch else {})

    def observe(self) -> Observed:
        """Return what an engine would see."""
        heads = {name: branch.commit for name, branch in self.system.items()}
        repositories = {
            Repository.SYSTEM: ObservedRepository(heads),
            **{kind: ObservedRepository(dict(self.sources[kind]), dict(self.tags[kind])) for kind in self.sources},
        }
        repositories |= {kind: ObservedRepository(trouble=trouble) for kind, trouble in self.troubles.items()}
        tiers = {
            tier.name: self._tier(self.system[branch])
            for tier in self.fleet.tiers
            if (branch := self.fleet.branch(tier.name)) in self.system
        }
        return Observed(
            self.now,
            repositories,
            tiers,
            self.ledger,
            dict(self.applications),
            dict(self.deliveries),
            dict(self.serving),
        )

    def _tier(self, branch: Branch) -> ObservedTier:
        files = {path: blob_id(content) for path, content in branch.files.items()}
        overlays = {path.split("/")[1]: f"tree {blob}" for path, blob in files.items() if path.startswith("overlays/")}
        return ObservedTier(
            branch.commit, Revision.parse(branch.files["revision.yaml"]), files, overlays, dict(branch.gitlinks)
        )

    def settle(self, make: Callable[[Observed], Plan]) -> Plan:
        """Plan until nothing is asked any more."""
        observed = self.observe()
        made = make(observed)
        while made.questions:
            self.asked += sorted(made.questions, key=str)
            observed = observed.with_answers({question: self.answer(question) for question in made.questions})
            made = make(observed)
        return made

    def plan(self) -> Plan:
        """Return the plan of now."""
        return self.settle(lambda observed: plan(self.fleet, observed, self.renderers))

    def ask(self, request: Request, author: Identity = YAMADA) -> Plan:
        """Do what a request calls for; return its plan."""
        made = self.settle(lambda observed: respond(self.fleet, observed, request, author, self.renderers))
        self.act(made.actions)
        return made

    def answer(self, question: Question) -> Answer:  # noqa: PLR0911  # one for each kind of question
        """Answer as an adapter would."""
        match question:
            case IsAncestor(_, ancestor, descendant):
                return self.is_ancestor(ancestor, descendant)
            case SameTree(_, one, other):
                return self.trees[one] == self.trees[other]
            case ComponentsOf():
                return self.components
            case BuildOf():
                return self.builds(question)
            case GateOver():
                return self.gates(question)
            case ImagesAt():
                return self.pods(question)
            case _:
                return f"subject of {question.commit[-4:]}"

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Tell whether a commit is another's ancestor, or the same."""
        return ancestor == descendant or any(
            self.is_ancestor(ancestor, parent) for parent in self.parents.get(descendant, ())
        )

    # -- acting

    def act(self, actions: Sequence[AnyAction]) -> None:
        """Do actions; a push that would not be a fast-forward fails the test."""
        for action in actions:
            self.done.append(action)
            match action:
                case PushCommits():
                    for commit in action.commits:
                        self._apply_commit(commit)
                case PushRefs():
                    for update in action.updates:
                        self._update(action.repository, update.ref, update.commit)
                case PushMerge():
                    made = self.commit(*action.parents)
                    self.trees[made] = self.trees[action.tree_of]
                    self._update(action.repository, f"refs/heads/{action.branch}", made)
                case ApplyApplication():
                    content = self.system[action.branch].files[f"applications/{action.shopset}.yaml"]
                    self.applications[action.shopset] = ObservedApplication(
                        action.shopset, action.cluster, action.application, manifest=blob_id(content)
                    )
                case DeleteApplication():
                    del self.applications[action.shopset]

    def _apply_commit(self, commit: Commit) -> None:
        branch = self.system.setdefault(commit.branch, Branch(""))
        branch.commit = self.commit()
        for path in commit.deletes:
            branch.files.pop(path, None)
        branch.files |= commit.writes
        branch.gitlinks |= commit.gitlinks

    def _update(self, repository: Repository, ref: str, commit: str) -> None:
        kind, name = ref.split("/", 2)[1:]
        refs = self.sources[repository] if kind == "heads" else self.tags[repository]
        assert name not in refs or self.is_ancestor(refs[name], commit), f"{ref} would not be fast-forwarded"
        refs[name] = commit

    # -- clusters

    def sync(self, *names: str, health: str = "Healthy", message: str = "", error: str = "") -> None:
        """Let Argo CD sync the named ShopSets (all, where none is named) to their tiers' branches now."""
        observed = self.observe()
        for name in names or tuple(self.applications):
            found = self.applications[name]
            head = next(tier for tier in observed.tiers.values() if name in tier.overlays)
            same = (
                found.overlay == head.overlays[name]
                and dict(found.gitlinks) == dict(head.gitlinks)
                and found.sync == "Synced"
            )
            self.applications[name] = replace(
                found,
                sync="OutOfSync" if error else "Synced",
                commit=head.head,
                overlay=head.overlays[name],
                gitlinks=head.gitlinks,
                synced_at=found.synced_at if same else self.now,
                sync_error=error,
                health=health,  # type: ignore[arg-type]  # a test's word
                health_since=found.health_since if found.health == health else self.now,
                message=message,
                images=("example.com/cart:1.0",),
            )

    # -- time

    def round(self, *, seconds: float = 1, sync: bool = True) -> Plan:
        """Do what the plans call for, sync, and let time pass. Returns the plan afterwards."""
        for _ in range(30):
            made = self.plan()
            if not made.actions:
                break
            self.act(made.actions)
        else:
            message = f"it never comes to rest: {[action.what for action in made.actions]}"
            raise AssertionError(message)
        if sync:
            self.sync()
        self.now += timedelta(seconds=seconds)
        return self.plan()

    def rounds(self, number: int) -> Plan:
        """Several rounds."""
        for _ in range(number):
            made = self.round()
        return made

    def pinned(self, tier: str) -> str | None:
        """Return the apps commit that a tier has."""
        branch = self.system.get(self.fleet.branch(tier))
        return branch.gitlinks["base"] if branch else None

    def check(self, tier: str, rule: str) -> Check:
        """Return one rule of entry for a tier's candidate."""
        return next(check for check in self.plan().outlooks[tier].checks if check.rule == rule)


def three_tiers(
    shopsets: Mapping[str, tuple[str, str, str]] = SHOPSETS,
    platform: Mapping[str, Any] | None = None,
    **promotions: Mapping[str, Any],
) -> PureWorld:
    """Return a world with tiers dev, beta and prod; promotions by tier."""
    tiers = {tier: promotions.get(tier, {}) for tier in ("dev", "beta", "prod")}
    world = PureWorld(make_fleet(tiers, shopsets, platform))
    world.begin()
    return world

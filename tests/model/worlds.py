"""A small world: repositories, clusters, developers, people who release, and two engines on the same remotes."""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import yaml

from model.bases import Behaviour, apps_files, configuration_files
from model.doubles import Clusters, CrashError, CrashingDelivery, CrashingGit, Kustomize, Tripwire
from model.fleets import CLUSTERS, CONFIGURATIONS, START, Design
from model.hands import Change, Hands
from model.oracle import Oracle
from model.repositories import NAMES, Store, create, location
from model.wishes import Member, Wish
from shopset.core.fleets import Fleet
from shopset.core.release.actions import SHOPSET, AnyAction, Identity, PushCommits, PushMerge, PushRefs
from shopset.core.release.commands import Places, script
from shopset.core.release.observed import Repository
from shopset.core.release.plans import Phase, Plan
from shopset.core.release.requests import Approve, Hotfix, Request, RequestRefusedError, Resume
from shopset.engine import Engine, Outcome
from shopset.gitops import Remotes

PEOPLE = (Identity("yamada", "yamada@example.com"), Identity("suzuki", "suzuki@example.com"))
SOURCES = ("apps", "configuration")
MOST_ROUNDS = 60
"""More than a release needs to climb four tiers that freeze, bake and ask people."""
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
_BY_HAND = _ENVIRONMENT | {"GIT_COMMITTER_NAME": "yamada", "GIT_COMMITTER_EMAIL": "yamada@example.com"}


class Delivery(Protocol):
    """Clusters that work when they are told to."""

    def reconcile(self) -> None:
        """Sync what the Applications point at."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A plan that an engine made a while ago, and the fleet that it was made for."""

    plan: Plan
    wish: Wish


@dataclass
class Process:
    """One engine with its own cache, and the plan that it has not carried out yet."""

    engine: Engine
    wire: Tripwire
    prepared: Prepared | None = None


@dataclass
class World:
    """Everything that happens, in virtual time. `check` lets the oracle judge it."""

    folder: Path
    design: Design
    now: datetime = START
    components: tuple[str, ...] = ("cart",)
    pushes: int = 0

    def __post_init__(self) -> None:
        create(self.folder)
        self.hands = Hands(self.folder)
        self._stores = {name: Store(location(self.folder, name)) for name in NAMES}
        self._build_stores = {name: Store(location(self.folder, name)) for name in NAMES}
        self.clusters = Clusters(self._stores["system"], self._stores["apps"], self.clock)
        self.delivery: Delivery = self.clusters
        self.oracle = Oracle(self.folder, self.design.wish())
        self.oracle.witness = self.clusters
        self.processes = tuple(self._process(name) for name in ("first", "second"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.oracle.__exit__(kind, error, trace)
        for store in (*self._stores.values(), *self._build_stores.values()):
            store.close()

    def clock(self) -> datetime:
        """Return the present time."""
        return self.now

    def check(self) -> None:
        """Let the oracle judge what happened since the last time. Raises AssertionError."""
        prepared = [process.prepared.wish for process in self.processes if process.prepared]
        self.oracle.wishes = (*prepared, self.design.wish())
        self.oracle.now = self.now
        found = self.oracle.check()
        assert not found, "\n".join(map(str, found))

    # -- time and clusters

    def advance(self, seconds: float) -> None:
        """Let time pass, and the clusters work before and after."""
        self.delivery.reconcile()
        self.now += timedelta(seconds=seconds)
        self.delivery.reconcile()

    # -- developers

    @property
    def lowest(self) -> str:
        """The ref of the lowest tier's branches."""
        return self.ref(min(self.design.levels, key=lambda tier: self.design.levels[tier]))

    def ref(self, tier: str) -> str:
        """Return the ref of a tier's branches."""
        return f"refs/heads/tier-{self.design.levels[tier]}"

    def develop(self, behaviour: Behaviour, *, configuration: bool = False) -> None:
        """Push a commit to the lowest branches. The first push makes both branches."""
        self.pushes += 1
        text = f"release {self.pushes}"
        gone = {
            f"{name}/{file}": None for name in ("cart", "page") for file in ("deployment.yaml", "kustomization.yaml")
        }
        changes: dict[str, dict[str, Change]] = {}
        if configuration or self.hands.head("configuration", self.lowest) is None:
            changes["configuration"] = configuration_files(text, CONFIGURATIONS)
        if not configuration or self.hands.head("apps", self.lowest) is None:
            changes["apps"] = {**gone, **apps_files(text, behaviour, self.components)}
        for repository, files in changes.items():
            self.commit_by_hand(repository, self.lowest, files, text)

    def commit_by_hand(self, repository: str, ref: str, changes: Mapping[str, Change], subject: str) -> str | None:
        """Push a commit on top of a branch; return it where it was taken."""
        head = self.hands.head(repository, ref)
        commit = self.hands.commit(repository, [head] if head else [], changes, self.now, subject)
        return commit if self.hands.push(repository, {ref: commit}) else None

    def stray(self, repository: str, tier: str) -> None:
        """Push a commit of one's own to a tier's branch, against all advice."""
        head = self.hands.head(repository, self.ref(tier))
        if head is not None:
            self.pushes += 1
            commit = self.hands.commit(repository, [head], {"stray": str(self.pushes).encode()}, self.now, "stray")
            self.oracle.excuse(repository, self.ref(tier), commit)
            self.hands.push(repository, {self.ref(tier): commit})

    def rewrite(self, repository: str) -> None:
        """Force the lowest branch to a commit without history."""
        head = self.hands.head(repository, self.lowest)
        if head is not None:
            self.pushes += 1
            commit = self.hands.merge(repository, [], head, self.now, f"rewritten {self.pushes}")
            self.oracle.excuse(repository, self.lowest, commit)
            self.hands.push(repository, {self.lowest: commit}, force=True)

    def forward_by_hand(self, repository: str, lower: str, tier: str) -> None:
        """Fast-forward a tier's branch to whatever the lower tier's branch has."""
        head = self.hands.head(repository, self.ref(lower))
        if head is not None:
            self.oracle.excuse(repository, self.ref(tier), head)
            self.hands.push(repository, {self.ref(tier): head})

    # -- the fleet

    def redesign(self, name: str, member: Member | None) -> None:
        """Add, change or remove a ShopSet; every engine is given the new fleet."""
        self.design = self.design.changed(name, member)
        fleet = self.fleet()
        for process in self.processes:
            process.engine.fleet = fleet

    def fleet(self) -> Fleet:
        """Return the present fleet."""
        return self.design.fleet(self.folder)

    # -- what goes wrong

    def take_away(self, repository: str) -> None:
        """Make a repository unreachable."""
        head = location(self.folder, repository) / "HEAD"
        if head.exists():
            head.rename(head.with_name("HEAD.away"))

    def recover(self) -> None:
        """Bring everything back that was lost or broken."""
        for name in NAMES:
            away = location(self.folder, name) / "HEAD.away"
            if away.exists():
                away.rename(away.with_name("HEAD"))
        self.clusters.lost.clear()
        self.clusters.lags = False
        self.clusters.mend()
        for cluster in CLUSTERS:
            self.declare(cluster, None)

    def declare(self, cluster: str, state: str | None) -> None:
        """Record in the ledger that a cluster is Lost or Upgrading, or (None) is back."""
        record: dict[str, Any] = {"cluster": cluster, "state": state, "since": f"{self.now:%Y-%m-%dT%H:%M:%SZ}"}
        content = yaml.safe_dump(record | {"by": str(PEOPLE[0]), "reason": "so"}, sort_keys=False).encode()
        head = self.hands.head("system", "refs/heads/ledger")
        known = head is not None and f"clusters/{cluster}.yaml" in self.oracle.scene.ledger(head).files
        if head is not None and (state is not None or known):
            files: dict[str, Change] = {f"clusters/{cluster}.yaml": content if state else None}
            self.commit_by_hand("system", "refs/heads/ledger", files, f"cluster {cluster}: {state}")

    # -- engines and people

    def run(self, process: Process, crash_after: int | None = None) -> Outcome | None:
        """Plan by what is known, else by a look, and act once; crash after so many steps. Return what it came to, None after a crash."""
        made, _ = process.engine.plan(look=False)
        if not made.actions:
            made, _ = process.engine.plan()
        return self._act(process, made.actions, crash_after)

    def prepare(self, process: Process) -> None:
        """Plan now and act later, when the world has moved on."""
        process.prepared = Prepared(process.engine.plan()[0], self.design.wish())

    def carry_out(self, process: Process, crash_after: int | None = None) -> Outcome | None:
        """Act on the plan that was prepared."""
        assert process.prepared is not None
        outcome = self._act(process, process.prepared.plan.actions, crash_after)
        self.check()
        process.prepared = None
        return outcome

    def do_by_hand(self, actions: Iterable[AnyAction]) -> bool:
        """Run the printed commands of what an engine would push; return whether bash got through."""
        pushes = [action for action in actions if isinstance(action, PushCommits | PushRefs | PushMerge)]
        text = script(pushes, Places.of(self.fleet(), str(self.folder)))
        return (
            subprocess.run(["bash"], input=text.encode(), env=_BY_HAND, capture_output=True, check=False).returncode
            == 0
        )

    def ask(self, process: Process, request: Request, person: Identity, crash_after: int | None = None) -> bool:
        """Do what a person asks for; return whether there was something to do."""
        try:
            made, _ = process.engine.respond(request, person)
        except RequestRefusedError:
            return False
        self._act(process, made.actions, crash_after)
        return bool(made.actions)

    def settle(self) -> None:
        """Let everything be repaired and everybody agree: then the newest good revision reaches every tier. Raises AssertionError."""
        self.recover()
        for process in self.processes:
            process.prepared = None
        self.develop(Behaviour())
        first = self.processes[0]
        for _ in range(MOST_ROUNDS):
            self.go_round(first, attended=True)
            made, _ = first.engine.plan()
            if not made.actions and not self._unreached(made):
                return
            if not made.actions:
                self.advance(15)
        assert not self._unreached(made), (self._unreached(made), made.outlooks, made.conditions)
        assert not made.actions, made.actions

    def go_round(self, process: Process, *, attended: bool, crash_after: int | None = None) -> None:
        """Let people who want the release to go on do their part, if they attend; then one round, and some time."""
        if attended:
            self._agree(process)
        self.run(process, crash_after)
        self.check()
        self.advance(5)

    def _agree(self, process: Process) -> None:
        """Approve, resume, and mend branches that diverged."""
        made, _ = process.engine.plan()
        for tier, outlook in made.outlooks.items():
            failing = {check.rule for check in outlook.checks if check.passed is False}
            if "Approved" in failing and outlook.candidate is not None:
                for person in PEOPLE:
                    self.ask(process, Approve(tier=tier, revision=outlook.candidate.id, reason="fine"), person)
            if "NotHeld" in failing or outlook.progress.phase is Phase.REJECTED:
                self.ask(process, Resume(tier=tier, reason="it goes on"), PEOPLE[0])
        for condition in made.conditions:
            tier = condition.resource.removeprefix("Tier/")
            if condition.reason == "SourceDiverged":
                request = Hotfix(tier=tier, reason="mend it", discard=True)
                if not self.ask(process, request, PEOPLE[0]):
                    self._join({repository: self.hands.head(repository, self.ref(tier)) for repository in SOURCES})
            if condition.reason == "HistoryRewritten":
                links = self.oracle.scene.gitlinks(str(self.hands.head("system", self.ref(tier))))
                self._join({"apps": links["base"], "configuration": links["configuration"]})

    def _join(self, commits: Mapping[str, str | None]) -> None:
        """Merge commits that the lowest branches lack into them, without their content."""
        for repository, commit in commits.items():
            head = str(self.hands.head(repository, self.lowest))
            if commit is not None and not self._stores[repository].is_ancestor(commit, head):
                merge = self.hands.merge(repository, [head, commit], head, self.now)
                self.hands.push(repository, {self.lowest: merge})

    def _unreached(self, made: Plan) -> list[str]:
        """Return the tiers that lack the newest revision, though nothing stands in its way."""
        apps, configuration = (self.hands.head(repository, self.lowest) for repository in ("apps", "configuration"))
        missing = []
        for tier, outlook in made.outlooks.items():
            if outlook.pinned is None or (outlook.pinned.apps, outlook.pinned.configuration) != (apps, configuration):
                missing.append(tier)
            empty = all(member.tier != tier for member in self.design.shopsets.values())
            if empty and self.design.promotions[tier].when_empty == "Block":
                break
            if outlook.progress.phase is not Phase.VERIFIED:
                missing.append(tier)
        return missing

    def _act(self, process: Process, actions: Iterable[AnyAction], crash_after: int | None) -> Outcome | None:
        process.wire.left = crash_after
        try:
            return process.engine.act(actions)
        except CrashError:
            return None
        finally:
            process.wire.left = None

    def _process(self, name: str) -> Process:
        urls = {Repository(each): location(self.folder, each).as_uri() for each in NAMES}
        git = Remotes(urls, self.folder / name, committer=SHOPSET, environment=_ENVIRONMENT)
        wire = Tripwire(git, self.clusters)
        builder = Kustomize(self._build_stores["apps"], self._build_stores["configuration"])
        return Process(Engine(self.fleet(), CrashingGit(wire), CrashingDelivery(wire), builder, self.clock), wire)

"""Doubles of the engine's ports: clusters and kustomize in memory, and a tripwire that ends a process at any step."""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from model.bases import Behaviour, behaviour_of, builds
from model.documents import parse
from model.repositories import Store
from model.scenes import object_id
from shopset.core.errors import ShopsetError
from shopset.core.manifests import Build, BuiltObject
from shopset.core.placement.formats import PlacementReading
from shopset.core.placement.placements import Group
from shopset.core.release.actions import PushCommits, PushMerge, PushRefs
from shopset.core.release.observed import (
    BuildOf,
    Components,
    ComponentsOf,
    Contents,
    Health,
    IsAncestor,
    ObservedApplication,
    SameTree,
    SubjectOf,
    Trouble,
)
from shopset.engine.ports import Delivery, Git, GitObservation

_SECOND = timedelta(seconds=1)


class ClusterGoneError(ShopsetError):
    """A cluster cannot be reached."""


@dataclass
class Run:
    """What one ShopSet ran from one sync to the next."""

    shopset: str
    tier: str
    commit: str
    overlay: str
    gitlinks: Mapping[str, str]
    synced_at: datetime
    behaviour: Behaviour
    ended_at: datetime | None = None
    breaks: list[tuple[datetime, datetime | None]] = field(default_factory=list)

    @property
    def started_at(self) -> datetime:
        """When it was up."""
        return self.synced_at + self.behaviour.starting * _SECOND

    def health(self, now: datetime) -> tuple[Health, datetime]:
        """Return the health, and since when it is so."""
        if now < self.started_at:
            return "Progressing", self.synced_at
        if self.behaviour.degraded_on(self.tier):
            return "Degraded", self.started_at
        since = self.started_at
        for start, end in self.breaks:
            if end is None or now < end:
                return "Degraded", max(start, self.started_at)
            since = max(since, end)
        return "Healthy", since

    def was_healthy(self, start: datetime, end: datetime) -> bool:
        """Whether it ran and was Healthy all the time."""
        if self.behaviour.degraded_on(self.tier) or start < self.started_at or (self.ended_at and end > self.ended_at):
            return False
        return all(
            fixed is not None and (fixed <= start or broke >= end) for broke, fixed in self.breaks if broke < end
        )


@dataclass
class _Application:
    shopset: str
    branch: str
    manifest: bytes
    runs: list[Run] = field(default_factory=list)


class Clusters:
    """Argo CD and Kubernetes of all clusters, in memory; also the witness of what really happened."""

    def __init__(self, system: Store, apps: Store, clock: Callable[[], datetime]) -> None:
        self._system = system
        self._apps = apps
        self._clock = clock
        self._applications: dict[tuple[str, str], _Application] = {}
        self._history: list[Run] = []
        self.lost: set[str] = set()
        self.lags = False
        """Whether nothing is synced for now."""

    def observe(
        self, _manifests: Mapping[str, str], /
    ) -> tuple[Mapping[str, ObservedApplication], Mapping[str, Trouble]]:
        """Return what Argo CD reports."""
        seen = {
            found.shopset: self._seen(cluster, name, found)
            for (cluster, name), found in sorted(self._applications.items())
            if cluster not in self.lost
        }
        return seen, {
            cluster: Trouble("Unreachable", f"cluster {cluster} does not answer") for cluster in sorted(self.lost)
        }

    def apply(self, cluster: str, application: str, manifest: bytes) -> None:
        """Apply an Application."""
        self._reach(cluster)
        content = parse(manifest)["spec"]["source"]
        shopset, branch = content["path"].removeprefix("overlays/"), content["targetRevision"]
        runs = self._applications[cluster, application].runs if (cluster, application) in self._applications else []
        self._applications[cluster, application] = _Application(shopset, branch, manifest, runs)

    def refresh(self, cluster: str, application: str) -> None:
        """Nothing: it looks by itself."""

    def sync(self, cluster: str, application: str) -> None:
        """Nothing: it tries again by itself."""

    def delete(self, cluster: str, application: str) -> None:
        """Delete an Application."""
        self._reach(cluster)
        found = self._applications.pop((cluster, application), None)
        if found is not None and found.runs:
            found.runs[-1].ended_at = self._clock()

    def reconcile(self) -> None:
        """Let every cluster that is there sync what its Applications point at."""
        refs = self._system.refs() if self._system.is_there and not self.lags else {}
        for (cluster, _), found in sorted(self._applications.items()):
            head = refs.get(f"refs/heads/{found.branch}")
            if cluster not in self.lost and head is not None:
                self._sync(found, head)

    def shatter(self, shopset: str) -> None:
        """Let a ShopSet be Degraded until it is mended."""
        for run in self._running(shopset):
            if not run.breaks or run.breaks[-1][1] is not None:
                run.breaks.append((self._clock(), None))

    def mend(self) -> None:
        """Let all ShopSets recover."""
        for run in self._history:
            if run.breaks and run.breaks[-1][1] is None:
                run.breaks[-1] = (run.breaks[-1][0], self._clock())

    def was_healthy(
        self, shopset: str, overlay: str, gitlinks: Mapping[str, str], start: datetime, end: datetime
    ) -> bool:
        """Whether a ShopSet ran exactly this and was Healthy. The ledger's times are cut to seconds."""
        start += _SECOND
        return start >= end or any(
            run.was_healthy(start, end)
            for run in self._history
            if (run.shopset, run.overlay, run.gitlinks) == (shopset, overlay, gitlinks)
        )

    def _running(self, shopset: str) -> list[Run]:
        return [found.runs[-1] for found in self._applications.values() if found.shopset == shopset and found.runs]

    def _reach(self, cluster: str) -> None:
        if cluster in self.lost:
            message = f"cluster {cluster} does not answer"
            raise ClusterGoneError(message)

    def _sync(self, found: _Application, head: str) -> None:
        tree = self._system.tree(self._system.commit(head).tree)
        folder = self._system.tree(tree["overlays"].id) if "overlays" in tree else {}
        if found.shopset not in folder:
            return
        overlay = folder[found.shopset].id
        gitlinks = {name: tree[name].id for name in ("base", "configuration")}
        last = found.runs[-1] if found.runs else None
        if last and (last.overlay, last.gitlinks) == (overlay, gitlinks):
            last.commit = head
            return
        if last:
            last.ended_at = self._clock()
        content = parse(self._system.blob(self._system.tree(overlay)["kustomization.yaml"].id))
        tier = content["labels"][0]["pairs"]["shopset.dev/tier"]
        behaviour = behaviour_of(self._apps, gitlinks["base"])
        run = Run(found.shopset, tier, head, overlay, gitlinks, self._clock(), behaviour)
        found.runs.append(run)
        self._history.append(run)

    def _seen(self, cluster: str, name: str, found: _Application) -> ObservedApplication:
        run = found.runs[-1] if found.runs else None
        if run is None:
            return ObservedApplication(found.shopset, cluster, name, object_id(found.manifest), health="Missing")
        health, since = run.health(self._clock())
        return ObservedApplication(
            found.shopset,
            cluster,
            name,
            object_id(found.manifest),
            "Synced",
            run.commit,
            run.overlay,
            run.gitlinks,
            run.synced_at,
            health=health,
            health_since=since,
            message="it is broken" if health == "Degraded" else "",
            images=("example.com/cart:1.0.0",),
        )


class Kustomize:
    """Builds without kustomize: a base that names a missing file does not build."""

    def __init__(self, apps: Store, configuration: Store) -> None:
        self._apps = apps
        self._configuration = configuration
        self._one_at_a_time = threading.Lock()

    def build(self, question: BuildOf) -> Build:
        """Build one overlay."""
        overlay = parse(question.overlay)
        path = overlay["components"][0].removeprefix("../../configuration/")
        with self._one_at_a_time:
            if not builds(self._apps, question.apps):
                return Build(problem="missing.yaml: no such file")
            tree = self._configuration.tree(self._configuration.commit(question.configuration).tree)
        if path not in tree:
            return Build(problem=f"configuration/{path}: no such folder")
        names = [resource.rsplit("/", 1)[1] for resource in overlay["resources"]]
        objects = tuple(
            BuiltObject("apps/v1", "Deployment", overlay["namespace"], name, question.apps) for name in names
        )
        return Build(objects=objects, images=tuple(f"example.com/{name}:1.0.0" for name in sorted(names)))


class CrashError(Exception):
    """The process ended here. Nobody catches it."""


@dataclass
class Tripwire:
    """Git and delivery of one engine, that crash after `left` more steps; each act is two: before and after it."""

    git: Git
    delivery: Delivery
    left: int | None = None

    def step(self) -> None:
        """Pass one step."""
        if self.left is not None:
            if self.left == 0:
                self.left = None
                raise CrashError
            self.left -= 1


@dataclass
class CrashingGit:
    """Git that may crash before and after each push."""

    wire: Tripwire

    def observe(self, branches: Mapping[str, str], *, look: bool = True) -> GitObservation:
        """Look at the repositories."""
        return self.wire.git.observe(branches, look=look)

    def answer(self, question: IsAncestor | SameTree | SubjectOf | ComponentsOf) -> bool | str | Components:
        """Answer a question."""
        return self.wire.git.answer(question)

    def push_commits(self, action: PushCommits, parents: Mapping[str, str | None]) -> Mapping[str, str]:
        """Push commits."""
        self.wire.step()
        pushed = self.wire.git.push_commits(action, parents)
        self.wire.step()
        return pushed

    def push_refs(self, action: PushRefs) -> Mapping[str, str]:
        """Push refs."""
        self.wire.step()
        pushed = self.wire.git.push_refs(action)
        self.wire.step()
        return pushed

    def push_merge(self, action: PushMerge) -> Mapping[str, str]:
        """Push a merge."""
        self.wire.step()
        pushed = self.wire.git.push_merge(action)
        self.wire.step()
        return pushed

    def read_blob(self, blob: str) -> bytes:
        """Read a blob."""
        return self.wire.git.read_blob(blob)

    def contents(self, commit: str) -> Contents | None:
        """Read what a commit holds."""
        return self.wire.git.contents(commit)

    def placement(self, commit: str) -> PlacementReading:
        """Read the placement."""
        return self.wire.git.placement(commit)

    def placed_since(self, commit: str, groups: Collection[Group]) -> datetime:
        """Tell since when groups are as they are."""
        return self.wire.git.placed_since(commit, groups)


@dataclass
class CrashingDelivery:
    """Delivery that may crash before and after each change."""

    wire: Tripwire

    def observe(
        self, manifests: Mapping[str, str], /
    ) -> tuple[Mapping[str, ObservedApplication], Mapping[str, Trouble]]:
        """Return what is there."""
        return self.wire.delivery.observe(manifests)

    def apply(self, cluster: str, application: str, manifest: bytes) -> None:
        """Apply an Application."""
        self.wire.step()
        self.wire.delivery.apply(cluster, application, manifest)
        self.wire.step()

    def refresh(self, cluster: str, application: str) -> None:
        """Nothing: it looks by itself."""

    def sync(self, cluster: str, application: str) -> None:
        """Nothing: it tries again by itself."""

    def delete(self, cluster: str, application: str) -> None:
        """Delete an Application."""
        self.wire.step()
        self.wire.delivery.delete(cluster, application)
        self.wire.step()

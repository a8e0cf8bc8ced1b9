"""Directory clusters: folders that stand in for Argo CD and Kubernetes, one for each Cluster.

<folder>/<cluster>/applications/<application>.yaml     what was applied
                   status/<application>.yaml           what Argo CD would say of it
                   namespaces/<namespace>/*.yaml       the objects; those of the whole cluster under cluster/
                   checkouts/<branch>                  the tier branch with its submodules
                   LOST                                where it exists, the cluster can't be reached
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from shopset.core.errors import ShopsetError
from shopset.core.objects import ObjectsError, images_of, read_objects
from shopset.core.release.observed import ObservedApplication, Trouble
from shopset.directory._files import locked, write_file
from shopset.directory.applications import Application, read_applications
from shopset.directory.checkouts import Checkouts, Git, Heads, Tree
from shopset.directory.installing import install, remove, remove_namespaces
from shopset.directory.simulations import simulations_of
from shopset.directory.statuses import Status

_RETRY_AFTER: Final = timedelta(seconds=30)
"""How long a sync that failed is left alone, unless there is another commit."""


class DirectoryError(ShopsetError):
    """A directory cluster that can't be reached, or whose folder can't be written."""


class DirectoryClusters:
    """The directory clusters of a fleet.

    `build` turns a folder into manifests, or into what is wrong with it; it raises ShopsetError where it cannot try.
    """

    def __init__(
        self,
        folder: Path,
        clusters: Sequence[str],
        build: Callable[[Path], tuple[str, str]],
        clock: Callable[[], datetime],
        environment: Mapping[str, str],
        timeout: float = 60,
    ) -> None:
        self._folder = folder
        self._clusters = tuple(clusters)
        self._build = build
        self._clock = clock
        self._git = Git(environment, timeout)
        self._troubles: dict[str, Trouble] = {}

    # -- the port that the engine sees

    def observe(self, _manifests: Mapping[str, str], /) -> tuple[dict[str, ObservedApplication], dict[str, Trouble]]:
        """Return ShopSet -> Application, and cluster -> why its Applications are not to be seen."""
        applications: dict[str, ObservedApplication] = {}
        troubles: dict[str, Trouble] = {}
        for cluster in self._clusters:
            try:
                found = self._observe(cluster)
            except OSError as error:
                troubles[cluster] = Trouble("ClusterUnreadable", f"its folder {self._folder / cluster}: {error}")
                continue
            if isinstance(found, Trouble):
                troubles[cluster] = found
            else:
                applications |= {application.shopset: application for application in found}
        return applications, troubles

    def apply(self, cluster: str, application: str, manifest: bytes) -> None:
        """Apply an Application. Raises DirectoryError."""
        try:
            self._reach(cluster)
            write_file(self._application_file(cluster, application), manifest)
        except OSError as error:
            raise DirectoryError(f"the Application {application} cannot be applied: {error}") from error

    def refresh(self, cluster: str, application: str) -> None:
        """Nothing: every reconciliation looks at git."""

    def sync(self, cluster: str, application: str) -> None:
        """Nothing: what failed is tried again by itself."""

    def delete(self, cluster: str, application: str) -> None:
        """Delete an Application; the next reconciliation removes its objects. Raises DirectoryError."""
        try:
            self._reach(cluster)
            self._application_file(cluster, application).unlink(missing_ok=True)
        except OSError as error:
            raise DirectoryError(f"the Application {application} cannot be deleted: {error}") from error

    def versions(self, clusters: Iterable[str]) -> dict[str, str]:
        """Return the Kubernetes version of clusters that answer and have one: the content of their file VERSION."""
        files = {name: self._folder / name / "VERSION" for name in clusters if not self._is_lost(name)}
        return {name: file.read_text(encoding="utf-8").strip() for name, file in files.items() if file.is_file()}

    # -- what Argo CD and Kubernetes would do

    def reconcile(self) -> None:
        """Sync every Application of every cluster that can be reached.

        Never raises: what fails is in the status of its Application, or is the trouble of its cluster.
        """
        try:
            with locked(self._folder / ".lock"):
                heads = Heads(self._git)
                for cluster in self._clusters:
                    self._reconcile_cluster(cluster, heads)
        except OSError as error:
            self._troubles = dict.fromkeys(self._clusters, _unwritable(self._folder, error))

    def _reconcile_cluster(self, cluster: str, heads: Heads) -> None:
        home = self._folder / cluster
        checkouts = Checkouts(home / "checkouts", self._git)
        self._troubles.pop(cluster, None)
        try:
            if self._is_lost(cluster) or not home.is_dir():
                return
            found = list(read_applications(home / "applications"))
            for application in found:
                file = self._status_file(cluster, application.name)
                before = Status.read(file) or Status(shopset=application.shopset, application=application.name)
                self._sync(home, application, before, checkouts, heads).judged(self._clock()).write(file)
            self._prune(home, found)
        except OSError as error:
            self._troubles[cluster] = _unwritable(home, error)

    def _sync(self, home: Path, application: Application, before: Status, checkouts: Checkouts, heads: Heads) -> Status:
        try:
            commit = heads.of(application.url, application.branch)
            if commit == before.commit and (self._failed_lately(before) or _is_whole(home, before)):
                return before.changed(trouble="")
            tree = checkouts.at(application.url, application.branch, commit)
            seen = before.changed(
                trouble="", commit=commit, overlay=tree.overlays.get(application.shopset), gitlinks=dict(tree.gitlinks)
            )
            same = (seen.overlay, seen.gitlinks) == (before.overlay, before.gitlinks)
            return seen if same and _is_whole(home, before) else self._install(home, application, seen, tree)
        except ShopsetError as error:
            return before.changed(trouble=str(error))

    def _install(self, home: Path, application: Application, seen: Status, tree: Tree) -> Status:
        """Build and install what a commit holds. What fails leaves the objects as they were."""
        text, problem = self._build(tree.folder / application.path)
        try:
            documents = read_objects(text) if not problem else ()
        except ObjectsError as error:
            problem = str(error)
        now = self._clock().astimezone(UTC)
        if problem:
            return seen.changed(sync="OutOfSync", sync_error=problem, failed_at=now)
        return seen.changed(
            sync="Synced",
            sync_error="",
            failed_at=None,
            synced_at=now,
            objects=tuple(install(home, application.namespace, documents, seen.objects)),
            images=tuple(sorted({image for document in documents for image in images_of(document)})),
            simulations=tuple(simulations_of(documents)),
        )

    def _failed_lately(self, before: Status) -> bool:
        return before.failed_at is not None and before.failed_at > self._clock() - _RETRY_AFTER

    def _prune(self, home: Path, found: Sequence[Application]) -> None:
        """Remove what Applications that were deleted left behind."""
        applied = {file.stem for file in (home / "applications").glob("*.yaml")}
        for file in sorted((home / "status").glob("*.yaml")):
            if file.stem not in applied:
                status = Status.read(file)
                remove(home, status.objects if status else ())
                file.unlink()
        if len(applied) == len(found):
            # An Application that can't be read may have a namespace.
            remove_namespaces(home, {application.namespace for application in found})

    # -- files

    def _observe(self, cluster: str) -> list[ObservedApplication] | Trouble:
        if self._is_lost(cluster):
            return Trouble("ClusterUnreachable", f"cluster {cluster} does not answer")
        if cluster in self._troubles:
            return self._troubles[cluster]
        return [self._observed(cluster, found) for found in read_applications(self._folder / cluster / "applications")]

    def _observed(self, cluster: str, found: Application) -> ObservedApplication:
        file = self._status_file(cluster, found.name)
        status = Status.read(file) or Status(shopset=found.shopset, application=found.name)
        return ObservedApplication(
            shopset=found.shopset,
            cluster=cluster,
            name=found.name,
            manifest=found.manifest,
            sync="Unknown" if status.trouble else status.sync,
            commit=status.commit,
            overlay=status.overlay,
            gitlinks=status.gitlinks,
            synced_at=status.synced_at,
            sync_error=status.sync_error,
            health=status.health,
            health_since=status.health_since,
            message=status.trouble or status.message,
            images=status.images,
        )

    def _application_file(self, cluster: str, application: str) -> Path:
        return self._folder / cluster / "applications" / f"{application}.yaml"

    def _status_file(self, cluster: str, application: str) -> Path:
        return self._folder / cluster / "status" / f"{application}.yaml"

    def _is_lost(self, cluster: str) -> bool:
        return (self._folder / cluster / "LOST").exists()

    def _reach(self, cluster: str) -> None:
        if self._is_lost(cluster):
            raise DirectoryError(f"cluster {cluster} does not answer")


def _is_whole(home: Path, status: Status) -> bool:
    """Whether what was synced is still there, as Argo CD's selfHeal would have it."""
    return status.sync == "Synced" and all((home / file).exists() for file in status.objects)


def _unwritable(folder: Path, error: OSError) -> Trouble:
    return Trouble("ClusterUnwritable", f"its folder {folder} cannot be read and written: {error}")

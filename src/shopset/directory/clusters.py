"""Directory clusters: folders that stand in for Argo CD and Kubernetes, one for each Cluster.

<folder>/<cluster>/applications/<application>.yaml     what was applied
                   status/<application>.yaml           what Argo CD would say of it
                   namespaces/<namespace>/*.yaml       the objects; those of the whole cluster under cluster/
                   LOST                                where it exists, the cluster can't be reached
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from shopset.api import InvalidValueError, parse_duration
from shopset.core.errors import ShopsetError
from shopset.core.release.observed import ObservedApplication, Trouble
from shopset.core.release.revisions import blob_id
from shopset.directory._files import locked, write_file
from shopset.directory.checkouts import CheckoutError, Checkouts
from shopset.directory.statuses import Simulation, Status

_LABEL = "shopset.dev/shopset"
_DEMO = "demo.shopset.dev"


class DirectoryError(ShopsetError):
    """A folder of a directory cluster that can't be read or written."""


@dataclass(frozen=True)
class _Application:
    """What an Application's manifest says."""

    name: str
    shopset: str
    url: str
    branch: str
    path: str
    namespace: str
    manifest: str


class DirectoryClusters:
    """The directory clusters of a fleet. `build` turns a folder into manifests, or into what is wrong with it."""

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
        self._environment = environment
        self._timeout = timeout

    # -- the port that the engine sees

    def observe(self) -> tuple[dict[str, ObservedApplication], dict[str, Trouble]]:
        """Return ShopSet -> Application, and cluster -> why its Applications are not to be seen."""
        applications: dict[str, ObservedApplication] = {}
        troubles: dict[str, Trouble] = {}
        for cluster in self._clusters:
            if self._is_lost(cluster):
                troubles[cluster] = Trouble("ClusterUnreachable", f"cluster {cluster} does not answer")
                continue
            try:
                for found in self._applications(cluster):
                    applications[found.shopset] = self._observed(cluster, found)
            except (OSError, ValueError) as error:
                troubles[cluster] = Trouble("ClusterUnreadable", f"{self._folder / cluster} cannot be read: {error}")
        return applications, troubles

    def apply(self, cluster: str, application: str, manifest: bytes) -> None:
        """Apply an Application. Raises DirectoryError."""
        self._reachable(cluster)
        try:
            write_file(self._application_file(cluster, application), manifest)
        except OSError as error:
            raise DirectoryError(f"the Application {application} cannot be applied: {error}") from error

    def delete(self, cluster: str, application: str) -> None:
        """Delete an Application; the next reconciliation removes its objects. Raises DirectoryError."""
        self._reachable(cluster)
        try:
            self._application_file(cluster, application).unlink(missing_ok=True)
        except OSError as error:
            raise DirectoryError(f"the Application {application} cannot be deleted: {error}") from error

    # -- what Argo CD and Kubernetes would do

    def reconcile(self) -> None:
        """Sync every Application of every cluster that can be reached. Failures go into statuses; raises DirectoryError."""
        heads: dict[str, dict[str, str] | CheckoutError] = {}
        try:
            with locked(self._folder / ".lock"):
                for cluster in self._clusters:
                    if not self._is_lost(cluster) and (self._folder / cluster).is_dir():
                        self._reconcile_cluster(cluster, heads)
        except OSError as error:
            raise DirectoryError(f"the directory clusters in {self._folder} cannot be written: {error}") from error

    def _reconcile_cluster(self, cluster: str, heads: dict[str, dict[str, str] | CheckoutError]) -> None:
        checkouts = Checkouts(self._folder / cluster / "checkouts", self._environment, self._timeout)
        found = list(self._applications(cluster))
        for application in found:
            status_file = self._status_file(cluster, application.name)
            before = Status.read(status_file) or Status(shopset=application.shopset, application=application.name)
            after = self._sync(cluster, application, before, checkouts, heads)
            after.judged(self._clock()).write(status_file)
        self._prune(cluster, {application.name for application in found})

    def _sync(
        self,
        cluster: str,
        application: _Application,
        before: Status,
        checkouts: Checkouts,
        heads: dict[str, dict[str, str] | CheckoutError],
    ) -> Status:
        try:
            commit = _head(checkouts, application, heads)
            if commit == before.commit and (before.sync == "Synced" or before.sync_error):
                return before
            clone = checkouts.at(application.url, application.branch, commit)
            gitlinks, overlays = checkouts.describe(clone, commit)
        except CheckoutError as error:
            return before.model_copy(update={"sync": "Unknown", "message": str(error)})
        overlay = overlays.get(application.shopset)
        seen = {"commit": commit, "overlay": overlay, "gitlinks": gitlinks}
        if before.sync == "Synced" and (before.overlay, before.gitlinks) == (overlay, gitlinks):
            return before.model_copy(update=seen)
        text, problem = self._build(clone / application.path)
        if problem:
            return before.model_copy(update=seen | {"sync": "OutOfSync", "sync_error": problem})
        return self._install(cluster, application, before, text).model_copy(update=seen)

    def _install(self, cluster: str, application: _Application, before: Status, text: str) -> Status:
        documents = [document for document in yaml.load_all(text, yaml.CSafeLoader) if document is not None]
        files = {_object_path(document): document for document in documents}
        home = self._folder / cluster
        for path, document in files.items():
            write_file(home / path, yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False).encode())
        for gone in set(before.objects) - set(files):
            (home / gone).unlink(missing_ok=True)
        return Status(
            shopset=application.shopset,
            application=application.name,
            sync="Synced",
            synced_at=self._clock().astimezone(UTC),
            health=before.health,
            health_since=before.health_since,
            message=before.message,
            images=tuple(sorted({image for document in documents for image in _images(document)})),
            objects=tuple(sorted(files)),
            simulations=tuple(_simulations(documents)),
        )

    def _prune(self, cluster: str, kept: set[str]) -> None:
        for file in sorted((self._folder / cluster / "status").glob("*.yaml")):
            if file.stem not in kept:
                status = Status.read(file)
                for path in status.objects if status else ():
                    (self._folder / cluster / path).unlink(missing_ok=True)
                file.unlink()

    # -- files

    def _applications(self, cluster: str) -> Iterator[_Application]:
        for file in sorted((self._folder / cluster / "applications").glob("*.yaml")):
            found = _read_application(file)
            if found is not None:
                yield found

    def _observed(self, cluster: str, found: _Application) -> ObservedApplication:
        status = Status.read(self._status_file(cluster, found.name)) or Status(
            shopset=found.shopset, application=found.name
        )
        return ObservedApplication(
            shopset=found.shopset,
            cluster=cluster,
            name=found.name,
            manifest=found.manifest,
            sync=status.sync,
            commit=status.commit,
            overlay=status.overlay,
            gitlinks=status.gitlinks,
            synced_at=status.synced_at,
            sync_error=status.sync_error,
            health=status.health,
            health_since=status.health_since,
            message=status.message,
            images=status.images,
        )

    def _application_file(self, cluster: str, application: str) -> Path:
        return self._folder / cluster / "applications" / f"{application}.yaml"

    def _status_file(self, cluster: str, application: str) -> Path:
        return self._folder / cluster / "status" / f"{application}.yaml"

    def _is_lost(self, cluster: str) -> bool:
        return (self._folder / cluster / "LOST").exists()

    def _reachable(self, cluster: str) -> None:
        if self._is_lost(cluster):
            raise DirectoryError(f"cluster {cluster} does not answer")


def _head(checkouts: Checkouts, application: _Application, heads: dict[str, dict[str, str] | CheckoutError]) -> str:
    """Return the head of the Application's branch; each repository is asked once in a round."""
    if application.url not in heads:
        try:
            heads[application.url] = checkouts.heads(application.url)
        except CheckoutError as error:
            heads[application.url] = error
    found = heads[application.url]
    if isinstance(found, CheckoutError):
        raise found
    if application.branch not in found:
        raise CheckoutError(f"there is no branch {application.branch}")
    return found[application.branch]


def _read_application(file: Path) -> _Application | None:
    content = file.read_bytes()
    try:
        document = yaml.load(content, yaml.CSafeLoader)
        source, destination = document["spec"]["source"], document["spec"]["destination"]
        return _Application(
            name=document["metadata"]["name"],
            shopset=document["metadata"]["labels"][_LABEL],
            url=source["repoURL"],
            branch=source["targetRevision"],
            path=source["path"],
            namespace=destination["namespace"],
            manifest=blob_id(content),
        )
    except (yaml.YAMLError, KeyError, TypeError):
        # Half a file, or somebody else's: shopset applies it again, as it would an Application that is not there.
        return None


def _object_path(document: Mapping[str, Any]) -> str:
    metadata = document["metadata"]
    namespace = metadata.get("namespace")
    folder = f"namespaces/{namespace}" if namespace else "cluster"
    return f"{folder}/{document['kind']}-{metadata['name']}.yaml".replace(":", "_")


def _images(document: Mapping[str, Any]) -> Iterator[str]:
    pod = (document.get("spec") or {}).get("template", {}).get("spec", {})
    for container in [*pod.get("containers", []), *pod.get("initContainers", [])]:
        yield str(container.get("image", ""))


def _simulations(documents: Sequence[Mapping[str, Any]]) -> Iterator[Simulation]:
    for document in documents:
        metadata = document["metadata"]
        asked = {
            key.removeprefix(f"{_DEMO}/"): str(value)
            for key, value in (metadata.get("annotations") or {}).items()
            if key.startswith(f"{_DEMO}/")
        }
        tiers = {tier.strip() for tier in asked.get("degraded", "").split(",")}
        degraded = bool(tiers & {"*", (metadata.get("labels") or {}).get("shopset.dev/tier")})
        if degraded or "starting" in asked:
            yield Simulation(
                name=metadata["name"],
                degraded=degraded,
                message=asked.get("message", "its pods crash"),
                after=_seconds(asked.get("degraded-after")),
                starting=_seconds(asked.get("starting")),
            )


def _seconds(text: str | None) -> float:
    try:
        return parse_duration(text).total_seconds() if text else 0.0
    except InvalidValueError:
        return 0.0

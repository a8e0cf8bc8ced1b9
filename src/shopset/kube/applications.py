"""Argo CD: what the engine sees of it, and does to it, is its Applications, and nothing else of it is needed."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Self, cast

import yaml
from lightkube import Client
from lightkube.types import PatchType

from shopset.api.platforms import ArgoCd as ArgoCdSpec
from shopset.core.fleets import Fleet
from shopset.core.release.commands import REFRESH, SYNC
from shopset.core.release.observed import Health, ObservedApplication, Sync, Trouble
from shopset.kube.clients import APPLICATION, FIELD_MANAGER, KubeError, Manifest, NotFoundError, asking
from shopset.kube.stores import Store

_SHOPSET: Final = "shopset.dev/shopset"
SELECTOR: Final[dict[str, str | None]] = {"app.kubernetes.io/part-of": "shopset"}
AT_ONCE: Final = 8
"""Applications that are worked on side by side: an API server takes as many requests of one client in its stride."""
_PARSED: Final = 1 << 15
"""Manifests that are kept parsed."""
_COMMIT: Final = re.compile("[0-9a-f]{40}")
_INVALID: Final = "InvalidSpecError"


def new_store() -> Store:
    """Return an empty store of Applications, to which only that is news which the engine would see."""
    return Store(_says)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An Application as it was looked at, beside the file that its tier's branch has for it."""

    live: Manifest
    blob: str | None
    found: ObservedApplication
    unknown_cluster: str
    """What Argo CD says of a cluster that it does not know."""


class ArgoCd:
    """The port `Delivery` of the engine.

    `system` is the URL of the fleet's system repository, of which `read_blob` returns a file by its id. `watched` is a
    store that somebody keeps up to date; without one the Applications are listed at each observation.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        system: str,
        read_blob: Callable[[str], bytes],
        watched: Store | None = None,
        only: str | None = None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._only = only
        self._clusters: Mapping[str, str] = {}
        self._system = system
        self._read_blob = read_blob
        self._watched = watched
        self._store = new_store() if watched is None else watched
        self._parsed: dict[str, Any] = {}
        self._seen: dict[str, _Seen] = {}

    @classmethod
    def of(
        cls,
        client: Client,
        fleet: Fleet,
        read_blob: Callable[[str], bytes],
        watched: Store | None = None,
        only: str | None = None,
    ) -> Self:
        """Return the Argo CD of a fleet whose Platform is delivered by it: of all its clusters, or of one only."""
        argocd = fleet.platform.spec.delivery.argocd or ArgoCdSpec()
        made = cls(client, argocd.namespace, fleet.platform.spec.repositories.system, read_blob, watched, only)
        made.follow(fleet)
        return made

    def follow(self, fleet: Fleet) -> None:
        """Take the clusters of a fleet that changed, of the same Platform."""
        clusters = [cluster for name, cluster in fleet.clusters.items() if self._only in (name, None)]
        destinations = [(fleet.platform.destination(cluster), cluster.name) for cluster in clusters]
        self._clusters = {place: name for destination, name in destinations for place in destination.values()}

    def is_of(self, client: Client, watched: Store | None) -> bool:
        """Whether this is what is seen by a client and, where there is one, in a store."""
        return self._client is client and self._watched is watched

    @property
    def is_watched(self) -> bool:
        """Whether somebody else keeps the Applications up to date."""
        return self._watched is not None

    def reach(self) -> None:
        """Look whether Argo CD's cluster answers. Raises KubeError."""
        with asking(f"an Application in namespace {self._namespace}"):
            next(iter(self._client.list(APPLICATION, namespace=self._namespace, chunk_size=1)), None)

    def observe(self, manifests: Mapping[str, str], /) -> tuple[dict[str, ObservedApplication], dict[str, Trouble]]:
        """Return ShopSet -> Application, and cluster -> why its Applications are not to be seen."""
        if self._watched is None:
            try:
                self._store.replace(list_applications(self._client, self._namespace))
            except KubeError as error:
                return {}, dict.fromkeys(self._clusters.values(), Trouble("ArgoCDUnreachable", str(error)))
        self._seen = {shopset: self._look(shopset, live, manifests.get(shopset)) for shopset, live in self._own()}
        applications = {shopset: seen.found for shopset, seen in self._seen.items()}
        troubles = {
            seen.found.cluster: Trouble("ClusterUnknown", f"Argo CD does not know it: {seen.unknown_cluster}")
            for seen in self._seen.values()
            if seen.unknown_cluster
        }
        return applications, troubles

    def _look(self, shopset: str, live: Manifest, blob: str | None) -> _Seen:
        """Look at an Application; what has not changed since the last time is not looked at again."""
        cluster, seen = self._cluster_of(live), self._seen.get(shopset)
        if seen is not None and seen.live is live and (seen.blob, seen.found.cluster) == (blob, cluster):
            return seen
        found = observed(live, shopset, cluster, self._applied(live, blob))
        return _Seen(live, blob, found, _unknown_cluster(live))

    def apply(self, cluster: str, application: str, manifest: bytes) -> None:
        """Apply an Application, as `kubectl apply --server-side --field-manager=shopset` does. Raises KubeError."""
        wanted = APPLICATION(yaml.load(manifest, yaml.CSafeLoader))
        with asking(f"apply the Application {application} for cluster {cluster}"):
            self._store.put(self._client.apply(wanted, field_manager=FIELD_MANAGER, force=True))

    def refresh(self, cluster: str, application: str) -> None:
        """Ask for a look at git now. Raises KubeError."""
        self._patch(
            application,
            {"metadata": {"annotations": {REFRESH[0]: REFRESH[1]}}},
            f"refresh {application} of cluster {cluster}",
        )

    def sync(self, cluster: str, application: str) -> None:
        """Start a sync. Raises KubeError."""
        self._patch(application, SYNC, f"sync {application} of cluster {cluster}")

    def delete(self, cluster: str, application: str) -> None:
        """Delete an Application and what it brought. Raises KubeError."""
        try:
            with asking(f"delete the Application {application} for cluster {cluster}"):
                self._client.delete(APPLICATION, application, namespace=self._namespace)
                self._store.put(self._client.get(APPLICATION, application, namespace=self._namespace))
        except NotFoundError:
            self._forget(application)

    def hooks(self, shopset: str) -> tuple[Manifest, ...]:
        """Return the PostSync hooks of a ShopSet's last sync, as `status.operationState.syncResult.resources` has them."""
        for name, live in self._own():
            if name == shopset:
                result = _operation(live).get("syncResult") or {}
                return tuple(each for each in result.get("resources") or () if each.get("hookType") == "PostSync")
        return ()

    def _patch(self, application: str, patch: Mapping[str, Any], what: str) -> None:
        try:
            with asking(what):
                self._store.put(
                    self._client.patch(
                        APPLICATION, application, dict(patch), namespace=self._namespace, patch_type=PatchType.MERGE
                    )
                )
        except NotFoundError:
            self._forget(application)

    def _forget(self, application: str) -> None:
        found = self._store.get(("Application", application))
        if found is not None:
            self._store.remove(found)

    def _own(self) -> Iterator[tuple[str, Manifest]]:
        """Yield ShopSet and Application of this fleet: another one of the same Argo CD has its own system repository."""
        for live in self._store.all():
            shopset = (live["metadata"].get("labels") or {}).get(_SHOPSET)
            if shopset is not None and live.get("spec", {}).get("source", {}).get("repoURL") == self._system:
                yield shopset, live

    def _cluster_of(self, live: Manifest) -> str:
        if self._only is not None:
            return self._only
        destination = live.get("spec", {}).get("destination", {})
        place = destination.get("name") or destination.get("server") or ""
        return self._clusters.get(place, place)

    def _applied(self, live: Manifest, blob: str | None) -> str:
        """Return the id of the file where the Application has all that the file says, else nothing."""
        if blob is None:
            return ""
        if blob not in self._parsed:
            if len(self._parsed) >= _PARSED:
                self._parsed.clear()
            self._parsed[blob] = yaml.load(self._read_blob(blob), yaml.CSafeLoader)
        return blob if is_applied(live, self._parsed[blob]) else ""


def list_applications(client: Client, namespace: str) -> Iterator[Manifest]:
    """Yield shopset's Applications. Raises KubeError."""
    with asking(f"Applications in namespace {namespace}"):
        yield from client.list(APPLICATION, namespace=namespace, labels={**SELECTOR})


def is_applied(live: Manifest, wanted: Manifest) -> bool:
    """Whether applying a manifest would change nothing: all its fields are there, and shopset owns no others."""
    return _has_all(live, wanted) and all(
        _has_fields(wanted, managed.get("fieldsV1") or {})
        for managed in live["metadata"].get("managedFields") or ()
        if managed.get("manager") == FIELD_MANAGER and managed.get("operation") == "Apply"
    )


def _has_all(live: Any, wanted: Any, field: str = "") -> bool:
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return all(key in live and _has_all(live[key], value, key) for key, value in wanted.items())
    if field == "finalizers":
        # The one list here that is a set to which others add.
        return set(wanted) <= set(live)
    return bool(live == wanted)


def _has_fields(wanted: Any, fields: Mapping[str, Any]) -> bool:
    """Whether a manifest has all the fields of a set in the form of `managedFields`, down to its lists."""
    if not isinstance(wanted, Mapping):
        return True
    named = ((key.removeprefix("f:"), below) for key, below in fields.items() if key.startswith("f:"))
    return all(key in wanted and _has_fields(wanted[key], below) for key, below in named)


def observed(live: Manifest, shopset: str, cluster: str, manifest: str) -> ObservedApplication:
    """Return what an Application says of itself."""
    status = live.get("status") or {}
    sync, health, operation = status.get("sync") or {}, status.get("health") or {}, _operation(live)
    # Argo CD writes the branch where it could not find out its commit.
    revision = sync.get("revision") or ""
    commit = revision if _COMMIT.fullmatch(revision) else None
    error = _failure(operation)
    another = not _is_of(operation, commit)
    if another and sync.get("status") != "Synced":
        # It is about to sync; but not where nothing has changed, or hooks alone have.
        error = ""
    return ObservedApplication(
        shopset=shopset,
        cluster=cluster,
        name=live["metadata"]["name"],
        manifest=manifest,
        sync=cast("Sync", sync.get("status") or "Unknown"),
        commit=commit,
        synced_at=_moment(operation.get("finishedAt")),
        operating=bool(live.get("operation")) or operation.get("phase") in ("Running", "Terminating"),
        sync_error=error,
        inconclusive=bool(error) and (another or _is_by_hand(operation)),
        health=cast("Health", health.get("status") or "Unknown"),
        health_since=_moment(health.get("lastTransitionTime")),
        message=_message(status),
        images=tuple((status.get("summary") or {}).get("images") or ()),
        looked_at=_moment(status.get("reconciledAt")),
        refreshing=REFRESH[0] in (live["metadata"].get("annotations") or {}),
        deleting="deletionTimestamp" in live["metadata"],
    )


def _failure(operation: Mapping[str, Any]) -> str:
    """Say why the last sync failed for good; Argo CD's own retries are over by then."""
    if operation.get("phase") not in ("Failed", "Error"):
        return ""
    # Argo CD's message does not tell which hook it was, nor why.
    hooks = (each for each in _result(operation).get("resources") or () if each.get("hookType"))
    failed = (each for each in hooks if each.get("hookPhase") in ("Failed", "Error"))
    told = (f"{each['hookType']} {each.get('name')}: {each.get('message', '')}" for each in failed)
    return _line("; ".join([operation.get("message") or "the sync failed", *told]))


def _is_of(operation: Mapping[str, Any], commit: str | None) -> bool:
    """Whether an operation was a sync of a commit, as far as it tells."""
    tried = _result(operation).get("revision") or ((operation.get("operation") or {}).get("sync") or {}).get("revision")
    return tried in (None, "", commit)


def _is_by_hand(operation: Mapping[str, Any]) -> bool:
    """Whether neither Argo CD nor shopset started it."""
    started = (operation.get("operation") or {}).get("initiatedBy")
    return started is not None and not started.get("automated") and started.get("username") != FIELD_MANAGER


def _result(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    return operation.get("syncResult") or {}


def _message(status: Mapping[str, Any]) -> str:
    problems = [each for each in status.get("conditions") or () if each.get("type", "").endswith("Error")]
    return _line("; ".join(f"{each['type']}: {each.get('message', '')}" for each in problems))


def _says(live: Manifest) -> object:
    seen = replace(observed(live, "", "", ""), looked_at=None)
    return seen, live["metadata"].get("generation"), live["metadata"].get("labels"), _unknown_cluster(live)


def _unknown_cluster(live: Manifest) -> str:
    for each in (live.get("status") or {}).get("conditions") or ():
        message = each.get("message", "")
        if each.get("type") == _INVALID and "cluster" in message:
            return _line(message)
    return ""


def _line(text: str) -> str:
    return " ".join(text.split())[:500]


def _operation(live: Manifest) -> Mapping[str, Any]:
    return (live.get("status") or {}).get("operationState") or {}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

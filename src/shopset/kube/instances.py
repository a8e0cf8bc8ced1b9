"""An Argo CD in each cluster: each tells of its own Applications, and one that is away takes no other with it."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from lightkube import Client

from shopset.core.fleets import Fleet
from shopset.core.release.observed import ObservedApplication, Trouble
from shopset.kube.applications import ArgoCd
from shopset.kube.clients import KubeError, Manifest
from shopset.kube.members import Members
from shopset.kube.stores import Store

_AT_ONCE: Final = 16
"""Clusters that are asked at the same time."""


class ArgoCds:
    """The port `Delivery` of the engine, for a Platform whose clusters have an Argo CD each.

    `watched` returns the store of a cluster's Applications, where somebody keeps it up to date.
    """

    def __init__(
        self,
        fleet: Fleet,
        members: Members,
        read_blob: Callable[[str], bytes],
        watched: Callable[[str], Store | None] = lambda _: None,
    ) -> None:
        self._fleet = fleet
        self._members = members
        self._read_blob = read_blob
        self._watched = watched
        self._instances: dict[str, ArgoCd] = {}

    def follow(self, fleet: Fleet) -> None:
        """Take the clusters of a fleet that changed, of the same Platform. `members` is told by who made it."""
        self._fleet = fleet

    def observe(self, manifests: Mapping[str, str], /) -> tuple[dict[str, ObservedApplication], dict[str, Trouble]]:
        """Return ShopSet -> Application, and cluster -> why its Applications are not to be seen."""
        applications: dict[str, ObservedApplication] = {}
        troubles: dict[str, Trouble] = {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for found, trouble in pool.map(lambda cluster: self._observe(cluster, manifests), self._fleet.clusters):
                troubles |= trouble
                for name, application in found.items():
                    # One that has moved is on two clusters for a while: the plan is to see the one that must go.
                    if name not in applications or self._is_astray(application):
                        applications[name] = application
        return applications, troubles

    def clients(self) -> dict[str, Client]:
        """Return cluster -> its connection, but for those that have none."""
        found: dict[str, Client] = {}
        for cluster in self._fleet.clusters:
            with suppress(KubeError):
                found[cluster] = self._members.client(cluster)
        return found

    def apply(self, cluster: str, application: str, manifest: bytes) -> None:
        """Apply an Application. Raises KubeError."""
        self._instance(cluster).apply(cluster, application, manifest)

    def refresh(self, cluster: str, application: str) -> None:
        """Ask for a look at git now. Raises KubeError."""
        self._instance(cluster).refresh(cluster, application)

    def sync(self, cluster: str, application: str) -> None:
        """Start a sync. Raises KubeError."""
        self._instance(cluster).sync(cluster, application)

    def delete(self, cluster: str, application: str) -> None:
        """Delete an Application and what it brought. Raises KubeError."""
        self._instance(cluster).delete(cluster, application)

    def hooks(self, shopset: str) -> tuple[Manifest, ...]:
        """Return the PostSync hooks of a ShopSet's last sync; none where its cluster was never seen."""
        found = self._instances.get(self._fleet.shopsets[shopset].spec.cluster)
        return found.hooks(shopset) if found is not None else ()

    def _observe(
        self, cluster: str, manifests: Mapping[str, str]
    ) -> tuple[Mapping[str, ObservedApplication], Mapping[str, Trouble]]:
        try:
            instance = self._instance(cluster)
            if instance.is_watched:
                # A watch does not tell that its cluster is gone.
                instance.reach()
        except KubeError as error:
            return {}, {cluster: Trouble("ArgoCDUnreachable", str(error))}
        return instance.observe(manifests)

    def _instance(self, cluster: str) -> ArgoCd:
        client, store = self._members.client(cluster), self._watched(cluster)
        found = self._instances.get(cluster)
        if found is None or not found.is_of(client, store):
            found = self._instances[cluster] = ArgoCd.of(client, self._fleet, self._read_blob, store, only=cluster)
        return found

    def _is_astray(self, application: ObservedApplication) -> bool:
        shopset = self._fleet.shopsets.get(application.shopset)
        return shopset is not None and shopset.spec.cluster != application.cluster

"""The objects that the controller works on: the fleet's and Argo CD's, as they were seen last."""

from collections.abc import Mapping
from threading import Lock
from typing import Any, Final

from lightkube import Client

from shopset.api import Platform, Resource
from shopset.controller.members import MemberApplications
from shopset.controller.shops import Shops
from shopset.kube.applications import list_applications, new_store
from shopset.kube.clients import Manifest
from shopset.kube.fleets import Parser, Reading, list_manifests
from shopset.kube.stores import Store

_ARGOCD: Final = "argocd"


class Objects:
    """The stores, and how they are filled."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.fleet = Store(_says)
        self.applications = new_store()
        self.members = MemberApplications()
        self.shops = Shops()
        self._parser = Parser()
        self._parsing = Lock()

    @property
    def argocd_namespace(self) -> str:
        """The namespace of Argo CD, as the Platform says."""
        return str(self._argocd.get("namespace") or _ARGOCD)

    @property
    def has_argocd_per_cluster(self) -> bool:
        """Whether each cluster has an Argo CD of its own, and there is none here."""
        return self._argocd.get("instances") == "PerCluster"

    @property
    def repositories(self) -> Mapping[str, str]:
        """The URLs of the three repositories, as the Platform says; none where there is no Platform."""
        return dict(self._platform.get("repositories", {}))

    @property
    def _argocd(self) -> Mapping[str, Any]:
        return self._platform.get("delivery", {}).get("argocd") or {}

    @property
    def _platform(self) -> Mapping[str, Any]:
        """The spec of the Platform; an empty one where there is none."""
        return next((each["spec"] for each in self.fleet.all() if each["kind"] == Platform.__name__), {})

    def list_all(self) -> None:
        """Read everything anew. Raises KubeError."""
        self.fleet.replace(list_manifests(self.client, self.namespace))
        if not self.has_argocd_per_cluster:
            self.applications.replace(list_applications(self.client, self.argocd_namespace))

    def read(self) -> Reading:
        """Return the fleet as it is now."""
        with self._parsing:
            return self._parser.read(self.fleet.all())

    def resources(self) -> list[Resource]:
        """Return the fleet's objects as they are now, whether they fit together or not."""
        with self._parsing:
            return self._parser.parse(self.fleet.all())[0]

    def find(self, reference: str) -> Manifest | None:
        """Return an object by kind and name, as in `Tier/dev`."""
        kind, _, name = reference.partition("/")
        return self.fleet.get((kind, name))


def _says(manifest: Manifest) -> object:
    metadata = manifest["metadata"]
    return metadata.get("generation"), metadata.get("deletionTimestamp"), metadata.get("finalizers")

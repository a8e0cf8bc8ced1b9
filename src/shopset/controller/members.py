"""The Applications of clusters that have an Argo CD each, as they were seen last."""

from collections.abc import Mapping
from threading import Lock

from lightkube import Client

from shopset.kube.applications import new_store
from shopset.kube.stores import Store


class MemberApplications:
    """A store for each cluster: the loop says which clusters there are, and a watch of each fills its store."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[str, tuple[Client, Store]] = {}

    def follow(self, clients: Mapping[str, Client]) -> None:
        """Take the clusters. One that is reached in another way than before is watched anew."""
        with self._lock:
            known = self._known
            self._known = {
                cluster: known[cluster] if cluster in known and known[cluster][0] is client else (client, new_store())
                for cluster, client in clients.items()
            }

    def store(self, cluster: str) -> Store | None:
        """Return the store of a cluster; None where not all is in it yet."""
        with self._lock:
            found = self._known.get(cluster)
        return found[1] if found is not None and found[1].is_complete else None

    def watched(self) -> Mapping[Store, Client]:
        """Return which store is to be filled from where."""
        with self._lock:
            return {store: client for client, store in self._known.values()}

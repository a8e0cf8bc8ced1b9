"""The API servers of the fleet's clusters, each of which is a context of one kubeconfig."""

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Self

from lightkube import Client

from shopset.core.fleets import Fleet
from shopset.kube.clients import KubeError, connect


class Members:
    """How the clusters are reached. `timeout` is in seconds, of one call.

    The kubeconfig is a file, which may be rotated, or None for kubectl's own choice.
    """

    def __init__(self, kubeconfig: Path | None, timeout: float, contexts: Mapping[str, str] | None = None) -> None:
        self._kubeconfig = kubeconfig
        self._timeout = timeout
        self._contexts = contexts or {}
        self._lock = Lock()
        self._clients: dict[str, Client] = {}
        self._rotated: list[Client] = []
        """Connections of the kubeconfig before, which another thread may still be asking by."""
        self._written: int | None = None

    def follow(self, fleet: Fleet) -> Self:
        """Take the clusters of a fleet, or of one that changed. Returns itself."""
        self._contexts = {name: cluster.context for name, cluster in fleet.clusters.items()}
        return self

    def client(self, cluster: str) -> Client:
        """Return a connection to a cluster. Raises KubeError."""
        with self._lock:
            self._forget_rotated()
            context = self._contexts[cluster]
            if context not in self._clients:
                kubeconfig = str(self._kubeconfig) if self._kubeconfig else None
                self._clients[context] = connect(kubeconfig, context, self._timeout)
            return self._clients[context]

    def close(self) -> None:
        """End the connections."""
        for each in (*self._rotated, *self._clients.values()):
            each.close()
        self._rotated.clear()
        self._clients.clear()

    def _forget_rotated(self) -> None:
        try:
            written = self._kubeconfig.stat().st_mtime_ns if self._kubeconfig else None
        except OSError as error:
            raise KubeError(f"the kubeconfig of the clusters cannot be read: {error}") from error
        if written != self._written:
            self._rotate()
            self._written = written

    def _rotate(self) -> None:
        for each in self._rotated:
            each.close()
        self._rotated = [*self._clients.values()]
        self._clients.clear()

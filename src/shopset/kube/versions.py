"""Which Kubernetes version each cluster runs, and which of them do not answer."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import httpx2
from lightkube import Client
from lightkube.config import client_adapter

from shopset.kube.clients import KubeError, asking
from shopset.kube.members import Members

_AT_ONCE: Final = 16
"""Clusters that are asked at the same time."""


@dataclass(frozen=True)
class Versions:
    """What the API servers of some clusters said."""

    found: dict[str, str] = field(default_factory=dict)
    """Cluster -> version, as in `v1.36.3`."""
    silent: dict[str, str] = field(default_factory=dict)
    """Cluster -> why its API server was not heard."""


def read_versions(members: Members, clusters: Iterable[str], timeout: float) -> Versions:
    """Ask the API servers of some clusters, side by side. `timeout` is in seconds, of one call. Never raises."""
    names = list(clusters)

    def ask(cluster: str) -> str | KubeError:
        try:
            return read_version(members.client(cluster), timeout)
        except KubeError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(ask, names))
    told = dict(zip(names, answers, strict=True))
    return Versions(
        {name: answer for name, answer in told.items() if isinstance(answer, str)},
        {name: str(answer) for name, answer in told.items() if not isinstance(answer, str)},
    )


def read_version(client: Client, timeout: float) -> str:
    """Ask one API server. Raises KubeError."""
    parameters = client_adapter.ConnectionParams(timeout=httpx2.Timeout(timeout))
    # A connection of its own: one that was kept may hang where a new one is refused at once.
    with asking("its version"), client_adapter.Client(client.config, parameters) as connection:
        answer = connection.get("/version")
        answer.raise_for_status()
        found = answer.json()
        if not isinstance(found, dict) or not isinstance(found.get("gitVersion"), str):
            message = "something that is no API server answers"
            raise KubeError(message)
        return str(found["gitVersion"])

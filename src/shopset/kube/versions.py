"""Which Kubernetes version each cluster runs, and which of them do not answer."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import httpx2
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
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda cluster: _version(members, cluster, timeout), names))
    told = dict(zip(names, answers, strict=True))
    return Versions(
        {name: answer for name, answer in told.items() if isinstance(answer, str)},
        {name: str(answer) for name, answer in told.items() if not isinstance(answer, str)},
    )


def _version(members: Members, cluster: str, timeout: float) -> str | KubeError:
    try:
        parameters = client_adapter.ConnectionParams(timeout=httpx2.Timeout(timeout))
        # A connection of its own: one that was kept may hang where a new one is refused at once.
        with (
            asking(f"the version of cluster {cluster}"),
            client_adapter.Client(members.client(cluster).config, parameters) as client,
        ):
            answer = client.get("/version")
            answer.raise_for_status()
            return str(answer.json()["gitVersion"])
    except KubeError as error:
        return error
    except (KeyError, TypeError):
        return KubeError(f"the version of cluster {cluster}: something that is no API server answers")

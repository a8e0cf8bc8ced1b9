"""What the controller was told when it was started."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

LONGEST_CALL_OF_MEMBER: Final = 5.0
"""Seconds that a round waits for a cluster that does not answer."""
LONGEST_CALL: Final = 30.0
"""Seconds that one call of an API server may take, whatever `timeout` says."""


@dataclass(frozen=True)
class Settings:
    """Durations are in seconds."""

    namespace: str
    """The fleet's."""
    cache: Path
    git_credentials: Path | None = None
    """A folder with the files `username` and `password`."""
    secrets: Path | None = None
    """A folder with a folder for each Secret that a Platform names."""
    shops: Path | None = None
    """The folder that paths of `shops.sources` are relative to."""
    members: Path | None = None
    """A kubeconfig with a context for each Cluster: for Pods, versions, failover, and an Argo CD of its own."""
    kustomize: str | None = None
    poll: float = 60
    """Between two looks at git, where nobody tells of a push."""
    resync: float = 300
    """Between two lists of all objects, in case a watch has missed something."""
    timeout: float = 60
    """Of one call of git, kustomize or the API server."""

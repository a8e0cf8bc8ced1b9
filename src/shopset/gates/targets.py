"""What gates are read of, and what reading them needs of the rest of shopset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Target:
    """One ShopSet of the tier."""

    shopset: str
    namespace: str
    cluster: str


@dataclass(frozen=True, slots=True)
class Hook:
    """What came of one PostSync hook: an entry of `status.operationState.syncResult.resources` of an Application."""

    name: str
    phase: str
    """Running, Succeeded, Failed, Error or Terminating, as Argo CD says."""
    message: str = ""
    finished_at: datetime | None = None


class Hooks(Protocol):
    """Argo CD, or what stands in for it."""

    def __call__(self, shopset: str, /) -> Sequence[Hook]:
        """Return the PostSync hooks of the last sync of a ShopSet. May raise whatever its client raises."""
        ...


Targets = Callable[[str], Sequence[Target]]
"""Tier -> its ShopSets."""
Secrets = Callable[[str], Path]
"""Secret -> the folder where it is mounted."""

"""What the agent tells of itself: a value that is replaced as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from shopset.edge.changes import COMMIT_KEY, SPARE_KEY
from shopset.edge_agent.runtime import Process


class Mode(StrEnum):
    """How the agent stands to git."""

    FRESH = "fresh"
    """It routes as git says."""
    STALE = "stale"
    """git can't be asked, or what it says can't be brought to HAProxy."""
    REFUSED = "refused"
    """What git says would take routed hosts away: the last good placement stays."""
    WAITING = "waiting"
    """There is no placement yet."""


@dataclass(frozen=True)
class Status:
    """What /status says."""

    mode: Mode = Mode.WAITING
    reason: str = ""
    commit: str = ""
    """That is routed by."""
    placed: datetime | None = None
    """When it was made."""
    head: str = ""
    """Of git, as last seen."""
    since: datetime | None = None
    """When the agent began to route by `commit`."""
    behind: datetime | None = None
    """Since when git has another commit than that."""
    contacted: datetime | None = None
    """When git answered last."""
    hosts: int = 0
    overlay: int = 0
    folded: datetime | None = None
    verified: datetime | None = None
    """When HAProxy was last compared with what git says, and held that."""
    haproxy: Process | None = None
    troubles: tuple[str, ...] = ()
    """What else a person should know."""

    def told(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        process = self.haproxy
        return {
            "mode": self.mode.value,
            "reason": self.reason,
            "commit": self.commit,
            "placed": _text(self.placed),
            "head": self.head,
            "since": _text(self.since),
            "behind": _text(self.behind),
            "contacted": _text(self.contacted),
            "hosts": self.hosts,
            "overlay": self.overlay,
            "folded": _text(self.folded),
            "verified": _text(self.verified),
            "haproxy": {
                "up": process is not None,
                "version": process.version if process else None,
                "pid": process.pid if process else None,
                "uptime": process.uptime if process else None,
            },
            "troubles": list(self.troubles),
        }


def overlay_size(entries: Mapping[str, str]) -> int:
    """Return how many hosts and routes an overlay has."""
    return sum(1 for key in entries if not key.startswith((COMMIT_KEY, SPARE_KEY)))


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")

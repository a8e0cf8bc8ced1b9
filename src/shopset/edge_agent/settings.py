"""What the agent was told when it was started."""

import resource
from dataclasses import dataclass
from typing import Final

_CONNECTIONS: Final = 20_000
_OTHERS: Final = 2_000
"""Files of checks, listeners and HAProxy itself."""


@dataclass(frozen=True)
class Settings:
    """Durations are in seconds."""

    poll: float = 30
    """Between two looks at git, where nobody tells of a push, and between two comparisons of what HAProxy holds."""
    tick: float = 0.25
    """Between two looks at a repository on this disk."""
    watch: float = 2
    """Between two looks whether HAProxy is still the same process."""
    overlay_most: int = 50_000
    """Entries of the overlay beyond which it is folded."""
    overlay_collected: int = 200_000
    """Entries beyond which a change goes straight into a fold."""
    overlay_age: float = 6 * 3600
    """How long after a fold the next one comes, where anything changed."""
    settle: float = 20
    """How long a ShopSet may use a spare backend, so that several that come at once are folded once."""
    sample: int = 50
    """Hosts of the large map that HAProxy is asked for at each comparison."""


def fitting_connections() -> int:
    """Return how many connections of shoppers HAProxy may have under this process's limit of open files.

    A request that is sent on to the next ShopSet has four: those of the shopper, to itself, from itself, and to the ShopSet.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _CONNECTIONS if limit == resource.RLIM_INFINITY else max(1, min(_CONNECTIONS, (limit - _OTHERS) // 4))

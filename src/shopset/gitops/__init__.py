"""The three git repositories: observed through local copies, changed by plain, atomic pushes."""

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shopset.gitops.placements import PlacementChange
    from shopset.gitops.remotes import GitObservation, LoggedCommit, Remotes
    from shopset.gitops.transport import GitError, LocalGitError, LostRaceError, RefusedError, UnreachableError

__all__ = [
    "GitError",
    "GitObservation",
    "LocalGitError",
    "LoggedCommit",
    "LostRaceError",
    "PlacementChange",
    "RefusedError",
    "Remotes",
    "UnreachableError",
]

_HOMES: Final = {
    "GitObservation": "remotes",
    "LoggedCommit": "remotes",
    "PlacementChange": "placements",
    "Remotes": "remotes",
}
"""Name -> module, where it is not that of the errors."""


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a name with its first use: the pre-receive hook starts at each push, and needs no library for git."""
        if name not in __all__:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'transport')}"), name)

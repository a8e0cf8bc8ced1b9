"""The three git repositories: observed through local copies, changed by plain, atomic pushes."""

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

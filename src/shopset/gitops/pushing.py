"""What a failed push means: somebody was faster, the server refuses, or it was not to be reached."""

import re
from typing import Final

from shopset.gitops.transport import FailedError, GitError, LostRaceError, RefusedError, UnreachableError, last_words

_REJECTED: Final = re.compile(
    r"^!\t[^\t\n]*:(?P<ref>[^\t\n]+)\t\[(?P<side>remote )?rejected\] \((?P<reason>.*)\)$", re.MULTILINE
)
_CARRIED_ALONG: Final = re.compile(r"atomic push failed|atomic push failure|atomic transaction failed")
_MOVED: Final = re.compile(
    r"failed to update ref|failed to lock|lock failure|cannot lock ref|incorrect old value|already exists|"
    r"non-fast-forward|fetch first|but expected|transaction failed"
)
_CANNOT_WRITE: Final = re.compile(r"No space left|Permission denied|Read-only file system|permission for adding|quota")
_FORBIDDEN: Final = re.compile(r"error: 403|not allowed|prohibited|protected|read.only|denied to|write access")


def push_error(error: FailedError, repository: str) -> GitError:
    """Return what a failed `git push --porcelain` means. What only this machine could not do stays as it is."""
    rejected = list(_REJECTED.finditer(error.output))
    # The status of a ref is git's own; the lines around it may be anybody's, as a hook's are.
    reasons = [f"{match['ref']}: {match['reason']}" for match in rejected if not _CARRIED_ALONG.search(match["reason"])]
    words = "; ".join(filter(None, [*reasons, last_words(error.errors.encode())]))
    if rejected and not _CANNOT_WRITE.search(error.errors) and all(map(_lost, rejected)):
        return LostRaceError(f"{repository} had moved on", words)
    if rejected or _FORBIDDEN.search(error.errors):
        return RefusedError(f"{repository} refused the push", words)
    return UnreachableError(f"{repository} could not be pushed to", words) if error.distant else error


def _lost(rejected: re.Match[str]) -> bool:
    """Tell whether a ref was rejected for not being where it was seen, or only with another."""
    by_us = rejected["side"] is None
    return (
        by_us or _MOVED.search(rejected["reason"]) is not None or _CARRIED_ALONG.search(rejected["reason"]) is not None
    )

"""Observing: what git has, and what of it may be routed by."""

from collections.abc import Iterable, Iterator
from typing import Final

from shopset.core.errors import ShopsetError
from shopset.core.placement.formats import MalformedPlacementError
from shopset.core.placement.placements import PlacedShop
from shopset.edge.changes import Changes, Judgement, compare, differing_paths
from shopset.edge_agent.applied import Version
from shopset.edge_agent.folders import StateFolder
from shopset.edge_agent.following import Branch
from shopset.gitops.transport import GitError

_SHORTEST: Final = 7
"""Digits by which a person names a commit."""


class PlacementRefusedError(ShopsetError):
    """What a commit says is not brought to HAProxy unless a person accepts it."""

    def __init__(self, commit: str, reason: str) -> None:
        super().__init__(
            f"{reason}. The last good placement stays: put it back with git revert, or accept this one with "
            f"shopset-edge accept --state FOLDER {commit[:12]}"
        )


class Observer:
    """Reads commits. Those that were routed by once, or that a person accepted, are not judged (again)."""

    def __init__(self, branch: Branch, folder: StateFolder) -> None:
        self.branch = branch
        self.head: str | None = None
        """Of the branch, as last seen."""
        self.trouble = ""
        """Why git can't be asked; empty where it can."""
        self.known: frozenset[str] = frozenset()
        """Commits that are routed by."""
        self._folder = folder

    # -- the head

    def look(self) -> bool:
        """Ask git for the branch's head. Returns whether it answered."""
        try:
            self.head = self.branch.refresh() or self.head
        except GitError as error:
            self.trouble = str(error)
            self.remember()
            return False
        self.trouble = "" if self.head else "the system repository has no branch placement yet"
        return True

    def remember(self) -> None:
        """Go on with what git said last."""
        try:
            self.head = self.head or self.branch.known()
        except GitError as error:
            self.trouble = self.trouble or str(error)

    def renew(self) -> bool:
        """Make the local copy of git anew. Returns whether that went well."""
        try:
            self.branch.renew()
        except GitError as error:
            self.trouble = str(error)
            return False
        return True

    # -- commits

    def version(self, commit: str) -> Version:
        """Read all of a commit but its shops. Raises PlacementRefusedError, AbsentObjectError, DamagedStoreError."""
        snapshot = self.branch.snapshot(commit)
        head = self.branch.head(snapshot)
        self.check(commit, head.problems)
        return Version(snapshot, head.side)

    def changes(self, old: Version, new: Version, most: int) -> Changes:
        """Compare the shops of two versions. Raises PlacementRefusedError where a file of the second can't be read whole."""
        shards, others = old.snapshot.shards, new.snapshot.shards
        problems: list[MalformedPlacementError] = []

        def pairs() -> Iterator[tuple[Iterator[PlacedShop], Iterator[PlacedShop]]]:
            for path in differing_paths(shards, others, old.side.facts, new.side.facts):
                read = self.branch.read(path, others.get(path))
                problems.extend(read.problems)
                yield iter(self.branch.read(path, shards.get(path)).shard), iter(read.shard)

        found = compare(pairs(), old.side, new.side, most)
        self.check(new.commit, problems)
        return found

    # -- what may be routed by

    def check(self, commit: str, problems: Iterable[MalformedPlacementError]) -> None:
        """Raise PlacementRefusedError for a commit that can't be read whole."""
        found = list(problems)
        if found and commit not in self.known and not self.is_accepted(commit):
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise PlacementRefusedError(commit, f"{found[0]}{more}")

    def judge(self, commit: str, judgement: Judgement) -> None:
        """Raise PlacementRefusedError for a commit that would take routed hosts away."""
        if judgement.reason and not self.is_accepted(commit):
            raise PlacementRefusedError(commit, judgement.reason)

    def is_accepted(self, commit: str) -> bool:
        """Tell whether a person wants a commit in spite of what it does."""
        return any(len(each) >= _SHORTEST and commit.startswith(each) for each in self._folder.accepted())

"""The three repositories as the engine sees them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pygit2

from shopset.api import repository_folder
from shopset.core.placement.formats import BRANCH as PLACEMENT
from shopset.core.placement.formats import PlacementReading
from shopset.core.placement.placements import Group, Whereabouts
from shopset.core.release.actions import Identity, PushCommits, PushMerge, PushRefs
from shopset.core.release.commands import pending_subject
from shopset.core.release.ledgers import BRANCH, Ledger
from shopset.core.release.observed import (
    Components,
    ComponentsOf,
    Contents,
    IsAncestor,
    ObservedRepository,
    ObservedTier,
    Repository,
    SameTree,
    SubjectOf,
    Trouble,
)
from shopset.gitops.placements import PlacementChange, PlacementReader, commit_at
from shopset.gitops.reading import (
    AbsentObjectError,
    TreeReader,
    commit_in,
    components_of,
    export,
    has_commit,
    is_ancestor,
    read_blob,
    sound,
)
from shopset.gitops.stores import DamagedStoreError, Store
from shopset.gitops.transport import GitError, LocalGitError, Runner, UnreachableError
from shopset.gitops.writing import write_commits, write_tree_commit

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class GitObservation:
    """What was seen of the three repositories."""

    repositories: Mapping[Repository, ObservedRepository]
    tiers: Mapping[str, ObservedTier]
    ledger: Ledger


@dataclass(frozen=True)
class LoggedCommit:
    """A commit as a log shows it."""

    commit: str
    at: datetime
    author: Identity
    subject: str


class Remotes:
    """The three repositories, each with a local copy under `cache` (which several processes may share).

    `environment` is what git runs with; `timeout` bounds each of its runs, in seconds.
    """

    def __init__(
        self,
        urls: Mapping[Repository, str],
        cache: Path,
        *,
        committer: Identity,
        environment: Mapping[str, str],
        timeout: float = 60,
    ) -> None:
        runner = Runner(environment, timeout)
        self.committer = committer
        self._stores = {
            kind: Store(url, repository_folder(url).removesuffix(".git"), cache / f"{kind}.git", runner)
            for kind, url in urls.items()
        }
        self._reader: TreeReader | None = None
        self._placements: PlacementReader | None = None

    # -- observing

    def observe(self, branches: Mapping[str, str], *, look: bool = True) -> GitObservation:
        """Look at the repositories. `branches` is tier -> branch. One that cannot be read has a trouble instead.

        Without `look` what was last seen and pushed is taken for what is there, where nothing has gone wrong since.
        """
        with ThreadPoolExecutor(len(self._stores)) as pool:
            seen = dict(zip(self._stores, pool.map(partial(_look, anew=look), self._stores.values()), strict=True))
        heads = seen[Repository.SYSTEM].branches
        of_tiers = {tier: heads[branch] for tier, branch in branches.items() if branch in heads}
        try:
            tiers, ledger = self._read(
                Repository.SYSTEM, lambda objects: self._trees(objects, of_tiers, heads.get(BRANCH))
            )
        except GitError as error:
            system = seen[Repository.SYSTEM]
            seen[Repository.SYSTEM] = ObservedRepository(trouble=system.trouble or _trouble(error))
            tiers, ledger = {}, Ledger()
        return GitObservation(seen, tiers, ledger)

    def answer(self, question: IsAncestor | SameTree | SubjectOf | ComponentsOf) -> bool | str | Components:
        """Answer a question about commits that were observed. Of one that is not there, nothing is true."""
        match question:
            case IsAncestor(repository, ancestor, descendant):
                return self._read(repository, lambda objects: is_ancestor(objects, ancestor, descendant))
            case SameTree(repository, one, other):
                return self._have_same_tree(repository, one, other)
            case SubjectOf(repository, commit):
                return self._subject(repository, commit)
            case ComponentsOf(apps):
                return self._components(apps)

    # -- reading

    def has_commit(self, repository: Repository, commit: str) -> bool:
        """Tell whether a commit was seen in a repository."""
        return self._read(repository, lambda objects: has_commit(objects, commit))

    def tree_of(self, repository: Repository, commit: str) -> str:
        """Return the id of a commit's tree. Raises AbsentObjectError."""
        return str(self._commit(repository, commit).tree_id)

    def read_blob(self, blob: str) -> bytes:
        """Return a file of the system repository. Raises AbsentObjectError."""
        return self._read(Repository.SYSTEM, lambda objects: read_blob(objects, blob))

    def contents(self, commit: str) -> Contents | None:
        """Return what a commit of the system repository holds; None where the commit is not to be had."""
        try:
            return self._read(Repository.SYSTEM, lambda objects: self._reader_of(objects).contents(commit))
        except AbsentObjectError:
            return None

    def export(self, repository: Repository, commit: str, folder: Path) -> None:
        """Write a commit's files into a folder that does not exist yet: all of them or nothing.

        Raises AbsentObjectError, UnsafeTreeError, and LocalGitError where the disk refuses.
        """
        self._read(repository, lambda objects: export(objects, commit, folder))

    def log(
        self, repository: Repository, head: str, *, without: str | None = None, limit: int = 1000
    ) -> Iterator[LoggedCommit]:
        """Yield a commit and its ancestors, newest first, less those of `without`. Raises AbsentObjectError."""
        yield from self._read(repository, lambda objects: list(islice(_log(objects, head, without), limit)))

    # -- the placement

    def placed_since(self, commit: str, groups: Collection[Group]) -> datetime:
        """Return when what the placement says of some groups was changed last, up to a commit; where none is named, when that was made.

        Raises AbsentObjectError.
        """
        return self._read(Repository.SYSTEM, lambda objects: self._placements_of(objects).since(commit, groups))

    def placement(self, commit: str) -> PlacementReading:
        """Read the placement at a commit; what is malformed is listed in the result. Raises AbsentObjectError."""
        return self._read(Repository.SYSTEM, lambda objects: self._placements_of(objects).read(commit))

    def placement_at(self, moment: datetime) -> str | None:
        """Return the commit of the placement that was the branch's head at a time, as last observed; None where there was none."""
        head = self._stores[Repository.SYSTEM].heads().get(PLACEMENT)
        if head is None:
            return None
        return self._read(Repository.SYSTEM, lambda objects: commit_at(objects, head, moment))

    def placed(self, commit: str, shop: str) -> Whereabouts | None:
        """Return where one shop was at a commit of the placement, without reading the others. Raises AbsentObjectError."""
        return self._read(Repository.SYSTEM, lambda objects: self._placements_of(objects).shop(commit, shop))

    def placement_log(self, head: str, shop: str, *, limit: int = 1000) -> Iterator[PlacementChange]:
        """Yield the commits up to `head` that changed where a shop is, newest first. Raises AbsentObjectError."""
        yield from self._read(
            Repository.SYSTEM, lambda objects: list(islice(self._placements_of(objects).changes(head, shop), limit))
        )

    # -- pushing

    def push_commits(self, action: PushCommits, parents: Mapping[str, str | None]) -> dict[str, str]:
        """Make the commits and push them in one atomic push. Return branch -> commit.

        `parents` has the heads of branches that an earlier action of the same plan moved. Raises LostRaceError, RefusedError,
        UnreachableError, LocalGitError.
        """
        store = self._stores[Repository.SYSTEM]
        commits = {
            commit.branch: replace(commit, parent=parents.get(commit.branch, commit.parent))
            for commit in action.commits
        }
        with store.locked():
            made = write_commits(store, commits, action.author, self.committer, action.at)
            store.push({f"refs/heads/{branch}": commit for branch, commit in made.items()})
        return made

    def push_refs(self, action: PushRefs) -> dict[str, str]:
        """Push existing commits to refs. Return ref -> commit. Raises as push_commits."""
        store = self._stores[action.repository]
        refs = {update.ref: update.commit for update in action.updates}
        with store.locked():
            store.push(refs)
        return refs

    def push_merge(self, action: PushMerge) -> dict[str, str]:
        """Make a merge, and prepare the pending work on top of it, and push both. Return ref -> commit. Raises as push_commits."""
        store = self._stores[action.repository]
        tree = self.tree_of(action.repository, action.tree_of)
        with store.locked():
            merged = self._merge(store, action, tree, action.subject, action.parents)
            refs = {f"refs/heads/{action.branch}": merged}
            both = None if action.pending is None else _merged_tree(store, action.parents)
            if both is not None:
                pending = self._merge(store, action, both, pending_subject(action), (merged,))
                refs[f"refs/heads/{action.pending}"] = pending
            store.push(refs)
        return refs

    def _merge(self, store: Store, action: PushMerge, tree: str, subject: str, parents: tuple[str, ...]) -> str:
        return write_tree_commit(store, tree, parents, f"{subject}\n", action.author, self.committer, action.at)

    # -- the local copies

    def _read(self, repository: Repository, read: Callable[[pygit2.Repository], _Read]) -> _Read:
        """Read a local copy. One that turns out to be damaged is made anew and read again."""
        store = self._stores[repository]
        try:
            return read(store.repository)
        except DamagedStoreError:
            store.renew()
        return read(store.repository)

    def _commit(self, repository: Repository, commit: str) -> pygit2.Commit:
        return self._read(repository, lambda objects: commit_in(objects, commit))

    def _have_same_tree(self, repository: Repository, one: str, other: str) -> bool:
        try:
            return self.tree_of(repository, one) == self.tree_of(repository, other)
        except AbsentObjectError:
            return False

    def _subject(self, repository: Repository, commit: str) -> str:
        try:
            return _first_line(self._commit(repository, commit).message)
        except AbsentObjectError:
            return ""

    def _components(self, apps: str) -> Components:
        try:
            return self._read(Repository.APPS, lambda objects: components_of(objects, apps))
        except AbsentObjectError as error:
            return Components(problem=f"{error.what}. Push it again, it was the base")

    def _trees(
        self, objects: pygit2.Repository, heads: Mapping[str, str], ledger: str | None
    ) -> tuple[dict[str, ObservedTier], Ledger]:
        reader = self._reader_of(objects)
        return reader.tiers(heads), Ledger() if ledger is None else reader.ledger(ledger)

    def _reader_of(self, objects: pygit2.Repository) -> TreeReader:
        # A local copy that was made anew is another object; what was read of the old one goes with it.
        if self._reader is None or self._reader.repository is not objects:
            self._reader = TreeReader(objects)
        return self._reader

    def _placements_of(self, objects: pygit2.Repository) -> PlacementReader:
        if self._placements is None or self._placements.repository is not objects:
            self._placements = PlacementReader(objects)
        return self._placements


def _look(store: Store, *, anew: bool) -> ObservedRepository:
    try:
        if anew or not store.is_current:
            store.refresh()
        return ObservedRepository(store.heads(), store.tags())
    except GitError as error:
        return ObservedRepository(trouble=_trouble(error))


def _trouble(error: GitError) -> Trouble:
    match error:
        case UnreachableError():
            return Trouble("RepositoryUnreachable", str(error))
        case LocalGitError():
            return Trouble("CacheUnusable", str(error))
        case _:
            return Trouble("GitFailed", str(error))


def _log(objects: pygit2.Repository, head: str, without: str | None) -> Iterator[LoggedCommit]:
    newest = commit_in(objects, head)
    hidden = None if without is None else commit_in(objects, without)
    with sound():
        walker = objects.walk(newest.id, pygit2.enums.SortMode.TOPOLOGICAL)
        if hidden is not None:
            walker.hide(hidden.id)
        for commit in walker:
            author = Identity(commit.author.name, commit.author.email)
            at = datetime.fromtimestamp(commit.commit_time, UTC)
            yield LoggedCommit(str(commit.id), at, author, _first_line(commit.message))


def _merged_tree(store: Store, parents: tuple[str, ...]) -> str | None:
    """Return the tree of the merge of two commits; None where git cannot merge them by itself."""
    conflicts, output = store.git(["merge-tree", "--write-tree", *parents], accept=(0, 1))
    return None if conflicts else output.decode().split()[0]


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]

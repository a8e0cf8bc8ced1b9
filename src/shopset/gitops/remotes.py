"""The three repositories as the engine sees them."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pygit2

from shopset.api import repository_folder
from shopset.core.release.actions import Identity, PushCommits, PushMerge, PushRefs
from shopset.core.release.commands import pending_subject
from shopset.core.release.ledgers import BRANCH, Ledger
from shopset.core.release.observed import (
    Components,
    ComponentsOf,
    IsAncestor,
    ObservedRepository,
    ObservedTier,
    Repository,
    SameTree,
    SubjectOf,
    Trouble,
)
from shopset.gitops.reading import (
    AbsentObjectError,
    TreeReader,
    commit_in,
    components_of,
    export,
    has_commit,
    is_ancestor,
    read_blob,
)
from shopset.gitops.stores import Store
from shopset.gitops.transport import GitError, LocalGitError, Runner, UnreachableError
from shopset.gitops.writing import write_commits


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
        self._readers: dict[int, TreeReader] = {}

    # -- observing

    def observe(self, branches: Mapping[str, str]) -> GitObservation:
        """Look at the repositories. `branches` is tier -> branch. One that cannot be read has a trouble instead."""
        with ThreadPoolExecutor(len(self._stores)) as pool:
            seen = dict(zip(self._stores, pool.map(_look, self._stores.values()), strict=True))
        heads = seen[Repository.SYSTEM].branches
        tiers = {tier: self._reader().tier(heads[branch]) for tier, branch in branches.items() if branch in heads}
        ledger = self._reader().ledger(heads[BRANCH]) if BRANCH in heads else Ledger()
        return GitObservation(seen, tiers, ledger)

    def answer(self, question: IsAncestor | SameTree | SubjectOf | ComponentsOf) -> bool | str | Components:
        """Answer a question about commits that were observed."""
        match question:
            case IsAncestor(repository, ancestor, descendant):
                return is_ancestor(self.objects(repository), ancestor, descendant)
            case SameTree(repository, one, other):
                return self.tree_of(repository, one) == self.tree_of(repository, other)
            case SubjectOf(repository, commit):
                return self._subject(repository, commit)
            case ComponentsOf(apps):
                try:
                    return components_of(self.objects(Repository.APPS), apps)
                except AbsentObjectError as error:
                    return Components(problem=f"{error}. Push it again, it was the base")

    def overlay(self, commit: str, shopset: str) -> tuple[dict[str, str], str | None]:
        """Return the gitlinks of a system commit, and the id of a ShopSet's overlay in it."""
        return self._reader().overlay(commit, shopset)

    # -- reading

    def objects(self, repository: Repository) -> pygit2.Repository:
        """Return the objects of a repository's local copy."""
        return self._stores[repository].repository

    def has_commit(self, repository: Repository, commit: str) -> bool:
        """Tell whether a commit was seen in a repository."""
        return has_commit(self.objects(repository), commit)

    def tree_of(self, repository: Repository, commit: str) -> str:
        """Return the id of a commit's tree. Raises AbsentObjectError."""
        return str(commit_in(self.objects(repository), commit).tree.id)

    def read_blob(self, blob: str) -> bytes:
        """Return a file of the system repository. Raises AbsentObjectError."""
        return read_blob(self.objects(Repository.SYSTEM), blob)

    def export(self, repository: Repository, commit: str, folder: Path) -> None:
        """Write a commit's files into a folder that does not exist yet. Raises AbsentObjectError."""
        export(self.objects(repository), commit, folder)

    def log(
        self, repository: Repository, head: str, *, without: str | None = None, limit: int = 1000
    ) -> Iterator[LoggedCommit]:
        """Yield a commit and its ancestors, newest first, less those of `without`."""
        objects = self.objects(repository)
        walker = objects.walk(commit_in(objects, head).id, pygit2.enums.SortMode.TOPOLOGICAL)
        if without is not None:
            walker.hide(commit_in(objects, without).id)
        for commit, _ in zip(walker, range(limit), strict=False):
            author = Identity(commit.author.name, commit.author.email)
            yield LoggedCommit(
                str(commit.id), datetime.fromtimestamp(commit.commit_time, UTC), author, _first_line(commit.message)
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
        made = write_commits(store, commits, action.author, self.committer, action.at)
        store.push({f"refs/heads/{branch}": commit for branch, commit in made.items()})
        return made

    def push_refs(self, action: PushRefs) -> dict[str, str]:
        """Push existing commits to refs. Return ref -> commit. Raises as push_commits."""
        refs = {update.ref: update.commit for update in action.updates}
        self._stores[action.repository].push(refs)
        return refs

    def push_merge(self, action: PushMerge) -> dict[str, str]:
        """Make a merge, and prepare the pending work on top of it, and push both. Return ref -> commit. Raises as push_commits."""
        store = self._stores[action.repository]
        tree = self.tree_of(action.repository, action.tree_of)
        merged = self._commit(action, tree, action.subject, action.parents)
        refs = {f"refs/heads/{action.branch}": merged}
        if action.pending is not None:
            conflicts, output = store.runner.run(
                ["merge-tree", "--write-tree", *action.parents], store.path, accept=(0, 1)
            )
            if not conflicts:
                pending = self._commit(action, output.decode().split()[0], pending_subject(action), (merged,))
                refs[f"refs/heads/{action.pending}"] = pending
        store.push(refs)
        return refs

    def _commit(self, action: PushMerge, tree: str, subject: str, parents: tuple[str, ...]) -> str:
        objects, when = self.objects(action.repository), int(action.at.timestamp())
        author = pygit2.Signature(action.author.name, action.author.email, when, 0)
        committer = pygit2.Signature(self.committer.name, self.committer.email, when, 0)
        ids: list[str | pygit2.Oid] = [*parents]
        return str(objects.create_commit(None, author, committer, f"{subject}\n", pygit2.Oid(hex=tree), ids))

    def _subject(self, repository: Repository, commit: str) -> str:
        try:
            return _first_line(commit_in(self.objects(repository), commit).message)
        except AbsentObjectError:
            return ""

    def _reader(self) -> TreeReader:
        objects = self.objects(Repository.SYSTEM)
        # A discarded cache comes back as another object; the readers of the old one go with it.
        if id(objects) not in self._readers:
            self._readers = {id(objects): TreeReader(objects)}
        return self._readers[id(objects)]


def _look(store: Store) -> ObservedRepository:
    try:
        store.refresh()
        return ObservedRepository(store.heads(), store.tags())
    except UnreachableError as error:
        return ObservedRepository(trouble=Trouble("RepositoryUnreachable", str(error)))
    except LocalGitError as error:
        return ObservedRepository(trouble=Trouble("CacheUnusable", str(error)))
    except GitError as error:
        return ObservedRepository(trouble=Trouble("GitFailed", str(error)))


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]

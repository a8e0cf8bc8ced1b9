"""Reading a store: the tree of a tier, the ledger, commits and bases. What did not change is not read again."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pygit2

from shopset.core.release.ledgers import Ledger, read_ledger
from shopset.core.release.observed import Components, Contents, ObservedTier, Trouble
from shopset.core.release.revisions import SHORT, MalformedRevisionError, Revision
from shopset.gitops.stores import DamagedStoreError
from shopset.gitops.transport import GitError, LocalGitError

_KUSTOMIZATIONS: Final = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})
_GITLINK: Final = pygit2.enums.FileMode.COMMIT
_TREE: Final = pygit2.enums.FileMode.TREE
_LINK: Final = pygit2.enums.FileMode.LINK
_EXECUTABLE: Final = pygit2.enums.FileMode.BLOB_EXECUTABLE


class AbsentObjectError(LocalGitError):
    """A commit or file that the repository does not have."""


class UnsafeTreeError(LocalGitError):
    """A tree with names that git itself would not check out."""

    advice = "Remove the file from the repository: git fsck names it"


@contextmanager
def sound() -> Iterator[None]:
    """Read what must be there. Raises DamagedStoreError where it is not, or not whole."""
    try:
        yield
    except (AbsentObjectError, pygit2.GitError, KeyError, ValueError) as error:
        raise DamagedStoreError("the cache is damaged", str(error)) from error


def commit_in(repository: pygit2.Repository, commit: str) -> pygit2.Commit:
    """Return a commit. Raises AbsentObjectError, DamagedStoreError."""
    with sound():
        found = repository.get(commit)
    if not isinstance(found, pygit2.Commit):
        raise AbsentObjectError(f"there is no commit {commit[:SHORT]}")
    return found


def read_blob(repository: pygit2.Repository, blob: str) -> bytes:
    """Return a file's content. Raises AbsentObjectError, DamagedStoreError."""
    with sound():
        found = repository.get(blob)
        if isinstance(found, pygit2.Blob):
            return found.data
    raise AbsentObjectError(f"there is no file {blob[:SHORT]}")


def has_commit(repository: pygit2.Repository, commit: str) -> bool:
    """Tell whether a commit is there."""
    return commit in repository


def is_ancestor(repository: pygit2.Repository, ancestor: str, descendant: str) -> bool:
    """Tell whether a commit is another's ancestor, or the same. One that is not there is nobody's."""
    if ancestor not in repository or descendant not in repository:
        return False
    with sound():
        return ancestor == descendant or repository.descendant_of(descendant, ancestor)


def components_of(repository: pygit2.Repository, commit: str) -> Components:
    """Return the components of a base. Raises AbsentObjectError, DamagedStoreError."""
    found = commit_in(repository, commit)
    with sound():
        if _has_kustomization(found.tree):
            return Components(("",))
        folders = {str(entry.name): entry for entry in found.tree if isinstance(entry, pygit2.Tree)}
        names = sorted(
            name for name, folder in folders.items() if not name.startswith(".") and _has_kustomization(folder)
        )
    return _named(names, commit[:SHORT])


def _has_kustomization(tree: pygit2.Tree) -> bool:
    return any(entry.name in _KUSTOMIZATIONS and isinstance(entry, pygit2.Blob) for entry in tree)


def _named(names: list[str], base: str) -> Components:
    odd = [name for name in names if not name.isascii() or any(character in name for character in " \"'\\#:\n\t")]
    if odd:
        return Components(
            problem=f"the folder {odd[0]!r} of the base {base} cannot be named in a kustomization: rename it"
        )
    if not names:
        return Components(
            problem=f"the base {base} has no kustomization.yaml, neither in its root nor in a folder: add one"
        )
    return Components(tuple(names))


class TreeReader:
    """Reads trees of a system repository, and remembers by their ids those of the newest two observations."""

    def __init__(self, repository: pygit2.Repository) -> None:
        self.repository = repository
        self._ledgers: dict[str, Ledger] = {}
        self._listings: dict[str, dict[str, str]] = {}
        self._older: dict[str, dict[str, str]] = {}
        self._contents: dict[str, Contents] = {}

    def tiers(self, heads: Mapping[str, str]) -> dict[str, ObservedTier]:
        """Read the heads of tiers' branches (tier -> commit). Raises DamagedStoreError."""
        self._older, self._listings = self._listings, {}
        self._contents.clear()
        with sound():
            return {tier: self._tier(head) for tier, head in heads.items()}

    def ledger(self, head: str) -> Ledger:
        """Read the ledger at a commit. Raises DamagedStoreError."""
        with sound():
            tree = commit_in(self.repository, head).tree
            key = str(tree.id)
            if key in self._ledgers:
                return self._ledgers[key]
            files = {path: read_blob(self.repository, blob) for path, blob in self._walk(tree)}
        self._ledgers = {key: read_ledger(files)}
        return self._ledgers[key]

    def contents(self, commit: str) -> Contents:
        """Read what a commit holds. Raises AbsentObjectError, DamagedStoreError."""
        if commit not in self._contents:
            tree = commit_in(self.repository, commit).tree
            with sound():
                self._contents[commit] = Contents(self._overlays(tree), _gitlinks(tree))
        return self._contents[commit]

    def _tier(self, head: str) -> ObservedTier:
        tree = commit_in(self.repository, head).tree
        gitlinks = _gitlinks(tree)
        revision, trouble = self._revision(tree, gitlinks)
        return ObservedTier(head, revision, self._files(tree), self._overlays(tree), gitlinks, trouble)

    def _revision(self, tree: pygit2.Tree, gitlinks: Mapping[str, str]) -> tuple[Revision | None, Trouble | None]:
        if "revision.yaml" not in tree or not isinstance(tree["revision.yaml"], pygit2.Blob):
            return None, _to_revert("RevisionMissing", "the branch has no file revision.yaml")
        try:
            revision = Revision.parse(read_blob(self.repository, str(tree["revision.yaml"].id)))
        except MalformedRevisionError as error:
            return None, _to_revert("RevisionMalformed", str(error))
        if gitlinks != {"base": revision.apps, "configuration": revision.configuration}:
            return None, _to_revert("RevisionDiffers", "base and configuration are not the commits of revision.yaml")
        return revision, None

    def _overlays(self, tree: pygit2.Tree) -> dict[str, str]:
        if "overlays" not in tree:
            return {}
        folder = tree["overlays"]
        if not isinstance(folder, pygit2.Tree):
            return {}
        return self._remembered(
            f"overlays {folder.id}",
            lambda: ((str(entry.name), str(entry.id)) for entry in folder if entry.filemode == _TREE),
        )

    def _files(self, tree: pygit2.Tree) -> dict[str, str]:
        return self._remembered(str(tree.id), lambda: self._walk(tree))

    def _walk(self, tree: pygit2.Tree) -> Iterator[tuple[str, str]]:
        for entry in tree:
            if isinstance(entry, pygit2.Tree):
                for path, blob in self._files(entry).items():
                    yield f"{entry.name}/{path}", blob
            elif entry.filemode != _GITLINK:
                yield str(entry.name), str(entry.id)

    def _remembered(self, key: str, read: Callable[[], Iterable[tuple[str, str]]]) -> dict[str, str]:
        if key not in self._listings:
            self._listings[key] = self._older[key] if key in self._older else dict(read())
        return self._listings[key]


def _gitlinks(tree: pygit2.Tree) -> dict[str, str]:
    return {str(entry.name): str(entry.id) for entry in tree if entry.filemode == _GITLINK}


def _to_revert(reason: str, message: str) -> Trouble:
    return Trouble(reason, f"{message}. Put the last good commit back with git revert")


def export(repository: pygit2.Repository, commit: str, folder: Path) -> None:
    """Write a commit's files into a folder that does not exist yet. Submodules are left out; links stay links.

    Raises AbsentObjectError, UnsafeTreeError, DamagedStoreError, and LocalGitError where the disk refuses.
    """
    tree = commit_in(repository, commit).tree
    try:
        with sound():
            _export(tree, folder, commit)
    except (OSError, GitError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, GitError):
            raise
        raise LocalGitError(f"{commit[:SHORT]} cannot be written to {folder}", str(error)) from error


def _export(tree: pygit2.Tree, folder: Path, commit: str) -> None:
    folder.mkdir(parents=True)
    written: set[str] = set()
    for entry in tree:
        name = str(entry.name)
        # Of two entries of one name, the second would be written through what the first left there.
        if name in written or name.lower() in {"", ".", "..", ".git"} or "/" in name:
            raise UnsafeTreeError(f"{commit[:SHORT]} has a file with the name {name!r}, which leads astray")
        written.add(name)
        target = folder / name
        if isinstance(entry, pygit2.Tree):
            _export(entry, target, commit)
        elif isinstance(entry, pygit2.Blob) and entry.filemode == _LINK:
            target.symlink_to(entry.data.decode(errors="surrogateescape"))
        elif isinstance(entry, pygit2.Blob):
            target.write_bytes(entry.data)
            target.chmod(0o755 if entry.filemode == _EXECUTABLE else 0o644)

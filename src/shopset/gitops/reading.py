"""Reading a store: the tree of a tier, the ledger, commits and bases. What did not change is not read again."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pygit2

from shopset.core.release.ledgers import Ledger, read_ledger
from shopset.core.release.observed import Components, ObservedTier, Trouble
from shopset.core.release.revisions import SHORT, MalformedRevisionError, Revision
from shopset.gitops.transport import LocalGitError

_KUSTOMIZATIONS: Final = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})
_GITLINK: Final = pygit2.enums.FileMode.COMMIT
_LINK: Final = pygit2.enums.FileMode.LINK
_EXECUTABLE: Final = pygit2.enums.FileMode.BLOB_EXECUTABLE


class AbsentObjectError(LocalGitError):
    """A commit or file that the repository does not have."""


def commit_in(repository: pygit2.Repository, commit: str) -> pygit2.Commit:
    """Return a commit. Raises AbsentObjectError."""
    try:
        found = repository[commit]
    except (KeyError, ValueError) as error:
        raise AbsentObjectError(f"there is no commit {commit[:SHORT]}", str(error)) from error
    if not isinstance(found, pygit2.Commit):
        raise AbsentObjectError(f"{commit[:SHORT]} is no commit", "")
    return found


def read_blob(repository: pygit2.Repository, blob: str) -> bytes:
    """Return a file's content. Raises AbsentObjectError."""
    found = repository.get(blob)
    if not isinstance(found, pygit2.Blob):
        raise AbsentObjectError(f"there is no file {blob[:SHORT]}", "")
    return found.data


def has_commit(repository: pygit2.Repository, commit: str) -> bool:
    """Tell whether a commit is there."""
    return commit in repository


def is_ancestor(repository: pygit2.Repository, ancestor: str, descendant: str) -> bool:
    """Tell whether a commit is another's ancestor, or the same. One that is not there is nobody's."""
    if ancestor not in repository or descendant not in repository:
        return False
    return ancestor == descendant or repository.descendant_of(descendant, ancestor)


def components_of(repository: pygit2.Repository, commit: str) -> Components:
    """Return the components of a base."""
    tree = commit_in(repository, commit).tree
    if any(entry.name in _KUSTOMIZATIONS for entry in tree):
        return Components(("",))
    folders = [entry for entry in tree if isinstance(entry, pygit2.Tree) and not str(entry.name).startswith(".")]
    names = sorted(str(folder.name) for folder in folders if any(entry.name in _KUSTOMIZATIONS for entry in folder))
    odd = [name for name in names if not name.isascii() or any(character in name for character in " \"'\\#:\n\t")]
    if odd:
        return Components(
            problem=f"the folder {odd[0]!r} of the base {commit[:SHORT]} cannot be named in a kustomization: rename it"
        )
    if not names:
        return Components(
            problem=f"the base {commit[:SHORT]} has no kustomization.yaml, neither in its root nor in a folder: add one"
        )
    return Components(tuple(names))


@dataclass
class TreeReader:
    """Reads trees of a system repository, and remembers those that it has read by their ids."""

    repository: pygit2.Repository

    def __post_init__(self) -> None:
        self._listings: dict[str, dict[str, str]] = {}
        self._ledgers: dict[str, Ledger] = {}

    def tier(self, head: str) -> ObservedTier:
        """Read the head of a tier's branch."""
        tree = commit_in(self.repository, head).tree
        gitlinks = {str(entry.name): str(entry.id) for entry in tree if entry.filemode == _GITLINK}
        files = self._files(tree)
        overlays = self._overlays(tree)
        revision, trouble = self._revision(tree, gitlinks)
        return ObservedTier(head, revision, files, overlays, gitlinks, trouble)

    def overlay(self, head: str, shopset: str) -> tuple[dict[str, str], str | None]:
        """Return the gitlinks of a commit, and the id of a ShopSet's overlay in it."""
        tree = commit_in(self.repository, head).tree
        gitlinks = {str(entry.name): str(entry.id) for entry in tree if entry.filemode == _GITLINK}
        return gitlinks, self._overlays(tree).get(shopset)

    def ledger(self, head: str) -> Ledger:
        """Read the ledger at a commit."""
        tree = commit_in(self.repository, head).tree
        key = str(tree.id)
        if key not in self._ledgers:
            files = {path: read_blob(self.repository, blob) for path, blob in self._files(tree).items()}
            self._ledgers = {key: read_ledger(files)}
        return self._ledgers[key]

    def _revision(self, tree: pygit2.Tree, gitlinks: dict[str, str]) -> tuple[Revision | None, Trouble | None]:
        try:
            revision = (
                Revision.parse(read_blob(self.repository, str(tree["revision.yaml"].id)))
                if "revision.yaml" in tree
                else None
            )
        except (MalformedRevisionError, AbsentObjectError) as error:
            return None, Trouble("RevisionMalformed", f"{error}. Put the last good commit back with git revert")
        if revision is None:
            return None, Trouble(
                "RevisionMissing", "the branch has no revision.yaml. Put the last good commit back with git revert"
            )
        if gitlinks != {"base": revision.apps, "configuration": revision.configuration}:
            return None, Trouble(
                "RevisionDiffers", "base and configuration are not the commits of revision.yaml. Revert the last commit"
            )
        return revision, None

    def _overlays(self, tree: pygit2.Tree) -> dict[str, str]:
        if "overlays" not in tree:
            return {}
        folder = tree["overlays"]
        if not isinstance(folder, pygit2.Tree):
            return {}
        key = f"overlays {folder.id}"
        if key not in self._listings:
            self._listings[key] = {str(entry.name): str(entry.id) for entry in folder if isinstance(entry, pygit2.Tree)}
        return self._listings[key]

    def _files(self, tree: pygit2.Tree) -> dict[str, str]:
        key = str(tree.id)
        if key not in self._listings:
            self._listings[key] = dict(self._walk(tree))
        return self._listings[key]

    def _walk(self, tree: pygit2.Tree) -> Iterator[tuple[str, str]]:
        for entry in tree:
            if isinstance(entry, pygit2.Tree):
                for path, blob in self._files(entry).items():
                    yield f"{entry.name}/{path}", blob
            elif entry.filemode != _GITLINK:
                yield str(entry.name), str(entry.id)


def export(repository: pygit2.Repository, commit: str, folder: Path) -> None:
    """Write a commit's files into a folder that does not exist yet. Submodules are left out; links stay links."""
    _export(commit_in(repository, commit).tree, folder)


def _export(tree: pygit2.Tree, folder: Path) -> None:
    folder.mkdir(parents=True)
    for entry in tree:
        target = folder / str(entry.name)
        if isinstance(entry, pygit2.Tree):
            _export(entry, target)
        elif isinstance(entry, pygit2.Blob) and entry.filemode == _LINK:
            target.symlink_to(entry.data.decode(errors="surrogateescape"))
        elif isinstance(entry, pygit2.Blob):
            target.write_bytes(entry.data)
            target.chmod(0o755 if entry.filemode == _EXECUTABLE else 0o644)

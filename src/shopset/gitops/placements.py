"""Reading the branch `placement`: at a commit, at a time, and what happened to one shop. What did not change is not read again."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pygit2

from shopset.core.placement.formats import (
    MalformedPlacementError,
    PlacementFile,
    PlacementReading,
    assemble,
    group_path,
    read_file,
    shop_path,
)
from shopset.core.placement.placements import Group, PlacedShop, Whereabouts
from shopset.core.release.actions import Identity
from shopset.gitops.reading import commit_in, read_blob, sound

_SUBMODULE: Final = ""
_Files = dict[tuple[str, str], PlacementFile]


@dataclass(frozen=True)
class PlacementChange:
    """A commit that changed where a shop is: its group, its hosts, or the replicas of its group."""

    commit: str
    at: datetime
    author: Identity
    subject: str
    trailers: tuple[tuple[str, str], ...]
    before: Whereabouts | None
    """None where the shop was not placed."""
    after: Whereabouts | None


class PlacementReader:
    """Reads placements of a system repository, and remembers the files of the newest two that it read."""

    def __init__(self, repository: pygit2.Repository) -> None:
        self.repository = repository
        self._files: _Files = {}
        self._older: _Files = {}
        self._readings: dict[str, PlacementReading] = {}

    def read(self, commit: str) -> PlacementReading:
        """Read the placement at a commit. Raises AbsentObjectError, DamagedStoreError."""
        tree = commit_in(self.repository, commit).tree
        key = str(tree.id)
        if key not in self._readings:
            with sound():
                blobs = dict(_blobs(tree))
                files = {(path, blob): self._file(path, blob) for path, blob in blobs.items()}
            sound_paths = self._sound(files)
            self._older, self._files = self._files, files
            last = dict(list(self._readings.items())[-1:])
            self._readings = last | {key: assemble([files[each] for each in sorted(files)], sound_paths)}
        return self._readings[key]

    def shop(self, commit: str, name: str) -> Whereabouts | None:
        """Return where a shop was at a commit, without reading the others. None where it was not placed, or its line is malformed.

        Raises AbsentObjectError, DamagedStoreError.
        """
        tree = commit_in(self.repository, commit).tree
        with sound():
            return self._shop(tree, name)

    def changes(self, head: str, name: str) -> Iterator[PlacementChange]:
        """Yield the commits that changed where a shop is, newest first. Raises AbsentObjectError, DamagedStoreError."""
        commit: pygit2.Commit | None = commit_in(self.repository, head)
        with sound():
            after = commit and self._shop(commit.tree, name)
            while commit is not None:
                parent = _first_parent(commit)
                same = parent is not None and self._untouched(parent.tree, commit.tree, name, after)
                before = after if same else None if parent is None else self._shop(parent.tree, name)
                if before != after:
                    yield _change(commit, before, after)
                commit, after = parent, before

    def since(self, head: str, groups: Collection[Group]) -> datetime:
        """Return when the newest commit was made that changed what is said of any of some groups; that of `head` where none is named.

        Raises AbsentObjectError, DamagedStoreError.
        """
        commit = commit_in(self.repository, head)
        wanted = frozenset(groups)
        with sound():
            while (
                wanted
                and (parent := _first_parent(commit)) is not None
                and self._says(parent.tree, commit.tree, wanted)
            ):
                commit = parent
        return datetime.fromtimestamp(commit.commit_time, UTC)

    def _says(self, before: pygit2.Tree, after: pygit2.Tree, groups: frozenset[Group]) -> bool:
        """Tell whether an earlier tree says the same of some groups."""
        paths = {group_path(group.shop_class) for group in groups}
        changed = [path for path in sorted(paths) if not _same(before, after, path)]
        said = {group for path in changed for group in self._one(before, path).groups}
        return all(group in said for group in groups if group_path(group.shop_class) in changed)

    def _sound(self, files: _Files) -> frozenset[str]:
        """Return the paths of files that were read last, when every shop had its group, if all those groups are still there."""
        last = next(reversed(self._readings.values()), None)
        if last is None or not last.is_whole:
            return frozenset()
        groups = {group.name for each in files.values() for group in each.groups}
        whole = groups >= last.placement.groups.keys()
        return frozenset(path for path, _ in files.keys() & self._files.keys()) if whole else frozenset()

    def _file(self, path: str, blob: str) -> PlacementFile:
        if blob == _SUBMODULE:
            return PlacementFile(path, problems=(MalformedPlacementError(path, 0, "it is a submodule"),))
        key = (path, blob)
        known = self._files.get(key) or self._older.get(key)
        return known or read_file(path, read_blob(self.repository, blob))

    def _shop(self, tree: pygit2.Tree, name: str) -> Whereabouts | None:
        shard = self._one(tree, shop_path(name)).shard
        row = shard.row(name)
        if row is None:
            return None
        shop = PlacedShop(name, shard.groups[row], shard.hosts[row])
        groups = self._one(tree, group_path(_class_of(shop.group))).groups
        group = next((each for each in groups if each.name == shop.group), None)
        return None if group is None else Whereabouts(shop, group)

    def _one(self, tree: pygit2.Tree, path: str) -> PlacementFile:
        blob = _id(tree, path)
        return PlacementFile(path) if blob is None else self._file(path, blob)

    def _untouched(self, before: pygit2.Tree, after: pygit2.Tree, name: str, found: Whereabouts | None) -> bool:
        groups = "groups" if found is None else group_path(found.group.shop_class)
        return all(_same(before, after, path) for path in (shop_path(name), groups))


def commit_at(repository: pygit2.Repository, head: str, moment: datetime) -> str | None:
    """Return the newest commit of a branch, along first parents, that was made by then. Raises as PlacementReader.read.

    None where the branch is younger.
    """
    commit: pygit2.Commit | None = commit_in(repository, head)
    with sound():
        while commit is not None and commit.commit_time > moment.timestamp():
            commit = _first_parent(commit)
    return None if commit is None else str(commit.id)


def _first_parent(commit: pygit2.Commit) -> pygit2.Commit | None:
    return commit.parents[0] if commit.parent_ids else None


def _change(commit: pygit2.Commit, before: Whereabouts | None, after: Whereabouts | None) -> PlacementChange:
    author = Identity(commit.author.name, commit.author.email)
    subject = commit.message.strip().partition("\n")[0]
    trailers = tuple(commit.message_trailers.items())
    at = datetime.fromtimestamp(commit.commit_time, UTC)
    return PlacementChange(str(commit.id), at, author, subject, trailers, before, after)


def _class_of(group: str) -> str:
    return group.partition("/")[0].partition("#")[0]


def _same(before: pygit2.Tree, after: pygit2.Tree, path: str) -> bool:
    # Most commits change either shops or groups, and a folder of 4,096 files takes a while to look into.
    folder = path.partition("/")[0]
    return _id(before, folder) == _id(after, folder) or _id(before, path) == _id(after, path)


def _id(tree: pygit2.Tree, path: str) -> str | None:
    try:
        return str(tree[path].id)
    except KeyError:
        return None


def _blobs(tree: pygit2.Tree, prefix: str = "") -> Iterator[tuple[str, str]]:
    for entry in tree:
        path = f"{prefix}{entry.name}"
        if isinstance(entry, pygit2.Tree):
            yield from _blobs(entry, f"{path}/")
        else:
            yield path, str(entry.id) if isinstance(entry, pygit2.Blob) else _SUBMODULE

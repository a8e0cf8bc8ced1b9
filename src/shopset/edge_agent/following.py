"""The branch `placement` as an edge follows it: a light fetch, and of its files only those that are asked for."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pygit2

from shopset.core.placement.edges import EdgeFacts
from shopset.core.placement.formats import (
    BRANCH,
    MalformedPlacementError,
    PlacementFile,
    assemble,
    read_file,
    shop_path,
)
from shopset.core.placement.placements import Group
from shopset.edge.changes import Side
from shopset.edge.routes import routes
from shopset.gitops.reading import AbsentObjectError, commit_in, read_blob, sound
from shopset.gitops.stores import Store
from shopset.gitops.transport import Runner

_SHOPS: Final = "shops"
_REF: Final = Path("refs") / "heads" / BRANCH


@dataclass(frozen=True)
class Snapshot:
    """The files of a commit: path -> blob, of shards and of everything else."""

    commit: str
    at: datetime
    shards: Mapping[str, str]
    others: Mapping[str, str]


@dataclass(frozen=True)
class Head:
    """What a snapshot says of everything but the shops."""

    side: Side
    problems: tuple[MalformedPlacementError, ...]


class Branch:
    """The branch of one system repository, with a local copy that belongs to this process."""

    def __init__(self, url: str, cache: Path, environment: Mapping[str, str], timeout: float) -> None:
        self.url = url
        self._store = Store(url, "the system repository", cache, Runner(environment, timeout), BRANCH)
        self._members: dict[str, dict[str, str]] = {}
        """Blob of a shard -> its special shops -> their groups."""
        self._last = Side()

    # -- git

    def refresh(self) -> str | None:
        """Return the commit that the branch is at now; None where there is no such branch. Raises GitError."""
        self._store.refresh()
        return self._store.heads().get(BRANCH)

    def known(self) -> str | None:
        """Return the commit that the branch was at when it was seen last. Raises GitError."""
        return self._store.heads().get(BRANCH)

    def resolve(self, name: str) -> str:
        """Return the commit that a person names, by some of its digits. Raises AbsentObjectError."""
        try:
            found = self._store.repository.revparse_single(name)
        except (KeyError, ValueError) as error:
            raise AbsentObjectError(f"there is no commit {name}, or more than one") from error
        return str(commit_in(self._store.repository, str(found.id)).id)

    def snapshot(self, commit: str) -> Snapshot:
        """Return the files of a commit. Raises AbsentObjectError; DamagedStoreError where the local copy is."""
        found = commit_in(self._store.repository, commit)
        with sound():
            files = dict(_files(found.tree))
        shards = {path: blob for path, blob in files.items() if path.startswith(f"{_SHOPS}/")}
        others = {path: blob for path, blob in files.items() if path not in shards}
        return Snapshot(commit, datetime.fromtimestamp(found.commit_time, UTC), shards, others)

    def renew(self) -> None:
        """Make the local copy anew. Raises GitError."""
        self._store.renew()

    # -- what files say

    def read(self, path: str, blob: str | None) -> PlacementFile:
        """Read a file; without a blob it is not there. Raises AbsentObjectError, DamagedStoreError."""
        return PlacementFile(path) if blob is None else read_file(path, read_blob(self._store.repository, blob))

    def head(self, snapshot: Snapshot) -> Head:
        """Read what a snapshot says of everything but the shops; each has its own backend. Raises as `read`."""
        reading = assemble([self.read(path, blob) for path, blob in sorted(snapshot.others.items())])
        facts, groups = reading.placement.edge, reading.placement.groups
        members = self._groups_of(facts, snapshot)
        self._last = Side(facts, groups, _routes(facts, groups, members, self._last))
        return Head(self._last, reading.problems)

    def with_backends(self, side: Side, snapshot: Snapshot, backends: Mapping[str, str]) -> Side:
        """Return a side where some ShopSets have other backends than their own. Raises as `read`."""
        if not backends:
            return side
        return Side(
            side.facts,
            side.groups,
            routes(side.facts, side.groups, self._groups_of(side.facts, snapshot), backends),
        )

    def _groups_of(self, facts: EdgeFacts, snapshot: Snapshot) -> dict[str, str]:
        """Return the groups of the shops about which something is special."""
        wanted: dict[str, set[str]] = {}
        for name in facts.shops:
            wanted.setdefault(shop_path(name), set()).add(name)
        found: dict[str, dict[str, str]] = {}
        for path, names in wanted.items():
            blob = snapshot.shards.get(path)
            if blob is None:
                continue
            known = self._members.get(blob)
            if known is None or not known.keys() >= names:
                shops = [shop for shop in self.read(path, blob).shard if shop.name in names]
                # A shop that is special and not placed is looked for once.
                known = dict.fromkeys(names, "") | {shop.name: shop.group for shop in shops}
            found[blob] = known
        self._members = found
        return {name: group for known in found.values() for name, group in known.items() if group}


def _routes(facts: EdgeFacts, groups: Mapping[str, Group], members: Mapping[str, str], last: Side) -> dict[str, str]:
    """Return the routes; those of groups that are as they were a moment ago are not made again."""
    if facts != last.facts:
        return routes(facts, groups, members)
    wanted = {name for name, group in groups.items() if last.groups.get(name) != group}.union(members.values())
    fresh = routes(facts, {name: groups[name] for name in wanted if name in groups}, members)
    return {name: fresh[name] if name in fresh else last.routes[name] for name in groups} | fresh


class LocalWatch:
    """Whether the branch of a repository on this disk may have moved, without starting git."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._folder: Path | None = None
        self._seen = self._signature()

    @property
    def is_local(self) -> bool:
        """Whether the repository is on this disk."""
        return self._folder is not None

    def moved(self) -> bool:
        """Tell whether something was written since the last call."""
        now = self._signature()
        changed, self._seen = now != self._seen, now
        return changed

    def _signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        # It may come to be while the agent waits for it.
        self._folder = self._folder or _local_folder(self._url)
        if self._folder is None:
            return ()
        names = (_REF, Path("packed-refs"), Path("reftable") / "tables.list")
        return tuple(_stamp(self._folder / name) for name in names)


def _local_folder(url: str) -> Path | None:
    if "://" in url and not url.startswith("file://"):
        return None
    path = unquote(urlsplit(url).path) if "://" in url else url
    for folder in (Path(path), Path(path) / ".git"):
        with suppress(OSError):
            if (folder / "HEAD").is_file() and (folder / "objects").is_dir():
                return folder
    return None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _files(tree: pygit2.Tree, prefix: str = "") -> Iterator[tuple[str, str]]:
    for entry in tree:
        path = f"{prefix}{entry.name}"
        if isinstance(entry, pygit2.Tree):
            yield from _files(entry, f"{path}/")
        else:
            yield path, str(entry.id)

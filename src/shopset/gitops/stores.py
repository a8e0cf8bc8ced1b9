"""A store: the local bare copy of one repository. It is a cache, and is made anew where it is damaged."""

import fcntl
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final

import pygit2

from shopset.gitops.pushing import push_error
from shopset.gitops.transport import FailedError, LocalGitError, Runner, UnreachableError

_HEADS: Final = "refs/remotes/origin/"
_TAGS: Final = "refs/tags/shopset/*"
_MANY_PACKS: Final = 50
"""Every fetch and every commit brings a pack; with more than these they are joined."""
_CHECKSUM: Final = 20


class DamagedStoreError(LocalGitError):
    """The local copy lacks what it should have. `Store.renew` makes it anew."""


class Store:
    """One repository, seen through its local copy. `name` is what people call it.

    Threads and processes may share the copy: whatever changes it holds `locked`. With a `branch`, nothing else is looked at.
    """

    def __init__(self, url: str, name: str, path: Path, runner: Runner, branch: str | None = None) -> None:
        self.url = url
        self.name = name
        self.path = path.absolute()
        self.runner = runner
        self._patterns = ("refs/heads/*", _TAGS) if branch is None else (f"refs/heads/{branch}",)
        self._repository: pygit2.Repository | None = None
        self._opening = Lock()
        self._refs: dict[str, str] = {}
        self.is_current = False
        """Whether it was seen, and neither a look nor a push has failed since."""

    @property
    def repository(self) -> pygit2.Repository:
        """The local copy's objects. Raises LocalGitError where it can't be opened or made."""
        with self._opening:
            return self._repository or self._open()

    def refresh(self) -> None:
        """Bring the local copy up to date. Raises UnreachableError, LocalGitError."""
        self.is_current = False
        with self.locked():
            listed = self._list()
            try:
                if listed != self._reread():
                    self._fetch(self.path)
                self._tidy()
                self._reread()
            except LocalGitError:
                # What is local can be had again: a killed fetch may have left locks or half a file behind.
                self._replace()
        self.is_current = True

    def renew(self) -> None:
        """Make the local copy anew. Raises UnreachableError, LocalGitError."""
        with self.locked():
            self._replace()

    def heads(self) -> dict[str, str]:
        """Branch -> commit, as last seen."""
        return self._below("refs/heads/")

    def tags(self) -> dict[str, str]:
        """Tag `shopset/...` -> commit, as last seen."""
        return self._below("refs/tags/")

    def push(self, refs: Mapping[str, str]) -> None:
        """Push commits (full ref -> commit) in one atomic, plain push. The caller holds `locked`.

        Raises LostRaceError, RefusedError, UnreachableError, LocalGitError.
        """
        known = self._known()
        wanted = {ref: commit for ref, commit in refs.items() if known.get(ref) != commit}
        if not wanted:
            return
        refspecs = [f"{commit}:{ref}" for ref, commit in sorted(wanted.items())]
        was_current, self.is_current = self.is_current, False
        try:
            self.git(["push", "--atomic", "--porcelain", "--no-verify", "--", self.url, *refspecs])
        except FailedError as error:
            raise push_error(error, self.name) from error
        self._remember(wanted)
        self.is_current = was_current

    def git(self, arguments: Sequence[str], stdin: bytes = b"", *, accept: Sequence[int] = (0,)) -> tuple[int, bytes]:
        """Run git in the local copy. Raises as Runner.run, and LocalGitError where there can be no copy."""
        self.repository  # noqa: B018  # opening it makes it
        return self.runner.run(arguments, self.path, stdin, accept=accept)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other threads, and processes that share the cache, out. Raises LocalGitError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = (self.path.parent / f"{self.path.name}.lock").open("w")
        except OSError as error:
            raise LocalGitError(f"the cache {self.path.parent} cannot be written", str(error)) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _open(self) -> pygit2.Repository:
        with self._usable():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            whole = _are_whole(self.path)
            found = _opened(self.path)
            self._refs = _read_refs(found)
        if not (whole and all(commit in found for commit in self._refs.values())):
            found.free()
            raise DamagedStoreError(f"the cache {self.path} is damaged", "it lacks objects")
        self._repository = found
        return found

    def _close(self) -> None:
        """Let go of the packs: libgit2 takes one of the same name for the one that it has open already."""
        if self._repository is not None:
            self._repository.free()
        self._repository = None

    def _list(self) -> dict[str, str]:
        try:
            _, output = self.runner.run(["ls-remote", "--refs", "--", self.url, *self._patterns])
        except FailedError as error:
            raise UnreachableError(f"{self.name} cannot be read", error.words) from error
        lines = (line.split("\t", 1) for line in output.decode(errors="surrogateescape").splitlines())
        return {ref: commit for commit, ref in lines}

    def _fetch(self, path: Path) -> None:
        arguments = ["fetch", "--quiet", "--no-tags", "--prune", "--no-write-fetch-head", "--no-auto-maintenance"]
        try:
            self.runner.run([*arguments, "--", self.url, *map(_refspec, self._patterns)], path)
        except FailedError as error:
            if error.distant:
                raise UnreachableError(f"{self.name} cannot be read", error.words) from error
            raise

    def _replace(self) -> None:
        """Fetch everything into a fresh copy, which takes the place of the old one once it is whole."""
        fresh = self.path.with_name(f"{self.path.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            with self._usable():
                _opened(fresh)
                self._fetch(fresh)
                self._close()
                shutil.rmtree(self.path, ignore_errors=True)
                fresh.rename(self.path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        with self._opening:
            self._open()

    def _tidy(self) -> None:
        packs = self.path / "objects" / "pack"
        if len(list(packs.glob("*.pack"))) > _MANY_PACKS:
            # Where it fails there is no harm: it only makes reading faster.
            with suppress(LocalGitError, UnreachableError):
                self.git(["repack", "-d", "-q", "--geometric=2"])
            self._close()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, KeyError, ValueError, pygit2.GitError) as error:
            raise LocalGitError(f"the cache {self.path} cannot be used", str(error)) from error

    def _reread(self) -> dict[str, str]:
        """Return the refs of the local copy, which another process may have brought up to date."""
        repository = self.repository
        with self._usable():
            self._refs = _read_refs(repository)
        return self._refs

    def _known(self) -> dict[str, str]:
        self.repository  # noqa: B018  # opening it reads its refs
        return self._refs

    def _below(self, prefix: str) -> dict[str, str]:
        return {ref.removeprefix(prefix): commit for ref, commit in self._known().items() if ref.startswith(prefix)}

    def _remember(self, refs: Mapping[str, str]) -> None:
        self._refs = {**self._refs, **refs}
        # The push is done, whatever happens here: a ref that can't be written now is fetched the next time.
        with suppress(OSError, KeyError, ValueError, pygit2.GitError):
            for ref, commit in refs.items():
                self.repository.references.create(ref.replace("refs/heads/", _HEADS, 1), commit, force=True)


def _refspec(pattern: str) -> str:
    return f"+{pattern}:{pattern.replace('refs/heads/', _HEADS, 1)}"


def _opened(path: Path) -> pygit2.Repository:
    fresh = not (path / "HEAD").exists()
    return pygit2.init_repository(str(path), bare=True) if fresh else pygit2.Repository(str(path))


def _read_refs(repository: pygit2.Repository) -> dict[str, str]:
    found = {}
    for name in repository.listall_references():
        if name.startswith((_HEADS, "refs/tags/shopset/")):
            found[name.replace(_HEADS, "refs/heads/", 1)] = str(repository.references[name].target)
    return found


def _are_whole(path: Path) -> bool:
    """Tell whether each pack ends as its index says: libgit2 takes what is in a pack that is cut short for absent."""
    return all(_tail(pack, 1) == _tail(pack.with_suffix(".idx"), 2) for pack in path.glob("objects/pack/*.pack"))


def _tail(file: Path, checksums: int) -> bytes:
    """Return a checksum, counted from the end of a file; an index ends with its pack's and its own."""
    with suppress(OSError), file.open("rb") as opened:
        opened.seek(-checksums * _CHECKSUM, 2)
        return opened.read(_CHECKSUM)
    return b"" if checksums == 1 else b"none"

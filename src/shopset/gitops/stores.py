"""A store: the local bare copy of one repository. It is a cache, and is made anew where it is damaged."""

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final

import pygit2

from shopset.gitops.transport import GitError, LocalGitError, Runner, UnreachableError, push_error

_HEADS: Final = "refs/remotes/origin/"
_FETCHED: Final = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/shopset/*:refs/tags/shopset/*")


class Store:
    """One repository, seen through its local copy. `name` is what people call it."""

    def __init__(self, url: str, name: str, path: Path, runner: Runner) -> None:
        self.url = url
        self.name = name
        self.path = path
        self.runner = runner
        self._repository: pygit2.Repository | None = None
        self._opening = Lock()
        self._refs: dict[str, str] = {}

    @property
    def repository(self) -> pygit2.Repository:
        """The local copy's objects. Raises LocalGitError where it can't be opened or made."""
        with self._opening:
            return self._repository or self._open()

    def _open(self) -> pygit2.Repository:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = not (self.path / "HEAD").exists()
            found = pygit2.init_repository(str(self.path), bare=True) if fresh else pygit2.Repository(str(self.path))
            self._refs = _read_refs(found)
        except (OSError, pygit2.GitError) as error:
            raise LocalGitError(f"the cache {self.path} cannot be used", str(error)) from error
        self._repository = found
        return found

    def refresh(self) -> None:
        """Bring the local copy up to date. Raises UnreachableError, LocalGitError."""
        with self._locked():
            listed = self._list()
            try:
                self._take(listed)
            except UnreachableError:
                raise
            except (LocalGitError, pygit2.GitError):
                # What is local can be had again: a killed fetch may have left locks or half an object behind.
                self._discard()
                self._take(listed)

    def heads(self) -> dict[str, str]:
        """Branch -> commit, as last seen."""
        return {
            ref.removeprefix("refs/heads/"): commit
            for ref, commit in self._known().items()
            if ref.startswith("refs/heads/")
        }

    def tags(self) -> dict[str, str]:
        """Tag `shopset/...` -> commit, as last seen."""
        return {
            ref.removeprefix("refs/tags/"): commit
            for ref, commit in self._known().items()
            if ref.startswith("refs/tags/")
        }

    def push(self, refs: Mapping[str, str]) -> None:
        """Push commits (full ref -> commit) in one atomic, plain push. Raises LostRaceError, RefusedError, UnreachableError."""
        known = self._known()
        wanted = {ref: commit for ref, commit in refs.items() if known.get(ref) != commit}
        if not wanted:
            return
        refspecs = [f"{commit}:{ref}" for ref, commit in sorted(wanted.items())]
        with self._locked():
            try:
                self.runner.run(
                    ["push", "--atomic", "--porcelain", "--no-verify", "--", self.url, *refspecs], self.path
                )
            except UnreachableError:
                raise
            except GitError as error:
                raise push_error(error, self.name) from error
            self._remember({**known, **wanted})

    def _list(self) -> dict[str, str]:
        try:
            _, output = self.runner.run(["ls-remote", "--refs", "--", self.url, "refs/heads/*", "refs/tags/shopset/*"])
        except UnreachableError:
            raise
        except GitError as error:
            raise UnreachableError(f"{self.name} cannot be read", error.words) from error
        lines = (line.split("\t", 1) for line in output.decode(errors="surrogateescape").splitlines())
        return {ref: commit for commit, ref in lines}

    def _take(self, listed: Mapping[str, str]) -> None:
        if listed == self._known():
            return
        arguments = ["fetch", "--quiet", "--no-tags", "--prune", "--no-write-fetch-head", "--no-auto-maintenance"]
        self.runner.run([*arguments, "--", self.url, *_FETCHED], self.path)
        self._refs = _read_refs(self.repository)

    def _discard(self) -> None:
        self._repository, self._refs = None, {}
        shutil.rmtree(self.path, ignore_errors=True)

    def _known(self) -> dict[str, str]:
        self.repository  # noqa: B018  # opening it reads its refs
        return self._refs

    def _remember(self, refs: Mapping[str, str]) -> None:
        for ref, commit in refs.items():
            if self._refs.get(ref) != commit:
                local = ref.replace("refs/heads/", _HEADS, 1)
                self.repository.references.create(local, commit, force=True)
        self._refs = dict(refs)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes, and threads, that share the cache out."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = (self.path.parent / f"{self.path.name}.lock").open("w")
        except OSError as error:
            raise LocalGitError(f"the cache {self.path.parent} cannot be written", str(error)) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _read_refs(repository: pygit2.Repository) -> dict[str, str]:
    found = {}
    for name in repository.listall_references():
        if name.startswith((_HEADS, "refs/tags/shopset/")):
            found[name.replace(_HEADS, "refs/heads/", 1)] = str(repository.references[name].target)
    return found

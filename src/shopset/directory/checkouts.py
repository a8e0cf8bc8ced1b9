"""Checkouts: a directory cluster's clones of tier branches with their submodules, by git itself, as Argo CD has them."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shopset.core.errors import ShopsetError

_OPTIONS: Final = {
    # Submodules of repositories on this disk are clones by file, which git allows only where it is asked to.
    "protocol.file.allow": "always",
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
    # A clone that a crash damages is made again.
    "core.fsync": "none",
}
_STAMP: Final = ".shopset-commit"
"""The file in a clone that says what it holds; absent while it changes."""


class CheckoutError(ShopsetError):
    """git failed; the message is the line of git that says why."""


@dataclass(frozen=True)
class Tree:
    """What a commit of a tier branch holds."""

    folder: Path
    gitlinks: Mapping[str, str]
    overlays: Mapping[str, str]
    """ShopSet -> id of the tree of its overlay."""


@dataclass(frozen=True)
class Git:
    """git in an environment. `timeout` is in seconds."""

    environment: Mapping[str, str]
    timeout: float

    def run(self, arguments: Sequence[str], folder: Path | None = None, accept: Sequence[int] = (0,)) -> str:
        """Return what git writes. Raises CheckoutError."""
        options = [part for key, value in _OPTIONS.items() for part in ("-c", f"{key}={value}")]
        foreign = ("GIT_DIR", "GIT_WORK", "GIT_INDEX")
        environment = {key: value for key, value in self.environment.items() if not key.startswith(foreign)}
        with subprocess.Popen(
            ["git", *options, *arguments],
            cwd=folder,
            env=environment | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            try:
                output, errors = process.communicate(timeout=self.timeout)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                raise CheckoutError(f"git {arguments[0]} took longer than {self.timeout:g} s") from error
        if process.returncode not in accept:
            raise CheckoutError(_reason(errors.decode(errors="replace")) or f"git {arguments[0]} failed")
        return output.decode(errors="replace")


def _reason(errors: str) -> str:
    """Return the first line that tells of an error: after it git gives general advice."""
    lines = [line for line in errors.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    return next(iter([*told, *reversed(lines)]), "")


@dataclass(frozen=True)
class Heads:
    """The heads of branches, each repository asked once."""

    git: Git
    known: dict[str, dict[str, str] | CheckoutError] = field(default_factory=dict)

    def of(self, url: str, branch: str) -> str:
        """Return the commit at the head of a branch. Raises CheckoutError."""
        if url not in self.known:
            self.known[url] = self._ask(url)
        found = self.known[url]
        if isinstance(found, CheckoutError):
            raise found
        if branch not in found:
            raise CheckoutError(f"there is no branch {branch}")
        return found[branch]

    def _ask(self, url: str) -> dict[str, str] | CheckoutError:
        try:
            lines = self.git.run(["ls-remote", "--refs", "--", url, "refs/heads/*"]).splitlines()
        except CheckoutError as error:
            return error
        return {ref.removeprefix("refs/heads/"): commit for commit, ref in (line.split("\t", 1) for line in lines)}


@dataclass(frozen=True)
class Checkouts:
    """The clones of one cluster, one for each branch, below a folder."""

    folder: Path
    git: Git
    _trees: dict[tuple[str, str, str], Tree] = field(default_factory=dict)

    def at(self, url: str, branch: str, commit: str) -> Tree:
        """Return what a commit of a branch holds, its submodules laid out. Raises CheckoutError, OSError."""
        key = (url, branch, commit)
        if key not in self._trees:
            # A branch has one clone: what it held before is no more.
            for other in [other for other in self._trees if other[1] == branch]:
                del self._trees[other]
            self._trees[key] = self._tree(self._clone(url, branch, commit), commit)
        return self._trees[key]

    def _clone(self, url: str, branch: str, commit: str) -> Path:
        clone, stamp = self.folder / branch, f"{url} {commit}".encode()
        if (clone / _STAMP).is_file() and (clone / _STAMP).read_bytes() == stamp:
            return clone
        (clone / _STAMP).unlink(missing_ok=True)
        try:
            self._update(clone, url, branch, commit)
        except CheckoutError:
            # A killed clone leaves half of one behind, and a rewritten submodule one that can't be updated.
            shutil.rmtree(clone, ignore_errors=True)
            self._update(clone, url, branch, commit)
        (clone / _STAMP).write_bytes(stamp)
        return clone

    def _tree(self, clone: Path, commit: str) -> Tree:
        root = [line.split(None, 3) for line in self.git.run(["ls-tree", commit], clone).splitlines()]
        overlays = [line.split(None, 3) for line in self.git.run(["ls-tree", f"{commit}:overlays"], clone).splitlines()]
        return Tree(
            folder=clone,
            gitlinks={name: target for _, kind, target, name in root if kind == "commit"},
            overlays={name: target for _, kind, target, name in overlays if kind == "tree"},
        )

    def _update(self, clone: Path, url: str, branch: str, commit: str) -> None:
        if not (clone / ".git").exists():
            clone.mkdir(parents=True, exist_ok=True)
            self.git.run(["init", "--quiet"], clone)
        self.git.run(["remote", "remove", "origin"], clone, accept=(0, 2))
        self.git.run(["remote", "add", "origin", url], clone)
        self.git.run(["fetch", "--quiet", "--no-tags", "origin", f"refs/heads/{branch}"], clone)
        self.git.run(["checkout", "--quiet", "--force", "--detach", commit], clone)
        self.git.run(["submodule", "--quiet", "sync"], clone)
        self.git.run(["submodule", "--quiet", "update", "--init", "--force"], clone)
        self.git.run(["clean", "-ffdxq"], clone)

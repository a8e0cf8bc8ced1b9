"""Checkouts: a directory cluster's clones of tier branches with their submodules, by git itself, as Argo CD has them."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class CheckoutError(Exception):
    """git failed; the message is its last line."""


@dataclass(frozen=True)
class Checkouts:
    """The clones below a folder, one for each repository and branch. `timeout` is in seconds."""

    folder: Path
    environment: Mapping[str, str]
    timeout: float

    def heads(self, url: str) -> dict[str, str]:
        """Return branch -> commit of a repository. Raises CheckoutError."""
        lines = self._git(["ls-remote", "--refs", "--", url, "refs/heads/*"], None).splitlines()
        return {ref.removeprefix("refs/heads/"): commit for commit, ref in (line.split("\t", 1) for line in lines)}

    def at(self, url: str, branch: str, commit: str) -> Path:
        """Return a folder that holds a commit of a branch with its submodules. Raises CheckoutError."""
        clone = self.folder / branch
        if (clone / ".shopset-commit").exists() and (clone / ".shopset-commit").read_text() == f"{url} {commit}":
            return clone
        (clone / ".shopset-commit").unlink(missing_ok=True)
        try:
            self._update(clone, url, branch, commit)
        except CheckoutError:
            # A killed clone leaves half of one behind, and a rewritten submodule one that can't be updated.
            shutil.rmtree(clone, ignore_errors=True)
            self._update(clone, url, branch, commit)
        (clone / ".shopset-commit").write_text(f"{url} {commit}")
        return clone

    def describe(self, clone: Path, commit: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the gitlinks of a commit, and ShopSet -> id of its overlay. Raises CheckoutError."""
        root = [line.split(None, 3) for line in self._git(["ls-tree", commit], clone).splitlines()]
        overlays = [line.split(None, 3) for line in self._git(["ls-tree", f"{commit}:overlays"], clone).splitlines()]
        gitlinks = {name: target for _, kind, target, name in root if kind == "commit"}
        return gitlinks, {name: target for _, kind, target, name in overlays if kind == "tree"}

    def _update(self, clone: Path, url: str, branch: str, commit: str) -> None:
        if not (clone / ".git").exists():
            clone.mkdir(parents=True, exist_ok=True)
            self._git(["init", "--quiet"], clone)
        self._git(["remote", "remove", "origin"], clone, accept=(0, 2))
        self._git(["remote", "add", "origin", url], clone)
        self._git(["fetch", "--quiet", "--no-tags", "origin", f"refs/heads/{branch}"], clone)
        self._git(["checkout", "--quiet", "--force", "--detach", commit], clone)
        self._git(["submodule", "--quiet", "sync"], clone)
        self._git(["submodule", "--quiet", "update", "--init", "--force"], clone)
        self._git(["clean", "-ffdxq"], clone)

    def _git(self, arguments: Sequence[str], folder: Path | None, accept: Sequence[int] = (0,)) -> str:
        # Submodules of repositories on this disk are clones by file, which git allows only where it is asked to.
        command = [
            "git",
            "-c",
            "protocol.file.allow=always",
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "gc.auto=0",
            "-c",
            "core.fsync=none",
            *arguments,
        ]
        environment = {
            key: value
            for key, value in self.environment.items()
            if not key.startswith(("GIT_DIR", "GIT_WORK", "GIT_INDEX"))
        }
        environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        with subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
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
            spoken = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
            raise CheckoutError(spoken[-1] if spoken else f"git {arguments[0]} failed")
        return output.decode(errors="replace")

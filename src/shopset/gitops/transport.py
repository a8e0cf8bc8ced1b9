"""Running git: bounded in time, never asking, and with its failures told apart."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shopset.core.errors import ShopsetError

_CONFIGURATION: Final = {
    # A cache needs no housekeeping, no hooks and no syncing of disks: it can be had again. What shopset writes is signed by nobody.
    "core.fsync": "none",
    "core.hooksPath": "/dev/null",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "commit.gpgSign": "false",
    "push.gpgSign": "false",
    "submodule.recurse": "false",
    "protocol.ext.allow": "never",
    # A redirect would send the credential of one server to another.
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "20",
}
_OWN: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
_CREDENTIAL: Final = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_LOST: Final = re.compile(
    r"non-fast-forward|fetch first|stale info|cannot lock ref|failed to update ref|incorrect old value|already exists|"
    r"atomic transaction failed|failed to lock|reference already exists|is at [0-9a-f]{40} but expected"
)
_REFUSED: Final = re.compile(
    r"hook declined|remote rejected|protected|denied|not allowed|prohibited|refusing|403|would clobber"
)


class GitError(ShopsetError):
    """git failed; `words` are its own last lines, without credentials."""

    def __init__(self, message: str, words: str) -> None:
        super().__init__(f"{message}: {words}" if words else message)
        self.words = words


class UnreachableError(GitError):
    """A repository did not answer, or not in time, or did not let us in."""


class RefusedError(GitError):
    """A repository answered, and refused: a hook, a protected branch, a missing permission."""


class LostRaceError(GitError):
    """A ref had moved: somebody else was faster. Nothing was pushed; plan again."""


class LocalGitError(GitError):
    """git failed on this machine: a damaged cache, a full disk, a folder that can't be written."""


@dataclass(frozen=True)
class Runner:
    """Runs git with an environment (the shell's) and a time limit in seconds."""

    environment: Mapping[str, str]
    timeout: float

    def run(
        self, arguments: Sequence[str], folder: Path | None = None, stdin: bytes = b"", *, accept: Sequence[int] = (0,)
    ) -> tuple[int, bytes]:
        """Run git and return its exit code and output. Raises LocalGitError, with `timed_out` words where it took too long."""
        flags = [part for key, value in _CONFIGURATION.items() for part in ("-c", f"{key}={value}")]
        command = ["git", *flags, *arguments]
        with subprocess.Popen(
            command,
            cwd=folder,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            try:
                output, errors = process.communicate(stdin, timeout=self.timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                raise UnreachableError(
                    f"git {arguments[0]} did not answer", f"stopped after {self.timeout:g} s"
                ) from None
        if process.returncode not in accept:
            raise LocalGitError(f"git {arguments[0]} failed", last_words(errors + b"\n" + output))
        return process.returncode, output

    def _environment(self) -> dict[str, str]:
        mine = {
            key: value
            for key, value in self.environment.items()
            if key not in _OWN and not key.startswith("GIT_QUARANTINE")
        }
        mine.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=15")
        return mine | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


def last_words(output: bytes, lines: int = 6) -> str:
    """Return the last lines of what git said, on one line, with credentials starred out."""
    text = _CREDENTIAL.sub("***", output.decode(errors="replace"))
    spoken = [
        line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("hint:", "To ", "Done"))
    ]
    return "; ".join(spoken[-lines:])


def push_error(error: GitError, repository: str) -> GitError:
    """Return what a failed push means."""
    if _LOST.search(error.words):
        return LostRaceError(f"{repository} had moved on", error.words)
    if _REFUSED.search(error.words):
        return RefusedError(f"{repository} refused the push", error.words)
    return UnreachableError(f"{repository} could not be pushed to", error.words)

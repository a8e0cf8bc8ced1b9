"""Running git: bounded in time, never asking, and with its failures told apart."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from shopset.api import redact
from shopset.core.errors import ShopsetError

_CONFIGURATION: Final = {
    # Nobody's hooks, signatures and submodules belong to what shopset fetches and pushes.
    "core.hooksPath": "/dev/null",
    "push.gpgSign": "false",
    "push.followTags": "false",
    "push.recurseSubmodules": "no",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    # The cache is tidied by the store itself, never behind its back.
    "gc.auto": "0",
    "maintenance.auto": "false",
    # A pack that is cut short is noticed; a loose object that is makes libgit2 1.9 loop for good (its issue 7342).
    "fetch.unpackLimit": "1",
    "fastimport.unpackLimit": "1",
    "protocol.ext.allow": "never",
    # A redirect would send the credential of one server to another.
    "http.followRedirects": "false",
    # A server whose hook takes its time still sends a few bytes to show that it lives.
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "20",
    "credential.interactive": "false",
}
_NEVER_ASKING: Final = {"GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS_REQUIRE": "never", "GCM_INTERACTIVE": "never"}
_FOREIGN: Final = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_QUARANTINE_PATH",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
"""Variables by which a repository that we happen to run in would take the place of the cache."""
_WORDS: Final = 8
_SAYS_NOTHING: Final = re.compile(r"hint:|To |Done|!\t|error: failed to push some refs|(?:remote:)?\W*$")
"""Lines that only frame what is said."""
_DISTANT: Final = re.compile(
    r"remote: |remote repository|remote end|RPC failed|unable to access|early EOF|protocol error|unexpected disconnect"
)


class GitError(ShopsetError):
    """git failed. `what` says at what, `words` are its own last lines, without credentials."""

    advice: ClassVar[str] = "Mend that and run the same command again"

    def __init__(self, message: str, words: str = "") -> None:
        super().__init__(f"{message}: {words}. {self.advice}" if words else f"{message}. {self.advice}")
        self.what = message
        self.words = words


class UnreachableError(GitError):
    """A repository did not answer, or not in time, or did not let us in."""

    advice = "Check its URL, the network and your credentials: git ls-remote must work without asking anything"


class RefusedError(GitError):
    """A repository answered, and refused: a hook, a protected branch, a missing permission."""

    advice = "Nothing was pushed. Mend what it names, or ask who keeps the repository"


class LostRaceError(GitError):
    """A ref had moved: somebody else was faster. Nothing was pushed; plan again."""

    advice = "Nothing was pushed. Plan again"


class LocalGitError(GitError):
    """git failed on this machine: a damaged cache, a full disk, a folder that can't be written."""


class FailedError(LocalGitError):
    """git ended with an error. `output` and `errors` are all that it wrote."""

    def __init__(self, command: str, output: bytes, errors: bytes) -> None:
        super().__init__(f"git {command} failed", last_words(errors + b"\n" + output))
        self.output = output.decode(errors="replace")
        self.errors = errors.decode(errors="replace")

    @property
    def distant(self) -> bool:
        """Whether it was the other side, or the way to it."""
        return _DISTANT.search(self.errors) is not None


@dataclass(frozen=True)
class Runner:
    """Runs git with an environment (the shell's) and a time limit in seconds."""

    environment: Mapping[str, str]
    timeout: float

    def run(
        self,
        arguments: Sequence[str],
        repository: Path | None = None,
        stdin: bytes = b"",
        *,
        accept: Sequence[int] = (0,),
    ) -> tuple[int, bytes]:
        """Run git, in a bare repository or in none, and return its exit code and output.

        Raises FailedError; LocalGitError where git can't be started; UnreachableError where it took too long.
        """
        flags = [part for key, value in _CONFIGURATION.items() for part in ("-c", f"{key}={value}")]
        # A repository that is named is used even where the user has git find bare ones by name only.
        place = [] if repository is None else ["--git-dir", str(repository)]
        with self._started(["git", *flags, *place, *arguments]) as process:
            try:
                output, errors = process.communicate(stdin, timeout=self.timeout)
            except subprocess.TimeoutExpired as error:
                message = f"git {arguments[0]} did not answer"
                raise UnreachableError(message, f"stopped after {self.timeout:g} s") from error
        if process.returncode not in accept:
            raise FailedError(arguments[0], output, errors)
        return process.returncode, output

    @contextmanager
    def _started(self, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        """Start git, and leave nothing of it running whatever happens: also ssh and helpers go with it."""
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(
                command,
                # Of a repository around the present folder, neither settings nor remotes count.
                cwd="/",
                env=self._environment(),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
            )
        except OSError as error:
            raise LocalGitError("git cannot be started", str(error)) from error
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in self.environment.items() if key not in _FOREIGN}
        return kept | _NEVER_ASKING | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


def last_words(output: bytes) -> str:
    """Return the last lines of what git said, on one line, with credentials starred out."""
    lines = [line.strip() for line in redact(output.decode(errors="replace")).splitlines()]
    spoken = [line.removeprefix("remote: ").rstrip(".\0") for line in lines if not _SAYS_NOTHING.match(line)]
    return "; ".join(spoken[-_WORDS:])

"""What a pre-receive hook sees: updates of refs, and the pushed objects.

The objects lie in a quarantine that only the hook's own git environment leads to, so git is asked and no library.
"""

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from shopset.core.errors import ShopsetError

NOTHING: Final = "0" * 40
"""What a hook gets in place of a commit where a ref is made or deleted."""
PLAIN_FILE: Final = "100644"
GITLINK: Final = "160000"


@dataclass(frozen=True)
class Update:
    """One line that a pre-receive hook gets."""

    old: str
    new: str
    ref: str


@dataclass(frozen=True)
class Violation:
    """Why a push is refused."""

    ref: str
    rule: str
    message: str
    advice: str


class HookError(ShopsetError):
    """git failed inside the hook."""


class Entry(NamedTuple):
    """What a tree has at a path."""

    mode: str
    id: str


class PushedObjects:
    """The objects of a repository and of the push that its hook looks at."""

    def __init__(self, repository: Path, environment: Mapping[str, str]) -> None:
        self._repository = repository
        self._environment = dict(environment)

    def head(self, ref: str) -> str | None:
        """Return the commit of a ref before the push. Raises HookError."""
        code, output = self._git("rev-parse", "--verify", "--quiet", ref, accept=(0, 1))
        return output.decode().strip() if code == 0 else None

    def is_ancestor(self, old: str, new: str) -> bool:
        """Tell whether a commit is another's ancestor. Raises HookError."""
        return self._git("merge-base", "--is-ancestor", old, new, accept=(0, 1))[0] == 0

    def entries(self, commit: str | None, *paths: str) -> dict[str, Entry]:
        """Return path -> entry, of all files and gitlinks or of some paths; of no commit nothing. Raises HookError."""
        if commit is None:
            return {}
        _, output = self._git("ls-tree", "-r", "-z", commit, "--", *paths)
        lines = (line.split("\t", 1) for line in output.decode(errors="surrogateescape").split("\0") if line)
        return {path: Entry(*described.split(" ")[::2]) for described, path in lines}

    def contents(self, entries: Mapping[str, Entry]) -> dict[str, bytes]:
        """Return path -> content of those entries that are plain files. Raises HookError."""
        blobs = {path: entry.id for path, entry in entries.items() if entry.mode == PLAIN_FILE}
        _, output = self._git("cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs.values()).encode())
        return dict(zip(blobs, _batch(output), strict=True))

    def _git(self, *arguments: str, stdin: bytes = b"", accept: Sequence[int] = (0,)) -> tuple[int, bytes]:
        command = ["git", "-C", str(self._repository), *arguments]
        done = subprocess.run(command, env=self._environment, input=stdin, capture_output=True, check=False)
        if done.returncode not in accept:
            raise HookError(f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
        return done.returncode, done.stdout


def _batch(output: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(output):
        end = output.index(b"\n", position)
        header = output[position:end].split(b" ")
        if len(header) != 3:
            raise HookError(f"the repository lacks an object: {output[position:end].decode()}. Run git fsck on it")
        size = int(header[2])
        yield output[end + 1 : end + 1 + size]
        position = end + size + 2


def first_of(paths: Iterable[str]) -> str:
    """Return the first path in order, and how many more there are; empty where there is none."""
    ordered = sorted(paths)
    if len(ordered) < 2:
        return "".join(ordered)
    return f"{ordered[0]} (and {len(ordered) - 1} more)"

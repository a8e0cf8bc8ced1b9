"""A person's hands: commits made and pushed with plain git, whether or not they are right."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from model.repositories import NAMES, location

_OFFLINE = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C",
}


@dataclass(frozen=True)
class Link:
    """A gitlink to a commit."""

    commit: str


Change = bytes | Link | None
"""A file's content, a gitlink, or None for what is deleted."""


class Hands:
    """Makes commits in scratch repositories beside the real ones (whose objects they borrow), and pushes them."""

    def __init__(self, folder: Path, person: str = "somebody <somebody@example.com>") -> None:
        self._folder = folder
        self._person = person
        self._scratch = {name: folder / "scratch" / f"{name}.git" for name in NAMES}
        for name, path in self._scratch.items():
            if not path.exists():
                self._run(["git", "init", "--quiet", "--bare", str(path)])
            borrowed = path / "objects" / "info" / "alternates"
            borrowed.write_text(f"{location(folder, name) / 'objects'}\n")

    def commit(
        self,
        repository: str,
        parents: Sequence[str],
        changes: Mapping[str, Change],
        at: datetime,
        subject: str = "by hand",
    ) -> str:
        """Make a commit: the first parent's tree with the changes."""
        git = ["git", "-C", str(self._scratch[repository])]
        stream = b"".join(_stream(parents, changes, f"{self._person} {int(at.timestamp())} +0000", subject))
        self._run([*git, "fast-import", "--force", "--quiet"], stream)
        return self._run([*git, "rev-parse", "refs/heads/scratch"]).decode().strip()

    def push(self, repository: str, updates: Mapping[str, str | None], *, force: bool = False) -> bool:
        """Push commits to refs (None deletes one) in one atomic push; return whether it was taken."""
        refspecs = [f"{'+' if force else ''}{commit or ''}:{ref}" for ref, commit in updates.items()]
        command = [
            "git",
            "-C",
            str(self._scratch[repository]),
            "push",
            "--quiet",
            "--atomic",
            str(location(self._folder, repository)),
        ]
        return subprocess.run([*command, *refspecs], env=_OFFLINE, capture_output=True, check=False).returncode == 0

    def head(self, repository: str, ref: str) -> str | None:
        """Return where a ref of the real repository is."""
        command = ["git", "-C", str(location(self._folder, repository)), "rev-parse", "--verify", "--quiet", ref]
        answer = subprocess.run(command, env=_OFFLINE, capture_output=True, text=True, check=False)
        return answer.stdout.strip() or None

    @staticmethod
    def _run(command: Sequence[str], stream: bytes = b"") -> bytes:
        return subprocess.run(command, input=stream, env=_OFFLINE, capture_output=True, check=True).stdout


def _stream(parents: Sequence[str], changes: Mapping[str, Change], who: str, subject: str) -> list[bytes]:
    lines = [
        "reset refs/heads/scratch",
        "commit refs/heads/scratch",
        f"committer {who}",
        f"data {len(subject.encode()) + 1}",
        subject,
    ]
    lines += [f"{'merge' if number else 'from'} {parent}" for number, parent in enumerate(parents)]
    parts = [("\n".join(lines) + "\n").encode()]
    for path, change in changes.items():
        if change is None:
            parts.append(f"D {path}\n".encode())
        elif isinstance(change, Link):
            parts.append(f"M 160000 {change.commit} {path}\n".encode())
        else:
            parts.append(f"M 100644 inline {path}\ndata {len(change)}\n".encode() + change + b"\n")
    return parts

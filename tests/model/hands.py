"""A person's hands: commits made and pushed with plain git, whether or not they are right."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from model.repositories import NAMES, location, read_refs

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
        return self._run([*git, "fast-import", "--force", "--quiet"], stream).decode().strip()

    def merge(self, repository: str, parents: Sequence[str], tree_of: str, at: datetime, subject: str = "merge") -> str:
        """Make a commit with several parents and the tree of an existing commit."""
        name, _, email = self._person.rstrip(">").partition(" <")
        who = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", name), ("EMAIL", email), ("DATE", f"{int(at.timestamp())} +0000"))
        }
        command = ["git", "-C", str(self._scratch[repository]), "commit-tree", f"{tree_of}^{{tree}}", "-m", subject]
        lines = [part for parent in parents for part in ("-p", parent)]
        return self._run([*command, *lines], also=who).decode().strip()

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
        """Return where a ref of the real repository is, or what `<ref>~1` means there."""
        path = location(self._folder, repository)
        if not (path / "HEAD").exists():
            return None
        name, tilde, _ = ref.partition("~")
        found = read_refs(path).get(name)
        if found is None or not tilde:
            return found
        return self._run(["git", "-C", str(path), "rev-parse", ref]).decode().strip()

    @staticmethod
    def _run(command: Sequence[str], stream: bytes = b"", also: Mapping[str, str] | None = None) -> bytes:
        environment = _OFFLINE | dict(also or {})
        return subprocess.run(command, input=stream, env=environment, capture_output=True, check=True).stdout


def _stream(parents: Sequence[str], changes: Mapping[str, Change], who: str, subject: str) -> list[bytes]:
    message = subject.encode()
    head = f"reset refs/heads/scratch\ncommit refs/heads/scratch\nmark :1\ncommitter {who}\ndata {len(message)}\n"
    lines = [f"{'merge' if number else 'from'} {parent}\n" for number, parent in enumerate(parents)]
    return [head.encode(), message, b"\n", "".join(lines).encode(), *map(_line, changes.items()), b"\nget-mark :1\n"]


def _line(change: tuple[str, Change]) -> bytes:
    path, content = change
    if content is None:
        return f"D {path}\n".encode()
    if isinstance(content, Link):
        return f"M 160000 {content.commit} {path}\n".encode()
    return f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"

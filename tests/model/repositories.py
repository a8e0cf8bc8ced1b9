"""Bare repositories read without any library, and a journal of every push that they took."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

NAMES = ("system", "apps", "configuration")
NOTHING = "0" * 40
_JOURNAL = "journal"
# One write of one line group, so that pushes to several repositories stay apart in the journal.
_HOOK = "#!/bin/sh\nupdates=$(cat)\nprintf 'push {name}\\n%s\\n' \"$updates\" >> ../" + _JOURNAL + "\n"


@dataclass(frozen=True)
class Commit:
    """A commit object."""

    id: str
    tree: str
    parents: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Entry:
    """An entry of a tree."""

    mode: str
    id: str


@dataclass(frozen=True)
class Update:
    """A ref that a push moved. `old` or `new` is None where it was created or deleted."""

    ref: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class Push:
    """The refs of one repository that one push moved together."""

    repository: str
    updates: tuple[Update, ...]


def create(folder: Path) -> None:
    """Create the three bare repositories, each with a hook that writes the common journal."""
    for name in NAMES:
        path = location(folder, name)
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=tier-0", str(path)], check=True)
        hook = path / "hooks" / "post-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(_HOOK.format(name=name))
        hook.chmod(0o755)


def location(folder: Path, name: str) -> Path:
    """Return where a repository lies."""
    return folder / f"shopset-{name}.git"


def read_refs(repository: Path) -> dict[str, str]:
    """Return every ref with its object, by the files that git keeps them in: they are asked for after each step."""
    packed = repository / "packed-refs"
    lines = packed.read_text().splitlines() if packed.exists() else []
    refs = {line.split(" ", 1)[1]: line.split(" ", 1)[0] for line in lines if line[0] not in "#^"}
    for folder, _, names in os.walk(repository / "refs"):
        for name in names:
            path = Path(folder, name)
            refs[path.relative_to(repository).as_posix()] = path.read_text().strip()
    return refs


def pushes(folder: Path, start: int) -> tuple[list[Push], int]:
    """Read the journal from an offset; return what came since, oldest first, and the new offset."""
    journal = folder / _JOURNAL
    if not journal.exists():
        return [], start
    with journal.open("rb") as file:
        file.seek(start)
        content = file.read()
    return list(_parse(content.decode())), start + len(content)


def _parse(content: str) -> Iterator[Push]:
    for group in content.split("push ")[1:]:
        repository, *lines = group.split("\n")
        yield Push(repository, tuple(_update(line) for line in lines if line))


def _update(line: str) -> Update:
    old, new, ref = line.split(" ", 2)
    return Update(ref, None if old == NOTHING else old, None if new == NOTHING else new)


class Store:
    """The objects and refs of one bare repository, through one `git cat-file --batch` that is kept running."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = subprocess.Popen(
            ["git", "-C", str(path), "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._commits: dict[str, Commit] = {}
        self._trees: dict[str, dict[str, Entry]] = {}
        self._blobs: dict[str, bytes] = {}
        self._files: dict[str, dict[str, Entry]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._stream(self._process.stdin).close()
        self._stream(self._process.stdout).close()
        self._process.wait()

    @property
    def is_there(self) -> bool:
        """Whether git takes the folder for a repository."""
        return (self._path / "HEAD").exists()

    def refs(self) -> dict[str, str]:
        """Return every ref with its object."""
        return read_refs(self._path)

    def has(self, commit: str) -> bool:
        """Whether there is such an object."""
        return commit in self._commits or self._read(commit) is not None

    def commit(self, name: str) -> Commit:
        """Read a commit. Raises KeyError where there is none."""
        if name not in self._commits:
            self._commits[name] = _commit(name, self._content(name))
        return self._commits[name]

    def tree(self, name: str) -> Mapping[str, Entry]:
        """Read one tree object: name -> entry."""
        if name not in self._trees:
            self._trees[name] = dict(_entries(self._content(name)))
        return self._trees[name]

    def files(self, tree: str) -> Mapping[str, Entry]:
        """Return every file and gitlink below a tree: path -> entry."""
        if tree not in self._files:
            self._files[tree] = dict(self._walk(tree, ""))
        return self._files[tree]

    def blob(self, name: str) -> bytes:
        """Read a blob."""
        if name not in self._blobs:
            self._blobs[name] = self._content(name)
        return self._blobs[name]

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether one commit is an ancestor of another, or the same."""
        seen, pending = {descendant}, [descendant]
        while pending:
            name = pending.pop()
            if name == ancestor:
                return True
            fresh = [parent for parent in self.commit(name).parents if parent not in seen]
            seen.update(fresh)
            pending.extend(fresh)
        return False

    def since(self, old: str | None, new: str) -> list[Commit]:
        """Return the first-parent line from `old` (left out) to `new`, oldest first."""
        line: list[Commit] = []
        name: str | None = new
        while name is not None and name != old:
            line.append(self.commit(name))
            name = line[-1].parents[0] if line[-1].parents else None
        return line[::-1]

    def _walk(self, tree: str, prefix: str) -> Iterator[tuple[str, Entry]]:
        for name, entry in self.tree(tree).items():
            if entry.mode == "40000":
                yield from self._walk(entry.id, f"{prefix}{name}/")
            else:
                yield f"{prefix}{name}", entry

    def _content(self, name: str) -> bytes:
        content = self._read(name)
        if content is None:
            raise KeyError(name)
        return content

    def _read(self, name: str) -> bytes | None:
        requests, answers = self._stream(self._process.stdin), self._stream(self._process.stdout)
        requests.write(f"{name}\n".encode())
        requests.flush()
        header = answers.readline().split()
        if header[-1] == b"missing":
            return None
        content = answers.read(int(header[2]))
        answers.read(1)
        return content

    @staticmethod
    def _stream(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None
        return stream


def _commit(name: str, content: bytes) -> Commit:
    head, _, message = content.decode().partition("\n\n")
    fields = [line.split(" ", 1) for line in head.split("\n") if not line.startswith(" ")]
    tree = next(value for key, value in fields if key == "tree")
    return Commit(name, tree, tuple(value for key, value in fields if key == "parent"), message)


def _entries(content: bytes) -> Iterator[tuple[str, Entry]]:
    at = 0
    while at < len(content):
        end = content.index(b"\0", at)
        mode, _, name = content[at:end].partition(b" ")
        at = end + 21
        yield name.decode(), Entry(mode.decode(), content[end + 1 : at].hex())

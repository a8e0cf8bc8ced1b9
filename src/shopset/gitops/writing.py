"""Writing commits into a store without a work tree: git's own fast-import takes exactly a parent and a difference."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shopset.core.release.actions import Commit, Identity
from shopset.gitops.stores import Store

_CRUD: Final = "".join(map(chr, range(33))) + ".,:;<>\"\\'"
"""What git itself takes off both ends of a name."""


def write_commits(
    store: Store, commits: Mapping[str, Commit], author: Identity, committer: Identity, at: datetime
) -> dict[str, str]:
    """Write commits (branch -> commit, with the parent to use in it) and return branch -> id. Raises LocalGitError."""
    drafts = [
        _Draft(commit.message, () if commit.parent is None else (commit.parent,), _difference(commit))
        for commit in commits.values()
    ]
    return dict(zip(commits, _write(store, drafts, author, committer, at), strict=True))


def write_tree_commit(
    store: Store, tree: str, parents: Sequence[str], message: str, author: Identity, committer: Identity, at: datetime
) -> str:
    """Write a commit of a tree that is there, and return its id. Raises LocalGitError."""
    draft = _Draft(message, tuple(parents), [b'M 040000 %s ""\n' % tree.encode()])
    return _write(store, [draft], author, committer, at)[0]


@dataclass(frozen=True)
class _Draft:
    message: str
    parents: Sequence[str]
    changes: Iterable[bytes]
    """What fast-import is told to change in the first parent's tree."""


def _write(store: Store, drafts: Iterable[_Draft], author: Identity, committer: Identity, at: datetime) -> list[str]:
    when = f"{int(at.timestamp())} +0000"
    people = f"author {_plain(author)} {when}\ncommitter {_plain(committer)} {when}\n".encode()
    stream = b"".join(part for mark, draft in enumerate(drafts, 1) for part in _commit(mark, people, draft))
    _, output = store.git(["fast-import", "--quiet", "--done"], stream + b"done\n")
    return output.decode().split()


def _commit(mark: int, people: bytes, draft: _Draft) -> Iterator[bytes]:
    ref = b"refs/shopset/%d" % mark
    yield b"commit %b\nmark :%d\n%b" % (ref, mark, people)
    yield _data(draft.message.encode())
    for number, parent in enumerate(draft.parents):
        yield f"{'merge' if number else 'from'} {parent}\n".encode()
    yield from draft.changes
    # The ref is taken back before it is ever written: only the push makes one.
    yield b"\nget-mark :%d\nreset %b\n\n" % (mark, ref)


def _difference(commit: Commit) -> Iterator[bytes]:
    for path in commit.deletes:
        yield b"D %s\n" % _path(path)
    for path, target in commit.gitlinks.items():
        yield b"M 160000 %s %s\n" % (target.encode(), _path(path))
    for path, content in commit.writes.items():
        yield b"M 100644 inline %s\n" % _path(path)
        yield _data(content)


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)


def _path(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode(errors="surrogateescape")


def _plain(identity: Identity) -> str:
    """Return an identity as git writes it."""

    def cleaned(text: str) -> str:
        return "".join(character for character in text if character.isprintable() and character not in "<>").strip(
            _CRUD
        )

    return f"{cleaned(identity.name) or 'unknown'} <{cleaned(identity.email)}>"

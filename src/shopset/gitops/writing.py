"""Writing commits into a store without a work tree: git's own fast-import takes exactly a parent and a difference."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import uuid4

from shopset.core.release.actions import Commit, Identity
from shopset.gitops.stores import Store


def write_commits(
    store: Store, commits: Mapping[str, Commit], author: Identity, committer: Identity, at: datetime
) -> dict[str, str]:
    """Write commits (branch -> commit, with the parent to use in it) and return branch -> id. Raises LocalGitError."""
    references, name = store.repository.references, uuid4().hex
    refs = {branch: f"refs/shopset/new/{name}/{index}" for index, branch in enumerate(commits)}
    stream = b"".join(_stream(refs, commits, author, committer, at))
    _, output = store.runner.run(["fast-import", "--quiet", "--done"], store.path, stream)
    for ref in refs.values():
        references.delete(ref)
    return dict(zip(commits, output.decode().split(), strict=True))


def _stream(
    refs: Mapping[str, str], commits: Mapping[str, Commit], author: Identity, committer: Identity, at: datetime
) -> Iterator[bytes]:
    when = f"{int(at.timestamp())} +0000"
    for mark, (branch, commit) in enumerate(commits.items(), 1):
        yield f"commit {refs[branch]}\nmark :{mark}\n".encode()
        yield f"author {_plain(author)} {when}\ncommitter {_plain(committer)} {when}\n".encode()
        yield _data(commit.message.encode())
        if commit.parent is not None:
            yield f"from {commit.parent}\n".encode()
        for path in commit.deletes:
            yield b"D %s\n" % _path(path)
        for path, target in commit.gitlinks.items():
            yield b"M 160000 %s %s\n" % (target.encode(), _path(path))
        for path, content in commit.writes.items():
            yield b"M 100644 inline %s\n" % _path(path)
            yield _data(content)
        yield f"\nget-mark :{mark}\n".encode()
    yield b"done\n"


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)


def _path(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode()


def _plain(identity: Identity) -> str:
    def cleaned(text: str) -> str:
        return "".join(character for character in text if character.isprintable() and character not in "<>").strip()

    return f"{cleaned(identity.name) or 'unknown'} <{cleaned(identity.email)}>"

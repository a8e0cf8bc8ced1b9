"""Three real bare repositories, and what tests of `gitops` do with them."""

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from shopset.core.release.actions import SHOPSET, ActionKind, Commit, Identity, PushCommits
from shopset.core.release.observed import Repository
from shopset.gitops import Remotes
from support.worlds import ENVIRONMENT, git

AT = datetime(2026, 11, 25, 4, 43, 12, tzinfo=UTC)
BRANCHES = {"dev": "tier-0", "beta": "tier-1"}
REVISION = b"apps: %b\nconfiguration: %b\nrenderer: v1\n" % (b"a" * 40, b"b" * 40)
LINKS = {"base": "a" * 40, "configuration": "b" * 40}


def make_bare(parent: Path) -> None:
    """Make the three repositories, empty."""
    for name in Repository:
        git("init", "--quiet", "--bare", "--initial-branch=tier-0", str(parent / f"shopset-{name}.git"))


def remotes(
    parent: Path,
    cache: str = "cache",
    timeout: float = 30,
    environment: Mapping[str, str] = ENVIRONMENT,
    **urls: str,
) -> Remotes:
    """Return the repositories below `parent`, or those of `urls`, with a cache below it."""
    named = {kind: urls.get(kind.value, str(parent / f"shopset-{kind}.git")) for kind in Repository}
    return Remotes(named, parent / cache, committer=SHOPSET, environment=environment, timeout=timeout)


def push(*commits: Commit) -> PushCommits:
    """Return an action of these commits."""
    return PushCommits(
        kind=ActionKind.PIN, what="x", why=(), at=AT, commits=commits, author=Identity("Yamada", "y@example.com")
    )


def tier(parent: str | None, branch: str = "tier-0", **files: bytes) -> Commit:
    """Return a commit of a tier; `__` in a file's name stands for a slash."""
    writes = {"revision.yaml": REVISION, **{path.replace("__", "/"): content for path, content in files.items()}}
    return Commit(branch, parent, "a commit", writes, gitlinks=LINKS)


def ledger(parent: str | None, text: bytes = b"dev: {level: 0}\n") -> Commit:
    """Return a commit of the ledger."""
    return Commit("ledger", parent, "a record", {"tiers.yaml": text})


def head(parent: Path, branch: str, name: str = "system") -> str:
    """Return the head of a branch."""
    return git("rev-parse", branch, folder=parent / f"shopset-{name}.git")


def source_commit(parent: Path, name: str, files: Mapping[str, str], branch: str = "tier-0") -> str:
    """Push a commit without parents, as a developer."""
    work = parent / "work"
    git("init", "--quiet", str(work))
    for path, content in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(content)
    git("add", "--all", folder=work)
    git("commit", "--quiet", "--allow-empty", "-m", "the subject\n\nthe body", folder=work)
    git("push", "--quiet", str(parent / f"shopset-{name}.git"), f"HEAD:refs/heads/{branch}", folder=work)
    commit = git("rev-parse", "HEAD", folder=work)
    shutil.rmtree(work)
    return commit


Entry = tuple[str, bytes, str]
"""Mode, name and id in a tree that git itself would not write."""


def forge_object(repository: Path, kind: str, content: bytes) -> str:
    """Write an object whose form git does not check."""
    command = ["git", "hash-object", "-w", "-t", kind, "--literally", "--stdin"]
    done = subprocess.run(command, input=content, cwd=repository, env=ENVIRONMENT, capture_output=True, check=True)
    return done.stdout.decode().strip()


def forge_tree(repository: Path, entries: Iterable[Entry]) -> str:
    """Write a tree with any names."""
    lines = (b"%b %b\0%b" % (mode.encode(), name, bytes.fromhex(target)) for mode, name, target in entries)
    return forge_object(repository, "tree", b"".join(lines))


def forge_head(repository: Path, tree: str, branch: str = "tier-0") -> str:
    """Make a commit of any tree the head of a branch, and return it."""
    commit = git("commit-tree", tree, "-m", "forged", folder=repository)
    git("update-ref", f"refs/heads/{branch}", commit, folder=repository)
    return commit

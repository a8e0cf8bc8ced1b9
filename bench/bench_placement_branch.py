"""The placement of a million shops on its branch: read cold and again, a lost cluster's groups and one shop committed.

The peer of each commit is the same plumbing by hand: hash-object, read-tree, update-index, write-tree, commit-tree.
"""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from measuring import alternate, peak_memory, ratio, shown
from shopset.core.placement.formats import BRANCH, Difference, difference, dump_placement
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.core.release.actions import SHOPSET, ActionKind, Commit, PushCommits
from shopset.core.release.observed import Repository
from shopset.gitops.remotes import Remotes
from shopset.gitops.writing import write_commits

GROUPS, LOST, RUNS = 16_000, 4_000, 5
AT = datetime(2026, 11, 25, tzinfo=UTC)
ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "x",
    "GIT_AUTHOR_EMAIL": "x@y",
    "GIT_COMMITTER_NAME": "x",
    "GIT_COMMITTER_EMAIL": "x@y",
}


def git(folder: Path, *arguments: str, stdin: bytes = b"", **environment: str) -> str:
    """Run git."""
    command = ["git", "-c", "core.fsync=none", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT | environment, input=stdin, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def remotes(folder: Path, cache: str = "cache") -> Remotes:
    """Return the three repositories in a folder."""
    urls = {kind: str(folder / f"{kind}.git") for kind in Repository}
    return Remotes(urls, folder / cache, committer=SHOPSET, environment=ENVIRONMENT, timeout=600)


def placed(size: int) -> Placement:
    """Return a placement of so many shops in groups with two replicas each, in eight clusters of 25 ShopSets."""
    groups = [
        Group(
            f"standard#{number}", "standard", tuple(f"{'abcdefgh'[(number + leg) % 8]}-{number % 25}" for leg in (0, 1))
        )
        for number in range(GROUPS)
    ]
    shops = (
        PlacedShop(f"shop-{number}", f"standard#{number % GROUPS}", (f"shop-{number}.shop-pro.jp",))
        for number in range(size)
    )
    return Placement.of(groups, shops)


def without_a_cluster(placement: Placement, number: int) -> Placement:
    """Return the placement with other ShopSets in place of those of the first cluster, which a quarter of the groups has."""
    moved = [
        Group(
            group.name,
            group.shop_class,
            tuple(f"{each}-{number}" if each[0] == "a" else each for each in group.replicas),
        )
        for group in placement.groups.values()
        if any(each[0] == "a" for each in group.replicas)
    ]
    assert len(moved) == LOST
    return placement.with_groups(moved)


def with_a_shop(placement: Placement, number: int) -> Placement:
    """Return the placement with one shop more."""
    return placement.with_shops([PlacedShop(f"new-{number}", "standard#7", (f"new-{number}.example.com",))])


def commit_of(parent: str | None, change: Difference) -> Commit:
    """Return the commit of a difference."""
    return Commit(BRANCH, parent, "place", change.writes, change.deletes, before=change.before)


def processor_seconds() -> float:
    """Return the CPU time of this process and of each git that it started."""
    return sum(os.times()[:4])


def by_hand(clone: Path, head: str, change: Difference) -> str:
    """Commit with git's plumbing, as a careful script does; return the commit."""
    index = str(clone / "index.tmp")
    git(clone, "read-tree", head, GIT_INDEX_FILE=index)
    lines = []
    for path, content in change.writes.items():
        blob = git(clone, "hash-object", "-w", "--stdin", stdin=content)
        lines.append(f"100644 {blob}\t{path}\n")
    git(clone, "update-index", "--add", "--index-info", stdin="".join(lines).encode(), GIT_INDEX_FILE=index)
    return git(clone, "commit-tree", git(clone, "write-tree", GIT_INDEX_FILE=index), "-p", head, "-m", "place")


def commits(
    folder: Path, base: str, before: Placement, what: str, change: Callable[[Placement, int], Placement]
) -> None:
    """Measure a change from the placement in memory to a commit, and its push by itself."""
    system = remotes(folder)
    system.observe({})
    store = system._stores[Repository.SYSTEM]
    clone = folder / "clone.git"
    numbers = itertools.count(1)
    made: list[str] = []

    def ours() -> None:
        after = change(before, next(numbers))
        made.extend(
            write_commits(store, {BRANCH: commit_of(base, difference(before, after))}, SHOPSET, SHOPSET, AT).values()
        )

    def peer() -> None:
        by_hand(clone, base, prepared)

    prepared = difference(before, change(before, 0))
    cpu = processor_seconds()
    ours()
    cpu = processor_seconds() - cpu
    seconds = alternate({"ours": ours, "peer": peer}, RUNS)
    print(
        f"{what}: planned value to commit {shown(seconds['ours'])}, {cpu * 1000:.0f} ms of CPU; {len(prepared.writes)} files"
    )
    print(
        f"    the same content by git's plumbing {shown(seconds['peer'])}; ratio {ratio(seconds['ours'], seconds['peer']):.2f}"
    )
    start = time.perf_counter()
    action = PushCommits(
        kind=ActionKind.PIN, what="x", why=(), at=AT, commits=(commit_of(base, difference(before, change(before, -1))),)
    )
    pushed = system.push_commits(action, {})[BRANCH]
    print(f"    with its push {(time.perf_counter() - start) * 1000:.0f} ms")
    start, cpu = time.perf_counter(), time.process_time()
    assert system.placement(base).placement == before
    first = time.perf_counter() - start
    start, again = time.perf_counter(), time.process_time()
    reading = system.placement(pushed)
    assert reading.is_whole
    took, spent = time.perf_counter() - start, time.process_time() - again
    print(
        f"    read after {first:.1f} s ({again - cpu:.1f} s of CPU) for its parent: {took * 1000:.0f} ms ({spent * 1000:.0f} of CPU)"
    )
    git(folder / "system.git", "update-ref", f"refs/heads/{BRANCH}", base)


def cold(folder: Path, base: str) -> None:
    """Print what a process needs that reads the branch for the first time."""
    system = remotes(folder)
    system.observe({})
    before = peak_memory(os.getpid())
    start, cpu = time.perf_counter(), time.process_time()
    reading = system.placement(base)
    wall, spent = time.perf_counter() - start, time.process_time() - cpu
    assert reading.is_whole
    after = peak_memory(os.getpid())
    print(f"cold read: {wall:.2f} s, {spent:.2f} s of CPU; {after - before:.0f} MiB more, {after:.0f} at most")


def main() -> None:
    """Print all of it."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if len(sys.argv) > 2:
        cold(Path(sys.argv[2]), sys.argv[3])
        return
    folder = Path(tempfile.mkdtemp())
    for kind in Repository:
        git(folder, "init", "--quiet", "--bare", f"{kind}.git")
    placement = placed(size)
    start = time.perf_counter()
    files = dump_placement(placement)
    took, bulk = time.perf_counter() - start, sum(map(len, files.values())) / 1e6
    print(f"{size:,} shops in {len(files):,} files, {bulk:.0f} MB; dumped in {took:.1f} s")
    start = time.perf_counter()
    system = remotes(folder)
    base = system.push_commits(
        PushCommits(kind=ActionKind.PIN, what="x", why=(), at=AT, commits=(Commit(BRANCH, None, "first", files),)), {}
    )[BRANCH]
    print(f"first commit, with its push: {time.perf_counter() - start:.1f} s")
    first_import(folder, files)
    git(folder, "clone", "--quiet", "--bare", "system.git", str(folder / "clone.git"))
    for _ in range(3):
        subprocess.run([sys.executable, __file__, str(size), str(folder), base], check=True)
    commits(folder, base, placement, f"{LOST:,} groups of a lost cluster", without_a_cluster)
    commits(folder, base, placement, "one shop", with_a_shop)
    shutil.rmtree(folder)


def first_import(folder: Path, files: dict[str, bytes]) -> None:
    """Print what git fast-import alone takes for the same content."""
    git(folder, "init", "--quiet", "--bare", "peer.git")
    parts = [b"commit refs/heads/x\ncommitter x <x@y> 0 +0000\ndata 1\nx\n"]
    parts += [b"M 100644 inline %s\ndata %d\n%b\n" % (path.encode(), len(text), text) for path, text in files.items()]
    stream = b"".join(parts)
    start = time.perf_counter()
    git(folder / "peer.git", "fast-import", "--quiet", stdin=stream)
    print(f"    git fast-import of the same content alone: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()

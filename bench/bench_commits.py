"""A tier's first commit of 10,000 ShopSets against git fast-import; a release to it against the same plumbing by hand."""

import itertools
import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from measuring import alternate, large_fleet, ratio, shown
from shopset.core.fleets import Fleet
from shopset.core.release.actions import SHOPSET, ActionKind, Commit, PushCommits
from shopset.core.release.observed import Repository
from shopset.core.release.revisions import Revision
from shopset.core.release.trees import application_path, overlay_path
from shopset.core.rendering import RENDERERS, _v1
from shopset.gitops.remotes import Remotes
from shopset.gitops.writing import write_commits

SIZE, RUNS = 10_000, 5
AT = datetime(2026, 11, 25, tzinfo=UTC)
ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "x",
    "GIT_AUTHOR_EMAIL": "x@y",
    "GIT_COMMITTER_NAME": "x",
    "GIT_COMMITTER_EMAIL": "x@y",
}
numbers = itertools.count(1)


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Run git."""
    done = subprocess.run(
        ["git", "-c", "core.fsync=none", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        input=stdin,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()


def remotes(folder: Path) -> Remotes:
    """Return the three repositories, empty, in a folder."""
    for kind in Repository:
        git(folder, "init", "--quiet", "--bare", f"{kind}.git")
    return Remotes(
        {kind: str(folder / f"{kind}.git") for kind in Repository},
        folder / "cache",
        committer=SHOPSET,
        environment=ENVIRONMENT,
    )


def render(fleet: Fleet) -> Commit:
    """Render the fleet's only tier."""
    tier, renderer = fleet.tiers[0], RENDERERS.versions["v1"]
    revision = Revision("a" * 40, "b" * 40, "v1")
    writes = {"revision.yaml": revision.text, **renderer.tier_files(fleet.platform, tier)}
    for name, shopset in fleet.shopsets.items():
        writes[overlay_path(name)] = renderer.overlay(fleet, tier, shopset, ("api", "cart"))
        writes[application_path(name)] = renderer.application(fleet, tier, shopset)
    return Commit(
        "tier-0", None, "first", writes, gitlinks={"base": revision.apps, "configuration": revision.configuration}
    )


def first_commit(folder: Path) -> None:
    """Measure rendering and writing a first commit against git fast-import alone."""
    fleet = large_fleet(SIZE, 1, 50)
    commit = render(fleet)
    stream = [b"commit refs/heads/x\ncommitter x <x@y> 0 +0000\ndata 1\nx\n"]
    stream += [b"M 160000 %s %s\n" % (target.encode(), path.encode()) for path, target in commit.gitlinks.items()]
    stream += [
        b"M 100644 inline %s\ndata %d\n%b\n" % (path.encode(), len(content), content)
        for path, content in commit.writes.items()
    ]
    joined = b"".join(stream)

    def ours() -> None:
        place = Path(tempfile.mkdtemp(dir=folder))
        _v1._overlay.cache_clear()
        _v1._application.cache_clear()
        it = remotes(place)
        write_commits(it._stores[Repository.SYSTEM], {"tier-0": render(fleet)}, SHOPSET, SHOPSET, AT)
        shutil.rmtree(place)

    def peer() -> None:
        place = Path(tempfile.mkdtemp(dir=folder))
        remotes(place)
        git(place, "init", "--quiet", "--bare", "peer.git")
        git(place / "peer.git", "fast-import", "--quiet", stdin=joined)
        shutil.rmtree(place)

    seconds = alternate({"ours": ours, "peer": peer}, RUNS)
    print(f"first commit of {SIZE:,} ShopSets, rendered and written: {shown(seconds['ours'])}")
    print(f"git fast-import of the same content:               {shown(seconds['peer'])}")
    print(f"ratio: {ratio(seconds['ours'], seconds['peer']):.2f} (at most 1.5)")


def release(folder: Path, size: int) -> None:
    """Measure a release commit with its push against the same plumbing by hand."""
    place = Path(tempfile.mkdtemp(dir=folder))
    it = remotes(place)
    base = it.push_commits(push(render(large_fleet(size, 1, 50))), {})["tier-0"]
    clone = place / "clone.git"
    git(place, "clone", "--quiet", "--bare", "system.git", str(clone))
    git(place, "init", "--quiet", "--bare", "by-hand.git")
    git(clone, "push", "--quiet", str(place / "by-hand.git"), f"{base}:refs/heads/tier-0")
    heads = {"ours": base, "peer": base}

    def ours() -> None:
        revision = Revision(f"{next(numbers):040x}", "b" * 40, "v1")
        links = {"base": revision.apps, "configuration": revision.configuration}
        commit = Commit("tier-0", heads["ours"], "a release", {"revision.yaml": revision.text}, gitlinks=links)
        heads["ours"] = it.push_commits(push(commit), {})["tier-0"]

    def by_hand() -> None:
        revision = Revision(f"{next(numbers):040x}", "b" * 40, "v1")
        index = {"GIT_INDEX_FILE": str(place / "index")}
        ENVIRONMENT.update(index)
        git(clone, "read-tree", heads["peer"])
        blob = git(clone, "hash-object", "-w", "--stdin", stdin=revision.text)
        git(
            clone,
            "update-index",
            "--cacheinfo",
            f"160000,{revision.apps},base",
            "--cacheinfo",
            f"160000,{revision.configuration},configuration",
            "--cacheinfo",
            f"100644,{blob},revision.yaml",
        )
        tree = git(clone, "write-tree")
        del ENVIRONMENT["GIT_INDEX_FILE"]
        heads["peer"] = git(clone, "commit-tree", tree, "-p", heads["peer"], "-m", "a release")
        git(clone, "push", "--quiet", "--atomic", str(place / "by-hand.git"), f"{heads['peer']}:refs/heads/tier-0")

    seconds = alternate({"ours": ours, "peer": by_hand}, RUNS + 4)
    print(f"release to {size:6,} ShopSets, committed and pushed: {shown(seconds['ours'])}")
    print(f"    by hand: {shown(seconds['peer'])}; ratio {ratio(seconds['ours'], seconds['peer']):.2f} (at most 2)")


def push(commit: Commit) -> PushCommits:
    """Return an action of one commit."""
    return PushCommits(kind=ActionKind.PIN, what="x", why=(), at=AT, commits=(commit,))


def main() -> None:
    """Print both."""
    folder = Path(tempfile.mkdtemp())
    first_commit(folder)
    for size in (100, 1_000, 10_000):
        release(folder, size)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()

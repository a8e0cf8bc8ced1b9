"""From a developer's push until all Applications of a tier are Healthy at it: with shopset, and by a plain push and refresh.

Both wait for the same real Argo CD on the same bed; the difference is what shopset adds: noticing, planning, the ledger.
The programs of the bed must be on the PATH, as `scripts/test` and `scripts/testbed` put them.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lightkube import Client

from measuring import shown
from shopset.cli.scaffolding import EXAMPLE, Copy
from shopset.core.release.revisions import Revision
from shopset.kube.applications import list_applications, observed
from shopset.kube.clients import connect
from support.kubernetes import KubernetesWorld, annotated, prepare
from support.worlds import git
from testbed import beds
from testbed.keeping import end

_TIMES = 7
_COPIES = [Copy(f"{cluster}-{number}", "dev", "staging", cluster) for cluster in "abc" for number in (1, 2)]
_LIMIT = 1.0
"""Seconds that shopset may add."""


def main() -> None:
    """Print both times, and their difference."""
    home = Path(tempfile.mkdtemp(prefix="shopset-bench-"))
    bed = beds.start(home / "bed", parent=os.getpid())
    try:
        prepare(bed)
        client = connect(str(bed.kubeconfig), "management")
        worlds = []
        for name in ("with", "without"):
            (home / name).mkdir()
            world = KubernetesWorld(bed, home / name, tiers={"dev": ()}, copies=_COPIES)
            world.apply()
            controller = world.start("controller", "--poll=0.2")
            first = world.head("apps")
            world.wait("the first is verified", lambda world=world, first=first: world.verified("dev", first))  # type: ignore[misc]
            worlds.append(world)
        controller.stop()
        ours, theirs = [], []
        for number in range(_TIMES):
            ours.append(_timed(client, worlds[0], lambda number=number: worlds[0].release(f"ours {number}")))  # type: ignore[misc]
            theirs.append(_timed(client, worlds[1], _by_hand(worlds[1], number)))
        _print(ours, theirs)
        for world in worlds:
            world.close(show=False)
    finally:
        end(bed)


def _timed(client: Client, world: KubernetesWorld, push: Callable[[], str]) -> float:
    """Return the seconds from the end of a developer's push until every Application is Healthy at the commit."""
    commit = push()
    began = time.perf_counter()
    waited = [f"{world.name}-{copy.name}" for copy in world.copies]
    while not _all_at(client, world, commit, waited):
        time.sleep(0.05)
    return time.perf_counter() - began


def _all_at(client: Client, world: KubernetesWorld, commit: str, names: Sequence[str]) -> bool:
    found = {each["metadata"]["name"]: observed(each, "", "", "") for each in list_applications(client, "argocd")}
    for name in names:
        seen = found[name]
        if (seen.sync, seen.health, seen.operating) != ("Synced", "Healthy", False) or seen.commit is None:
            return False
        if git("rev-parse", f"{seen.commit}:base", folder=world.repository("system")) != commit:
            return False
    return True


def _by_hand(world: KubernetesWorld, number: int) -> Callable[[], str]:
    """Return a push that changes the base, then moves the tier's branch to it and asks for a refresh, as a person does."""

    def push() -> str:
        text = (EXAMPLE / "apps" / "cart" / "deployment.yaml").read_text()
        commit = world.push({"cart/deployment.yaml": annotated(text, f"theirs {number}")})
        work = world.folder / f"system-{number}"
        git(
            "clone",
            "--quiet",
            "--branch=tier-0",
            f"{world.bed.git_as('anna')}{world.name}/shopset-system.git",
            str(work),
        )
        revision = Revision.parse((work / "revision.yaml").read_bytes())
        (work / "revision.yaml").write_bytes(Revision(commit, revision.configuration, revision.renderer).text)
        git("add", "revision.yaml", folder=work)
        git("update-index", "--cacheinfo", f"160000,{commit},base", folder=work)
        git("commit", "--quiet", "-m", "by hand", folder=work)
        git("push", "--quiet", "origin", "tier-0", folder=work)
        names = [f"{world.name}-{copy.name}" for copy in world.copies]
        world.kubectl(
            *("annotate", "applications.argoproj.io", "-n", "argocd", "--overwrite"),
            *names,
            "argocd.argoproj.io/refresh=normal",
        )
        return commit

    return push


def _print(ours: list[float], theirs: list[float]) -> None:
    print(f"with shopset       {shown(ours)}")
    print(f"by hand            {shown(theirs)}   (from the refresh on)")
    added = statistics.median(ours) - statistics.median(theirs)
    print(f"shopset adds       {added:.2f} s of the {_LIMIT:g} s that it may")


if __name__ == "__main__":
    main()

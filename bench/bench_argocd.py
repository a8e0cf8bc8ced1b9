"""From a push until all Applications of a tier are Healthy at it: with shopset, and by a plain push and refresh.

The first clock starts when a developer's push and the webhook's request, which wakes shopset, have returned; the second when the
push of the commit that Argo CD follows has returned, after which a person asks for a refresh with kubectl. Both wait for the same
real Argo CD on the same bed; the difference is what shopset adds: noticing, building, the ledger, planning.
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

_TIMES = 15
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
            controller = world.start("controller", "--poll=60")
            first = world.head("apps")
            world.wait("the first is verified", lambda world=world, first=first: world.verified("dev", first))  # type: ignore[misc]
            worlds.append(world)
        controller.stop()
        ours_in, theirs_in = worlds
        ours, theirs = [], []
        for number in range(_TIMES):
            ours.append(_timed(client, ours_in, lambda number=number: ours_in.release(f"ours {number}")))  # type: ignore[misc]
            theirs.append(
                _timed(
                    client,
                    theirs_in,
                    lambda number=number: _push_by_hand(theirs_in, number),  # type: ignore[misc]
                    lambda: _refresh_by_hand(theirs_in),
                )
            )
        _print(ours, theirs)
        for world in worlds:
            world.close(show=False)
    finally:
        end(bed)


def _timed(
    client: Client, world: KubernetesWorld, push: Callable[[], str], then: Callable[[], None] | None = None
) -> float:
    """Return the seconds from the end of a push until every Application is Healthy at the commit of apps; `then` comes after it."""
    commit = push()
    began = time.perf_counter()
    if then is not None:
        then()
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


def _push_by_hand(world: KubernetesWorld, number: int) -> str:
    """Push a change of the base, and then move the tier's branch to it, as a person does. Returns the commit of apps."""
    text = (EXAMPLE / "apps" / "cart" / "deployment.yaml").read_text()
    commit = world.push({"cart/deployment.yaml": annotated(text, f"theirs {number}")})
    work = world.folder / f"system-{number}"
    url = f"{world.bed.git_as('anna')}{world.name}/shopset-system.git"
    git("clone", "--quiet", "--branch=tier-0", url, str(work))
    revision = Revision.parse((work / "revision.yaml").read_bytes())
    (work / "revision.yaml").write_bytes(Revision(commit, revision.configuration, revision.renderer).text)
    git("add", "revision.yaml", folder=work)
    git("update-index", "--cacheinfo", f"160000,{commit},base", folder=work)
    git("commit", "--quiet", "-m", "by hand", folder=work)
    git("push", "--quiet", "origin", "tier-0", folder=work)
    return commit


def _refresh_by_hand(world: KubernetesWorld) -> None:
    names = [f"{world.name}-{copy.name}" for copy in world.copies]
    annotation = "argocd.argoproj.io/refresh=normal"
    world.kubectl("annotate", "applications.argoproj.io", "-n", "argocd", "--overwrite", *names, annotation)


def _print(ours: list[float], theirs: list[float]) -> None:
    print(f"with shopset       {shown(ours)}")
    print(f"by hand            {shown(theirs)}")
    added = statistics.median(ours) - statistics.median(theirs)
    print(f"shopset adds       {added:.2f} s of the {_LIMIT:g} s that it may")


if __name__ == "__main__":
    main()

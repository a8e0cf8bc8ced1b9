"""200 ShopSets on real clusters: releases rolled over them end to end, and then a minute in which nothing is to be done."""

import os
import signal
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

from measuring import cpu_seconds, peak_memory, requests, spread
from shopset.cli.scaffolding import Copy
from support.kubernetes import Controller, KubernetesWorld, prepare
from support.worlds import git
from testbed import beds
from testbed.keeping import end
from testbed.kubernetes import kubectl
from testbed.records import Bed

_TIERS: Final = {"dev": 10, "beta": 40, "prod": 150}
_RELEASES = 3
_IDLE = 60.0
"""Seconds of nothing."""
_PATIENCE = 1200.0
_UNNEEDED: Final = ("api", "page", "proxy")
"""Components of the example that a small base is without."""
_ARGOCD: Final = ("argocd-application-controller", "argocd-repo-server")


def main() -> None:
    """Print the times, the CPU seconds, and what a minute of nothing costs."""
    home = Path(tempfile.mkdtemp(prefix="shopset-bench-"))
    bed = beds.start(home / "bed", parent=os.getpid())
    try:
        prepare(bed)
        world = KubernetesWorld(bed, home, tiers=dict.fromkeys(_TIERS, ()), copies=_copies())
        world.push({f"{name}/kustomization.yaml": None for name in _UNNEEDED})
        world.apply()
        controller = world.start("controller", "--poll=60", "--log-level=info")
        world.wait("the first is verified", lambda: world.verified("prod", world.head("apps")), _PATIENCE)
        _roll(bed, world, controller)
        _rest(bed, world, controller)
        controller.stop()
    finally:
        end(bed)


def _copies() -> list[Copy]:
    return [
        Copy(f"{tier}-{number:03}", tier, "production", "abc"[number % 3])
        for tier, count in _TIERS.items()
        for number in range(count)
    ]


def _roll(bed: Bed, world: KubernetesWorld, controller: Controller) -> None:
    pids = {"shopset": controller.process.pid, **{name: bed.pid(name) for name in _ARGOCD}}
    seconds: dict[str, list[float]] = {"all": [], **{tier: [] for tier in _TIERS}}
    used: dict[str, list[float]] = {name: [] for name in pids}
    for number in range(_RELEASES):
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        commit, began = world.release(str(number)), time.perf_counter()
        world.wait("the release is verified", lambda commit=commit: world.verified("prod", commit), _PATIENCE)  # type: ignore[misc]
        seconds["all"].append(time.perf_counter() - began)
        for name, pid in pids.items():
            used[name].append(cpu_seconds(pid) - before[name])
        for tier in _TIERS:
            seconds[tier].append(_lasted(world, tier, commit) / timedelta(seconds=1))
    print(f"a release over {sum(_TIERS.values())} ShopSets, from the push to the last sign-off")
    print(f"    all                             {spread(seconds['all'])}")
    for tier, count in _TIERS.items():
        print(f"    {tier + f' ({count}), pin to sign-off':31} {spread(seconds[tier])}")
    for name, taken in used.items():
        print(f"    {'CPU of ' + name:40} {spread(taken)}")
    print(f"    {'most memory of shopset':40} {peak_memory(pids['shopset']):7.0f} MiB", flush=True)


def _lasted(world: KubernetesWorld, tier: str, commit: str) -> timedelta:
    """Return how long it took from the pin to the sign-off, in whole seconds, as the ledger has it."""
    ledger = world.ledger()
    pin = next(pin for pin in ledger.pins[tier] if pin.apps == commit)
    return ledger.verified[tier][pin.revision].at - pin.at


def _rest(bed: Bed, world: KubernetesWorld, controller: Controller) -> None:
    """Let a minute pass. Argo CD's controller stands still, so that every request counted is shopset's."""
    argocd = bed.pid("argocd-application-controller")
    os.kill(argocd, signal.SIGSTOP)
    time.sleep(10)
    pid, refs, before = controller.process.pid, _refs(world), requests(_metrics(bed))
    cpu = cpu_seconds(pid)
    time.sleep(_IDLE)
    used, made = cpu_seconds(pid) - cpu, requests(_metrics(bed)) - before
    os.kill(argocd, signal.SIGCONT)
    writes = {what: number for what, number in made.items() if what.split()[0] not in ("GET", "LIST", "WATCH")}
    print(f"{_IDLE:.0f} s with nothing to do, {sum(_TIERS.values())} ShopSets")
    print(f"    writes to the API server        {sum(writes.values())} {writes or ''}")
    print(f"    reads and watches that ended    {sum(made.values()) - sum(writes.values())}")
    print(f"    pushes                          {sum(_refs(world)[name] != refs[name] for name in refs)}")
    print(f"    CPU of shopset                  {used:.2f} s, {100 * used / _IDLE:.1f} % of one core")


def _refs(world: KubernetesWorld) -> dict[str, str]:
    return {name: git("for-each-ref", folder=world.repository(name)) for name in ("system", "apps", "configuration")}


def _metrics(bed: Bed) -> str:
    return kubectl(bed.home, "management", "get", "--raw", "/metrics")


if __name__ == "__main__":
    main()

"""10,000 Applications on one API server: created by shopset's controller, and by Argo CD's ApplicationSet controller.

Both find everything that they need there when their process starts, and the clock runs until the last Application is there;
then, until they come to rest, their requests go on being counted. Argo CD's application controller stands still meanwhile.
shopset also renders, builds, commits and pushes the tier, and tells each ShopSet of it; its peer has its ten ApplicationSets
of 1,000 elements each, because one of 10,000 is larger than etcd takes. The peer limits itself to 50 requests a second
(ARGOCD_K8S_CLIENT_QPS); it is measured without that limit, and once as it is shipped.
"""

import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from lightkube import Client

from measuring import cpu_seconds, peak_memory, ratio, requests, spread
from shopset.cli.scaffolding import Copy
from shopset.core.fleets import Fleet
from shopset.core.rendering import RENDERERS
from shopset.kube.clients import RESOURCES, connect
from shopset.kube.fleets import read_fleet
from support.kubernetes import KubernetesWorld, prepare
from testbed import beds
from testbed.keeping import end
from testbed.kubernetes import apply, kubectl
from testbed.programs import beside, program
from testbed.records import Bed

_SIZE, _PER_SET, _RUNS = 10_000, 1_000, 3
_UNLIMITED: Final = {"ARGOCD_K8S_CLIENT_QPS": "100000"}
_REST: Final = 10.0
"""Seconds without a request after which a controller is at rest."""
_COPIES: Final = [Copy(f"s{number:05}", "all", "production", "abc"[number % 3]) for number in range(_SIZE)]


@dataclass(frozen=True)
class _Run:
    """What one run came to: seconds, CPU seconds, MiB."""

    seconds: float
    cpu: float
    until_rest: float
    memory: float
    requests: Counter[str]


def main() -> None:
    """Print the table."""
    home = Path(tempfile.mkdtemp(prefix="shopset-bench-"))
    bed = beds.start(home / "bed", parent=os.getpid())
    try:
        prepare(bed)
        definition = beside("argocd-repo-server", "manifests") / "crds" / "applicationset-crd.yaml"
        kubectl(bed.home, "management", "apply", "--server-side", f"--filename={definition}")
        os.kill(bed.pid("argocd-application-controller"), signal.SIGSTOP)
        client = connect(str(bed.kubeconfig), "management")
        sides: dict[str, list[_Run]] = {"shopset": [], "ApplicationSet": [], "ApplicationSet, as shipped": []}
        for number in range(_RUNS):
            world, fleet = _world(bed, home / f"run-{number}", client)
            sides["shopset"].append(_measured(bed, world.name, lambda world=world: _ours(world)))  # type: ignore[misc]
            _show("shopset", sides["shopset"][-1])
            sides["ApplicationSet"].append(_peer(bed, fleet, f"peer-{number}", _UNLIMITED))
            _show("ApplicationSet", sides["ApplicationSet"][-1])
        sides["ApplicationSet, as shipped"].append(_peer(bed, fleet, "peer-shipped", {}))
        _print(sides)
    finally:
        end(bed)


# -- shopset


def _world(bed: Bed, folder: Path, client: Client) -> tuple[KubernetesWorld, Fleet]:
    """Return a fleet of one tier, all of it in the API server, and a first revision in git."""
    folder.mkdir()
    world = KubernetesWorld(bed, folder, tiers={"all": ()}, copies=_COPIES)
    objects = world.objects()
    for each in objects:
        if each["kind"] == "Platform":
            each["spec"]["delivery"]["argocd"] = {"namespace": world.name}
    world.apply(*(each for each in objects if each["kind"] != "ShopSet"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client.create, (RESOURCES["ShopSet"](**each) for each in objects if each["kind"] == "ShopSet")))
    fleet = read_fleet(client, world.name).fleet
    assert fleet is not None
    return world, fleet


@contextmanager
def _ours(world: KubernetesWorld) -> Iterator[int]:
    controller = world.start("controller", "--poll=60", "--log-level=info")
    yield controller.process.pid
    controller.kill()


# -- the peer


def _peer(bed: Bed, fleet: Fleet, namespace: str, environment: dict[str, str]) -> _Run:
    _copy_settings(bed, namespace)
    apply(bed.home, "management", *_application_sets(fleet, namespace))
    return _measured(bed, namespace, lambda: _theirs(bed, namespace, environment))


def _copy_settings(bed: Bed, namespace: str) -> None:
    """Give a namespace all that Argo CD's own has."""
    kinds = "configmaps,secrets,appprojects.argoproj.io"
    found = json.loads(kubectl(bed.home, "management", "get", kinds, "-n", "argocd", "-o", "json"))
    apply(bed.home, "management", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for each in found["items"]:
        kept = {key: each["metadata"][key] for key in ("name", "labels") if key in each["metadata"]}
        each["metadata"] = {**kept, "namespace": namespace}
    apply(bed.home, "management", *found["items"])


def _application_sets(fleet: Fleet, namespace: str) -> Iterator[dict[str, Any]]:
    """Yield ApplicationSets that make the very Applications that shopset makes."""
    shopsets = list(fleet.shopsets.values())
    rendered = RENDERERS.versions["v1"].application(fleet, fleet.tiers[0], shopsets[0])
    template = json.loads(json.dumps(yaml.safe_load(rendered)).replace(shopsets[0].name, "{{.name}}"))
    template["spec"]["destination"]["name"] = "{{.cluster}}"
    metadata = {key: value for key, value in template["metadata"].items() if key != "namespace"}
    for number in range(0, len(shopsets), _PER_SET):
        part = shopsets[number : number + _PER_SET]
        elements = [{"name": each.name, "cluster": each.spec.cluster} for each in part]
        yield {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "ApplicationSet",
            "metadata": {"name": f"set-{number}", "namespace": namespace},
            "spec": {
                "goTemplate": True,
                "generators": [{"list": {"elements": elements}}],
                "template": {"metadata": metadata, "spec": template["spec"]},
            },
        }


@contextmanager
def _theirs(bed: Bed, namespace: str, environment: dict[str, str]) -> Iterator[int]:
    addresses = [f"--{name}-addr=127.0.0.1:0" for name in ("metrics", "probe", "webhook")]
    command = ["argocd-applicationset-controller", f"--namespace={namespace}", *addresses]
    kubeconfig = {"KUBECONFIG": str(bed.home / "management" / "kubeconfig")}
    with (bed.home / "logs" / f"{namespace}.log").open("wb") as log:
        process = subprocess.Popen(
            [program("setpriv"), "--pdeathsig", "KILL", "--", program(command[0]), *command[1:]],
            env={**os.environ, **kubeconfig, **environment},
            stdout=log,
            stderr=log,
        )
    yield process.pid
    process.kill()
    process.wait()


# -- measuring


def _measured(bed: Bed, namespace: str, start: Callable[[], Any]) -> _Run:
    """Start a controller, wait until it has made all Applications of a namespace and is at rest, and end it."""
    before = _requests(bed)
    began = time.perf_counter()
    with start() as pid:
        while _count(bed, namespace) < _SIZE:
            assert Path(f"/proc/{pid}").exists(), "it ended"
            time.sleep(0.3)
        seconds, cpu = time.perf_counter() - began, cpu_seconds(pid)
        rested = _rest(bed)
        return _Run(seconds, cpu, rested - began, peak_memory(pid), _requests(bed) - before)


def _rest(bed: Bed) -> float:
    """Wait until nobody asks for anything any more. Returns since when."""
    seen, since = _requests(bed), time.perf_counter()
    while time.perf_counter() < since + _REST:
        time.sleep(1)
        now = _requests(bed)
        if now != seen:
            seen, since = now, time.perf_counter()
    return since


def _requests(bed: Bed) -> Counter[str]:
    found = requests(kubectl(bed.home, "management", "get", "--raw", "/metrics"))
    # The bench's own counting.
    return Counter({what: number for what, number in found.items() if what != "LIST applications"})


def _count(bed: Bed, namespace: str) -> int:
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications?limit=1"
    found = json.loads(kubectl(bed.home, "management", "get", "--raw", path))
    return len(found["items"]) + int(found["metadata"].get("remainingItemCount", 0))


def _show(name: str, run: _Run) -> None:
    print(
        f"{name}: {run.seconds:.1f} s, CPU {run.cpu:.1f} s, at rest after {run.until_rest:.1f} s, {run.memory:.0f} MiB"
    )
    print(f"    {dict(run.requests.most_common())}", flush=True)


def _print(sides: dict[str, list[_Run]]) -> None:
    print(f"\n{_SIZE:,} Applications")
    for name, runs in sides.items():
        print(name)
        print(f"    all there after   {spread([run.seconds for run in runs])}")
        print(f"    CPU until then    {spread([run.cpu for run in runs])}")
        print(f"    at rest after     {spread([run.until_rest for run in runs])}")
        print(f"    most memory       {spread([run.memory for run in runs], 'MiB')}")
        total = [float(run.requests.total()) for run in runs]
        print(f"    requests          {statistics.median(total):,.0f}: {dict(runs[-1].requests.most_common())}")
    ours, theirs = ([run.seconds for run in sides[name]] for name in ("shopset", "ApplicationSet"))
    print(f"ratio of the times: {ratio(ours, theirs):.2f} (at most 1)")


if __name__ == "__main__":
    main()

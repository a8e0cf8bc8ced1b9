"""An Argo CD in each cluster, and the ids of the images in its Pods: what is reached by the contexts of one kubeconfig."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shopset.cli.scaffolding import Copy
from support.kubernetes import ROOT, KubernetesWorld
from testbed.argocd import application_controller, install_argocd
from testbed.processes import Processes
from testbed.records import Bed, kubeconfig


@pytest.fixture
def members(bed: Bed) -> Iterator[None]:
    """An Argo CD in the clusters a and c."""
    processes = Processes(bed.home / "logs")
    try:
        for cluster in ("a", "c"):
            install_argocd(bed.home, cluster, bed.git, {})
            processes.start(application_controller(bed.home, cluster, bed.redis, bed.repo_server))
        yield
    finally:
        processes.stop()


def kubeconfig_of_members(world: KubernetesWorld) -> Path:
    """Return a kubeconfig for the clusters a and c that allows what deploy/members does, and nothing else."""
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}
    for name in ("a", "c"):
        world.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy" / "members"), cluster=name)
        token = world.kubectl("create", "token", "shopset-member", "-n", "shopset", cluster=name).strip()
        authority = {name: world.bed.home / name / "apiserver.crt"}
        found = json.loads(kubeconfig({name: world.bed.servers[name]}, authority, token))
        found["users"][0]["name"] = found["contexts"][0]["context"]["user"] = name
        for key in ("clusters", "users", "contexts"):
            merged[key] += found[key]
    path = world.folder / "members.kubeconfig"
    path.write_text(json.dumps(merged))
    return path


def apply(world: KubernetesWorld) -> None:
    objects = world.objects()
    for each in objects:
        if each["kind"] == "Platform":
            each["spec"]["delivery"] = {"argocd": {"instances": "PerCluster"}}
            each["spec"]["images"] = {"evidence": "Ids"}
    world.apply(*objects)


@pytest.mark.takes_a_part_away
@pytest.mark.usefixtures("members")
def test_a_release_over_clusters_with_an_argo_cd_each(world: KubernetesWorld) -> None:
    world.tiers = {"dev": (), "prod": ("bake: 1s",)}
    world.copies = (Copy("c-1", "dev", "staging", "c"), Copy("a-1", "prod", "production", "a"))
    apply(world)
    world.begin("--timeout=5", f"--members={kubeconfig_of_members(world)}", "--poll=5")
    assert not world.application("a-1")
    assert [applications(world, name) for name in ("a", "c")] == [[f"{world.name}-a-1"], [f"{world.name}-c-1"]]
    below, above = (next(iter(world.ledger().verified[tier].values())) for tier in ("dev", "prod"))
    assert below.image_ids
    assert above.image_ids == below.image_ids
    assert [(gate.name, gate.result) for gate in above.gates] == [("image ids", "Pass")]

    # Somebody pushes another image under the tag that the page has, and prod's node pulls it.
    move_the_tag(world, "page")
    second = world.release("2")
    world.wait("prod rejects the second", lambda: world.ledger().rejected.get("prod"))
    assert world.verified("dev", second)
    (rejection,) = world.ledger().rejected["prod"].values()
    assert "the tag was moved" in rejection.message

    # A ShopSet that moves to another cluster is gone from the first.
    world.copies = (Copy("c-1", "dev", "staging", "a"), world.copies[1])
    apply(world)
    moved = [[f"{world.name}-a-1", f"{world.name}-c-1"], []]
    world.wait("it has moved", lambda: [applications(world, name) for name in ("a", "c")] == moved)

    # One cluster that does not answer is told of, and takes no other with it.
    os.kill(world.bed.pid("c-apiserver"), signal.SIGSTOP)
    try:
        world.wait("it is told", lambda: world.condition("cluster", "c", "Observed").get("status") == "False")
        assert world.condition("cluster", "a", "Observed").get("status") == "True"
    finally:
        os.kill(world.bed.pid("c-apiserver"), signal.SIGCONT)
    world.wait("it is back", lambda: world.condition("cluster", "c", "Observed").get("status") == "True")


def applications(world: KubernetesWorld, cluster: str) -> list[str]:
    """Return the names of this fleet's Applications in a cluster."""
    found = world.kubectl("get", "applications.argoproj.io", "-n", "argocd", "-o", "name", cluster=cluster).split()
    return sorted(name for each in found if (name := each.rpartition("/")[2]).startswith(f"{world.name}-"))


def move_the_tag(world: KubernetesWorld, component: str) -> None:
    """Let a running Pod of prod say that its image has another id."""
    namespace = f"{world.name}-a-1"
    pods = json.loads(world.kubectl("get", "pods", "-n", namespace, "-o", "json", cluster="a"))["items"]
    pod = next(each for each in pods if each["metadata"]["name"].startswith(component))
    statuses = [{**each, "imageID": "sha256:" + "0" * 64} for each in pod["status"]["containerStatuses"]]
    patch = json.dumps({"status": {"containerStatuses": statuses}})
    name = pod["metadata"]["name"]
    world.kubectl(
        "patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch, cluster="a"
    )

"""What platform engineers change while releases go on: the tier of a ShopSet, and the clusters."""

import base64
import json
from typing import Any

from shopset.cli.scaffolding import Copy
from support.histories import check_history
from support.kubernetes import KubernetesWorld
from support.worlds import git
from testbed.kubernetes import TOKEN


def test_a_shopset_changes_its_tier(small: KubernetesWorld) -> None:
    small.copies = (*small.copies, Copy("b-1", "dev", "staging", "b"))
    small.apply()
    small.begin()
    small.wait("b-1 is ready", lambda: small.status("shopset", "b-1").get("ready"))
    before = cart(small, "b-1")
    assert overlays(small) == {"tier-0": ["b-1", "c-1"], "tier-1": ["a-1"]}

    small.apply(small.control("Hold", "sale", tier="prod"))
    small.wait("prod is held", lambda: small.ledger().active_holds("prod"))
    small.kubectl("patch", "shopset", "b-1", "-n", small.name, "--type=merge", "-p", '{"spec": {"tier": "prod"}}')
    small.wait("it waits", lambda: small.condition("shopset", "b-1", "Placed").get("reason") == "TierChanges")
    second = small.release("2")
    small.wait("dev verifies the second", lambda: small.verified("dev", second))
    assert overlays(small) == {"tier-0": ["b-1", "c-1"], "tier-1": ["a-1"]}

    small.kubectl("delete", "hold", "sale", "-n", small.name)
    small.wait("it has moved", lambda: overlays(small) == {"tier-0": ["c-1"], "tier-1": ["a-1", "b-1"]})
    small.wait("prod verifies the second", lambda: small.verified("prod", second))
    small.wait("it runs with prod", lambda: small.application("b-1")["spec"]["source"]["targetRevision"] == "tier-1")
    small.wait("b-1 is ready", lambda: small.status("shopset", "b-1").get("ready"))
    after = cart(small, "b-1")
    assert after["metadata"]["uid"] == before["metadata"]["uid"], "it was made anew"
    assert after["metadata"]["labels"]["shopset.dev/tier"] == "prod"
    third = small.release("3")
    small.wait("prod verifies the third", lambda: small.verified("prod", third))
    ledger = small.ledger()
    ran = {
        tier: [each.name for each in ledger.verified[tier][ledger.pins[tier][-1].revision].shopsets]
        for tier in ("dev", "prod")
    }
    assert ran == {"dev": ["c-1"], "prod": ["a-1", "b-1"]}
    check_history(small)


def test_a_cluster_comes_and_goes(small: KubernetesWorld) -> None:
    small.begin()
    name = f"{small.name}-late"
    late = Copy("d-1", "prod", "production", name)
    small.copies = (*small.copies, late)
    small.topology = {**small.topology, name: {"region": "late"}}
    small.apply()
    small.wait(
        "it is not known", lambda: small.condition("cluster", name, "Observed").get("reason") == "ClusterUnknown"
    )
    assert name in small.condition("cluster", name, "Observed")["message"]
    assert not small.status("shopset", "d-1")["ready"]
    assert small.status("tier", "prod")["phase"] == "Verified"

    small.apply(cluster_secret(small, name, "b"))
    try:
        # By itself Argo CD looks again after a minute.
        application = ("applications.argoproj.io", f"{small.name}-d-1", "-n", "argocd")
        small.kubectl("annotate", *application, "argocd.argoproj.io/refresh=normal", "--overwrite")
        small.wait("d-1 is ready", lambda: small.status("shopset", "d-1").get("ready"))
        small.wait("it is known", lambda: small.condition("cluster", name, "Observed").get("status") == "True")
        second = small.release("2")
        small.wait("prod verifies the second", lambda: small.verified("prod", second))
        evidence = small.ledger().verified["prod"][small.ledger().pins["prod"][-1].revision]
        assert [(each.name, each.cluster) for each in evidence.shopsets] == [("a-1", "a"), ("d-1", name)]
        small.kubectl("delete", "shopset", "d-1", "-n", small.name, "--timeout=60s")
        assert not small.application("d-1")
    finally:
        small.kubectl("delete", "secret", name, "-n", "argocd")
    small.kubectl("delete", "cluster.shopset.dev", name, "-n", small.name)
    third = small.release("3")
    small.wait("prod verifies the third", lambda: small.verified("prod", third))
    check_history(small)


def overlays(world: KubernetesWorld) -> dict[str, list[str]]:
    """Return branch -> ShopSets in its tree."""
    folder = world.repository("system")
    return {
        branch: git("ls-tree", "--name-only", f"{branch}:overlays", folder=folder).splitlines()
        for branch in ("tier-0", "tier-1")
    }


def cart(world: KubernetesWorld, shopset: str) -> dict[str, Any]:
    """Return the cart's Deployment of a ShopSet, from its cluster."""
    namespace = f"{world.name}-{shopset}"
    return dict(
        json.loads(world.kubectl("get", "deployment", "cart", "-n", namespace, "-o", "json", cluster=shopset[0]))
    )


def cluster_secret(world: KubernetesWorld, name: str, like: str) -> dict[str, Any]:
    """Return what makes a cluster known to Argo CD: one that the bed has, by another URL and name."""
    server = world.bed.servers[like].replace("127.0.0.1", "localhost")
    authority = base64.b64encode((world.bed.home / like / "apiserver.crt").read_bytes()).decode()
    config = {"bearerToken": TOKEN, "tlsClientConfig": {"caData": authority, "serverName": "127.0.0.1"}}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "argocd", "labels": {"argocd.argoproj.io/secret-type": "cluster"}},
        "stringData": {"name": name, "server": server, "config": json.dumps(config)},
    }

"""Shops on real clusters: they are placed, one cluster is lost and comes back, another is emptied, and a release goes on."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import pytest

from shopset.cli.scaffolding import Copy
from support.kubernetes import KubernetesWorld, away
from testbed.kubernetes import upgraded
from testbed.records import write

SHOPS: Final = tuple(f"shop-{number}" for number in range(12))
STANDARD: Final = {"tier": "prod", "configuration": "production", "replicas": 2, "across": ["cluster"]}
REASON: Final = "--reason=a test"


def resource(world: KubernetesWorld, kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": world.name}
    return {"apiVersion": "shopset.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": dict(spec)}


@pytest.fixture
def placed(world: KubernetesWorld) -> KubernetesWorld:
    """Three clusters with a ShopSet of prod each, and twelve shops with two replicas each."""
    world.tiers = {"dev": (), "prod": ("bake: 1s",)}
    world.copies = (
        Copy("c-1", "dev", "staging", "c"),
        *(Copy(f"{name}-2", "prod", "production", name) for name in "abc"),
    )
    placement = {"waves": {"share": 30, "pause": "1s"}, "groupsPerShopset": 4}
    world.platform = {**world.platform, "placement": {**world.platform.get("placement", {}), **placement}}
    shops = [resource(world, "Shop", name, {"hosts": [f"{name}.example.com"], "class": "standard"}) for name in SHOPS]
    world.apply(*world.objects(), resource(world, "ShopClass", "standard", STANDARD), *shops)
    world.begin(members(world), "--poll=5")
    world.wait("the shops are placed", lambda: all(len(each) == 2 for each in told(world).values()))
    return world


def members(world: KubernetesWorld) -> str:
    return f"--members={world.bed.kubeconfig}"


def bake_for(world: KubernetesWorld, span: str) -> None:
    """Let prod bake for as long."""
    world.tiers = {**world.tiers, "prod": (f"bake: {span}",)}
    world.apply(*(each for each in world.objects() if each["kind"] == "Tier"))


def told(world: KubernetesWorld) -> dict[str, tuple[str, ...]]:
    """Return where the statuses say that the shops are."""
    return {name: tuple(world.status("shop", name).get("replicas", ())) for name in SHOPS}


def in_git(world: KubernetesWorld) -> dict[str, tuple[str, ...]]:
    """Return where the branch `placement` says that the shops are."""
    placement = world.placement()
    found = {name: placement.shop(name) for name in SHOPS}
    return {name: where.group.replicas for name, where in found.items() if where is not None}


def none_is_on(world: KubernetesWorld, shopset: str) -> bool:
    found = told(world)
    return found == in_git(world) and all(len(each) == 2 and shopset not in each for each in found.values())


def state(world: KubernetesWorld, cluster: str) -> str:
    return str(world.status("cluster", cluster).get("state"))


def returned(world: KubernetesWorld, cluster: str) -> str:
    """Return what a cluster that returns waits for."""
    return str(world.condition("cluster", cluster, "Returned").get("message", ""))


@pytest.mark.takes_a_part_away
def test_a_lost_cluster_is_left_and_comes_home_while_a_release_goes_on(placed: KubernetesWorld) -> None:
    before = told(placed)
    assert any("a-2" in each for each in before.values())
    assert placed.status("shopset", "a-2")["shops"] == sum("a-2" in each for each in before.values())
    with away(placed.bed, "a-apiserver"):
        second = placed.release("2")
        placed.shopctl("cluster", "lost", "a", REASON, "--no-wait")
        placed.wait("no shop is on a", partial(none_is_on, placed, "a-2"))
        placed.wait("the release goes on without a", lambda: placed.verified("prod", second))
        placed.wait("it is told", lambda: state(placed, "a") == "Lost")
    # Only replicas that were on it have moved.
    for name, replicas in told(placed).items():
        assert set(before[name]) - {"a-2"} <= set(replicas)
    placed.shopctl("cluster", "return", "a", REASON, "--no-wait")
    placed.wait("a is back", lambda: not placed.ledger().clusters)
    placed.wait("the shops are home", lambda: told(placed) == before)
    assert in_git(placed) == before


@pytest.mark.takes_a_part_away
def test_a_drain_is_gone_on_with_by_another_controller_and_the_shops_return_to_the_new_version(
    placed: KubernetesWorld,
) -> None:
    before = told(placed)
    controller = placed.controllers[-1]
    placed.shopctl("cluster", "drain", "b", "--for-upgrade=v1.37.0", REASON, "--no-wait", "--during-bake")
    placed.wait("the first wave", lambda: in_git(placed) != before)
    controller.kill()
    placed.start("another", members(placed), "--poll=5")
    third = placed.release("3")
    placed.wait("no shop is on b", partial(none_is_on, placed, "b-2"))
    placed.wait("b is empty", lambda: placed.ledger().clusters["b"].state == "Upgrading")
    placed.wait("the release goes on, on b too", lambda: placed.runs("b-2", third))
    assert not any("b-2" in each for each in in_git(placed).values())
    placed.shopctl("cluster", "return", "b", REASON, "--no-wait")
    placed.wait("it waits for its version", lambda: "v1.37.0" in returned(placed, "b"))
    assert placed.status("cluster", "b")["version"] in returned(placed, "b")
    assert none_is_on(placed, "b-2")
    with upgraded(placed.bed, "b"):
        placed.wait("b is back", lambda: not placed.ledger().clusters)
        placed.wait("the shops are home", lambda: told(placed) == in_git(placed) == before)
        assert (
            json.loads(placed.kubectl("version", "-o", "json", cluster="b"))["serverVersion"]["gitVersion"] == "v1.37.0"
        )


def test_a_cluster_that_kubectl_wishes_drained_is_emptied_and_one_shopset_less_is_no_loss(
    placed: KubernetesWorld,
) -> None:
    wished, before = placed.get("cluster", "b"), in_git(placed)
    bake_for(placed, "1h")
    placed.release("2")
    placed.wait("the release bakes", lambda: placed.status("tier", "prod").get("phase") == "Baking")
    placed.apply(resource(placed, "Cluster", "b", {**wished["spec"], "wish": "Drained"}))
    placed.wait("the wish waits", lambda: placed.condition("cluster", "b", "Drained").get("reason") == "Waiting")
    assert "prod is baking" in placed.condition("cluster", "b", "Drained")["message"]
    assert in_git(placed) == before
    placed.apply(resource(placed, "Cluster", "b", {**wished["spec"], "wish": "Drained", "duringBake": True}))
    placed.wait("no shop is on b", partial(none_is_on, placed, "b-2"))
    assert placed.status("tier", "prod")["phase"] == "Baking"
    bake_for(placed, "1s")
    placed.apply(resource(placed, "Cluster", "b", {**wished["spec"], "wish": "Active"}))
    served = sum("c-2" in each for each in told(placed).values())
    assert served
    placed.kubectl("delete", "shopset", "c-2", "-n", placed.name, "--wait=false")
    placed.wait("no shop is on c-2", partial(none_is_on, placed, "c-2"))
    placed.wait("it is gone", lambda: not placed.get("shopset", "c-2"))
    placed.wait("its Application too", lambda: not placed.application("c-2"))
    log = placed.controllers[-1].log.read_text()
    assert 0 < log.index("the fleet has no ShopSet c-2 any more") < log.index("prod follows the fleet: remove c-2")


@pytest.fixture
def outside(world: KubernetesWorld) -> Iterator[Callable[[str], None]]:
    """Probes of the clusters from outside, which all succeed; the test says where they fail."""
    bed, name = world.bed, world.name

    def fail(cluster: str) -> None:
        lines = (f'probe_success{{cluster="{each}"}} {int(each != cluster)}\n' for each in "abc")
        write(bed.metrics / name, "".join(lines))

    fail("")
    bed.watch_metrics(name)
    query = f'max by (cluster) (probe_success{{job="{name}"}})'
    world.platform = {
        "monitoring": {"prometheus": {"url": bed.prometheus}},
        "placement": {"healthQuery": {"query": query}},
    }
    yield fail
    (bed.home / "prometheus" / "targets" / f"{name}.json").unlink()


@pytest.mark.takes_a_part_away
def test_a_cluster_that_fails_is_declared_lost_where_the_classes_let_that_be_done(
    outside: Callable[[str], None], placed: KubernetesWorld
) -> None:
    placed.apply(resource(placed, "ShopClass", "standard", {**STANDARD, "failover": {"after": "5s"}}))
    with away(placed.bed, "a-apiserver"):
        outside("a")
        placed.wait("a is declared lost", lambda: state(placed, "a") == "Lost")
        placed.wait("no shop is on a", partial(none_is_on, placed, "a-2"))
    record = placed.ledger().clusters["a"]
    assert record.by.startswith("shopset <")
    assert "its API server: " in record.reason
    assert "Prometheus: " in record.reason

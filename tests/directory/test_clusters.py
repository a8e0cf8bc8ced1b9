"""Directory clusters on real git and the real kustomize."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from shopset.core.release.plans import Phase
from shopset.directory.clusters import DirectoryClusters
from support.worlds import World, git


def clusters_of(world: World) -> DirectoryClusters:
    assert world.workplace.clusters is not None
    return world.workplace.clusters


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {"dev": ("failureGrace: 1s",), "beta": ("failureGrace: 1s",), "prod": ("failureGrace: 1s",)})


def test_objects_are_written_and_the_status_is_synced_at_the_pin(world: World) -> None:
    world.climb("dev")
    _, observed = world.plan()
    found = observed.applications["c-1"]
    assert (found.sync, found.health, found.commit) == ("Synced", "Healthy", observed.tiers["dev"].head)
    objects = world.folder / "clusters" / "c" / "namespaces" / "shopset-c-1"
    deployment = yaml.safe_load((objects / "Deployment-cart.yaml").read_text())
    assert deployment["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] == "database.staging.example.com"
    assert deployment["metadata"]["labels"]["shopset.dev/tier"] == "dev"


def test_what_leaves_the_base_is_pruned(world: World) -> None:
    world.climb("dev")
    objects = world.folder / "clusters" / "c" / "namespaces" / "shopset-c-1"
    assert (objects / "Service-page.yaml").exists()
    world.push({"page/service.yaml": None, "page/kustomization.yaml": "resources: [deployment.yaml]\n"})
    world.climb("dev")
    assert not (objects / "Service-page.yaml").exists()
    assert (objects / "Deployment-page.yaml").exists()


def test_a_degraded_annotation_fails_only_the_named_tier(world: World) -> None:
    world.climb()
    commit = world.annotate(degraded="beta", message="carts fail")
    observed = world.settle(lambda _, seen: bool(seen.ledger.rejected.get("beta")))
    (rejection,) = observed.ledger.rejected["beta"].values()
    assert "carts fail" in rejection.message
    assert observed.ledger.is_verified("dev", rejection.revision)
    revision = observed.tiers["prod"].revision
    assert revision is not None
    assert revision.apps != commit


def test_degraded_after_a_while_is_first_healthy(world: World) -> None:
    world.annotate(degraded="dev", degraded_after="3s")
    world.step()
    world.step(0)
    assert world.plan()[1].applications["c-1"].health == "Healthy"
    world.now += timedelta(seconds=5)
    world.workplace.reconcile()
    assert world.plan()[1].applications["c-1"].health == "Degraded"


def test_starting_is_progressing(world: World) -> None:
    world.annotate(starting="10s")
    world.step()
    plan = world.step()
    assert plan.outlooks["dev"].progress.phase is Phase.SYNCING
    assert "Progressing" in plan.outlooks["dev"].progress.detail


def test_a_lost_cluster_is_a_trouble_and_the_others_go_on(world: World) -> None:
    world.climb("dev")
    (world.folder / "clusters" / "c" / "LOST").touch()
    plan, observed = world.plan()
    assert observed.deliveries["c"].reason == "ClusterUnreachable"
    assert any(condition.resource == "Cluster/c" for condition in plan.conditions)
    world.climb("beta")


def test_a_removed_shopset_takes_its_objects_along(world: World) -> None:
    world.climb()
    objects = world.folder / "clusters" / "b" / "namespaces" / "shopset-b-2"
    assert list(objects.glob("*.yaml"))
    world.change([copy for copy in world.copies if copy.name != "b-2"])
    for _ in range(3):
        world.step()
    assert not list(objects.glob("*.yaml"))


@pytest.mark.parametrize("what", ["checkouts", "status", "namespaces"])
def test_whatever_is_lost_of_a_cluster_comes_back(world: World, what: str) -> None:
    world.climb("dev")
    shutil.rmtree(world.folder / "clusters" / "c" / what)
    world.annotate(release="2")
    world.climb("dev")


def test_damaged_files_are_found_out_again(world: World) -> None:
    world.climb("dev")
    cluster = world.folder / "clusters" / "c"
    (cluster / "status" / "shop-c-1.yaml").write_text("{")
    (cluster / "applications" / "shop-c-1.yaml").write_text("half of a fi")
    world.step()
    world.step()
    assert world.plan()[1].applications["c-1"].sync == "Synced"


def test_nothing_is_built_again_where_nothing_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.climb()
    monkeypatch.setattr(clusters_of(world), "_build", lambda _: pytest.fail("it was built again"))
    world.workplace.reconcile()


def test_a_repository_that_is_away_is_unknown_and_comes_back(world: World) -> None:
    world.climb("dev")
    away = world.repository("system").rename(world.folder / "away")
    world.workplace.reconcile()
    assert clusters_of(world).observe({})[0]["c-1"].sync == "Unknown"
    away.rename(world.repository("system"))
    world.workplace.reconcile()
    assert clusters_of(world).observe({})[0]["c-1"].sync == "Synced"
    assert git("rev-parse", "tier-0", folder=world.repository("system"))


def test_a_base_that_only_breaks_in_a_cluster_is_degraded_with_the_reason(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.climb("dev")
    before = clusters_of(world).observe({})[0]["c-1"]
    monkeypatch.setattr(clusters_of(world), "_build", lambda _: ("", "kustomize build failed: no such patch"))
    world.annotate(release="2")
    world.step()
    world.workplace.reconcile()
    found = clusters_of(world).observe({})[0]["c-1"]
    assert (found.sync, found.health, "no such patch" in found.sync_error) == ("OutOfSync", "Degraded", True)
    assert found.commit != before.commit

"""Directory clusters whose manifests, files and times a test decides: one ShopSet on real git, its kustomize pretended."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shopset.core.release.observed import ObservedApplication
from shopset.directory.clusters import DirectoryClusters, DirectoryError
from shopset.manifests import KustomizeStoppedError
from support.worlds import ENVIRONMENT, git

CART = "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shopset-a-1}\n"
ROLE = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: cart}\n"


class Cluster:
    """A cluster `a` with the ShopSet a-1 and a cluster `b` with b-1."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repository = folder / "clusters", folder / "system"
        self.now = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
        self.built = (CART, "")
        self.builds, self.stopped = 0, ""
        git("init", "--quiet", "--initial-branch=tier-0", str(self.repository))
        self.release("1")
        self.clusters = DirectoryClusters(self.folder, ("a", "b"), self.build, lambda: self.now, ENVIRONMENT)
        for shopset in ("a-1", "b-1"):
            self.apply(shopset)

    def build(self, folder: Path) -> tuple[str, str]:
        self.builds += 1
        if self.stopped:
            raise KustomizeStoppedError(self.stopped)
        text, problem = self.built
        return text.replace("shopset-a-1", f"shopset-{folder.name}"), problem

    def apply(self, shopset: str) -> None:
        manifest = (
            f"metadata: {{name: shop-{shopset}, labels: {{shopset.dev/shopset: {shopset}}}}}\nspec:\n"
            f"  source: {{repoURL: '{self.repository}', targetRevision: tier-0, path: overlays/{shopset}}}\n"
            f"  destination: {{namespace: shopset-{shopset}}}\n"
        )
        self.clusters.apply(shopset[0], f"shop-{shopset}", manifest.encode())

    def release(self, text: str) -> None:
        for shopset in ("a-1", "b-1"):
            (self.repository / "overlays" / shopset).mkdir(parents=True, exist_ok=True)
            (self.repository / "overlays" / shopset / "kustomization.yaml").write_text(text)
        git("add", "--all", folder=self.repository)
        git("commit", "--quiet", "--allow-empty", "--message", text, folder=self.repository)

    def step(self, seconds: float = 0) -> ObservedApplication:
        self.now += timedelta(seconds=seconds)
        self.clusters.reconcile()
        applications, troubles = self.clusters.observe({})
        assert not troubles
        return applications["a-1"]

    def objects(self, cluster: str = "a") -> set[str]:
        folders = (self.folder / cluster / "namespaces", self.folder / cluster / "cluster")
        return {path.name for folder in folders for path in folder.rglob("*.yaml")}


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_a_commit_that_changes_nothing_is_seen_without_a_build(cluster: Cluster) -> None:
    before = cluster.step()
    cluster.release("1")
    after = cluster.step(5)
    assert (cluster.builds, after.synced_at, after.health_since) == (2, before.synced_at, before.health_since)
    assert after.commit != before.commit


def test_what_belongs_to_the_whole_cluster_and_names_a_namespace_is_installed_once(cluster: Cluster) -> None:
    cluster.built = (f"{CART}---\n{ROLE.replace('cart}', 'cart, namespace: kube-system}')}", "")
    before = cluster.step()
    assert cluster.step(5) == before
    assert cluster.builds == 2
    assert cluster.objects() == {"Service-cart.yaml", "ClusterRole-cart.yaml"}


def test_a_sync_keeps_the_time_since_which_it_is_healthy(cluster: Cluster) -> None:
    before = cluster.step()
    cluster.release("2")
    after = cluster.step(5)
    assert (after.synced_at, after.health_since) == (cluster.now, before.health_since)


@pytest.mark.parametrize("built", [("", "no such patch"), ("a: [", ""), ("kind: x", ""), (f"{CART}x: {{1: 2}}", "")])
def test_what_cannot_be_built_leaves_the_objects_as_they_were(cluster: Cluster, built: tuple[str, str]) -> None:
    before = cluster.step()
    cluster.release("2")
    cluster.built = built
    after = cluster.step(1)
    assert (after.sync, after.health, after.synced_at) == ("OutOfSync", "Degraded", before.synced_at)
    assert after.message == after.sync_error != ""
    assert after.commit != before.commit
    assert cluster.objects() == {"Service-cart.yaml"}


def test_a_sync_that_failed_is_tried_again_after_a_while(cluster: Cluster) -> None:
    cluster.built = ("", "it took too long")
    failed = cluster.step()
    cluster.built = (CART, "")
    assert cluster.step(10) == failed
    found = cluster.step(30)
    assert (found.sync, found.sync_error, found.health, found.health_since) == ("Synced", "", "Healthy", cluster.now)


def test_a_failed_sync_is_left_at_once_for_another_commit(cluster: Cluster) -> None:
    cluster.built = ("", "no such patch")
    cluster.step()
    cluster.built = (CART, "")
    cluster.release("2")
    assert cluster.step(1).sync == "Synced"


def test_a_repository_that_is_away_changes_nothing_but_what_is_known(cluster: Cluster) -> None:
    before = cluster.step()
    away = cluster.repository.rename(cluster.repository.parent / "away")
    during = cluster.step(5)
    assert (during.sync, during.health, during.commit) == ("Unknown", "Healthy", before.commit)
    assert "system" in during.message
    away.rename(cluster.repository)
    assert cluster.step(5) == before
    assert cluster.builds == 2


def test_a_build_that_cannot_be_tried_is_no_failure_and_tried_again(cluster: Cluster) -> None:
    before = cluster.step()
    cluster.release("2")
    cluster.stopped = "no memory"
    during = cluster.step(1)
    assert (during.sync, during.health, during.message) == ("Unknown", "Healthy", "no memory")
    assert (during.sync_error, during.commit) == ("", before.commit)
    cluster.stopped = ""
    assert cluster.step(1).sync == "Synced"


def test_an_object_that_someone_removed_comes_back(cluster: Cluster) -> None:
    cluster.step()
    (cluster.folder / "a" / "namespaces" / "shopset-a-1" / "Service-cart.yaml").unlink()
    cluster.step()
    assert cluster.objects() == {"Service-cart.yaml"}
    assert cluster.builds == 3


def test_objects_that_left_are_removed_although_the_status_was_lost(cluster: Cluster) -> None:
    cluster.built = (CART + "---\n" + CART.replace("cart", "page"), "")
    cluster.step()
    (cluster.folder / "a" / "status" / "shop-a-1.yaml").unlink()
    cluster.built = (CART, "")
    cluster.step()
    assert cluster.objects() == {"Service-cart.yaml"}


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_deleted_application_takes_its_objects_along(cluster: Cluster, forgotten: bool) -> None:
    cluster.built = (CART if forgotten else f"{CART}---\n{ROLE}", "")
    cluster.step()
    assert cluster.objects()
    cluster.clusters.delete("a", "shop-a-1")
    cluster.clusters.delete("a", "shop-a-1")
    if forgotten:
        (cluster.folder / "a" / "status" / "shop-a-1.yaml").unlink()
    cluster.clusters.reconcile()
    assert cluster.objects() == set()
    assert list((cluster.folder / "a" / "status").iterdir()) == []


def test_an_application_that_cannot_be_read_keeps_its_objects(cluster: Cluster) -> None:
    cluster.step()
    (cluster.folder / "a" / "applications" / "shop-a-1.yaml").write_text("half of a fi")
    cluster.clusters.reconcile()
    applications, troubles = cluster.clusters.observe({})
    assert (list(applications), troubles) == (["b-1"], {})
    assert cluster.objects() == {"Service-cart.yaml"}
    cluster.apply("a-1")
    assert cluster.step().sync == "Synced"


@pytest.mark.parametrize("folder", ["status", "namespaces", "checkouts"])
def test_a_cluster_that_cannot_be_written_is_a_trouble_of_its_own(cluster: Cluster, folder: str) -> None:
    (cluster.folder / "a" / folder).write_text("a file where a folder should be")
    cluster.clusters.reconcile()
    applications, troubles = cluster.clusters.observe({})
    assert (troubles["a"].reason, str(cluster.folder / "a") in troubles["a"].message) == ("ClusterUnwritable", True)
    assert applications["b-1"].sync == "Synced"
    (cluster.folder / "a" / folder).unlink()
    assert cluster.step().sync == "Synced"


def test_a_folder_that_cannot_be_locked_is_the_trouble_of_every_cluster(cluster: Cluster) -> None:
    (cluster.folder / ".lock").mkdir()
    cluster.clusters.reconcile()
    assert cluster.clusters.observe({})[1].keys() == {"a", "b"}
    (cluster.folder / ".lock").rmdir()
    cluster.step()


def test_applications_that_cannot_be_read_are_a_trouble(cluster: Cluster) -> None:
    (cluster.folder / "a" / "applications" / "other.yaml").mkdir()
    applications, troubles = cluster.clusters.observe({})
    assert (list(applications), troubles["a"].reason) == (["b-1"], "ClusterUnreadable")


def test_a_lost_cluster_neither_answers_nor_works(cluster: Cluster) -> None:
    before = cluster.step()
    (cluster.folder / "a" / "LOST").touch()
    cluster.release("2")
    cluster.clusters.reconcile()
    assert cluster.clusters.observe({})[1]["a"].reason == "ClusterUnreachable"
    with pytest.raises(DirectoryError, match="cluster a does not answer"):
        cluster.apply("a-1")
    with pytest.raises(DirectoryError, match="cluster a does not answer"):
        cluster.clusters.delete("a", "shop-a-1")
    (cluster.folder / "a" / "LOST").unlink()
    assert cluster.step().commit != before.commit


def test_what_cannot_be_applied_or_deleted_is_told(cluster: Cluster) -> None:
    (cluster.folder / "a" / "applications" / "shop-x.yaml").mkdir()
    with pytest.raises(DirectoryError, match="shop-x cannot be applied"):
        cluster.clusters.apply("a", "shop-x", b"")
    with pytest.raises(DirectoryError, match="shop-x cannot be deleted"):
        cluster.clusters.delete("a", "shop-x")
    assert [path.name for path in (cluster.folder / "a" / "applications").glob(".*")] == []


def test_nothing_is_done_twice_by_two_at_once(cluster: Cluster) -> None:
    other = DirectoryClusters(cluster.folder, ("a", "b"), cluster.build, lambda: cluster.now, ENVIRONMENT)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(each.reconcile) for each in (cluster.clusters, other)]:
            done.result()
    assert cluster.builds == 2
    assert other.observe({}) == cluster.clusters.observe({})


def test_a_crash_after_any_file_is_mended_by_the_next_round(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.step()
    replace, survived = Path.replace, 0
    for survived in range(20):
        cluster.built = (CART.replace("cart", f"cart-{survived}") + "---\n" + ROLE, "")
        cluster.release(f"release {survived}")
        left = survived

        def crash(path: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return replace(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", crash)
            try:
                cluster.clusters.reconcile()
            except KeyboardInterrupt:
                pass
            else:
                break
        assert cluster.step(1).commit == git("rev-parse", "HEAD", folder=cluster.repository)
        assert cluster.objects() == {f"Service-cart-{survived}.yaml", "ClusterRole-cart.yaml"}
    assert 3 < survived < 19
    assert not os.path.lexists(cluster.folder / "a" / "namespaces" / "shopset-a-1" / "Service-cart-0.yaml")

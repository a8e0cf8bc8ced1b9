"""Builds kept by content: the real kustomize, trees from dictionaries."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shopset.core.errors import ShopsetError
from shopset.core.release.observed import BuildOf, Repository
from shopset.engine import building
from shopset.engine.building import CachingBuilder
from shopset.manifests import Kustomize, find_kustomize

COMMIT, OTHER, CONFIGURATION = "1" * 40, "2" * 40, "3" * 40
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: cart}\n"
OVERLAY = b"namespace: shopset-a-1\nresources: [../../base]\ncomponents: [../../configuration/production]\n"
COMPONENT = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {from: production}\n"


class DictionaryTrees:
    """Commits of which a test says what they hold."""

    def __init__(self) -> None:
        self.base = {"kustomization.yaml": "resources: [service.yaml]\n", "service.yaml": SERVICE}
        self.exports = 0
        self.trouble = ""

    def tree_of(self, repository: Repository, commit: str) -> str:
        """Return the same tree for the commits of one repository."""
        if self.trouble:
            raise ShopsetError(self.trouble)
        return f"{repository} {'' if commit == COMMIT else sorted(self.base.items())}"

    def export(self, repository: Repository, commit: str, folder: Path) -> None:
        """Write the files."""
        assert commit
        self.exports += 1
        files: Mapping[str, str] = {"production/kustomization.yaml": COMPONENT}
        for path, text in (self.base if repository is Repository.APPS else files).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)


class CountingKustomize(Kustomize):
    """The real kustomize, counted."""

    builds = 0

    def build(self, folder: Path) -> tuple[str, str]:
        """Build and count."""
        self.builds += 1
        return super().build(folder)


@pytest.fixture
def trees() -> DictionaryTrees:
    return DictionaryTrees()


@pytest.fixture
def kustomize() -> CountingKustomize:
    return CountingKustomize(find_kustomize(os.environ.get("SHOPSET_KUSTOMIZE")), dict(os.environ))


@pytest.fixture
def builder(trees: DictionaryTrees, kustomize: CountingKustomize, tmp_path: Path) -> CachingBuilder:
    return CachingBuilder(trees, kustomize, tmp_path / "cache")


def test_base_and_configuration_are_where_the_overlay_looks_for_them(builder: CachingBuilder) -> None:
    text, problem = builder.manifests(BuildOf(COMMIT, CONFIGURATION, OVERLAY))
    assert (problem, "namespace: shopset-a-1" in text, "from: production" in text) == ("", True, True)
    assert [found.label for found in builder.build(BuildOf(COMMIT, CONFIGURATION, OVERLAY)).objects] == ["Service/cart"]


def test_the_same_content_is_built_once_by_all_who_share_a_folder(
    trees: DictionaryTrees, kustomize: CountingKustomize, builder: CachingBuilder, tmp_path: Path
) -> None:
    first = builder.build(BuildOf(OTHER, CONFIGURATION, OVERLAY))
    again = CachingBuilder(trees, kustomize, tmp_path / "cache")
    assert again.build(BuildOf("4" * 40, CONFIGURATION, OVERLAY)) == first
    assert kustomize.builds == 1
    builder.build(BuildOf(OTHER, CONFIGURATION, OVERLAY.replace(b"a-1", b"a-2")))
    assert (kustomize.builds, trees.exports) == (2, 2)


def test_a_failure_is_not_kept(trees: DictionaryTrees, kustomize: CountingKustomize, builder: CachingBuilder) -> None:
    del trees.base["service.yaml"]
    for _ in range(2):
        found = builder.build(BuildOf(OTHER, CONFIGURATION, OVERLAY))
        assert ("service.yaml" in found.problem, found.transient) == (True, False)
    assert kustomize.builds == 2


def test_what_comes_from_elsewhere_is_refused_before_it_is_built(
    trees: DictionaryTrees, kustomize: CountingKustomize, builder: CachingBuilder
) -> None:
    trees.base["kustomization.yaml"] = "resources:\n- https://example.com/base.yaml\n"
    problem = builder.build(BuildOf(OTHER, CONFIGURATION, OVERLAY)).problem
    assert problem.startswith("base/kustomization.yaml:2: https://example.com/base.yaml is remote")
    assert kustomize.builds == 0


def test_a_base_cannot_reach_another_revision(trees: DictionaryTrees, builder: CachingBuilder) -> None:
    builder.build(BuildOf(COMMIT, CONFIGURATION, OVERLAY))
    trees.base["kustomization.yaml"] = f"resources:\n- ../../{COMMIT[:20]}-{CONFIGURATION[:20]}/base\n"
    assert "leaves the repository" in builder.build(BuildOf(OTHER, CONFIGURATION, OVERLAY)).problem


def test_trouble_of_this_machine_is_no_fault_of_the_revision(
    trees: DictionaryTrees, builder: CachingBuilder, tmp_path: Path
) -> None:
    trees.trouble = "the repository does not answer"
    found = builder.build(BuildOf(COMMIT, CONFIGURATION, OVERLAY))
    assert (found.problem, found.transient) == ("the repository does not answer", True)
    trees.trouble = ""
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert builder.build(BuildOf(COMMIT, CONFIGURATION, OVERLAY)).transient
    (tmp_path / "cache").unlink()
    assert not builder.build(BuildOf(COMMIT, CONFIGURATION, OVERLAY)).problem


def test_a_kustomize_that_cannot_run_is_no_fault_of_the_revision(trees: DictionaryTrees, tmp_path: Path) -> None:
    gone = Kustomize((str(tmp_path / "gone"), "build"), {})
    assert CachingBuilder(trees, gone, tmp_path / "cache").build(BuildOf(COMMIT, CONFIGURATION, OVERLAY)).transient


def test_old_trees_are_forgotten(builder: CachingBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_LAYOUTS_KEPT", 2)
    for number in range(5):
        overlay = OVERLAY + b"# %d\n" % number
        assert not builder.build(BuildOf(f"{number}" * 40, CONFIGURATION, overlay)).problem
    assert len(list((tmp_path / "cache" / "layouts").iterdir())) == 2


def test_threads_share_a_builder(builder: CachingBuilder) -> None:
    questions = [BuildOf(OTHER, CONFIGURATION, OVERLAY.replace(b"a-1", b"a-%d" % (number % 3))) for number in range(9)]
    with ThreadPoolExecutor(4) as pool:
        builds = list(pool.map(builder.build, questions))
    assert [build.problem for build in builds] == [""] * 9
    assert {build.objects[0].namespace for build in builds} == {"shopset-a-0", "shopset-a-1", "shopset-a-2"}

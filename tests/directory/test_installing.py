"""Objects as files of a directory cluster."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.core.objects import read_objects
from shopset.directory.installing import _segment, install, remove_namespaces


def made(
    kind: str, name: str, *, namespace: str = "shopset-a-1", api_version: str = "v1", **more: Any
) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def files_in(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


def test_each_object_has_a_file_and_those_of_the_whole_cluster_lie_apart(tmp_path: Path) -> None:
    documents = [made("Deployment", "cart"), made("ClusterRole", "cart", namespace="")]
    found = install(tmp_path, "shopset-a-1", documents, ())
    assert (
        found == files_in(tmp_path) == ["cluster/ClusterRole-cart.yaml", "namespaces/shopset-a-1/Deployment-cart.yaml"]
    )
    assert read_objects((tmp_path / found[1]).read_text()) == (documents[0],)


def test_another_namespace_is_that_of_an_object_of_the_whole_cluster(tmp_path: Path) -> None:
    # kustomize moves all that has a namespace to the Application's own, so what is elsewhere has none.
    found = install(tmp_path, "shopset-a-1", [made("ClusterRole", "cart", namespace="kube-system")], ())
    assert found == files_in(tmp_path) == ["cluster/ClusterRole-cart.yaml"]


def test_what_is_gone_goes_too(tmp_path: Path) -> None:
    before = install(tmp_path, "shopset-a-1", [made("Service", "a"), made("ClusterRole", "a", namespace="")], ())
    install(tmp_path, "shopset-a-1", [made("Service", "b")], before)
    assert files_in(tmp_path) == ["namespaces/shopset-a-1/Service-b.yaml"]
    assert not (tmp_path / "cluster").exists()


def test_what_is_gone_goes_even_where_nobody_remembers_it(tmp_path: Path) -> None:
    install(tmp_path, "shopset-a-1", [made("Service", "a")], ())
    (tmp_path / "namespaces" / "shopset-a-1" / ".half-written").touch()
    install(tmp_path, "shopset-a-1", [made("Service", "b")], ())
    assert files_in(tmp_path) == ["namespaces/shopset-a-1/Service-b.yaml"]


def test_other_namespaces_stay(tmp_path: Path) -> None:
    install(tmp_path, "shopset-a-1", [made("Service", "a")], ())
    install(tmp_path, "shopset-a-2", [made("Service", "a", namespace="shopset-a-2")], ())
    assert len(files_in(tmp_path)) == 2
    remove_namespaces(tmp_path, {"shopset-a-2"})
    assert files_in(tmp_path) == ["namespaces/shopset-a-2/Service-a.yaml"]


def test_kinds_of_one_name_in_two_groups_are_two_objects(tmp_path: Path) -> None:
    kinds = [
        made("Ingress", "a", api_version="networking.k8s.io/v1"),
        made("Ingress", "a", api_version="example.com/v1"),
    ]
    assert len(install(tmp_path, "shopset-a-1", kinds, ())) == 2


@pytest.mark.parametrize("name", ["../../../x", "/etc/x", "..", ".", "a:b", "a/b", "x" * 400, "é" * 200, ".hidden"])
@pytest.mark.parametrize("namespace", ["shopset-a-1", "..", ".", "../../x"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str, namespace: str) -> None:
    home = tmp_path / "home" / "cluster"
    install(home, namespace, [made("Role", name, namespace=namespace), made(name, "x", namespace="")], ())
    assert len(files_in(home)) == 2
    assert files_in(tmp_path) == [f"home/cluster/{file}" for file in files_in(home)]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), unique=True, min_size=2, max_size=4))
def test_different_names_are_different_files(names: list[str]) -> None:
    segments = {_segment(name) for name in names}
    assert len(segments) == len(names)
    assert all(len(segment) <= 200 and "/" not in segment and not segment.startswith(".") for segment in segments)

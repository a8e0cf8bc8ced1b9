"""Builds from manifests."""

import pytest

from shopset.core.manifests import BuiltObject
from shopset.core.objects import ObjectsError
from shopset.manifests import read_build, split_objects

ROLE = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'a:b'}\nrules: []\n"
CART = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shopset-a-1}
spec: {template: {spec: {containers: [{image: 'cart:2'}, {image: 'side:1'}], initContainers: [{image: 'cart:2'}]}}}
"""


def test_objects_and_images_are_sorted_and_without_repeats() -> None:
    build = read_build(f"{ROLE}---\n{CART}")
    assert [found.label for found in build.objects] == ["Deployment/cart", "ClusterRole/a:b"]
    assert build.images == ("cart:2", "side:1")
    assert build.problem == ""


def test_an_object_without_namespace_belongs_to_the_cluster() -> None:
    build = read_build(f"{ROLE}---\n{CART}")
    assert [found.label for found in build.cluster_scoped] == ["ClusterRole/a:b"]


def test_the_digest_is_of_the_content_not_of_its_spelling() -> None:
    (one,) = read_build(ROLE).objects
    (other,) = read_build(
        'rules: []\nmetadata:\n  "name": "a:b"\nkind: ClusterRole\napiVersion: rbac.authorization.k8s.io/v1\n'
    ).objects
    (changed,) = read_build(ROLE.replace("[]", "[{}]")).objects
    assert one == other
    assert (one.digest == changed.digest, isinstance(one, BuiltObject)) == (False, True)


@pytest.mark.parametrize("text", ["a: [", "kind: x", "- 1"])
def test_what_cannot_be_applied_is_a_problem(text: str) -> None:
    assert "kustomize built what cannot be applied" in read_build(text).problem
    with pytest.raises(ObjectsError):
        split_objects(text)


def test_split_objects_have_the_names_of_their_namespaces() -> None:
    assert list(split_objects(f"{ROLE}---\n{CART}")) == ["/ClusterRole/a:b", "shopset-a-1/Deployment/cart"]

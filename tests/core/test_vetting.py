"""What is refused before a pin."""

from dataclasses import replace

import pytest

from shopset.core.manifests import Build, BuiltObject
from shopset.core.vetting import vet

ROLE = BuiltObject("rbac.authorization.k8s.io/v1", "ClusterRole", "", "cart", "x")


@pytest.mark.parametrize(
    ("image", "refused", "warned"),
    [
        ("cart", True, False),
        ("cart:latest", True, False),
        ("registry.example.com:5000/cart", True, False),
        ("registry.example.com:5000/cart:1.0", False, True),
        ("cart@sha256:" + "a" * 64, False, False),
        ("cart:1.0@sha256:" + "a" * 64, False, False),
    ],
)
def test_images_that_can_change_are_refused_or_warned_of(image: str, refused: bool, warned: bool) -> None:
    found = vet({"a-1": Build(images=(image,))}, {"a-1": "a"}, "Tag")
    assert (bool(found.problems), bool(found.warnings)) == (refused, warned)


def test_the_digest_policy_refuses_every_tag() -> None:
    assert "sha256" in vet({"a-1": Build(images=("cart:1.0",))}, {"a-1": "a"}, "Digest").problems[0]


def test_one_cluster_scoped_object_has_one_owner_in_a_cluster() -> None:
    builds = {"a-1": Build(objects=(ROLE,)), "a-2": Build(objects=(ROLE,)), "b-1": Build(objects=(ROLE,))}
    (problem,) = vet(builds, {"a-1": "a", "a-2": "a", "b-1": "b"}, "Tag").problems
    assert "ClusterRole/cart" in problem
    assert "a-1, a-2" in problem


def test_a_later_version_of_the_same_kind_is_the_same_object() -> None:
    beta = replace(ROLE, api_version="rbac.authorization.k8s.io/v1beta1")
    other = replace(ROLE, api_version="example.com/v1")
    clusters = {"a-1": "a", "a-2": "a"}
    assert vet({"a-1": Build(objects=(ROLE,)), "a-2": Build(objects=(beta,))}, clusters, "Tag").problems
    assert not vet({"a-1": Build(objects=(ROLE,)), "a-2": Build(objects=(other,))}, clusters, "Tag").problems


def test_an_object_that_names_another_namespace_is_refused() -> None:
    cart, page = (BuiltObject("apps/v1", "Deployment", "shopset-a-1", name, "x") for name in ("cart", "page"))
    build = Build(objects=(replace(ROLE, namespace="kube-system"), cart, page))
    (problem,) = vet({"a-1": build, "b-1": build}, {"a-1": "a", "b-1": "b"}, "Tag").problems
    assert problem.startswith(
        "a-1, b-1 would have objects in several namespaces "
        "(kube-system: ClusterRole/cart; shopset-a-1: Deployment/cart, Deployment/page)"
    )
    assert "metadata.namespace" in problem


def test_each_shopset_may_bring_its_own_namespace() -> None:
    # One build stands for all ShopSets of a Configuration, so here both namespaces have the first one's name.
    build = Build(objects=(BuiltObject("v1", "Namespace", "", "shopset-a-1", "x"),))
    assert vet({"a-1": build, "a-2": build}, {"a-1": "a", "a-2": "a"}, "Tag").problems == ()


def test_the_same_problem_of_several_shopsets_is_told_once() -> None:
    builds = {name: Build(problem="no such patch") for name in ("a-1", "a-2", "b-1", "b-2")}
    assert vet(builds, dict.fromkeys(builds, "a"), "Tag").problems == (
        "a-1, a-2, b-1 and 1 more cannot be built: no such patch",
    )

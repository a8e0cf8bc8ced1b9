"""Rules that need the company of other objects."""

import time
from typing import Any

import pytest

from shopset.api import KINDS, Resource
from shopset.core.fleets import assemble
from support.pure import SHOPSETS, make_fleet, resource


def resources(*more: Resource, without: str = "") -> list[Resource]:
    fleet = make_fleet({"dev": {}, "beta": {}, "prod": {}}, SHOPSETS)
    found: list[Resource] = [
        fleet.platform,
        *fleet.tiers,
        *fleet.configurations.values(),
        *fleet.clusters.values(),
        *fleet.shopsets.values(),
    ]
    return [each for each in found if each.reference != without] + list(more)


def test_tiers_are_in_the_order_of_their_levels() -> None:
    fleet = assemble(reversed(resources())).fleet
    assert fleet is not None
    assert [tier.name for tier in fleet.tiers] == ["dev", "beta", "prod"]
    assert (fleet.lower("dev"), fleet.upper("prod")) == (None, None)
    assert fleet.branch("prod") == "tier-2"
    assert [shopset.name for shopset in fleet.members("prod")] == ["a-1", "b-2"]
    assert (fleet.namespace("a-1"), fleet.application("a-1")) == ("shopset-a-1", "shop-a-1")


PLATFORM = {
    "repositories": {key: f"/x/{key}.git" for key in ("system", "apps", "configuration")},
    "delivery": {"argocd": {}},
}


@pytest.mark.parametrize(
    ("more", "without", "about", "words"),
    [
        (("Tier", "qa", {"level": 1}), "", "Tier/qa", "level 1 is taken by the tier beta"),
        (("Tier", "qa", {"level": 7, "repositories": PLATFORM["repositories"]}), "", "Tier/qa", "differ"),
        (("Tier", "dev", {"level": 9}), "", "Tier/dev", "another Tier named dev"),
        (
            ("ShopSet", "x", {"tier": "qa", "configuration": "staging", "cluster": "a"}),
            "",
            "ShopSet/x",
            "no Tier named qa",
        ),
        (
            ("ShopSet", "x", {"tier": "dev", "configuration": "qa", "cluster": "a"}),
            "",
            "ShopSet/x",
            "no Configuration named qa",
        ),
        (
            ("ShopSet", "x", {"tier": "dev", "configuration": "staging", "cluster": "z"}),
            "",
            "ShopSet/x",
            "no Cluster named z",
        ),
        (
            ("ShopSet", "x" * 60, {"tier": "dev", "configuration": "staging", "cluster": "a"}),
            "",
            f"ShopSet/{'x' * 60}",
            "at most|68 characters",
        ),
        (("Platform", "zweite", PLATFORM), "", "Platform/zweite", "has the Platform shop already"),
        (None, "Platform/shop", "Platform", "no Platform"),
        (
            ("ShopClass", "c", {"tier": "dev", "configuration": "staging", "across": ["z"]}),
            "",
            "ShopClass/c",
            "no FailureDomain",
        ),
        (("Shop", "s", {"hosts": ["a.example.com"], "class": "none"}), "", "Shop/s", "no ShopClass"),
    ],
)
def test_what_does_not_fit_is_told(more: tuple[str, str, Any] | None, without: str, about: str, words: str) -> None:
    extra = [resource(more[0], more[1], **more[2])] if more else []
    assembly = assemble(resources(*extra, without=without))
    assert assembly.fleet is None
    told = [problem for problem in assembly.problems if problem.resource == about]
    assert any(any(word in problem.message for word in words.split("|")) for problem in told), assembly.problems


@pytest.mark.parametrize(
    ("prefix", "name"), [("", "kube-system"), ("kube-", "public"), ("", "default"), ("argo", "cd")]
)
def test_a_shopset_may_not_take_a_system_namespace(prefix: str, name: str) -> None:
    platform = resource("Platform", "shop", **PLATFORM, prefixes={"namespace": prefix})
    shopset = resource("ShopSet", name, tier="dev", configuration="staging", cluster="a")
    assembly = assemble([platform, shopset, *resources(without="Platform/shop")])
    assert any("system's" in problem.message for problem in assembly.problems)


@pytest.mark.parametrize(("namespace", "owner"), [("delivery", "Argo CD's"), ("fleet", "the fleet's resources")])
def test_a_shopset_may_not_take_the_namespace_of_argo_cd_or_of_the_fleet(namespace: str, owner: str) -> None:
    spec = {**PLATFORM, "delivery": {"argocd": {"namespace": "delivery"}}, "prefixes": {"namespace": ""}}
    copy = {"tier": "dev", "configuration": "staging", "cluster": "a"}
    others = [("Tier", "dev", {"level": 0}), ("Configuration", "staging", {"path": "staging"}), ("Cluster", "a", {})]
    found = [
        KINDS[kind].model_validate({"kind": kind, "metadata": {"name": name, "namespace": "fleet"}, "spec": each})
        for kind, name, each in [("Platform", "shop", spec), ("ShopSet", namespace, copy), *others]
    ]
    (problem,) = assemble(found).problems
    assert owner in problem.message


def test_ten_thousand_shopsets_are_assembled_in_a_moment() -> None:
    copy = {"tier": "dev", "configuration": "staging", "cluster": "a"}
    many = resources(*(resource("ShopSet", f"x-{number}", **copy) for number in range(10_000)))
    start = time.perf_counter()
    fleet = assemble(many).fleet
    spent = time.perf_counter() - start
    assert fleet is not None
    assert len(fleet.members("dev")) >= 10_000
    assert spent < 2


def test_a_host_leads_to_one_shop_and_the_loser_is_named() -> None:
    shops = [
        resource("Shop", name, **{"hosts": [host], "class": "c"})
        for name, host in (("one", "A.example.com"), ("two", "a.example.com:80"))
    ]
    found = assemble(resources(resource("ShopClass", "c", tier="dev", configuration="staging"), *shops))
    (problem,) = found.problems
    assert (problem.resource, "shop one" in problem.message) == ("Shop/two", True)


CLASS = {"tier": "prod", "configuration": "production"}


def canary_problems(tier: str, *more: Resource) -> list[tuple[str, str]]:
    spec = {**CLASS, "traffic": {"canary": {"tier": tier, "percent": 5}}}
    assembly = assemble(resources(resource("ShopClass", "c", **spec), *more))
    told = [each for each in assembly.problems if each.resource == "ShopClass/c"]
    assert {each.field for each in told} <= {("spec", "traffic", "canary", "tier")}
    assert (assembly.fleet is None) == any(each.stops for each in told)
    return [(each.severity, each.message) for each in told]


def test_a_canary_has_a_tier_and_a_shopset_there() -> None:
    assert canary_problems("qa") == [("error", "there is no Tier named qa")]
    nobody = ("error", "no ShopSet of the tier dev has the configuration production")
    assert canary_problems("dev") == [nobody]
    copy = {"tier": "dev", "configuration": "production", "cluster": "a"}
    assert canary_problems("dev", resource("ShopSet", "x", dedicated=True, **copy)) == [nobody]
    assert canary_problems("dev", resource("ShopSet", "x", **copy)) == []


@pytest.mark.parametrize(
    ("of_cluster", "of_shopset", "about", "words"),
    [
        ("https://a.example.com", None, "Cluster/z", "x-1 and x-2 are reached at the same place"),
        ("https://{cluster}-{tier}.example.com", None, "Cluster/z", "x-1 and x-2 are reached at the same place"),
        ("https://{shopset}.example.com", "https://x-1.example.com/", "ShopSet/x-2", "at the same place"),
        ("https://{shopset}.example.com/health", None, "Cluster/z", "https://x-1.example.com/health has a path"),
        ("https://{shopset}.example.com", "http://x/y", "ShopSet/x-2", "http://x/y has a path"),
        ("https://{namespace}.example.com/", "http://x:81", "", ""),
        (None, None, "", ""),
    ],
)
def test_an_edge_can_tell_shopsets_apart(
    of_cluster: str | None, of_shopset: str | None, about: str, words: str
) -> None:
    cluster = resource("Cluster", "z", **({"endpoint": of_cluster} if of_cluster else {}))
    copy = {"tier": "prod", "configuration": "production", "cluster": "z"}
    second = resource("ShopSet", "x-2", **copy, **({"endpoint": of_shopset} if of_shopset else {}))
    more = [cluster, resource("ShopSet", "x-1", **copy), second]
    assembly = assemble(resources(*more, resource("ShopClass", "c", **CLASS)))
    assert assembly.fleet is not None
    assert [(each.resource, each.field, each.severity) for each in assembly.problems] == (
        [(about, ("spec", "endpoint"), "warning")] if about else []
    )
    assert all(words in each.message for each in assembly.problems)
    # Without shops nobody leads any.
    assert assemble(resources(*more)).problems == ()


def test_where_a_shopset_is_reached() -> None:
    copy = {"tier": "prod", "configuration": "production", "cluster": "z"}
    own = resource("ShopSet", "x-2", **copy, endpoint="http://{cluster}:8080")
    found = [resource("ShopSet", "x-1", **copy), own, resource("Cluster", "z", endpoint="https://{namespace}.{tier}.z")]
    fleet = assemble(resources(*found)).fleet
    assert fleet is not None
    assert (fleet.endpoint("x-1"), fleet.endpoint("x-2")) == ("https://shopset-x-1.prod.z", "http://z:8080")
    assert fleet.endpoint("a-1") is None


def test_release_control_in_a_folder_is_warned_of() -> None:
    assembly = assemble(resources(resource("Hold", "h", tier="dev", reason="x", by="y")))
    assert assembly.fleet is not None
    assert [problem.severity for problem in assembly.problems] == ["warning"]

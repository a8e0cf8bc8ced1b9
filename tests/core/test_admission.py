"""What a change would bring: whatever is taken makes no fleet worse, and whatever is refused is an error of assembling."""

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.api import Resource
from shopset.core.admission import dependents, new_errors
from shopset.core.fleets import Problem, assemble
from support.pure import SHOPSETS, make_fleet, resource

REPOSITORIES = {key: f"/x/{key}.git" for key in ("system", "apps", "configuration")}
OTHERS = {key: f"/y/{key}.git" for key in ("system", "apps", "configuration")}
PLATFORM = {"repositories": REPOSITORIES, "delivery": {"argocd": {}}}
UNREADABLE = Problem("Tier/dev", ("spec", "promotion"), "is not readable")


def fleet() -> list[Resource]:
    found = make_fleet({"dev": {}, "prod": {}}, SHOPSETS | {"b-1": ("dev", "production", "b")})
    return [
        found.platform,
        *found.tiers,
        *found.configurations.values(),
        *found.clusters.values(),
        *found.shopsets.values(),
        resource("FailureDomain", "region", topologyKey="region"),
        resource("ShopClass", "small", tier="prod", configuration="production", across=["region"]),
    ]


def tier(name: str, level: int, repositories: dict[str, str] | None = None) -> Resource:
    return resource("Tier", name, level=level, **({"repositories": repositories} if repositories else {}))


@pytest.mark.parametrize(
    ("made", "about", "words"),
    [
        (tier("qa", 1), "Tier/qa", "level 1 is taken by the tier prod"),
        (tier("aaa", 1), "Tier/prod", "level 1 is taken by the tier aaa"),
        (tier("qa", 7, OTHERS), "Tier/qa", "the repositories differ"),
        (resource("Platform", "zweite", **PLATFORM), "Platform/zweite", "has the Platform shop already"),
        (
            resource("ShopSet", "x" * 60, tier="dev", configuration="staging", cluster="a"),
            f"ShopSet/{'x' * 60}",
            "68 characters",
        ),
    ],
)
def test_a_new_error_is_told_in_the_words_of_the_fleet(made: Resource, about: str, words: str) -> None:
    found = new_errors(fleet(), None, made)
    assert [each for each in found if each.resource == about and words in each.message], found
    assert set(found) <= set(assemble([*fleet(), made]).problems)


def test_a_platform_whose_shopsets_would_take_argo_cds_namespace_is_refused() -> None:
    others = [each for each in fleet() if each.kind != "Platform"]
    others.append(resource("ShopSet", "cd", tier="dev", configuration="staging", cluster="a"))
    before = resource("Platform", "shop", **PLATFORM)
    assert not new_errors(others, None, before)
    (error,) = new_errors(others, before, resource("Platform", "shop", **PLATFORM, prefixes={"namespace": "argo"}))
    assert (error.resource, "namespace argocd would be" in error.message) == ("ShopSet/cd", True)


@given(st.permutations(fleet()))
def test_the_objects_of_a_good_fleet_come_in_any_order(order: list[Resource]) -> None:
    for number, each in enumerate(order):
        assert not new_errors(order[:number], None, each)


def test_a_broken_fleet_is_mended_step_by_step() -> None:
    three = [tier("a", 1), tier("b", 1), tier("c", 1)]
    assert new_errors(three[:2], None, three[2])
    # The words of b's error change: it was a's level, and is c's now.
    assert not new_errors(three[1:], three[0], tier("a", 2))
    assert not new_errors(three[:2], three[2], tier("c", 1, REPOSITORIES))
    assert new_errors(three[:2], tier("c", 3), three[2])


def test_what_cannot_be_read_is_refused_unless_it_was_so_before() -> None:
    assert new_errors(fleet(), None, UNREADABLE) == (UNREADABLE,)
    assert new_errors(fleet(), tier("dev", 0), UNREADABLE) == (UNREADABLE,)
    assert new_errors(fleet(), UNREADABLE, UNREADABLE) == ()
    others = [each for each in fleet() if each.reference != UNREADABLE.resource]
    assert new_errors(others, UNREADABLE, tier("dev", 0)) == ()


@pytest.mark.parametrize(
    ("reference", "needed_by"),
    [
        ("Tier/dev", ("ShopSet/b-1", "ShopSet/c-1")),
        ("Tier/prod", ("ShopClass/small", "ShopSet/a-1", "ShopSet/b-2")),
        ("Configuration/staging", ("ShopSet/c-1",)),
        ("Cluster/a", ("ShopSet/a-1",)),
        ("FailureDomain/region", ("ShopClass/small",)),
        ("Platform/shop", ("ShopSet/a-1", "ShopSet/b-1", "ShopSet/b-2", "ShopSet/c-1")),
        ("ShopSet/a-1", ()),
        ("ShopClass/small", ()),
    ],
)
def test_who_needs_an_object(reference: str, needed_by: tuple[str, ...]) -> None:
    (gone,) = [each for each in fleet() if each.reference == reference]
    others = [each for each in fleet() if each is not gone and each.reference != reference]
    assert dependents(others, gone) == needed_by
    assert dependents([each for each in others if each.reference not in needed_by], gone) == ()


def test_one_platform_of_two_is_needed_by_nobody() -> None:
    assert dependents(fleet(), resource("Platform", "zweite", **PLATFORM)) == ()


names = st.sampled_from(["a", "b", "c"])
resources = st.one_of(
    st.builds(
        lambda name, prefix, repositories: resource(
            "Platform", name, **{**PLATFORM, "repositories": repositories}, prefixes={"namespace": prefix}
        ),
        names,
        st.sampled_from(["", "shopset-", "argo"]),
        st.sampled_from([REPOSITORIES, OTHERS]),
    ),
    st.builds(tier, names, st.integers(0, 2), st.sampled_from([None, REPOSITORIES, OTHERS])),
    st.builds(
        lambda name, of, cluster: resource("ShopSet", name, tier=of, configuration="a", cluster=cluster),
        st.sampled_from(["a", "b", "cd", "argocd", "default", "x" * 60]),
        names,
        names,
    ),
    st.builds(lambda name: resource("Cluster", name), names),
)


def places(found: Iterable[Resource]) -> Counter[tuple[str, object]]:
    problems = assemble(found).problems
    return Counter((each.resource, each.field) for each in problems if each.severity == "error" and not each.missing)


@given(st.lists(resources, max_size=12), resources)
def test_what_is_taken_makes_nothing_worse_and_what_is_refused_does(found: list[Resource], made: Resource) -> None:
    present = {each.reference: each for each in found}
    before = present.pop(made.reference, None)
    others = list(present.values())
    was = [*others, before] if before is not None else others
    refused = new_errors(others, before, made)
    assert bool(refused) == bool(places([*others, made]) - places(was))
    assert set(refused) <= set(assemble([*others, made]).problems)

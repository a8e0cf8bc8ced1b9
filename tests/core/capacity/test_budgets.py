"""What ShopSets share: who came last is beyond it, with the arithmetic; what runs is never stopped."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.api import API_VERSION, KINDS, Resource
from shopset.core.admission import new_errors
from shopset.core.capacity.budgets import Budget, Share, cluster_budgets, database_budgets
from shopset.core.fleets import Fleet, assemble
from support.pure import PureWorld, resource

PLATFORM = resource(
    "Platform",
    "shop",
    repositories={key: f"/srv/git/shopset-{key}.git" for key in ("system", "apps", "configuration")},
    delivery={"directory": {"path": "/clusters"}},
)


def company(connections: int = 100, per_shopset: int | None = 40, holds: int | None = None) -> list[Resource]:
    database = {"name": "orders", "connections": connections}
    if per_shopset is not None:
        database["connectionsPerShopset"] = per_shopset
    return [
        PLATFORM,
        resource("Tier", "prod", level=0),
        resource("Configuration", "production", path="production", databases=[database]),
        resource("Configuration", "staging", path="staging"),
        resource("Cluster", "a", **({"capacity": {"shopsets": holds}} if holds else {})),
        resource("Cluster", "b"),
    ]


def shopset(
    name: str, second: int | None = None, connections: int | None = None, cluster: str = "a", of: str = "production"
) -> Resource:
    metadata: dict[str, Any] = {"name": name}
    if second is not None:
        metadata["creationTimestamp"] = f"2026-11-23T10:00:{second:02}Z"
    spec: dict[str, Any] = {"tier": "prod", "configuration": of, "cluster": cluster}
    if connections is not None:
        spec["capacity"] = {"connections": connections}
    return KINDS["ShopSet"].model_validate(
        {"apiVersion": API_VERSION, "kind": "ShopSet", "metadata": metadata, "spec": spec}
    )


def fleet(resources: Sequence[Resource]) -> Fleet:
    found = assemble(resources).fleet
    assert found is not None
    return found


def test_the_last_by_creation_is_beyond_the_budget_and_the_fleet_is_not_paused() -> None:
    assembly = assemble([*company(), shopset("a", 9), shopset("b", 1), shopset("c", 2)])
    assert assembly.fleet is not None
    (problem,) = assembly.problems
    assert (problem.resource, problem.field, problem.severity) == ("ShopSet/a", ("spec", "configuration"), "error")
    assert problem.message == (
        "3 ShopSets x 40 connections = 120 exceed the budget of 100 of the database orders (Configuration/production)"
    )


def test_without_times_the_last_by_name_is_beyond_it() -> None:
    (problem,) = assemble([*company(), shopset("c"), shopset("b"), shopset("a")]).problems
    assert problem.resource == "ShopSet/c"


def test_a_shopset_that_opens_fewer_has_its_own_number() -> None:
    resources = [*company(), shopset("a"), shopset("b"), shopset("c", connections=20)]
    assert not assemble(resources).problems
    (budget,) = database_budgets(fleet(resources).configurations, fleet(resources).shopsets)
    assert (budget.taken, budget.left, budget.room) == (100, 0, 0)
    assert budget.arithmetic.startswith("1 ShopSet x 20 connections + 2 ShopSets x 40 connections = 100 are within")


def test_what_nobody_stated_is_not_counted_as_nothing_left_or_as_infinity() -> None:
    found = fleet([*company(per_shopset=None), shopset("a"), shopset("b", connections=30)])
    (budget,) = database_budgets(found.configurations, found.shopsets)
    assert (budget.unknown, budget.taken, budget.room) == (("a",), 30, None)


def test_a_cluster_holds_so_many() -> None:
    resources = [*company(1000, holds=2), shopset("a"), shopset("b"), shopset("c"), shopset("d", cluster="b")]
    (problem,) = assemble(resources).problems
    assert (problem.resource, problem.field) == ("ShopSet/c", ("spec", "cluster"))
    assert problem.message == "3 ShopSets exceed the 2 that cluster a holds"
    (budget,) = cluster_budgets(fleet(resources).clusters, fleet(resources).shopsets)
    assert budget.owner == "Cluster/a"


def test_what_makes_it_worse_is_refused_and_what_mends_it_is_not() -> None:
    a, b, c = shopset("a", 1), shopset("b", 2), shopset("c", 3)
    (error,) = new_errors([*company(), a, b], None, c)
    assert (error.resource, error.message[:28]) == ("ShopSet/c", "3 ShopSets x 40 connections ")
    assert not new_errors([*company(), a, b], None, shopset("c", 3, connections=20))
    assert not new_errors([*company(), a, b], c, shopset("c", 3, connections=30))
    assert new_errors([*company(), a, b], shopset("c", 3, connections=25), shopset("c", 3, connections=30))
    assert new_errors([*company(), a, b], shopset("c", 3, of="staging"), c)
    assert not new_errors([*company(), a, b], c, shopset("c", 3, of="staging"))
    # It came first, and is refused all the same: it is the one that changes.
    assert new_errors([*company(), b, c], shopset("a", 1, of="staging"), a)


def test_a_database_that_shrank_may_be_stated() -> None:
    before = company()
    others = [each for each in before if each.reference != "Configuration/production"]
    shrunk = next(each for each in company(50) if each.reference == "Configuration/production")
    running = [shopset("a"), shopset("b")]
    was = next(each for each in before if each.reference == shrunk.reference)
    assert not new_errors([*others, *running], was, shrunk)
    assert len(assemble([*others, *running, shrunk]).problems) == 1


amounts = st.one_of(st.none(), st.integers(1, 60))


@given(
    st.integers(40, 300),
    st.one_of(st.none(), st.integers(1, 40)),
    st.one_of(st.none(), st.integers(1, 5)),
    st.lists(st.tuples(amounts, st.sampled_from("ab"), st.sampled_from(["production", "staging"])), max_size=9),
)
def test_whoever_is_taken_one_by_one_fits(
    connections: int, per: int | None, holds: int | None, wishes: list[tuple[int | None, str, str]]
) -> None:
    """The model: a list of those that were taken, with plain sums."""
    others = company(connections, per, holds)
    taken: list[tuple[tuple[int | None, str, str], Resource]] = []
    for second, (own, cluster, of) in enumerate(wishes):
        made = shopset(f"s-{second}", second, own, cluster, of)
        opened = [
            0 if each_of == "staging" else min([x for x in (each_own, per) if x is not None], default=0)
            for each_own, _, each_of in [*(wish for wish, _ in taken), wishes[second]]
        ]
        hosted = sum(wish[1] == "a" for wish, _ in taken) + (cluster == "a")
        fits = (of == "staging" or opened[-1] == 0 or sum(opened) <= connections) and (
            cluster != "a" or holds is None or hosted <= holds
        )
        assert bool(new_errors([*others, *(each for _, each in taken)], None, made)) != fits
        if fits:
            taken.append((wishes[second], made))
    assert not assemble([*others, *(each for _, each in taken)]).problems


@given(st.integers(1, 100), st.lists(amounts, max_size=8))
def test_those_that_are_not_beyond_fit_together_and_no_other_does(limit: int, wishes: list[int | None]) -> None:
    shares = tuple(Share(f"s-{number}", amount) for number, amount in enumerate(wishes))
    budget = Budget("Configuration/production", "orders", limit, shares, None)
    beyond = set(budget.beyond)
    kept = sum(each.amount or 0 for each in shares if each.shopset not in beyond)
    assert kept <= limit
    assert bool(beyond) == (budget.taken > limit)
    assert budget.left == limit - sum(amount for amount in wishes if amount)


class TestReleasing:
    """A ShopSet beyond a budget is not made; where it runs already nothing is done to it. The others go on."""

    @pytest.fixture
    def world(self) -> PureWorld:
        world = PureWorld(fleet([*company(1000), shopset("x"), shopset("y"), shopset("z", of="staging")]))
        world.begin()
        world.rounds(3)
        assert set(world.applications) == {"x", "y", "z"}
        return world

    def test_one_that_does_not_fit_is_told_and_the_others_are_released_to(self, world: PureWorld) -> None:
        # By its name it would be the first: but the others run already.
        world.fleet = fleet([*company(80), *(shopset(name) for name in "awxy"), shopset("z", of="staging")])
        commit = world.push()
        plan = world.rounds(4)
        assert set(world.applications) == {"x", "y", "z"}
        assert world.pinned("prod") == commit
        told = {each.resource: each for each in plan.conditions if each.reason == "BudgetExceeded"}
        assert set(told) == {"ShopSet/a", "ShopSet/w"}
        assert "4 ShopSets x 40 connections = 160 exceed the budget of 80" in told["ShopSet/a"].message
        assert "It is not made until it fits" in told["ShopSet/a"].message

    def test_it_is_made_as_soon_as_it_fits(self, world: PureWorld) -> None:
        rest = [*(shopset(name) for name in "axy"), shopset("z", of="staging")]
        world.fleet = fleet([*company(80), *rest])
        world.rounds(2)
        assert "a" not in world.applications
        world.fleet = fleet([*company(120), *rest])
        plan = world.rounds(3)
        assert "a" in world.applications
        assert not [each for each in plan.conditions if each.reason == "BudgetExceeded"]

    def test_what_runs_goes_on_where_the_database_shrank(self, world: PureWorld) -> None:
        world.fleet = fleet([*company(40), shopset("x"), shopset("y"), shopset("z", of="staging")])
        commit = world.push()
        plan = world.rounds(4)
        assert set(world.applications) == {"x", "y", "z"}
        assert world.pinned("prod") == commit
        (told,) = [each for each in plan.conditions if each.reason == "BudgetExceeded"]
        assert "It runs already, and goes on" in told.message

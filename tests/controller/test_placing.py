"""What the controller keeps of Shops for the placement, and what it tells of where they are."""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from lightkube import Client

from controller.test_shops import filled, shop
from controller.test_telling import Cluster, cluster
from shopset.api import Shop
from shopset.controller.objects import Objects
from shopset.controller.placing import Placed, Placing, table_of
from shopset.controller.settings import Settings
from shopset.controller.shops import Shops
from shopset.core.fleets import Fleet
from shopset.core.placement.formats import PlacementReading, dump_placement, read_placement
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.core.placement.tables import Table, from_resources
from shopset.core.release.actions import PushCommits
from shopset.core.release.observed import Observed, ObservedApplication, ObservedRepository, Repository, Trouble
from shopset.engine import Engine, Outcome, Watching
from shopset.kube.fleets import parse
from support.placing import placing_fleet
from support.pure import START


def table(shops: Shops) -> Table:
    _, wanted, unread = shops.wanted()
    return table_of(wanted, unread)


def unreadable(name: str) -> dict[str, Any]:
    return {**shop(name), "spec": {"hosts": ["not a host"], "class": "small"}}


def large(name: str, host: str, **spec: Any) -> dict[str, Any]:
    found = shop(name, host, since=1, **spec)
    return {**found, "spec": {**found["spec"], "class": "large"}}


def places(**replicas: tuple[str, ...]) -> Placement:
    groups = [Group(f"small/{name}", "small", found) for name, found in replicas.items()]
    return Placement.of(groups, [PlacedShop(name, f"small/{name}", ()) for name in replicas])


def test_the_table_is_that_of_the_resources() -> None:
    manifests = [
        shop("b", "b.example.com", "c.example.com", since=2, demand={"requestsPerSecond": 2.5, "connections": 3}),
        large("a", "a.example.com", pins=["a-1", "b-1"]),
        shop("c", "d.example.com", demand={"requestsPerSecond": 1.0}),
    ]
    found = table(filled(*manifests, unreadable("broken")))
    wanted = from_resources(each for each in map(parse, manifests) if isinstance(each, Shop))
    assert (found.shops.names, found.shops.hosts, found.shops.pins) == (
        wanted.shops.names,
        wanted.shops.hosts,
        wanted.shops.pins,
    )
    assert [found.shops.class_names[each] for each in found.shops.classes] == ["large", "small", "small"]
    np.testing.assert_array_equal(found.shops.demand, wanted.shops.demand)
    np.testing.assert_array_equal(found.created, wanted.created)
    assert found.unread == {"broken"}


def test_only_what_a_shop_asks_for_makes_another_edition() -> None:
    shops = filled(shop("a", "a.example.com"))
    edition = shops.edition

    def news(manifest: dict[str, Any], version: int) -> bool:
        nonlocal edition
        before, manifest = edition, deepcopy(manifest)
        manifest["metadata"]["resourceVersion"] = str(version)
        shops.put(manifest)
        edition = shops.edition
        return edition != before

    assert not news(shop("a", "a.example.com", told="something"), 2)
    assert not news({**shop("a", "a.example.com"), "status": {"replicas": ["a-1"]}}, 3)
    assert news(shop("a", "a.example.com", demand={"connections": 1}), 4)
    assert news(shop("a", "a.example.com", pins=["a-1"]), 5)
    assert news(shop("a", "b.example.com"), 6)
    assert news(unreadable("a"), 7)
    shops.remove(shop("a"))
    assert shops.edition != edition


def replicas(found: Cluster) -> dict[str, Any]:
    return {name: each["status"].get("replicas") for name, each in found.shops.items()}


def test_where_a_shop_is_is_written_once_and_what_else_is_told_of_it_stays() -> None:
    found = cluster(shop("a", "x.example.com"), shop("b", "x.example.com", since=1), shop("c", "c.example.com"))
    found.teller.tell_shops()
    told = found.conditions("b")
    found.written.clear()
    found.objects.shops.place(places(a=("a-1", "b-1"), b=("b-1",)))
    assert not found.teller.tell_places()
    assert replicas(found) == {"a": ["a-1", "b-1"], "b": ["b-1"], "c": None}
    assert (sorted(found.written), found.conditions("b")) == (["a", "b"], told)
    found.watch()
    found.teller.tell_places()
    assert len(found.written) == 2
    found.objects.shops.place(places(a=("b-1", "a-1")))
    found.teller.tell_places()
    assert replicas(found) == {"a": ["b-1", "a-1"], "b": None, "c": None}
    assert sorted(found.written) == ["a", "a", "b", "b"]


def test_what_is_wrong_with_a_shop_is_told_without_forgetting_where_it_is() -> None:
    found = cluster(shop("a", "x.example.com"), shop("b", "x.example.com", since=1))
    found.objects.shops.place(places(b=("b-1",)))
    found.teller.tell_places()
    found.teller.tell_shops()
    assert (found.conditions("b")[0]["reason"], replicas(found)["b"]) == ("Invalid", ["b-1"])


def test_of_very_many_some_are_told_between_two_rounds() -> None:
    names = [f"s-{number:04}" for number in range(601)]
    found = cluster(*(shop(name, f"{name}.example.com") for name in names))
    found.objects.shops.place(places(**dict.fromkeys(names, ("a-1",))))
    assert found.teller.tell_places()
    assert len(found.written) == 500
    assert not found.teller.tell_places()
    assert sorted(found.written) == names


def test_an_api_server_that_refuses_is_not_asked_without_end() -> None:
    names = [f"s-{number:04}" for number in range(501)]
    found = cluster(*(shop(name, f"{name}.example.com") for name in names))
    found.refuses = True
    found.objects.shops.place(places(**dict.fromkeys(names, ("a-1",))))
    assert not found.teller.tell_places()
    found.refuses = False
    assert found.teller.tell_places()


@dataclass
class Git:
    """A branch `placement` with some files."""

    files: dict[str, bytes]

    def placement(self, _: str) -> PlacementReading:
        return read_placement(self.files)

    def placed_since(self, *_: object) -> datetime:
        return START


@dataclass
class StubEngine:
    """Keeps the actions that it is given, and does none."""

    fleet: Fleet
    git: Git
    acted: list[PushCommits] = field(default_factory=list)

    def act(self, actions: tuple[PushCommits, ...], *_: object) -> Outcome:
        self.acted += actions
        return Outcome()


def looked(fleet: Fleet, repository: ObservedRepository) -> Observed:
    found = {
        name: ObservedApplication(name, each.spec.cluster, name, health="Healthy", commit="1" * 40)
        for name, each in fleet.shopsets.items()
    }
    return Observed(START, {Repository.SYSTEM: repository}, applications=found)


def one_round(
    files: dict[str, bytes], *, repository: ObservedRepository | None = None, listed: bool = True, **platform: Any
) -> tuple[Placed, list[PushCommits]]:
    """Return what a round comes to, and what it would do."""
    shopsets = {f"{name}-1": {"cluster": name, "capacity": {"requestsPerSecond": 99.0}} for name in "ab"}
    fleet = placing_fleet({"a": {}, "b": {}}, shopsets, **platform)
    objects = Objects(cast("Client", None), "fleet")
    if listed:
        objects.shops.retain(set())
    engine = StubEngine(fleet, Git(files))
    placing = Placing(cast("Engine", engine), objects, Settings("fleet", Path("/nonexistent")), None)
    repository = repository or ObservedRepository({"placement": "2" * 40})
    return placing.round(looked(fleet, repository), Watching(lambda _: None), lambda _: None), engine.acted


FILES = dump_placement(places(one=("a-1", "b-1"), two=("b-1", "a-1")))
STANDARD_FILES = dump_placement(
    Placement.of(
        [Group("standard/one", "standard", ("a-1", "b-1")), Group("standard/two", "standard", ("b-1", "a-1"))],
        [PlacedShop(name, f"standard/{name}", (f"{name}.example.com",)) for name in ("one", "two")],
    )
)


def test_a_damaged_branch_is_told_and_nothing_is_placed() -> None:
    damaged = dict.fromkeys(FILES, b"nonsense\n")
    placed, acted = one_round(damaged)
    (condition,) = placed.conditions
    assert (condition.resource, condition.type, condition.reason) == ("Platform/shop", "Placed", "PlacementDamaged")
    assert not acted


def test_where_git_is_away_nobody_takes_the_placement_for_empty() -> None:
    away = ObservedRepository(trouble=Trouble("Unreachable", "shopset-system does not answer"))
    placed, acted = one_round(STANDARD_FILES, repository=away)
    assert placed.conditions[0].reason == "PlacementUnknown"
    assert "does not answer" in placed.conditions[0].message
    assert not acted


def test_shops_that_are_not_listed_yet_are_not_gone() -> None:
    assert one_round(STANDARD_FILES, listed=False) == (Placed(), [])


def test_a_source_that_is_away_removes_no_shop_and_one_that_says_so_does() -> None:
    sources = [{"kind": "Resources"}, {"kind": "Files", "path": "away.csv"}]
    placed, acted = one_round(STANDARD_FILES, shops={"sources": sources})
    assert not acted
    assert placed.states == {"placed": 2, "nowhere": 0}
    assert {name: told["shops"] for name, told in placed.told.items()} == {"a-1": 2, "b-1": 2}
    (condition,) = (each for each in placed.conditions if each.type == "ShopsRead")
    assert "away.csv" in condition.message
    _, acted = one_round(STANDARD_FILES)
    assert acted[0].what.startswith("remove one, two")

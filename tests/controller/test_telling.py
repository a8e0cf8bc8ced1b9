"""Telling: of Shops only those are written with which something is wrong or no longer, each once; ShopSets are kept."""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from lightkube import ApiError, Client
from lightkube.models.meta_v1 import Status

from controller.test_shops import shop
from shopset.controller.metrics import Metrics
from shopset.controller.objects import Objects
from shopset.controller.telling import FINALIZER, Teller

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@dataclass
class Cluster:
    """An API server's Shops, what is written of them, and what is told in Events."""

    shops: dict[str, dict[str, Any]]
    written: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    refuses: bool = False

    def __post_init__(self) -> None:
        self.objects = Objects(cast("Client", self), "fleet")
        self.teller = Teller(self.objects, Metrics(), lambda: NOW)

    def watch(self) -> None:
        """See all Shops as they are."""
        for each in self.shops.values():
            self.objects.shops.put(each)
        self.objects.shops.retain(self.shops.keys())

    def get(self, _: object, name: str, **__: object) -> dict[str, Any]:
        if name not in self.shops:
            raise ApiError(status=Status(code=404, message="not found"))
        return self.shops[name]

    def patch(self, _: object, name: str, patch: dict[str, Any], **__: object) -> dict[str, Any]:
        if self.refuses:
            raise ApiError(status=Status(code=403, message="forbidden"))
        self.written.append(name)
        found = deepcopy(self.shops[name])
        status = {**found.get("status", {}), **patch["status"]}
        found["status"] = {key: value for key, value in status.items() if value is not None}
        self.shops[name] = found
        return found

    def create(self, event: Any) -> None:
        self.events.append(f"{event.involvedObject['name']}: {event.reason}")

    def conditions(self, name: str) -> list[dict[str, Any]]:
        return list(self.shops[name]["status"].get("conditions", ()))


def cluster(*found: dict[str, Any]) -> Cluster:
    made = Cluster({each["metadata"]["name"]: each for each in found})
    made.watch()
    return made


def test_the_younger_shop_is_told_once_and_the_older_never() -> None:
    found = cluster(shop("a", "x.example.com"), shop("b", "x.example.com", since=1), shop("c", "c.example.com"))
    assert not found.teller.tell_shops()
    (condition,) = found.conditions("b")
    assert (condition["type"], condition["status"], condition["reason"]) == ("Accepted", "False", "Invalid")
    assert "taken by the shop a" in condition["message"]
    found.watch()
    assert not found.teller.tell_shops()
    assert (found.written, found.events) == (["b"], ["b: Invalid"])


def test_what_is_mended_has_nothing_to_tell() -> None:
    found = cluster(shop("a", "x.example.com"), shop("b", "x.example.com", since=1))
    found.teller.tell_shops()
    found.shops["b"]["spec"]["hosts"] = ["y.example.com"]
    found.watch()
    found.teller.tell_shops()
    assert found.shops["b"]["status"] == {}
    assert found.written == ["b", "b"]


def test_very_many_are_told_between_rounds_some_at_a_time() -> None:
    found = cluster(*(shop(f"s-{number:03}", "x.example.com") for number in range(151)))
    assert found.teller.tell_shops()
    assert len(found.written) == 100
    assert not found.teller.tell_shops()
    assert sorted(found.written) == [f"s-{number:03}" for number in range(1, 151)]


def test_a_shop_that_is_gone_is_no_trouble() -> None:
    found = cluster(shop("a", "x.example.com"), shop("b", "x.example.com", since=1))
    del found.shops["b"]
    assert not found.teller.tell_shops()


def test_what_cannot_be_written_is_tried_again_in_the_next_round(caplog: pytest.LogCaptureFixture) -> None:
    found = cluster(*(shop(f"s-{number:03}", "x.example.com") for number in range(151)))
    found.refuses = True
    assert not found.teller.tell_shops()
    assert "write the status of Shop/s-001: forbidden" in caplog.text
    found.refuses = False
    assert found.teller.tell_shops()


def shopset(name: str, cluster: str, *, deleting: bool) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "fleet", "uid": name, "resourceVersion": "1"}
    going = {"deletionTimestamp": "2026-11-26T11:00:00Z", "finalizers": [FINALIZER]} if deleting else {}
    return {"kind": "ShopSet", "metadata": {**metadata, **going}, "spec": {"cluster": cluster}}


def test_a_shopset_is_kept_until_it_is_seen_that_nothing_of_it_is_left() -> None:
    written: dict[str, list[str]] = {}

    class ApiServer:
        def patch(self, _: object, name: str, patch: dict[str, Any], **__: object) -> dict[str, Any]:
            written[name] = patch["metadata"]["finalizers"]
            return {"kind": "ShopSet", "metadata": {**patch["metadata"], "name": name, "uid": name}}

    objects = Objects(cast("Client", ApiServer()), "fleet")
    objects.fleet.put(shopset("a-1", "a", deleting=False))
    for name, where in (("a-2", "a"), ("a-3", "a"), ("b-1", "b")):
        objects.fleet.put(shopset(name, where, deleting=True))
    Teller(objects, Metrics(), lambda: NOW).finalize(frozenset({"a-1"}), frozenset({"a-1", "a-2"}), frozenset({"b"}))
    assert written == {"a-1": [FINALIZER], "a-3": []}

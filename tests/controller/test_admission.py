"""Reviews as the API server sends them, over loopback; what the controller has seen of the fleet is a test's own."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from lightkube import Client

from controller.test_shops import shop
from shopset.controller.admission import PATH, UNDER_WAY, make_application
from shopset.controller.metrics import Metrics
from shopset.controller.objects import Objects

REPOSITORIES = {key: f"/x/{key}.git" for key in ("system", "apps", "configuration")}


def manifest(kind: str, name: str, *, going: bool = False, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "fleet", "uid": f"{kind}-{name}", "resourceVersion": "1"}
    if going:
        metadata["deletionTimestamp"] = "2026-11-26T10:00:00Z"
    return {"apiVersion": "shopset.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


FLEET = [
    manifest("Platform", "shop", repositories=REPOSITORIES, delivery={"argocd": {}}),
    manifest("Tier", "dev", level=0),
    manifest("Tier", "prod", level=1),
    manifest("Configuration", "production", path="production"),
    manifest("Cluster", "a"),
    manifest("ShopSet", "a-1", tier="prod", configuration="production", cluster="a"),
    manifest("ShopSet", "a-2", going=True, tier="dev", configuration="production", cluster="a"),
    manifest("ShopClass", "small", tier="prod", configuration="production"),
]


@dataclass
class Reviews:
    """A controller that has seen a fleet, and is asked about changes."""

    phase: str = "Active"
    metrics: Metrics = field(default_factory=Metrics)
    late: dict[str, Any] | None = None
    """What is seen only when the first answer has been found."""

    def __post_init__(self) -> None:
        found = SimpleNamespace(status=SimpleNamespace(phase=self.phase))
        self.objects = Objects(cast("Client", SimpleNamespace(get=lambda *_: found)), "fleet")
        for each in FLEET:
            self.objects.fleet.put(each)
        self.objects.shops.put(shop("one", "one.example.com"))

    def refusal(self, before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
        """Return why a change is refused; nothing where it is allowed."""
        response = asyncio.run(self._ask(before, after))
        assert response["uid"] == "705ab4f5"
        assert response["allowed"] == ("status" not in response)
        return str(response.get("status", {}).get("message", ""))

    async def _ask(self, before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
        asked = {"uid": "705ab4f5", "operation": "UPDATE", "object": after, "oldObject": before}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}
        under_way = UNDER_WAY if self.late else 0.01
        application = make_application(self.objects, self.metrics, under_way)
        async with TestServer(application) as server, ClientSession() as session:
            asking = asyncio.create_task(session.post(server.make_url(PATH), json=review))
            if self.late is not None:
                await asyncio.sleep(0.1)
                self.objects.fleet.put(self.late)
            async with await asking as answer:
                found = await answer.json()
        assert (found["apiVersion"], found["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        return dict(found["response"])

    def of(self, reference: str) -> dict[str, Any]:
        """Return an object of the fleet."""
        return next(each for each in FLEET if f"{each['kind']}/{each['metadata']['name']}" == reference)


TAKEN = "spec.level: level 1 is taken by the tier prod. give each tier a level of its own"
FREE = manifest("Tier", "qa", level=7)
WRONG = manifest("Tier", "qa", level=1)
UNREADABLE = manifest("Tier", "qa", level=7, promotion={"bake": "0.5ms"})


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (None, FREE, ""),
        (None, WRONG, TAKEN),
        (FREE, WRONG, TAKEN),
        (WRONG, FREE, ""),
        (WRONG, manifest("Tier", "qa", level=1, promotion={"bake": "1s"}), ""),
        (
            None,
            manifest("Tier", "aaa", level=0),
            "Tier/dev would be wrong: spec.level: level 0 is taken by the tier aaa",
        ),
        (None, manifest("ShopSet", "b-1", tier="new", configuration="new", cluster="new"), ""),
        (None, UNREADABLE, "spec.promotion.bake"),
        (UNREADABLE, UNREADABLE | {"spec": {**UNREADABLE["spec"], "level": 8}}, ""),
        (UNREADABLE, None, ""),
        (FREE, None, ""),
    ],
)
def test_what_gets_worse_is_refused(before: dict[str, Any] | None, after: dict[str, Any] | None, words: str) -> None:
    found = Reviews().refusal(before, after)
    assert found.startswith(words) if words else found == ""


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (
            "Tier/prod",
            "Tier/prod is needed by ShopClass/small, ShopSet/a-1: delete those first, or let them refer to another Tier",
        ),
        ("Tier/dev", ""),
        ("Cluster/a", "Cluster/a is needed by ShopSet/a-1: delete those first, or let them refer to another Cluster"),
        (
            "ShopClass/small",
            "ShopClass/small is needed by Shop/one: delete those first, or let them refer to another ShopClass",
        ),
        ("Platform/shop", "Platform/shop is needed by ShopSet/a-1: delete those first"),
        ("ShopSet/a-1", ""),
    ],
)
def test_what_others_need_is_not_deleted(reference: str, words: str) -> None:
    reviews = Reviews()
    assert reviews.refusal(reviews.of(reference), None) == words
    assert Reviews(phase="Terminating").refusal(reviews.of(reference), None) == ""


def test_of_very_many_that_need_an_object_some_are_named() -> None:
    reviews = Reviews()
    for number in range(20):
        reviews.objects.shops.put(shop(f"s-{number:02}", f"{number}.example.com"))
    assert "Shop/s-06 and 13 more: delete" in reviews.refusal(reviews.of("ShopClass/small"), None)


def test_an_object_that_is_going_may_go() -> None:
    reviews = Reviews()
    going = manifest("Tier", "prod", going=True, level=1)
    assert reviews.refusal(going, None) == ""
    assert reviews.refusal(going, {**going, "spec": {"level": 0}}) == ""


def test_metadata_may_always_change() -> None:
    unreadable = manifest("Tier", "qa", level=0, promotion={"bake": "0.5ms"})
    changed = {**unreadable, "metadata": {**unreadable["metadata"], "labels": {"a": "b"}}}
    assert Reviews().refusal(unreadable, changed) == ""


def test_news_that_are_under_way_count() -> None:
    reviews = Reviews(late=manifest("ShopClass", "small", going=True, tier="prod", configuration="production"))
    reviews.objects.fleet.put(manifest("ShopSet", "a-1", tier="dev", configuration="production", cluster="a"))
    reviews.objects.fleet.remove(reviews.of("ShopSet/a-1"))
    reviews.late["metadata"]["resourceVersion"] = "2"  # type: ignore[index]
    assert reviews.refusal(reviews.of("Tier/prod"), None) == ""


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (None, ["two.example.com"], ""),
        (
            None,
            ["two.example.com", "ONE.example.com"],
            "spec.hosts.1: the host one.example.com is taken by the shop one.",
        ),
        (["two.example.com"], ["one.example.com"], "spec.hosts.0: the host one.example.com is taken"),
        (["one.example.com"], ["one.example.com", "two.example.com"], ""),
        (["one.example.com"], ["two.example.com"], ""),
        (None, ["192.0.2.1"], "spec.hosts.0: "),
        (["192.0.2.1"], ["192.0.2.1", "two.example.com"], ""),
    ],
)
def test_a_host_leads_to_one_shop(before: list[str] | None, after: list[str], words: str) -> None:
    found = Reviews().refusal(shop("two", *before) if before else None, shop("two", *after))
    assert found.startswith(words) if words else found == ""


def test_a_shop_may_be_applied_again() -> None:
    one = shop("one", "one.example.com")
    assert Reviews().refusal(one, shop("one", "one.example.com", "www.one.example.com")) == ""


def test_verdicts_are_counted() -> None:
    reviews = Reviews()
    for each in (FREE, WRONG, WRONG):
        reviews.refusal(None, each)
    counted = {
        verdict: reviews.metrics.registry.get_sample_value("shopset_admission_total", {"verdict": verdict})
        for verdict in ("allowed", "refused")
    }
    assert counted == {"allowed": 1, "refused": 2}

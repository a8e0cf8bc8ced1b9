"""An edge whose checks fail although the ShopSets are well, and ShopSets that are dead indeed, on real HAProxy."""

import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest

from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeHealth, EdgeSettings, EdgeShopSet
from shopset.edge import panic
from shopset.edge.configuration import Place, configuration
from support.edges import Edge, edge, facts_of, read_answer, shop
from support.haproxies import haproxy
from support.origins import Origin, origins
from support.shoppers import shopping

__all__ = ["haproxy"]
CLASSES = (EdgeClass("standard", replicas=2), EdgeClass("single"))
LISTS = {"standard#": ("a-1", "b-1"), "single#": ("a-1",), "single#none": ()}
SHOPS = (
    *(shop(f"two-{number}", "standard#") for number in range(10)),
    shop("one", "single#"),
    shop("nowhere", "single#none"),
)
TWO = tuple(each.hosts[0] for each in SHOPS[:10])
ONE, NOWHERE = "one.example.com", "nowhere.example.com"


def _facts(clusters: Mapping[str, int], share: int = 50) -> EdgeFacts:
    """Return those of a fleet. `clusters`: name -> how many ShopSets it has."""
    names = [(f"{cluster}-{number}", cluster) for cluster, count in clusters.items() for number in range(count)]
    return EdgeFacts(
        EdgeSettings(EdgeHealth(panic=share)),
        {name: EdgeShopSet(name, "http://192.0.2.1", cluster=cluster) for name, cluster in names},
    )


@contextmanager
def _fleet(program: str, *names: str, concurrency: int | None = None) -> Iterator[tuple[Edge, dict[str, Origin]]]:
    """Run ShopSets, each in the cluster of its first letter, and an edge."""
    with origins(*names) as shopsets:
        facts = facts_of(shopsets, *CLASSES, concurrency=concurrency)
        known = {name: replace(each, cluster=name[0]) for name, each in facts.shopsets.items()}
        with edge(program, replace(facts, shopsets=known), LISTS, SHOPS) as it:
            yield it, shopsets


def _doubt(it: Edge, shopsets: Mapping[str, Origin]) -> None:
    """Let all checks fail, and nothing else."""
    for each in shopsets.values():
        each.behave(health="500")
    it.wait("DOWN", *shopsets)


def _panics(it: Edge) -> int:
    """Return how many requests were tried in spite of the checks."""
    return it.count("panic", "BACKEND", "stot")


@pytest.mark.parametrize(
    ("clusters", "share", "fewest"),
    [
        ({"a": 1}, 50, 1),
        # One of two is a ShopSet that died, and both are not.
        ({"a": 1, "b": 1}, 50, 1),
        ({"a": 2}, 50, 1),
        ({"a": 1, "b": 1, "c": 1}, 50, 2),
        ({"a": 5, "b": 5}, 50, 5),
        # A cluster that dies is no panic, however large it is.
        ({"a": 7, "b": 3}, 50, 3),
        ({"a": 20, "b": 20, "c": 10}, 50, 25),
        ({"a": 20, "b": 20, "c": 10}, 80, 10),
        ({"a": 20, "b": 20}, 100, 0),
        ({}, 50, 0),
    ],
)
def test_how_many_have_to_be_up(clusters: dict[str, int], share: int, fewest: int) -> None:
    facts = _facts(clusters, share)
    assert panic.fewest_up(facts) == fewest
    assert ("backend panic" in configuration(facts, Place("/state"))) == bool(fewest)


def test_checks_that_all_fail_refuse_nobody(haproxy: str) -> None:
    """Under load, while they begin to fail and afterwards: safe requests are all answered, and others as soon as it has settled."""
    with (
        _fleet(haproxy, "a-1", "b-1") as (it, shopsets),
        shopping(
            it.port, rate=100, hosts=(*TWO, ONE), methods=("GET", "HEAD", "GET", "OPTIONS"), timeout=20
        ) as shoppers,
    ):
        shoppers.wait(50)
        _doubt(it, shopsets)
        before = _panics(it)
        shoppers.wait(100)
        assert _panics(it) >= before + 90
        assert it.request("POST", TWO[0], body=b"x").told == (200, "a-1")
        # One that is dead indeed: what is not sent twice goes on where nothing was sent.
        shopsets["a-1"].kill()
        assert it.get(TWO[0]).told == (200, "b-1")
        assert it.request("POST", TWO[0], body=b"x").told == (200, "b-1")
        shopsets["a-1"].restart()
        shopsets["b-1"].behave()
        it.wait("UP", *shopsets)
        settled = _panics(it)
        shoppers.wait(50)
        outcome = shoppers.finish()
        assert _panics(it) <= settled + 5
    lost = outcome.failed.where(lambda each: each.host != ONE or each.outcome != "503")
    assert lost.outcomes() == {}


def test_a_request_under_way_is_not_lost(haproxy: str) -> None:
    """What the checks cut where the shop has nothing else is sent there again."""
    with (
        _fleet(haproxy, "a-1", "b-1") as (it, shopsets),
        socket.create_connection(("127.0.0.1", it.port), 60) as client,
    ):
        client.sendall(f"GET /?delay=2 HTTP/1.1\r\nHost: {ONE}\r\n\r\n".encode())
        # The second to be marked down is the one that makes it a panic.
        shopsets["b-1"].behave(health="500")
        it.wait("DOWN", "b-1")
        shopsets["a-1"].behave(health="500")
        it.wait("DOWN", "a-1")
        assert read_answer(client).told == (200, "a-1")
        assert shopsets["a-1"].totals()["requests"] == 2


def test_a_shop_whose_shopsets_are_dead_is_told_so(haproxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panic, "PATIENCE", 1)
    with _fleet(haproxy, "a-1", "b-1") as (it, shopsets):
        shopsets["a-1"].kill()
        shopsets["b-1"].behave("hang", health="500")
        it.wait("DOWN", *shopsets)
        began = time.monotonic()
        for host, method in ((TWO[0], "GET"), (ONE, "GET"), (ONE, "POST"), (NOWHERE, "GET")):
            answer = it.request(method, host)
            assert (answer.status, answer.headers["retry-after"]) == (503, "5"), (host, method)
        # Nobody may say of what was sent that it was not done.
        assert it.request("POST", TWO[0]).status == 504
        # What hangs is not waited for as long as where the checks say that it is well.
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("names", [("a-1", "b-1"), ("a-1", "a-2", "a-3", "b-1")])
def test_a_cluster_that_dies_is_believed(haproxy: str, names: tuple[str, ...]) -> None:
    with _fleet(haproxy, *names) as (it, shopsets):
        dead = [name for name in names if name.startswith("a")]
        for name in dead:
            shopsets[name].behave(health="500")
        it.wait("DOWN", *dead)
        answer = it.get(ONE)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert it.get(TWO[0]).told == (200, "b-1")
        assert _panics(it) == 0


def test_a_shopset_gets_no_more_than_it_bears(haproxy: str) -> None:
    with _fleet(haproxy, "a-1", concurrency=2) as (it, shopsets):
        _doubt(it, shopsets)
        connections = [socket.create_connection(("127.0.0.1", it.port), 60) for _ in range(6)]
        for connection in connections:
            connection.sendall(f"GET /?delay=1 HTTP/1.1\r\nHost: {ONE}\r\n\r\n".encode())
        answers = [read_answer(connection) for connection in connections]
        for connection in connections:
            connection.close()
        assert shopsets["a-1"].totals()["requests"] == 2
    assert Counter(each.status for each in answers) == {200: 2, 503: 4}
    assert {each.headers["retry-after"] for each in answers if each.status == 503} == {"5"}

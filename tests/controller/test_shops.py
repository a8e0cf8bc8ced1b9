"""What is kept of the Shops: whose a host is, who refers to a class, and whose condition is to be written."""

import tracemalloc
from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shopset.api.shops import Limits
from shopset.controller.placing import table_of
from shopset.controller.shops import Shops
from shopset.controller.statuses import shop_status
from shopset.core.placement.shops import EdgeWish


def shop(name: str, *hosts: str, since: int = 0, told: str = "", generation: int = 1, **spec: Any) -> dict[str, Any]:
    condition = {"type": "Accepted", "status": "False", "message": told, "observedGeneration": 1}
    return {
        "apiVersion": "shopset.dev/v1alpha1",
        "kind": "Shop",
        "metadata": {
            "name": name,
            "namespace": "fleet",
            "uid": name,
            "resourceVersion": "1",
            "generation": generation,
            "creationTimestamp": f"2026-11-26T10:00:{since:02}Z",
        },
        "spec": {"hosts": list(hosts), "class": "small", **spec},
        "status": {"conditions": [condition] if told else []},
    }


def filled(*manifests: dict[str, Any]) -> Shops:
    shops = Shops()
    for each in manifests:
        shops.put(each)
    shops.retain({each["metadata"]["name"] for each in manifests})
    return shops


def message(shops: Shops, name: str) -> str:
    return " ".join(each["message"] for each in shop_status(shops.problem(name))["conditions"])


def test_the_older_shop_has_the_host_and_of_two_of_one_second_the_first_by_name() -> None:
    shops = filled(shop("a", "x.example.com", since=2), shop("c", "x.example.com", since=1), shop("b", "x.example.com"))
    assert shops.owner("x.example.com", besides="") == "b"
    assert shops.owner("x.example.com", besides="b") == "c"
    assert shops.untold(9) == ["a", "c"]
    assert (
        message(shops, "a") == "spec.hosts.0: the host x.example.com is taken by the shop b. a host leads to one shop"
    )
    assert message(filled(shop("b", "x.example.com"), shop("a", "x.example.com")), "b").startswith("spec.hosts.0")


def test_hosts_are_the_same_once_normalised() -> None:
    assert filled(shop("a", "X.example.com."), shop("b", "y.example.com", "x.example.com:80")).untold(9) == ["b"]


def test_nothing_is_told_before_all_were_listed() -> None:
    told = message(filled(shop("b", "x.example.com"), shop("a", "x.example.com", since=1)), "a")
    shops = Shops()
    shops.put(shop("a", "x.example.com", since=1, told=told))
    shops.put(shop("c", "x.example.com", since=2))
    assert shops.untold(9) == []
    shops.put(shop("b", "x.example.com"))
    assert shops.retain({"a", "b", "c"})
    assert shops.untold(9) == ["c"]


def test_shops_that_are_fine_are_no_news() -> None:
    shops = Shops()
    assert not any(shops.put(shop(f"s-{number}", f"{number}.example.com")) for number in range(100))
    assert shops.put(shop("late", "7.example.com", since=9))
    assert not shops.put(shop("s-7", "7.example.com", generation=2))


def test_what_is_told_already_is_no_news_until_the_shop_changes() -> None:
    shops = filled(shop("a", "x.example.com"), shop("b", "x.example.com", since=1))
    told = message(shops, "b")
    assert not shops.put(shop("b", "x.example.com", since=1, told=told))
    assert shops.untold(9) == []
    assert shops.put(shop("b", "x.example.com", since=1, told=told, generation=2))
    assert shops.put(shop("b", "y.example.com", since=1, told=told, generation=2))
    assert (shops.untold(9), shops.problem("b")) == (["b"], None)


def test_what_is_older_than_what_is_known_is_no_news() -> None:
    shops = filled(shop("a", "x.example.com"))
    newer = shop("b", "y.example.com", since=1)
    newer["metadata"]["resourceVersion"] = "10"
    shops.put(newer)
    assert not shops.put(shop("b", "x.example.com", since=1))
    assert shops.owner("y.example.com", besides="") == "b"


def test_a_host_that_is_free_again_is_news_for_the_next() -> None:
    told = message(filled(shop("a", "x.example.com"), shop("b", "x.example.com", since=1)), "b")
    others = [shop("b", "x.example.com", since=1, told=told), shop("c", "x.example.com", since=2, told=told)]
    for ending in ("removed", "retained", "deleted"):
        shops = filled(shop("a", "x.example.com"), *others)
        assert shops.untold(9) == []
        if ending == "removed":
            assert shops.remove(shop("a"))
        elif ending == "retained":
            assert shops.retain({"b", "c"})
        else:
            going = shop("a", "x.example.com")
            going["metadata"]["deletionTimestamp"] = "2026-11-26T11:00:00Z"
            assert shops.put(going)
        assert shops.untold(9) == ["b", "c"]
        assert (shops.problem("b"), message(shops, "c").split(". ")[0][-1]) == (None, "b")


def test_what_cannot_be_read_is_told_and_has_no_hosts() -> None:
    shops = filled(shop("a", "192.0.2.1"), shop("b", "fine.example.com"))
    assert shops.untold(9) == ["a"]
    assert "is an address" in message(shops, "a")


def test_who_refers_to_a_class_or_a_shopset() -> None:
    shops = filled(shop("b", "b.example.com"), shop("a", "a.example.com", pins=["a-1"]))
    assert shops.dependents("ShopClass/small") == ["Shop/a", "Shop/b"]
    assert shops.dependents("ShopSet/a-1") == ["Shop/a"]
    assert shops.dependents("Tier/small") == []


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Shops as they were seen one after the other; one without hosts is gone."""
    hosts = st.lists(st.sampled_from(["x.example.com", "y.example.com", "z.example.com"]), max_size=3, unique=True)
    seen = draw(st.lists(st.tuples(st.sampled_from("abcd"), hosts), max_size=20))
    ages = {name: draw(st.integers(0, 3)) for name in "abcd"}
    return [shop(name, *found, since=ages[name]) for name, found in seen]


@given(histories())
def test_after_any_history_each_host_is_the_oldest_ones(history: list[dict[str, Any]]) -> None:
    shops = Shops()
    for each in history:
        if each["spec"]["hosts"]:
            shops.put(each)
        else:
            shops.remove(each)
    shops.retain({each["metadata"]["name"] for each in history})
    last = {each["metadata"]["name"]: each for each in history}
    present = sorted(
        (each for each in last.values() if each["spec"]["hosts"]),
        key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]),
    )
    owners: dict[str, str] = {}
    for each in present:
        for host in each["spec"]["hosts"]:
            owners.setdefault(host, each["metadata"]["name"])
    named = [(each["metadata"]["name"], each["spec"]["hosts"]) for each in present]
    lost = {name for name, hosts in named for host in hosts if owners[host] != name}
    assert shops.untold(99) == sorted(lost)
    assert {host: shops.owner(host, besides="") for host in owners} == owners


def test_a_shop_takes_little_memory() -> None:
    shops = Shops()
    tracemalloc.start()
    for number in range(1000):
        shops.put(shop(f"shop-{number}", f"{number}.example.com"))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1000 * 2048


def test_what_the_edge_is_to_know_of_a_shop_is_news_for_the_placement() -> None:
    shops = filled(shop("a", "a.example.com"))
    editions = [shops.edition]
    wishes: list[dict[str, Any]] = [
        {"limits": {"requestsPerSecond": 5.0}},
        {"maintenance": True},
        {"maintenance": True},
    ]
    for wish in wishes:
        shops.put(shop("a", "a.example.com", **wish))
        editions.append(shops.edition)
    assert [after - before for before, after in pairwise(editions)] == [1, 1, 0]
    (wanted,) = shops.wanted()[1]
    assert (wanted.limits, wanted.maintenance) == (None, True)
    table = table_of([replace(wanted, limits=Limits(burst=3))], frozenset())
    assert table.shops.edge == {0: EdgeWish(None, 3, maintenance=True)}
    assert table_of([replace(wanted, maintenance=False)], frozenset()).shops.edge == {}

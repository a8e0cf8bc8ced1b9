"""What an edge does with a request, on real HAProxy: which ShopSet gets it, and what it is answered where none does."""

from shopset.core.placement.edges import EdgeClass, EdgeShop, RateLimit
from shopset.edge.routes import GONE, ROUTE_PREFIX, host_value, slot_of
from support.edges import edge, facts_of, shop
from support.haproxies import haproxy
from support.origins import origins

__all__ = ["haproxy"]
NAMES = ("a-1", "b-1", "c-1")
LISTS = {
    "standard#": ("a-1", "b-1"),
    "standard/three": ("a-1", "b-1", "c-1"),
    "standard/nobody": ("gone-1",),
    "shared#": ("a-1", "b-1"),
    "tried#": ("a-1", "b-1"),
    "small#": ("a-1",),
}
CLASSES = (
    EdgeClass("standard", replicas=2),
    EdgeClass("shared", replicas=2, weights=(60, 40)),
    EdgeClass("tried", replicas=2, canaries=("c-1",), canary_percent=20),
    EdgeClass("small", limit=RateLimit(2, 1)),
)
SHOPS = (
    shop("hoge", "standard#", "hoge.example.com", "xn--bcher-kva.example", "*.hoge.example"),
    shop("three", "standard/three"),
    shop("nobody", "standard/nobody"),
    shop("shared", "shared#"),
    shop("tried", "tried#"),
    shop("small", "small#"),
    shop("closed", "standard#"),
)
CLIENTS = tuple(f"127.0.{number // 200}.{number % 200 + 1}" for number in range(400))


def test_routing(haproxy: str) -> None:
    """Everything that needs no ShopSet to misbehave, in one process."""
    facts = facts_of({}, *CLASSES)
    with origins(*NAMES) as shopsets:
        facts = facts_of(shopsets, *CLASSES, shops=[EdgeShop("closed", maintenance=True)])
        with edge(haproxy, facts, LISTS, SHOPS) as it:
            assert it.get("hoge.example.com").told == (200, "a-1")
            assert it.get("small.example.com").told == (200, "a-1")
            assert it.get("unknown.example.com").told == (404, "")
            nobody = it.get("nobody.example.com")
            assert (nobody.status, nobody.headers["retry-after"]) == (503, "5")
            closed = it.get("closed.example.com")
            assert (closed.status, closed.headers["retry-after"]) == (503, "300")
            assert b"being worked on" in closed.body

            # Lists that the client's address chooses.
            for host, shares in (("shared", {"a-1": 60, "b-1": 100}), ("tried", {"c-1": 20, "a-1": 100})):
                wanted = {
                    each: next(n for n, bound in shares.items() if slot_of(each) < bound) for each in CLIENTS[::8]
                }
                assert {each: it.get(f"{host}.example.com", source=each).shopset for each in wanted} == wanted

            # The overlay: hosts that moved, came and went, and routes that changed.
            it.swap(
                [
                    ("hoge.example.com", host_value("hoge", "standard/x", ":::c-1")),
                    ("new.example.com", host_value("new", "standard/x", ":::b-1")),
                    ("three.example.com", GONE),
                    (f"{ROUTE_PREFIX}shared#", ":::c-1:a-1"),
                ]
            )
            hosts = ("hoge.example.com", "new.example.com", "shared.example.com")
            assert [it.get(each).shopset for each in hosts] == ["c-1", "b-1", "c-1"]
            assert it.get("three.example.com").status == 404
            assert it.get("r=shared#").status in (400, 404)
            assert it.get("R=shared#").status in (400, 404)
            it.swap([])
            assert [it.get(each).told for each in ("hoge.example.com", "new.example.com")] == [(200, "a-1"), (404, "")]

            # A spare backend is put into use at run time.
            it.api(f"set server spare-0/p addr 127.0.0.1 port {shopsets['c-1'].port}")
            it.api("set server spare-0/p state ready")
            it.wait("UP", "spare-0")
            it.swap([("new.example.com", host_value("new", "standard/x", ":::spare-0:a-1"))])
            assert it.get("new.example.com").told == (200, "c-1")


def test_further_replicas(haproxy: str) -> None:
    """A request goes through as many ShopSets of its list as it must, and one that is not safe through one."""
    with origins(*NAMES) as shopsets:
        facts = facts_of(shopsets, *CLASSES)
        with edge(haproxy, facts, LISTS, SHOPS) as it:
            for name in ("a-1", "b-1"):
                shopsets[name].behave("reset")
            assert it.get("three.example.com").told == (200, "c-1")
            assert it.request("POST", "three.example.com").status == 502
            # The one after the first was not asked, and nor was the canary of another class.
            assert [each.totals()["requests"] for each in shopsets.values()] == [2, 1, 1]
            shopsets["c-1"].behave("500")
            assert it.get("three.example.com").told == (500, "c-1")
            # A client of the canary is served by the class's own ShopSets where that fails.
            for each in shopsets.values():
                each.behave()
            client = next(each for each in CLIENTS if slot_of(each) < 20)
            assert it.get("tried.example.com", source=client).told == (200, "c-1")
            shopsets["c-1"].kill()
            assert it.request("POST", "tried.example.com", source=client).told == (200, "a-1")
            it.wait("DOWN", "c-1")
            assert it.get("tried.example.com", source=client).told == (200, "a-1")

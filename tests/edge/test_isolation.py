"""One shop at 50 times its limit takes nothing from the others, and is still served up to its limit.

Requests are counted, and nothing is timed: a busy machine makes this slower and not wrong.
"""

from pathlib import Path

from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeShopSet, RateLimit
from shopset.core.placement.placements import Group, PlacedShop
from shopset.edge.configuration import Place, configuration
from shopset.edge.routes import host_entries, routes
from support.edges import write_hosts
from support.haproxies import check, haproxy, running, wait_for_state
from support.origins import Origin, free_port, origins
from support.shoppers import shopping

__all__ = ["haproxy"]
LIMIT = RateLimit(requests_per_second=5, burst=5)
OTHERS = tuple(f"shop-{number}.example.com" for number in range(50))
RUSHED = "rushed.example.com"
NAMES = ("a-1", "b-1")


def _lay_down(folder: Path, endpoints: dict[str, Origin], port: int, concurrency: int | None = None) -> Place:
    shopsets = {
        name: EdgeShopSet(name, f"http://{each.address}", concurrency=concurrency) for name, each in endpoints.items()
    }
    facts = EdgeFacts(shopsets=shopsets, classes={"standard": EdgeClass("standard", limit=LIMIT, replicas=2)})
    groups = {"standard#0": Group("standard#0", "standard", NAMES)}
    shops = [PlacedShop(host.partition(".")[0], "standard#0", (host,)) for host in (*OTHERS, RUSHED)]
    place = Place(str(folder), http=(f"127.0.0.1:{port}",), threads=1, connections=2000)
    for each in ("maps", "run"):
        (folder / each).mkdir()
    entries = host_entries(shops, facts, routes(facts, groups, {}))
    write_hosts(Path(place.hosts_map), entries)
    Path(place.moved_map).touch()
    Path(place.configuration).write_text(configuration(facts, place))
    return place


def test_a_rush_on_one_shop_fails_no_request_of_the_others(haproxy: str, tmp_path: Path) -> None:
    port = free_port()
    with origins(*NAMES) as shopsets:
        place = _lay_down(tmp_path, shopsets, port)
        check(haproxy, Path(place.configuration))
        with running(haproxy, Path(place.configuration), ready=port):
            for name in NAMES:
                wait_for_state(Path(place.runtime_socket), f"{name}/p", "UP")
            # Each of the others is at a third of its limit, which holds for each shop by itself.
            with (
                shopping(port, rate=50 * 5, hosts=[RUSHED], addresses=["127.0.0.2", "127.0.0.3"]) as rush,
                shopping(port, rate=70, hosts=OTHERS, methods=("GET", "GET", "POST"), requests=700) as others,
            ):
                quiet = others.finish()
                rushing = rush.end()
        received = sum(shopset.totals()["requests"] for shopset in shopsets.values())
    assert len(quiet) == 700
    assert quiet.failed.outcomes() == {}
    assert set(rushing.outcomes()) == {"200", "429"}
    assert len(rushing) > 50 * 5 * 8
    allowed = len(rushing) - len(rushing.failed)
    # A fiftieth by the limit; somewhat more at first, and it is drawn by lot.
    assert allowed <= len(rushing) / 10
    # It is still served, and no less when the rush lasts: a rush that shut its own shop would be an attack that works.
    late = rushing.where(lambda each: each.at > 6)
    assert LIMIT.requests_per_second is not None
    assert len(late) - len(late.failed) >= LIMIT.requests_per_second * late.span() / 3
    assert received == len(quiet) + allowed

"""The configuration: the same bytes for the same facts, and accepted by both HAProxys whatever the facts are."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeHealth, EdgeSettings, EdgeShopSet, RateLimit
from shopset.edge.configuration import Place, configuration, server_address
from support.certificates import certificate, make_authority
from support.haproxies import check, haproxy

__all__ = ["haproxy"]
GOLDEN = Path(__file__).with_name("golden")
PLACE = Place("/var/lib/shopset-edge", spares=1, threads=2)
SMALL = EdgeFacts(shopsets={"a-1": EdgeShopSet("a-1", "http://192.0.2.1:8080")}, classes={"c": EdgeClass("c")})
ALL = EdgeFacts(
    EdgeSettings(EdgeHealth("/ready", 500, 400, 3, 4, 0), RateLimit(20, 100), ("/cart", "/pay"), "Https"),
    {
        "a-1": EdgeShopSet("a-1", "https://localhost:9443", concurrency=200),
        "b-1": EdgeShopSet("b-1", "https://[2001:db8::1]:8443", concurrency=1),
        "shops": EdgeShopSet("shops", "http://192.0.2.1"),
        "spare-0": EdgeShopSet("spare-0", "http://192.0.2.2"),
    },
    {"c": EdgeClass("c", RateLimit(10, 20), overload="Spill", replicas=2)},
)
PLACES = {
    "small": (SMALL, PLACE),
    "all": (
        ALL,
        replace(
            PLACE,
            https=("*:8443",),
            metrics="127.0.0.1:8404",
            accept_proxy=True,
            trusted_proxies=("192.0.2.0/24",),
            log="127.0.0.1:514",
        ),
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_golden(name: str) -> None:
    """A change of these bytes reloads every edge: it is made on purpose, and this file with it."""
    assert configuration(*PLACES[name]) == (GOLDEN / f"{name}.cfg").read_text()


@pytest.mark.parametrize("name", PLACES)
def test_haproxy_accepts_it(haproxy: str, name: str, tmp_path: Path) -> None:
    facts, place = PLACES[name]
    place = replace(
        place, state=str(tmp_path), http=("127.0.0.1:8080",), authorities=str(make_authority(tmp_path / "ca"))
    )
    for each in ("maps", "run", "certificates"):
        (tmp_path / each).mkdir()
    for each in (place.hosts_map, place.moved_map):
        Path(each).touch()
    file = tmp_path / "certificates" / "hoge.pem"
    file.write_text(certificate("hoge.example.com"))
    Path(place.certificate_list).write_text(f"{file}\n")
    Path(place.configuration).write_text(configuration(facts, place))
    check(haproxy, Path(place.configuration))


@given(st.permutations(sorted(ALL.shopsets)))
def test_each_shopset_has_a_backend_of_its_own(names: list[str]) -> None:
    facts = replace(ALL, shopsets={name: ALL.shopsets[name] for name in names})
    sections = [line for line in configuration(facts, PLACES["all"][1]).splitlines() if line.startswith("backend ")]
    assert len(sections) == len(set(sections))
    assert {"backend a-1", "backend b-1", "backend shops.", "backend spare-0.", "backend spare-0"} <= set(sections)


def test_a_folder_that_haproxy_has_no_way_to_write_is_refused() -> None:
    for state in ("relative", "/with blank", "/with,comma", "/with(bracket"):
        with pytest.raises(ValueError, match="no absolute path"):
            Place(state)


def test_addresses() -> None:
    assert server_address("https://a.example.com") == ("a.example.com", 443)
    assert server_address("http://192.0.2.1") == ("192.0.2.1", 80)
    assert server_address("http://[2001:db8::1]:8080") == ("2001:db8::1", 8080)

"""What HAProxy, the maps and the planner think of a host is the same, however a client writes it."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.api.errors import InvalidValueError
from shopset.api.hosts import normalise_host
from shopset.core.placement.edges import EdgeClass, EdgeFacts, EdgeShopSet, RateLimit
from shopset.core.placement.placements import Group
from shopset.edge.routes import (
    GONE,
    LISTS,
    PEAK_FLOOR,
    RANKS,
    SLOTS,
    TOTAL_FLOOR,
    Choice,
    HostValue,
    Route,
    backend_of,
    group_route,
    host_value,
    parse_host_value,
    parse_route,
    route_text,
    routes,
    shopset_of,
    slot_of,
)
from support.edges import Answer, Edge, edge, facts_of, read_answer, shop
from support.haproxies import haproxy
from support.origins import origins

__all__ = ["haproxy"]

# --- The codec --------------------------------------------------------------------------------------------------------

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
LISTS_OF_NAMES = st.lists(NAMES, max_size=RANKS, unique=True).map(tuple)
BOUNDS = st.none() | st.integers(1, 10**7)


@st.composite
def _routes(draw: st.DrawFn) -> Route:
    count = draw(st.integers(0, 4))
    bounds = sorted(draw(st.lists(st.integers(1, SLOTS - 1), min_size=count, max_size=count, unique=True)))
    choices = tuple(Choice(bound, draw(LISTS_OF_NAMES)) for bound in [*bounds, SLOTS])
    return Route(draw(BOUNDS), draw(BOUNDS), draw(st.booleans()), draw(st.booleans()), choices)


@given(_routes(), NAMES, st.from_regex(r"[a-z]{1,8}(#[01]{0,8}|/[-a-z0-9]{1,8})", fullmatch=True))
def test_what_is_written_is_read_back(route: Route, name: str, group: str) -> None:
    text = route_text(route)
    assert parse_route(text) == route
    assert parse_host_value(host_value(name, group, text)) == HostValue(name, group, route)
    # One line of a map, which HAProxy cuts at blanks.
    assert re.fullmatch(r"[!-~]+", text)


@given(_routes())
def test_only_plain_routes_name_a_backend_first(route: Route) -> None:
    """HAProxy takes the short way where the sixth field of a host's value is a backend that is up."""
    sixth = host_value("hoge", "standard#", route_text(route)).split(":")[5]
    plain = not route.maintenance and len(route.choices) == 1
    small = (route.peak or PEAK_FLOOR) < PEAK_FLOOR or (route.total or TOTAL_FLOOR) < TOTAL_FLOOR
    if plain and not small:
        assert sixth == (route.choices[0].backends or ("",))[0]
    else:
        assert sixth.startswith("|")


@given(NAMES)
def test_a_backend_is_named_after_its_shopset(name: str) -> None:
    assert shopset_of(backend_of(name)) == name


def test_a_value_that_says_gone_or_nothing() -> None:
    assert parse_host_value(GONE) is None
    with pytest.raises(ValueError, match="names no route"):
        parse_host_value("hoge:standard#:::a-1")
    with pytest.raises(ValueError, match="not enough values"):
        parse_route("a")


WIDE = st.lists(NAMES, min_size=1, max_size=20, unique=True)


@given(
    WIDE,
    st.integers(0, 16),
    st.integers(1, 16),
    st.none() | st.integers(1, 50),
    st.lists(st.integers(1, 100), max_size=16),
)
def test_every_client_has_a_list_and_every_replica_its_clients(
    names: list[str], spread: int, replicas: int, percent: int | None, weights: list[int]
) -> None:
    facts = EdgeFacts(
        shopsets={name: EdgeShopSet(name, f"http://{name}.example.com") for name in [*names, "x-canary"]},
        classes={
            "c": EdgeClass(
                "c",
                RateLimit(5, 1),
                tuple(weights),
                canaries=("x-canary",) if percent else (),
                canary_percent=percent or 0,
                replicas=replicas,
            )
        },
    )
    route = parse_route(group_route(facts, Group("c#", "c", tuple(names), spread=spread)))
    assert [choice.bound for choice in route.choices] == sorted(choice.bound for choice in route.choices)
    assert route.choices[-1].bound == SLOTS
    assert len(route.choices) <= LISTS
    assert all(1 <= len(choice.backends) <= RANKS for choice in route.choices)
    share = sum(route.backends(slot)[0] == "x-canary" for slot in range(SLOTS))
    assert share == (percent or 0)
    assert (route.peak, route.total) == (6, 51)


def test_a_shop_has_a_route_of_its_own_where_something_is_special() -> None:
    facts = facts_of({}, EdgeClass("c", RateLimit(10, 10), overload="Spill"))
    facts = EdgeFacts(facts.settings, {"a-1": EdgeShopSet("a-1", "http://a.example.com")}, facts.classes)
    groups = {"c#": Group("c#", "c", ("a-1", "gone-1"))}
    assert routes(facts, groups, {}) == {"c#": "20:110:s:a-1"}
    assert routes(facts, groups, {}, {"a-1": "spare-3"}) == {"c#": "20:110:s:spare-3"}


def test_slots() -> None:
    assert slot_of("127.0.0.1") == 16
    assert slot_of("::ffff:127.0.0.1") == 16
    assert slot_of("2001:db8::1") == slot_of("2001:db8::ffff:1")


# --- HAProxy ----------------------------------------------------------------------------------------------------------

SPELLINGS = (
    "hoge.example.com",
    "HOGE.Example.COM",
    "hoge.example.com:8080",
    "hoge.example.com:",
    "hoge.example.com.",
    "Hoge.example.com.:443",
    "hoge.example.com..",
    ".hoge.example.com",
    "hoge..example.com",
    "hoge.example.com:80:90",
    "hoge.example.com:http",
    "hoge.example.com/",
    "hoge.example.com,other.example.com",
    "other.example.com,hoge.example.com",
    "hoge.example.com other.example.com",
    "hoge.example.com\tother.example.com",
    "hoge.example.com#",
    "user@hoge.example.com",
    "any.hoge.example",
    "ANY.Hoge.example.:80",
    "a.b.hoge.example",
    "hoge.example",
    "own.hoge.example",
    "xn--bcher-kva.example",
    "XN--BCHER-KVA.example",
    "b\u00fccher.example",
    "under_score.example.com",
    "R=standard#",
    "r=standard#",
    "R=standard#.example.com",
    "-",
    ":",
    "127.0.0.1",
    "[::1]",
    "[::1]:80",
    "a" * 64 + ".example.com",
    "localhost",
)
LENIENT = {"hoge.example.com:http"}
"""A port that is none is cut off by HAProxy; the host is the same."""
SHOPS = (
    shop("hoge", "standard#", "hoge.example.com", "*.hoge.example", "xn--bcher-kva.example", "under_score.example.com"),
    shop("other", "other#", "other.example.com", "own.hoge.example"),
)
KNOWN = {host: each.name for each in SHOPS for host in each.hosts}
SHOPSETS = {"a-1": "hoge", "b-1": "other"}


@contextmanager
def _edge(program: str) -> Iterator[Edge]:
    with origins("a-1", "b-1") as shopsets:
        facts = facts_of(shopsets, EdgeClass("standard"), EdgeClass("other"))
        with edge(program, facts, {"standard#": ("a-1",), "other#": ("b-1",)}, SHOPS) as it:
            yield it


def _expected(spelling: str) -> str | None:
    """Return the shop that the planner would say this is."""
    try:
        host = normalise_host(spelling)
    except InvalidValueError:
        return None
    return KNOWN.get(host) or KNOWN.get("*." + host.partition(".")[2])


def _spellings() -> Iterator[str]:
    """Yield hosts of all kinds: known ones, and those with one thing changed in every place."""
    yield from SPELLINGS
    for host in ("hoge.example.com", "x.hoge.example", "other.example.com"):
        for place in range(len(host) + 1):
            for sign in ".:-_*#=|,;@%&+~!'()[]{}\\\"<>?^`$A1":
                yield host[:place] + sign + host[place:]


def _ask(connection: socket.socket, host: str) -> Answer:
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
    return read_answer(connection)


def test_haproxy_and_the_planner_agree_on_hosts(haproxy: str) -> None:
    differing = {}
    with _edge(haproxy) as it:
        connection = socket.create_connection(("127.0.0.1", it.port), 30)
        for spelling in _spellings():
            answer = _ask(connection, spelling)
            served = SHOPSETS[answer.shopset] if answer.status == 200 else None
            assert answer.status in (200, 400, 404), (spelling, answer)
            if answer.status != 200:
                connection.close()
                connection = socket.create_connection(("127.0.0.1", it.port), 30)
            expected = _expected(spelling) if spelling.isascii() and spelling not in LENIENT else served
            if served != expected:
                differing[spelling] = (served, expected)
        connection.close()
    assert differing == {}


def _raw(*lines: str) -> bytes:
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


def test_one_request_is_for_one_host(haproxy: str) -> None:
    with _edge(haproxy) as it:

        def told(*lines: str) -> tuple[int, str]:
            return it.send(_raw(*lines)).told

        assert told("GET / HTTP/1.1", "Host: hoge.example.com", "Host: other.example.com")[0] == 400
        # The address in the request line counts, and has to be the same.
        assert told("GET http://hoge.example.com/ HTTP/1.1", "Host: other.example.com")[1] != "b-1"
        assert told("GET http://hoge.example.com/ HTTP/1.1", "Host: hoge.example.com") == (200, "a-1")
        assert told("GET / HTTP/1.0")[0] == 404
        assert told("GET / HTTP/1.1")[0] in (400, 404)
        assert told("CONNECT other.example.com:443 HTTP/1.1", "Host: hoge.example.com")[1] != "b-1"
        assert told("GET / HTTP/1.1", "Host : hoge.example.com")[0] == 400
        assert told("GET / HTTP/1.1", "Host: hoge.example.com", f"X: {'x' * 20_000}")[0] in (400, 431)
        assert told("GET / HTTP/1.1", f"Host: {'a.' * 8000}example.com")[0] in (400, 404)
        assert told(*["GET / HTTP/1.1", "Host: hoge.example.com", *(f"X-{n}: 1" for n in range(300))])[0] == 400


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: other.example.com\r\nConnection: close\r\n\r\n"
BODIES = (
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "hello",
    "5;a=\n\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
)
HEADS = (
    ("Content-Length: 5", "Transfer-Encoding: chunked"),
    ("Transfer-Encoding: chunked", "Content-Length: 5"),
    ("Content-Length: 5", "Content-Length: 6"),
    ("Content-Length: 5, 6",),
    ("Content-Length: +5",),
    ("Content-Length: -5",),
    ("Content-Length: 5 5",),
    ("Transfer-Encoding: chunked, identity",),
    ("Transfer-Encoding: identity, chunked",),
    ("Transfer-Encoding: xchunked",),
    ("Transfer-Encoding : chunked",),
    ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    ("X: y", " Transfer-Encoding: chunked"),
    ("Transfer-Encoding: chunked",),
    ("Content-Length: 5",),
)


def test_no_request_is_smuggled(haproxy: str) -> None:
    """However a body is framed, a ShopSet sees as many requests as the edge has led to it: none hides in another."""
    with origins("a-1", "b-1") as shopsets:
        facts = facts_of(shopsets, EdgeClass("standard"), EdgeClass("other"))
        with edge(haproxy, facts, {"standard#": ("a-1",), "other#": ("b-1",)}, SHOPS) as it:
            for head in HEADS:
                for body in BODIES:
                    lines = ("POST / HTTP/1.1", "Host: hoge.example.com", *head)
                    data = it.exchange(("\r\n".join([*lines, "", ""]) + body + SMUGGLED).encode())
                    by = [data.count(f"x-shopset: {name}".encode()) for name in shopsets]
                    seen = [each.totals()["requests"] for each in shopsets.values()]
                    assert by == seen, (head, body)
                    assert by[0] <= 1, (head, body)
                    for each in shopsets.values():
                        each.forget()

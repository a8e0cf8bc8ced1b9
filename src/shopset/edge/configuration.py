"""The configuration of an edge's HAProxy: everything but the maps, from what the placement says of the fleet.

Most requests take the short way through the frontend `edge`: the host is found, the shop is well below every limit, its first
ShopSet is up and nothing fails there. `http-request allow` ends the rules for them; whatever costs more is below it.
A backend that can't serve a request has a second server, the Unix socket of the frontend `next`: this process again, which looks
the list up and goes on after the ShopSet whose name comes with the connection (the unique id of the PROXY protocol). That socket
is for this user alone, so nobody else can say so, and no header has to.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from shopset.core.placement.edges import EdgeFacts, EdgeShopSet
from shopset.edge import _pages, _rules, panic
from shopset.edge.places import Place
from shopset.edge.routes import SPARE_PREFIX, backend_of

__all__ = ["FULL", "SPILLED", "Place", "configuration", "server_address"]

FULL: Final = 80
"""Percent of a ShopSet's concurrency that requests outside of the lanes may fill."""
SPILLED: Final = 70
"""Percent of it that requests spilled from another ShopSet may fill up to."""
_DISTINCT: Final = 8
"""Shops that begin to fail within two seconds, after which a ShopSet is ejected for all..."""
_SHARE: Final = 10
"""... where they are this part of its requests per second."""


def configuration(facts: EdgeFacts, place: Place) -> str:
    """Return the text of `haproxy.cfg`."""
    sections = (
        _global(facts, place),
        _defaults(facts, place),
        _resolvers(facts),
        _rules.edge(facts, place),
        _rules.next_(facts, place),
        _exporter(place),
        _tables(facts, place),
        *(_backend(facts, place, shopset) for shopset in facts.shopsets.values()),
        *(_spare(facts, place, number) for number in range(place.spares)),
        panic.backend(facts, place, _servers(facts, place), _rules.SAFE, _rules.RETRIED),
    )
    return "\n".join("\n".join(lines) + "\n" for section in sections if (lines := list(section)))


def server_address(endpoint: str) -> tuple[str, int]:
    """Return host and port of an endpoint, as `set server ... addr ... port` takes them."""
    url = urlsplit(endpoint)
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _global(facts: EdgeFacts, place: Place) -> Iterator[str]:
    yield "global"
    if _rules.client_limit(facts.settings.clients) is not None:
        yield from (".if version_atleast(2.8)", "    tune.stick-counters 4", ".endif")
    if place.threads:
        yield f"    nbthread {place.threads}"
    # A request that is sent on is a connection of this process to itself.
    yield f"    maxconn {2 * place.connections}"
    yield f"    stats socket {place.runtime_socket} mode 600 level admin expose-fd listeners"
    yield "    stats timeout 5m"
    yield "    hard-stop-after 30m"
    if place.user:
        yield f"    user {place.user}"
    if place.group:
        yield f"    group {place.group}"
    if place.log:
        yield f"    log {place.log} len 8192 format raw local0 info"
    if place.https:
        yield "    ssl-default-bind-options ssl-min-ver TLSv1.2"


def _defaults(facts: EdgeFacts, place: Place) -> Iterator[str]:
    health = facts.settings.health
    yield from (
        "defaults",
        "    mode http",
        "    timeout http-request 10s",
        "    timeout http-keep-alive 30s",
        f"    timeout client {place.silence}",
        f"    timeout server {place.silence}",
        "    timeout tunnel 1h",
        "    timeout connect 300ms",
        "    timeout queue 100ms",
        f"    timeout check {health.timeout}ms",
        "    http-reuse always",
        # The one retry goes to the server `next`: redispatch leaves out the one that failed.
        "    retries 1",
        "    option redispatch",
        f"    retry-on {_rules.RETRIED}",
        "    option dontlognull",
        "    option httpchk",
        f"    http-check send meth GET uri {health.path} ver HTTP/1.1 hdr Host edge-health",
        # The socket `next` is told who sends a request on, why where nothing failed, and in `panic` who was tried.
        "    unique-id-format %b:%[var(txn.why)]:%[var(txn.tried)]",
    )


def _resolvers(facts: EdgeFacts) -> Iterator[str]:
    if any(_is_name(urlsplit(shopset.endpoint)) for shopset in facts.shopsets.values()):
        yield "resolvers system"
        yield "    parse-resolv-conf"
        yield "    hold valid 10s"


def _exporter(place: Place) -> Iterator[str]:
    if place.metrics:
        yield "frontend metrics"
        yield f"    bind {place.metrics}"
        yield "    http-request use-service prometheus-exporter if { path /metrics }"
        yield "    http-request return status 404"


def _tables(facts: EdgeFacts, place: Place) -> Iterator[str]:
    yield "backend none"
    yield f"    http-request return status 503 {_pages.DOWN}"
    yield ""
    yield "backend shops"
    stored = "http_req_rate(1s),gpc1_rate(10s),http_req_cnt,http_fail_cnt,gpc0"
    yield f"    stick-table type string len 64 size {place.shops} expire 5m store {stored}"
    if _rules.client_limit(facts.settings.clients) is not None:
        yield ""
        yield "backend clients"
        yield f"    stick-table type ipv6 size {place.clients} expire 30s store http_req_rate(10s)"
    yield ""
    yield "backend failures"
    yield "    stick-table type string len 128 size 100k expire 20s store gpc0_rate(10s)"
    yield ""
    yield "backend troubles"
    yield "    stick-table type string len 64 size 10k expire 20s store gpc0_rate(2s),gpc1_rate(10s)"


def _backend(facts: EdgeFacts, place: Place, shopset: EdgeShopSet) -> Iterator[str]:
    url = urlsplit(shopset.endpoint)
    name = backend_of(shopset.name)
    yield f"backend {name}"
    health = facts.settings.health
    yield f"    http-check send meth GET uri {health.path} ver HTTP/1.1 hdr Host {url.netloc}"
    yield from _backend_rules(facts, place, name, shopset.concurrency)
    check_name = f" check-sni {url.hostname}" if url.scheme == "https" and _is_name(url) else ""
    yield f"    server p {_server(place, shopset)}{check_name} {_check(facts)}"
    yield _next(place)


def _servers(facts: EdgeFacts, place: Place) -> dict[str, str]:
    return {name: _server(place, shopset) for name, shopset in facts.shopsets.items()}


def _server(place: Place, shopset: EdgeShopSet) -> str:
    """Return where a ShopSet is, as `server` takes it."""
    url = urlsplit(shopset.endpoint)
    host, port = server_address(shopset.endpoint)
    options = ""
    if url.scheme == "https":
        options += f" ssl verify required ca-file {place.authorities}"
        if _is_name(url):
            options += f" sni str({host})"
    if _is_name(url):
        options += " resolvers system init-addr last,libc,none"
    return f"[{host}]:{port}{options}" if ":" in host else f"{host}:{port}{options}"


def _spare(facts: EdgeFacts, place: Place, number: int) -> Iterator[str]:
    """Yield a backend for a ShopSet to come: `set server spare-0/p addr ... port ...`, then `... state ready`."""
    name = f"{SPARE_PREFIX}{number}"
    yield f"backend {name}"
    yield from _backend_rules(facts, place, name, None)
    yield f"    server p 0.0.0.0:80 {_check(facts)} disabled"
    yield _next(place)


def _backend_rules(facts: EdgeFacts, place: Place, name: str, concurrency: int | None) -> Iterator[str]:
    yield "    balance first"
    yield f"    http-request disable-l7-retry unless {_rules.SAFE}"
    room = "" if concurrency is None else f" {{ srv_conn({name}/p) lt {concurrency * SPILLED // 100} }}"
    yield f"    http-request allow if {{ srv_weight({name}/p) eq 100 }}{room}"
    yield "    # It has just come back, or is rather full."
    yield f"    http-request set-var(txn.weight) srv_weight({name}/p)"
    fresh = "!{ var(txn.why) -m found } { rand(100),sub(txn.weight) ge 0 }"
    yield f"    http-request set-var(txn.why) str(ramp) if {fresh}"
    if concurrency is not None:
        yield from _breaker(facts, name, concurrency)
    yield "    http-request disable-l7-retry if { var(txn.why) -m found }"
    yield "    use-server next if { var(txn.why) -m str ramp spill }"
    yield from _responses(place, name)


def _breaker(facts: EdgeFacts, name: str, concurrency: int) -> Iterator[str]:
    """Yield what becomes of requests for a full ShopSet."""
    lanes = " ".join(facts.settings.lanes)
    used = f"srv_conn({name}/p)"
    full = "    http-request set-var(txn.full) bool(true) if"
    yield f"{full} {{ {used} ge {concurrency} }}"
    other = f" !{{ path_beg {lanes} }}" if lanes else ""
    yield f"{full} {{ {used} ge {max(1, concurrency * FULL // 100)} }}{other}"
    yield f"{full} {{ {used} ge {max(1, concurrency * SPILLED // 100)} }} {{ var(txn.came) -m str spill }}"
    spill = "{ var(txn.full) -m found } { var(txn.r),field(5,:) -m sub s } !{ var(txn.came) -m str spill }"
    yield f"    http-request set-var(txn.why) str(spill) if {spill} !{{ var(txn.why) -m found }}"
    refused = "{ var(txn.full) -m found } !{ var(txn.why) -m str ramp spill }"
    yield f"    http-request return status 503 {_pages.FULL} if {refused}"


def _responses(place: Place, name: str) -> Iterator[str]:
    """Yield what is counted of answers: failures of this ShopSet for the shop, and in how many shops there are some."""
    if place.log:
        yield "    http-response set-var(txn.by) be_name"
    yield "    http-response allow if { status lt 500 } { srv_name p }"
    yield from panic.passed_on("{ srv_name next }")
    yield "    http-response allow if { var(txn.why) -m found }"
    yield "    http-response set-var(txn.shop) var(txn.r),field(1,:)"
    yield "    http-response track-sc1 be_name table troubles"
    yield "    http-response track-sc2 be_name,concat(/,txn.shop) table failures"
    yield "    http-response sc-inc-gpc0(1) if { sc_gpc0_rate(2) eq 0 }"
    yield "    http-response sc-inc-gpc0(2)"
    yield f"    http-response set-var(txn.rate) be_sess_rate({name})"
    many = f"{{ sc_gpc0_rate(1) ge {_DISTINCT} }} {{ sc_gpc0_rate(1),mul({_SHARE}),sub(txn.rate) ge 0 }}"
    yield f"    http-response sc-inc-gpc1(1) if {many}"
    yield "    http-response sc-inc-gpc1(1) if { sc_gpc1_rate(1) gt 0 } { sc_gpc0_rate(1) ge 2 }"


def _check(facts: EdgeFacts) -> str:
    health = facts.settings.health
    ramp = f" slowstart {health.slow_start}ms" if health.slow_start else ""
    return (
        f"check inter {health.interval}ms fastinter {max(1, health.interval // 4)}ms fall {health.fall} rise {health.rise}"
        f" weight 100{ramp} on-marked-down shutdown-sessions"
    )


def _next(place: Place) -> str:
    return f"    server next {panic.way_on(place)}"


def _is_name(url: SplitResult) -> bool:
    try:
        ip_address(url.hostname or "")
    except ValueError:
        return True
    return False

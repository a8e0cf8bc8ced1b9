"""The rules of the frontends: which ShopSet a request is led to, or what it is answered instead.

Variables: `txn.host` as the maps have it, `txn.r` what they say (see `routes`), `txn.shop`, `txn.list` the client's list of
ShopSets, `txn.to` the backend.
"""

from collections.abc import Iterator
from typing import Final

from shopset.core.placement.edges import EdgeFacts, RateLimit
from shopset.edge import _pages, panic
from shopset.edge.hostmap import ALONE, BUCKETS, VALUE
from shopset.edge.places import Place
from shopset.edge.routes import LISTS, PEAK_FLOOR, RANKS, ROUTE_PREFIX, SLOTS

TROUBLE: Final = 3
"""Failures of a shop in a ShopSet within ten seconds after which others come before it."""
_PROBES: Final = 50
"""One of so many safe requests goes to a ShopSet although others come before it, to see whether it is well again."""
_CLIENT_WINDOW: Final = 10
_LOTS: Final = 1_000_000
_ID: Final = "%Ts-%[rand]-%[rand]"
"""Of a request: 64 bits by lot within a second tell it from those of all processes and edges. A UUID costs twice as much."""

SAFE: Final = "{ method GET HEAD OPTIONS }"
RETRIED: Final = "conn-failure empty-response junk-response 500 502 503 504"
"""What is sent on, as `retry-on` takes it."""
_KNOWN: Final = f"{{ var(txn.r) -m sub :{ROUTE_PREFIX} }}"
_LABEL: Final = "^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?[.]"
"""What `*` may stand for."""
_PART: Final = f"[^{ALONE}]*+"
"""A host in front, or what an entry says of one host."""
_OWN: Final = rf'regsub("^({_PART})(?:{ALONE}(?!\1{VALUE}){_PART})*+(?:{ALONE}\1({VALUE}{_PART}))?+(?s:.*)","\2"),field(2,{ALONE}{VALUE})'
"""What an entry of the large map says of the host that is in front of it; nothing where it does not have it.

The pattern never goes back, so a full entry takes a library of regular expressions neither stack nor steps. Should one give up
all the same, the second field is the name of another host, which leads nowhere.
"""
_LISTED: Final = "var(txn.list)"
_CHOSEN: Final = "{ var(txn.to) -m found }"
_LOG: Final = ",".join(
    (
        '{"time":%Ts.%ms',
        '"client":"%[src]"',
        '"method":"%[method,json(utf8s)]"',
        '"host":"%[var(txn.host),json(utf8s)]"',
        '"path":"%[var(txn.path),json(utf8s)]"',
        '"shop":"%[var(txn.r),field(1,:)]"',
        '"shopset":"%[var(txn.by)]"',
        '"hops":%[var(txn.hops,0)]',
        '"status":%ST',
        '"received":%U',
        '"sent":%B',
        '"milliseconds":{"request":%TR,"queue":%Tw,"connect":%Tc,"response":%Tr,"total":%Ta}',
        '"retries":"%rc"',
        '"termination":"%ts"',
        '"requestId":"%[var(txn.id),json(utf8s)]"}',
    )
)
_UNREADABLE_LOG: Final = ",".join(
    (
        '{"time":%Ts.%ms',
        '"client":"%[src]"',
        '"method":"-","host":"-","path":"-","shop":"-","shopset":"-","hops":0',
        '"status":%ST',
        '"received":%U',
        '"sent":%B',
        '"milliseconds":{"request":-1,"queue":-1,"connect":-1,"response":-1,"total":-1}',
        '"retries":"0"',
        '"termination":"%ts"',
        '"requestId":"-"}',
    )
)
"""Of what is no request: there is nothing to be said of it, and what HAProxy writes for nothing is no JSON."""


def edge(facts: EdgeFacts, place: Place) -> Iterator[str]:
    """Yield the frontend of shoppers."""
    yield "frontend edge"
    proxied = " accept-proxy" if place.accept_proxy else ""
    for address in place.http:
        yield f"    bind {address}{proxied}"
    for address in place.https:
        yield f"    bind {address}{proxied} ssl crt-list {place.certificate_list} strict-sni alpn h2,http/1.1"
    yield f"    maxconn {place.connections}"
    if place.log:
        yield "    log global"
        yield from (f"    log-format '{_LOG}'", f"    error-log-format '{_UNREADABLE_LOG}'")
    yield from _clients(facts, place)
    yield from _headers(place)
    if place.log:
        # When a line is written, the request is gone.
        yield "    http-request set-var(txn.id) req.hdr(x-request-id)"
        yield "    http-request set-var(txn.path) path"
    yield "    http-request set-var(txn.host) req.fhdr(host),host_only,lower"
    if facts.settings.redirect == "Https" and place.https:
        condition = "!{ ssl_fc } !{ path_beg /.well-known/acme-challenge/ }"
        if place.trusted_proxies:
            condition += " !{ var(txn.trusted) -m found }"
        yield f"    http-request redirect location https://%[var(txn.host)]%[pathq] code 308 if {condition}"
    yield from _look_up(place, "txn.host", "txn.r")
    yield _renew(place)
    yield "    http-request track-sc0 var(txn.r),field(1,:) table shops"
    yield "    http-request set-var(txn.to) var(txn.r),field(6,:)"
    calm = (
        f"{{ sc_http_req_rate(0) le {PEAK_FLOOR} }} {{ var(txn.to),nbsrv gt 1 }} !{{ var(txn.to),in_table(troubles) }}"
    )
    if place.https:
        yield "    http-request set-var(txn.sni) ssl_fc_sni,lower"
        yield f"    http-request allow if {calm} {{ var(txn.sni),strcmp(txn.host) eq 0 }}"
        calm += " !{ ssl_fc }"
    yield f"    http-request allow if {calm}"
    yield "    # From here on goes what takes a closer look."
    yield from _other_names(place)
    yield _renew(place)
    yield "    http-request track-sc0 var(txn.r),field(1,:) table shops"
    yield f"    http-request return status 404 {_pages.UNKNOWN} unless {_KNOWN}"
    yield "    http-request set-var(txn.shop) var(txn.r),field(1,:)"
    if place.https:
        yield from _misdirected(place)
    yield f"    http-request return status 503 {_pages.MAINTENANCE} if {{ var(txn.r),field(5,:) -m sub m }}"
    yield from _limits()
    yield f"    http-request allow if {_up('var(txn.to)')} {_well('var(txn.to)')}"
    yield from _client_list()
    yield f"    http-request set-var(txn.to) {_rank(1)} if {SAFE} {{ rand({_PROBES}) eq 0 }} {_up(_rank(1))}"
    for number in range(1, RANKS + 1):
        rank = _rank(number)
        yield f"    http-request set-var(txn.to) {rank} if !{_CHOSEN} {_up(rank)} {_well(rank)}"
    yield from _merely_ejected()
    yield from _nothing_up(facts)
    yield from _switch()


def next_(facts: EdgeFacts, place: Place) -> Iterator[str]:
    """Yield the frontend of requests that a backend sent on: who it was comes with the connection, and so does why."""
    yield "frontend next"
    yield f"    bind unix@{place.next_socket} mode 600 accept-proxy"
    yield "    http-request set-var(txn.from) fc_pp_unique_id,field(1,:)"
    yield "    http-request set-var(txn.came) fc_pp_unique_id,field(2,:)"
    yield from panic.sender()
    yield "    http-request set-var(txn.host) req.fhdr(host),host_only,lower"
    yield from _look_up(place, "txn.host", "txn.r")
    yield from _other_names(place)
    yield _renew(place)
    yield f"    http-request return status 404 {_pages.UNKNOWN} unless {_KNOWN}"
    yield "    http-request set-var(txn.shop) var(txn.r),field(1,:)"
    yield from _client_list()
    yield "    http-request set-var(txn.rank) int(0)"
    for number in range(1, RANKS):
        yield f"    http-request set-var(txn.rank) int({number}) if {{ {_rank(number)},strcmp(txn.from) eq 0 }}"
    yield "    # There was no other when it came from there before."
    yield f"    http-request set-var(txn.rank) int({RANKS}) if {{ var(txn.came) -m str again }}"
    for number in range(1, RANKS + 1):
        rank = _rank(number)
        later = f"{{ var(txn.rank) -m int lt {number} }}"
        yield f"    http-request set-var(txn.to) {rank} if !{_CHOSEN} {later} {_up(rank)} {_well(rank)}"
    yield from _merely_ejected(later=True)
    yield "    # Nobody else is there: its own answer, whatever that is, says more than a page of ours."
    alone = f"!{_CHOSEN} !{{ var(txn.came) -m str again spill }} {_up('var(txn.from)')}"
    yield f"    http-request set-var(txn.why) str(again) if {alone}"
    yield "    http-request set-var(txn.to) var(txn.from) if { var(txn.why) -m found }"
    yield "    http-request disable-l7-retry if { var(txn.why) -m found }"
    yield from panic.later_rules(facts, _CHOSEN, _LISTED)
    yield from _switch()
    yield "    http-after-response set-header x-edge-by '%[var(txn.hops,0),add(1)]:%[be_name]' unless { var(txn.by) -m found }"
    yield "    http-after-response set-header x-edge-by '%[var(txn.hops,0),add(1)]:%[var(txn.by)]' if { var(txn.by) -m found }"
    yield "    http-after-response set-header x-edge-by '%[var(txn.hops,0),add(1)]:-' if { be_name none }"


def _clients(facts: EdgeFacts, place: Place) -> Iterator[str]:
    """Yield the limit of one client address: of what is beyond it, as much is let through as if it had come evenly."""
    most = client_limit(facts.settings.clients)
    if place.trusted_proxies:
        yield f"    http-request set-var(txn.trusted) bool(true) if {{ src {' '.join(place.trusted_proxies)} }}"
        yield "    http-request set-src req.hdr_ip(x-forwarded-for,-1) if { var(txn.trusted) -m found }"
    if most is None:
        return
    # The counters 1 and 2 are for failures, and HAProxy 2.6 has no fourth: there, no ShopSet is ejected for all beside this limit.
    yield ".if version_atleast(2.8)"
    yield from _client_limit(3, most, place)
    yield ".else"
    yield from _client_limit(1, most, place)
    yield ".endif"


def _client_limit(counter: int, most: int, place: Place) -> Iterator[str]:
    tracked = "http-request" if place.trusted_proxies else "tcp-request session"
    yield f"    {tracked} track-sc{counter} src table clients"
    rate = f"sc_http_req_rate({counter})"
    beyond = f"{{ {rate} gt {most} }}"
    yield f"    http-request set-var(txn.rate) {rate} if {beyond}"
    yield f"    http-request return status 429 {_pages.TOO_MANY} if {beyond} {{ rand,mod(txn.rate) ge {most} }}"


def client_limit(limit: RateLimit) -> int | None:
    """Return how many requests a client may have within ten seconds."""
    if limit.requests_per_second is None:
        return None
    return max(1, round(_CLIENT_WINDOW * limit.requests_per_second + limit.burst))


def _headers(place: Place) -> Iterator[str]:
    """Yield what the ShopSets are told about the client, in the place of what it says of itself."""
    unless = " unless { var(txn.trusted) -m found }" if place.trusted_proxies else ""
    yield f"    http-request del-header x-forwarded- -m beg{unless}"
    for name in ("forwarded", "x-real-ip", "proxy"):
        yield f"    http-request del-header {name}{unless}"
    if place.trusted_proxies:
        yield f"    http-request set-header x-forwarded-for %[src]{unless}"
    else:
        # The same, without a rule; it asks for no condition.
        yield "    option forwardfor"
    # Those of the client are gone, so that nothing has to be looked for.
    if place.https:
        untrusted = " !{ var(txn.trusted) -m found }" if place.trusted_proxies else ""
        yield f"    http-request add-header x-forwarded-proto https if {{ ssl_fc }}{untrusted}"
        yield f"    http-request add-header x-forwarded-proto http if !{{ ssl_fc }}{untrusted}"
    else:
        yield f"    http-request add-header x-forwarded-proto http{unless}"
    yield f"    http-request set-header x-request-id {_ID} unless {{ req.hdr(x-request-id) -m reg ^[A-Za-z0-9._-]{{8,128}}$ }}"


def _look_up(place: Place, name: str, result: str, condition: str = "") -> Iterator[str]:
    """Yield the look-up of a host: in the overlay, and where that has nothing among those that share an entry of the large map."""
    yield _moved(place, name, result, condition)
    found = f"{{ var({result}) -m found }}"
    missing = f"if {condition} !{found}" if condition else f"unless {found}"
    yield f"    http-request set-var(txn.some) var({name}),crc32,mod({BUCKETS}),map_str({place.hosts_map}) {missing}"
    yield f"    http-request set-var({result}) 'var({name}),concat(,txn.some),{_OWN}' {missing}"


def _moved(place: Place, name: str, result: str, condition: str) -> str:
    return f"    http-request set-var({result}) var({name}),map_str({place.moved_map}){f' if {condition}' if condition else ''}"


def _alone(place: Place, name: str, result: str, condition: str) -> str:
    """Return the look-up of a host in the large map, among those with an entry of their own."""
    key = f"str({ALONE}),concat(,{name})"
    return f"    http-request set-var({result}) {key},map_str({place.hosts_map}) if {condition} !{{ var({result}) -m found }}"


def _renew(place: Place) -> str:
    """Return the rule that puts the route of the overlay in the place of that of the large map."""
    route = f"var(txn.r),field(2,:),map_str({place.moved_map})"
    text = f"%[var(txn.r),field(1,:)]:%[var(txn.r),field(2,:)]:%[{route}]"
    return f"    http-request set-var-fmt(txn.r) {text} if {{ {route} -m found }}"


def _other_names(place: Place) -> Iterator[str]:
    """Yield the look-up of a host that is not found as it is written: without its last dot, then with its first label as `*`."""
    yield f"    http-request set-var(txn.dotted) bool(true) if !{_KNOWN} {{ var(txn.host) -m end . }}"
    dotted = "{ var(txn.dotted) -m found }"
    yield f"    http-request set-var(txn.host) var(txn.host),regsub([.]$,) if {dotted}"
    yield from _look_up(place, "txn.host", "txn.r", dotted)
    yield _alone(place, "txn.host", "txn.r", f"!{_KNOWN}")
    label = f"{{ var(txn.host) -m reg {_LABEL} }}"
    yield f"    http-request set-var(txn.any) var(txn.host),regsub(^[^.]+,*) if !{_KNOWN} {label}"
    yield _moved(place, "txn.any", "txn.wild", f"!{_KNOWN}")
    yield _alone(place, "txn.any", "txn.wild", f"!{_KNOWN}")
    yield f"    http-request set-var(txn.r) var(txn.wild) if !{_KNOWN} {{ var(txn.wild) -m found }}"


def _misdirected(place: Place) -> Iterator[str]:
    """Yield the refusal of a connection that was made for a host of another shop: a browser asks again on one of its own."""
    other = "{ ssl_fc } { var(txn.sni) -m found } !{ var(txn.sni),strcmp(txn.host) eq 0 }"
    yield from _look_up(place, "txn.sni", "txn.sni_r", other)
    yield _alone(place, "txn.sni", "txn.sni_r", other)
    yield f"    http-request set-var(txn.sni_any) var(txn.sni),regsub(^[^.]+,*) if {other} !{{ var(txn.sni_r) -m found }}"
    missing = "{ var(txn.sni_any) -m found } !{ var(txn.sni_r) -m found }"
    yield _moved(place, "txn.sni_any", "txn.sni_r", missing)
    yield _alone(place, "txn.sni_any", "txn.sni_r", "{ var(txn.sni_any) -m found }")
    theirs = f"{{ var(txn.sni_r) -m sub :{ROUTE_PREFIX} }} !{{ var(txn.sni_r),field(1,:),strcmp(txn.shop) eq 0 }}"
    yield f"    http-request return status 421 {_pages.MISDIRECTED} if {theirs}"


def _limits() -> Iterator[str]:
    """Yield the limits of a shop: of what is beyond them, as much is let through as they allow."""
    yield "    http-request sc-inc-gpc1(0)"
    # One lot for both: with two, a shop far beyond both limits would get a part of a part.
    yield f"    http-request set-var(txn.lot) rand({_LOTS})"
    for rate, bound in (("sc_http_req_rate(0)", 3), ("sc_gpc1_rate(0)", 4)):
        yield f"    http-request set-var(txn.rate) {rate}"
        yield f"    http-request set-var(txn.most) var(txn.r),field({bound},:)"
        beyond = (
            f"{{ var(txn.rate),sub(txn.most) gt 0 }} {{ var(txn.lot),mul(txn.rate),div({_LOTS}),sub(txn.most) ge 0 }}"
        )
        yield f"    http-request set-var(txn.refused) bool(true) if {beyond}"
    yield "    http-request sc-inc-gpc0(0) if { var(txn.refused) -m found }"
    yield f"    http-request return status 429 {_pages.TOO_MANY} if {{ var(txn.refused) -m found }}"


def _client_list() -> Iterator[str]:
    """Yield the choice of the client's list, where there are several."""
    yield "    http-request unset-var(txn.to)"
    yield "    http-request set-var(txn.list) var(txn.r),field(6,:,0)"
    slot = f"src,ipmask(32,64),crc32,mod({SLOTS})"
    yield f"    http-request set-var(txn.slot) {slot} if {{ var(txn.list) -m beg | }}"
    for number in range(1, LISTS + 1):
        mine = f"{{ var(txn.slot) -m found }} !{{ var(txn.mine) -m found }} {{ var(txn.r),field({2 * number},|),sub(txn.slot) gt 0 }}"
        yield f"    http-request set-var(txn.mine) var(txn.r),field({2 * number + 1},|) if {mine}"
    yield "    http-request set-var(txn.list) var(txn.mine) if { var(txn.mine) -m found }"


def _merely_ejected(*, later: bool = False) -> Iterator[str]:
    """Yield the choice where only such are up in which requests fail: the first of them is tried, and once."""
    yield f"    http-request set-var(txn.failing) bool(true) unless {_CHOSEN}"
    for number in range(1, RANKS + 1):
        rank = _rank(number)
        condition = f" {{ var(txn.rank) -m int lt {number} }}" if later else ""
        yield f"    http-request set-var(txn.to) {rank} if !{_CHOSEN}{condition} {_up(rank)}"
    yield f"    http-request disable-l7-retry if {{ var(txn.failing) -m found }} {_CHOSEN}"


def _nothing_up(facts: EdgeFacts) -> Iterator[str]:
    """Yield the choice where nothing counts as up."""
    yield "    # After a reload, requests on connections that were open are the old process's. No backend counts as up in it any more;"
    yield "    # what fails there goes on by `next`, and so in the new one."
    yield f"    http-request set-var(txn.to) {_rank(1)} if !{_CHOSEN} {{ stopping }}"
    yield from panic.rules(facts, _CHOSEN, _LISTED)


def _switch() -> Iterator[str]:
    yield "    use_backend %[var(txn.to)]"
    yield "    default_backend none"


def _rank(number: int) -> str:
    return f"{_LISTED},field({number},:)"


def _up(backend: str) -> str:
    """Return the condition that a backend has its ShopSet beside the way to the next one."""
    return f"{{ {backend},nbsrv gt 1 }}"


def _well(backend: str) -> str:
    """Return the condition that neither many shops nor this one have failures in a ShopSet."""
    ejected = f"{{ {backend},table_gpc1_rate(troubles) gt 0 }}"
    failing = f"{{ {backend},concat(/,txn.shop),table_gpc0_rate(failures) ge {TROUBLE} }}"
    return f"!{ejected} !{failing}"

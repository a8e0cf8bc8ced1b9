"""Panic: an edge that sees most of the fleet down takes its own checks for what is wrong.

An edge that is overloaded, or cut off for a moment, fails its checks of ShopSets that are well. So where nothing is up that a shop
has, and more of the fleet is down than goes down by itself, the shop's ShopSets are tried all the same, in order, in place of a 503.
They are tried in a backend of their own, `panic`: it has each ShopSet once more, up where the ShopSet is, and so it counts them, too.
What fails there goes on by the socket of the frontend `next`, and ends with the 503. No request pays for this before nothing is up.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from shopset.core.placement.edges import EdgeFacts
from shopset.edge import _pages
from shopset.edge.places import Place
from shopset.edge.routes import PANIC, RANKS, backend_of

PATIENCE: Final = 5
"""Seconds for which a ShopSet is waited for of which the checks say that it is down, and then all others together."""
_WAYS: Final = ("next.", "again.")
"""Servers that lead to the next ShopSet: no ShopSet is called so. Where the first of them fails, no ShopSet may take its place."""
_PANICS: Final = "{ var(txn.panics) -m found }"
_TRIED: Final = "{ var(txn.tried) -m found }"


def fewest_up(facts: EdgeFacts) -> int:
    """Return how many ShopSets have to be up for the checks to be believed; 0 where they always are.

    More than the stated share is down then, and more than one cluster: a cluster that dies is believed, however large it is, and
    so is one of the two ShopSets of a small fleet. Where all are down, there is nothing to lose by trying.
    """
    total = len(facts.shopsets)
    largest = max(Counter(each.cluster for each in facts.shopsets.values()).values(), default=0)
    down = max(total * facts.settings.health.panic // 100 + 1, min(largest + 1, total))
    return max(0, total - down + 1)


def rules(facts: EdgeFacts, chosen: str, listed: str) -> Iterator[str]:
    """Yield the choice of a request for which nothing is up. `chosen`: the condition that something is; `listed`: its ShopSets."""
    if panics := _condition(facts):
        yield "    # So much is down that it is rather this edge which is not well."
        yield f"    http-request set-var(txn.tried) {listed},field(1,:) if !{chosen} {panics}"
        yield f"    http-request set-var(txn.to) str({PANIC}) if {_TRIED}"


def later_rules(facts: EdgeFacts, chosen: str, listed: str) -> Iterator[str]:
    """Yield the same for a request that a backend sent on: from the first of the list, or after the one that was tried."""
    if panics := _condition(facts):
        yield f"    http-request set-var(txn.panics) bool(true) if !{chosen} !{{ var(txn.came) -m str again spill }} {panics}"
        yield f"    http-request set-var(txn.rank) int(0) if {_PANICS} !{{ var(txn.came) -m str {PANIC} }}"
        for number in range(1, RANKS + 1):
            later = f"{{ var(txn.rank) -m int lt {number} }}"
            yield f"    http-request set-var(txn.tried) {listed},field({number},:) if {_PANICS} !{_TRIED} {later}"
        yield f"    http-request set-var(txn.to) str({PANIC}) if {_TRIED}"


def sender() -> Iterator[str]:
    """Yield who it was that sent a request on to the frontend `next`, where that was the backend of this module."""
    panic = f"{{ var(txn.from) -m str {PANIC} }}"
    yield f"    http-request set-var(txn.came) str({PANIC}) if {panic}"
    yield f"    http-request set-var(txn.from) fc_pp_unique_id,field(3,:) if {panic}"


def backend(facts: EdgeFacts, place: Place, servers: Mapping[str, str], safe: str, retried: str) -> Iterator[str]:
    """Yield the backend. `servers`: ShopSet -> where it is, as `server` takes it."""
    if not fewest_up(facts):
        return
    yield f"backend {PANIC}"
    yield "    balance first"
    yield "    option persist"
    yield f"    timeout server {PATIENCE}s"
    yield f"    retry-on {retried} response-timeout"
    for status in (503, 504):
        yield f"    http-error status {status} {_pages.DOWN}"
    # Whether what can't be sent twice was done is known to nobody, so that 504 stays one.
    yield f"    http-after-response set-status 503 if {{ status 504 }} {{ res.hdr(retry-after) -m found }} {safe}"
    yield f"    http-request disable-l7-retry unless {safe}"
    yield "    http-request set-var(txn.by) var(txn.tried)"
    yield f"    use-server %[var(txn.tried)] if {_TRIED}"
    yield from passed_on(f"{{ srv_name {' '.join(_WAYS)} }}")
    for way in _WAYS:
        yield f"    server {way} {way_on(place)}"
    for name, where in servers.items():
        concurrency = facts.shopsets[name].concurrency
        most = "" if concurrency is None else f" maxconn {concurrency}"
        yield f"    server {backend_of(name)} {where} track {backend_of(name)}/p{most}"


def passed_on(on_its_way: str) -> Iterator[str]:
    """Yield what a backend reads of an answer that came by the frontend `next`: from where, and by how many."""
    yield f"    http-response set-var(txn.hops) res.hdr(x-edge-by),field(1,:) if {on_its_way}"
    yield f"    http-response set-var(txn.by) res.hdr(x-edge-by),field(2,:) if {on_its_way}"
    yield f"    http-response del-header x-edge-by if {on_its_way}"


def way_on(place: Place) -> str:
    """Return the frontend `next` as a `server` takes it."""
    # An idle connection would be kept for each client address.
    return f"unix@{place.next_socket} send-proxy-v2 proxy-v2-options unique-id pool-max-conn 0"


def _condition(facts: EdgeFacts) -> str:
    """Return the condition that the checks are not believed; empty where they always are."""
    fewest = fewest_up(facts)
    return f"{{ nbsrv({PANIC}) lt {fewest + len(_WAYS)} }}" if fewest else ""

"""A routing decision in words."""

from collections.abc import Iterator
from dataclasses import dataclass

from shopset.core.placement.edges import EdgeFacts, RateLimit
from shopset.core.placement.placements import Group
from shopset.edge._rules import client_limit
from shopset.edge.configuration import FULL, SPILLED
from shopset.edge.deciding import SAFE, Decision, Request, Share, State
from shopset.edge.routes import SLOTS, WINDOW, HostValue


@dataclass(frozen=True, slots=True)
class Found:
    """What the maps say of a host."""

    host: str
    """As HAProxy looks it up."""
    by: str
    """The entry that has it: the host, or a wildcard."""
    value: HostValue
    group: Group
    limit: RateLimit
    """Of the shop."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way of a request."""

    name: str
    text: str


def explain(found: Found, decision: Decision, facts: EdgeFacts, asked: Request) -> Iterator[Step]:
    """Yield the steps of a request whose host has a shop."""
    value, group = found.value, found.group
    by = "" if found.by == found.host else f", by {found.by}"
    yield Step("shop", f"{value.shop} (class {group.shop_class}, group {group.name}){by}")
    yield Step("route", _route(found))
    if facts.settings.redirect == "Https":
        yield Step("redirect", "without TLS the answer is a redirect (308) to https, where the edge has certificates")
    yield Step("tls", "a connection whose server name is a host of another shop is answered with 421")
    if value.route.maintenance:
        yield Step("answer", "503 and the maintenance page, with Retry-After: the shop is in maintenance")
        return
    for text in _limits(found, facts):
        yield Step("limit", text)
    yield Step("list", _list(decision, asked))
    yield from _breaker(decision, facts, value, asked)
    yield Step("answer", _answer(decision))
    if decision.serving is not None:
        yield Step("if it fails", _if_it_fails(decision, asked))


def _route(found: Found) -> str:
    value = found.value
    own = "its own, because something is special about it" if value.route_id == value.shop else "that of its group"
    return f"{value.route_id}, {own}"


def _limits(found: Found, facts: EdgeFacts) -> Iterator[str]:
    route, clients = found.value.route, client_limit(facts.settings.clients)
    if route.peak is not None:
        total = "" if route.total is None else f" or {route.total:,} within {WINDOW}"
        yield f"{route.peak:,} requests of the shop within a second{total} ({_rate(found.limit)}); beyond: 429 with Retry-After"
    if clients is not None:
        rate = _rate(facts.settings.clients)
        yield f"{clients:,} requests of one client address within {WINDOW} s ({rate}); beyond: 429 with Retry-After"
    if route.peak is None and clients is None:
        yield "none, neither of the shop nor of client addresses"


def _rate(limit: RateLimit) -> str:
    burst = f" and a burst of {limit.burst:,}" if limit.burst else ""
    return f"{limit.requests_per_second or 0:g} requests/s{burst}"


def _list(decision: Decision, asked: Request) -> str:
    if len(decision.shares) == 1:
        return "the same for every client"
    parts = ", ".join(_share(each) for each in decision.shares)
    if decision.slot is None:
        return f"by the client's address: {parts} (--client says which)"
    chosen = next((each for each in decision.shares if each.chosen), None)
    first = "nobody" if chosen is None else chosen.shopsets[0] if chosen.shopsets else "nobody"
    return f"client {asked.client} is in slot {decision.slot} of {SLOTS}, so {first} comes first; {parts}"


def _share(share: Share) -> str:
    first = share.shopsets[0] if share.shopsets else "nobody"
    return f"{share.percent} % {first}{' (canary)' if share.canary else ''}"


def _breaker(decision: Decision, facts: EdgeFacts, value: HostValue, asked: Request) -> Iterator[Step]:
    name = decision.serving
    shopset = None if name is None else facts.shopsets.get(name)
    limit = None if shopset is None else shopset.concurrency
    if limit is None:
        return
    lane = next((each for each in facts.settings.lanes if asked.path.startswith(each)), None)
    bound = limit if lane else limit * FULL // 100
    why = f"{asked.path} begins with the lane {lane}" if lane else f"{FULL} % of it, as {asked.path} is in no lane"
    spill = (
        f"go to the next ShopSet while that is below {SPILLED} %" if value.route.spill else "get 503 with Retry-After"
    )
    yield Step("when full", f"{name} answers {limit:,} requests at once; others beyond {bound:,} ({why}) {spill}")


def _answer(decision: Decision) -> str:
    if decision.serving is None:
        return (
            "503 with Retry-After: no ShopSet of its list is up"
            if decision.shopsets
            else "503 with Retry-After: no ShopSet serves it"
        )
    state = dict(decision.shopsets)[decision.serving]
    if state is State.DOWN:
        return f"{decision.serving} is asked: so much of the fleet is down that the edge does not believe its checks"
    if state is State.EJECTED:
        return f"{decision.serving} answers: all that are up are ejected, so the first of them is tried"
    passed = [f"{name} is {seen}" for name, seen in decision.shopsets[: _rank(decision)] if seen is not State.UP]
    return f"{decision.serving} answers" + (f" ({', '.join(passed)})" if passed else "")


def _rank(decision: Decision) -> int:
    return [name for name, _ in decision.shopsets].index(decision.serving or "")


def _if_it_fails(decision: Decision, asked: Request) -> str:
    then = ", then ".join(decision.then)
    method = asked.method.upper()
    if not decision.then:
        return "there is no other that is up: 503 with Retry-After, or what the ShopSet answered"
    if method in SAFE:
        return f"{method} is sent to {then}"
    sent = f"{method} is not sent twice, so whatever comes of one that was sent is the answer"
    return f"where {decision.serving} can't be reached it goes to {then}; {sent}"

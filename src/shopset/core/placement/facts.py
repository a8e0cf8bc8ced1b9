"""What the edge has to know of a fleet: taken from it for the branch `placement`. Pure."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import chain
from typing import Final

from shopset.api import ShopClass, ShopSet
from shopset.core.fleets import Fleet
from shopset.core.placement._edge_lines import is_url
from shopset.core.placement.edges import (
    NO_EDGE,
    EdgeClass,
    EdgeFacts,
    EdgeHealth,
    EdgeSettings,
    EdgeShop,
    EdgeShopSet,
    RateLimit,
)
from shopset.core.placement.modelling import is_left
from shopset.core.placement.placements import Placement
from shopset.core.placement.shops import EdgeWish, Shops
from shopset.core.release.plans import Condition
from shopset.core.release.records import ClusterRecord

_MILLISECOND: Final = timedelta(milliseconds=1)


def edge_facts(fleet: Fleet, shops: Shops, placement: Placement, clusters: Mapping[str, ClusterRecord]) -> EdgeFacts:
    """Return what edges have to know besides a placement; nothing as long as nobody said where a ShopSet is reached.

    `clusters` is what the ledger says of clusters. What the fleet has no more stays as the placement has it until no group
    needs it: an edge that forgot it would send those shops nowhere.
    """
    shopsets = _shopsets(fleet, placement)
    if not shopsets:
        return NO_EDGE
    classes = _classes(fleet, placement, shopsets, clusters)
    return EdgeFacts(_settings(fleet), shopsets, classes, _shops(shops, placement, classes))


def edge_conditions(fleet: Fleet, placement: Placement) -> Iterator[Condition]:
    """Yield what an edge lacks, of a placement with facts for it."""
    facts = placement.edge
    if not facts.shopsets:
        return
    for name in _wanted(fleet, placement):
        if name in fleet.shopsets and usable_endpoint(fleet, name) is None:
            yield Condition(f"ShopSet/{name}", "Routable", *_without_endpoint(fleet, name, facts), "Warning")
    for name, shop_class in fleet.shop_classes.items():
        canary = shop_class.spec.traffic.canary
        if canary is not None and name in facts.classes and not facts.classes[name].canaries:
            message = (
                f"no ShopSet of the tier {canary.tier} with the configuration {shop_class.spec.configuration} can take its canary "
                f"share of {canary.percent}% now, so its replicas do"
            )
            yield Condition(f"ShopClass/{name}", "Routable", "NoCanary", message, "Warning")


def usable_endpoint(fleet: Fleet, name: str) -> str | None:
    """Return where an edge reaches a ShopSet; None where nobody said it, or it is more than a server."""
    stated = fleet.endpoint(name)
    endpoint = None if stated is None else stated.removesuffix("/")
    return endpoint if endpoint is not None and is_url(endpoint) else None


def canaries(fleet: Fleet, shop_class: ShopClass) -> tuple[ShopSet, ...]:
    """Return the ShopSets that may take the canary share of a class, sorted by name."""
    canary = shop_class.spec.traffic.canary
    members = () if canary is None else fleet.members(canary.tier)
    return tuple(
        each for each in members if each.spec.configuration == shop_class.spec.configuration and not each.spec.dedicated
    )


def _wanted(fleet: Fleet, placement: Placement) -> list[str]:
    """Return the ShopSets that shops are or may come to, sorted."""
    pools = {(each.spec.tier, each.spec.configuration) for each in fleet.shop_classes.values()}
    found = {name for name, each in fleet.shopsets.items() if (each.spec.tier, each.spec.configuration) in pools}
    found.update(each.name for shop_class in fleet.shop_classes.values() for each in canaries(fleet, shop_class))
    found.update(chain.from_iterable(each.replicas for each in placement.groups.values()))
    return sorted(found)


def _shopsets(fleet: Fleet, placement: Placement) -> dict[str, EdgeShopSet]:
    named = set(chain.from_iterable(each.replicas for each in placement.groups.values()))
    found: dict[str, EdgeShopSet] = {}
    for name in _wanted(fleet, placement):
        endpoint = usable_endpoint(fleet, name) if name in fleet.shopsets else None
        known = placement.edge.shopsets.get(name)
        if endpoint is not None:
            spec = fleet.shopsets[name].spec
            concurrency = None if spec.capacity is None else spec.capacity.concurrency
            found[name] = EdgeShopSet(name, endpoint, spec.tier, spec.cluster, concurrency)
        elif known is not None and name in named:
            found[name] = known
    return found


def _classes(
    fleet: Fleet,
    placement: Placement,
    shopsets: Mapping[str, EdgeShopSet],
    clusters: Mapping[str, ClusterRecord],
) -> dict[str, EdgeClass]:
    most: dict[str, int] = {}
    for group in placement.groups.values():
        most[group.shop_class] = max(most.get(group.shop_class, 1), len(group.replicas))
    found = {name: placement.edge.classes.get(name, EdgeClass(name, replicas=number)) for name, number in most.items()}
    found |= {name: _class(fleet, each, shopsets, clusters) for name, each in fleet.shop_classes.items()}
    return {name: found[name] for name in sorted(found)}


def _class(
    fleet: Fleet,
    shop_class: ShopClass,
    shopsets: Mapping[str, EdgeShopSet],
    clusters: Mapping[str, ClusterRecord],
) -> EdgeClass:
    spec = shop_class.spec
    canary = spec.traffic.canary
    legs = [
        each.name
        for each in canaries(fleet, shop_class)
        if each.name in shopsets and not is_left(fleet, each, clusters)
    ]
    return EdgeClass(
        name=shop_class.name,
        limit=_limit(spec.limits.requests_per_second, spec.limits.burst),
        weights=spec.traffic.weights,
        overload=spec.traffic.overload,
        canaries=tuple(legs),
        canary_percent=canary.percent if canary is not None and legs else 0,
        replicas=spec.replicas,
    )


def _shops(shops: Shops, placement: Placement, classes: Mapping[str, EdgeClass]) -> dict[str, EdgeShop]:
    found = {}
    for row, wish in shops.edge.items():
        name = shops.names[row]
        group = placement.members.get(name)
        if group is not None:
            shop = _shop(name, wish, classes[placement.groups[group].shop_class].limit)
            if shop != EdgeShop(name):
                found[name] = shop
    return {name: found[name] for name in sorted(found)}


def _shop(name: str, wish: EdgeWish, usual: RateLimit) -> EdgeShop:
    rate = usual.requests_per_second if wish.requests_per_second is None else wish.requests_per_second
    limit = _limit(rate, usual.burst if wish.burst is None else wish.burst)
    return EdgeShop(name, None if limit == usual else limit, wish.maintenance)


def _limit(requests_per_second: float | None, burst: int | None) -> RateLimit:
    # A burst beyond no limit is nothing.
    return RateLimit() if requests_per_second is None else RateLimit(requests_per_second, burst or 0)


def _settings(fleet: Fleet) -> EdgeSettings:
    spec = fleet.platform.spec.edge
    health = spec.health
    return EdgeSettings(
        health=EdgeHealth(
            path=health.path,
            interval=health.interval // _MILLISECOND,
            timeout=health.timeout // _MILLISECOND,
            fall=health.fall,
            rise=health.rise,
            slow_start=health.slow_start // _MILLISECOND,
            panic=health.panic,
        ),
        clients=_limit(spec.clients.requests_per_second, spec.clients.burst),
        lanes=spec.lanes,
        redirect=spec.redirect,
    )


def _without_endpoint(fleet: Fleet, name: str, facts: EdgeFacts) -> tuple[str, str]:
    """Return the reason and the message of a ShopSet that the edge can't reach as the fleet says it."""
    cluster = fleet.shopsets[name].spec.cluster
    stated = fleet.endpoint(name)
    example = f"https://{{shopset}}.{cluster}.example.com"
    if stated is None:
        reason, what = "NoEndpoint", "nobody said where it is reached"
        advice = f"set spec.endpoint of the Cluster {cluster}, as in {example}, or its own"
    else:
        reason, what = "EndpointUnusable", f"its endpoint {stated} is more than a server, so the edge can't use it"
        advice = f"write scheme, host and port and nothing more, as in {example}"
    known = facts.shopsets.get(name)
    then = f"goes on with {known.endpoint}" if known else "leads nobody there"
    return reason, f"{what}: {advice}. Until then the edge {then}"

"""What people may ask for a shop, and why not: each refusal says what to do instead."""

from collections.abc import Sequence

from shopset.api import InvalidValueError, ShopClass, normalise_host
from shopset.core.fleets import Fleet
from shopset.core.placement.modelling import wanted_replicas
from shopset.core.placement.placements import Group, Whereabouts
from shopset.core.placement.plans import Seen
from shopset.core.release.refusals import RequestRefusedError


def placed(seen: Seen, shop: str) -> Whereabouts:
    """Return where a shop is, by its name or one of its hosts. Raises RequestRefusedError."""
    found = seen.placement.shop(shop)
    if found is None:
        owners = seen.placement.owners([_host(shop)])
        found = next(map(seen.placement.shop, owners.values()), None)
    if found is None:
        raise RequestRefusedError(
            f"there is no shop {shop!r} in the placement: shopctl shop list shows them; a new one is placed by shopctl apply"
        )
    return found


def _host(text: str) -> str:
    try:
        return normalise_host(text)
    except InvalidValueError:
        return text


def decidable(fleet: Fleet, seen: Seen, shop: str) -> Whereabouts:
    """Return where a shop is of which a person may decide. Raises RequestRefusedError."""
    found = placed(seen, shop)
    if found.group.shop_class not in fleet.shop_classes:
        raise RequestRefusedError(
            f"shop {found.shop.name} is of the class {found.group.shop_class}, which the fleet does not have: add the ShopClass first"
        )
    pins = seen.shops.pins_of(found.shop.name)
    if pins:
        raise RequestRefusedError(
            f"the source of shop {found.shop.name} pins it to {', '.join(pins)}: change its pins there"
        )
    return found


def check_replicas(fleet: Fleet, seen: Seen, shop_class: ShopClass, names: Sequence[str], group: Group) -> None:
    """Raise RequestRefusedError where some ShopSets cannot be the replicas of a shop."""
    spec = shop_class.spec
    wanted = wanted_replicas(fleet, group)
    if len(names) != wanted or len(set(names)) != len(names):
        raise RequestRefusedError(
            f"{shop_class.name} asks for {wanted} different replicas: name as many ShopSets, the first serves"
        )
    for name in names:
        if name not in fleet.shopsets:
            raise RequestRefusedError(f"the fleet has no ShopSet {name!r}: shopctl get shopsets shows them")
        shopset = fleet.shopsets[name].spec
        if (shopset.tier, shopset.configuration) != (spec.tier, spec.configuration):
            raise RequestRefusedError(
                f"{name} is of tier {shopset.tier} with configuration {shopset.configuration}, and {shop_class.name} asks for "
                f"{spec.tier} with {spec.configuration}"
            )
        if shopset.cluster in seen.clusters:
            raise RequestRefusedError(
                f"{name} is on cluster {shopset.cluster}, which is {seen.clusters[shopset.cluster].state}: name another ShopSet, "
                f"or wait until the cluster is back (shopctl cluster return {shopset.cluster})"
            )
        _check_takes(fleet, seen, name, group)
    for level in spec.across:
        taken: dict[str, str] = {}
        for name in names:
            domain = fleet.domain(level, fleet.shopsets[name].spec.cluster)
            if domain in taken:
                raise RequestRefusedError(
                    f"{taken[domain]} and {name} are both in {level} {domain}, and fail together: name one in another {level}"
                )
            taken[domain] = name


def _check_takes(fleet: Fleet, seen: Seen, name: str, group: Group) -> None:
    """Raise RequestRefusedError where a ShopSet takes nothing new, or is to be empty."""
    cluster = fleet.clusters[fleet.shopsets[name].spec.cluster]
    wish = cluster.spec.wish
    if wish == "Drained" or (wish == "Cordoned" and name not in group.replicas):
        raise RequestRefusedError(
            f"{name} is on cluster {cluster.name}, which is wished to be {wish}: name another ShopSet, or set spec.wish to Active"
        )
    if name in seen.unusable and name not in group.replicas:
        raise RequestRefusedError(f"{name} serves nobody now: name another ShopSet, or see why (shopctl get shopsets)")


def check_dedication(fleet: Fleet, shop_class: ShopClass, names: Sequence[str], group: Group) -> None:
    """Raise RequestRefusedError where the convention would take a shop away from a ShopSet at once."""
    for name in names:
        dedicated = fleet.shopsets[name].spec.dedicated
        if dedicated and not (group.dedicated or shop_class.spec.isolation.dedicated):
            raise RequestRefusedError(
                f"{name} is a dedicated ShopSet, and {shop_class.name} asks for none: shopctl shop isolate gives a shop dedicated "
                "ShopSets, shopctl shop pin keeps it on named ones"
            )
        if not dedicated and (group.dedicated or shop_class.spec.isolation.dedicated):
            raise RequestRefusedError(
                f"{name} is no dedicated ShopSet, and the shop is to have such: name those, or take it back first with "
                "shopctl shop release"
            )


def check_spread(fleet: Fleet, group: Group, replicas: int) -> None:
    """Raise RequestRefusedError where a shop can't have so many replicas."""
    spec = fleet.shop_classes[group.shop_class].spec
    dedicated = group.dedicated or spec.isolation.dedicated
    names = [
        name
        for name, each in fleet.shopsets.items()
        if (each.spec.tier, each.spec.configuration, each.spec.dedicated) == (spec.tier, spec.configuration, dedicated)
    ]
    clusters = {fleet.shopsets[name].spec.cluster for name in names}
    most = {"ShopSets": len(names)}
    for level in spec.across:
        most[f"domains of {level}"] = len({fleet.domain(level, each) for each in clusters})
    what, count = min(most.items(), key=lambda item: item[1])
    if replicas > count:
        raise RequestRefusedError(
            f"{replicas} replicas cannot lie apart: {group.shop_class} has {count} {what}. Ask for at most {count}, or add a ShopSet"
        )

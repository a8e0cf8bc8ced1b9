"""What holds of every placement and of every step, checked without any code of the planner."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from shopset.core.fleets import Fleet
from shopset.core.placement.placements import Group, Placement
from support.placing_world import PlacingWorld


def wanted(fleet: Fleet, group: Group) -> int:
    return max(fleet.shop_classes[group.shop_class].spec.replicas, group.spread)


def is_gone(world: PlacingWorld, shopset: str) -> bool:
    if shopset not in world.fleet.shopsets:
        return True
    record = world.records.get(world.fleet.shopsets[shopset].spec.cluster)
    return record is not None and record.state == "Lost"


def live(world: PlacingWorld, replicas: Iterable[str]) -> list[str]:
    """Return the replicas that serve."""
    return [name for name in replicas if not is_gone(world, name)]


def must_leave(world: PlacingWorld, group: Group, shopset: str) -> bool:
    """Whether a replica may not stay for good."""
    if is_gone(world, shopset):
        return True
    found = world.fleet.shopsets[shopset].spec
    record = world.records.get(found.cluster)
    wish = world.fleet.clusters[found.cluster].spec
    waits = not wish.during_bake and any(
        world.fleet.shopsets[name].spec.tier in world.busy for name in world.fleet.hosted(found.cluster)
    )
    if (wish.wish == "Drained" and not waits) or (record and record.state != "Returning"):
        return True
    return not (group.pinned or serves(world.fleet, group, shopset))


def serves(fleet: Fleet, group: Group, shopset: str) -> bool:
    """Whether a ShopSet is of the tier and configuration of a group, and dedicated where it has to be."""
    spec, found = fleet.shop_classes[group.shop_class].spec, fleet.shopsets[shopset].spec
    dedicated = group.dedicated or spec.isolation.dedicated
    return (found.tier, found.configuration, found.dedicated) == (spec.tier, spec.configuration, dedicated)


def takes(world: PlacingWorld, shopset: str) -> bool:
    """Whether new replicas may come to a ShopSet."""
    cluster = world.fleet.shopsets[shopset].spec.cluster
    return (
        world.fleet.clusters[cluster].spec.wish == "Active"
        and cluster not in world.records
        and shopset not in world.unusable
    )


def domains(fleet: Fleet, group: Group, shopset: str) -> Iterator[tuple[str, str]]:
    """Yield the domains that a ShopSet is in, at the levels at which the group's replicas lie apart."""
    cluster = fleet.clusters[fleet.shopsets[shopset].spec.cluster]
    for level in fleet.shop_classes[group.shop_class].spec.across:
        yield level, cluster.topology.get(fleet.failure_domains[level].spec.topology_key, f"({cluster.name})")


def are_apart(fleet: Fleet, group: Group, names: Sequence[str]) -> bool:
    return all(set(domains(fleet, group, a)).isdisjoint(domains(fleet, group, b)) for a, b in combinations(names, 2))


def weights(placement: Placement) -> dict[str, int]:
    """Return group -> shops."""
    found = dict.fromkeys(placement.groups, 0)
    for group in placement.members.values():
        found[group] += 1
    return found


def between(world: PlacingWorld) -> int:
    """Return how many shops still have old replicas that serve beside the new ones."""
    count = weights(world.placement)
    return sum(
        count[name]
        for name, group in world.placement.groups.items()
        if live(world, group.replicas[wanted(world.fleet, group) :])
    )


def check_whole(world: PlacingWorld) -> None:
    """Every shop is in one group of its class, and every group has shops."""
    placement, shops = world.placement, world.shops
    known = {
        name: shops.class_names[number]
        for name, number in zip(shops.names, shops.classes, strict=True)
        if shops.class_names[number] in world.fleet.shop_classes
    }
    assert set(placement.members) >= set(known)
    for shop, group in placement.members.items():
        assert group in placement.groups
        if shop in known:
            assert placement.groups[group].shop_class == known[shop]
    assert all(weights(placement).values())


def check_step(world: PlacingWorld, before: Placement, after: Placement) -> None:
    """No shop loses a live replica before another one serves, and none comes where none may come."""
    for shop in before.members.keys() & after.members.keys():
        old, new = before.groups[before.members[shop]], after.groups[after.members[shop]]
        if new.shop_class != old.shop_class or new.shop_class not in world.fleet.shop_classes:
            continue
        stays = live(world, set(old.replicas) & set(new.replicas))
        least = min(len(live(world, old.replicas)), wanted(world.fleet, new))
        assert len(stays) >= least, f"{shop}: {old.replicas} -> {new.replicas}"
        assert len(set(new.replicas)) == len(new.replicas)


def check_rest(world: PlacingWorld) -> None:
    """Once nothing is left to do: every replica is where it may be, apart from the others; where not, nothing else can be had."""
    for group in world.placement.groups.values():
        if group.shop_class not in world.fleet.shop_classes:
            continue
        fine = [name for name in group.replicas if not must_leave(world, group, name)]
        could = [
            name
            for name in world.fleet.shopsets
            if name not in group.replicas
            and takes(world, name)
            and serves(world.fleet, group, name)
            and are_apart(world.fleet, group, [*fine, name])
        ]
        number = wanted(world.fleet, group)
        base, tail = group.replicas[:number], group.replicas[number:]
        # What it came from serves it until what it came to does.
        waits = any(name in world.unready for name in base)
        whole = len(base) == number and set(base) <= set(fine) and (waits or not tail)
        assert (whole and are_apart(world.fleet, group, base)) or not could, f"{group} could be on {could}"
        assert not [name for name in group.replicas if is_gone(world, name)], group

"""Wishes to empty a cluster wait for releases: a drain changes what a bake measures."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from shopset.api import Cluster
from shopset.core.fleets import Fleet
from shopset.core.placement.plans import Seen
from shopset.core.release.records import ClusterRecord


def may_wait(fleet: Fleet, clusters: Mapping[str, ClusterRecord]) -> bool:
    """Whether a wish depends on what the tiers are at. `clusters` is what the ledger says: a person's drain waits for nothing."""
    return next(_patient(fleet, clusters), None) is not None


def waiting(fleet: Fleet, seen: Seen) -> dict[str, tuple[str, ...]]:
    """Return the clusters that are not emptied yet though they are wished to be -> the tiers that they wait for."""
    found = ((each.name, busy_tiers(fleet, each.name, seen.busy)) for each in _patient(fleet, seen.clusters))
    return {name: tiers for name, tiers in found if tiers}


def held_back(fleet: Fleet, seen: Seen) -> Fleet:
    """Return the fleet as it is to be placed on now: a cluster that waits keeps its shops and takes no others."""
    wait = waiting(fleet, seen)
    if not wait:
        return fleet
    clusters = {name: _cordoned(each) if name in wait else each for name, each in fleet.clusters.items()}
    return replace(fleet, clusters=MappingProxyType(clusters))


def busy_tiers(fleet: Fleet, cluster: str, busy: Mapping[str, str]) -> tuple[str, ...]:
    """Return the tiers with ShopSets on a cluster that are in the middle of a release, sorted."""
    return tuple(sorted({fleet.shopsets[name].spec.tier for name in fleet.hosted(cluster)} & busy.keys()))


def _patient(fleet: Fleet, clusters: Mapping[str, ClusterRecord]) -> Iterator[Cluster]:
    for name, each in fleet.clusters.items():
        if each.spec.wish == "Drained" and not each.spec.during_bake and name not in clusters:
            yield each


def _cordoned(cluster: Cluster) -> Cluster:
    return cluster.model_copy(update={"spec": cluster.spec.model_copy(update={"wish": "Cordoned"})})

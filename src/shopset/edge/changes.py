"""What HAProxy has to be told of a change: the entries of `moved.map`, which lies over the large map.

`hosts.map` was made of one commit, the *base*. Of each later commit only the files that differ from the base's are looked at, so
that a million shops never have to be in memory at once.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from shopset.core.placement.edges import EdgeFacts
from shopset.core.placement.formats import shop_path
from shopset.core.placement.placements import Group, PlacedShop
from shopset.edge.routes import GONE, ROUTE_PREFIX, host_entries

GENERATION_KEY: Final = "G="
"""The key by which `hosts.map` says of which generation it is. As with routes, no client's host finds it."""
COMMIT_KEY: Final = "C="
"""The key by which `moved.map` says up to which commit it goes."""
SPARE_KEY: Final = "S="
"""What keys begin with by which `moved.map` says whose a spare backend is."""
_LARGE_DROP: Final = 100
_LARGE_SHARE: Final = 0.1


@dataclass(frozen=True)
class Side:
    """What a commit says of everything but the shops, and the routes that follow from it."""

    facts: EdgeFacts = field(default_factory=EdgeFacts)
    groups: Mapping[str, Group] = field(default_factory=dict)
    routes: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def served(self) -> frozenset[str]:
        """Groups that have at least one ShopSet which the edge knows."""
        known = self.facts.shopsets.keys()
        return frozenset(name for name, group in self.groups.items() if not known.isdisjoint(group.replicas))


@dataclass(frozen=True)
class Changes:
    """What differs between the shops of two commits."""

    entries: Mapping[str, str] = field(default_factory=dict)
    """Host -> value, of those that are new or routed by another shop or route; GONE of those that are there no more."""
    is_cut: bool = False
    """Whether there is more than was to be collected: then `entries` is empty."""
    dropped: int = 0
    """Hosts that are there no more."""
    orphans: int = 0
    """Hosts that were served, and whose shop is in a group now that nobody serves; of the files that differ."""
    before: Counter[str] = field(default_factory=Counter)
    """Group -> hosts, in the files that differ."""
    after: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Judgement:
    """What a commit would do to hosts that are routed now."""

    hosts: int
    """Routed now."""
    dropped: int
    orphans: int

    @property
    def reason(self) -> str:
        """Why that is not to be done without a person who says so; empty where it may."""
        if self.orphans:
            return f"{self.orphans:,} of {self.hosts:,} hosts would have no ShopSet that this edge knows"
        if self.dropped > _LARGE_DROP and self.dropped > self.hosts * _LARGE_SHARE:
            return f"{self.dropped:,} of {self.hosts:,} hosts would be gone at once"
        return ""


def differing_paths(old: Mapping[str, str], new: Mapping[str, str], one: EdgeFacts, other: EdgeFacts) -> list[str]:
    """Return the paths of the shards to look at: those that differ (path -> blob), and those of shops that became special or common."""
    special = {shop_path(name) for name in one.shops.keys() ^ other.shops.keys()}
    paths = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    return sorted(paths | (special & (old.keys() | new.keys())))


def compare(
    shards: Iterable[tuple[Iterable[PlacedShop], Iterable[PlacedShop]]], old: Side, new: Side, most: int
) -> Changes:
    """Compare shards, each as it was and as it is. No more than `most` entries are collected."""
    entries: dict[str, str] = {}
    gone: set[int] = set()
    come: set[int] = set()
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    orphans, is_cut = 0, False
    for were, are in shards:
        theirs, hers = list(were), list(are)
        there, here = ({host for shop in shops for host in shop.hosts} for shops in (theirs, hers))
        _count(before, theirs)
        _count(after, hers)
        # A host may come back in another shard, so what is gone is known at the end. Hashes are enough to count by.
        gone.update(map(hash, there - here))
        come.update(map(hash, here - there))
        orphans += sum(1 for host in _orphans(theirs, hers, old, new) if host in there)
        # What is not collected any more is only counted.
        if not is_cut:
            was, now = (
                _first(host_entries(theirs, old.facts, old.routes)),
                _first(host_entries(hers, new.facts, new.routes)),
            )
            entries |= {host: GONE for host in was if host not in now and entries.get(host, GONE) == GONE}
            entries |= {host: value for host, value in now.items() if _identity(was.get(host, "")) != _identity(value)}
            is_cut = len(entries) > most
    return Changes({} if is_cut else entries, is_cut, len(gone - come), orphans, before, after)


def overlay(changes: Changes, old: Side, new: Side) -> dict[str, str]:
    """Return the entries of `moved.map`: the hosts that differ, and the routes that do."""
    moved = {
        f"{ROUTE_PREFIX}{name}": text
        for name, text in new.routes.items()
        if name in old.routes and old.routes[name] != text
    }
    return moved | dict(changes.entries)


def judge(changes: Changes, counts: Mapping[str, int], old: Side, new: Side) -> Judgement:
    """Judge a change from what is routed now. `counts` is group -> hosts afterwards."""
    hosts = sum(counts.values()) - sum(changes.after.values()) + sum(changes.before.values())
    # Of the files that differ each host was looked at; in the others nobody moved, but groups may have lost their ShopSets.
    lost = sum(counts.get(name, 0) - changes.after[name] for name in old.served - new.served)
    return Judgement(hosts, changes.dropped, changes.orphans + lost)


def counted(counts: Mapping[str, int], changes: Changes) -> dict[str, int]:
    """Return group -> hosts after a change."""
    after = Counter(counts)
    after.update(changes.after)
    after.subtract(changes.before)
    return {name: number for name, number in after.items() if number > 0}


def spare_backends(
    shopsets: Iterable[str], named: Iterable[str], kept: Mapping[str, str], spares: int
) -> dict[str, str] | None:
    """Return ShopSet -> spare backend, of those that have no backend of their own; None where there are not enough.

    `kept` is what was given out before: a ShopSet keeps its spare, as HAProxy has its address there.
    """
    wanted = sorted(set(shopsets) - set(named))
    found = {name: kept[name] for name in wanted if name in kept}
    free = iter([f"spare-{index}" for index in range(spares) if f"spare-{index}" not in kept.values()])
    for name in wanted:
        if name not in found:
            backend = next(free, None)
            if backend is None:
                return None
            found[name] = backend
    return found


def _first(entries: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of two entries of one host, HAProxy takes the first."""
    found: dict[str, str] = {}
    for host, value in entries:
        found.setdefault(host, value)
    return found


def _identity(value: str) -> str:
    """Return what of a host's value its route does not say."""
    return value[: value.find(":", value.find(":") + 1)] if value else ""


def _count(counts: Counter[str], shops: Iterable[PlacedShop]) -> None:
    """Count the hosts of groups."""
    for _, group, hosts in shops:
        counts[group] += len(hosts)


def _orphans(were: Iterable[PlacedShop], are: Sequence[PlacedShop], old: Side, new: Side) -> Iterator[str]:
    """Yield the hosts of shops that were served and are no more."""
    if all(shop.group in new.served for shop in are):
        return
    served = {shop.name for shop in were if shop.group in old.served}
    for shop in are:
        if shop.name in served and shop.group not in new.served:
            yield from shop.hosts

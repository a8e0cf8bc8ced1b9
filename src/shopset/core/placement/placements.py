"""The placement as a value: groups with their replicas, and which group each shop is in. Never changed, only replaced."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from shopset.core.placement._shards import Hosts, Members, PlacedShop, Shards, changed, sharded
from shopset.core.placement.edges import NO_EDGE, EdgeFacts

__all__ = ["Group", "PlacedShop", "Placement", "Whereabouts"]


@dataclass(frozen=True, slots=True)
class Group:
    """Shops that share a class and a list of replicas: what placement moves."""

    name: str
    """`standard#42`, or `standard/hoge` of a shop with a group of its own."""
    shop_class: str
    replicas: tuple[str, ...]
    """ShopSets. As many as the class (or `spread`) asks for are the placement, the first the primary; those after them
    still serve and go with the next step."""
    pinned: bool = False
    """A person chose the replicas: only a loss or a drain moves them."""
    dedicated: bool = False
    """A person isolated it: it has dedicated ShopSets to itself."""
    spread: int = 0
    """Replicas that serve it side by side, where a person spread a hot shop; 0: the class's number, one of which serves."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where one shop is."""

    shop: PlacedShop
    group: Group


@dataclass(frozen=True)
class Placement:
    """Which ShopSets serve which shops.

    Any mappings do. Those of a placement that was read, or made by the methods here, lie in shards: a change shares what
    it does not touch, and two of them are compared without looking at every shop.
    """

    groups: Mapping[str, Group] = field(default_factory=dict)
    """Sorted by name."""
    members: Mapping[str, str] = field(default_factory=dict)
    """Shop -> group."""
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Shop -> its hosts; a shop without any may be left out."""
    edge: EdgeFacts = NO_EDGE
    """What edges have to know besides; nothing where the fleet has none."""

    @classmethod
    def of(cls, groups: Iterable[Group], shops: Iterable[PlacedShop], edge: EdgeFacts = NO_EDGE) -> Self:
        """Return the placement of some groups and shops, each with names that differ."""
        return cls.of_shards(_sorted(groups), sharded(shops), edge)

    @classmethod
    def of_shards(cls, groups: Mapping[str, Group], shards: Shards, edge: EdgeFacts = NO_EDGE) -> Self:
        """Return the placement of some groups, sorted by name, and shards."""
        return cls(groups, Members(shards), Hosts(shards), edge)

    @property
    def shards(self) -> Shards:
        """The shops in their shards. A placement of other mappings is sharded anew each time that this is asked."""
        members, hosts = self.members, self.hosts
        if isinstance(members, Members) and isinstance(hosts, Hosts) and members.shards is hosts.shards:
            return members.shards
        return sharded(PlacedShop(shop, group, tuple(hosts.get(shop, ()))) for shop, group in members.items())

    def shop(self, name: str) -> Whereabouts | None:
        """Return where a shop is; None where the placement does not have it."""
        group = self.members.get(name)
        if group is None:
            return None
        return Whereabouts(PlacedShop(name, group, tuple(self.hosts.get(name, ()))), self.groups[group])

    def shops_of(self, groups: Collection[str]) -> dict[str, list[str]]:
        """Return group -> its shops, sorted, of some groups."""
        found: dict[str, list[str]] = {group: [] for group in sorted(groups)}
        for shop, group in self.members.items():
            if group in found:
                found[group].append(shop)
        return {group: sorted(shops) for group, shops in found.items()}

    def serving(self, shopsets: Collection[str]) -> dict[str, int]:
        """Return ShopSet -> how many shops it serves, of those of some ShopSets that serve any. It looks at every shop once."""
        wanted = frozenset(shopsets)
        groups = {name: hers for name, each in self.groups.items() if (hers := wanted.intersection(each.replicas))}
        counts = Counter(self.members.values()) if groups else {}
        found: Counter[str] = Counter()
        for name, hers in groups.items():
            found.update(dict.fromkeys(hers, counts.get(name, 0)))
        return {name: found[name] for name in sorted(found) if found[name]}

    def owners(self, hosts: Collection[str]) -> dict[str, str]:
        """Return host -> the shop that has it, of some hosts. It looks at every shop once."""
        wanted = frozenset(hosts)
        return {
            host: shop
            for shop, theirs in self.hosts.items()
            if not wanted.isdisjoint(theirs)
            for host in theirs
            if host in wanted
        }

    def with_groups(self, groups: Iterable[Group], without: Iterable[str] = ()) -> Self:
        """Return the placement with some groups added or replaced, and others taken out, which have no shops."""
        gone = frozenset(without)
        kept = (group for name, group in self.groups.items() if name not in gone)
        return replace(self, groups=_sorted((*kept, *groups)))

    def with_shops(self, shops: Iterable[PlacedShop]) -> Self:
        """Return the placement with some shops added or replaced."""
        return self.of_shards(self.groups, changed(self.shards, shops, ()), self.edge)

    def without_shops(self, names: Iterable[str]) -> Self:
        """Return the placement without some shops. Those that are not there are no error."""
        return self.of_shards(self.groups, changed(self.shards, (), names), self.edge)

    def with_edge(self, edge: EdgeFacts) -> Self:
        """Return the placement with other facts for edges; itself where they are the same."""
        return self if edge == self.edge else replace(self, edge=edge)


def _sorted(groups: Iterable[Group]) -> dict[str, Group]:
    named = {group.name: group for group in groups}
    return {name: named[name] for name in sorted(named)}

"""What changes for shoppers from one placement to another: their hosts, where they are served, and by which rules."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from shopset.core.placement.edges import EdgeFacts
from shopset.core.placement.placements import Group, Placement


@dataclass(frozen=True, slots=True)
class GroupChange:
    """A group that is served by others than before, and how many shops that concerns."""

    name: str
    before: tuple[str, ...]
    """Empty where it was not there."""
    after: tuple[str, ...]
    shops: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that the edge is told about a ShopSet, a class, a shop or everything, and that changed."""

    what: str
    """`ShopSet a-1`, `class standard`, `shop hoge` or `settings`."""
    changes: tuple[str, ...]
    """`added`, `removed`, or each value as in `endpoint http://a -> http://b`."""


@dataclass(frozen=True)
class Comparison:
    """Everything that differs, sorted by name."""

    added: tuple[str, ...] = ()
    """Hosts."""
    removed: tuple[str, ...] = ()
    handed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Host -> the shop that had it and the one that has it."""
    regrouped: int = 0
    """Shops that are in another group than before."""
    groups: tuple[GroupChange, ...] = ()
    rules: tuple[Rule, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the edge does the same by both."""
        return not (self.added or self.removed or self.handed or self.regrouped or self.groups or self.rules)


def compare(before: Placement, after: Placement) -> Comparison:
    """Return what differs between two placements. Only shards that differ are looked into."""
    hosts_before, groups_before = _rows(before, after)
    hosts_after, groups_after = _rows(after, before)
    common = hosts_before.keys() & hosts_after.keys()
    return Comparison(
        added=tuple(sorted(hosts_after.keys() - common)),
        removed=tuple(sorted(hosts_before.keys() - common)),
        handed={
            host: (hosts_before[host], hosts_after[host])
            for host in sorted(common)
            if hosts_before[host] != hosts_after[host]
        },
        regrouped=sum(groups_before[shop] != groups_after[shop] for shop in groups_before.keys() & groups_after.keys()),
        groups=tuple(_groups(before, after)),
        rules=tuple(_rules(before.edge, after.edge)),
    )


def _rows(placement: Placement, other: Placement) -> tuple[dict[str, str], dict[str, str]]:
    """Return host -> shop and shop -> group of the shards that the other placement has not likewise."""
    hosts, groups = {}, {}
    theirs = other.shards
    for key, shard in placement.shards.items():
        if shard != theirs.get(key):
            for shop in shard:
                groups[shop.name] = shop.group
                hosts.update(dict.fromkeys(shop.hosts, shop.name))
    return hosts, groups


def _groups(before: Placement, after: Placement) -> Iterator[GroupChange]:
    def replicas(group: Group | None) -> tuple[str, ...]:
        return group.replicas if group else ()

    old, new = before.groups, after.groups
    changed = [name for name in sorted(old.keys() | new.keys()) if replicas(old.get(name)) != replicas(new.get(name))]
    if not changed:
        return
    members, left = Counter(after.members.values()), Counter(before.members.values())
    for name in changed:
        yield GroupChange(
            name, replicas(old.get(name)), replicas(new.get(name)), members[name] if name in new else left[name]
        )


def _rules(before: EdgeFacts, after: EdgeFacts) -> Iterator[Rule]:
    if before.settings != after.settings:
        yield Rule("settings", tuple(_values(before.settings, after.settings)))
    for what, old, new in (
        ("ShopSet", before.shopsets, after.shopsets),
        ("class", before.classes, after.classes),
        ("shop", before.shops, after.shops),
    ):
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                yield Rule(f"{what} {name}", tuple(_values(old.get(name), new.get(name))))


def _values(before: Any, after: Any, prefix: str = "") -> Iterator[str]:
    """Yield each value that differs, in words."""
    if before is None or after is None:
        yield "added" if before is None else "removed"
        return
    for each in fields(after):
        one, other, name = getattr(before, each.name), getattr(after, each.name), f"{prefix}{each.name}"
        if one == other:
            continue
        if is_dataclass(one) and is_dataclass(other):
            yield from _values(one, other, f"{name}.")
        else:
            yield f"{name} {shown(one)} -> {shown(other)}"


def shown(value: object) -> str:
    """Return a value of the facts in words."""
    if is_dataclass(value) and not isinstance(value, type):
        told = [f"{each.name} {shown(given)}" for each in fields(value) if (given := getattr(value, each.name))]
        return ", ".join(told) or "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

"""The placement as a value: groups with their replicas, and which group each shop is in. Never changed, only replaced."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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


@dataclass(frozen=True)
class Placement:
    """Which ShopSets serve which shops."""

    groups: Mapping[str, Group] = field(default_factory=dict)
    """Sorted by name."""
    members: Mapping[str, str] = field(default_factory=dict)
    """Shop -> group."""

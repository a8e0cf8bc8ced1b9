"""What the edge has to know besides the groups and the shops, as the branch `placement` carries it in its folder `edge/`.

An edge follows git alone: whatever of the fleet decides about a request stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How much traffic is let through. None is no limit."""

    requests_per_second: float | None = None
    """Requests per second over time."""
    burst: int = 0
    """Requests that may come at once beyond that."""


@dataclass(frozen=True, slots=True)
class EdgeHealth:
    """How the edge looks at ShopSets."""

    path: str = "/health"
    interval: int = 80
    """Milliseconds between two checks."""
    timeout: int = 150
    """Milliseconds after which a check has failed."""
    fall: int = 2
    """Failed checks in a row that take a ShopSet out."""
    rise: int = 10
    """Good checks in a row that bring it back."""
    slow_start: int = 10_000
    """Milliseconds over which it gets its full share again."""
    panic: int = 50
    """Percent of the ShopSets: where more are down than that, and more than those of one cluster, the checks are not believed."""


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """What holds for every shop."""

    health: EdgeHealth = EdgeHealth()
    clients: RateLimit = RateLimit()
    """Of one client address."""
    lanes: tuple[str, ...] = ("/cart", "/checkout", "/payment")
    """Beginnings of paths that are served before others when a ShopSet is short."""
    redirect: Literal["None", "Https"] = "None"
    """Https sends what comes without TLS to the same address with it."""


@dataclass(frozen=True, slots=True)
class EdgeShopSet:
    """One backend."""

    name: str
    endpoint: str
    """A URL without a path, as in `https://a-1.example.com:8443`."""
    tier: str = ""
    cluster: str = ""
    concurrency: int | None = None
    """Requests that it answers at once; None is not limited."""


@dataclass(frozen=True, slots=True)
class EdgeClass:
    """How shops of a class are served."""

    name: str
    limit: RateLimit = RateLimit()
    """Of one shop."""
    weights: tuple[int, ...] = ()
    """Percent of a shop's clients that each replica serves first, summing to 100; without any, the primary serves all."""
    overload: Literal["Refuse", "Spill"] = "Refuse"
    """Spill gives what a full ShopSet can't take to the next replica, as long as that has room."""
    canaries: tuple[str, ...] = ()
    """ShopSets of another tier that take a share of the traffic; each group has one of them."""
    canary_percent: int = 0
    replicas: int = 1
    """How many ShopSets of a group's list are its replicas; those after them only finish what they began."""


@dataclass(frozen=True, slots=True)
class EdgeShop:
    """What is special about one shop."""

    name: str
    limit: RateLimit | None = None
    """Instead of its class's."""
    maintenance: bool = False
    """Shoppers get a page that says so."""


@dataclass(frozen=True)
class EdgeFacts:
    """All of it; mappings are sorted by name."""

    settings: EdgeSettings = EdgeSettings()
    shopsets: Mapping[str, EdgeShopSet] = field(default_factory=dict)
    classes: Mapping[str, EdgeClass] = field(default_factory=dict)
    shops: Mapping[str, EdgeShop] = field(default_factory=dict)
    """Only of shops about which something is special."""


NO_EDGE: Final = EdgeFacts()
"""Of a fleet without edges."""

"""How shops are routed, in the texts that HAProxy's maps hold.

`hosts.map` says for each host `<shop>:R=<route id>:<route>`. A route says how shops are routed that are routed alike: how much
traffic one of them may have, and the ShopSets that serve it, in order. Its id is the name of the placement group, or that of
the shop where something is special about it.

`moved.map` lies over it and holds what changed since: a host with the same form or with GONE, and `R=<route id>` with a route.
HAProxy makes a client's Host lower case, so none finds `R=`.

A route is `<peak>:<total>:<flags>:<ShopSet>:<ShopSet>...`. Where it takes a closer look (maintenance, several lists of which the
client's address chooses one, a very small limit) it is `<peak>:<total>:<flags>:|<bound>|<list>|<bound>|<list>...`: no backend is
called so, and that is how HAProxy notices without a rule for it.
"""

import ipaddress
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shopset.core.placement.edges import EdgeClass, EdgeFacts, RateLimit
from shopset.core.placement.placements import Group, PlacedShop

GONE: Final = ":"
"""The value of a host that is served no more."""
ROUTE_PREFIX: Final = "R="
"""What the key of a route begins with in `moved.map`."""
SLOTS: Final = 100
"""Into how many parts clients are divided."""
RANKS: Final = 6
"""How many ShopSets of a list are tried."""
LISTS: Final = 17
"""How many lists a route has at most: one for each replica, and one for a canary."""
PEAK_FLOOR: Final = 10
"""Requests of a shop within a second that are let through without a look at its limit; a smaller limit takes a closer look."""
TOTAL_FLOOR: Final = 100
"""The same for ten seconds."""
WINDOW: Final = 10
"""Seconds over which `total` counts."""
_MAINTENANCE: Final = "m"
_SPILL: Final = "s"


@dataclass(frozen=True, slots=True)
class Choice:
    """A list of ShopSets, and the clients for whom it holds."""

    bound: int
    """It is for the clients with a slot below this that no list before it is for."""
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """What the text of a route says."""

    peak: int | None = None
    """Requests of one shop within a second; None is not limited."""
    total: int | None = None
    """The same within ten seconds."""
    maintenance: bool = False
    spill: bool = False
    """What a full ShopSet can't take goes to the next one."""
    choices: tuple[Choice, ...] = (Choice(SLOTS, ()),)

    def backends(self, slot: int) -> tuple[str, ...]:
        """Return the list for the clients of a slot."""
        return next((choice.backends for choice in self.choices if slot < choice.bound), ())


@dataclass(frozen=True, slots=True)
class HostValue:
    """What `hosts.map` says about a host."""

    shop: str
    route_id: str
    route: Route


def routes(
    facts: EdgeFacts, groups: Mapping[str, Group], members: Mapping[str, str], backends: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the routes, by their ids: one for each group, and one for each shop about which something is special.

    `members` says the group of (at least) those shops; one that it does not know is not placed. `backends` says of ShopSets which
    have another backend than `backend_of` says.
    """
    placed = {name: groups[members[name]] for name in facts.shops if members.get(name) in groups}
    return {name: group_route(facts, group, backends) for name, group in groups.items()} | {
        name: group_route(facts, group, backends, name) for name, group in placed.items()
    }


def group_route(
    facts: EdgeFacts, group: Group, backends: Mapping[str, str] | None = None, shop: str | None = None
) -> str:
    """Return the route of a group's shops, or of one of them about which something is special."""
    kind = facts.classes.get(group.shop_class) or EdgeClass(group.shop_class)
    special = facts.shops.get(shop) if shop is not None else None
    limit = special.limit if special is not None and special.limit is not None else kind.limit
    peak, total = _bounds(limit)
    return route_text(
        Route(
            peak,
            total,
            maintenance=special is not None and special.maintenance,
            spill=kind.overload == "Spill",
            choices=_choices(facts, kind, group, backends or {}),
        )
    )


def route_text(route: Route) -> str:
    """Return a route as the maps have it."""
    flags = (_MAINTENANCE if route.maintenance else "") + (_SPILL if route.spill else "")
    head = f"{_number(route.peak)}:{_number(route.total)}:{flags}:"
    if _is_plain(route):
        return head + ":".join(route.choices[0].backends)
    return head + "".join(f"|{choice.bound}|{':'.join(choice.backends)}" for choice in route.choices)


def parse_route(text: str) -> Route:
    """Read the text of a route. Raises ValueError for anything else."""
    peak, total, flags, lists = text.split(":", 3)
    route = Route(
        int(peak) if peak else None,
        int(total) if total else None,
        maintenance=_MAINTENANCE in flags,
        spill=_SPILL in flags,
        choices=tuple(_read_choices(lists)),
    )
    if route_text(route) != text:
        message = f"{text!r} is no route"
        raise ValueError(message)
    return route


def host_value(shop: str, route_id: str, route: str) -> str:
    """Return what `hosts.map` says about a shop's hosts."""
    return f"{shop}:{ROUTE_PREFIX}{route_id}:{route}"


def parse_host_value(text: str) -> HostValue | None:
    """Read the value of a host; None is one that is GONE. Raises ValueError for anything else."""
    if text == GONE:
        return None
    shop, route_id, route = text.split(":", 2)
    if not route_id.startswith(ROUTE_PREFIX):
        message = f"{text!r} names no route"
        raise ValueError(message)
    return HostValue(shop, route_id.removeprefix(ROUTE_PREFIX), parse_route(route))


def host_entries(shops: Iterable[PlacedShop], facts: EdgeFacts, routes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each host of some shops with its value."""
    special = facts.shops
    for name, group, hosts in shops:
        if hosts:
            route_id = name if name in special else group
            value = host_value(name, route_id, routes.get(route_id, _NOWHERE))
            for host in hosts:
                yield host, value


def backend_of(shopset: str) -> str:
    """Return the backend of a ShopSet: its name, unless the configuration has other plans with that."""
    # No ShopSet's name has a dot.
    return f"{shopset}." if shopset in RESERVED or shopset.startswith(SPARE_PREFIX) else shopset


def shopset_of(backend: str) -> str:
    """Return the ShopSet that a backend is named after."""
    return backend.removesuffix(".")


SPARE_PREFIX: Final = "spare-"
PANIC: Final = "panic"
"""The backend by which ShopSets are tried that are down."""
RESERVED: Final = frozenset({"none", "shops", "clients", "failures", "troubles", PANIC})
"""Backends that are no ShopSets."""


def slot_of(address: str) -> int:
    """Return the slot of a client: the same for all addresses of an IPv6 network of 64 bits, which one client has."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or ipaddress.IPv6Address(int(parsed) >> 64 << 64)
    return zlib.crc32(parsed.packed) % SLOTS


def _is_plain(route: Route) -> bool:
    if route.maintenance or len(route.choices) != 1:
        return False
    return (route.peak is None or route.peak >= PEAK_FLOOR) and (route.total is None or route.total >= TOTAL_FLOOR)


def _read_choices(text: str) -> Iterator[Choice]:
    if not text.startswith("|"):
        yield Choice(SLOTS, tuple(text.split(":")) if text else ())
        return
    parts = text[1:].split("|")
    for bound, names in zip(parts[::2], parts[1::2], strict=True):
        yield Choice(int(bound), tuple(names.split(":")) if names else ())


def _bounds(limit: RateLimit) -> tuple[int | None, int | None]:
    """Return how many requests may come within a second, and within ten."""
    if limit.requests_per_second is None:
        return None, None
    rate = limit.requests_per_second
    return math.ceil(rate + limit.burst), math.ceil(WINDOW * rate + limit.burst)


def _choices(facts: EdgeFacts, kind: EdgeClass, group: Group, backends: Mapping[str, str]) -> tuple[Choice, ...]:
    count = min(max(group.spread, kind.replicas), LISTS - 1)
    serving, leaving = group.replicas[:count], group.replicas[count:]

    def known(names: Sequence[str]) -> tuple[str, ...]:
        there = [name for name in dict.fromkeys(names) if name in facts.shopsets]
        return tuple(backends.get(name) or backend_of(name) for name in there[:RANKS])

    weights = _weights(kind, group, serving)
    lists = [(*serving[index:], *serving[:index], *leaving) for index in range(len(weights))] or [group.replicas]
    canary = kind.canary_percent if kind.canaries else 0
    choices = []
    if canary:
        first = kind.canaries[zlib.crc32(group.name.encode()) % len(kind.canaries)]
        choices.append(Choice(canary * SLOTS // 100, known((first, *group.replicas))))
    # The last of them is for all that are left, whatever was rounded.
    ends = [sum(weights[: index + 1]) / sum(weights) for index in range(len(weights) - 1)] if weights else []
    bounds = [canary + round((SLOTS - canary) * end) for end in ends] + [SLOTS]
    choices += [Choice(bound, known(names)) for bound, names in zip(bounds, lists, strict=True)]
    return tuple(choices)


def _weights(kind: EdgeClass, group: Group, serving: Sequence[str]) -> tuple[int, ...]:
    """Return the shares of the replicas that serve side by side; none where the primary serves all."""
    if group.spread > 1:
        return (1,) * min(group.spread, len(serving))
    return kind.weights if len(kind.weights) == len(serving) > 1 else ()


def _number(number: int | None) -> str:
    return "" if number is None else str(number)


_NOWHERE: Final = route_text(Route())
"""Of shops whose group is not known."""

"""Budgets: what several ShopSets share, as the connections that a database bears and the room of a cluster."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from shopset.api import Cluster, Configuration, ShopSet
from shopset.api.configurations import Database

_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Share:
    """What one ShopSet takes of a budget; None where nobody stated it."""

    shopset: str
    amount: int | None


@dataclass(frozen=True)
class Budget:
    """Something that ShopSets share, and what each takes of it, in the order in which they came."""

    owner: str
    """`Configuration/production` or `Cluster/a`."""
    database: str
    """Name of the database; empty where it is the room of a cluster."""
    limit: int
    shares: tuple[Share, ...]
    usual: int | None
    """What one more ShopSet would take; None where nobody stated it."""

    @property
    def field(self) -> tuple[str, ...]:
        """The field of a ShopSet by which it has its share."""
        return ("spec", "configuration" if self.database else "cluster")

    @property
    def taken(self) -> int:
        """What is known to be taken."""
        return sum(each.amount or 0 for each in self.shares)

    @property
    def left(self) -> int:
        """What is left; negative where more is taken than there is."""
        return self.limit - self.taken

    @property
    def unknown(self) -> tuple[str, ...]:
        """ShopSets of which nobody stated what they take."""
        return tuple(each.shopset for each in self.shares if each.amount is None)

    @property
    def room(self) -> int | None:
        """How many more ShopSets fit; None where nobody stated what one takes, or what some take."""
        return None if self.usual is None or self.unknown else max(self.left, 0) // self.usual

    @property
    def beyond(self) -> tuple[str, ...]:
        """The ShopSets that would not have been taken, had each been judged when it came."""
        found, left = [], self.limit
        for share in self.shares:
            if (share.amount or 0) > left:
                found.append(share.shopset)
            else:
                left -= share.amount or 0
        return tuple(found)

    @property
    def arithmetic(self) -> str:
        """What is taken, as a sum: `12 ShopSets x 40 connections = 480 exceed the budget of 450 of ...`."""
        verb = "exceed" if self.taken > self.limit else "are within"
        if not self.database:
            return f"{_shopsets(self.taken)} {verb} the {self.limit} that {self.owner.replace('/', ' ').lower()} holds"
        amounts = Counter(each.amount for each in self.shares if each.amount is not None)
        terms = [f"{_shopsets(count)} x {amount} connections" for amount, count in sorted(amounts.items())]
        of = f"of the database {self.database} ({self.owner})"
        return f"{' + '.join(terms) or 'no ShopSet'} = {self.taken} {verb} the budget of {self.limit} {of}"

    @property
    def advice(self) -> str:
        """What to do where more is taken than there is."""
        if not self.database:
            return "raise capacity.shopsets of the Cluster if it holds more, or choose another one"
        return "raise connections if the database bears more, lower connectionsPerShopset, or connect it elsewhere"


@dataclass(frozen=True, slots=True)
class Excess:
    """A ShopSet that is beyond a budget."""

    shopset: str
    field: tuple[str, ...]
    message: str
    advice: str


def database_budgets(
    configurations: Mapping[str, Configuration], shopsets: Mapping[str, ShopSet], first: Collection[str] = ()
) -> Iterator[Budget]:
    """Yield the budget of each database of each Configuration. The ShopSets in `first` came before the others."""
    users: dict[str, list[ShopSet]] = defaultdict(list)
    for shopset in _in_order(shopsets, first):
        users[shopset.spec.configuration].append(shopset)
    for name, configuration in configurations.items():
        for database in configuration.spec.databases:
            shares = tuple(Share(each.name, connections_of(each, database)) for each in users[name])
            usual = database.connections_per_shopset or _most(shares)
            yield Budget(configuration.reference, database.name, database.connections, shares, usual)


def cluster_budgets(
    clusters: Mapping[str, Cluster], shopsets: Mapping[str, ShopSet], first: Collection[str] = ()
) -> Iterator[Budget]:
    """Yield the budget of each cluster that says how many ShopSets it holds."""
    hosted: dict[str, list[Share]] = defaultdict(list)
    for shopset in _in_order(shopsets, first):
        hosted[shopset.spec.cluster].append(Share(shopset.name, 1))
    for name, cluster in clusters.items():
        capacity = cluster.spec.capacity
        if capacity is not None and capacity.shopsets is not None:
            yield Budget(cluster.reference, "", capacity.shopsets, tuple(hosted[name]), 1)


def connections_of(shopset: ShopSet, database: Database) -> int | None:
    """Return how many connections a ShopSet opens to a database at most: the smaller of what is stated of either."""
    own = shopset.spec.capacity.connections if shopset.spec.capacity else None
    stated = [value for value in (own, database.connections_per_shopset) if value is not None]
    return min(stated, default=None)


def excesses(
    configurations: Mapping[str, Configuration],
    clusters: Mapping[str, Cluster],
    shopsets: Mapping[str, ShopSet],
    first: Collection[str] = (),
) -> Iterator[Excess]:
    """Yield the ShopSets that are beyond a budget: those that came last, by creation and then by name.

    The ShopSets in `first` (those that run already) came before all others.
    """
    for budget in (
        *database_budgets(configurations, shopsets, first),
        *cluster_budgets(clusters, shopsets, first),
    ):
        for name in budget.beyond:
            yield Excess(name, budget.field, budget.arithmetic, budget.advice)


def _in_order(shopsets: Mapping[str, ShopSet], first: Collection[str]) -> list[ShopSet]:
    return sorted(
        shopsets.values(),
        key=lambda each: (each.name not in first, each.metadata.creation_timestamp or _LATEST, each.name),
    )


def _most(shares: tuple[Share, ...]) -> int | None:
    return max((each.amount for each in shares if each.amount is not None), default=None)


def _shopsets(count: int) -> str:
    return f"{count} ShopSet{'' if count == 1 else 's'}"

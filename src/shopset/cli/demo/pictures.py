"""The picture of which shop is where: clusters with their ShopSets, how loaded these are, and where some shops are served."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from shopset.core.fleets import Fleet
from shopset.core.placement.placements import Group
from shopset.core.placement.plans import Seen

_BAR = 20


@dataclass(frozen=True)
class Row:
    """A ShopSet in the picture."""

    cluster: str
    state: str
    shopset: str
    share: float | None
    """Of its capacity; None where it serves nobody because its cluster does not answer."""
    shops: int
    """That have a replica there."""
    marks: tuple[str, ...]
    """Of the shops that are watched: as in `hoge serving`."""

    @property
    def bar(self) -> str:
        """How full it is."""
        filled = 0 if self.share is None else min(round(self.share * _BAR), _BAR)
        return f"[{'#' * filled}{'.' * (_BAR - filled)}]"

    @property
    def load(self) -> str:
        """How full it is, in percent."""
        return "-" if self.share is None else f"{self.share:.0%}"

    @property
    def line(self) -> str:
        """The row as text."""
        where = f"{self.cluster}  {self.state:<10} {self.shopset:<4}"
        return f"  {where} {self.bar} {self.load:>4} {self.shops:4d} shops  {', '.join(self.marks)}".rstrip()


@dataclass(frozen=True)
class Picture:
    """Which shop is where, and who is served."""

    rows: tuple[Row, ...]
    down: tuple[str, ...]
    """Shops that no replica serves, sorted."""

    @property
    def lines(self) -> list[str]:
        """The picture as text."""
        return [row.line for row in self.rows]


def draw(fleet: Fleet, seen: Seen, away: Collection[str], watched: Collection[str]) -> Picture:
    """Return the picture. `away` are clusters that do not answer: what they served, the next replica serves."""
    sites = {name: each.spec.cluster for name, each in fleet.shopsets.items()}
    requests = _requests(fleet, seen)
    load: defaultdict[str, float] = defaultdict(float)
    count: Counter[str] = Counter()
    marks: defaultdict[str, list[str]] = defaultdict(list)
    down = []
    for shop, name in seen.placement.members.items():
        group = seen.placement.groups[name]
        serving = list(_serving(group, [each for each in group.replicas if sites.get(each) not in away]))
        if not serving:
            down.append(shop)
        for each in serving:
            load[each] += requests.get(shop, 0.0) / len(serving)
        count.update(group.replicas)
        for each in group.replicas if shop in watched else ():
            role = "down" if sites.get(each) in away else "serving" if each in serving else "standby"
            marks[each].append(f"{shop} {role}")
    rows = []
    for name, shopset in sorted(fleet.shopsets.items(), key=lambda item: (item[1].spec.cluster, item[0])):
        capacity = shopset.spec.capacity.requests_per_second if shopset.spec.capacity else None
        if capacity is None:
            continue
        cluster = shopset.spec.cluster
        record = seen.clusters.get(cluster)
        state = record.state if record else "no answer" if cluster in away else "Active"
        share = None if cluster in away else load[name] / capacity
        rows.append(Row(cluster, state, name, share, count[name], tuple(sorted(marks[name]))))
    return Picture(tuple(rows), tuple(sorted(down)))


def _serving(group: Group, alive: list[str]) -> Iterator[str]:
    """Yield the replicas that serve: the first that is alive, or as many as the group is spread over."""
    yield from alive[: max(group.spread, 1)]


def _requests(fleet: Fleet, seen: Seen) -> dict[str, float]:
    assumed = fleet.platform.spec.placement.demand.requests_per_second or 0.0
    demand = np.nan_to_num(seen.shops.demand[:, 0], nan=assumed)
    return dict(zip(seen.shops.names, demand.tolist(), strict=True))

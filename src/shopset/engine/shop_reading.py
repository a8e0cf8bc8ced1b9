"""All sources of a fleet's shops as the placement reads them, with the demand that Prometheus knows where nobody states it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from shopset.api import Platform, Shop
from shopset.core.fleets import Fleet
from shopset.core.placement.shops import Shops
from shopset.core.placement.tables import ShopProblem, Table
from shopset.core.release.plans import Condition
from shopset.engine.ports import ShopsReading
from shopset.gates.answers import UnknownError
from shopset.gates.demand import read_demand
from shopset.shops.reading import ShopReader

_HOLDS: Final = timedelta(hours=1)
"""For how long a measured demand is taken: it is a peak of days, and what changes it rebuilds nothing."""
_RETRY: Final = timedelta(minutes=1)


class Sources:
    """Shop resources, files and tables. `resources` returns the Shop resources of now, the same table if unchanged."""

    def __init__(
        self,
        folder: Path,
        secrets: Callable[[str], Path],
        resources: Callable[[], Iterable[Shop] | Table],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reader = ShopReader(folder, secrets)
        self._resources = resources
        self._demand = _Demand(secrets, clock)

    def read(self, fleet: Fleet, incumbents: Mapping[str, str]) -> ShopsReading:
        """Read what changed. What is wrong is a condition, never an error."""
        # A shop whose class the fleet has no more stays where it is: the plan says so.
        found = self._reader.read(fleet.platform, self._resources(), incumbents)
        conditions = [_condition(fleet, each) for each in found.problems]
        shops = self._demand.known(fleet.platform, found.shops)
        if self._demand.problem:
            message = f"the demand of shops cannot be measured: {self._demand.problem}. What was measured last stands"
            conditions.append(Condition(fleet.platform.reference, "DemandKnown", "NotMeasured", message, "Warning"))
        return ShopsReading(shops, tuple(conditions), found.unread, found.is_whole)


@dataclass
class _Demand:
    """What Prometheus said last."""

    secrets: Callable[[str], Path]
    clock: Callable[[], datetime]
    problem: str = ""
    found: Mapping[str, float] = field(default_factory=dict)
    due: datetime | None = None
    joined: tuple[Shops, Mapping[str, float], Shops] | None = None

    def known(self, platform: Platform, shops: Shops) -> Shops:
        """Return the shops with the demand that was measured; the same object for the same shops and measurement."""
        query, monitoring = platform.spec.placement.demand_query, platform.spec.monitoring
        if query is None or monitoring is None:
            return shops
        now = self.clock()
        if self.due is None or now >= self.due:
            try:
                self.found, self.problem = read_demand(query, now, monitoring, self.secrets), ""
                self.due = now + _HOLDS
            except UnknownError as error:
                self.problem, self.due = str(error), now + _RETRY
        if self.joined is None or self.joined[0] is not shops or self.joined[1] is not self.found:
            self.joined = (shops, self.found, shops.with_requests(self.found))
        return self.joined[2]


def _condition(fleet: Fleet, problem: ShopProblem) -> Condition:
    resource = f"Shop/{problem.shop}" if problem.shop else fleet.platform.reference
    reason = "ShopRefused" if problem.shop else "SourceUnreadable"
    return Condition(resource, "Accepted", reason, str(problem), "Error" if problem.severity == "error" else "Warning")

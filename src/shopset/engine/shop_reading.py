"""All sources of a fleet's shops as the placement reads them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from shopset.api import Shop
from shopset.core.fleets import Fleet
from shopset.core.placement.tables import ShopProblem, Table
from shopset.core.release.plans import Condition
from shopset.engine.ports import ShopsReading
from shopset.shops.reading import ShopReader


class Sources:
    """Shop resources, files and tables.

    `resources` returns the Shop resources that there are now; as a table, the same one as long as nothing changed.
    """

    def __init__(
        self, folder: Path, secrets: Callable[[str], Path], resources: Callable[[], Iterable[Shop] | Table]
    ) -> None:
        self._reader = ShopReader(folder, secrets)
        self._resources = resources

    def read(self, fleet: Fleet, incumbents: Mapping[str, str]) -> ShopsReading:
        """Read what changed. What is wrong is a condition, never an error."""
        found = self._reader.read(fleet.platform, self._resources(), incumbents, fleet.shop_classes)
        conditions = tuple(_condition(fleet, each) for each in found.problems)
        return ShopsReading(found.shops, conditions, found.unread, found.is_whole)


def _condition(fleet: Fleet, problem: ShopProblem) -> Condition:
    resource = f"Shop/{problem.shop}" if problem.shop else fleet.platform.reference
    reason = "ShopRefused" if problem.shop else "SourceUnreadable"
    return Condition(resource, "Accepted", reason, str(problem), "Error" if problem.severity == "error" else "Warning")

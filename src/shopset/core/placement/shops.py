"""Shops as the planner has them: columns, because there may be a million; whoever reads a source makes one of these."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

RESOURCES: Final = ("requests", "connections", "shops")
"""What a ShopSet has a capacity of: requests per second, database connections, and shops."""


class EdgeWish(NamedTuple):
    """How the source of a shop wants the edge to serve it; what it leaves out is as for its class."""

    requests_per_second: float | None = None
    """How many it may have over time."""
    burst: int | None = None
    """How many it may have at once beyond that."""
    maintenance: bool = False


@dataclass(frozen=True)
class Shops:
    """Some shops, in columns of one length: row n of each is of the same shop. Rows are sorted by name; names are unique."""

    names: Sequence[str] = ()
    hosts: Sequence[tuple[str, ...]] = ()
    """Normalised; no host is at two shops."""
    class_names: tuple[str, ...] = ()
    classes: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Index into `class_names`."""
    demand: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    """Requests per second and connections of each shop at its busiest, shape (shops, 2); NaN where nobody stated it."""
    pins: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Row -> the ShopSets that its source wants, the first as primary; only of shops that have any."""
    edge: Mapping[int, EdgeWish] = field(default_factory=dict)
    """Row -> how its source wants it served; only of shops of which it says anything."""

    def __len__(self) -> int:
        return len(self.names)

    def row(self, name: str) -> int | None:
        """Return the row of a shop; None where it is not there."""
        row = bisect_left(self.names, name)
        return row if row < len(self) and self.names[row] == name else None

    def pins_of(self, name: str) -> tuple[str, ...]:
        """Return the ShopSets that its source wants for a shop; empty where it wants none."""
        row = self.row(name) if self.pins else None
        return () if row is None else self.pins.get(row, ())

    def with_requests(self, found: Mapping[str, float]) -> "Shops":
        """Return these shops with the requests per second that were measured, of those whose demand nobody stated."""
        requests = self.demand[:, 0].copy()
        for row in np.flatnonzero(np.isnan(requests)).tolist():
            requests[row] = found.get(self.names[row], np.nan)
        return replace(self, demand=np.column_stack([requests, self.demand[:, 1]]))

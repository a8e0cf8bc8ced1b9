"""Reads from HAProxy how many requests each shop has, and shows it: the busiest as metrics, all of them as lines."""

from collections.abc import Callable, Iterator
from threading import Lock
from time import monotonic
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shopset.edge.demand import COUNTERS, BrokenTableError, Demand, Reader, busiest, demand
from shopset.edge_agent.runtime import Runtime, RuntimeApiError

TABLE: Final = "shops"
INTERVAL: Final = 60.0
"""Seconds between two readings. An entry of the table must outlive it."""
_TEXTS: Final = {
    "requests": "Requests, refused ones too",
    "refused": "Requests above the limit of their shop",
    "failures": "Requests that a ShopSet answered with 5xx",
}
MOST: Final = 10_000
"""Series that an edge may export at most, however many are asked for."""


class DemandMetrics(Collector):
    """The demand of shops as one HAProxy counts it. `collect` may be called from any thread."""

    def __init__(self, runtime: Runtime, top: int, clock: Callable[[], float] = monotonic) -> None:
        self._runtime = runtime
        self._top = min(top, MOST)
        self._clock = clock
        self._lock = Lock()
        self._found: Demand | None = None
        self._shown: dict[str, list[int]] = {}

    def read(self) -> None:
        """Read the whole table: seconds for a million shops, so call it from a thread that runs no event loop.

        Raises RuntimeApiError, HaproxyAwayError; what was known before is still shown then.
        """
        with self._lock:
            # Asked before and after: HAProxy may be reloaded in between.
            process = str(self._runtime.process().pid)
            reader = Reader()
            command = f"show table {TABLE}"
            try:
                for piece in self._runtime.stream(command):
                    reader.feed(piece)
                reading = reader.reading()
            except BrokenTableError as error:
                raise RuntimeApiError(command, str(error)) from error
            if str(self._runtime.process().pid) != process:
                raise RuntimeApiError(command, "HAProxy was reloaded meanwhile")
            found = demand(reading, process, self._clock(), self._found)
            self._shown = busiest(found, self._top, self._shown.keys())
            self._found = found

    def lines(self) -> Iterator[bytes]:
        """Yield a line of JSON for each shop in the table, some thousands at once; none before the first reading."""
        found = self._found
        if found is not None:
            yield from found.lines()

    def collect(self) -> Iterator[Metric]:
        """Yield what Prometheus may read."""
        found, shown = self._found, self._shown
        sums = (0,) * len(COUNTERS) if found is None else found.sums
        for index, counter in enumerate(COUNTERS):
            total = CounterMetricFamily(f"shopset_edge_{counter}", f"{_TEXTS[counter]}, of all shops.", sums[index])
            each = CounterMetricFamily(
                f"shopset_edge_shop_{counter}", f"{_TEXTS[counter]}, of the busiest shops.", labels=["shop"]
            )
            for name, totals in sorted(shown.items()):
                each.add_metric([name], totals[index])
            yield total
            yield each
        active = 0 if found is None else len(found)
        yield GaugeMetricFamily("shopset_edge_active_shops", "Shops that had a request lately.", active)
        age = float("nan") if found is None else self._clock() - found.at
        yield GaugeMetricFamily("shopset_edge_demand_age_seconds", "How old the last reading of demand is.", age)

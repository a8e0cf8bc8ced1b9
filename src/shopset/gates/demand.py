"""How many requests each shop has, as Prometheus recorded them, for shops whose demand nobody states."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from shopset.api.platforms import DemandQuery, Monitoring
from shopset.gates.answers import UnknownError
from shopset.gates.prometheus import Prometheus
from shopset.gates.services import Service
from shopset.gates.targets import Secrets


def read_demand(query: DemandQuery, at: datetime, monitoring: Monitoring, secrets: Secrets) -> Mapping[str, float]:
    """Return the requests per second of each shop that Prometheus knows. Raises UnknownError.

    Series of one shop add up; values that are no numbers are none. Call it from a thread that runs no event loop.
    """
    api = monitoring.prometheus
    service = Service("Prometheus", api.url, api.secret, secrets, monitoring.timeout)
    series = asyncio.run(Prometheus(service, monitoring.max_gap).values(query.query, at))
    found: dict[str, float] = defaultdict(float)
    for each in series:
        if query.label not in each.labels:
            message = f"spec.placement.demandQuery has series without the label {query.label}"
            raise UnknownError(f"{message}: write sum by ({query.label}) (…), so that shops can be told apart")
        value = each.samples[0][1]
        if math.isfinite(value) and value >= 0:
            found[each.labels[query.label]] += value
    return dict(found)

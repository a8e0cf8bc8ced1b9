"""How clusters look from outside, as Prometheus has it now."""

import asyncio
import math
from collections.abc import Mapping
from datetime import datetime

from shopset.api.platforms import HealthQuery, Monitoring
from shopset.gates.answers import UnknownError
from shopset.gates.prometheus import Prometheus
from shopset.gates.services import Service
from shopset.gates.targets import Secrets


def read_health(query: HealthQuery, at: datetime, monitoring: Monitoring, secrets: Secrets) -> Mapping[str, bool]:
    """Return whether each cluster that Prometheus knows is healthy: any of its series is not 0. Raises UnknownError.

    A series without a number says nothing. Call it from a thread that runs no event loop.
    """
    api = monitoring.prometheus
    service = Service("Prometheus", api.url, api.secret, secrets, monitoring.timeout)
    series = asyncio.run(Prometheus(service, monitoring.max_gap).values(query.query, at))
    found: dict[str, bool] = {}
    for each in series:
        if query.label not in each.labels:
            message = f"spec.placement.healthQuery has series without the label {query.label}"
            raise UnknownError(f"{message}: write max by ({query.label}) (…), so that clusters can be told apart")
        cluster, value = each.labels[query.label], each.samples[0][1]
        if math.isfinite(value):
            found[cluster] = found.get(cluster, False) or value != 0
    return found

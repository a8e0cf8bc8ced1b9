"""Requests and saturation of ShopSets over a span of time, as Prometheus recorded them, for what a ShopSet bears."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

import numpy as np

from shopset.api.platforms import Monitoring, Saturation
from shopset.core.capacity.estimating import Samples
from shopset.gates.answers import UnknownError
from shopset.gates.prometheus import Prometheus, Series, Span
from shopset.gates.services import Service
from shopset.gates.targets import Secrets, Target
from shopset.gates.templates import expression, values_of

_STEPS: Final = 500
_FINEST: Final = timedelta(seconds=15)

_Values = Mapping[float, float]
"""Moment -> value."""


def read_saturation(
    saturation: Saturation, tier: str, targets: Sequence[Target], span: Span, monitoring: Monitoring, secrets: Secrets
) -> Mapping[str, Samples]:
    """Return the samples of each ShopSet of a tier; without any where nothing was recorded of it. Raises UnknownError.

    Call it from a thread that runs no event loop.
    """
    api = monitoring.prometheus
    service = Service("Prometheus", api.url, api.secret, secrets, monitoring.timeout)
    prometheus = Prometheus(service, monitoring.max_gap)
    requests, full = asyncio.run(_read(saturation, tier, targets, span, prometheus))
    # Of several series of one ShopSet: requests add up, and it is as full as the fullest.
    arriving = by_shopset("requests", requests, targets, math.fsum)
    filling = by_shopset("saturation", full, targets, max)
    return {each.shopset: _together(arriving[each.shopset], filling[each.shopset]) for each in targets}


async def _read(
    saturation: Saturation, tier: str, targets: Sequence[Target], span: Span, prometheus: Prometheus
) -> tuple[Sequence[Series], Sequence[Series]]:
    step = max(timedelta(seconds=math.ceil(span.length.total_seconds() / _STEPS)), _FINEST)
    values = values_of(tier, targets)
    requests = await prometheus.steps(expression(saturation.requests, values), span, step)
    return requests, await prometheus.steps(expression(saturation.saturation, values), span, step)


def by_shopset(
    what: str, found: Iterable[Series], targets: Sequence[Target], together: Callable[[Iterable[float]], float]
) -> Mapping[str, _Values]:
    """Return the values of each ShopSet at each moment; those that are no numbers are none. Raises UnknownError."""
    gathered: dict[str, dict[float, list[float]]] = {each.shopset: defaultdict(list) for each in targets}
    for series in found:
        name = _owner(what, series.labels, targets)
        for at, value in series.samples:
            if name is not None and math.isfinite(value):
                gathered[name][at].append(value)
    return {name: {at: together(values) for at, values in moments.items()} for name, moments in gathered.items()}


def _owner(what: str, labels: Mapping[str, str], targets: Sequence[Target]) -> str | None:
    """Return whose a series is; None where it is of a ShopSet that was not asked about. Raises UnknownError."""
    if "shopset" not in labels and "namespace" not in labels:
        message = f"the expression {what} of spec.placement.saturation has series with neither namespace nor shopset"
        raise UnknownError(f"{message}: write sum by (namespace) (…), so that ShopSets can be told apart")
    for target in targets:
        if labels.get("shopset", target.shopset) == target.shopset and (
            labels.get("namespace", target.namespace) == target.namespace
        ):
            return target.shopset
    return None


def _together(requests: _Values, saturation: _Values) -> Samples:
    """Return what was seen at the moments that have both; a negative value is no measurement."""
    moments = [at for at in sorted(requests.keys() & saturation.keys()) if requests[at] >= 0 and saturation[at] >= 0]
    return Samples(np.array([requests[at] for at in moments]), np.array([saturation[at] for at in moments]))

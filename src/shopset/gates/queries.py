"""Gates of queries: an expression that must stay on its side of a threshold over the bake."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from shopset.api.gates import QueryGate
from shopset.core.release.observed import GateReading
from shopset.gates.answers import UnknownError, clock, failed, moment, passed
from shopset.gates.prometheus import Prometheus, Series, Span
from shopset.gates.targets import Target
from shopset.gates.templates import expression, values_of

_STEPS: Final = 500
_FINEST: Final = timedelta(seconds=1)

Labels = frozenset[tuple[str, str]]
Traffic = Callable[[Mapping[str, str], float], bool]
"""Whether there was traffic enough behind a series at a moment."""


async def read_query(
    gate: QueryGate, tier: str, targets: Sequence[Target], span: Span, prometheus: Prometheus
) -> GateReading:
    """Read a gate of a query. Raises UnknownError."""
    if (gate.traffic is None) != (gate.min_traffic is None):
        raise UnknownError("minTraffic is the least value of the expression traffic, and one of the two is missing")
    values = values_of(tier, targets)
    step = max(timedelta(seconds=math.ceil(span.length.total_seconds() / _STEPS)), _FINEST)
    found = await prometheus.steps(expression(gate.expr, values), span, step)
    enough: Traffic = always
    if gate.traffic is not None and gate.min_traffic is not None:
        traffic = await prometheus.steps(expression(gate.traffic, values), span, step)
        enough = traffic_of(traffic, gate.min_traffic)
    counted = [counted_samples(each, enough) for each in found]
    worst = worst_sample(gate, counted)
    if worst is not None and is_beyond(gate, worst[2]):
        return failed(f"{_shown(worst)}, {gate.comparison.lower()} {gate.threshold:g}")
    await prometheus.check_recorded(span)
    check_current(counted, span, prometheus.max_gap)
    check_complete(counted, sorted(values["namespace"]) if "{namespace}" in gate.expr else ())
    assert worst is not None  # noqa: S101  # check_current found a sample
    return passed(f"at worst {_shown(worst)}, not {gate.comparison.lower()} {gate.threshold:g}")


def always(_labels: Mapping[str, str], _at: float) -> bool:
    """Say that there is traffic enough."""
    return True


def traffic_of(found: Sequence[Series], least: float) -> Traffic:
    """Return whether traffic is enough: that of the series with the same labels, or the one without labels."""
    by_labels = {_key(each.labels): dict(each.samples) for each in found}

    def enough(labels: Mapping[str, str], at: float) -> bool:
        samples = by_labels.get(_key(labels), by_labels.get(frozenset(), {}))
        return samples.get(at, -math.inf) >= least

    return enough


def counted_samples(series: Series, enough: Traffic) -> Series:
    """Return a series with the samples that say something: numbers, with traffic enough behind them."""
    kept = [(at, value) for at, value in series.samples if not math.isnan(value) and enough(series.labels, at)]
    return Series(series.labels, kept)


def worst_sample(gate: QueryGate, found: Sequence[Series]) -> tuple[Mapping[str, str], float, float] | None:
    """Return labels, time and value of the sample nearest to failing, or furthest beyond; the earliest of equals."""
    samples = [(each.labels, at, value) for each in found for at, value in each.samples]
    sign = -1 if gate.comparison == "Above" else 1
    return min(samples, key=lambda each: (sign * each[2], each[1], sorted(each[0].items())), default=None)


def is_beyond(gate: QueryGate, value: float) -> bool:
    """Whether a value fails the gate; the threshold itself does not."""
    return value > gate.threshold if gate.comparison == "Above" else value < gate.threshold


def check_current(found: Sequence[Series], span: Span, max_gap: timedelta) -> None:
    """Check that some value counts until the end of the span. Raises UnknownError with the last that did."""
    last = max((at for each in found for at, _ in each.samples), default=None)
    if last is None:
        raise UnknownError("the expression has no value that counts", span.start)
    if span.end.timestamp() - last > max_gap.total_seconds():
        since = _within(moment(last), span)
        raise UnknownError(f"the expression has no value that counts since {clock(since)}", since)


def check_complete(found: Sequence[Series], namespaces: Sequence[str]) -> None:
    """Check that each namespace has a value, where the values tell namespaces apart. Raises UnknownError."""
    if any("namespace" in each.labels for each in found):
        seen = {each.labels.get("namespace") for each in found if each.samples}
        missing = [namespace for namespace in namespaces if namespace not in seen]
        if missing:
            raise UnknownError(f"the expression has no value that counts for {missing[0]}")


def _within(at: datetime, span: Span) -> datetime:
    return min(max(at, span.start), span.end)


def _key(labels: Mapping[str, str]) -> Labels:
    return frozenset((label, value) for label, value in labels.items() if label != "__name__")


def _shown(sample: tuple[Mapping[str, str], float, float]) -> str:
    labels, at, value = sample
    shown = ",".join(f"{label}={text}" for label, text in sorted(labels.items()) if label != "__name__")
    return f"{f'{{{shown}}} ' if shown else ''}{value:g} at {clock(moment(at))}"

"""Gates of alerts: what fired during the bake, whether or not anybody looked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from shopset.api import redact
from shopset.core.release.observed import GateReading
from shopset.gates.answers import UnknownError, clock, failed, moment, passed
from shopset.gates.prometheus import Prometheus, Series, Span
from shopset.gates.services import NoAnswerError, Service
from shopset.gates.silences import Silence, read_silences
from shopset.gates.targets import Target
from shopset.gates.templates import fits, selector, values_of

_OWN_LABELS = frozenset({"__name__", "alertstate"})

Labels = tuple[tuple[str, str], ...]
"""The labels of an alert, sorted; an alert is known by them."""
ActiveSince = Mapping[Labels, Mapping[float, float]]
"""Alert -> moment -> since when it is active without a break, as Prometheus records it in `ALERTS_FOR_STATE`."""


@dataclass(frozen=True, slots=True)
class Firing:
    """The moments (Unix seconds, in order) at which an alert was found firing."""

    alert: Labels
    times: Sequence[float]

    def __str__(self) -> str:
        """As evidence shows it."""
        labels = dict(self.alert)
        name = labels.pop("alertname", "an alert")
        shown = ",".join(f"{label}={value}" for label, value in labels.items())
        return f"{name}{{{shown}}} fired from {clock(moment(self.times[0]))} to {clock(moment(self.times[-1]))}"


@dataclass(frozen=True, slots=True)
class AlertsQuestion:
    """Which alerts of which ShopSets are looked for."""

    matchers: Mapping[str, str]
    include_existing: bool
    tier: str
    targets: Sequence[Target]

    def selector(self, metric: str, **fixed: str) -> str:
        """Return the selector of a metric of alerts."""
        return selector(metric, fixed, self.matchers, values_of(self.tier, self.targets))


async def read_alerts(
    question: AlertsQuestion, span: Span, prometheus: Prometheus, alertmanager: Service | None
) -> GateReading:
    """Read a gate of alerts. Raises UnknownError."""
    firing = await _firing(question, span, prometheus)
    loud = await _loud(firing, alertmanager) if firing else ()
    if loud:
        more = f"; and {len(loud) - 1} more" if len(loud) > 1 else ""
        return failed(f"{loud[0]}{more}")
    await prometheus.check_recorded(span)
    await _check_rules(question, prometheus)
    silenced = f", {len(firing)} silenced" if firing else ""
    return passed(f"no alert from {clock(span.start)} to {clock(span.end)}{silenced}")


async def _firing(question: AlertsQuestion, span: Span, prometheus: Prometheus) -> Sequence[Firing]:
    selected = question.selector("ALERTS", alertstate="firing")
    if question.include_existing:
        # What fires at the start was recorded before it, and Prometheus knows whether it has ended since.
        at_start = await prometheus.steps(selected, Span(span.start, span.start), timedelta(seconds=1))
        return all_firings(_fitting(question, [*at_start, *await prometheus.samples(selected, span)]))
    wide = Span(span.start - prometheus.max_gap, span.end)
    found = _fitting(question, await prometheus.samples(selected, wide))
    start = span.start.timestamp()
    active: ActiveSince = {}
    if any(at < start for each in found for at, _ in each.samples):
        active = active_since(await prometheus.samples(question.selector("ALERTS_FOR_STATE"), wide))
    return new_firings(found, start, active)


def _fitting(question: AlertsQuestion, found: Iterable[Series]) -> Sequence[Series]:
    return [each for each in found if fits(each.labels, question.matchers, question.tier, question.targets)]


async def _loud(firing: Sequence[Firing], alertmanager: Service | None) -> Sequence[Firing]:
    if alertmanager is None:
        return firing
    try:
        return unsilenced(firing, await read_silences(alertmanager))
    except NoAnswerError as error:
        message = f"{firing[0]}, and whether it was silenced is not known: {redact(str(error))}"
        raise NoAnswerError(message) from error


async def _check_rules(question: AlertsQuestion, prometheus: Prometheus) -> None:
    rules = await prometheus.rules()
    names = selected_names(question)
    wanted = [rule for rule in rules if names is None or rule.name in names]
    if not wanted:
        raise NoAnswerError(f"Prometheus has no alerting rule{'' if names is None else f' {min(names)}'}")
    broken = next((rule for rule in wanted if rule.problem and names is not None), None)
    if broken is not None:
        raise NoAnswerError(f"Prometheus cannot evaluate {broken.name}: {broken.problem}")


def selected_names(question: AlertsQuestion) -> frozenset[str] | None:
    """Return the names of the alerts that the gate names; None where it names none, or one for each ShopSet."""
    name = question.matchers.get("alertname")
    return None if name is None or "{" in name else frozenset({name})


def alert_of(labels: Mapping[str, str]) -> Labels:
    """Return what an alert is known by."""
    return tuple(sorted((label, value) for label, value in labels.items() if label not in _OWN_LABELS))


def active_since(found: Iterable[Series]) -> ActiveSince:
    """Return since when each alert was active at each moment."""
    return {alert_of(each.labels): dict(each.samples) for each in found}


def all_firings(found: Iterable[Series]) -> Sequence[Firing]:
    """Return what fired, the earliest first; one alert may have several series."""
    times: dict[Labels, set[float]] = {}
    for each in found:
        times.setdefault(alert_of(each.labels), set()).update(at for at, _ in each.samples)
    return _sorted(Firing(alert, sorted(moments)) for alert, moments in times.items())


def new_firings(found: Iterable[Series], start: float, active: ActiveSince) -> Sequence[Firing]:
    """Return what fired from `start` on and not without a break since before it, the earliest first.

    Raises UnknownError where `active` does not tell.
    """
    return _sorted(Firing(alert_of(each.labels), _new_times(each, start, active)) for each in found)


def unsilenced(firing: Iterable[Firing], silences: Sequence[Silence]) -> Sequence[Firing]:
    """Return what fired at a moment at which no silence covered it, with these moments only."""
    loud = []
    for each in firing:
        labels = dict(each.alert)
        times = [at for at in each.times if not any(silence.covers(labels, at) for silence in silences)]
        if times:
            loud.append(Firing(each.alert, times))
    return loud


def _sorted(firings: Iterable[Firing]) -> Sequence[Firing]:
    return sorted((each for each in firings if each.times), key=lambda each: (each.times[0], each.alert))


def _new_times(series: Series, start: float, active: ActiveSince) -> Sequence[float]:
    times = [at for at, _ in series.samples]
    before, after = [at for at in times if at < start], [at for at in times if at >= start]
    if not before or not after:
        return after
    moments = active.get(alert_of(series.labels), {})
    if any(at not in moments for at in (before[-1], *after)):
        name = series.labels.get("alertname", "an alert")
        raise UnknownError(f"whether {name} fired without a break cannot be told: ALERTS_FOR_STATE is not recorded")
    return [at for at in after if moments[at] != moments[before[-1]]]

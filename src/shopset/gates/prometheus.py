"""What Prometheus recorded over a span of time, and whether it was there to record it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from shopset.gates.answers import UnknownError, clock, line
from shopset.gates.services import NoAnswerError, Service

_MOST_STEPS: Final = 10_000
_FINEST: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time, both ends in it."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one series: (Unix seconds, value), in order of time."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Rule:
    """An alerting rule that is loaded now; `problem` says why it cannot be evaluated, or nothing."""

    name: str
    problem: str


class Prometheus:
    """The HTTP API of Prometheus. Every question raises NoAnswerError where it is not answered."""

    def __init__(self, service: Service, max_gap: timedelta) -> None:
        self._service = service
        self._max_gap = max(max_gap, _FINEST)

    @property
    def max_gap(self) -> timedelta:
        """How long nothing may be recorded."""
        return self._max_gap

    async def samples(self, selector: str, span: Span) -> Sequence[Series]:
        """Return the samples of a selector just as they were recorded, so that nothing falls between two steps."""
        width = max(round(span.length.total_seconds() * 1000), 1)
        return await self._series("query", {"query": f"{selector}[{width}ms]", "time": _seconds(span.end)})

    async def steps(self, expression: str, span: Span, step: timedelta) -> Sequence[Series]:
        """Return the values of an expression at each step, the last of them at the end of the span."""
        begin = span.end - step * (span.length // step)
        times = {"start": _seconds(begin), "end": _seconds(span.end), "step": f"{step.total_seconds():.3f}"}
        return await self._series("query_range", {"query": expression, **times})

    async def values(self, expression: str, at: datetime) -> Sequence[Series]:
        """Return the value of an expression at one moment, a sample each."""
        data = await self._data("query", {"query": expression, "time": _seconds(at)})
        try:
            if data["resultType"] != "vector":
                raise NoAnswerError(
                    f"Prometheus answers with a {line(str(data['resultType']))}, where a value of each series is wanted"
                )
            return [_parsed({**each, "values": [each["value"]]}) for each in data["result"]]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise NoAnswerError("Prometheus answers, and not with series") from error

    async def check_recorded(self, span: Span) -> None:
        """Check that Prometheus scraped over the whole span. Raises UnknownError with the beginning of the gap."""
        step = self._max_gap / 2
        width = self._max_gap // timedelta(milliseconds=1)
        for part in _parts(span, step * _MOST_STEPS):
            found = await self.steps(f"count(count_over_time(up[{width}ms]))", part, step)
            seen = {
                round((part.end.timestamp() - at) / step.total_seconds())
                for series in found
                for at, _ in series.samples
            }
            missing = [index for index in range(part.length // step + 1) if index not in seen]
            if missing:
                since = max(part.end - step * max(missing) - self._max_gap, span.start)
                raise UnknownError(f"Prometheus recorded nothing from {clock(since)} on", since)

    async def rules(self) -> Sequence[Rule]:
        """Return the alerting rules that are loaded."""
        data = await self._data("rules?type=alert")
        try:
            return [
                Rule(rule["name"], line(str(rule.get("lastError") or "it fails")) if rule["health"] == "err" else "")
                for group in data["groups"]
                for rule in group["rules"]
                if rule["type"] == "alerting"
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise NoAnswerError("Prometheus answers, and not with rules") from error

    async def _series(self, path: str, form: Mapping[str, str]) -> Sequence[Series]:
        data = await self._data(path, form)
        try:
            if data["resultType"] != "matrix":
                raise NoAnswerError(
                    f"Prometheus answers with a {line(str(data['resultType']))}, where series are wanted"
                )
            return [_parsed(each) for each in data["result"]]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise NoAnswerError("Prometheus answers, and not with series") from error

    async def _data(self, path: str, form: Mapping[str, str] | None = None) -> Any:
        answer = await self._service.ask(f"/api/v1/{path}", form)
        if not isinstance(answer, dict) or answer.get("status") != "success" or "data" not in answer:
            raise NoAnswerError("Prometheus answers, and not as Prometheus does")
        if answer.get("warnings"):
            raise NoAnswerError(f"Prometheus answers with a warning: {line(str(answer['warnings']))}")
        return answer["data"]


def _parts(span: Span, longest: timedelta) -> Iterator[Span]:
    """Cut a span into parts that Prometheus answers for at once, the earliest first; two neighbours share a moment."""
    count = max(-(-span.length // longest), 1)
    for index in range(count):
        yield Span(span.start + span.length * index / count, span.start + span.length * (index + 1) / count)


def _parsed(series: Mapping[str, Any]) -> Series:
    labels = {str(label): str(value) for label, value in series["metric"].items()}
    return Series(labels, [(float(at), float(value)) for at, value in series.get("values", ())])


def _seconds(at: datetime) -> str:
    return f"{at.timestamp():.3f}"

"""Freeze windows as intervals of absolute time, so that daylight saving is the calendar's affair and not the plan's."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from shopset.api import FreezeWindow, WeekTime

_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A half-open span of time, `start <= t < end`. `name` says what it is."""

    start: datetime
    end: datetime
    name: str = ""

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def freeze_at(windows: Sequence[FreezeWindow], moment: datetime) -> Interval | None:
    """Return the window that a moment lies in (of several the one that ends last), or None."""
    around = frozen_between(windows, moment, moment + timedelta(microseconds=1))
    return max((found for found in around if moment in found), key=lambda found: (found.end, found.name), default=None)


def thaw_after(windows: Sequence[FreezeWindow], moment: datetime) -> datetime:
    """Return the first moment from `moment` on that lies in no window."""
    while frozen := freeze_at(windows, moment):
        moment = frozen.end
    return moment


def frozen_between(windows: Iterable[FreezeWindow], start: datetime, end: datetime) -> tuple[Interval, ...]:
    """Return the windows' occurrences that overlap `start` to `end`, sorted."""
    return tuple(sorted(found for window in windows for found in _occurrences(window, start, end)))


def active_time(start: datetime, end: datetime, pauses: Iterable[Interval]) -> timedelta:
    """Return how long `start` to `end` is without the pauses, which may overlap."""
    if end <= start:
        return timedelta(0)
    clipped = [(max(pause.start, start), min(pause.end, end)) for pause in pauses]
    edges = sorted({start, end, *(edge for span in clipped for edge in span if start <= edge <= end)})
    return sum(
        (later - earlier for earlier, later in pairwise(edges) if not any(a <= earlier < b for a, b in clipped)),
        timedelta(0),
    )


def _occurrences(window: FreezeWindow, start: datetime, end: datetime) -> Iterator[Interval]:
    zone = ZoneInfo(window.time_zone)
    if window.dates is not None:
        spans = [(_absolute(window.dates.from_, zone), _absolute(window.dates.to, zone))]
    elif window.weekly is not None:
        spans = list(_weeks(window.weekly.from_, window.weekly.to, zone, start, end))
    else:
        spans = []
    for opens, closes in spans:
        if opens < end and closes > start:
            yield Interval(opens, closes, window.name)


def _weeks(
    opens: WeekTime, closes: WeekTime, zone: ZoneInfo, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime]]:
    monday = start.astimezone(zone).date()
    monday -= timedelta(days=monday.weekday() + 7)
    while monday <= end.astimezone(zone).date():
        span = _in_week(monday, opens, zone), _in_week(monday, closes, zone)
        yield span if span[0] < span[1] else (span[0], _in_week(monday + _WEEK, closes, zone))
        monday += _WEEK


def _in_week(monday: date, at: WeekTime, zone: ZoneInfo) -> datetime:
    return _absolute(datetime.combine(monday + timedelta(days=at.weekday), time(at.hour, at.minute)), zone)


def _absolute(local: datetime, zone: ZoneInfo) -> datetime:
    # In UTC, because Python compares two times of one zone by their wall clocks, which repeat when the clocks go back.
    return local.replace(tzinfo=zone).astimezone(UTC)

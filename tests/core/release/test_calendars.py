from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from shopset.api import FreezeWindow
from shopset.core.release.calendars import Interval, active_time, freeze_at, frozen_between, thaw_after


def weekly(start: str, end: str, zone: str = "UTC") -> FreezeWindow:
    return FreezeWindow.model_validate({"name": "w", "timeZone": zone, "weekly": {"from": start, "to": end}})


def dates(start: str, end: str, zone: str) -> FreezeWindow:
    return FreezeWindow.model_validate({"name": "d", "timeZone": zone, "dates": {"from": start, "to": end}})


def test_a_window_goes_over_the_end_of_the_week() -> None:
    window = weekly("Fri 18:00", "Mon 09:00", "Asia/Tokyo")
    saturday = datetime(2026, 11, 28, 12, tzinfo=ZoneInfo("Asia/Tokyo"))
    frozen = freeze_at([window], saturday)
    assert frozen is not None
    assert frozen.end == datetime(2026, 11, 30, 9, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert freeze_at([window], frozen.end) is None
    assert freeze_at([window], frozen.start - timedelta(seconds=1)) is None


def test_clocks_that_go_back_make_a_window_an_hour_longer() -> None:
    window = weekly("Sun 00:00", "Sun 06:00", "Europe/Berlin")
    (frozen,) = frozen_between([window], datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 10, 25, 3, tzinfo=UTC))
    assert frozen.end - frozen.start == timedelta(hours=7)


def test_dates_are_local() -> None:
    window = dates("2026-12-28T00:00", "2027-01-04T09:00", "Asia/Tokyo")
    frozen = freeze_at([window], datetime(2026, 12, 27, 15, 0, tzinfo=UTC))
    assert frozen is not None
    assert frozen.end == datetime(2027, 1, 4, 0, 0, tzinfo=UTC)


def test_windows_that_touch_thaw_together() -> None:
    windows = [weekly("Mon 00:00", "Tue 00:00"), weekly("Tue 00:00", "Wed 00:00")]
    assert thaw_after(windows, datetime(2026, 11, 23, 10, tzinfo=UTC)) == datetime(2026, 11, 25, tzinfo=UTC)


moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))
clock = st.builds(
    "{} {:02}:{:02}".format, st.sampled_from(["Mon", "Wed", "Fri", "Sun"]), st.integers(0, 23), st.integers(0, 59)
)
zones = st.sampled_from(["UTC", "Asia/Tokyo", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])


@given(start=clock, end=clock, zone=zones, moment=moments)
def test_frozen_is_what_the_local_clock_says(start: str, end: str, zone: str, moment: datetime) -> None:
    if start == end:
        return
    local = moment.astimezone(ZoneInfo(zone))
    week = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

    def position(text: str) -> tuple[int, int, int]:
        return (week.index(text[:3]), int(text[4:6]), int(text[7:9]))

    now = (local.weekday(), local.hour, local.minute)
    first, last = position(start), position(end)
    inside = first <= now < last if first < last else now >= first or now < last
    # In the night of a change of clocks a wall time is not one moment; the property is about the others.
    if abs((local + timedelta(hours=26)).utcoffset() - (local - timedelta(hours=26)).utcoffset()):  # type: ignore[operator]
        return
    assert (freeze_at([weekly(start, end, zone)], moment) is not None) == inside


spans = st.tuples(moments, st.integers(0, 10_000)).map(
    lambda each: Interval(each[0], each[0] + timedelta(minutes=each[1]))
)


@given(start=moments, minutes=st.integers(0, 5000), pauses=st.lists(spans, max_size=5))
def test_active_time_is_the_time_outside_all_pauses(start: datetime, minutes: int, pauses: list[Interval]) -> None:
    start = start.replace(second=0, microsecond=0)
    pauses = [
        Interval(each.start.replace(second=0, microsecond=0), each.end.replace(second=0, microsecond=0))
        for each in pauses
    ]
    end = start + timedelta(minutes=minutes)
    steps: Any = (start + timedelta(minutes=each) for each in range(minutes))
    counted = sum(not any(step in pause for pause in pauses) for step in steps)
    assert active_time(start, end, pauses) == timedelta(minutes=counted)

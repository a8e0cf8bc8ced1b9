from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.api import InvalidValueError, format_duration, parse_duration


@given(st.integers(0, 10**11))
def test_a_duration_is_read_as_it_is_written(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("1h30m", 5400), ("2d", 172800), ("1.5s", 1.5), ("500ms", 0.5), ("0s", 0)]
)
def test_units(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "30 min", "-5m", "m", "1h 30m", "1m1h", "1e3s", "\uff19m", "99999999999d", "0.0001ms"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        parse_duration(text)

"""Durations as people write them: `30m`, `1h30m`, `2d`, `1.5s`, `500ms`."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from shopset.api.errors import InvalidValueError, quoted

LONGEST = timedelta(days=3660)
"""The longest duration accepted, some ten years."""

_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_PATTERN = (
    rf"(?=.)(?:(?P<d>{_NUMBER})d)?(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m(?!s))?"
    rf"(?:(?P<s>{_NUMBER})s)?(?:(?P<ms>{_NUMBER})ms)?"
)
_DURATION = re.compile(_PATTERN)
_SCHEMA = {
    "type": "string",
    "pattern": "^" + re.sub(r"\?P<[a-z]+>", "?:", _PATTERN) + "$",
    "examples": ["30m", "1h30m", "2d", "500ms"],
}
_MILLISECONDS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def parse_duration(text: str) -> timedelta:
    """Return the duration that `text` says, a whole number of milliseconds. Raises InvalidValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        message = f"{quoted(text)} is not a duration"
        raise InvalidValueError(message, "write a number and a unit, as in 30m, 1h30m")
    total = sum(Decimal(number) * _MILLISECONDS[unit] for unit, number in match.groupdict().items() if number)
    if total != int(total):
        message = f"{quoted(text)} is finer than a millisecond"
        raise InvalidValueError(message, "write whole milliseconds, as in 1.5s or 500ms")
    if total > LONGEST / timedelta(milliseconds=1):
        message = f"{quoted(text)} is longer than ten years"
        raise InvalidValueError(message, f"write at most {format_duration(LONGEST)}")
    return timedelta(milliseconds=int(total))


def format_duration(duration: timedelta) -> str:
    """Return the canonical text of `duration`, which `parse_duration` reads back (to the millisecond)."""
    rest = duration // timedelta(milliseconds=1)
    if rest == 0:
        return "0s"
    parts = []
    for unit, length in _MILLISECONDS.items():
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def _validate(value: object) -> timedelta:
    if isinstance(value, timedelta) and timedelta(0) <= value <= LONGEST:
        return value
    if isinstance(value, str):
        return parse_duration(value)
    message = f"{quoted(value)} is not a duration"
    raise InvalidValueError(message, "write a number and a unit, as in 30m, 1h30m")


Duration = Annotated[
    timedelta,
    PlainValidator(_validate),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_SCHEMA),
]

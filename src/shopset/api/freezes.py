"""Freeze windows: when nothing may enter a tier, by the calendar of a time zone."""

import re
from datetime import datetime
from typing import Annotated, NamedTuple, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from shopset.api._objects import Object, check_exactly_one
from shopset.api.errors import InvalidValueError, quoted
from shopset.api.names import Name

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEK_TIME = re.compile(rf"({'|'.join(WEEKDAYS)}) ([01][0-9]|2[0-3]):([0-5][0-9])")
_LOCAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?")


class WeekTime(NamedTuple):
    """A moment of every week."""

    weekday: int
    """0 is Monday."""
    hour: int
    minute: int

    def __str__(self) -> str:
        return f"{WEEKDAYS[self.weekday]} {self.hour:02}:{self.minute:02}"


def parse_week_time(value: object) -> WeekTime:
    """Return the moment that `Fri 18:00` says. Raises InvalidValueError."""
    if isinstance(value, WeekTime):
        return value
    match = _WEEK_TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        message = f"{quoted(value)} is not a time of the week"
        raise InvalidValueError(message, "write it as in Fri 18:00")
    return WeekTime(WEEKDAYS.index(match[1]), int(match[2]), int(match[3]))


def _parse_local(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is None:
        return value
    if isinstance(value, str) and _LOCAL.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    message = f"{quoted(value)} is not a local date and time"
    raise InvalidValueError(message, "write it as in 2026-12-28T00:00, without a zone: timeZone says it")


def _check_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"{quoted(text)} is not a time zone"
        raise InvalidValueError(message, "write a name of the IANA database, as in Asia/Tokyo or UTC") from error
    return text


WeekMoment = Annotated[
    WeekTime,
    PlainValidator(parse_week_time),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_WEEK_TIME.pattern}$", "maxLength": 9, "examples": ["Fri 18:00"]}),
]
LocalMoment = Annotated[
    datetime,
    PlainValidator(_parse_local),
    PlainSerializer(
        lambda moment: moment.isoformat(timespec="seconds" if moment.second else "minutes"), return_type=str
    ),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{_LOCAL.pattern}$", "maxLength": 19, "examples": ["2026-12-28T00:00"]}
    ),
]
TimeZone = Annotated[str, AfterValidator(_check_zone)]


class Weekly(Object):
    """A span of every week, which may go over its end."""

    from_: WeekMoment
    to: WeekMoment

    @model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.from_ == self.to:
            message = "ends when it begins"
            raise InvalidValueError(message, "write when it ends", ("to",))
        return self


class Dates(Object):
    """A span of the calendar."""

    from_: LocalMoment
    to: LocalMoment

    @model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.from_ >= self.to:
            message = "ends before it begins"
            raise InvalidValueError(message, "write a later end", ("to",))
        return self


class FreezeWindow(Object):
    """When nothing may enter the tier."""

    name: Name
    """Its name, one per Tier."""
    time_zone: TimeZone = Field(default="UTC")
    """The zone of its times, a name of the IANA database as in Asia/Tokyo."""
    weekly: Weekly | None = None
    dates: Dates | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        check_exactly_one(self, "weekly", "dates")
        return self

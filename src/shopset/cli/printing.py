"""How things are shown: tables as kubectl has them, JSON, YAML and names; colour on a terminal only."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import yaml

_COLOURS: Final = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "bold": "1", "dim": "2"}
_STATES: Final = {
    "red": {"Degraded", "Rejected", "rejected", "error", "OutOfSync", "Lost", "held", "Blocked"},
    "green": {"Healthy", "Synced", "Verified", "verified", "Active"},
    "yellow": {
        "Progressing",
        "Baking",
        "Syncing",
        "Missing",
        "Unknown",
        "frozen",
        "Unpinned",
        "Upgrading",
        "Cordoned",
        "Drained",
    },
}


class Output(StrEnum):
    """Forms of output."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class Printer:
    """Writes to standard output."""

    def __init__(self, *, colour: bool) -> None:
        self.colour = colour

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line."""
        sys.stdout.write(f"{self.styled(text, style)}\n")

    def styled(self, text: str, style: str) -> str:
        """Return text in a style, where there is colour."""
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if self.colour and style else text

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table."""
        widths = [max(len(str(row[column])) for row in [heads, *rows]) for column in range(len(heads))]
        self.line("  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip(), "bold")
        for row in rows:
            cells = [self._cell(str(cell), width) for cell, width in zip(row, widths, strict=True)]
            self.line("  ".join(cells).rstrip())

    def data(self, value: Any, output: Output) -> None:
        """Write a value as JSON or YAML."""
        plain = json.loads(json.dumps(value, default=_plain))
        if output is Output.JSON:
            self.line(json.dumps(plain, indent=2, ensure_ascii=False))
        else:
            sys.stdout.write(yaml.dump(plain, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True))

    def _cell(self, text: str, width: int) -> str:
        word = text.split(" ", maxsplit=1)[0]
        style = next((colour for colour, words in _STATES.items() if word in words), "")
        return self.styled(text.ljust(width), style)


def complain(text: str) -> None:
    """Write to standard error."""
    sys.stderr.write(f"{text}\n")


def rows_as_dicts(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """Return the rows of a table as objects."""
    keys = [head.lower().replace(" ", "_") for head in heads]
    return [dict(zip(keys, row, strict=True)) for row in rows]


def ago(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was, as kubectl writes ages."""
    return "-" if moment is None else span(now - moment)


def span(duration: timedelta) -> str:
    """Return a duration in at most two units."""
    seconds = max(0, round(duration.total_seconds()))
    for unit, length, small, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= length:
            rest = (seconds % length) // part
            return f"{seconds // length}{unit}" + (f"{rest}{small}" if rest and seconds < 10 * length else "")
    return f"{seconds}s"


def local(moment: datetime) -> str:
    """Return a moment in local time: without the date where it is today."""
    here = moment.astimezone()
    today = datetime.now(UTC).astimezone().date()
    return f"{here:%H:%M:%S}" if here.date() == today else f"{here:%a %Y-%m-%d %H:%M}"


def rfc3339(moment: datetime | None) -> str | None:
    """Return a moment as machines read it."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, timedelta):
        return span(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)

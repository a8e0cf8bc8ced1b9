"""Answers of gates: why one is Unknown, and evidence that stays one bounded line."""

from datetime import UTC, datetime

from shopset.api import redact
from shopset.core.errors import ShopsetError
from shopset.core.release.observed import GateReading

_LONGEST = 400


class UnknownError(ShopsetError):
    """A gate can't be decided. `since` is when that began; None where only now is known."""

    def __init__(self, message: str, since: datetime | None = None) -> None:
        super().__init__(message)
        self.since = since


def passed(evidence: str) -> GateReading:
    """Return a gate that passes."""
    return GateReading("Pass", line(evidence))


def failed(evidence: str) -> GateReading:
    """Return a gate that fails."""
    return GateReading("Fail", line(evidence))


def unknown(evidence: str, since: datetime | None) -> GateReading:
    """Return a gate that is Unknown since then."""
    return GateReading("Unknown", line(evidence), since)


def line(text: str) -> str:
    """Return `text` without credentials, on one line, cut where it is long."""
    shown = " ".join("".join(each if each.isprintable() else " " for each in redact(text)).split())
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def moment(seconds: float) -> datetime:
    """Return the time of a Unix timestamp."""
    return datetime.fromtimestamp(seconds, UTC)


def clock(at: datetime) -> str:
    """Return a time as evidence shows it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"

"""Silences of Alertmanager, as they were at each moment: it keeps those that have ended for five days."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shopset.gates.services import NoAnswerError, Service


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition of a silence on one label; a label that is not there is empty."""

    label: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether the condition holds."""
        found = labels.get(self.label, "")
        same = re.fullmatch(self.value, found) is not None if self.is_regex else found == self.value
        return same == self.is_equal


@dataclass(frozen=True, slots=True)
class Silence:
    """From when to when (Unix seconds, the end not in it) which alerts are silent."""

    start: float
    end: float
    matchers: Sequence[Matcher]

    def covers(self, labels: Mapping[str, str], at: float) -> bool:
        """Whether an alert was silent at a moment."""
        return self.start <= at < self.end and all(matcher.fits(labels) for matcher in self.matchers)


async def read_silences(alertmanager: Service) -> Sequence[Silence]:
    """Return all silences that Alertmanager knows of. Raises NoAnswerError."""
    answer = await alertmanager.ask("/api/v2/silences")
    try:
        return [_parsed(each) for each in answer]
    except (KeyError, TypeError, AttributeError, ValueError, re.error) as error:
        raise NoAnswerError("Alertmanager answers, and not with silences") from error


def _parsed(silence: Mapping[str, Any]) -> Silence:
    matchers = [
        Matcher(str(each["name"]), str(each["value"]), bool(each["isRegex"]), bool(each.get("isEqual", True)))
        for each in silence["matchers"]
    ]
    for matcher in matchers:
        re.compile(matcher.value if matcher.is_regex else "")
    return Silence(_seconds(silence["startsAt"]), _seconds(silence["endsAt"]), matchers)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()

"""Diagnostics: what is wrong in which file, where, and what to do, shown with the line itself."""

import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

from shopset.api import redact
from shopset.api.errors import quoted
from shopset.core.documents import Field, Span

_MOST_SHOWN: Final = 160
_BEFORE: Final = 60
"""Characters of a long line that are shown, and how many of them before the place."""


@dataclass(frozen=True)
class Diagnostic:
    """One thing that is wrong in one file."""

    file: str
    """Relative to the fleet's folder."""
    span: Span
    field: str
    """`spec.promotion.bake`; empty for a whole document."""
    message: str
    advice: str = ""
    severity: Literal["error", "warning"] = "error"
    snippet: str = ""
    """The line of the file, without what must not be shown."""
    stops: bool = True
    """Whether an error pauses the fleet."""

    @property
    def order(self) -> tuple[str, int, int, str, str]:
        """Where it comes in a list."""
        return (self.file, self.span.line, self.span.column, self.field, self.message)

    def render(self) -> str:
        """Return it as text, with the place underlined."""
        what = f"{self.field}: {self.message}" if self.field else self.message
        lead = "warning: " if self.severity == "warning" else ""
        lines = [f"{self.file}:{self.span.line}:{self.span.column}: {lead}{what}"]
        if self.snippet.strip():
            lines += self._underlined()
        elif self.advice:
            lines.append(f"      {self.advice}")
        return "\n".join(lines)

    def _underlined(self) -> tuple[str, str]:
        first = max(0, self.span.column - 1 - _BEFORE) if len(self.snippet) > _MOST_SHOWN else 0
        shown = self.snippet[first : first + _MOST_SHOWN]
        start = self.span.column - 1 - first
        before, marked = shown[:start], shown[start : start + self.span.length]
        marks = "^" * max(1, _width(marked))
        number = f"{self.span.line:5}"
        return (
            f"{number} | {shown}",
            f"{' ' * len(number)} | {' ' * _width(before)}{marks} {self.advice}".rstrip(),
        )


def shown_line(lines: tuple[str, ...], span: Span) -> str:
    """Return the line of a place as it may be shown: no password, nothing that a terminal would act on."""
    if span.line > len(lines):
        return ""
    line = redact(lines[span.line - 1])
    return "".join(character if character.isprintable() else " " for character in line)


def dotted(field: Field) -> str:
    """Return the path of a field as people write it: `spec.promotion.gates[0].name`."""
    text = ""
    for part in field:
        text += f"[{part}]" if isinstance(part, int) else f".{printable(part)}" if text else printable(part)
    return text


def printable(text: str) -> str:
    """Return `text` as it stands, or quoted where a terminal would act on it or could not show it."""
    return text if text.isprintable() else quoted(text)


def _width(text: str) -> int:
    """Return how many columns a terminal gives to `text`."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)

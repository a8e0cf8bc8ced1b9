"""Diagnostics: what is wrong in which file, where, and what to do, shown with the line itself."""

from dataclasses import dataclass
from typing import Literal

from shopset.directory.documents import Span


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
    """The line of the file."""

    @property
    def order(self) -> tuple[str, int, int, str]:
        """Where it comes in a list."""
        return (self.file, self.span.line, self.span.column, self.message)

    def render(self) -> str:
        """Return it as text, with the place underlined."""
        what = f"{self.field}: {self.message}" if self.field else self.message
        lead = "warning: " if self.severity == "warning" else ""
        lines = [f"{self.file}:{self.span.line}:{self.span.column}: {lead}{what}"]
        if self.snippet.strip():
            number = f"{self.span.line:5}"
            lines.append(f"{number} | {self.snippet}")
            marks = "^" * max(1, min(self.span.length, len(self.snippet) - self.span.column + 1))
            lines.append(f"{' ' * len(number)} | {' ' * (self.span.column - 1)}{marks} {self.advice}".rstrip())
        elif self.advice:
            lines.append(f"      {self.advice}")
        return "\n".join(lines)

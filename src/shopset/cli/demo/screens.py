"""What the demo shows: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shopset.core.fleets import Fleet
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Phase, Plan

_STYLES = {
    Phase.VERIFIED: "green",
    Phase.BAKING: "yellow",
    Phase.SYNCING: "yellow",
    Phase.REJECTED: "bold red",
    Phase.BLOCKED: "red",
    Phase.UNPINNED: "dim",
}
_LINES = 12
"""Lines of the story that stay on the screen below the table."""


class Screen:
    """Shows how the fleet stands and what happens. `seconds` counts from its making."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, refresh_per_second=8) if sys.stdout.isatty() else None
        self._start = time.monotonic()
        self._chapter = ""
        self._lines: list[Text] = []
        self._table: Table | None = None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._start

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._chapter = title
        self.say(title, "bold cyan")

    def say(self, text: str, style: str = "") -> None:
        """Tell one thing that happened."""
        line = Text.assemble((f"[{self.seconds:5.1f}s] ", "dim"), (text, style))
        if self._live is None:
            sys.stdout.write(f"{line.plain}\n")
            sys.stdout.flush()
        else:
            self._lines = [*self._lines, line]
            self._refresh()

    def show(self, fleet: Fleet, plan: Plan, observed: Observed) -> None:
        """Show how the fleet stands."""
        if self._live is None:
            return
        table = Table(box=None, padding=(0, 2), title_justify="left")
        for head in ("TIER", "SHOPSETS", "REVISION", "PHASE", ""):
            table.add_column(head, style="" if head else "dim")
        for outlook in plan.outlooks.values():
            members = Text(" ").join(_member(shopset.name, observed) for shopset in fleet.members(outlook.tier))
            pinned = outlook.pinned.short if outlook.pinned else "-"
            phase = Text(outlook.progress.phase.value, _STYLES[outlook.progress.phase])
            held = "held" if observed.ledger.active_holds(outlook.tier) else ""
            table.add_row(outlook.tier, members, pinned, phase, held or outlook.progress.detail[:60])
        self._table = table
        self._refresh()

    def _refresh(self) -> None:
        if self._live is not None:
            title = Text(f"{self._chapter}   {self.seconds:.0f}s", "bold")
            parts = [title, self._table or Text(), Text(), *self._lines[-_LINES:]]
            self._live.update(Group(*parts))


def _member(name: str, observed: Observed) -> Text:
    found = observed.applications.get(name)
    style = {"Healthy": "green", "Degraded": "bold red"}.get(found.health if found else "", "yellow")
    return Text(name, style if found else "dim")

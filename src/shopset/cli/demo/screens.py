"""What the demo shows: a live table and a live picture on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shopset.cli.demo.pictures import Picture
from shopset.cli.demo.tallies import Tally
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
_STATES = {"Active": "green", "no answer": "bold red", "Lost": "bold red"}
_LINES = 12
"""Lines of the story that stay on the screen below the table."""


class Screen:
    """Shows how the fleet stands and what happens. `seconds` counts from its making."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._start = time.monotonic()
        self._chapter = ""
        self._lines: list[Text] = []
        self._table: Table | None = None
        self._picture: Table | None = None
        self._printed: Sequence[str] = ()
        self.shoppers: Callable[[], Tally] | None = None
        """What shoppers got within the last second."""
        # It draws by itself, so that the shoppers are seen while nothing else happens; and now, so all else is there.
        live = Live(console=self._console, refresh_per_second=8, get_renderable=self._render)
        self._live = live if sys.stdout.isatty() else None

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

    def print(self, lines: Sequence[str], style: str = "") -> None:
        """Show some lines as they are."""
        if self._live is None:
            sys.stdout.writelines(f"{line}\n" for line in lines)
            sys.stdout.flush()
        else:
            self._lines = [*self._lines, *(Text(line, style) for line in lines)]
            self._refresh()

    def frame(self, picture: Picture) -> None:
        """Keep the picture as it is now: where there is no terminal it is printed, unless it is the last one that was."""
        self.draw(picture)
        if self._live is None and picture.lines != self._printed:
            self._printed = picture.lines
            self.print(picture.lines)

    def draw(self, picture: Picture) -> None:
        """Redraw the picture of which shop is where."""
        if self._live is None:
            return
        table = Table(box=None, padding=(0, 1), title_justify="left")
        for head in ("CLUSTER", "", "SHOPSET", "LOAD", "", "SHOPS", ""):
            table.add_column(head, justify="right" if head == "SHOPS" else "left")
        shown = ""
        for row in picture.rows:
            cluster = "" if row.cluster == shown else row.cluster
            shown = row.cluster
            state = Text(row.state, _STATES.get(row.state, "yellow"))
            style = "red" if row.share is None or row.share > 1 else "yellow" if row.share > 0.7 else "green"
            table.add_row(
                cluster,
                state if cluster else "",
                row.shopset,
                Text(row.bar, style),
                row.load,
                str(row.shops),
                ", ".join(row.marks),
            )
        if picture.down:
            table.add_row("", "", "", Text(f"shops down: {len(picture.down)}", "bold red"), "", "", "")
        self._picture = table
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
            self._live.refresh()

    def _render(self) -> RenderableType:
        title = Text(f"{self._chapter}   {self.seconds:.0f}s", "bold")
        pictures = [each for each in (self._table, self._picture) if each is not None]
        shoppers = [] if self.shoppers is None else [_traffic(self.shoppers())]
        parts: list[RenderableType] = [title, *pictures, *shoppers, Text(), *self._lines[-_LINES:]]
        return Group(*parts)


def _traffic(told: Tally) -> Text:
    """Return a line with the requests of the last second: how many, who served them, and what went wrong."""
    served = "   ".join(f"{name} {'|' * round(count / 10)} {count}" for name, count in told.shopsets.items())
    return Text.assemble(
        (f" shoppers {told.requests}/s   ", "bold"),
        (served, "green"),
        (f"   told to wait {told.told_to_wait}", "yellow" if told.told_to_wait else "dim"),
        (f"   failed {told.failed}", "bold red" if told.failed else "dim"),
    )


def _member(name: str, observed: Observed) -> Text:
    found = observed.applications.get(name)
    style = {"Healthy": "green", "Degraded": "bold red"}.get(found.health if found else "", "yellow")
    return Text(name, style if found else "dim")

"""Showing plans of the placement, and doing them: a step now, or all of them in their waves."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from shopset.cli import exits
from shopset.cli.planning import report, show_actions, show_conditions_of
from shopset.cli.printing import Printer, local, rfc3339, span
from shopset.cli.settings import Settings, who
from shopset.cli.unseen import plan as plan_releases
from shopset.cli.wiring import Workplace, open_workplace, utc_now
from shopset.core.placement.planning import counted
from shopset.core.placement.plans import Move, PlacementPlan, shops_of
from shopset.core.placement.requests import PlacementRequest
from shopset.core.release.actions import Identity
from shopset.core.release.commands import script
from shopset.engine import Watching
from shopset.engine.placing import place
from shopset.engine.rounds import pause_after_race

_SHOWN = 12
"""Rows of moves that are shown of a plan with many."""


def show_placement(printer: Printer, made: PlacementPlan) -> None:
    """Write what a plan of the placement does: by cause, from where to where, and how loads change."""
    moves = (*made.moves, *made.later)
    if moves:
        printer.line(
            f"shops ({shops_of(moves):,} in {counted(len(moves), 'group')}; {counted(made.shops_moved, 'replica')} moved)",
            "bold",
        )
        rows = _rows(moves)
        printer.table(("SHOPS", "FROM", "TO", "WHY"), rows[:_SHOWN])
        if len(rows) > _SHOWN:
            printer.line(f"and {len(rows) - _SHOWN} more: -o json has all", "dim")
        printer.line(_loads(made))
    if made.later:
        first, rest = shops_of(made.moves), shops_of(made.later)
        printer.line(
            f"In waves: {first:,} shops now, {rest:,} in steps after it; each is served by its old replica until the new one serves."
        )
    show_conditions_of(printer, made.conditions)
    tell_waiting(printer, made)


def _rows(moves: Iterable[Move]) -> list[tuple[str, str, str, str]]:
    """Return one row for each cause and way, those of most shops first."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for move in moves:
        gone = [name for name in move.before if name not in move.after]
        if not move.arrivals:
            counts["", ", ".join(move.after[:1]), move.why] += move.shops
        for number, name in enumerate(move.arrivals):
            counts[gone[number] if number < len(gone) else "", name, move.why] += move.shops
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(f"{number:,}", old or "-", new, why) for (old, new, why), number in ordered]


def _loads(made: PlacementPlan) -> str:
    before, after = made.before, made.after
    return (
        f"worst load {before.normal:.0%} -> {after.normal:.0%} of capacity; after the loss of one more domain "
        f"{before.after_loss:.0%} -> {after.after_loss:.0%}"
    )


def placement_data(made: PlacementPlan) -> dict[str, Any]:
    """Return a plan of the placement as machines read it."""
    return {
        "moves": [_move_data(each, now=True) for each in made.moves]
        + [_move_data(each, now=False) for each in made.later],
        "shops": shops_of((*made.moves, *made.later)),
        "replicasMoved": made.shops_moved,
        "utilisation": {
            "before": {"normal": made.before.normal, "afterLoss": made.before.after_loss},
            "after": {"normal": made.after.normal, "afterLoss": made.after.after_loss},
        },
        "wakeAt": rfc3339(made.wake_at),
    }


def _move_data(move: Move, *, now: bool) -> dict[str, Any]:
    return {
        "group": move.group,
        "shops": move.shops,
        "from": list(move.before),
        "to": list(move.after),
        "why": move.why,
        "now": now,
    }


def ask(settings: Settings, request: PlacementRequest, nothing: str, *, dry_run: bool, wait: bool = True) -> int:
    """Do what a request calls for, planning anew where somebody else was faster; then go on until its shops have moved."""
    workplace = open_workplace(settings)
    printer = Printer(colour=settings.colour)
    author, races = Identity.parse(who(settings)), 0
    placer = workplace.placer
    while True:
        releases, observed = plan_releases(workplace)
        made, _ = placer.respond(request, author, releases, observed)
        if dry_run:
            show_placement(printer, made)
            show_actions(printer, made.actions)
            if made.actions:
                printer.line("By hand, the first step:", "dim")
                sys.stdout.write(script(made.actions, workplace.places))
            return exits.SOMETHING_TO_DO if made.actions else exits.OK
        if not made.actions and not made.later and made.wake_at is None:
            printer.line(f"Nothing to do: {nothing}.")
            show_conditions_of(printer, made.conditions)
            tell_waiting(printer, made)
            return exits.OK
        if not races:
            show_placement(printer, made)
        outcome = workplace.engine.act(made.actions)
        code = report(printer, outcome)
        if outcome.failures:
            return code
        if outcome.lost_race is None:
            break
        races = pause_after_race(races, outcome.lost_race, Watching(time.sleep))
    return go_on(workplace, printer) if wait else code


def go_on(workplace: Workplace, printer: Printer) -> int:
    """Make the steps that are due, and wait for those that are not, until no shop is between two ShopSets."""
    code = exits.OK
    told = ""
    while True:
        workplace.reconcile()
        last: PlacementPlan | None = None
        for each in place(workplace.placer, Watching(time.sleep)):
            code = report(printer, each.outcome) or code
            last = each.plan
        if last is None or (last.wake_at is None and not last.later) or code != exits.OK:
            if last is not None:
                tell_waiting(printer, last)
            return code
        until = last.wake_at
        words = f"{shops_of(last.later):,} shops still to go" if last.later else "old replicas leave"
        if words != told:
            told = words
            printer.line(
                f"{local(utc_now())}  {words}{_when(until)}; Ctrl-C leaves it to the controller or shopctl run", "dim"
            )
        time.sleep(1.0 if until is None else min(max((until - utc_now()).total_seconds(), 0.05), 5.0))


def _when(until: datetime | None) -> str:
    return "" if until is None else f", the next step in {span(until - utc_now())}"


def tell_waiting(printer: Printer, made: PlacementPlan) -> None:
    """Say what clusters wait for that are emptied or come back."""
    for each in made.conditions:
        if each.type in ("Returned", "Drained") and each.severity == "Info":
            printer.line(f"{each.resource}: {each.message}")

"""shopctl simulate: what would be, if domains were lost or demand grew. Nothing is done."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shopset.cli import exits
from shopset.cli.capacity import look
from shopset.cli.printing import Output, Printer, complain
from shopset.cli.settings import Settings
from shopset.core.capacity.reporting import UNITS, Note, enumerated
from shopset.core.placement.simulating import (
    Change,
    Load,
    Outcome,
    Requests,
    State,
    parse_factor,
    parse_loss,
    simulate,
)


def simulation(settings: Settings, lose: Sequence[str], demand: str, classes: Sequence[str], output: Output) -> int:
    """Show what a loss or more demand would mean."""
    change = Change(tuple(map(parse_loss, lose)), parse_factor(demand), tuple(classes))
    seen = look(settings)
    outcome = simulate(seen.fleet, seen.model, change)
    printer, notes = Printer(colour=settings.colour), (*seen.notes, *outcome.notes)
    if output in (Output.JSON, Output.YAML):
        printer.data(_data(outcome, notes), output)
        return exits.OK
    if output is Output.NAME:
        for shops in seen.placement.shops_of(outcome.down_groups).values():
            for shop in shops:
                printer.line(f"shops/{shop}")
        return exits.OK
    for line in in_words(outcome):
        printer.line(line)
    if output is Output.WIDE:
        _show_tables(printer, outcome)
    for each in notes:
        complain(f"note: {each.resource}: {each.message}")
    return exits.OK


def in_words(outcome: Outcome) -> Iterator[str]:
    """Yield what a change means, a fact a line."""
    yield _headline(outcome)
    if outcome.lost:
        yield _line("stay up", f"{outcome.touched - outcome.down:,}", "served by their other replica")
        yield _line("down", f"{outcome.down:,}", _who_is_down(outcome))
        bound = (
            "the lower bound"
            if outcome.moves == outcome.least_moves
            else f"at least {outcome.least_moves:,} are needed"
        )
        yield _line("re-placed", f"{outcome.moves:,}", f"moves in one plan, {bound}; {_roles(outcome)}")
    degraded = [each for each in outcome.classes if each.degraded or each.unplaced]
    for each in degraded:
        left = f"{each.degraded:,} with fewer replicas than the class asks for"
        gone = f"{each.unplaced:,} served by nobody" if each.unplaced else ""
        yield _line(
            "degraded", f"{each.degraded + each.unplaced:,}", f"class {each.name}: {gone or left}, even re-placed"
        )
    yield _line("worst load", *_worst(outcome))
    yield _line("N-1", *_safety(outcome.after))
    for short in outcome.shortages:
        yield _line("short", f"tier {short.tier}:", short.message)
        yield _line("", "", short.advice)


def _line(what: str, number: str, words: str) -> str:
    return f"  {what:<12}  {number:<8} {words}".rstrip()


def _headline(outcome: Outcome) -> str:
    parts = []
    if outcome.change.lose:
        domains = enumerated([f"{level} {domain}" for level, domain in outcome.change.lose])
        names = (
            f"ShopSet{'' if len(outcome.lost) == 1 else 's'} {enumerated(outcome.lost)}"
            if outcome.lost
            else "no ShopSet"
        )
        parts.append(f"losing {domains} ({names})")
    if outcome.change.demand != 1:
        of = f" of class {enumerated(outcome.change.classes)}" if outcome.change.classes else ""
        parts.append(f"demand{of} x{outcome.change.demand:g}")
    what = " with ".join(parts) or "as things are"
    shops = _shops(outcome.shops)
    told = f"{outcome.touched:,} of {shops} have a replica there" if outcome.change.lose else f"{shops} are placed"
    return f"{what[0].upper()}{what[1:]}: {told}."


def _who_is_down(outcome: Outcome) -> str:
    classes = [f"{each.down:,} of class {each.name}" for each in outcome.classes if each.down]
    return f"until they are re-placed: {', '.join(classes)}" if classes else ""


def _roles(outcome: Outcome) -> str:
    return f"{_shops(outcome.role_changes)} get another order of replicas"


def _shops(number: int) -> str:
    return f"{number:,} shop{'' if number == 1 else 's'}"


def _worst(outcome: Outcome) -> tuple[str, str]:
    worst = outcome.after.worst
    if worst is None:
        return "-", "no ShopSet states its capacity"
    before = f"{outcome.before.worst.share:.0%}" if outcome.before.worst else "-"
    at_once = f"{_load(outcome.during.worst)} at once, " if outcome.change.lose and outcome.during.worst else ""
    return f"{before} ->", f"{at_once}{_load(worst)}{' re-placed' if outcome.change.lose else ''}"


def _load(load: Load) -> str:
    lost = f" if {load.lost} were lost too" if load.lost else ""
    return f"{load.shopset} {load.share:.0%} of {load.capacity:,.0f} {UNITS[load.resource]}{lost}"


def _safety(state: State) -> tuple[str, str]:
    down = (
        f"{_shops(state.down_after_loss)} would be down if one more domain were lost" if state.down_after_loss else ""
    )
    if state.worst_after_loss is None:
        return "-", down or "no ShopSet states its capacity"
    said = {True: "yes", False: "no", None: "not proven"}[state.is_safe]
    return said, down or f"at worst {_load(state.worst_after_loss)}"


def _show_tables(printer: Printer, outcome: Outcome) -> None:
    printer.line()
    rows = [
        (
            name,
            f"{each.before:,.0f}",
            "lost" if name in outcome.lost else f"{each.during:,.0f}",
            "lost" if name in outcome.lost else f"{each.after:,.0f}",
            "-" if each.capacity is None else f"{each.capacity:,.0f}",
            "-" if each.capacity is None or name in outcome.lost else f"{each.after / each.capacity:.0%}",
        )
        for name, each in sorted(outcome.requests.items(), key=_fullest_first)
    ]
    printer.table(("SHOPSET", "REQUESTS/S NOW", "AT ONCE", "RE-PLACED", "OF", "LOAD"), rows)
    printer.line()
    heads = ("CLASS", "SHOPS", "TOUCHED", "DOWN", "DEGRADED", "UNPLACED")
    found = [
        (each.name, *(f"{n:,}" for n in (each.shops, each.touched, each.down, each.degraded, each.unplaced)))
        for each in outcome.classes
    ]
    printer.table(heads, found)


def _fullest_first(found: tuple[str, Requests]) -> tuple[float, str]:
    name, each = found
    return -(each.after / each.capacity) if each.capacity else 0.0, name


def _data(outcome: Outcome, notes: Sequence[Note]) -> Mapping[str, Any]:
    return {
        "lose": [f"{level}={domain}" for level, domain in outcome.change.lose],
        "demand": outcome.change.demand,
        "classes": [
            {
                "class": each.name,
                "shops": each.shops,
                "touched": each.touched,
                "down": each.down,
                "degraded": each.degraded,
                "unplaced": each.unplaced,
            }
            for each in outcome.classes
        ],
        "lost": outcome.lost,
        "shops": outcome.shops,
        "touched": outcome.touched,
        "down": outcome.down,
        "downGroups": outcome.down_groups,
        "moves": outcome.moves,
        "leastMoves": outcome.least_moves,
        "roleChanges": outcome.role_changes,
        "before": _state(outcome.before),
        "atOnce": _state(outcome.during),
        "rePlaced": _state(outcome.after),
        "shopsets": [
            {
                "shopset": name,
                "before": each.before,
                "atOnce": each.during,
                "rePlaced": each.after,
                "capacity": each.capacity,
            }
            for name, each in outcome.requests.items()
        ],
        "shortages": [
            {"tier": each.tier, "message": each.message, "advice": each.advice} for each in outcome.shortages
        ],
        "notes": [{"resource": each.resource, "message": each.message} for each in notes],
    }


def _state(state: State) -> Mapping[str, Any]:
    return {
        "worst": _worst_data(state.worst),
        "worstAfterLoss": _worst_data(state.worst_after_loss),
        "isSafe": state.is_safe,
        "downAfterLoss": state.down_after_loss,
    }


def _worst_data(load: Load | None) -> Mapping[str, Any] | None:
    if load is None:
        return None
    return {
        "shopset": load.shopset,
        "resource": load.resource,
        "load": load.load,
        "capacity": load.capacity,
        "share": load.share,
        "lost": load.lost or None,
    }

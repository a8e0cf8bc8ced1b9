"""shopctl capacity: what the fleet still takes, and what its ShopSets bear by what Prometheus saw."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from shopset.cli import exits
from shopset.cli.printing import Output, Printer, complain
from shopset.cli.settings import Settings
from shopset.cli.unseen import observe
from shopset.cli.wiring import load_fleet, open_workplace, utc_now
from shopset.core.capacity.budgets import Budget
from shopset.core.capacity.estimating import CONFIDENCE, Estimate, NoEstimate, estimate
from shopset.core.capacity.reporting import UNITS, Amount, CanaryLeg, Note, Pool, Report, report
from shopset.core.errors import ShopsetError
from shopset.core.fleets import Fleet
from shopset.core.placement.modelling import Model, model
from shopset.core.placement.placements import Placement
from shopset.core.placement.planning import plan_placement
from shopset.core.placement.shops import RESOURCES


class NothingToEstimateFromError(ShopsetError):
    """The Platform does not say where requests and saturation are to be seen."""


class UnknownTierError(ShopsetError):
    """A tier that is not there."""


@dataclass(frozen=True)
class Look:
    """The fleet with its shops where they are."""

    fleet: Fleet
    model: Model
    placement: Placement
    notes: tuple[Note, ...]


def look(settings: Settings) -> Look:
    """Read the fleet, its shops and their placement. Raises as open_workplace, DamagedPlacementError, UnseenError."""
    workplace = open_workplace(settings)
    fleet = workplace.fleet
    seen, problems = workplace.placer.observe(observe(workplace))
    notes = [Note(each.resource, each.message) for each in problems]
    if seen.head is None:
        # ShopSets that do not run yet are taken to run: nothing is placed, so it is a question of what would be.
        planned = plan_placement(fleet, replace(seen, unusable=frozenset())).placement
        seen = replace(seen, placement=planned, unusable=frozenset())
        notes.append(
            Note("Placement", "nothing is placed yet: what is told is of the placement that would be planned now")
        )
    unplaced = sum(name not in seen.placement.members for name in seen.shops.names)
    if unplaced:
        notes.append(Note("Placement", f"{unplaced:,} shops are not placed yet, and do not count here"))
    made = model(fleet, seen.shops, seen.placement, seen.clusters, seen.unusable)
    return Look(fleet, made, seen.placement, tuple(notes))


def capacity(settings: Settings, tier: str | None, output: Output) -> int:
    """Show what tiers, clusters and databases still take."""
    printer = Printer(colour=settings.colour)
    seen = look(settings)
    _check_tier(seen.fleet, tier)
    found = report(seen.fleet, seen.model)
    pools = [each for each in found.pools if tier in (None, each.tier)]
    legs = [each for each in found.canaries if tier in (None, each.tier)]
    if output in (Output.JSON, Output.YAML):
        printer.data(_data(found, pools, legs, seen.notes), output)
        return exits.OK
    if output is Output.NAME:
        for name in dict.fromkeys(each.tier for each in pools):
            printer.line(f"tiers/{name}")
        return exits.OK
    _show_pools(printer, pools, wide=output is Output.WIDE)
    if legs:
        printer.line()
        _show_canaries(printer, legs)
    if tier is None:
        printer.line()
        _show_rooms(printer, found)
        if found.databases:
            printer.line()
            _show_databases(printer, found.databases, wide=output is Output.WIDE)
    _show_notes((*seen.notes, *(each for each in found.notes if tier is None or each.resource == f"Tier/{tier}")))
    return exits.OK


def estimates(settings: Settings, tier: str | None, since: timedelta, output: Output) -> int:
    """Show what ShopSets bear by what Prometheus saw, beside what is stated, and what to write into the fleet."""
    from shopset.gates.prometheus import Span  # noqa: PLC0415  # only who asks Prometheus pays for HTTP
    from shopset.gates.saturation import read_saturation  # noqa: PLC0415
    from shopset.gates.targets import Target  # noqa: PLC0415

    fleet = load_fleet(settings)[0]
    _check_tier(fleet, tier)
    saturation, monitoring = fleet.platform.spec.placement.saturation, fleet.platform.spec.monitoring
    if saturation is None or monitoring is None:
        missing = "spec.placement.saturation" if saturation is None else "spec.monitoring"
        message = f"{fleet.platform.reference} has no {missing}, so nothing is known of requests and saturation"
        raise NothingToEstimateFromError(f"{message}: docs/capacity.md shows what to write")
    now, secrets = utc_now(), settings.secrets or Path("/nonexistent")
    rows: list[_Row] = []
    for each in fleet.tiers:
        members = fleet.members(each.name)
        if tier in (None, each.name) and members:
            targets = [Target(found.name, fleet.namespace(found.name), found.spec.cluster) for found in members]
            span = Span(now - since, now)
            samples = read_saturation(saturation, each.name, targets, span, monitoring, lambda name: secrets / name)
            for shopset in members:
                stated = shopset.spec.capacity.requests_per_second if shopset.spec.capacity else None
                found = estimate(samples[shopset.name], saturation.target)
                rows.append(_Row(shopset.name, each.name, stated, found))
    _show_estimates(Printer(colour=settings.colour), rows, output)
    return exits.OK


def _check_tier(fleet: Fleet, tier: str | None) -> None:
    known = [each.name for each in fleet.tiers]
    if tier is not None and tier not in known:
        raise UnknownTierError(f"there is no tier {tier!r}; there are {', '.join(known)}")


# -- what the fleet still takes


def _show_pools(printer: Printer, pools: Sequence[Pool], *, wide: bool) -> None:
    heads = ["TIER", "CONFIGURATION", "SHOPSETS", "SHOPS", "REQUESTS/S", "OF", "LEFT (N-1)", "TAKES", "LIMITED BY"]
    heads += ["CONNECTIONS", "OF", "LEFT (N-1)", "REPLICAS", "OF", "LEFT (N-1)"] if wide else []
    rows = []
    for each in pools:
        requests, connections, shops = (_cells(amount) for amount in each.amounts)
        row = [
            each.tier,
            f"{each.configuration}{' (dedicated)' if each.dedicated else ''}",
            str(len(each.shopsets)),
            f"{each.shops:,}",
            *requests,
            "-" if each.takes is None else f"{each.takes:,} shops",
            UNITS.get(each.limited_by, "-"),
        ]
        rows.append(row + ([*connections, *shops] if wide else []))
    printer.table(heads, rows)


def _cells(amount: Amount) -> tuple[str, str, str]:
    return f"{amount.used:,.0f}", _number(amount.capacity), _number(amount.left_after_loss)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _show_canaries(printer: Printer, legs: Sequence[CanaryLeg]) -> None:
    heads = ("CANARY TIER", "CONFIGURATION", "OF CLASSES", "SHOPSETS", "REQUESTS/S", "OWN", "OF", "LEFT")
    rows = [
        (
            each.tier,
            each.configuration,
            ",".join(each.classes),
            str(len(each.shopsets)),
            f"{each.requests:,.0f}",
            f"{each.own:,.0f}",
            _number(each.capacity),
            _number(each.left),
        )
        for each in legs
    ]
    printer.table(heads, rows)


def _show_rooms(printer: Printer, found: Report) -> None:
    rows = [(each.cluster, str(each.shopsets), _number(each.holds), _number(each.more)) for each in found.rooms]
    printer.table(("CLUSTER", "SHOPSETS", "HOLDS", "ROOM FOR"), rows)


def _show_databases(printer: Printer, databases: Sequence[Budget], *, wide: bool) -> None:
    heads = ["CONFIGURATION", "DATABASE", "SHOPSETS", "CONNECTIONS", "BUDGET", "LEFT", "ROOM FOR"]
    rows = []
    for each in databases:
        room = "-" if each.room is None else f"{each.room:,} ShopSet{'' if each.room == 1 else 's'}"
        opened = f"{each.taken:,}{' and more' if each.unknown else ''}"
        row = [each.owner.partition("/")[2], each.database, str(len(each.shares)), opened, f"{each.limit:,}"]
        row += ["-" if each.unknown else f"{each.left:,}", room]
        rows.append([*row, each.arithmetic] if wide else row)
    printer.table([*heads, "WHY"] if wide else heads, rows)


def _show_notes(notes: Sequence[Note]) -> None:
    for each in notes:
        complain(f"note: {each.resource}: {each.message}")


def _data(found: Report, pools: Sequence[Pool], legs: Sequence[CanaryLeg], notes: Sequence[Note]) -> Mapping[str, Any]:
    return {
        "tiers": [
            {
                "tier": each.tier,
                "configuration": each.configuration,
                "dedicated": each.dedicated,
                "shopsets": each.shopsets,
                "shops": each.shops,
                "takes": each.takes,
                "limitedBy": each.limited_by or None,
                "resources": {name: _amount(amount) for name, amount in zip(RESOURCES, each.amounts, strict=True)},
            }
            for each in pools
        ],
        "canaries": [
            {
                "tier": each.tier,
                "configuration": each.configuration,
                "classes": each.classes,
                "shopsets": each.shopsets,
                "requests": each.requests,
                "own": each.own,
                "capacity": each.capacity,
                "left": each.left,
            }
            for each in legs
        ],
        "clusters": [
            {"cluster": each.cluster, "shopsets": each.shopsets, "holds": each.holds, "roomFor": each.more}
            for each in found.rooms
        ],
        "databases": [
            {
                "configuration": each.owner.partition("/")[2],
                "database": each.database,
                "budget": each.limit,
                "opened": each.taken,
                "left": None if each.unknown else each.left,
                "roomFor": each.room,
                "unknown": each.unknown,
                "beyond": each.beyond,
            }
            for each in found.databases
        ],
        "notes": [{"resource": each.resource, "message": each.message} for each in (*notes, *found.notes)],
    }


def _amount(amount: Amount) -> Mapping[str, float | None]:
    return {
        "used": amount.used,
        "capacity": amount.capacity,
        "left": amount.left,
        "leftAfterLoss": amount.left_after_loss,
    }


# -- what ShopSets bear


@dataclass(frozen=True, slots=True)
class _Row:
    shopset: str
    tier: str
    stated: float | None
    found: Estimate | NoEstimate


def _show_estimates(printer: Printer, rows: Sequence[_Row], output: Output) -> None:
    if output in (Output.JSON, Output.YAML):
        printer.data([_estimate_data(each) for each in rows], output)
        return
    if output is Output.NAME:
        for each in rows:
            printer.line(f"shopsets/{each.shopset}")
        return
    heads = ("SHOPSET", "TIER", "STATED", "ESTIMATED", f"{CONFIDENCE:.0%} BETWEEN", "SEEN UP TO", "SAMPLES", "NOTE")
    printer.table(heads, [_estimate_cells(each) for each in rows])
    known = [
        each
        for each in rows
        if isinstance(each.found, Estimate) and not each.found.is_far and rounded_down(each.found.low) > 0
    ]
    if known:
        printer.line()
        printer.line("To write into each ShopSet's spec (the lower end of the interval):", "bold")
        for each in known:
            assert isinstance(each.found, Estimate)  # noqa: S101  # chosen so
            spec = {"capacity": {"requestsPerSecond": rounded_down(each.found.low)}}
            printer.line(f"# {each.shopset}")
            printer.line(yaml.dump(spec, Dumper=yaml.CSafeDumper).rstrip())


def rounded_down(value: float) -> float:
    """Return a positive number with three digits that count, and not more than it was."""
    place = max(math.floor(math.log10(value)) - 2, -2) if value >= 0.01 else -2
    return round(math.floor(value / 10.0**place) * 10.0**place, 2)


def _estimate_cells(row: _Row) -> tuple[str, ...]:
    stated, found = _number(row.stated), row.found
    if isinstance(found, NoEstimate):
        return (row.shopset, row.tier, stated, "-", "-", "-", "-", found.reason)
    between = f"{found.low:,.0f} - {found.high:,.0f}"
    seen = f"{found.seen:,.0f} requests/s"
    return (
        row.shopset,
        row.tier,
        stated,
        f"{found.capacity:,.0f}",
        between,
        seen,
        str(found.samples),
        _remark(row, found),
    )


def _remark(row: _Row, found: Estimate) -> str:
    if found.is_far:
        return f"a guess: {found.capacity / found.seen:.1f} times what was seen"
    if row.stated is not None and not found.low <= row.stated <= found.high:
        return f"stated is {'more' if row.stated > found.high else 'less'} than it bears"
    return f"at {found.target:.0%} saturation; {found.at_rest:.0%} at rest"


def _estimate_data(row: _Row) -> Mapping[str, Any]:
    head = {"shopset": row.shopset, "tier": row.tier, "stated": row.stated}
    found = row.found
    if isinstance(found, NoEstimate):
        return {**head, "estimate": None, "reason": found.reason}
    return {
        **head,
        "estimate": found.capacity,
        "low": found.low,
        "high": found.high,
        "confidence": CONFIDENCE,
        "target": found.target,
        "atRest": found.at_rest,
        "seen": found.seen,
        "samples": found.samples,
        "isGuess": found.is_far,
    }

"""shopctl release watch: one release as it climbs, a line for each thing that turns."""

import time
from collections.abc import Callable

from shopset.cli import exits
from shopset.cli.printing import Printer, local
from shopset.cli.releases import describer
from shopset.cli.settings import Settings
from shopset.cli.unseen import is_blind, plan, tell_unseen
from shopset.cli.wiring import Workplace, open_workplace
from shopset.core.release.ledgers import Ledger
from shopset.core.release.observed import Observed, Repository
from shopset.core.release.plans import Outlook, Phase, Plan
from shopset.core.release.requests import RequestRefusedError, resolve_revision, tier_named
from shopset.core.release.revisions import Revision


def watch(settings: Settings, revision: str | None, until: str | None, interval: float) -> int:
    """Tell how a release climbs, until a tier has verified it or it gets no further."""
    return follow(
        open_workplace(settings), Printer(colour=settings.colour), revision, until, lambda: time.sleep(interval)
    )


def follow(
    workplace: Workplace, printer: Printer, revision: str | None, until: str | None, wait: Callable[[], None]
) -> int:
    """Look and tell again and again. Raises RequestRefusedError."""
    fleet = workplace.fleet
    last = fleet.tiers[-1] if until is None else tier_named(fleet, until)
    tiers = [tier.name for tier in fleet.tiers if tier.spec.level <= last.spec.level]
    made, observed = plan(workplace)
    watched = _watched(workplace, made, observed, revision)
    printer.line(f"{watched.short} {describer(workplace)(watched.apps)}".rstrip(), "bold")
    told: dict[str, str] = {}
    while True:
        for tier in tiers:
            words, code = standing(made.outlooks[tier], observed.ledger, watched)
            if words != told.get(tier, ""):
                told[tier] = words
                printer.line(f"{local(observed.now)}  {tier.ljust(max(map(len, tiers)))}  {words}")
            if code == exits.FAILURE or (code == exits.OK and tier == last.name):
                return code
        wait()
        made, observed = _next(workplace, wait)


def _next(workplace: Workplace, wait: Callable[[], None]) -> tuple[Plan, Observed]:
    """Plan anew as soon as the system repository can be read: one that is away comes back."""
    made, observed = workplace.engine.plan()
    if is_blind(observed):
        tell_unseen(observed, (Repository.SYSTEM,))
    while is_blind(observed):
        wait()
        made, observed = workplace.engine.plan()
    return made, observed


def standing(outlook: Outlook, ledger: Ledger, revision: Revision) -> tuple[str, int | None]:
    """Say how a revision stands at a tier; and, once that is decided, whether it went well, as an exit code."""
    tier, pins = outlook.tier, ledger.pins.get(outlook.tier, ())
    if ledger.is_rejected(tier, revision.id):
        rejection = ledger.rejected[tier][revision.id]
        return f"Rejected: {rejection.reason}: {rejection.message}", exits.FAILURE
    if ledger.is_verified(tier, revision.id):
        return "Verified", exits.OK
    if outlook.pinned == revision:
        phase, detail = outlook.progress.phase, outlook.progress.detail
        return "Verified" if phase is Phase.VERIFIED else f"{phase.value}: {detail}", None
    if outlook.pinned is not None and any(revision.id in (pin.revision, *pin.skipped) for pin in pins):
        return f"Superseded: it takes {outlook.pinned.short}", exits.FAILURE
    if outlook.candidate == revision:
        failing = [check.detail for check in outlook.checks if not check.passed]
        return f"Waiting: {'; '.join(failing)}" if failing else "Next", None
    return "", None


def _watched(workplace: Workplace, made: Plan, observed: Observed, revision: str | None) -> Revision:
    """Return the revision that is named; else the newest one: what the lowest tier would take, or has."""
    if revision is not None:
        return resolve_revision(workplace.fleet, observed, revision)
    lowest = made.outlooks[workplace.fleet.tiers[0].name]
    newest = lowest.candidate or lowest.pinned
    if newest is None:
        raise RequestRefusedError("nothing was released yet, and nothing is offered: push to shopset-apps first")
    return newest

"""How releases stand, as a table of revisions and tiers, and in plain words."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from shopset.cli.printing import local, span
from shopset.cli.wiring import Workplace
from shopset.core.fleets import Fleet
from shopset.core.release.observed import Observed, Repository, SubjectOf
from shopset.core.release.plans import Check, Outlook, Phase, Plan
from shopset.core.release.revisions import Revision

_SHOWN = 8
"""Revisions that a table shows, besides those that run somewhere."""


def describer(workplace: Workplace) -> Callable[[str], str]:
    """Return a function from an apps commit to its subject."""

    def describe(commit: str) -> str:
        return str(workplace.remotes.answer(SubjectOf(Repository.APPS, commit)))

    return describe


def release_table(
    fleet: Fleet, plan: Plan, observed: Observed, now: datetime, what: Callable[[str], str]
) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows: one row for each revision, the newest first, one column for each tier."""
    tiers = [tier.name for tier in fleet.tiers]
    rows = [
        [revision.short, what(revision.apps), *(_cell(plan, observed, tier, revision, now) for tier in tiers)]
        for revision in _revisions(fleet, plan, observed)
    ]
    return ["REVISION", "WHAT", *(tier.upper() for tier in tiers)], rows


def _revisions(fleet: Fleet, plan: Plan, observed: Observed) -> Iterator[Revision]:
    newest: dict[Revision, int] = {}
    lowest = fleet.tiers[0].name
    offered = plan.outlooks[lowest].candidate
    if offered is not None:
        newest[offered] = 1 << 60
    for tier in reversed(fleet.tiers):
        for number, pin in enumerate(observed.ledger.pins.get(tier.name, ())):
            # The order of the lowest tier's pins is the order of releases; what it never had comes from an adoption.
            newest[pin.content] = number
    running = {outlook.pinned for outlook in plan.outlooks.values()}
    ordered = sorted(newest, key=lambda revision: (-newest[revision], revision.id))
    for position, revision in enumerate(ordered):
        if position < _SHOWN or revision in running:
            yield revision


def _cell(plan: Plan, observed: Observed, tier: str, revision: Revision, now: datetime) -> str:
    outlook, ledger = plan.outlooks[tier], observed.ledger
    if outlook.pinned == revision:
        return _running(outlook, now)
    if ledger.is_rejected(tier, revision.id):
        return f"rejected ({ledger.rejected[tier][revision.id].reason})"
    if outlook.candidate == revision:
        blocking = [check.rule for check in outlook.checks if not check.passed]
        return f"waits ({', '.join(blocking)})" if blocking else "next"
    if ledger.is_verified(tier, revision.id):
        return "verified"
    return "superseded" if any(pin.revision == revision.id for pin in ledger.pins.get(tier, ())) else "-"


def _running(outlook: Outlook, now: datetime) -> str:
    progress = outlook.progress
    if progress.phase is Phase.VERIFIED:
        return f"running, verified {local(progress.since)}" if progress.since else "running, verified"
    if progress.phase is Phase.BAKING and progress.since and progress.until:
        return f"baking {span(now - progress.since)} of {span(progress.until - progress.since)}"
    return progress.phase.value.lower()


def forecast(fleet: Fleet, plan: Plan, observed: Observed) -> Iterator[str]:
    """Yield what comes next, a line for each tier that has something before it."""
    for tier in fleet.tiers:
        outlook = plan.outlooks[tier.name]
        name = outlook.pinned.short if outlook.pinned else ""
        if outlook.progress.phase is Phase.BAKING and outlook.progress.until:
            yield f"{tier.name} verifies {name} at {local(outlook.progress.until)} if nothing fails until then."
        elif outlook.progress.phase is Phase.SYNCING:
            yield f"{tier.name} waits for {name}: {outlook.progress.detail}."
        elif outlook.progress.phase in {Phase.REJECTED, Phase.BLOCKED}:
            yield f"{tier.name} {outlook.progress.phase.value.lower()} {name}: {outlook.progress.detail}."
        if outlook.candidate is not None:
            yield from _entry_words(tier.name, outlook)
        elif observed.ledger.active_holds(tier.name):
            holds = observed.ledger.active_holds(tier.name)
            reason = next(iter(holds.values())).reason
            yield f"{tier.name} is held: {reason}. Lift it: shopctl release resume {tier.name}"


def _entry_words(tier: str, outlook: Outlook) -> Iterator[str]:
    revision = outlook.candidate.short if outlook.candidate else ""
    failing = [check for check in outlook.checks if not check.passed]
    if not failing:
        yield f"{tier} takes {revision} now."
    for check in failing:
        yield f"{tier} does not take {revision} yet: {check.detail}." + _advice(check)


def _advice(check: Check) -> str:
    if check.advice:
        return f" Next: {check.advice}"
    return f" Until {local(check.until)}." if check.until else ""


def earliest(checks: Sequence[Check]) -> datetime | None:
    """Return when time alone lets a revision in, or None where it needs more than time."""
    failing = [check for check in checks if not check.passed]
    moments = [check.until for check in failing if check.until is not None]
    return max(moments) if failing and len(moments) == len(failing) else None

"""The rules by which a revision may become the pin of a tier, evaluated at the pin and for exactly that revision."""

from collections.abc import Iterator
from datetime import datetime

from shopset.api import Tier
from shopset.core.release._context import Context
from shopset.core.release.calendars import Interval, freeze_at, thaw_after
from shopset.core.release.candidates import Candidate, approvals_for, approvals_missing
from shopset.core.release.plans import Check, Phase, Progress
from shopset.core.release.preflight import check_builds
from shopset.core.release.revisions import Revision
from shopset.core.release.sources import check_sources


def entry_checks(context: Context, tier: Tier, candidate: Candidate, progress: Progress) -> tuple[Check, ...]:
    """Evaluate every rule of entry. `progress` is that of what the tier has pinned now."""
    revision = candidate.revision
    return (
        *check_sources(context, tier, _wanted_heads(context, tier, candidate)),
        _order(context, tier, candidate),
        _not_rejected(context, tier, revision),
        _approved(context, tier, revision),
        _settled(context, tier, revision, progress),
        *standing_checks(context, tier),
        _renderer(context, revision),
        check_builds(context, tier, revision),
    )


def standing_checks(context: Context, tier: Tier) -> Iterator[Check]:
    """Evaluate what keeps any change from a tier, whichever the revision: holds and freeze windows."""
    holds = context.observed.ledger.active_holds(tier.name)
    for name, hold in sorted(holds.items()):
        detail = f"{tier.name} is held by {hold.by} ({name}): {hold.reason}"
        yield Check("NotHeld", False, detail, f"shopctl release resume {tier.name}")
    if not holds:
        yield Check("NotHeld", True, f"{tier.name} is not held")
    yield _not_frozen(context, tier)


def _wanted_heads(context: Context, tier: Tier, candidate: Candidate) -> Revision | None:
    # The lowest tier takes its own heads, and so does an adopted one: there is nothing to fast-forward.
    return None if candidate.adopted or context.fleet.lower(tier.name) is None else candidate.revision


def _order(context: Context, tier: Tier, candidate: Candidate) -> Check:
    lower, ledger, revision = context.fleet.lower(tier.name), context.observed.ledger, candidate.revision
    if candidate.adopted:
        given = next(found for found in approvals_for(context, tier, revision) if found.adopt)
        return Check("VerifiedBelow", True, f"adopted by {given.by}: {given.reason}")
    if lower is None:
        return Check("VerifiedBelow", True, f"{tier.name} is the lowest tier")
    if ledger.is_rejected(lower.name, revision.id):
        return Check(
            "VerifiedBelow",
            False,
            f"{lower.name} rejected {revision.short}: {ledger.rejected[lower.name][revision.id].message}",
        )
    if ledger.is_verified(lower.name, revision.id):
        at = ledger.verified[lower.name][revision.id].at
        return Check("VerifiedBelow", True, f"{lower.name} verified {revision.short} at {at:%Y-%m-%d %H:%M:%SZ}")
    pinned = context.pinned(lower)
    has = f"its pin is {pinned.short}" if pinned else "nothing is pinned there"
    detail = (
        f"{lower.name} has not verified {revision.short} ({has}), and {tier.name} takes only what {lower.name} verified"
    )
    return Check("VerifiedBelow", False, detail, f"shopctl release explain {revision.short} --tier {lower.name}")


def _not_rejected(context: Context, tier: Tier, revision: Revision) -> Check:
    rejection = context.observed.ledger.rejected.get(tier.name, {}).get(revision.id)
    if rejection is None:
        return Check("NotRejected", True, f"{tier.name} did not reject {revision.short}")
    detail = f"{tier.name} rejected {revision.short} ({rejection.reason}): {rejection.message}"
    return Check("NotRejected", False, detail, f"shopctl release retry {tier.name} {revision.short}")


def _approved(context: Context, tier: Tier, revision: Revision) -> Check:
    needed, missing = tier.spec.promotion.approvals_needed, approvals_missing(context, tier, revision)
    people = ", ".join(approval.by for approval in approvals_for(context, tier, revision))
    if not missing:
        return Check("Approved", True, f"approved by {people}" if people else f"{tier.name} asks for no approval")
    given = f"; given by {people}" if people else ""
    detail = (
        f"{tier.name} needs {needed} approval{'s' if needed > 1 else ''} for {revision.short}, {missing} missing{given}"
    )
    return Check("Approved", False, detail, f"shopctl release approve {tier.name} {revision.short}")


def _settled(context: Context, tier: Tier, revision: Revision, progress: Progress) -> Check:
    """A tier finishes what it verifies before it takes the next, or it would never verify anything."""
    if progress.phase not in {Phase.SYNCING, Phase.BAKING}:
        return Check("Settled", True, f"{tier.name} has nothing under way")
    if any(approval.expedite for approval in approvals_for(context, tier, revision)):
        return Check("Settled", True, f"{revision.short} is expedited, and does not wait for what is under way")
    if tier.spec.promotion.supersede:
        return Check("Settled", True, f"{tier.name} lets a newer revision supersede what is under way")
    pinned = context.pinned(tier)
    name = pinned.short if pinned else "its pin"
    return Check("Settled", False, f"{tier.name} is still verifying {name}: {progress.detail}", until=progress.until)


def _not_frozen(context: Context, tier: Tier) -> Check:
    frozen = freeze_at(tier.spec.promotion.freeze, context.now)
    if frozen is None:
        return Check("NotFrozen", True, f"{tier.name} is not frozen")
    until = context.wake(thaw_after(tier.spec.promotion.freeze, context.now))
    return Check(
        "NotFrozen", False, f'{tier.name} is frozen {_span(frozen)}, freeze window "{frozen.name}"', until=until
    )


def _span(frozen: Interval) -> str:
    def show(moment: datetime) -> str:
        return f"{moment:%a %Y-%m-%d %H:%MZ}"

    return f"{show(frozen.start)} - {show(frozen.end)}"


def _renderer(context: Context, revision: Revision) -> Check:
    if revision.renderer in context.renderers.versions:
        return Check("RendererKnown", True, f"renderer {revision.renderer} is part of this release of shopset")
    carried = ", ".join(sorted(context.renderers.versions))
    detail = f"{revision.short} needs renderer {revision.renderer}; this release of shopset has {carried}"
    return Check("RendererKnown", False, detail, "use a release of shopset that carries it")

"""Which revision a tier would take next: the heads at the lowest tier, what the lower tier verified at the others."""

from dataclasses import dataclass

from shopset.api import Tier
from shopset.core.release._context import Context
from shopset.core.release.observed import IsAncestor, Repository
from shopset.core.release.records import ApprovalRecord
from shopset.core.release.revisions import Revision
from shopset.core.release.sources import SOURCES, commit_of, source_heads


@dataclass(frozen=True)
class Candidate:
    """A revision that a tier would take, and those that it passes over for it."""

    revision: Revision
    skipped: tuple[str, ...] = ()
    adopted: bool = False
    """Whether an approval stands in for the order (the tier was never pinned)."""


def candidate_for(context: Context, tier: Tier) -> Candidate | None:
    """Return what the tier would take next, or None where there is nothing new."""
    adopted = _adoption(context, tier)
    if adopted is not None:
        return Candidate(adopted, adopted=True)
    if context.fleet.lower(tier.name) is None:
        return _from_heads(context, tier)
    return _from_below(context, tier)


def approvals_for(context: Context, tier: Tier, revision: Revision) -> tuple[ApprovalRecord, ...]:
    """Return the approvals of exactly this revision for this tier, the oldest first."""
    given = context.observed.ledger.approvals.get(tier.name, {}).get(revision.id, ())
    return tuple(sorted(given, key=lambda approval: (approval.at, approval.by)))


def approvals_missing(context: Context, tier: Tier, revision: Revision) -> int:
    """Return how many people have still to approve."""
    people = {approval.by for approval in approvals_for(context, tier, revision)}
    return max(0, tier.spec.promotion.approvals_needed - len(people))


def verified_below(context: Context, tier: Tier) -> dict[Revision, int]:
    """Return what the next lower tier verified and did not reject, with its place in the order of that tier's pins.

    A revision that was pinned again (a rollback) counts where it was pinned last. Oldest first.
    """
    lower = context.fleet.lower(tier.name)
    if lower is None:
        return {}
    ledger = context.observed.ledger
    return {
        revision: place
        for revision, place in _places(context, lower).items()
        if ledger.is_verified(lower.name, revision.id) and not ledger.is_rejected(lower.name, revision.id)
    }


def _places(context: Context, lower: Tier) -> dict[Revision, int]:
    places: dict[Revision, int] = {}
    for place, pin in enumerate(context.observed.ledger.pins.get(lower.name, ())):
        places.pop(pin.content, None)
        places[pin.content] = place
    return places


def _adoption(context: Context, tier: Tier) -> Revision | None:
    if context.observed.ledger.pinned(tier.name) is not None:
        return None
    heads = source_heads(context, tier)
    for renderer in context.renderers.versions:
        offer = heads.offer(renderer)
        if offer is not None and any(approval.adopt for approval in approvals_for(context, tier, offer)):
            return offer
    return None


def _from_heads(context: Context, tier: Tier) -> Candidate | None:
    offer = source_heads(context, tier).offer(context.renderers.current)
    return Candidate(offer) if offer is not None and offer != context.pinned(tier) else None


def _from_below(context: Context, tier: Tier) -> Candidate | None:
    newer = [
        revision
        for revision in _newer(context, tier)
        if not context.observed.ledger.is_rejected(tier.name, revision.id)
    ]
    if not newer:
        return None
    # What a branch cannot reach any more (it was mended past it) is left to what it can reach; where nothing is, it is told.
    reachable = [revision for revision in newer if _is_ahead(context, tier, revision)] or newer
    approved = [revision for revision in reachable if not approvals_missing(context, tier, revision)]
    # Among several, one that people approved goes first: else they would chase a revision that the next one replaces.
    choice = approved or reachable
    picked = choice[0] if tier.spec.promotion.queue == "All" else choice[-1]
    skipped = tuple(revision.id for revision in newer[: newer.index(picked)])
    return Candidate(picked, skipped)


def _newer(context: Context, tier: Tier) -> list[Revision]:
    """Return what is verified below and newer than the tier's pin, oldest first."""
    pinned, lower = context.pinned(tier), context.fleet.lower(tier.name)
    offered = verified_below(context, tier)
    if pinned is None or lower is None:
        return list(offered)
    after = _places(context, lower).get(pinned, -1)
    newer = [revision for revision, place in offered.items() if place > after and revision != pinned]
    return [revision for revision in newer if not _is_behind(context, tier, revision)]


def _is_behind(context: Context, tier: Tier, revision: Revision) -> bool:
    """Whether the tier's branches have gone past the revision (the lower tier was rolled back to it, say)."""
    heads = source_heads(context, tier)
    return any(
        _strictly_behind(context, repository, commit_of(revision, repository), heads.of(repository))
        for repository in SOURCES
    )


def _is_ahead(context: Context, tier: Tier, revision: Revision) -> bool:
    """Whether the tier's branches can be fast-forwarded to the revision, or are there."""
    heads = source_heads(context, tier)
    return all(
        head is None or head == commit or bool(context.ask(IsAncestor(repository, head, commit)))
        for repository in SOURCES
        for head, commit in [(heads.of(repository), commit_of(revision, repository))]
    )


def _strictly_behind(context: Context, repository: Repository, commit: str, head: str | None) -> bool:
    if head is None or head == commit:
        return False
    return bool(context.ask(IsAncestor(repository, commit, head)))

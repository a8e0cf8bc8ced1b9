"""Conditions: what a person should know about a tier, a ShopSet or the fleet, with the reason."""

from collections.abc import Iterator

from shopset.api import Tier
from shopset.core.release._context import Context
from shopset.core.release.observed import ObservedTier, Repository
from shopset.core.release.plans import Check, Condition, Outlook, Phase
from shopset.core.release.revisions import SHORT
from shopset.core.release.sources import SOURCES, check_sources, commit_of, repository_name, source_heads

_ENTRY_INFORMS = {"Settled", "NotFrozen", "VerifiedBelow", "SourcesKnown"}
"""Rules whose failing is the normal course of a release: time and the lower tiers will see to it."""
_ENTRY_WAITS_FOR_PEOPLE = {"NotHeld", "Approved", "NotRejected"}


def obstacle(context: Context, tier: Tier) -> Condition | None:
    """Return why nothing at all may be done on a tier, or None."""
    system, name = context.observed.repositories[Repository.SYSTEM], f"Tier/{tier.name}"
    if system.trouble is not None:
        return Condition(name, "Ready", system.trouble.reason, system.trouble.message)
    level = context.observed.ledger.levels.get(tier.name, tier.spec.level)
    if level != tier.spec.level:
        message = f"the level of {tier.name} was {level} and cannot become {tier.spec.level}: give the tier a new name instead"
        return Condition(name, "Ready", "LevelChanged", message)
    for error in context.observed.ledger.malformed:
        if f"/{tier.name}/" in error.path or error.path == f"pins/{tier.name}" or "/" not in error.path:
            return Condition(name, "Ready", "LedgerMalformed", str(error))
    head = context.head(tier)
    if head is None:
        return _lost_branch(context, tier)
    return _unusable(context, tier, head)


def tier_conditions(context: Context, tier: Tier, outlook: Outlook) -> Iterator[Condition]:
    """Yield what is to be said of one tier."""
    found, name = obstacle(context, tier), f"Tier/{tier.name}"
    if found is not None:
        yield found
    head, pin = context.head(tier), context.observed.ledger.pinned(tier.name)
    if head is not None and head.revision is not None and (pin is None or pin.revision != head.revision.id):
        recorded = f"the ledger's newest pin is {pin.revision[:SHORT]}" if pin else "the ledger has no pin"
        message = f"{head.revision.short} is pinned by hand: {recorded}. Nothing is verified until a pin of the ledger is back"
        yield Condition(name, "Verified", "UnverifiedPin", message)
    if outlook.progress.phase in {Phase.REJECTED, Phase.BLOCKED}:
        yield Condition(name, "Verified", outlook.progress.phase.value, outlook.progress.detail)
    for check in outlook.checks or _without_candidate(context, tier):
        if not check.passed:
            yield _of_check(name, check)


def fleet_conditions(context: Context) -> Iterator[Condition]:
    """Yield what is to be said of clusters and ShopSets."""
    for cluster, trouble in sorted(context.observed.deliveries.items()):
        yield Condition(f"Cluster/{cluster}", "Observed", trouble.reason, trouble.message)
    for cluster, record in sorted(context.observed.ledger.clusters.items()):
        yield Condition(f"Cluster/{cluster}", "Ready", record.state, f"{record.reason} ({record.by})", "Warning")
    applications = context.observed.applications
    for name in sorted(name for name, found in applications.items() if found.sync_error or found.health == "Degraded"):
        found = applications[name]
        if found.sync_error:
            yield Condition(f"ShopSet/{name}", "Synced", "SyncFailed", found.sync_error)
        else:
            yield Condition(f"ShopSet/{name}", "Healthy", "Degraded", found.message)
    for excess in context.excesses:
        follows = (
            "It runs already, and goes on" if excess.shopset in context.rendered else "It is not made until it fits"
        )
        message = f"{excess.message}. {follows}: {excess.advice}"
        yield Condition(f"ShopSet/{excess.shopset}", "WithinBudget", "BudgetExceeded", message)
    for name, shops in sorted(context.observed.serving.items()):
        what = f"the {shops:,} shops that it still serves have moved" if shops else "the placement can be read again"
        message = f"the fleet has no ShopSet {name} any more, and it goes once {what}"
        yield Condition(f"ShopSet/{name}", "Removed", "StillServes", message, "Info")
    for name, home, wanted in context.moves:
        message = (
            f"{name} moves from {home} to {wanted} when both tiers have a pin and neither is frozen, held or releasing"
        )
        yield Condition(f"ShopSet/{name}", "Placed", "TierChanges", message, "Info")


def _lost_branch(context: Context, tier: Tier) -> Condition | None:
    pin = context.observed.ledger.pinned(tier.name)
    if pin is None:
        return None
    branch = context.fleet.branch(tier.name)
    message = (
        f"{repository_name(context, Repository.SYSTEM)} has no branch {branch} any more, though {pin.revision[:SHORT]} is pinned on it. "
        f"Push it again from any clone: git push origin origin/{branch}:refs/heads/{branch}"
    )
    return Condition(f"Tier/{tier.name}", "Ready", "BranchDeleted", message)


def _unusable(context: Context, tier: Tier, head: ObservedTier) -> Condition | None:
    name = f"Tier/{tier.name}"
    if head.trouble is not None:
        return Condition(name, "Ready", head.trouble.reason, head.trouble.message)
    if head.revision is not None and head.revision.renderer not in context.renderers.versions:
        carried = ", ".join(sorted(context.renderers.versions))
        message = f"its pin needs renderer {head.revision.renderer}, and this release of shopset carries {carried}: use one that has it"
        return Condition(name, "Ready", "RendererUnknown", message)
    return None


def _without_candidate(context: Context, tier: Tier) -> Iterator[Check]:
    lowest = context.fleet.lower(tier.name) is None
    if lowest or context.pinned(tier) is not None:
        yield from check_sources(context, tier, None)
    if not lowest:
        yield from _check_ahead(context, tier)


def _check_ahead(context: Context, tier: Tier) -> Iterator[Check]:
    """A person may fast-forward an upper branch, but only to what the lower tier has pinned."""
    heads, pinned, lower = source_heads(context, tier), context.pinned(tier), context.fleet.lower(tier.name)
    if pinned is None or lower is None or None in (heads.apps, heads.configuration):
        return
    pins = [pin for name in (lower.name, tier.name) for pin in context.observed.ledger.pins.get(name, ())]
    for repository in SOURCES:
        head = heads.of(repository)
        if head is not None and all(commit_of(pin.content, repository) != head for pin in pins):
            where = f"{repository_name(context, repository)}@{context.fleet.branch(tier.name)} ({head[:SHORT]})"
            yield Check(
                "SourceDiverged",
                False,
                f"{where} has commits that {lower.name} never had",
                f"shopctl release hotfix {tier.name}",
            )


def _of_check(name: str, check: Check) -> Condition:
    message = check.detail + (f". Next: {check.advice}" if check.advice else "")
    if check.rule in _ENTRY_INFORMS:
        return Condition(name, "Admitted", check.rule, message, "Info")
    if check.rule in _ENTRY_WAITS_FOR_PEOPLE:
        return Condition(name, "Admitted", check.rule, message, "Warning")
    return Condition(
        name, "Admitted", check.rule, message, "Info" if check.passed is None and check.rule == "Builds" else "Error"
    )

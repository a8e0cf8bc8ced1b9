"""What people ask for: approvals, holds, rollbacks, retries, adoptions, hotfixes. Each becomes a plan like any other."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from shopset.api import Tier
from shopset.core.fleets import Fleet
from shopset.core.release._commits import hold_name, ledger_commit, next_pin_path, trailers
from shopset.core.release._context import Context
from shopset.core.release._hotfix import hotfix
from shopset.core.release._outcomes import last_good, roll_back
from shopset.core.release.actions import ActionKind, AnyAction, Identity, PushCommits
from shopset.core.release.conditions import obstacle
from shopset.core.release.entry import standing_checks
from shopset.core.release.observed import Observed, Repository
from shopset.core.release.plans import Plan
from shopset.core.release.records import (
    ApprovalRecord,
    HoldRecord,
    Lifting,
    PinRecord,
    RejectionRecord,
    approval_path,
    hold_path,
    rejection_path,
)
from shopset.core.release.refusals import RequestRefusedError
from shopset.core.release.revisions import Revision
from shopset.core.release.sources import source_heads
from shopset.core.rendering import RENDERERS, Renderers


@dataclass(frozen=True, kw_only=True)
class Approve:
    """Let a revision enter a tier that asks for approvals. `bake` and `expedite` are overrides, recorded as such."""

    tier: str
    revision: str
    reason: str
    bake: timedelta | None = None
    expedite: bool = False


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Let nothing enter a tier until it is resumed."""

    tier: str
    reason: str
    name: str = "hold"
    request: str = ""
    """The uid of the object that asks for it: it is placed once, however often that is read."""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Lift one hold of a tier, or all."""

    tier: str
    reason: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class RollBack:
    """Pin an earlier verified revision (the last one, where none is named), reject the present one, and hold."""

    tier: str
    reason: str
    to: str | None = None
    request: str = ""
    """The uid of the object that asks for it: it is done once, however often that is read."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Lift a rejection (that of the pin, where none is named); what is pinned is verified anew."""

    tier: str
    reason: str
    revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Adopt:
    """Take over what a never pinned tier's branches hold, without the order of the tiers."""

    tier: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Hotfix:
    """Bring a fix that is based on a tier's pin to the lowest tier, from where it climbs ahead of pending work."""

    tier: str
    reason: str
    apps: str | None = None
    """The fix in apps (a full commit id); None: the head of the tier's own branch."""
    configuration: str | None = None
    bake: timedelta | None = None
    discard: bool = False
    """Keep the lowest tier's content instead: the merge only mends a branch that diverged."""


Request = Approve | Hold | Resume | RollBack | Retry | Adopt | Hotfix


def respond(
    fleet: Fleet, observed: Observed, request: Request, author: Identity, renderers: Renderers = RENDERERS
) -> Plan:
    """Return the plan that meets a request. Empty where it is met already. Raises RequestRefusedError."""
    context = Context(fleet, observed, renderers)
    tier = tier_named(fleet, request.tier)
    blocked = obstacle(context, tier)
    if blocked is not None:
        raise RequestRefusedError(f"{blocked.reason}: {blocked.message}")
    actions = tuple(_dispatch(context, tier, request, author))
    return Plan(observed.now, actions, {}, tuple(context.conditions), frozenset(context.questions))


def resolve_revision(fleet: Fleet, observed: Observed, prefix: str, renderers: Renderers = RENDERERS) -> Revision:
    """Return the one revision, pinned or offered anywhere, whose id starts with `prefix`. Raises RequestRefusedError."""
    context = Context(fleet, observed, renderers)
    known = observed.ledger.revisions()
    for tier in fleet.tiers:
        for renderer in renderers.versions:
            offer = source_heads(context, tier).offer(renderer)
            if offer is not None:
                known[offer.id] = offer
    if len(prefix) < 4 or not set(prefix) <= set("0123456789abcdef"):
        raise RequestRefusedError(
            f"{prefix!r} names no revision: give at least 4 of its hexadecimal digits (shopctl release status shows them)"
        )
    matches = sorted(key for key in known if key.startswith(prefix))
    if not matches:
        raise RequestRefusedError(f"no revision starts with {prefix!r}: shopctl release history lists them")
    if len(matches) > 1:
        raise RequestRefusedError(f"{prefix!r} is ambiguous: {', '.join(matches)}")
    return known[matches[0]]


def tier_named(fleet: Fleet, name: str) -> Tier:
    """Return a tier by its name. Raises RequestRefusedError."""
    names = [tier.name for tier in fleet.tiers]
    if name not in names:
        raise RequestRefusedError(f"the fleet has no tier {name!r}: it has {', '.join(names)}")
    return fleet.tier(name)


def _dispatch(context: Context, tier: Tier, request: Request, author: Identity) -> Iterator[AnyAction]:
    match request:
        case Approve():
            yield from _approve(context, tier, request, author)
        case Hold():
            yield from _place_hold(context, tier, request, author)
        case Resume():
            yield from _resume(context, tier, request, author)
        case RollBack():
            yield from _roll_back(context, tier, request, author)
        case Retry():
            yield from _retry(context, tier, request, author)
        case Adopt():
            yield from _adopt(context, tier, request, author)
        case Hotfix():
            yield from _hotfix(context, tier, request, author)


def _approve(context: Context, tier: Tier, request: Approve, author: Identity) -> Iterator[AnyAction]:
    revision = resolve_revision(context.fleet, context.observed, request.revision, context.renderers)
    record = ApprovalRecord(
        revision=revision.id,
        at=context.now,
        by=str(author),
        reason=request.reason,
        bake=request.bake,
        expedite=request.expedite,
    )
    given = context.observed.ledger.approvals.get(tier.name, {}).get(revision.id, ())
    if any(approval.by == record.by for approval in given):
        return
    yield _approval(context, tier, revision, record, author)


def _approval(
    context: Context, tier: Tier, revision: Revision, record: ApprovalRecord, author: Identity
) -> PushCommits:
    verb = "adopts" if record.adopt else "approves"
    subject = f"{author.name} {verb} {revision.short} for {tier.name}: {record.reason}"
    write = {approval_path(tier.name, revision.id, str(author)): record.dump()}
    return _record(context, tier, ActionKind.APPROVE, subject, write, author, revision, record.reason)


def _place_hold(context: Context, tier: Tier, request: Hold, author: Identity) -> Iterator[AnyAction]:
    holds = context.observed.ledger.holds.get(tier.name, {}).values()
    if request.request and any(hold.request == request.request for hold in holds):
        return
    active = (hold for hold in holds if hold.lifted is None and not request.request)
    if any(hold.by == str(author) and hold.reason == request.reason for hold in active):
        return
    record = HoldRecord(
        tier=tier.name, since=context.now, by=str(author), reason=request.reason, request=request.request
    )
    subject = f"{author.name} holds {tier.name}: {request.reason}"
    write = {hold_path(tier.name, hold_name(context, tier, request.name)): record.dump()}
    yield _record(context, tier, ActionKind.HOLD, subject, write, author, context.pinned(tier), request.reason)


def _resume(context: Context, tier: Tier, request: Resume, author: Identity) -> Iterator[AnyAction]:
    active = context.observed.ledger.active_holds(tier.name)
    if request.name is not None and request.name not in active:
        names = ", ".join(active) or "none"
        raise RequestRefusedError(f"{tier.name} has no hold {request.name!r}; its holds: {names}")
    lifting = Lifting(at=context.now, by=str(author), reason=request.reason)
    writes = {
        hold_path(tier.name, name): hold.model_copy(update={"lifted": lifting}).dump()
        for name, hold in sorted(active.items())
        if request.name in (None, name)
    }
    if writes:
        subject = f"{author.name} resumes {tier.name}: {request.reason}"
        yield _record(context, tier, ActionKind.RESUME, subject, writes, author, context.pinned(tier), request.reason)


def _roll_back(context: Context, tier: Tier, request: RollBack, author: Identity) -> Iterator[AnyAction]:
    bad, ledger = context.pinned(tier), context.observed.ledger
    if request.request and any(pin.request == request.request for pin in ledger.pins.get(tier.name, ())):
        return
    if bad is None:
        raise RequestRefusedError(f"{tier.name} has nothing pinned that could be rolled back")
    target = _rollback_target(context, tier, request)
    if target == bad:
        return
    rejection = RejectionRecord(
        revision=bad.id,
        pin=len(ledger.pins.get(tier.name, ())),
        at=context.now,
        by=str(author),
        reason="RolledBack",
        message=request.reason,
    )
    yield from roll_back(context, tier, target, rejection, author, request.request)


def _rollback_target(context: Context, tier: Tier, request: RollBack) -> Revision:
    if request.to is None:
        target = last_good(context, tier)
        if target is None:
            raise RequestRefusedError(f"{tier.name} has verified no earlier revision to go back to")
        return target
    target = resolve_revision(context.fleet, context.observed, request.to, context.renderers)
    if not context.observed.ledger.is_verified(tier.name, target.id):
        raise RequestRefusedError(
            f"{tier.name} never verified {target.short}: shopctl release history {tier.name} shows what it did"
        )
    if context.observed.ledger.is_rejected(tier.name, target.id):
        raise RequestRefusedError(
            f"{tier.name} rejected {target.short}: shopctl release retry {tier.name} {target.short} first"
        )
    if target.renderer not in context.renderers.versions:
        raise RequestRefusedError(
            f"{target.short} needs renderer {target.renderer}, which this release of shopset does not carry"
        )
    return target


def _retry(context: Context, tier: Tier, request: Retry, author: Identity) -> Iterator[AnyAction]:
    ledger, pinned = context.observed.ledger, context.pinned(tier)
    if request.revision is None and pinned is None:
        raise RequestRefusedError(f"{tier.name} has nothing pinned: name the revision to retry")
    named = request.revision
    revision = (
        resolve_revision(context.fleet, context.observed, named, context.renderers) if named is not None else pinned
    )
    if revision is None or not ledger.is_rejected(tier.name, revision.id):
        return
    writes: dict[str, bytes] = {}
    if revision == pinned:
        writes = _pin_again(context, tier, revision, request, author)
    subject = f"{author.name} retries {revision.short} on {tier.name}: {request.reason}"
    deletes = (rejection_path(tier.name, revision.id),)
    yield _record(context, tier, ActionKind.RETRY, subject, writes, author, revision, request.reason, deletes)


def _pin_again(context: Context, tier: Tier, revision: Revision, request: Retry, author: Identity) -> dict[str, bytes]:
    for check in standing_checks(context, tier):
        if not check.passed:
            raise RequestRefusedError(f"{check.detail}. {check.advice or 'Try again after it'}")
    record = PinRecord(
        revision=revision.id,
        apps=revision.apps,
        configuration=revision.configuration,
        renderer=revision.renderer,
        kind="Retry",
        previous=revision.id,
        at=context.now,
        by=str(author),
        reason=request.reason,
    )
    return {next_pin_path(context, tier): record.dump()}


def _adopt(context: Context, tier: Tier, request: Adopt, author: Identity) -> Iterator[AnyAction]:
    if context.observed.ledger.pinned(tier.name) is not None:
        raise RequestRefusedError(f"{tier.name} was pinned before, so it takes only what the next lower tier verified")
    offer = source_heads(context, tier).offer(context.renderers.current)
    if offer is None:
        branch = context.fleet.branch(tier.name)
        raise RequestRefusedError(
            f"{tier.name} needs a branch {branch} in both apps and configuration: push what runs there today"
        )
    if any(approval.adopt for approval in context.observed.ledger.approvals.get(tier.name, {}).get(offer.id, ())):
        return
    record = ApprovalRecord(revision=offer.id, at=context.now, by=str(author), reason=request.reason, adopt=True)
    yield _approval(context, tier, offer, record, author)


def _hotfix(context: Context, tier: Tier, request: Hotfix, author: Identity) -> Iterator[AnyAction]:
    pinned, lowest = context.pinned(tier), context.fleet.tiers[0]
    if pinned is None and not request.discard:
        raise RequestRefusedError(
            f"{tier.name} has nothing pinned that a fix could be based on: --discard mends its branches"
        )
    if tier.name == lowest.name:
        raise RequestRefusedError(f"{tier.name} is the lowest tier: push the fix to its branch, it is taken at once")
    heads = source_heads(context, tier)
    fixes = {
        Repository.APPS: request.apps or heads.apps or (pinned.apps if pinned else None),
        Repository.CONFIGURATION: request.configuration
        or heads.configuration
        or (pinned.configuration if pinned else None),
    }
    yield from hotfix(context, tier, fixes, request.reason, author, discard=request.discard)
    if context.questions or request.discard:
        return
    merged = source_heads(context, lowest).offer(context.renderers.current)
    if merged is not None:
        yield from _expedite(context, tier, merged, request, author)


def _expedite(
    context: Context, tier: Tier, revision: Revision, request: Hotfix, author: Identity
) -> Iterator[AnyAction]:
    approvals = context.observed.ledger.approvals
    record = ApprovalRecord(
        revision=revision.id, at=context.now, by=str(author), reason=request.reason, bake=request.bake, expedite=True
    )
    tiers = [each.name for each in context.fleet.tiers if each.spec.level <= tier.spec.level]
    writes = {
        approval_path(name, revision.id, str(author)): record.dump()
        for name in tiers
        if not any(given.by == str(author) for given in approvals.get(name, {}).get(revision.id, ()))
    }
    if writes:
        subject = f"{author.name} expedites {revision.short} up to {tier.name}: {request.reason}"
        yield _record(context, tier, ActionKind.APPROVE, subject, writes, author, revision, request.reason)


def _record(
    context: Context,
    tier: Tier,
    kind: ActionKind,
    subject: str,
    writes: dict[str, bytes],
    author: Identity,
    revision: Revision | None,
    reason: str,
    deletes: tuple[str, ...] = (),
) -> PushCommits:
    informed = (
        trailers(tier, revision, reason) if revision else (("Shopset-Tier", tier.name), ("Shopset-Reason", reason))
    )
    return PushCommits(
        kind=kind,
        tier=tier.name,
        what=subject,
        why=(f"{author.name} asked for it: {reason}",),
        author=author,
        at=context.now,
        commits=(ledger_commit(context, " ".join(subject.split()), writes, deletes, informed),),
    )


__all__ = [
    "Adopt",
    "Approve",
    "Hold",
    "Hotfix",
    "Request",
    "RequestRefusedError",
    "Resume",
    "Retry",
    "RollBack",
    "resolve_revision",
    "respond",
]

"""What follows when a verification is decided: the record, and what the tier's onFailure says."""

from collections.abc import Iterator

from shopset.api import Tier
from shopset.core.release._commits import hold_name, hold_record, ledger_commit, pin_write, tier_commit, trailers
from shopset.core.release._context import Context
from shopset.core.release.actions import (
    SHOPSET,
    ActionKind,
    AnyAction,
    Identity,
    PushCommits,
)
from shopset.core.release.observed import ComponentsOf
from shopset.core.release.records import (
    RejectionRecord,
    VerificationRecord,
    hold_path,
    rejection_path,
    verification_path,
)
from shopset.core.release.revisions import Revision
from shopset.core.release.trees import tier_delta
from shopset.core.release.verification import Verdict


def sign_off(context: Context, tier: Tier, verdict: Verdict) -> Iterator[AnyAction]:
    """A decided verification goes to the ledger; a failed one is followed by what the tier's onFailure says."""
    pinned = context.pinned(tier)
    if verdict.record is None or pinned is None:
        return
    if isinstance(verdict.record, RejectionRecord):
        yield from _reject(context, tier, pinned, verdict.record)
    else:
        yield _verify(context, tier, pinned, verdict.record)


def _verify(context: Context, tier: Tier, revision: Revision, record: VerificationRecord) -> AnyAction:
    number = len(record.shopsets)
    ran = f"{number} ShopSet{'s' if number > 1 else ''} Synced and Healthy" if number else record.note
    subject = f"{tier.name} verifies {revision.short}: {ran}"
    write = {verification_path(tier.name, revision.id): record.dump()}
    return PushCommits(
        kind=ActionKind.VERIFY,
        tier=tier.name,
        what=f"{tier.name} verifies {revision.short}",
        why=(f"{ran} since {record.healthy_since:%H:%M:%SZ}, no gate failed, the bake is over",),
        at=context.now,
        commits=(ledger_commit(context, subject, write, trailers=trailers(tier, revision, "verified")),),
    )


def _reject(context: Context, tier: Tier, revision: Revision, record: RejectionRecord) -> Iterator[AnyAction]:
    on_failure = tier.spec.promotion.on_failure
    reason = f"{record.reason}: {record.message}"
    target = last_good(context, tier) if on_failure == "Rollback" else None
    if target is not None:
        yield from roll_back(context, tier, target, record, SHOPSET)
        return
    writes = {rejection_path(tier.name, revision.id): record.dump()}
    if on_failure != "Continue":
        name = hold_name(context, tier, f"rejected-{revision.short}")
        writes |= {
            hold_path(tier.name, name): hold_record(context, tier, SHOPSET, f"{revision.short} was rejected, {reason}")
        }
    yield PushCommits(
        kind=ActionKind.REJECT,
        tier=tier.name,
        what=f"{tier.name} rejects {revision.short}",
        why=(reason, f"onFailure: {on_failure}"),
        at=context.now,
        commits=(
            ledger_commit(
                context,
                f"{tier.name} rejects {revision.short}: {record.reason}",
                writes,
                trailers=trailers(tier, revision, reason),
            ),
        ),
    )


def last_good(context: Context, tier: Tier) -> Revision | None:
    """Return the newest revision, other than the pin, that the tier verified, did not reject, and can render."""
    ledger, pinned = context.observed.ledger, context.pinned(tier)
    for pin in reversed(ledger.pins.get(tier.name, ())):
        good = ledger.is_verified(tier.name, pin.revision) and not ledger.is_rejected(tier.name, pin.revision)
        if good and pin.content != pinned and pin.renderer in context.renderers.versions:
            return pin.content
    return None


def roll_back(
    context: Context, tier: Tier, target: Revision, rejection: RejectionRecord, author: Identity, request: str = ""
) -> Iterator[PushCommits]:
    """Pin an earlier revision in a new commit, reject the bad one, and hold the tier, in one atomic push."""
    components = context.ask(ComponentsOf(target.apps))
    bad = context.pinned(tier)
    if components is None or bad is None:
        return
    delta = tier_delta(context, tier, target, components.names, context.residents[tier.name])
    reason = f"{bad.short} was rolled back, {rejection.message}"
    name = hold_name(context, tier, f"rollback-{bad.short}")
    writes = {
        **pin_write(context, tier, target, "Rollback", str(author), reason, request=request),
        hold_path(tier.name, name): hold_record(context, tier, author, reason),
    }
    if not context.observed.ledger.is_rejected(tier.name, bad.id):
        # A rejection that is there says what failed: the rollback's own reason stands in its pin and its hold.
        writes[rejection_path(tier.name, bad.id)] = rejection.dump()
    subject = f"{tier.name} goes back to {target.short}: {rejection.message}"
    informed = trailers(tier, target, reason)
    yield PushCommits(
        kind=ActionKind.ROLLBACK,
        tier=tier.name,
        what=f"{tier.name} goes back from {bad.short} to {target.short}, rejects {bad.short} and is held",
        why=(rejection.message, f"{tier.name} verified {target.short} before"),
        author=author,
        at=context.now,
        commits=(
            tier_commit(context, tier, delta, subject, informed),
            ledger_commit(context, subject, writes, trailers=informed),
        ),
    )

"""The commits that planning is made of: on the ledger, and on a tier's branch."""

from collections.abc import Mapping, Sequence

from shopset.api import Tier
from shopset.core.release._context import Context
from shopset.core.release.actions import (
    Commit,
    Identity,
)
from shopset.core.release.ledgers import BRANCH
from shopset.core.release.observed import Repository
from shopset.core.release.records import (
    HoldRecord,
    PinKind,
    PinRecord,
    pin_path,
)
from shopset.core.release.revisions import Revision
from shopset.core.release.trees import Delta


def ledger_commit(
    context: Context,
    subject: str,
    writes: Mapping[str, bytes],
    deletes: Sequence[str] = (),
    trailers: tuple[tuple[str, str], ...] = (),
) -> Commit:
    """Return a commit on the ledger, on top of the head that was seen."""
    parent = context.observed.repositories[Repository.SYSTEM].branches.get(BRANCH)
    return Commit(BRANCH, parent, subject, dict(writes), tuple(deletes), trailers=trailers)


def trailers(tier: Tier, revision: Revision, reason: str) -> tuple[tuple[str, str], ...]:
    """Return the trailers that inform whoever reads `git log`."""
    return (("Shopset-Tier", tier.name), ("Shopset-Revision", revision.id), ("Shopset-Reason", reason))


def tier_commit(
    context: Context, tier: Tier, delta: Delta, subject: str, informed: tuple[tuple[str, str], ...]
) -> Commit:
    """Return a commit on a tier's branch, on top of the head that was seen."""
    head = context.head(tier)
    return Commit(
        context.fleet.branch(tier.name),
        head.head if head else None,
        subject,
        delta.writes,
        delta.deletes,
        delta.gitlinks,
        informed,
    )


def pin_write(
    context: Context,
    tier: Tier,
    revision: Revision,
    kind: PinKind,
    by: str,
    reason: str,
    skipped: tuple[str, ...] = (),
    request: str = "",
) -> dict[str, bytes]:
    """Return the path and the content of the tier's next pin."""
    before = context.pinned(tier)
    record = PinRecord(
        revision=revision.id,
        apps=revision.apps,
        configuration=revision.configuration,
        renderer=revision.renderer,
        kind=kind,
        previous=before.id if before else None,
        skipped=skipped,
        at=context.now,
        by=by,
        reason=reason,
        request=request,
    )
    return {next_pin_path(context, tier): record.dump()}


def next_pin_path(context: Context, tier: Tier) -> str:
    """Return the path of the tier's next pin."""
    return pin_path(tier.name, len(context.observed.ledger.pins.get(tier.name, ())) + 1)


def hold_record(context: Context, tier: Tier, author: Identity, reason: str) -> bytes:
    """Return the content of a hold that begins now."""
    return HoldRecord(tier=tier.name, since=context.now, by=str(author), reason=reason).dump()


def hold_name(context: Context, tier: Tier, stem: str) -> str:
    """Return a name that no hold of the tier ever had: a lifted one stays in the ledger."""
    taken = context.observed.ledger.holds.get(tier.name, {})
    names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)

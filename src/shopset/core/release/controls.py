"""Approvals, Holds and Rollbacks as objects of Kubernetes: which requests they make that the ledger does not have yet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shopset.api import Approval, Rollback
from shopset.api import Hold as HoldResource
from shopset.core.fleets import Fleet
from shopset.core.release.actions import SHOPSET, Identity
from shopset.core.release.ledgers import Ledger
from shopset.core.release.requests import Adopt, Approve, Hold, Request, Resume, RollBack

Control = Approval | HoldResource | Rollback


@dataclass(frozen=True)
class Wanted:
    """A request, who makes it, and the object that it comes from (None where it was deleted)."""

    request: Request
    author: Identity
    control: Control | None


def wanted(fleet: Fleet, ledger: Ledger, controls: Iterable[Control]) -> Iterator[Wanted]:
    """Yield what the objects ask for and the ledger does not say yet; and the end of holds whose object is gone."""
    controls = tuple(controls)
    for control in controls:
        if not is_recorded(ledger, control):
            yield Wanted(_request(control), Identity.parse(control.spec.by), control)
    there = {control.metadata.uid for control in controls}
    for tier in fleet.tiers:
        for name, hold in ledger.active_holds(tier.name).items():
            if hold.request and hold.request not in there:
                reason = f"the Hold of {Identity.parse(hold.by).name} was deleted"
                yield Wanted(Resume(tier=tier.name, reason=reason, name=name), SHOPSET, None)


def is_recorded(ledger: Ledger, control: Control) -> bool:
    """Whether the ledger has what an object asks for. A Hold that was lifted by hand counts: it is not placed again."""
    tier, uid = control.spec.tier, control.metadata.uid
    match control:
        case Approval():
            by, revision = str(Identity.parse(control.spec.by)), control.spec.revision
            return any(
                found.by == by and found.adopt == control.spec.adopt
                for key, records in ledger.approvals.get(tier, {}).items()
                for found in records
                if key.startswith(revision)
            )
        case HoldResource():
            return any(found.request == uid for found in ledger.holds.get(tier, {}).values())
        case Rollback():
            return any(found.request == uid for found in ledger.pins.get(tier, ()))


def _request(control: Control) -> Request:
    tier, reason, uid = control.spec.tier, control.spec.reason, control.metadata.uid or ""
    match control:
        case Approval(spec=spec) if spec.adopt:
            return Adopt(tier=tier, reason=reason)
        case Approval(spec=spec):
            return Approve(tier=tier, revision=spec.revision, reason=reason, bake=spec.bake, expedite=spec.expedite)
        case HoldResource():
            return Hold(tier=tier, reason=reason, name=control.name, request=uid)
        case Rollback(spec=spec):
            return RollBack(tier=tier, reason=reason, to=spec.revision, request=uid)

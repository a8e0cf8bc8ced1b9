"""Sign-off: whether a tier verified what is pinned to it, failed it for good, or is still at it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shopset.api import Duration, Gate, Tier, format_duration
from shopset.core.release._context import Context
from shopset.core.release.actions import SHOPSET
from shopset.core.release.calendars import Interval, active_time, frozen_between
from shopset.core.release.candidates import approvals_for
from shopset.core.release.observed import (
    GateOver,
    GateReading,
    ImagesAt,
    ObservedApplication,
    ObservedTier,
    RunningImages,
)
from shopset.core.release.plans import Phase, Progress
from shopset.core.release.records import (
    Absence,
    GateEvidence,
    PinRecord,
    RejectionReason,
    RejectionRecord,
    ShopSetEvidence,
    VerificationRecord,
)
from shopset.core.release.running import IMAGE_IDS, compare


@dataclass(frozen=True)
class Verdict:
    """Where a tier stands with its pin; and the record that is to be written, once it is decided."""

    progress: Progress
    record: VerificationRecord | RejectionRecord | None = None


@dataclass(frozen=True)
class _Failure:
    since: datetime
    reason: RejectionReason
    message: str


@dataclass(frozen=True)
class _Attempt:
    """One pin whose verification is under way."""

    tier: Tier
    head: ObservedTier
    pin: PinRecord
    sequence: int


def judge(context: Context, tier: Tier) -> Verdict:
    """Judge the pin of a tier by what was observed."""
    head, ledger = context.head(tier), context.observed.ledger
    if head is None:
        return Verdict(Progress(Phase.UNPINNED, "nothing is pinned yet"))
    pin = ledger.pinned(tier.name)
    if head.revision is None or pin is None or pin.revision != head.revision.id:
        return Verdict(Progress(Phase.BLOCKED, "what is pinned is not what the ledger says"))
    if ledger.is_rejected(tier.name, pin.revision):
        rejection = ledger.rejected[tier.name][pin.revision]
        return Verdict(Progress(Phase.REJECTED, f"{rejection.reason}: {rejection.message}", rejection.at))
    if ledger.is_verified(tier.name, pin.revision):
        return Verdict(Progress(Phase.VERIFIED, "verified", ledger.verified[tier.name][pin.revision].at))
    return _Judge(context, _Attempt(tier, head, pin, len(ledger.pins[tier.name]))).verdict()


class _Judge:
    def __init__(self, context: Context, attempt: _Attempt) -> None:
        self.context = context
        self.attempt = attempt
        self.tier = attempt.tier
        self.promotion = attempt.tier.spec.promotion
        self.absent = {absence.name: absence for absence in self._absences()}
        self.quorum = [name for name in self._members() if name not in self.absent]

    def verdict(self) -> Verdict:
        if not self.context.residents[self.tier.name]:
            return self._empty()
        unrepresented = self._unrepresented()
        if unrepresented:
            return Verdict(Progress(Phase.BLOCKED, unrepresented))
        failure = self._failure()
        if failure is not None and self.context.now >= failure.since + self.promotion.failure_grace:
            return self._rejected(failure)
        waiting = [reason for name in self.quorum if (reason := self._waits_for(name))]
        if failure is not None or waiting:
            return self._syncing(failure, waiting)
        return self._baking(max(self._healthy_since(name) for name in self.quorum))

    # -- who counts

    def _members(self) -> list[str]:
        return [name for name in self.context.residents[self.tier.name] if name in self.attempt.head.overlays]

    def _absences(self) -> Iterator[Absence]:
        clusters = self.context.observed.ledger.clusters
        for name in self._members():
            cluster = self._cluster(name)
            # While a cluster is only being emptied, its ShopSets run as the others do.
            if cluster in clusters and clusters[cluster].state != "Draining":
                record = clusters[cluster]
                yield Absence(
                    name=name, cluster=cluster, reason=f"cluster {cluster} is {record.state}: {record.reason}"
                )

    def _unrepresented(self) -> str:
        """Say which Configuration has nobody left to verify, or nothing."""
        if not self._members():
            return f"the ShopSets of {self.tier.name} are not rendered yet"
        shopsets = self.context.fleet.shopsets
        present = {shopsets[name].spec.configuration for name in self.quorum}
        missing = sorted({shopsets[name].spec.configuration for name in self.absent} - present)
        return (
            f"no ShopSet of configuration {missing[0]} is left to verify: {next(iter(self.absent.values())).reason}"
            if missing
            else ""
        )

    def _cluster(self, name: str) -> str:
        return self.context.fleet.shopsets[name].spec.cluster

    # -- what each ShopSet shows

    def _application(self, name: str) -> ObservedApplication | None:
        return self.context.observed.applications.get(name)

    def _at_pin(self, name: str) -> bool:
        found = self._application(name)
        return found is not None and found.is_at(self.attempt.head)

    def _runs_pin(self, name: str) -> bool:
        found = self._application(name)
        synced = found is not None and found.sync == "Synced" and not found.operating
        return synced and not self._is_going(name) and self._at_pin(name)

    def _is_going(self, name: str) -> bool:
        """Whether what is seen is to go: then it runs nothing of which one could say that it will stay."""
        found = self._application(name)
        return found is not None and (found.deleting or found.cluster != self._cluster(name))

    def _waits_for(self, name: str) -> str:
        """Say what a ShopSet is waited for, or nothing."""
        found = self._application(name)
        if found is None:
            trouble = self.context.observed.deliveries.get(self._cluster(name))
            return f"{name} is not seen: {trouble.message}" if trouble else f"{name} has no Application yet"
        if self._is_going(name):
            return f"the Application of {name} on cluster {found.cluster} is to go"
        if not self._runs_pin(name):
            return f"{name} is {'syncing' if found.operating else found.sync} and not at the pin yet"
        if found.sync_error:
            return f"{name} is to be synced once more: {found.sync_error}"
        return "" if found.health == "Healthy" else f"{name} is {found.health}: {found.message}".rstrip(": ")

    def _healthy_since(self, name: str) -> datetime:
        found = self._application(name)
        assert found is not None  # noqa: S101  # nobody waits for it, so it was seen
        moments = (self.attempt.pin.at, found.synced_at, found.health_since)
        return max(moment for moment in moments if moment is not None)

    def _failure(self) -> _Failure | None:
        """The failure that has lasted longest, whether or not its grace is over."""
        found = [failure for name in self.quorum if (failure := self._failure_of(name))]
        return min(found, key=lambda failure: (failure.since, failure.message), default=None)

    def _failure_of(self, name: str) -> _Failure | None:
        found = self._application(name)
        if found is None or self._is_going(name):
            return None
        moments = [moment for moment in (found.health_since, found.synced_at) if moment is not None]
        since = max([self.attempt.pin.at, *moments])
        if found.sync_error and not found.inconclusive and not found.operating and self._at_pin(name):
            return _Failure(since, "SyncFailed", f"{name} could not be synced: {found.sync_error}")
        if found.health == "Degraded" and self._runs_pin(name):
            return _Failure(since, "Degraded", f"{name} is Degraded: {found.message}".rstrip(": "))
        return None

    # -- the four outcomes

    def _empty(self) -> Verdict:
        if self.promotion.when_empty != "PassThrough":
            detail = f"{self.tier.name} has no ShopSet, so it verifies nothing: add one, or set promotion.whenEmpty: PassThrough"
            return Verdict(Progress(Phase.BLOCKED, detail))
        return self._verified(self.attempt.pin.at, (), note="the tier has no ShopSet and passes revisions through")

    def _syncing(self, failure: _Failure | None, waiting: Sequence[str]) -> Verdict:
        elapsed = self._active(self.attempt.pin.at, self.context.now)
        if elapsed >= self.promotion.deadline:
            since = self.attempt.pin.at
            message = (
                f"not Synced and Healthy within {format_duration(self.promotion.deadline)}: {'; '.join(waiting[:3])}"
            )
            return self._rejected(_Failure(since, "DeadlineExceeded", message))
        until = self.context.wake(self.context.now + (self.promotion.deadline - elapsed))
        detail = f"{len(self.quorum) - len(waiting)} of {len(self.quorum)} ready; {waiting[0]}" if waiting else ""
        if failure is not None:
            until = self.context.wake(failure.since + self.promotion.failure_grace)
            detail = failure.message
        return Verdict(Progress(Phase.SYNCING, detail, self.attempt.pin.at, until))

    def _baking(self, healthy_since: datetime) -> Verdict:
        bake = self._bake()
        readings = {gate.name: self._read(gate, healthy_since) for gate in self.promotion.gates}
        running = self._running_images(healthy_since, healthy_since + bake)
        if running is not None:
            readings[IMAGE_IDS] = self._compared(*running)
        gates = tuple(
            GateEvidence(name=name, result=found.result, evidence=found.evidence) for name, found in readings.items()
        )
        failed = next((gate for gate in gates if gate.result == "Fail"), None)
        if failed is not None:
            return self._rejected(_Failure(self.context.now, "GateFailed", f"gate {failed.name}: {failed.evidence}"))
        until = self.context.wake(healthy_since + bake)
        unknown = [gate for gate in gates if gate.result == "Unknown" and self.promotion.no_data != "Pass"]
        if unknown:
            return self._unknown(unknown[0], readings[unknown[0].name].since, healthy_since, until)
        if self.context.now < healthy_since + bake:
            return Verdict(Progress(Phase.BAKING, f"baking {format_duration(bake)}", healthy_since, until))
        return self._verified(healthy_since, gates, running[1].ids if running else {})

    def _unknown(
        self, gate: GateEvidence, unknown_since: datetime | None, healthy_since: datetime, until: datetime
    ) -> Verdict:
        since = max(healthy_since, unknown_since or healthy_since)
        elapsed = self._active(self.attempt.pin.at, healthy_since) + self._active(since, self.context.now)
        message = f"gate {gate.name} is unknown: {gate.evidence}"
        if self.promotion.no_data == "Fail" and self.context.now >= until:
            return self._rejected(_Failure(since, "GateFailed", message))
        if elapsed >= self.promotion.deadline:
            return self._rejected(_Failure(since, "DeadlineExceeded", message))
        end = self.context.wake(self.context.now + (self.promotion.deadline - elapsed))
        return Verdict(Progress(Phase.BAKING, message, healthy_since, max(until, end)))

    # -- helpers

    def _bake(self) -> Duration:
        given = approvals_for(self.context, self.tier, self.attempt.pin.content)
        overrides = [approval.bake for approval in given if approval.bake is not None]
        return overrides[-1] if overrides else self.promotion.bake

    def _read(self, gate: Gate, start: datetime) -> GateReading:
        question = GateOver(self.tier.name, gate.name, start, max(start, self.context.now))
        return self.context.ask(question) or GateReading("Unknown", "it is being read")

    def _running_images(self, start: datetime, end: datetime) -> tuple[ImagesAt, RunningImages] | None:
        """What runs in the Pods, as seen once at the start of the bake and once at its end; None where nobody wants it."""
        if self.context.fleet.platform.spec.images.evidence != "Ids":
            return None
        question = ImagesAt(tuple(self.quorum), start if self.context.now < end else end)
        return question, self.context.ask(question) or RunningImages(problem="Pods are being looked into")

    def _compared(self, question: ImagesAt, found: RunningImages) -> GateReading:
        tiers = [tier.name for tier in self.context.fleet.tiers]
        below = tiers[: tiers.index(self.tier.name)][::-1]
        return compare(self.context.observed.ledger, below, self.attempt.pin.revision, question, found)

    def _active(self, start: datetime, end: datetime) -> timedelta:
        return active_time(start, end, [*frozen_between(self.promotion.freeze, start, end), *self._holds(end)])

    def _holds(self, end: datetime) -> Iterator[Interval]:
        for name, hold in self.context.observed.ledger.holds.get(self.tier.name, {}).items():
            yield Interval(hold.since, hold.lifted.at if hold.lifted else end, name)

    def _rejected(self, failure: _Failure) -> Verdict:
        record = RejectionRecord(
            revision=self.attempt.pin.revision,
            pin=self.attempt.sequence,
            at=self.context.now,
            by=str(SHOPSET),
            reason=failure.reason,
            message=failure.message,
        )
        return Verdict(Progress(Phase.REJECTED, f"{failure.reason}: {failure.message}", failure.since), record)

    def _verified(
        self,
        healthy_since: datetime,
        gates: tuple[GateEvidence, ...],
        image_ids: Mapping[str, tuple[str, ...]] | None = None,
        note: str = "",
    ) -> Verdict:
        record = VerificationRecord(
            revision=self.attempt.pin.revision,
            pin=self.attempt.sequence,
            at=self.context.now,
            by=str(SHOPSET),
            healthy_since=healthy_since,
            bake=max(self.context.now - healthy_since.replace(microsecond=0), timedelta(0)),
            shopsets=tuple(self._evidence(name) for name in self.quorum),
            absent=tuple(self.absent[name] for name in sorted(self.absent)),
            gates=gates,
            images=tuple(sorted({image for name in self.quorum for image in self._images(name)})),
            image_ids=image_ids or {},
            note=note,
        )
        return Verdict(Progress(Phase.VERIFIED, "verified", self.context.now), record)

    def _images(self, name: str) -> tuple[str, ...]:
        found = self._application(name)
        return found.images if found else ()

    def _evidence(self, name: str) -> ShopSetEvidence:
        found = self._application(name)
        assert found is not None  # noqa: S101  # nobody waits for it, so it was seen
        return ShopSetEvidence(
            name=name,
            cluster=found.cluster,
            commit=found.commit or self.attempt.head.head,
            synced_at=found.synced_at or self.attempt.pin.at,
            healthy_since=self._healthy_since(name),
        )

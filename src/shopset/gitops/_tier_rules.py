"""What a push may do to a tier's branch: it holds what the ledger pinned to it, came by the tier below, and holds nothing else."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from shopset.core.release.ledgers import Ledger
from shopset.core.release.records import PinRecord
from shopset.core.release.revisions import REVISION_PATH, SHORT, MalformedRevisionError, Revision
from shopset.gitops._pushed import GITLINK, NOTHING, PLAIN_FILE, Entry, PushedObjects, Update, Violation, first_of

TIER_BRANCH: Final = "refs/heads/tier-"
_SHOPSET: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_FILE: Final = re.compile(
    rf"\.gitmodules|revision\.yaml|overlays/{_SHOPSET}/kustomization\.yaml|applications/{_SHOPSET}\.yaml"
)
_LINKS: Final = frozenset({"base", "configuration"})


@dataclass(frozen=True)
class TierPush:
    """A push to a tier's branch, with the ledger as it will be after it."""

    objects: PushedObjects
    update: Update
    ledger: Ledger

    def violations(self) -> Iterator[Violation]:
        """Yield what is wrong with it. Raises HookError."""
        entries = self.objects.entries(self.update.new)
        yield from self._check_paths(entries)
        try:
            revision = self._revision(self.update.new)
        except MalformedRevisionError as error:
            yield self._violation("WellFormed", str(error), "write revision.yaml as docs/formats.md says")
            return
        yield from self._check_links(entries, revision)
        levels = self.ledger.levels
        tier = next((name for name in levels if self.update.ref == f"{TIER_BRANCH}{levels[name]}"), None)
        if tier is None:
            advice = "record the tiers in the ledger first: shopctl apply does"
            yield self._violation("KnownTier", "the ledger knows no tier of this level", advice)
        elif self._changes(revision):
            yield from self._check_entry(tier, revision)

    def _violation(self, rule: str, message: str, advice: str) -> Violation:
        return Violation(self.update.ref, rule, message, advice)

    def _revision(self, commit: str) -> Revision:
        content = self.objects.contents(self.objects.entries(commit, REVISION_PATH)).get(REVISION_PATH)
        if content is None:
            message = f"{commit[:SHORT]} has no revision.yaml"
            raise MalformedRevisionError(message)
        return Revision.parse(content)

    def _changes(self, revision: Revision) -> bool:
        if self.update.old == NOTHING:
            return True
        try:
            return self._revision(self.update.old) != revision
        except MalformedRevisionError:
            return True

    # -- the tree

    def _check_paths(self, entries: Mapping[str, Entry]) -> Iterator[Violation]:
        odd = first_of(path for path, entry in entries.items() if not _has_a_place(path, entry.mode))
        if odd:
            advice = "keep it in apps or configuration: kustomize and Argo CD read all that is here"
            yield self._violation("KnownPaths", f"{odd} has no place on a tier's branch", advice)

    def _check_links(self, entries: Mapping[str, Entry], revision: Revision) -> Iterator[Violation]:
        links = {path: entry.id for path, entry in entries.items() if entry.mode == GITLINK}
        if links != {"base": revision.apps, "configuration": revision.configuration}:
            message = "base and configuration are not the commits of revision.yaml"
            yield self._violation("SameCommits", message, "set both to them")

    # -- the order

    def _check_entry(self, tier: str, revision: Revision) -> Iterator[Violation]:
        pin = self.ledger.pinned(tier)
        if pin is None or pin.revision != revision.id:
            message = f"the ledger's newest pin of {tier} is not {revision.short}"
            advice = f"push pins/{tier}/… on the ledger in the same atomic push: shopctl plan --commands shows how"
            yield self._violation("Recorded", message, advice)
        elif pin.kind == "Rollback":
            yield from self._check_rollback(tier, revision)
        else:
            yield from self._check_climb(tier, revision, pin)

    def _check_rollback(self, tier: str, revision: Revision) -> Iterator[Violation]:
        if not self.ledger.is_verified(tier, revision.id):
            message = f"{tier} never verified {revision.short}"
            yield self._violation("VerifiedBefore", message, "go back to what it verified")

    def _check_climb(self, tier: str, revision: Revision, pin: PinRecord) -> Iterator[Violation]:
        ledger = self.ledger
        if ledger.is_rejected(tier, revision.id):
            advice = f"shopctl release retry {tier} {revision.short}"
            yield self._violation("NotRejected", f"{tier} rejected {revision.short}", advice)
        for name in sorted(ledger.active_holds(tier)):
            yield self._violation("NotHeld", f"{tier} is held ({name})", f"shopctl release resume {tier}")
        lower = _below(ledger, tier)
        if lower is None or self._is_adopted(tier, pin):
            return
        if not ledger.is_verified(lower, revision.id) or ledger.is_rejected(lower, revision.id):
            advice = f"it must climb: shopctl release explain {revision.short} --tier {lower}"
            yield self._violation("VerifiedBelow", f"{lower} has not verified {revision.short}", advice)

    def _is_adopted(self, tier: str, pin: PinRecord) -> bool:
        approvals = self.ledger.approvals.get(tier, {}).get(pin.revision, ())
        return len(self.ledger.pins[tier]) == 1 and any(approval.adopt for approval in approvals)


def _has_a_place(path: str, mode: str) -> bool:
    return mode == GITLINK if path in _LINKS else mode == PLAIN_FILE and _FILE.fullmatch(path) is not None


def _below(ledger: Ledger, tier: str) -> str | None:
    lower = [(level, name) for name, level in ledger.levels.items() if level < ledger.levels[tier]]
    return max(lower)[1] if lower else None

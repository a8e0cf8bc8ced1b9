"""What a push may do to the ledger: records are added and never changed, and each has the form of docs/formats.md."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from shopset.core.release.ledgers import Ledger, read_ledger
from shopset.core.release.records import pin_path
from shopset.core.release.revisions import SHORT
from shopset.gitops._pushed import PLAIN_FILE, Entry, PushedObjects, Violation

_KEPT: Final = ("pins/", "verified/", "approvals/")
Runs = Callable[[str, str], bool]
"""Tells whether a tier's branch held a revision before the push."""


@dataclass(frozen=True)
class LedgerPush:
    """The ledger before a push (only the files that it changes) and after it."""

    ref: str
    changed: frozenset[str]
    before: Mapping[str, Entry]
    after: Mapping[str, Entry]
    earlier: Ledger
    """What the changed files said."""
    ledger: Ledger
    """The whole ledger as it will be."""

    @classmethod
    def between(cls, ref: str, objects: PushedObjects, old: str | None, new: str | None) -> "LedgerPush":
        """Read what a push changes. Raises HookError."""
        before, after = objects.entries(old), objects.entries(new)
        changed = frozenset(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        replaced = {path: before[path] for path in sorted(changed & before.keys())}
        earlier, ledger = (read_ledger(objects.contents(entries)) for entries in (replaced, after))
        return cls(ref, changed, replaced, after, earlier, ledger)

    @cached_property
    def repairable(self) -> frozenset[str]:
        """The changed files that said nothing, because they were malformed: only those may be mended."""
        odd = {path for path, entry in self.before.items() if entry.mode != PLAIN_FILE or not _is_canonical(path)}
        return frozenset(odd | {error.path for error in self.earlier.malformed})

    def touches(self, path: str) -> bool:
        """Tell whether the push changes a file, or a file of a folder."""
        return path in self.changed or any(each.startswith(f"{path}/") for each in self.changed)


def check_ledger(push: LedgerPush, runs: Runs) -> Iterator[Violation]:
    """Yield what is wrong with a push to the ledger. Raises HookError."""
    yield from _check_forms(push)
    yield from _check_kept(push)
    yield from _check_holds(push)
    yield from _check_outcomes(push, runs)


def _check_forms(push: LedgerPush) -> Iterator[Violation]:
    advice = "write the file as docs/formats.md says"
    for error in push.ledger.malformed:
        # What was malformed before is for another push to mend: it must not stop this one.
        if push.touches(error.path):
            yield Violation(push.ref, "WellFormed", str(error), advice)
    for path in sorted(push.changed & push.after.keys()):
        if push.after[path].mode != PLAIN_FILE:
            yield Violation(push.ref, "WellFormed", f"{path} is no plain file", advice)
        elif not _is_canonical(path):
            yield Violation(push.ref, "WellFormed", f"{path} is not how a record of the ledger is named", advice)


def _is_canonical(path: str) -> bool:
    # Two names of one record would let the later one hide the earlier: 1.yaml and 000001.yaml are the same pin.
    match path.split("/"):
        case ["pins", tier, name] if (sequence := name.removesuffix(".yaml")).isdecimal():
            return path == pin_path(tier, int(sequence))
    return path.endswith(".yaml")


def _check_kept(push: LedgerPush) -> Iterator[Violation]:
    for path in sorted(push.before.keys() - push.repairable):
        if path.startswith(_KEPT):
            what = "changed" if path in push.after else "removed"
            advice = "add a file instead: what was recorded stays"
            yield Violation(push.ref, "AppendOnly", f"{path} was {what}", advice)


def _check_holds(push: LedgerPush) -> Iterator[Violation]:
    for tier, holds in push.earlier.holds.items():
        for name, hold in holds.items():
            after = push.ledger.holds.get(tier, {}).get(name)
            lifted = after is not None and hold.lifted is None and after.model_copy(update={"lifted": None}) == hold
            if after != hold and not lifted:
                message = f"the hold {name} of {tier} was changed"
                yield Violation(push.ref, "AppendOnly", message, "only `lifted` may be added to a hold")


def _check_outcomes(push: LedgerPush, runs: Runs) -> Iterator[Violation]:
    for path in sorted(push.changed & push.after.keys()):
        match path.removesuffix(".yaml").split("/"):
            case ["verified", tier, revision] if revision in push.ledger.verified.get(tier, {}):
                yield from _check_verified(push, tier, revision, runs)
            case ["rejected", tier, revision] if revision in push.ledger.rejected.get(tier, {}):
                if all(pin.revision != revision for pin in push.ledger.pins.get(tier, ())):
                    message = f"{tier} rejects {revision[:SHORT]}, which was never pinned to it"
                    yield Violation(push.ref, "PinnedFirst", message, "pin it first")


def _check_verified(push: LedgerPush, tier: str, revision: str, runs: Runs) -> Iterator[Violation]:
    sequence = push.ledger.verified[tier][revision].pin
    if not _is_pin(push.ledger, tier, revision, sequence):
        message = f"{tier} verifies {revision[:SHORT]} as its pin {sequence}, which it is not"
        yield Violation(push.ref, "PinnedFirst", message, "pin it first, and name that pin")
    elif not runs(tier, revision):
        # Else a pin and a verification made up beside the branch would let anything in as a rollback.
        message = f"{tier} verifies {revision[:SHORT]}, which its branch does not hold"
        yield Violation(push.ref, "RunsThere", message, "push it to the tier's branch first")


def _is_pin(ledger: Ledger, tier: str, revision: str, sequence: int) -> bool:
    pins = ledger.pins.get(tier, ())
    return 1 <= sequence <= len(pins) and pins[sequence - 1].revision == revision

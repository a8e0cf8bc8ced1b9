"""The server-side check of shopset-system: what no push may do, whoever pushes. Runs in a pre-receive hook.

It sees the pushed objects through the hook's own git environment (a quarantine), so it asks git and no library.
"""

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shopset.core.errors import ShopsetError
from shopset.core.release.ledgers import BRANCH, Ledger, read_ledger
from shopset.core.release.revisions import SHORT, MalformedRevisionError, Revision

_NOTHING: Final = "0" * 40
_TIER: Final = "refs/heads/tier-"
_LEDGER: Final = f"refs/heads/{BRANCH}"
_PLACEMENT: Final = "refs/heads/placement"
_KEPT: Final = ("pins/", "verified/", "approvals/")
_ROOT: Final = frozenset({".gitmodules", "base", "configuration", "revision.yaml", "overlays", "applications"})


@dataclass(frozen=True)
class Update:
    """One line that a pre-receive hook gets."""

    old: str
    new: str
    ref: str


@dataclass(frozen=True)
class Violation:
    """Why a push is refused."""

    ref: str
    rule: str
    message: str
    advice: str


class HookError(ShopsetError):
    """git failed inside the hook."""


def read_updates(text: str) -> list[Update]:
    """Read the hook's standard input: `<old> <new> <ref>` lines. Raises HookError."""
    updates = []
    for line in text.splitlines():
        parts = line.split(" ")
        if len(parts) != 3:
            raise HookError(f"{line!r} is not '<old> <new> <ref>': this runs as a pre-receive hook of shopset-system")
        updates.append(Update(*parts))
    return updates


def check_push(repository: Path, updates: Iterable[Update], environment: Mapping[str, str]) -> list[Violation]:
    """Return what is wrong with a push. Raises HookError where the repository can't be read."""
    return list(_Check(_Objects(repository, environment), list(updates)).violations())


class _Objects:
    def __init__(self, repository: Path, environment: Mapping[str, str]) -> None:
        self._repository = repository
        self._environment = dict(environment)

    def git(self, *arguments: str, accept: Sequence[int] = (0,)) -> tuple[int, bytes]:
        command = ["git", "-C", str(self._repository), *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, check=False)
        if done.returncode not in accept:
            raise HookError(f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
        return done.returncode, done.stdout

    def resolve(self, ref: str) -> str | None:
        code, output = self.git("rev-parse", "--verify", "--quiet", ref, accept=(0, 1))
        return output.decode().strip() if code == 0 else None

    def is_ancestor(self, old: str, new: str) -> bool:
        return self.git("merge-base", "--is-ancestor", old, new, accept=(0, 1))[0] == 0

    def entries(self, commit: str, *, deep: bool) -> dict[str, tuple[str, str]]:
        """Return path -> (mode, id)."""
        _, output = self.git("ls-tree", "-z", *(["-r"] if deep else []), commit)
        lines = (line.split("\t", 1) for line in output.decode(errors="surrogateescape").split("\0") if line)
        return {path: (meta.split(" ")[0], meta.split(" ")[2]) for meta, path in lines}

    def files(self, commit: str | None) -> dict[str, bytes]:
        if commit is None:
            return {}
        blobs = {path: blob for path, (_, blob) in self.entries(commit, deep=True).items()}
        stream = "".join(f"{blob}\n" for blob in blobs.values()).encode()
        command = ["git", "-C", str(self._repository), "cat-file", "--batch"]
        done = subprocess.run(command, input=stream, env=self._environment, capture_output=True, check=True)
        return dict(zip(blobs, _batch(done.stdout), strict=True))


def _batch(output: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(output):
        end = output.index(b"\n", position)
        size = int(output[position:end].split(b" ")[2])
        yield output[end + 1 : end + 1 + size]
        position = end + size + 2


class _Check:
    def __init__(self, objects: _Objects, updates: list[Update]) -> None:
        self._objects = objects
        self._updates = updates
        self._before = objects.files(objects.resolve(_LEDGER))
        pushed = next((update for update in updates if update.ref == _LEDGER), None)
        self._after = self._before if pushed is None or pushed.new == _NOTHING else objects.files(pushed.new)
        self._ledger = read_ledger(self._after)

    def violations(self) -> Iterator[Violation]:
        for update in self._updates:
            if not update.ref.startswith((_TIER, _LEDGER, _PLACEMENT)):
                continue
            moved = list(self._moves(update))
            yield from moved
            if moved:
                continue
            if update.ref == _LEDGER:
                yield from self._check_ledger(update)
            elif update.ref.startswith(_TIER):
                yield from self._check_tier(update)

    def _moves(self, update: Update) -> Iterator[Violation]:
        if update.new == _NOTHING:
            yield Violation(update.ref, "NotDeleted", "it can't be deleted", "nothing that was released may be lost")
        elif update.old != _NOTHING and not self._objects.is_ancestor(update.old, update.new):
            yield Violation(
                update.ref,
                "FastForward",
                "the push is no fast-forward",
                "fetch, and make the change on top of what is there",
            )

    # -- the ledger

    def _check_ledger(self, update: Update) -> Iterator[Violation]:
        for error in self._ledger.malformed:
            yield Violation(update.ref, "WellFormed", str(error), "write the file as docs/formats.md says")
        for path in sorted(self._before):
            if path.startswith(_KEPT) and self._after.get(path) != self._before[path]:
                what = "changed" if path in self._after else "removed"
                yield Violation(
                    update.ref, "AppendOnly", f"{path} was {what}", "add a file instead: what was recorded stays"
                )
        yield from self._check_holds(update)
        for tier, verified in self._ledger.verified.items():
            pinned = {pin.revision for pin in self._ledger.pins.get(tier, ())}
            for revision in sorted(set(verified) - pinned):
                yield Violation(
                    update.ref,
                    "PinnedFirst",
                    f"{tier} verifies {revision[:SHORT]}, which was never pinned to it",
                    "pin it first",
                )
        for tier, rejected in self._ledger.rejected.items():
            new = set(rejected) - set(read_ledger(self._before).rejected.get(tier, {}))
            for revision in sorted(new - {pin.revision for pin in self._ledger.pins.get(tier, ())}):
                yield Violation(
                    update.ref,
                    "PinnedFirst",
                    f"{tier} rejects {revision[:SHORT]}, which was never pinned to it",
                    "pin it first",
                )

    def _check_holds(self, update: Update) -> Iterator[Violation]:
        before = read_ledger(self._before).holds
        for tier, holds in before.items():
            for name, hold in holds.items():
                after = self._ledger.holds.get(tier, {}).get(name)
                lifted = after is not None and hold.lifted is None and after.model_copy(update={"lifted": None}) == hold
                if after != hold and not lifted:
                    yield Violation(
                        update.ref,
                        "AppendOnly",
                        f"the hold {name} of {tier} was changed",
                        "only `lifted` may be added to a hold",
                    )

    # -- tiers

    def _check_tier(self, update: Update) -> Iterator[Violation]:
        entries = self._objects.entries(update.new, deep=False)
        for path in sorted(set(entries) - _ROOT):
            yield Violation(
                update.ref, "KnownPaths", f"{path} has no place on a tier's branch", "keep it in apps or configuration"
            )
        try:
            revision = self._revision(update.new, entries)
        except MalformedRevisionError as error:
            yield Violation(update.ref, "WellFormed", str(error), "write revision.yaml as docs/formats.md says")
            return
        links = {path: target for path, (mode, target) in entries.items() if mode == "160000"}
        if links != {"base": revision.apps, "configuration": revision.configuration}:
            yield Violation(
                update.ref,
                "SameCommits",
                "base and configuration are not the commits of revision.yaml",
                "set both to them",
            )
        tier = self._tier(update.ref)
        if tier is None:
            advice = "record the tiers in the ledger first: shopctl apply does"
            yield Violation(update.ref, "KnownTier", "the ledger knows no tier of this level", advice)
        elif update.old == _NOTHING or self._changes(update, revision):
            yield from self._check_entry(update.ref, tier, revision)

    def _revision(self, commit: str, entries: Mapping[str, tuple[str, str]]) -> Revision:
        if "revision.yaml" not in entries:
            message = f"{commit[:SHORT]} has no revision.yaml"
            raise MalformedRevisionError(message)
        return Revision.parse(self._objects.git("cat-file", "blob", entries["revision.yaml"][1])[1])

    def _changes(self, update: Update, revision: Revision) -> bool:
        entries = self._objects.entries(update.old, deep=False)
        try:
            return self._revision(update.old, entries) != revision
        except MalformedRevisionError:
            return True

    def _tier(self, ref: str) -> str | None:
        levels = self._ledger.levels
        return next((tier for tier, level in levels.items() if ref == f"{_TIER}{level}"), None)

    def _check_entry(self, ref: str, tier: str, revision: Revision) -> Iterator[Violation]:
        ledger, pin = self._ledger, self._ledger.pinned(tier)
        if pin is None or pin.revision != revision.id:
            advice = f"push pins/{tier}/… on the ledger in the same atomic push: shopctl plan --commands shows how"
            yield Violation(ref, "Recorded", f"the ledger's newest pin of {tier} is not {revision.short}", advice)
            return
        if pin.kind == "Rollback":
            if not ledger.is_verified(tier, revision.id):
                yield Violation(
                    ref, "VerifiedBefore", f"{tier} never verified {revision.short}", "go back to what it verified"
                )
            return
        if ledger.is_rejected(tier, revision.id):
            yield Violation(
                ref,
                "NotRejected",
                f"{tier} rejected {revision.short}",
                f"shopctl release retry {tier} {revision.short}",
            )
        for name in sorted(ledger.active_holds(tier)):
            yield Violation(ref, "NotHeld", f"{tier} is held ({name})", f"shopctl release resume {tier}")
        lower = _below(ledger, tier)
        adopted = len(ledger.pins[tier]) == 1 and any(
            approval.adopt for approval in ledger.approvals.get(tier, {}).get(revision.id, ())
        )
        if (
            lower is not None
            and not adopted
            and (not ledger.is_verified(lower, revision.id) or ledger.is_rejected(lower, revision.id))
        ):
            advice = f"it must climb: shopctl release explain {revision.short} --tier {lower}"
            yield Violation(ref, "VerifiedBelow", f"{lower} has not verified {revision.short}", advice)


def _below(ledger: Ledger, tier: str) -> str | None:
    lower = [(level, name) for name, level in ledger.levels.items() if level < ledger.levels[tier]]
    return max(lower)[1] if lower else None

"""The server-side check of shopset-system: what no push may do, whoever pushes. Runs in a pre-receive hook."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from shopset.core.placement.formats import BRANCH as PLACEMENT
from shopset.core.release.ledgers import BRANCH
from shopset.core.release.revisions import REVISION_PATH
from shopset.gitops._ledger_rules import LedgerPush, check_ledger
from shopset.gitops._placement_rules import check_placement
from shopset.gitops._pushed import NOTHING, HookError, PushedObjects, Update, Violation
from shopset.gitops._tier_rules import TIER_BRANCH, TierPush

__all__ = ["HookError", "Update", "Violation", "check_push", "read_updates"]

_LEDGER: Final = f"refs/heads/{BRANCH}"
_PLACEMENT: Final = f"refs/heads/{PLACEMENT}"


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
    watched = [each for each in updates if each.ref in (_LEDGER, _PLACEMENT) or each.ref.startswith(TIER_BRANCH)]
    return list(_violations(PushedObjects(repository, environment), watched))


def _violations(objects: PushedObjects, updates: Sequence[Update]) -> Iterator[Violation]:
    sound = []
    for update in updates:
        moves = list(_check_move(objects, update))
        yield from moves
        if moves:
            continue
        if update.ref == _PLACEMENT:
            yield from check_placement(objects, update)
        else:
            sound.append(update)
    if not sound:
        return
    ledger = _ledger_push(objects, sound)
    for update in sound:
        if update.ref == _LEDGER:
            yield from check_ledger(ledger, partial(_runs, objects, ledger.ledger.levels))
        else:
            yield from TierPush(objects, update, ledger.ledger).violations()


def _check_move(objects: PushedObjects, update: Update) -> Iterator[Violation]:
    if update.new == NOTHING:
        yield Violation(update.ref, "NotDeleted", "it can't be deleted", "nothing that was released may be lost")
    elif update.old != NOTHING and not objects.is_ancestor(update.old, update.new):
        advice = "fetch, and make the change on top of what is there"
        yield Violation(update.ref, "FastForward", "the push is no fast-forward", advice)


def _ledger_push(objects: PushedObjects, updates: Iterable[Update]) -> LedgerPush:
    old = objects.head(_LEDGER)
    pushed = next((update.new for update in updates if update.ref == _LEDGER), None)
    return LedgerPush.between(_LEDGER, objects, old, pushed or old)


def _runs(objects: PushedObjects, levels: Mapping[str, int], tier: str, revision: str) -> bool:
    # As it was before the push: else a pin, its verification and the branch could vouch for each other in one push.
    head = objects.head(f"{TIER_BRANCH}{levels.get(tier)}")
    entry = objects.entries(head, REVISION_PATH).get(REVISION_PATH)
    # A revision is named by the id of its file.
    return entry is not None and entry.id == revision

"""The oracle: judges three real repositories by the invariants, and shares no code with what it judges."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from model.ledger_rules import check_ledger_commit
from model.repositories import NAMES, Push, Store, Update, location, pushes
from model.scenes import LEDGER, Scene, Witness
from model.source_rules import check_moves
from model.tier_rules import check_pairing, check_tier_commit, check_tiers
from model.verdicts import Rule, Violation
from model.wishes import Wish


class Oracle:
    """Replays every push that the repositories of a folder took, and judges the state after each.

    The repositories must be those of `repositories.create`. Set `wishes` to the fleets that are in use, the present one
    last, before each check; `excuse` what the test itself does as a person who breaks a rule.
    """

    def __init__(self, folder: Path, wish: Wish, renderers: frozenset[str] = frozenset({"v1"})) -> None:
        self.wishes: tuple[Wish, ...] = (wish,)
        self.now: datetime | None = None
        self.witness: Witness | None = None
        self._folder = folder
        self._renderers = renderers
        self._stores = {name: Store(location(folder, name)) for name in NAMES}
        self._refs: dict[str, dict[str, str]] = {name: {} for name in NAMES}
        self._offset = 0
        self._excused: set[tuple[str, str, str | None]] = set()
        self._judged: set[tuple[str, str]] = set()
        self.scene = Scene(self._stores, self._refs, self.wishes, renderers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for store in self._stores.values():
            store.close()

    def excuse(self, repository: str, ref: str, commit: str | None) -> None:
        """Let a person move a ref to a commit (None: delete it) against the rules."""
        self._excused.add((repository, ref, commit))

    def check(self) -> list[Violation]:
        """Judge every push since the last check."""
        self.scene = replace(self.scene, wishes=self.wishes, now=self.now, witness=self.witness)
        new, self._offset = pushes(self._folder, self._offset)
        found = [violation for push in new for violation in self._judge(push)]
        for name, store in self._stores.items():
            actual = store.refs() if store.is_there else self._refs[name]
            if actual != self._refs[name]:
                moved = {ref for ref, _ in actual.items() ^ self._refs[name].items()}
                found.append(Violation(Rule.JOURNAL, name, f"{sorted(moved)} moved without a push"))
        return found

    def _judge(self, push: Push) -> Iterator[Violation]:
        for update in push.updates:
            if update.new is None:
                self._refs[push.repository].pop(update.ref, None)
            else:
                self._refs[push.repository][update.ref] = update.new
        yield from check_moves(self.scene, push, frozenset(self._excused))
        if push.repository == "system":
            yield from self._judge_system(push)

    def _judge_system(self, push: Push) -> Iterator[Violation]:
        refs = frozenset(update.ref for update in push.updates)
        branches = self.scene.wish.branches()
        # Tiers first: the ledger's evidence is judged by their trees.
        for update in sorted(push.updates, key=lambda update: (update.ref == LEDGER, update.ref)):
            tier = branches.get(update.ref.removeprefix("refs/heads/"))
            if update.new is not None and (tier is not None or update.ref == LEDGER):
                yield from self._judge_commits(update, tier)
            if tier is not None:
                yield from check_pairing(self.scene, tier, update.old, refs)
        yield from check_tiers(self.scene)

    def _judge_commits(self, update: Update, tier: str | None) -> Iterator[Violation]:
        for commit in self.scene.system.since(update.old, update.new or ""):
            if (update.ref, commit.id) in self._judged:
                continue
            self._judged.add((update.ref, commit.id))
            yield from check_tier_commit(self.scene, tier, commit) if tier else check_ledger_commit(self.scene, commit)

"""The three repositories as they were just after one push."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from model.ledger_states import LedgerState
from model.repositories import Commit, Store
from model.wishes import Wish

LEDGER = "refs/heads/ledger"
_REVISION = re.compile(r"apps: ([0-9a-f]{40})\nconfiguration: ([0-9a-f]{40})\nrenderer: (v[0-9]+)\n")
_KUSTOMIZATIONS = {"kustomization.yaml", "kustomization.yml", "Kustomization"}


class Witness(Protocol):
    """Whoever knows how the clusters really were."""

    def was_healthy(
        self, shopset: str, overlay: str, gitlinks: Mapping[str, str], start: datetime, end: datetime
    ) -> bool:
        """Whether a ShopSet ran exactly this, Synced and Healthy, all the time."""
        ...


@dataclass(frozen=True)
class Revision:
    """What a revision.yaml says."""

    id: str
    apps: str
    configuration: str
    renderer: str

    @classmethod
    def parse(cls, text: bytes) -> "Revision | None":
        """Read a revision.yaml; None where it is none."""
        match = _REVISION.fullmatch(text.decode(errors="replace"))
        return cls(object_id(text), *match.groups()) if match else None


def object_id(content: bytes) -> str:
    """Return the id of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class Scene:
    """The refs after a push, and everything that a rule needs to judge it."""

    stores: Mapping[str, Store]
    refs: Mapping[str, dict[str, str]]
    wishes: tuple[Wish, ...]
    """The fleets that somebody may be working with; the last one is the present one."""
    renderers: frozenset[str]
    now: datetime | None = None
    witness: Witness | None = None
    _ledgers: dict[str | None, LedgerState] = field(default_factory=dict)

    @property
    def wish(self) -> Wish:
        """The present fleet."""
        return self.wishes[-1]

    @property
    def system(self) -> Store:
        """The system repository."""
        return self.stores["system"]

    def head(self, repository: str, ref: str) -> str | None:
        """Return where a ref is."""
        return self.refs[repository].get(ref)

    def ledger(self, commit: str | None) -> LedgerState:
        """Return the ledger at a commit."""
        if commit not in self._ledgers:
            self._ledgers[commit] = LedgerState(self.system, commit)
        return self._ledgers[commit]

    def current_ledger(self) -> LedgerState:
        """Return the ledger as it is."""
        return self.ledger(self.head("system", LEDGER))

    def tier_head(self, tier: str) -> str | None:
        """Return the head of a tier's branch."""
        return self.head("system", f"refs/heads/tier-{self.wish.tiers[tier].level}")

    def revision(self, commit: str) -> Revision | None:
        """Return what a tier's commit is of; None where its revision.yaml is no such file."""
        entry = self.system.files(self.system.commit(commit).tree).get("revision.yaml")
        return Revision.parse(self.system.blob(entry.id)) if entry else None

    def run(self, tier: str, revision: str) -> Iterator[Commit]:
        """Return the commits, newest first, over which a tier has had this revision up to now."""
        head = self.tier_head(tier)
        for commit in reversed(self.system.since(None, head) if head else []):
            found = self.revision(commit.id)
            if found is None or found.id != revision:
                return
            yield commit

    def overlays(self, commit: str) -> dict[str, str]:
        """Return ShopSet -> id of its overlay's tree."""
        folder = self.system.tree(self.system.commit(commit).tree).get("overlays")
        return {name: entry.id for name, entry in self.system.tree(folder.id).items()} if folder else {}

    def gitlinks(self, commit: str) -> dict[str, str]:
        """Return the gitlinks of a commit."""
        files = self.system.files(self.system.commit(commit).tree)
        return {path: entry.id for path, entry in files.items() if entry.mode == "160000"}

    def components(self, apps: str) -> tuple[str, ...]:
        """Return the components of the base."""
        return components_of(self.stores["apps"], apps)


def components_of(store: Store, apps: str) -> tuple[str, ...]:
    """Return the components of the base in an apps commit, by docs/formats.md."""
    root = store.tree(store.commit(apps).tree)
    if _KUSTOMIZATIONS & root.keys():
        return ("",)
    folders = {name: entry for name, entry in root.items() if entry.mode == "40000" and not name.startswith(".")}
    return tuple(sorted(name for name, entry in folders.items() if _KUSTOMIZATIONS & store.tree(entry.id).keys()))

"""A correct release made by hand with plain git: what the tests of the oracle start from, and then spoil."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from model.hands import Change, Hands, Link
from model.wishes import Wish

_MODULES = (
    b'[submodule "base"]\n\tpath = base\n\turl = ../shopset-apps.git\n'
    b'[submodule "configuration"]\n\tpath = configuration\n\turl = ../shopset-configuration.git\n'
)
_BASE = b"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n"
BY = "shopset <shopset@localhost>"


def moment(at: datetime) -> str:
    """Return a time as the ledger writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def text_of(record: Mapping[str, Any]) -> bytes:
    """Return a record as a file."""
    return yaml.safe_dump(dict(record), sort_keys=False, width=1 << 20).encode()


@dataclass(frozen=True)
class Pinned:
    """A revision."""

    apps: str
    configuration: str
    renderer: str = "v1"

    @property
    def text(self) -> bytes:
        """The content of revision.yaml."""
        return f"apps: {self.apps}\nconfiguration: {self.configuration}\nrenderer: {self.renderer}\n".encode()

    @property
    def id(self) -> str:
        """The id."""
        return hashlib.sha1(b"blob %d\0" % len(self.text) + self.text, usedforsecurity=False).hexdigest()


@dataclass
class Clerk:
    """Does by hand, step by step, what shopset does: each step is one push."""

    folder: Path
    wish: Wish
    now: datetime = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    components: tuple[str, ...] = ("cart",)
    hands: Hands = field(init=False)
    counts: dict[str, int] = field(default_factory=dict)
    pinned: dict[str, Pinned] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hands = Hands(self.folder)

    def branch(self, tier: str) -> str:
        """Return the ref of a tier's branch."""
        return f"refs/heads/tier-{self.wish.tiers[tier].level}"

    def develop(self, tier: str, text: str) -> Pinned:
        """Push new commits of apps and configuration to a tier's branches."""
        apps = self.extend(
            "apps",
            self.branch(tier),
            {f"{name}/kustomization.yaml": _BASE for name in self.components} | {"x": text.encode()},
        )
        folders = {member.configuration for member in self.wish.shopsets.values()}
        files: dict[str, Change] = {f"{name}/kustomization.yaml": text.encode() for name in folders}
        return Pinned(apps, self.extend("configuration", self.branch(tier), files))

    def extend(self, repository: str, ref: str, changes: Mapping[str, Change]) -> str:
        """Push one commit on top of a branch."""
        head = self.hands.head(repository, ref)
        commit = self.hands.commit(repository, [head] if head else [], changes, self.now)
        assert self.hands.push(repository, {ref: commit})
        return commit

    def tag(self, revision: Pinned) -> None:
        """Keep the commits of a revision alive."""
        for repository, commit in (("apps", revision.apps), ("configuration", revision.configuration)):
            self.hands.push(repository, {f"refs/tags/shopset/{revision.id[:7]}": commit})

    def forward(self, tier: str, revision: Pinned) -> None:
        """Fast-forward a tier's source branches."""
        for repository, commit in (("apps", revision.apps), ("configuration", revision.configuration)):
            assert self.hands.push(repository, {self.branch(tier): commit})

    def tree(self, tier: str, revision: Pinned) -> dict[str, Change]:
        """Return what a tier's tree holds at a revision."""
        files: dict[str, Change] = {
            ".gitmodules": _MODULES,
            "revision.yaml": revision.text,
            "base": Link(revision.apps),
            "configuration": Link(revision.configuration),
        }
        for name, member in self.wish.shopsets.items():
            if member.tier == tier:
                files[f"overlays/{name}/kustomization.yaml"] = self.wish.overlay(tier, name, self.components)
                files[f"applications/{name}.yaml"] = self.application(tier, name)
        return files

    def application(self, tier: str, name: str) -> bytes:
        """Return the Application of a ShopSet."""
        source = {"targetRevision": f"tier-{self.wish.tiers[tier].level}", "path": f"overlays/{name}"}
        return text_of({"metadata": {"name": f"{self.wish.platform}-{name}"}, "spec": {"source": source}})

    def record(self, changes: Mapping[str, Change], also: Mapping[str, str] | None = None) -> None:
        """Push one commit of the ledger, together with other refs."""
        head = self.hands.head("system", "refs/heads/ledger")
        commit = self.hands.commit("system", [head] if head else [], changes, self.now)
        assert self.hands.push("system", {"refs/heads/ledger": commit, **(also or {})})

    def tier_commit(self, tier: str, changes: Mapping[str, Change]) -> str:
        """Make a commit on top of a tier's system branch, without pushing it."""
        head = self.hands.head("system", self.branch(tier))
        return self.hands.commit("system", [head] if head else [], changes, self.now)

    def pin_record(self, tier: str, revision: Pinned, **fields: Any) -> dict[str, Change]:
        """Return the record of a tier's next pin, as a file."""
        number = self.counts[tier] = self.counts.get(tier, 0) + 1
        previous = {"previous": self.pinned[tier].id} if tier in self.pinned else {}
        content = {
            "revision": revision.id,
            "apps": revision.apps,
            "configuration": revision.configuration,
            "renderer": revision.renderer,
        }
        record = {**content, "kind": "Promotion", **previous, "at": moment(self.now), "by": BY, "reason": "so"}
        self.pinned[tier] = revision
        return {f"pins/{tier}/{number:06d}.yaml": text_of(record | fields)}

    def pin(self, tier: str, revision: Pinned, extra: Mapping[str, Change] | None = None, **fields: Any) -> None:
        """Pin a revision to a tier. `extra` goes into the same commit of the ledger, `fields` into the record."""
        commit = self.tier_commit(tier, self.tree(tier, revision))
        self.record({**self.pin_record(tier, revision, **fields), **(extra or {})}, {self.branch(tier): commit})

    def verification(self, tier: str, **fields: Any) -> dict[str, Any]:
        """Return the record by which a tier verifies what it has, as things stand."""
        revision, head = self.pinned[tier], self.hands.head("system", self.branch(tier))
        healthy = self.now - self.wish.tiers[tier].bake
        members = sorted(name for name, member in self.wish.shopsets.items() if member.tier == tier)
        times = {"syncedAt": moment(healthy), "healthySince": moment(healthy)}
        return {
            "revision": revision.id,
            "pin": self.counts[tier],
            "at": moment(self.now),
            "by": BY,
            "healthySince": moment(healthy),
            "bake": f"{int((self.now - healthy).total_seconds())}s",
            "shopsets": [
                {"name": name, "cluster": self.wish.shopsets[name].cluster, "commit": head, **times} for name in members
            ],
        } | fields

    def verify(self, tier: str, **fields: Any) -> None:
        """Verify what is pinned to a tier, after its bake."""
        self.now += self.wish.tiers[tier].bake
        self.record({f"verified/{tier}/{self.pinned[tier].id}.yaml": text_of(self.verification(tier, **fields))})

    def rejection(self, tier: str, revision: Pinned | None = None, **fields: Any) -> dict[str, Change]:
        """Return the record by which a tier rejects what it has, as a file."""
        bad = (revision or self.pinned[tier]).id
        record = {
            "revision": bad,
            "pin": self.counts[tier],
            "at": moment(self.now),
            "by": BY,
            "reason": "Degraded",
            "message": "bad",
        }
        return {f"rejected/{tier}/{bad}.yaml": text_of(record | fields)}

    def hold(self, tier: str, name: str = "hold", **fields: Any) -> dict[str, Change]:
        """Return a hold, as a file."""
        record = {"tier": tier, "since": moment(self.now), "by": BY, "reason": "wait"}
        return {f"holds/{tier}/{name}.yaml": text_of(record | fields)}

    def approval(self, tier: str, revision: Pinned, person: str, **fields: Any) -> dict[str, Change]:
        """Return an approval, as a file. `person` is one word."""
        record = {"revision": revision.id, "at": moment(self.now), "by": person, "reason": "fine"}
        return {f"approvals/{tier}/{revision.id}/{person}.yaml": text_of(record | fields)}

    def wait(self, seconds: int = 1) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

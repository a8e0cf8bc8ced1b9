"""Rules for the ledger: who may add which record when.

`before` and `after` are the ledger at a commit's parent and at the commit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from model.ledger_states import LedgerState, Record
from model.repositories import Commit
from model.scenes import Scene, object_id
from model.verdicts import Rule, Violation
from model.wishes import TierRules, duration

_KEPT = ("pins", "verified", "approvals")


def check_ledger_commit(scene: Scene, commit: Commit) -> Iterator[Violation]:
    """Judge one commit of the ledger."""
    if len(commit.parents) > 1:
        yield Violation(Rule.LINEAR, f"ledger {commit.id[:10]}", "is a merge")
    before, after = scene.ledger(commit.parents[0] if commit.parents else None), scene.ledger(commit.id)
    added = sorted(path for path in after.files if path not in before.files)
    changed = sorted(path for path in after.files if path in before.files and after.files[path] != before.files[path])
    removed = sorted(path for path in before.files if path not in after.files)
    malformed = {path: list(after.malformed(path)) for path in (*added, *changed)}
    yield from chain.from_iterable(malformed.values())
    yield from _check_changed(before, after, changed)
    yield from _check_removed(after, removed, added)
    for path in (path for path in added if not malformed[path]):
        kind, tier, *_ = [*path.removesuffix(".yaml").split("/"), ""]
        if kind in {"pins", "verified", "rejected"} and tier in scene.wish.tiers:
            yield from _Addition(scene, before, after, path, tier).check(kind)


def _check_changed(before: LedgerState, after: LedgerState, changed: list[str]) -> Iterator[Violation]:
    for path in changed:
        kind, where = path.split("/")[0], f"ledger:{path}"
        if kind in {*_KEPT, "rejected"}:
            yield Violation(Rule.APPEND_ONLY, where, "was changed")
        if kind == "holds":
            lifted = {key: value for key, value in after.load(path).items() if key != "lifted"}
            if before.load(path) != lifted:
                yield Violation(Rule.APPEND_ONLY, where, "changed in more than that it was lifted")
    if "tiers.yaml" in changed:
        levels = after.levels()
        for tier, level in before.levels().items():
            if levels.get(tier, level) != level:
                yield Violation(Rule.LEVELS, "ledger:tiers.yaml", f"{tier} was at {level}, and is at {levels[tier]}")


def _check_removed(after: LedgerState, removed: list[str], added: list[str]) -> Iterator[Violation]:
    for path in removed:
        kind, *names = path.removesuffix(".yaml").split("/")
        if kind in {*_KEPT, "holds", "tiers"}:
            yield Violation(Rule.APPEND_ONLY, f"ledger:{path}", "was removed")
        if kind == "rejected" and after.newest(names[0]) == names[1]:
            pins = after.pins(names[0])
            path_of_pin = f"pins/{names[0]}/{len(pins):06d}.yaml"
            if path_of_pin not in added or pins[-1].get("kind") != "Retry":
                yield Violation(
                    Rule.RETRY, f"ledger:{path}", "the rejection of what is pinned was lifted without a new pin"
                )


@dataclass
class _Addition:
    """One record that a commit adds for one tier."""

    scene: Scene
    before: LedgerState
    after: LedgerState
    path: str
    tier: str

    def check(self, kind: str) -> Iterator[Violation]:
        record = self.after.load(self.path)
        for rule, detail in {"pins": self.pin, "verified": self.verified, "rejected": self.rejected}[kind](record):
            yield Violation(rule, f"ledger:{self.path}", detail)

    @property
    def rules(self) -> TierRules:
        return self.scene.wish.tiers[self.tier]

    def _time(self, moment: datetime | None) -> bool:
        return moment is not None and (self.scene.now is None or moment <= self.scene.now)

    # -- pins

    def pin(self, record: Record) -> Iterator[tuple[Rule, str]]:
        revision, kind = record["revision"], record["kind"]
        text = f"apps: {record['apps']}\nconfiguration: {record['configuration']}\nrenderer: {record['renderer']}\n"
        if object_id(text.encode()) != revision:
            yield Rule.SEQUENCE, f"{revision} is not the id of what it consists of"
        number = int(self.path.rsplit("/", 1)[1].removesuffix(".yaml"))
        if number != len(self.before.pins(self.tier)) + 1 or len(self.after.pins(self.tier)) != number:
            yield Rule.SEQUENCE, f"pin {number} follows {len(self.before.pins(self.tier))} pins"
        if record.get("previous") != self.before.newest(self.tier):
            yield (
                Rule.SEQUENCE,
                f"names {record.get('previous')} as the one before, which was {self.before.newest(self.tier)}",
            )
        if not self._time(record["at"]):
            yield Rule.RECORD, "is of the future"
        judges = {
            "Promotion": self._promotion,
            "Adoption": self._adoption,
            "Rollback": self._rollback,
            "Retry": self._retry,
        }
        yield from judges[kind](record)
        if kind != "Rollback":
            yield from self._standing(record)
        if kind in {"Promotion", "Adoption"}:
            yield from self._approved(record)
        if kind != "Retry" and self.before.rejected(self.tier, revision):
            yield Rule.REJECTED, f"{self.tier} rejected it"

    def _promotion(self, record: Record) -> Iterator[tuple[Rule, str]]:
        lower, revision = self.scene.wish.lower(self.tier), record["revision"]
        if lower is not None:
            if not self.before.verified(lower, revision):
                yield Rule.ORDER, f"{lower} had not verified it"
            if self.before.rejected(lower, revision):
                yield Rule.ORDER, f"{lower} had rejected it"
            previous = self.before.newest(self.tier)
            if previous and self.before.place(lower, revision) <= self.before.place(lower, previous):
                yield Rule.NEWER, f"{lower} had it before {previous}"
            unverified = [skipped for skipped in record.get("skipped", ()) if not self.before.verified(lower, skipped)]
            if unverified:
                yield Rule.ORDER, f"skipped {unverified}, which {lower} had not verified"
        yield from self._forward(record)

    def _forward(self, record: Record) -> Iterator[tuple[Rule, str]]:
        pins = self.before.pins(self.tier)
        for repository in ("apps", "configuration") if pins else ():
            store, old, new = self.scene.stores[repository], pins[-1][repository], record[repository]
            if not store.has(new) or not store.is_ancestor(old, new):
                yield Rule.NEWER, f"its {repository} {new} does not contain the pinned {old}"

    def _adoption(self, record: Record) -> Iterator[tuple[Rule, str]]:
        if self.before.pins(self.tier):
            yield Rule.ADOPTION, "the tier was pinned before"
        if not any(given.get("adopt") for given in self.before.approvals(self.tier, record["revision"])):
            yield Rule.ADOPTION, "nobody approved it as an adoption"

    def _rollback(self, record: Record) -> Iterator[tuple[Rule, str]]:
        bad = self.before.newest(self.tier)
        if (
            not self.before.verified(self.tier, record["revision"])
            or self.before.place(self.tier, record["revision"]) < 0
        ):
            yield Rule.ROLLBACK, f"{self.tier} never verified it"
        if bad == record["revision"]:
            yield Rule.ROLLBACK, "it goes back to what it has"
        if not self.after.rejected(self.tier, bad):
            yield Rule.ROLLBACK, f"does not reject {bad}"
        if not self.after.active_holds(self.tier):
            yield Rule.ROLLBACK, "does not hold the tier"

    def _retry(self, record: Record) -> Iterator[tuple[Rule, str]]:
        revision = record["revision"]
        if revision != self.before.newest(self.tier):
            yield Rule.RETRY, f"what is pinned is {self.before.newest(self.tier)}"
        if not self.before.rejected(self.tier, revision) or self.after.rejected(self.tier, revision):
            yield Rule.RETRY, "it does not lift the rejection"

    def _standing(self, record: Record) -> Iterator[tuple[Rule, str]]:
        holds = self.before.active_holds(self.tier)
        if holds:
            yield Rule.HELD, f"active holds: {holds}"
        if self.rules.frozen(record["at"]):
            yield Rule.FROZEN, f"{self.tier} is frozen at {record['at']}"

    def _approved(self, record: Record) -> Iterator[tuple[Rule, str]]:
        people = {given["by"] for given in self.before.approvals(self.tier, record["revision"])}
        if len(people) < self.rules.approvals:
            yield Rule.APPROVED, f"approved by {sorted(people)}, {self.rules.approvals} are needed"

    # -- sign-off

    def _about_the_pin(self, record: Record) -> Iterator[tuple[Rule, str]]:
        pins = self.before.pins(self.tier)
        if not pins or pins[-1]["revision"] != record["revision"] or record["pin"] != len(pins):
            yield Rule.EVIDENCE, f"is about pin {record['pin']} ({record['revision']}), not the newest one"
        elif record["at"] < pins[-1]["at"] or not self._time(record["at"]):
            yield Rule.EVIDENCE, f"is of {record['at']}, the pin of {pins[-1]['at']}"

    def rejected(self, record: Record) -> Iterator[tuple[Rule, str]]:
        """Judge a rejection."""
        yield from self._about_the_pin(record)
        by_hand = record["reason"] == "RolledBack"
        verified = self.after.verified(self.tier, record["revision"])
        if verified and verified["pin"] == record["pin"] and not by_hand:
            yield Rule.EXCLUSIVE, f"pin {record['pin']} was verified"
        if by_hand or self.rules.on_failure == "Continue":
            return
        if len(self.after.active_holds(self.tier)) <= len(self.before.active_holds(self.tier)):
            yield Rule.ON_FAILURE, f"onFailure is {self.rules.on_failure}, and no hold is added"
        rolled_back = len(self.after.pins(self.tier)) > len(self.before.pins(self.tier))
        if rolled_back != (self.rules.on_failure == "Rollback" and self._has_good(record["revision"])):
            yield Rule.ON_FAILURE, f"onFailure is {self.rules.on_failure}, rolled back: {rolled_back}"

    def _has_good(self, bad: str) -> bool:
        earlier = {pin["revision"] for pin in self.before.pins(self.tier)} - {bad}
        return any(
            self.before.verified(self.tier, each) and not self.before.rejected(self.tier, each) for each in earlier
        )

    def verified(self, record: Record) -> Iterator[tuple[Rule, str]]:
        """Judge a verification."""
        yield from self._about_the_pin(record)
        if self.after.rejected(self.tier, record["revision"]):
            yield Rule.EXCLUSIVE, "it is rejected"
        yield from self._covers(record)
        yield from self._baked(record)
        for evidence in record.get("shopsets", ()):
            yield from self._ran(record, evidence)
        for gate in record.get("gates", ()):
            if gate["result"] != "Pass":
                yield Rule.EVIDENCE, f"gate {gate['name']} is {gate['result']}"

    def _covers(self, record: Record) -> Iterator[tuple[Rule, str]]:
        present = {evidence["name"] for evidence in record.get("shopsets", ())}
        absent = {absence["name"]: absence["cluster"] for absence in record.get("absent", ())}
        if not present and not (self.rules.passes_through and not absent and record.get("note")):
            yield Rule.EVIDENCE, "no ShopSet verified it"
        wanted = [set(self.scene.overlays(commit.id)) for commit in self.scene.run(self.tier, record["revision"])]
        gone = {
            name for trees in wanted for name in trees if any(name not in wish.shopsets for wish in self.scene.wishes)
        }
        if not any(trees - gone <= present | absent.keys() <= trees for trees in wanted):
            yield (
                Rule.EVIDENCE,
                f"it covers {sorted(present | absent.keys())}, the tier has {sorted(wanted[0]) if wanted else []}",
            )
        for name, cluster in absent.items():
            if f"clusters/{cluster}.yaml" not in self.before.files:
                yield Rule.EVIDENCE, f"{name} left the quorum, though cluster {cluster} is there"
        members = self.scene.wish.shopsets
        configurations = {members[name].configuration for name in present if name in members}
        lonely = [name for name in absent if name in members and members[name].configuration not in configurations]
        if lonely:
            yield Rule.EVIDENCE, f"nobody stands in for {lonely}"

    def _baked(self, record: Record) -> Iterator[tuple[Rule, str]]:
        overrides = [given["bake"] for given in self.before.approvals(self.tier, record["revision"]) if "bake" in given]
        bake = duration(overrides[-1]) if overrides else self.rules.bake
        starts = [evidence["healthySince"] for evidence in record.get("shopsets", ())]
        if starts and record["healthySince"] != max(starts):
            yield (
                Rule.BAKE,
                f"the bake starts at {record['healthySince']}, the last ShopSet was healthy at {max(starts)}",
            )
        if not starts:
            bake = timedelta(0)
        if record["healthySince"] + bake > record["at"] or duration(record.get("bake", "0s")) < bake:
            yield (
                Rule.BAKE,
                f"healthy since {record['healthySince']}, verified at {record['at']}, which is less than {bake}",
            )

    def _ran(self, record: Record, evidence: Record) -> Iterator[tuple[Rule, str]]:
        name, commit, pins = evidence["name"], evidence["commit"], self.before.pins(self.tier)
        if not self.scene.system.has(commit):
            yield Rule.EVIDENCE, f"{name} ran {commit}, which does not exist"
            return
        overlay, links = self.scene.overlays(commit).get(name), self.scene.gitlinks(commit)
        if not pins or links != {"base": pins[-1]["apps"], "configuration": pins[-1]["configuration"]}:
            yield Rule.EVIDENCE, f"{name} ran {commit}, which is of another revision"
        if overlay not in [
            self.scene.overlays(each.id).get(name) for each in self.scene.run(self.tier, record["revision"])
        ]:
            yield Rule.EVIDENCE, f"{name} ran {commit}, where its overlay is another"
        if not evidence["syncedAt"] <= evidence["healthySince"] <= record["at"] or (
            pins and evidence["healthySince"] < pins[-1]["at"]
        ):
            yield (
                Rule.EVIDENCE,
                f"{name} was synced at {evidence['syncedAt']}, healthy since {evidence['healthySince']}",
            )
        witness = self.scene.witness
        if witness and not witness.was_healthy(name, overlay or "", links, evidence["healthySince"], record["at"]):
            yield Rule.EVIDENCE, f"{name} was not healthy from {evidence['healthySince']} to {record['at']}"

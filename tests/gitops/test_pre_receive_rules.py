"""Each rule of the hook by itself, on repositories made by git fast-import: what a forger may try, and what a person may mend."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from shopset.core.release.records import (
    ApprovalRecord,
    HoldRecord,
    Lifting,
    PinKind,
    PinRecord,
    RejectionRecord,
    VerificationRecord,
    approval_path,
    hold_path,
    pin_path,
    rejection_path,
    verification_path,
)
from shopset.core.release.revisions import Revision
from shopset.gitops.pre_receive import HookError, Update, check_push, read_updates
from support.worlds import ENVIRONMENT, git

AT = datetime(2026, 11, 25, tzinfo=UTC)
NOTHING = "0" * 40
FIRST, SECOND = (Revision(digit * 40, "b" * 40, "v1") for digit in "12")
OVERLAY, APPLICATION = "overlays/a-1/kustomization.yaml", "applications/a-1.yaml"
LINKS = {"base": "160000", "configuration": "160000"}
Tree = Mapping[str, bytes]


def pin(revision: Revision, kind: PinKind = "Promotion") -> bytes:
    return PinRecord(
        revision=revision.id,
        apps=revision.apps,
        configuration=revision.configuration,
        renderer="v1",
        kind=kind,
        at=AT,
        by="x <x@y>",
        reason="r",
    ).dump()


def verified(tier: str, revision: Revision, sequence: int = 1) -> Tree:
    record = VerificationRecord(revision=revision.id, pin=sequence, at=AT, by="x", healthy_since=AT)
    return {verification_path(tier, revision.id): record.dump()}


def rejected(tier: str, revision: Revision) -> Tree:
    record = RejectionRecord(revision=revision.id, pin=1, at=AT, by="x", reason="Degraded", message="m")
    return {rejection_path(tier, revision.id): record.dump()}


def hold(*, lifted: bool = False, reason: str = "r") -> Tree:
    lifting = Lifting(at=AT, by="x", reason="over") if lifted else None
    return {hold_path("beta", "h"): HoldRecord(tier="beta", since=AT, by="x", reason=reason, lifted=lifting).dump()}


def adopted(tier: str, revision: Revision) -> Tree:
    record = ApprovalRecord(revision=revision.id, at=AT, by="x", reason="r", adopt=True)
    return {approval_path(tier, revision.id, "x"): record.dump()}


def tier_tree(revision: Revision, **more: bytes) -> Tree:
    links = {"base": revision.apps.encode(), "configuration": revision.configuration.encode()}
    return {".gitmodules": b"", "revision.yaml": revision.text, OVERLAY: b"", APPLICATION: b"", **links, **more}


TIERS: Tree = {"tiers.yaml": b"dev: {level: 0}\nbeta: {level: 1}\n"}
PINNED: Tree = {**TIERS, pin_path("dev", 1): pin(FIRST)}
RELEASED: Tree = {**PINNED, **verified("dev", FIRST)}


@dataclass
class Server:
    """A bare repository; `numbers` keeps its commits apart."""

    path: Path
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def commit(self, tree: Tree, parent: str | None = None, modes: Mapping[str, str] | None = None) -> str:
        """Write a commit that has exactly this tree, with modes other than a plain file's where told."""
        ref = f"refs/made/{next(self.numbers)}"
        stream = b"commit %s\ncommitter x <x@y> 0 +0000\ndata 1\nx\n" % ref.encode()
        stream += b"from %s\ndeleteall\n" % parent.encode() if parent else b""
        for path, content in tree.items():
            mode = {**LINKS, **(modes or {})}.get(path, "100644")
            if mode == "160000":
                stream += b"M 160000 %b %s\n" % (content, path.encode())
            else:
                stream += b"M %s inline %s\ndata %d\n%b\n" % (mode.encode(), path.encode(), len(content), content)
        command = ["git", "fast-import", "--quiet", "--force"]
        subprocess.run(command, cwd=self.path, env=ENVIRONMENT, input=stream, check=True, capture_output=True)
        return git("rev-parse", ref, folder=self.path)

    def have(self, branch: str, tree: Tree) -> str:
        """Give a branch a first commit."""
        commit = self.commit(tree)
        git("update-ref", f"refs/heads/{branch}", commit, folder=self.path)
        return commit

    def rules(self, *updates: tuple[str, str, str]) -> set[str]:
        """Return the rules that a push (branch, old, new) breaks."""
        told = [Update(old, new, f"refs/heads/{branch}") for branch, old, new in updates]
        return {violation.rule for violation in check_push(self.path, told, ENVIRONMENT)}

    def record(self, before: Tree, after: Tree, modes: Mapping[str, str] | None = None) -> set[str]:
        """Return the rules that a push breaks which makes one ledger of another."""
        old = self.have("ledger", before)
        return self.rules(("ledger", old, self.commit(after, old, modes)))

    def enter(self, branch: str, ledger: Tree, tree: Tree, modes: Mapping[str, str] | None = None) -> set[str]:
        """Return the rules that a push breaks which makes a tier's branch."""
        self.have("ledger", ledger)
        return self.rules((branch, NOTHING, self.commit(tree, modes=modes)))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    git("init", "--quiet", "--bare", str(tmp_path / "system.git"))
    return Server(tmp_path / "system.git")


class TestRecords:
    @pytest.mark.parametrize("path", ["pins/dev/1.yaml", "pins/dev/0000001.yaml", "pins/dev/\u0661.yaml"])
    def test_a_second_name_of_a_pin_hides_nothing(self, server: Server, path: str) -> None:
        assert "WellFormed" in server.record(PINNED, {**PINNED, path: pin(SECOND)})

    def test_a_record_without_its_suffix_is_no_record(self, server: Server) -> None:
        assert server.record(PINNED, {**PINNED, "pins/dev/000002": pin(SECOND)}) == {"WellFormed"}

    def test_a_gap_between_pins_is_refused(self, server: Server) -> None:
        assert server.record(PINNED, {**PINNED, pin_path("dev", 3): pin(SECOND)}) == {"WellFormed"}

    @pytest.mark.parametrize("mode", ["120000", "100755", "160000"])
    def test_a_record_is_a_plain_file(self, server: Server, mode: str) -> None:
        path = pin_path("dev", 2)
        content = b"c" * 40 if mode == "160000" else pin(SECOND)
        assert server.record(PINNED, {**PINNED, path: content}, {path: mode}) == {"WellFormed"}

    def test_a_pin_that_becomes_executable_was_changed(self, server: Server) -> None:
        assert "AppendOnly" in server.record(PINNED, PINNED, {pin_path("dev", 1): "100755"})

    def test_what_was_malformed_before_stops_nobody_else(self, server: Server) -> None:
        before = {**PINNED, hold_path("dev", "x"): b"what?\n"}
        assert server.record(before, {**before, pin_path("dev", 2): pin(SECOND)}) == set()

    @pytest.mark.parametrize("mended", [{pin_path("dev", 2): pin(SECOND)}, {}])
    def test_a_malformed_record_may_be_mended_or_removed(self, server: Server, mended: Tree) -> None:
        assert server.record({**PINNED, pin_path("dev", 2): b"x: 1\n"}, {**PINNED, **mended}) == set()

    def test_a_hold_may_be_lifted_once_and_not_changed_else(self, server: Server) -> None:
        assert server.record({**TIERS, **hold()}, {**TIERS, **hold(lifted=True)}) == set()
        assert server.record({**TIERS, **hold()}, {**TIERS, **hold(reason="another")}) == {"AppendOnly"}
        assert server.record({**TIERS, **hold(lifted=True)}, {**TIERS, **hold()}) == {"AppendOnly"}
        assert server.record({**TIERS, **hold()}, TIERS) == {"AppendOnly"}

    def test_a_rejection_may_be_removed_for_a_retry_and_is_of_what_was_pinned(self, server: Server) -> None:
        assert server.record({**PINNED, **rejected("dev", FIRST)}, PINNED) == set()
        assert server.record(PINNED, {**PINNED, **rejected("dev", FIRST)}) == set()
        assert server.record(PINNED, {**PINNED, **rejected("dev", SECOND)}) == {"PinnedFirst"}

    def test_a_verification_is_of_the_pin_that_it_names(self, server: Server) -> None:
        server.have("tier-0", tier_tree(FIRST))
        assert server.record(PINNED, RELEASED) == set()
        assert server.record(PINNED, {**PINNED, **verified("dev", FIRST, 2)}) == {"PinnedFirst"}
        assert server.record(PINNED, {**PINNED, **verified("dev", SECOND)}) == {"PinnedFirst"}


class TestTrees:
    def test_what_shopset_writes_is_taken(self, server: Server) -> None:
        assert server.enter("tier-0", PINNED, tier_tree(FIRST)) == set()

    @pytest.mark.parametrize(
        "path", ["malware.sh", "overlays/a-1/evil.sh", "overlays/A_1/kustomization.yaml", "applications/x/y.yaml"]
    )
    def test_a_file_that_has_no_place_is_refused(self, server: Server, path: str) -> None:
        assert server.enter("tier-0", PINNED, {**tier_tree(FIRST), path: b""}) == {"KnownPaths"}

    @pytest.mark.parametrize("path", [OVERLAY, APPLICATION, ".gitmodules"])
    def test_a_symlink_is_refused_wherever_it_is(self, server: Server, path: str) -> None:
        tree = {**tier_tree(FIRST), path: b"../../etc"}
        assert server.enter("tier-0", PINNED, tree, {path: "120000"}) == {"KnownPaths"}

    def test_a_folder_named_like_the_revision_is_none(self, server: Server) -> None:
        tree = {path: content for path, content in tier_tree(FIRST).items() if path != "revision.yaml"}
        rules = server.enter("tier-0", PINNED, {**tree, "revision.yaml/x": b""})
        assert rules == {"KnownPaths", "WellFormed"}

    def test_the_ledger_must_know_the_tier(self, server: Server) -> None:
        assert server.enter("tier-7", PINNED, tier_tree(FIRST)) == {"KnownTier"}


class TestOrder:
    def test_the_lower_tier_verified_it_first(self, server: Server) -> None:
        pinned = {pin_path("beta", 1): pin(FIRST)}
        assert server.enter("tier-1", {**RELEASED, **pinned}, tier_tree(FIRST)) == set()
        assert server.enter("tier-1", {**PINNED, **pinned}, tier_tree(FIRST)) == {"VerifiedBelow"}
        regretted = {**RELEASED, **pinned, **rejected("dev", FIRST)}
        assert server.enter("tier-1", regretted, tier_tree(FIRST)) == {"VerifiedBelow"}

    def test_a_tier_that_never_had_a_pin_may_adopt_and_no_other(self, server: Server) -> None:
        first = {**PINNED, **adopted("beta", SECOND), pin_path("beta", 1): pin(SECOND, "Adoption")}
        assert server.enter("tier-1", first, tier_tree(SECOND)) == set()
        later = {**first, pin_path("beta", 1): pin(FIRST), pin_path("beta", 2): pin(SECOND, "Adoption")}
        assert server.enter("tier-1", later, tier_tree(SECOND)) == {"VerifiedBelow"}

    def test_a_held_tier_takes_a_rollback_to_what_it_verified_and_nothing_else(self, server: Server) -> None:
        back = {**RELEASED, **hold(), **verified("beta", FIRST)}
        pins = {pin_path("beta", 1): pin(FIRST), pin_path("beta", 2): pin(SECOND)}
        rollback = {**back, **pins, pin_path("beta", 3): pin(FIRST, "Rollback")}
        assert server.enter("tier-1", rollback, tier_tree(FIRST)) == set()
        assert server.enter("tier-1", {**back, pin_path("beta", 1): pin(FIRST)}, tier_tree(FIRST)) == {"NotHeld"}
        unknown = {**back, **pins, pin_path("beta", 3): pin(SECOND, "Rollback")}
        assert server.enter("tier-1", unknown, tier_tree(SECOND)) == {"VerifiedBefore"}

    def test_the_overlays_of_a_held_tier_may_change(self, server: Server) -> None:
        server.have("ledger", {**RELEASED, **hold(), pin_path("beta", 1): pin(FIRST)})
        old = server.have("tier-1", tier_tree(FIRST))
        assert server.rules(("tier-1", old, server.commit({**tier_tree(FIRST), OVERLAY: b"x"}, old))) == set()

    def test_a_made_up_verification_does_not_open_the_way_for_a_rollback(self, server: Server) -> None:
        forged = {**RELEASED, pin_path("beta", 1): pin(SECOND), **verified("beta", SECOND)}
        assert server.record(RELEASED, forged) == {"RunsThere"}

    def test_nor_do_pin_verification_and_branch_in_one_push(self, server: Server) -> None:
        old = server.have("ledger", RELEASED)
        pins = {pin_path("beta", 1): pin(SECOND), pin_path("beta", 2): pin(SECOND, "Rollback")}
        ledger = server.commit({**RELEASED, **pins, **verified("beta", SECOND)}, old)
        tier = server.commit(tier_tree(SECOND))
        assert server.rules(("ledger", old, ledger), ("tier-1", NOTHING, tier)) == {"RunsThere"}


class TestRefs:
    @pytest.mark.parametrize("branch", ["ledger-notes", "placement-old", "feature"])
    def test_other_branches_may_be_deleted_and_rewritten(self, server: Server, branch: str) -> None:
        old = server.have(branch, {"x": b"1"})
        assert server.rules((branch, old, NOTHING)) == set()
        assert server.rules((branch, old, server.commit({"x": b"2"}))) == set()

    @pytest.mark.parametrize("branch", ["ledger", "placement", "tier-0"])
    def test_the_branches_of_shopset_may_not(self, server: Server, branch: str) -> None:
        old = server.have(branch, TIERS)
        assert server.rules((branch, old, NOTHING)) == {"NotDeleted"}
        assert server.rules((branch, old, server.commit(PINNED))) == {"FastForward"}

    def test_what_no_hook_is_told_is_an_error_with_the_line(self) -> None:
        with pytest.raises(HookError, match="'nonsense' is not"):
            read_updates("nonsense\n")

    def test_a_folder_that_is_no_repository_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(HookError, match="failed"):
            check_push(tmp_path, [Update(NOTHING, "1" * 40, "refs/heads/tier-0")], ENVIRONMENT)

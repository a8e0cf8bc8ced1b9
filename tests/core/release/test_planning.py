"""How a release climbs: each rule of the release flow on a world without I/O."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Literal

import pytest

from shopset.core.manifests import Build, BuiltObject
from shopset.core.release.actions import ActionKind, PushCommits
from shopset.core.release.ledgers import BRANCH
from shopset.core.release.observed import (
    BuildOf,
    Components,
    GateReading,
    ImagesAt,
    Repository,
    RunningImages,
    Trouble,
)
from shopset.core.release.plans import Phase, Plan
from shopset.core.release.requests import (
    Adopt,
    Approve,
    Hold,
    Hotfix,
    RequestRefusedError,
    Resume,
    Retry,
    RollBack,
)
from shopset.core.rendering import RENDERERS, Renderers
from support.pure import SHOPSETS, SUZUKI, PureWorld, make_fleet, three_tiers


def kinds(made: Plan) -> list[ActionKind]:
    return [action.kind for action in made.actions]


def reasons(made: Plan, resource: str) -> set[str]:
    return {condition.reason for condition in made.conditions if condition.resource == resource}


class TestClimbing:
    def test_a_release_climbs_to_the_top_as_the_same_commits(self) -> None:
        world = three_tiers()
        first = world.push()
        world.rounds(8)
        assert [world.pinned(tier) for tier in ("dev", "beta", "prod")] == [first] * 3
        assert world.sources[Repository.APPS] == {"tier-0": first, "tier-1": first, "tier-2": first}
        assert not world.plan().actions

    def test_nothing_reaches_a_tier_before_the_lower_one_verified_it(self) -> None:
        world = three_tiers(dev={"bake": "10s"})
        for _ in range(8):
            world.round()
            assert world.pinned("beta") is None
        world.rounds(5)
        assert world.pinned("beta") is not None

    def test_a_pin_and_its_record_are_one_push(self) -> None:
        world = three_tiers()
        pin = next(action for action in world.plan().actions if action.kind is ActionKind.PIN)
        assert isinstance(pin, PushCommits)
        assert [commit.branch for commit in pin.commits] == ["tier-0", BRANCH]
        assert "pins/dev/000001.yaml" in pin.commits[1].writes

    def test_commits_are_tagged_before_they_are_pinned(self) -> None:
        made = kinds(three_tiers().plan())
        assert made.index(ActionKind.TAG) < made.index(ActionKind.PIN)

    def test_a_tag_of_another_commit_gets_a_longer_name(self) -> None:
        world = three_tiers()
        candidate = world.plan().outlooks["dev"].candidate
        assert candidate is not None
        world.tags[Repository.APPS][f"shopset/{candidate.short}"] = "f" * 40
        world.round()
        assert world.tags[Repository.APPS][f"shopset/{candidate.id[:12]}"] == candidate.apps

    def test_the_same_inputs_give_the_same_plan(self) -> None:
        world = three_tiers()
        assert world.plan() == world.plan()

    def test_a_release_that_changes_nothing_else_writes_only_the_revision(self) -> None:
        world = three_tiers()
        world.rounds(8)
        world.push()
        pin = next(action for action in world.plan().actions if action.kind is ActionKind.PIN)
        assert isinstance(pin, PushCommits)
        assert set(pin.commits[0].writes) == {"revision.yaml"}
        assert set(pin.commits[0].gitlinks) == {"base", "configuration"}

    def test_a_tier_finishes_what_it_verifies_before_it_takes_the_next(self) -> None:
        world = three_tiers(dev={"bake": "5s"})
        first = world.pinned("dev") or (world.round() and world.pinned("dev"))
        world.push()
        world.rounds(3)
        assert world.pinned("dev") == first
        assert world.check("dev", "Settled").until is not None
        second = world.push()
        world.rounds(6)
        assert world.pinned("dev") == second

    def test_a_tier_may_let_a_newer_revision_supersede(self) -> None:
        world = three_tiers(dev={"bake": "1h", "supersede": True})
        world.round()
        assert (second := world.push())
        world.round()
        assert world.pinned("dev") == second


class TestVerification:
    def test_the_bake_counts_from_when_the_last_shopset_was_healthy(self) -> None:
        world = three_tiers({"c-1": ("dev", "staging", "c"), "c-2": ("dev", "staging", "c")}, dev={"bake": "10s"})
        world.round(sync=False)
        world.sync("c-1")
        world.now += timedelta(seconds=8)
        world.sync("c-2")
        world.now += timedelta(seconds=9)
        assert world.plan().outlooks["dev"].progress.phase is Phase.BAKING
        world.now += timedelta(seconds=1)
        assert kinds(world.plan()) == [ActionKind.VERIFY]

    def test_healthy_at_another_commit_does_not_count(self) -> None:
        world = three_tiers()
        world.rounds(8)
        world.push()
        world.act(world.plan().actions)
        assert world.applications["c-1"].health == "Healthy"
        world.now += timedelta(minutes=5)
        assert world.plan().outlooks["dev"].progress.phase is Phase.SYNCING

    def test_another_commit_with_the_same_content_counts(self) -> None:
        world = three_tiers(dev={"bake": "1h"})
        world.round()
        world.applications["c-1"] = replace(world.applications["c-1"], commit="e" * 40)
        assert world.plan().outlooks["dev"].progress.phase is Phase.BAKING

    def test_a_running_operation_does_not_count(self) -> None:
        world = three_tiers()
        world.round()
        world.applications["c-1"] = replace(world.applications["c-1"], operating=True)
        assert world.plan().outlooks["dev"].progress.phase is Phase.SYNCING

    @pytest.mark.parametrize("change", [{"deleting": True}, {"cluster": "a"}])
    def test_an_application_that_is_to_go_does_not_count(self, change: dict[str, Any]) -> None:
        world = three_tiers()
        world.round()
        world.applications["c-1"] = replace(world.applications["c-1"], **change)
        progress = world.plan().outlooks["dev"].progress
        assert progress.phase is Phase.SYNCING
        assert "the Application of c-1 on cluster" in progress.detail
        assert not any(action.kind is ActionKind.VERIFY for action in world.plan().actions)

    def test_degraded_for_less_than_the_grace_neither_fails_nor_passes(self) -> None:
        world = three_tiers(dev={"failureGrace": "10s"})
        world.round(sync=False)
        world.sync(health="Degraded", message="crash")
        world.now += timedelta(seconds=9)
        made = world.plan()
        assert (made.outlooks["dev"].progress.phase, made.actions) == (Phase.SYNCING, ())
        world.sync(health="Healthy")
        world.now += timedelta(seconds=1)
        assert kinds(world.plan()) == [ActionKind.VERIFY]

    def test_degraded_beyond_the_grace_is_rejected_and_the_next_goes_on(self) -> None:
        world = three_tiers(dev={"failureGrace": "10s"})
        world.round(sync=False)
        world.sync(health="Degraded", message="crash")
        world.now += timedelta(seconds=10)
        assert kinds(world.plan()) == [ActionKind.REJECT]
        world.act(world.plan().actions)
        assert world.plan().actions == ()
        fixed = world.push()
        world.round()
        assert world.pinned("dev") == fixed

    def test_a_failed_sync_is_rejected(self) -> None:
        world = three_tiers(dev={"failureGrace": "1s"})
        world.round(sync=False)
        world.sync(error="kustomize build failed")
        world.now += timedelta(seconds=1)
        world.act(world.plan().actions)
        (rejection,) = world.ledger.rejected["dev"].values()
        assert (rejection.reason, "kustomize" in rejection.message) == ("SyncFailed", True)

    @pytest.mark.parametrize("sync", ["Synced", "OutOfSync"])
    def test_a_failed_sync_that_says_nothing_of_the_revision_is_done_again(
        self, sync: Literal["Synced", "OutOfSync"]
    ) -> None:
        world = three_tiers(dev={"failureGrace": "1s"})
        world.round(sync=False)
        world.sync(error="a smoke test failed")
        for name, found in world.applications.items():
            world.applications[name] = replace(found, sync=sync, inconclusive=True, looked_at=world.now)
        world.now += timedelta(seconds=1)
        assert kinds(world.plan()) == [ActionKind.SYNC]

    def test_a_sync_that_takes_too_long_is_rejected(self) -> None:
        world = three_tiers(dev={"deadline": "5m"})
        world.round(sync=False)
        world.now += timedelta(minutes=5)
        world.act(world.plan().actions)
        (rejection,) = world.ledger.rejected["dev"].values()
        assert rejection.reason == "DeadlineExceeded"

    def test_the_deadline_stands_still_while_the_tier_is_held(self) -> None:
        world = three_tiers(dev={"deadline": "5m"})
        world.round(sync=False)
        world.ask(Hold(tier="dev", reason="a quiet hour"))
        world.now += timedelta(minutes=30)
        assert not world.plan().actions
        world.ask(Resume(tier="dev", reason="it is over"))
        world.now += timedelta(minutes=4)
        assert not world.plan().actions
        world.now += timedelta(minutes=1)
        assert kinds(world.plan()) == [ActionKind.REJECT]

    def test_the_deadline_stands_still_in_a_freeze(self) -> None:
        window = {"name": "noon", "weekly": {"from": "Mon 10:01", "to": "Mon 11:01"}}
        world = three_tiers(dev={"deadline": "5m", "freeze": [window]})
        world.round(sync=False)
        world.now += timedelta(minutes=62)
        assert not world.plan().actions
        world.now += timedelta(minutes=4)
        assert kinds(world.plan()) == [ActionKind.REJECT]

    def test_the_evidence_names_what_ran_where(self) -> None:
        world = three_tiers()
        world.rounds(2)
        (record,) = world.ledger.verified["dev"].values()
        assert [(found.name, found.cluster) for found in record.shopsets] == [("c-1", "c")]
        assert record.images == ("example.com/cart:1.0",)
        assert record.healthy_since <= record.at

    def test_a_bake_cannot_end_before_it_began(self) -> None:
        world = three_tiers(dev={"bake": "10s"})
        world.round()
        ahead = world.now + timedelta(minutes=10)
        world.applications["c-1"] = replace(world.applications["c-1"], synced_at=ahead, health_since=ahead)
        made = world.plan()
        assert (made.outlooks["dev"].progress.phase, made.actions) == (Phase.BAKING, ())

    def test_a_plan_says_when_time_alone_changes_it(self) -> None:
        world = three_tiers(dev={"bake": "10s"})
        made = world.round(seconds=2)
        assert made.wake_at == world.now + timedelta(seconds=8)


class TestGates:
    GATE: ClassVar = {"name": "errors", "alerts": {"matchers": {"tier": "dev"}}}

    def test_a_failing_gate_rejects(self) -> None:
        world = three_tiers(dev={"bake": "1h", "gates": [self.GATE]})
        world.gates = lambda _: GateReading("Fail", "CartErrors fired at 10:00")
        world.rounds(2)
        (rejection,) = world.ledger.rejected["dev"].values()
        assert (rejection.reason, "CartErrors" in rejection.message) == ("GateFailed", True)

    def test_a_gate_is_read_over_the_whole_bake(self) -> None:
        world = three_tiers(dev={"bake": "1h", "gates": [self.GATE]})
        spans = []

        def read(question: Any) -> GateReading:
            spans.append(question.end - question.start)
            return GateReading("Pass")

        world.gates = read
        world.round()
        world.now += timedelta(minutes=30)
        world.plan()
        assert max(spans) > timedelta(minutes=30)

    def test_unknown_blocks(self) -> None:
        world = three_tiers(dev={"gates": [self.GATE]})
        world.gates = lambda _: GateReading("Unknown", "Prometheus does not answer")
        made = world.rounds(3)
        assert made.outlooks["dev"].progress.phase is Phase.BAKING
        assert "Prometheus" in made.outlooks["dev"].progress.detail

    @pytest.mark.parametrize(("policy", "recorded"), [("Pass", "verified"), ("Fail", "rejected")])
    def test_unknown_follows_the_stated_policy(self, policy: str, recorded: str) -> None:
        world = three_tiers(dev={"gates": [self.GATE], "noData": policy})
        world.gates = lambda _: GateReading("Unknown", "no data")
        world.rounds(2)
        assert getattr(world.ledger, recorded)["dev"]

    def test_unknown_for_longer_than_the_deadline_rejects(self) -> None:
        world = three_tiers(dev={"gates": [self.GATE], "deadline": "10m"})
        world.gates = lambda _: GateReading("Unknown", "no data")
        world.round()
        world.now += timedelta(minutes=10)
        world.act(world.plan().actions)
        (rejection,) = world.ledger.rejected["dev"].values()
        assert rejection.reason == "DeadlineExceeded"


class TestImages:
    PLATFORM: ClassVar = {"delivery": {"argocd": {}}, "images": {"evidence": "Ids"}}
    CART: ClassVar = RunningImages({"cart:1": ("sha256:" + "a" * 64,), "page:1": ("sha256:" + "b" * 64,)})
    MOVED: ClassVar = RunningImages({"cart:1": ("sha256:" + "f" * 64,)})

    def test_the_ids_are_in_the_evidence_of_every_tier(self) -> None:
        world = three_tiers(platform=self.PLATFORM)
        world.pods = lambda _: self.CART
        world.rounds(8)
        for tier in ("dev", "beta", "prod"):
            (record,) = world.ledger.verified[tier].values()
            assert record.image_ids == self.CART.ids
        assert [gate.evidence for gate in record.gates] == ["2 images, the same as on beta"]

    def test_a_tag_that_was_moved_between_two_tiers_rejects(self) -> None:
        world = three_tiers(platform=self.PLATFORM)
        world.pods = lambda question: self.MOVED if "b-1" in question.shopsets else self.CART
        world.rounds(8)
        (rejection,) = world.ledger.rejected["beta"].values()
        assert "cart:1 is sha256:ffffffffffff here and sha256:aaaaaaaaaaaa on dev" in rejection.message
        assert world.pinned("prod") is None

    def test_a_tag_that_is_moved_during_the_bake_rejects(self) -> None:
        world = three_tiers(platform=self.PLATFORM, beta={"bake": "1h"})
        middle = world.now + timedelta(minutes=30)
        world.pods = lambda question: self.MOVED if question.at > middle else self.CART
        world.rounds(8)
        assert world.plan().outlooks["beta"].progress.phase is Phase.BAKING
        world.now += timedelta(hours=1)
        world.rounds(1)
        assert world.ledger.rejected["beta"]

    def test_what_did_not_run_below_is_not_compared(self) -> None:
        world = three_tiers(platform=self.PLATFORM)
        world.pods = lambda question: self.CART if "c-1" in question.shopsets else RunningImages({"job:7": ("x",)})
        world.rounds(8)
        assert world.ledger.verified["prod"]

    def test_a_tier_that_passes_revisions_through_is_left_out_of_the_comparison(self) -> None:
        shopsets = {"c-1": ("dev", "production", "c"), "a-1": ("prod", "production", "a")}
        world = three_tiers(shopsets, self.PLATFORM, beta={"whenEmpty": "PassThrough"})
        world.pods = lambda question: self.CART if "c-1" in question.shopsets else self.MOVED
        world.rounds(8)
        assert "on dev" in next(iter(world.ledger.rejected["prod"].values())).message

    def test_pods_that_cannot_be_seen_block(self) -> None:
        world = three_tiers(platform=self.PLATFORM)
        world.pods = lambda _: RunningImages(problem="the API server of c does not answer")
        made = world.rounds(3)
        assert made.outlooks["dev"].progress.phase is Phase.BAKING
        assert "gate image ids is unknown: the API server of c" in made.outlooks["dev"].progress.detail
        world.pods = lambda _: self.CART
        world.rounds(1)
        assert world.ledger.verified["dev"]

    def test_nobody_looks_into_pods_unasked(self) -> None:
        world = three_tiers()
        world.rounds(8)
        assert not any(isinstance(question, ImagesAt) for question in world.asked)


class TestPeople:
    def test_approvals_are_counted_by_person(self) -> None:
        world = three_tiers(prod={"approvals": {"required": 2}})
        world.rounds(6)
        candidate = world.plan().outlooks["prod"].candidate
        assert candidate is not None
        world.ask(Approve(tier="prod", revision=candidate.short, reason="tested"))
        world.ask(Approve(tier="prod", revision=candidate.short, reason="tested again"))
        world.rounds(2)
        assert world.pinned("prod") is None
        assert "1 missing" in world.check("prod", "Approved").detail
        world.ask(Approve(tier="prod", revision=candidate.id, reason="seen"), SUZUKI)
        world.rounds(2)
        assert world.pinned("prod") == candidate.apps

    def test_manual_means_one_approval(self) -> None:
        world = three_tiers(prod={"mode": "Manual"})
        world.rounds(6)
        assert not world.check("prod", "Approved").passed

    def test_an_approval_is_for_exactly_one_revision(self) -> None:
        world = three_tiers(prod={"mode": "Manual"})
        world.rounds(6)
        world.push()
        world.rounds(6)
        older = next(iter(world.ledger.verified["beta"].values()))
        world.ask(Approve(tier="prod", revision=older.revision, reason="tested"))
        world.rounds(2)
        assert (pin := world.ledger.pinned("prod"))
        assert pin.revision == older.revision
        assert pin.by == "Yamada <yamada@example.com>"

    def test_a_hold_keeps_everything_out_until_it_is_lifted(self) -> None:
        world = three_tiers()
        world.ask(Hold(tier="beta", reason="an audit"))
        world.rounds(4)
        assert world.pinned("beta") is None
        assert "an audit" in world.check("beta", "NotHeld").detail
        world.ask(Resume(tier="beta", reason="it is over"))
        world.rounds(2)
        assert world.pinned("beta") is not None
        assert world.ledger.holds["beta"]["hold"].lifted is not None

    def test_holding_twice_for_the_same_reason_changes_nothing(self) -> None:
        world = three_tiers()
        assert world.ask(Hold(tier="beta", reason="an audit")).actions
        assert not world.ask(Hold(tier="beta", reason="an audit")).actions

    def test_frozen_tiers_wait_for_the_thaw(self) -> None:
        window = {"name": "monday", "timeZone": "Asia/Tokyo", "weekly": {"from": "Mon 00:00", "to": "Tue 09:00"}}
        world = three_tiers(beta={"freeze": [window]})
        made = world.rounds(4)
        assert world.pinned("beta") is None
        assert made.wake_at is not None
        assert made.wake_at.isoformat() == "2026-11-24T00:00:00+00:00"
        world.now = made.wake_at
        world.rounds(2)
        assert world.pinned("beta") is not None

    def test_a_retry_verifies_anew(self) -> None:
        world = three_tiers(dev={"failureGrace": "0s"})
        world.round(sync=False)
        world.sync(health="Degraded")
        world.act(world.plan().actions)
        world.sync(health="Healthy")
        assert not world.plan().actions
        world.ask(Retry(tier="dev", reason="the registry was down"))
        world.now += timedelta(seconds=1)
        assert kinds(world.plan()) == [ActionKind.VERIFY]
        assert [pin.kind for pin in world.ledger.pins["dev"]] == ["Promotion", "Retry"]

    def test_a_retry_on_a_held_tier_is_refused(self) -> None:
        world = three_tiers(dev={"failureGrace": "0s", "onFailure": "Hold"})
        world.round(sync=False)
        world.sync(health="Degraded")
        world.act(world.plan().actions)
        with pytest.raises(RequestRefusedError, match="held"):
            world.ask(Retry(tier="dev", reason="again"))

    @pytest.mark.parametrize("prefix", ["abc", "zzzz", "deadbeef", "../x"])
    def test_a_revision_that_nobody_knows_is_refused(self, prefix: str) -> None:
        with pytest.raises(RequestRefusedError):
            three_tiers().ask(Approve(tier="prod", revision=prefix, reason="tested"))

    def test_an_unknown_tier_is_refused_with_the_known_ones(self) -> None:
        with pytest.raises(RequestRefusedError, match="dev, beta, prod"):
            three_tiers().ask(Hold(tier="prd", reason="oops"))


class TestRollback:
    def released_twice(self, **promotions: Any) -> tuple[PureWorld, str, str]:
        world = three_tiers(**promotions)
        first = world.sources[Repository.APPS]["tier-0"]
        world.rounds(8)
        second = world.push()
        world.rounds(8)
        return world, first, second

    def test_it_pins_rejects_and_holds_in_one_push(self) -> None:
        world, first, second = self.released_twice()
        (action,) = world.ask(RollBack(tier="prod", reason="carts fail")).actions
        assert isinstance(action, PushCommits)
        assert len(action.commits) == 2
        assert world.pinned("prod") == first
        assert [pin.apps for pin in world.ledger.pins["prod"]] == [first, second, first]
        assert world.ledger.active_holds("prod")
        assert next(iter(world.ledger.rejected["prod"].values())).reason == "RolledBack"

    def test_it_stays(self) -> None:
        world, first, _ = self.released_twice()
        world.ask(RollBack(tier="prod", reason="carts fail"))
        world.rounds(3)
        world.ask(Resume(tier="prod", reason="mended"))
        world.rounds(3)
        assert world.pinned("prod") == first
        third = world.push()
        world.rounds(8)
        assert world.pinned("prod") == third

    def test_the_tier_above_does_not_take_what_was_rolled_back_below(self) -> None:
        world, first, _ = self.released_twice(prod={"mode": "Manual"})
        world.ask(RollBack(tier="beta", reason="carts fail"))
        candidate = world.plan().outlooks["prod"].candidate
        assert candidate is not None
        assert candidate.apps == first

    def test_the_bad_revision_comes_back_only_by_retry(self) -> None:
        world, first, second = self.released_twice()
        world.ask(RollBack(tier="prod", reason="carts fail"))
        bad = next(iter(world.ledger.rejected["prod"]))
        world.ask(Resume(tier="prod", reason="mended"))
        world.ask(Retry(tier="prod", revision=bad, reason="it was the network"))
        world.rounds(2)
        assert world.pinned("prod") == second
        assert first != second

    def test_on_failure_rollback_goes_back_by_itself(self) -> None:
        world, _, second = self.released_twice(prod={"onFailure": "Rollback", "failureGrace": "0s"})
        third = world.push()
        while world.pinned("prod") != third:
            world.round()
        world.sync("a-1", health="Degraded", message="crash")
        world.act(world.plan().actions)
        assert world.pinned("prod") == second
        assert world.ledger.active_holds("prod")

    def test_to_what_was_never_verified_there_is_refused(self) -> None:
        world, _, _ = self.released_twice()
        world.push()
        world.round(sync=False)
        unverified = world.ledger.pins["dev"][-1].revision
        with pytest.raises(RequestRefusedError, match="never verified"):
            world.ask(RollBack(tier="prod", to=unverified, reason="carts fail"))

    def test_with_nothing_to_go_back_to_is_refused(self) -> None:
        world = three_tiers()
        world.rounds(3)
        with pytest.raises(RequestRefusedError, match="no earlier"):
            world.ask(RollBack(tier="dev", reason="carts fail"))


class TestQueue:
    def three_on_beta(self, queue: str) -> tuple[PureWorld, list[str]]:
        world = three_tiers(prod={"queue": queue})
        world.ask(Hold(tier="prod", reason="a sale"))
        commits = []
        for _ in range(3):
            commits.append(world.push())
            world.rounds(5)
        world.ask(Resume(tier="prod", reason="it is over"))
        return world, commits

    def test_latest_goes_to_the_newest_and_records_what_it_skipped(self) -> None:
        world, commits = self.three_on_beta("Latest")
        world.rounds(3)
        (pin,) = world.ledger.pins["prod"]
        assert (pin.apps, len(pin.skipped)) == (commits[2], 2)

    def test_all_takes_each(self) -> None:
        world, commits = self.three_on_beta("All")
        world.rounds(8)
        assert [pin.apps for pin in world.ledger.pins["prod"]] == commits


class TestEmptyTiers:
    SHOPSETS: ClassVar = {name: found for name, found in SHOPSETS.items() if found[0] != "beta"}

    def test_an_empty_tier_blocks(self) -> None:
        world = three_tiers(self.SHOPSETS)
        made = world.rounds(6)
        assert made.outlooks["beta"].progress.phase is Phase.BLOCKED
        assert world.pinned("prod") is None

    def test_unless_it_declares_that_it_passes_revisions_through(self) -> None:
        world = three_tiers(self.SHOPSETS, beta={"whenEmpty": "PassThrough"})
        world.rounds(6)
        assert world.pinned("prod") is not None


class TestLostClusters:
    def lose(self, world: PureWorld, cluster: str) -> None:
        record = (
            f"cluster: {cluster}\nstate: Lost\nsince: 2026-11-23T09:00:00Z\nby: yamada <y@example.com>\nreason: fire\n"
        )
        world.system[BRANCH].files[f"clusters/{cluster}.yaml"] = record.encode()

    def test_its_shopsets_leave_the_quorum_with_a_note(self) -> None:
        world = three_tiers()
        world.rounds(5)
        self.lose(world, "a")
        world.push()
        world.rounds(4)
        world.act(world.plan().actions)
        world.sync("b-2")
        world.round(sync=False)
        newest = world.ledger.pins["prod"][-1].revision
        record = world.ledger.verified["prod"][newest]
        assert [found.name for found in record.shopsets] == ["b-2"]
        assert [(found.name, found.reason) for found in record.absent] == [("a-1", "cluster a is Lost: fire")]

    def test_at_least_one_of_each_configuration_must_verify(self) -> None:
        world = three_tiers()
        world.rounds(1)
        self.lose(world, "c")
        made = world.rounds(3)
        assert made.outlooks["dev"].progress.phase is Phase.BLOCKED
        assert "staging" in made.outlooks["dev"].progress.detail


class TestSources:
    def test_a_repository_that_does_not_answer_is_a_condition_and_the_rest_goes_on(self) -> None:
        world = three_tiers()
        world.round(sync=False)
        world.troubles[Repository.APPS] = Trouble("RepositoryUnreachable", "stopped after 60 s")
        world.push()
        world.sync()
        made = world.round()
        assert world.ledger.verified["dev"]
        assert "RepositoryUnreachable" in reasons(made, "Tier/dev")

    def test_an_empty_repository_says_what_to_push(self) -> None:
        world = PureWorld(make_fleet({"dev": {}}, {}))
        assert reasons(world.plan(), "Tier/dev") == {"SourceMissing"}

    def test_a_rewritten_branch_is_refused(self) -> None:
        world = three_tiers()
        world.rounds(5)
        world.sources[Repository.APPS]["tier-0"] = world.commit()
        made = world.rounds(2)
        assert "HistoryRewritten" in reasons(made, "Tier/dev")
        assert not made.actions

    def test_a_deleted_branch_is_told_with_the_push_that_mends_it(self) -> None:
        world = three_tiers()
        world.rounds(8)
        del world.sources[Repository.APPS]["tier-1"]
        (condition,) = [found for found in world.plan().conditions if found.reason == "SourceDeleted"]
        assert f"{world.pinned('beta')}:refs/heads/tier-1" in condition.message

    def test_commits_pushed_to_an_upper_branch_by_hand_are_told(self) -> None:
        world = three_tiers()
        world.rounds(8)
        world.push("tier-2")
        assert "SourceDiverged" in reasons(world.plan(), "Tier/prod")
        world.push()
        world.rounds(8)
        assert "SourceDiverged" in reasons(world.plan(), "Tier/prod")
        assert world.pinned("beta") != world.pinned("prod")

    def test_a_branch_fast_forwarded_by_hand_gets_no_other_rules(self) -> None:
        world = three_tiers(beta={"bake": "1h"})
        world.rounds(4)
        for repository in world.sources:
            world.sources[repository]["tier-2"] = world.sources[repository]["tier-1"]
        world.rounds(3)
        assert world.pinned("prod") is None


class TestBuilds:
    def test_trouble_of_this_machine_is_no_fault_of_the_revision(self) -> None:
        world = three_tiers()
        world.builds = lambda _: Build("no space left on device", transient=True)
        world.round()
        assert world.check("dev", "Builds").passed is None
        world.builds = lambda _: Build()
        world.round()
        assert world.pinned("dev") is not None

    def test_the_lowest_tier_builds_every_configuration_of_the_fleet(self) -> None:
        world = three_tiers()
        world.plan()
        overlays = [question.overlay for question in world.asked if isinstance(question, BuildOf)]
        assert len(overlays) == 2
        assert {b"configuration/production" in overlay for overlay in overlays} == {True, False}

    def test_what_would_only_break_in_production_is_refused_at_the_lowest_tier(self) -> None:
        world = three_tiers()
        world.builds = lambda question: Build(
            "no such patch" if b"configuration/production" in question.overlay else ""
        )
        made = world.round()
        assert world.pinned("dev") is None
        assert any("no such patch" in condition.message for condition in made.conditions)

    def test_a_base_without_kustomization_is_told(self) -> None:
        world = three_tiers()
        world.components = Components(problem="the base has no kustomization.yaml")
        assert any("no kustomization" in condition.message for condition in world.round().conditions)

    def test_an_untagged_image_is_refused(self) -> None:
        world = three_tiers()
        world.builds = lambda _: Build(images=("example.com/cart",))
        world.round()
        assert world.pinned("dev") is None

    def test_cluster_scoped_objects_of_two_shopsets_of_one_cluster_are_refused(self) -> None:
        world = three_tiers()
        world.builds = lambda _: Build(
            objects=(BuiltObject("rbac.authorization.k8s.io/v1", "ClusterRole", "", "cart", "d"),)
        )
        made = world.round()
        assert any("ClusterRole/cart" in found.message and "cluster b" in found.message for found in made.conditions)


class TestFleetChanges:
    def settled(self, **promotions: Any) -> PureWorld:
        world = three_tiers(**promotions)
        world.rounds(8)
        return world

    def change(self, world: PureWorld, shopsets: dict[str, tuple[str, str, str]], **promotions: Any) -> None:
        world.fleet = make_fleet({tier: promotions.get(tier, {}) for tier in ("dev", "beta", "prod")}, shopsets)

    def test_a_new_shopset_gets_the_revision_that_its_tier_has(self) -> None:
        world = self.settled()
        before = world.ledger.pins["prod"]
        self.change(world, {**SHOPSETS, "c-9": ("prod", "production", "c")})
        world.rounds(2)
        assert world.applications["c-9"].gitlinks["base"] == world.pinned("prod")
        assert world.ledger.pins["prod"] == before

    def test_a_removed_shopset_leaves_the_branch_and_then_its_application_goes(self) -> None:
        world = self.settled()
        self.change(world, {name: found for name, found in SHOPSETS.items() if name != "b-2"})
        made = world.plan()
        assert kinds(made) == [ActionKind.RENDER]
        world.act(made.actions)
        assert kinds(world.plan()) == [ActionKind.DELETE]

    def test_a_shopset_changes_its_tier_in_one_push(self) -> None:
        world = self.settled()
        self.change(world, {**SHOPSETS, "b-2": ("beta", "production", "b")})
        (action,) = world.plan().actions
        assert isinstance(action, PushCommits)
        assert [commit.branch for commit in action.commits] == ["tier-1", "tier-2"]
        world.rounds(2)
        assert world.applications["b-2"].gitlinks["base"] == world.pinned("beta")

    def test_a_held_tier_neither_takes_nor_gives_a_shopset(self) -> None:
        world = self.settled()
        world.ask(Hold(tier="prod", reason="a sale"))
        self.change(world, {**SHOPSETS, "b-2": ("beta", "production", "b")})
        made = world.plan()
        assert not made.actions
        assert "TierChanges" in reasons(made, "ShopSet/b-2")

    def test_an_upper_tier_follows_the_fleet_only_when_it_is_not_held(self) -> None:
        world = self.settled()
        world.ask(Hold(tier="prod", reason="a sale"))
        self.change(world, {**SHOPSETS, "c-9": ("prod", "production", "c")})
        assert not world.plan().actions

    def test_the_level_of_a_tier_never_changes(self) -> None:
        world = self.settled()
        world.fleet = make_fleet({"beta": {}, "dev": {}, "prod": {}}, SHOPSETS)
        assert "LevelChanged" in reasons(world.plan(), "Tier/dev")


class TestRenderers:
    def test_a_new_renderer_changes_nothing_until_its_tier_is_promoted(self) -> None:
        world = three_tiers(beta={"mode": "Manual"})
        world.rounds(3)
        candidate = world.plan().outlooks["beta"].candidate
        assert candidate is not None
        world.ask(Approve(tier="beta", revision=candidate.id, reason="tested"))
        world.rounds(5)
        before = {name: dict(branch.files) for name, branch in world.system.items() if name != BRANCH}
        world.renderers = Renderers({"v1": RENDERERS.versions["v1"], "v2": _Louder()}, "v2")
        world.rounds(4)
        assert world.system["tier-1"].files == before["tier-1"]
        assert world.system["tier-2"].files == before["tier-2"]
        assert b"renderer: v2" in world.system["tier-0"].files["revision.yaml"]
        assert world.system["tier-0"].files["overlays/c-1/kustomization.yaml"].startswith(b"# louder")

    def test_a_pin_that_needs_an_older_renderer_stops_everything(self) -> None:
        world = three_tiers()
        world.rounds(8)
        world.renderers = Renderers({"v3": _Louder()}, "v3")
        world.push()
        made = world.plan()
        assert not made.actions
        assert "RendererUnknown" in reasons(made, "Tier/prod")

    def test_also_where_only_one_tier_needs_it(self) -> None:
        world = three_tiers(prod={"mode": "Manual"})
        world.renderers = Renderers({"v1": RENDERERS.versions["v1"]}, "v1")
        world.rounds(8)
        candidate = world.plan().outlooks["prod"].candidate
        assert candidate is not None
        world.ask(Approve(tier="prod", revision=candidate.id, reason="tested"))
        world.rounds(3)
        world.renderers = Renderers({"v1": RENDERERS.versions["v1"], "v2": _Louder()}, "v2")
        world.rounds(6)
        world.renderers = Renderers({"v2": _Louder(), "v3": _Louder()}, "v3")
        world.push()
        made = world.plan()
        assert not made.actions
        assert "RendererUnknown" in reasons(made, "Tier/prod")
        assert "RendererUnknown" not in reasons(made, "Tier/dev")


class _Louder:
    """A renderer that writes other bytes."""

    def tier_files(self, *arguments: Any) -> Any:
        return RENDERERS.versions["v1"].tier_files(*arguments)

    def overlay(self, *arguments: Any) -> bytes:
        return b"# louder\n" + RENDERERS.versions["v1"].overlay(*arguments)

    def application(self, *arguments: Any) -> bytes:
        return RENDERERS.versions["v1"].application(*arguments)


class TestAdoption:
    def test_a_running_platform_is_taken_over_as_it_is(self) -> None:
        world = three_tiers()
        old = world.sources[Repository.APPS]["tier-0"]
        for repository in world.sources:
            world.sources[repository]["tier-2"] = world.sources[repository]["tier-0"]
        world.push()
        world.ask(Adopt(tier="prod", reason="it runs there since 2021"))
        world.round()
        assert world.pinned("prod") == old
        assert world.ledger.pins["prod"][0].kind == "Adoption"
        world.rounds(8)
        assert world.pinned("prod") == world.pinned("dev") != old

    def test_a_tier_that_was_pinned_cannot_be_adopted(self) -> None:
        world = three_tiers()
        world.rounds(8)
        with pytest.raises(RequestRefusedError, match="pinned before"):
            world.ask(Adopt(tier="prod", reason="again"))


class TestHotfix:
    def test_a_branch_of_a_tier_that_was_never_pinned_is_mended_too(self) -> None:
        world = three_tiers()
        world.push("tier-2")
        world.rounds(8)
        assert world.pinned("prod") is None
        world.ask(Hotfix(tier="prod", reason="a stray commit", discard=True))
        world.rounds(8)
        assert world.pinned("prod") == world.pinned("dev")

    def test_it_climbs_ahead_of_pending_work_as_a_merge(self) -> None:
        world = three_tiers(dev={"bake": "1h"}, beta={"bake": "1h"})
        world.round()
        world.now += timedelta(hours=1)
        world.round()
        world.now += timedelta(hours=1)
        world.rounds(3)
        running = world.pinned("prod")
        assert running is not None
        pending = world.push()
        world.rounds(2)
        fix = world.commit(running)
        request = Hotfix(tier="prod", reason="carts fail", apps=fix, bake=timedelta(seconds=2))
        while world.ask(request).actions:
            pass
        merge = world.sources[Repository.APPS]["tier-0"]
        assert world.parents[merge] == (pending, fix)
        assert world.trees[merge] == world.trees[fix]
        world.rounds(12)
        assert [world.pinned(tier) for tier in ("dev", "beta", "prod")] == [merge] * 3
        approvals = world.ledger.approvals["dev"]
        assert all(given.expedite for found in approvals.values() for given in found)

    def test_a_fix_that_is_not_based_on_the_pin_is_refused(self) -> None:
        world = three_tiers()
        world.rounds(8)
        with pytest.raises(RequestRefusedError, match="not based on"):
            world.ask(Hotfix(tier="prod", reason="carts fail", apps=world.commit()))

    def test_the_lowest_tier_needs_none(self) -> None:
        world = three_tiers()
        world.rounds(3)
        with pytest.raises(RequestRefusedError, match="lowest"):
            world.ask(Hotfix(tier="dev", reason="carts fail"))

    def test_the_same_merge_mends_a_branch_that_diverged(self) -> None:
        world = three_tiers()
        world.rounds(8)
        stray = world.push("tier-2")
        newest = world.push()
        world.rounds(4)
        assert world.pinned("prod") != newest
        world.ask(Hotfix(tier="prod", reason="a stray commit", discard=True))
        merge = world.sources[Repository.APPS]["tier-0"]
        assert set(world.parents[merge]) == {newest, stray}
        world.rounds(8)
        assert world.pinned("prod") == merge


class TestByHand:
    def test_a_pin_that_the_ledger_does_not_know_is_a_loud_condition(self) -> None:
        world = three_tiers()
        world.rounds(8)
        branch = world.system["tier-2"]
        other = world.push()
        branch.files["revision.yaml"] = branch.files["revision.yaml"].replace(
            branch.gitlinks["base"].encode(), other.encode()
        )
        branch.gitlinks["base"] = other
        assert "UnverifiedPin" in reasons(world.plan(), "Tier/prod")

    def test_a_malformed_ledger_file_stops_its_tier_only(self) -> None:
        world = three_tiers()
        world.rounds(2)
        world.system[BRANCH].files["verified/beta/x.yaml"] = b"what?"
        world.push()
        made = world.rounds(4)
        assert "LedgerMalformed" in reasons(made, "Tier/beta")
        assert world.pinned("dev") == world.sources[Repository.APPS]["tier-0"]

    def test_a_deleted_system_branch_is_told(self) -> None:
        world = three_tiers()
        world.rounds(8)
        del world.system["tier-2"]
        made = world.plan()
        assert "BranchDeleted" in reasons(made, "Tier/prod")
        assert not made.actions

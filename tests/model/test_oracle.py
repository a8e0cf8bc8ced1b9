"""The oracle finds nothing in a correct history, and each broken rule in a spoilt one."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from model import repositories
from model.hands import Link
from model.oracle import Oracle
from model.releases import Clerk, Pinned, moment, text_of
from model.verdicts import Rule
from model.wishes import Member, TierRules, Wish

WISH = Wish(
    tiers={
        "dev": TierRules(level=0),
        "beta": TierRules(level=1, bake=timedelta(seconds=30)),
        "prod": TierRules(level=2, approvals=1, on_failure="Rollback"),
    },
    shopsets={
        "c-2": Member("dev", "staging", "c"),
        "c-1": Member("beta", "staging", "c"),
        "a-2": Member("prod", "production", "a"),
        "b-1": Member("prod", "production", "b"),
    },
)


class Desk(Clerk):
    """A clerk with two releases behind: the second is on dev and beta, verified on both, and not on prod yet."""

    first: Pinned
    second: Pinned

    def release(self, revision: Pinned) -> None:
        """Bring a revision to dev and beta, verified on both."""
        self.tag(revision)
        for tier in ("dev", "beta"):
            if tier != "dev":
                self.forward(tier, revision)
            self.pin(tier, revision)
            self.wait(5)
            self.verify(tier)

    def enter_prod(self, revision: Pinned) -> None:
        """Bring a revision, approved, to prod."""
        self.record(self.approval("prod", revision, "yamada"))
        self.forward("prod", revision)
        self.pin("prod", revision)
        self.wait(5)
        self.verify("prod")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Desk]:
    folder = tmp_path_factory.mktemp("template")
    repositories.create(folder)
    desk = Desk(folder, WISH)
    desk.record({"tiers.yaml": b"dev: {level: 0}\nbeta: {level: 1}\nprod: {level: 2}\n"})
    desk.first = desk.develop("dev", "one")
    desk.release(desk.first)
    desk.enter_prod(desk.first)
    desk.second = desk.develop("dev", "two")
    desk.release(desk.second)
    return folder, desk


@pytest.fixture
def desk(template: tuple[Path, Desk], tmp_path: Path) -> Desk:
    shutil.copytree(template[0], tmp_path, dirs_exist_ok=True, symlinks=True)
    fresh = Desk(tmp_path, WISH, template[1].now, counts=dict(template[1].counts), pinned=dict(template[1].pinned))
    fresh.first, fresh.second = template[1].first, template[1].second
    return fresh


@pytest.fixture
def oracle(desk: Desk) -> Iterator[Oracle]:
    with Oracle(desk.folder, WISH) as watching:
        assert watching.check() == []
        yield watching


def _complete(desk: Desk) -> None:
    desk.enter_prod(desk.second)


def _roll_back(desk: Desk) -> None:
    desk.enter_prod(desk.second)
    bad = desk.pinned["prod"]
    desk.pin(
        "prod",
        desk.first,
        {**desk.rejection("prod", bad, pin=2, reason="RolledBack"), **desk.hold("prod")},
        kind="Rollback",
    )


def _reject_and_retry(desk: Desk) -> None:
    third = desk.develop("dev", "three")
    desk.tag(third)
    desk.pin("dev", third)
    desk.record(desk.rejection("dev"))
    lifted = {f"rejected/dev/{third.id}.yaml": None}
    desk.record({**lifted, **desk.pin_record("dev", third, kind="Retry")})
    desk.verify("dev")


def _hold_and_lift(desk: Desk) -> None:
    desk.record(desk.hold("prod"))
    desk.wait()
    desk.record(
        desk.hold(
            "prod",
            since=moment(desk.now - timedelta(seconds=1)),
            lifted={"at": moment(desk.now), "by": "x", "reason": "y"},
        )
    )
    desk.enter_prod(desk.second)


def _lose_a_cluster(desk: Desk) -> None:
    lost = {"cluster": "b", "state": "Lost", "since": moment(desk.now), "by": "x", "reason": "fire"}
    desk.record({"clusters/b.yaml": text_of(lost), **desk.approval("prod", desk.second, "yamada")})
    desk.forward("prod", desk.second)
    desk.pin("prod", desk.second)
    evidence = [entry for entry in desk.verification("prod")["shopsets"] if entry["name"] == "a-2"]
    desk.verify("prod", shopsets=evidence, absent=[{"name": "b-1", "cluster": "b", "reason": "lost"}])


@pytest.mark.parametrize("history", [_complete, _roll_back, _reject_and_retry, _hold_and_lift, _lose_a_cluster])
def test_finds_nothing_in_a_correct_history(desk: Desk, oracle: Oracle, history: Callable[[Desk], None]) -> None:
    history(desk)
    assert oracle.check() == []


SPOILT: list[tuple[Rule, Callable[[Desk], None]]] = []


def _breaks(rule: Rule) -> Callable[[Callable[[Desk], None]], Callable[[Desk], None]]:
    def register(history: Callable[[Desk], None]) -> Callable[[Desk], None]:
        SPOILT.append((rule, history))
        return history

    return register


def _pin_on_prod(desk: Desk, revision: Pinned, **fields: Any) -> None:
    desk.record(desk.approval("prod", revision, "yamada"))
    desk.forward("prod", revision)
    desk.pin("prod", revision, **fields)


@_breaks(Rule.ORDER)
def _pin_without_verification(desk: Desk) -> None:
    third = desk.develop("dev", "three")
    desk.tag(third)
    desk.pin("dev", third)
    desk.forward("beta", third)
    desk.pin("beta", third)


@_breaks(Rule.ORDER)
def _pin_in_the_commit_that_verifies(desk: Desk) -> None:
    third = desk.develop("dev", "three")
    desk.tag(third)
    desk.pin("dev", third)
    desk.forward("beta", third)
    desk.pin("beta", third, {f"verified/dev/{third.id}.yaml": text_of(desk.verification("dev"))})


@_breaks(Rule.ORDER)
def _pin_what_the_lower_tier_rejected_since(desk: Desk) -> None:
    desk.record(desk.rejection("beta", reason="RolledBack"))
    _pin_on_prod(desk, desk.second)


@_breaks(Rule.SAME_OBJECTS)
def _copy_a_commit(desk: Desk) -> None:
    head = desk.hands.head("apps", "refs/heads/tier-2")
    copied = desk.hands.commit("apps", [str(head)], {"x": b"two"}, desk.now, "two, cherry-picked")
    assert desk.hands.push("apps", {"refs/heads/tier-2": copied})


@_breaks(Rule.FAST_FORWARD)
def _force_push_a_tier(desk: Desk) -> None:
    other = desk.hands.commit("apps", [], {"x": b"other"}, desk.now)
    assert desk.hands.push("apps", {"refs/heads/tier-0": other}, force=True)


@_breaks(Rule.FAST_FORWARD)
def _force_push_the_ledger(desk: Desk) -> None:
    parent = desk.hands.head("system", "refs/heads/ledger~1")
    assert desk.hands.push("system", {"refs/heads/ledger": parent}, force=True)


@_breaks(Rule.DELETED)
def _delete_a_branch(desk: Desk) -> None:
    assert desk.hands.push("configuration", {"refs/heads/tier-1": None})


@_breaks(Rule.TAG_MOVED)
def _move_a_tag(desk: Desk) -> None:
    assert desk.hands.push("apps", {f"refs/tags/shopset/{desk.first.id[:7]}": desk.second.apps}, force=True)


@_breaks(Rule.KEPT_ALIVE)
def _pin_without_a_tag(desk: Desk) -> None:
    desk.pin("dev", desk.develop("dev", "three"))


@_breaks(Rule.KEPT_ALIVE)
def _pin_what_does_not_exist(desk: Desk) -> None:
    desk.pin("dev", Pinned("1" * 40, "2" * 40))


@_breaks(Rule.APPEND_ONLY)
def _remove_a_verification(desk: Desk) -> None:
    desk.record({f"verified/beta/{desk.second.id}.yaml": None})


@_breaks(Rule.APPEND_ONLY)
def _change_a_pin(desk: Desk) -> None:
    desk.record({"pins/prod/000001.yaml": b"revision: x\n"})


@_breaks(Rule.APPEND_ONLY)
def _change_a_hold(desk: Desk) -> None:
    desk.record(desk.hold("prod"))
    desk.record(desk.hold("prod", reason="another"))


@_breaks(Rule.APPEND_ONLY)
def _remove_a_hold(desk: Desk) -> None:
    desk.record(desk.hold("prod"))
    desk.record({"holds/prod/hold.yaml": None})


@_breaks(Rule.FLEET)
def _change_one_overlay(desk: Desk) -> None:
    changed = WISH.overlay("prod", "a-2", ("cart",)).replace(b"shopset-a-2", b"shopset-a-3")
    commit = desk.tier_commit("prod", {"overlays/a-2/kustomization.yaml": changed})
    assert desk.hands.push("system", {"refs/heads/tier-2": commit})


@_breaks(Rule.FLEET)
def _drop_one_overlay(desk: Desk) -> None:
    commit = desk.tier_commit("prod", {"overlays/a-2/kustomization.yaml": None, "applications/a-2.yaml": None})
    assert desk.hands.push("system", {"refs/heads/tier-2": commit})


@_breaks(Rule.ONE_REVISION)
def _update_only_one_shopset(desk: Desk) -> None:
    desk.components = ("cart", "page")
    third = desk.develop("dev", "three")
    desk.release(third)
    desk.record(desk.approval("prod", third, "yamada"))
    desk.forward("prod", third)
    tree = desk.tree("prod", third)
    del tree["overlays/b-1/kustomization.yaml"]
    desk.record(desk.pin_record("prod", third), {"refs/heads/tier-2": desk.tier_commit("prod", tree)})


@_breaks(Rule.ONE_TIER)
def _keep_a_shopset_on_two_tiers(desk: Desk) -> None:
    files = {
        "overlays/c-1/kustomization.yaml": WISH.overlay("prod", "c-1", ("cart",)),
        "applications/c-1.yaml": desk.application("prod", "c-1"),
    }
    assert desk.hands.push("system", {"refs/heads/tier-2": desk.tier_commit("prod", files)})


@_breaks(Rule.REVISION_FILE)
def _move_a_gitlink_alone(desk: Desk) -> None:
    assert desk.hands.push("system", {"refs/heads/tier-2": desk.tier_commit("prod", {"base": Link(desk.second.apps)})})


@_breaks(Rule.REVISION_FILE)
def _put_an_absolute_url_into_gitmodules(desk: Desk) -> None:
    modules = b'[submodule "base"]\n\tpath = base\n\turl = https://user:secret@example.com/shopset-apps.git\n'
    assert desk.hands.push("system", {"refs/heads/tier-2": desk.tier_commit("prod", {".gitmodules": modules})})


@_breaks(Rule.PATHS)
def _add_a_stray_file(desk: Desk) -> None:
    assert desk.hands.push("system", {"refs/heads/tier-2": desk.tier_commit("prod", {"README": b"hello"})})


@_breaks(Rule.PIN_WITH_RECORD)
def _pin_without_a_record(desk: Desk) -> None:
    assert desk.hands.push("system", {"refs/heads/tier-2": desk.tier_commit("prod", desk.tree("prod", desk.second))})


@_breaks(Rule.PIN_WITH_RECORD)
def _record_without_a_pin(desk: Desk) -> None:
    desk.record({**desk.approval("prod", desk.second, "yamada")})
    desk.record(desk.pin_record("prod", desk.second))


@_breaks(Rule.PIN_WITH_RECORD)
def _push_the_pin_after_its_record(desk: Desk) -> None:
    _record_without_a_pin(desk)
    assert desk.hands.push("system", {"refs/heads/tier-2": desk.tier_commit("prod", desk.tree("prod", desk.second))})


@_breaks(Rule.REJECTED)
def _pin_what_was_rejected(desk: Desk) -> None:
    _roll_back(desk)
    desk.record(desk.hold("prod", lifted={"at": moment(desk.now), "by": "x", "reason": "y"}))
    desk.pin("prod", desk.second)


@_breaks(Rule.HELD)
def _pin_to_a_held_tier(desk: Desk) -> None:
    desk.record(desk.hold("prod"))
    _pin_on_prod(desk, desk.second)


@_breaks(Rule.APPROVED)
def _pin_without_approval(desk: Desk) -> None:
    desk.forward("prod", desk.second)
    desk.pin("prod", desk.second)


@_breaks(Rule.APPROVED)
def _approve_another_revision(desk: Desk) -> None:
    desk.record(desk.approval("prod", desk.first, "suzuki"))
    desk.forward("prod", desk.second)
    desk.pin("prod", desk.second)


@_breaks(Rule.NEWER)
def _promote_backwards(desk: Desk) -> None:
    desk.enter_prod(desk.second)
    desk.pin("prod", desk.first)


@_breaks(Rule.ADOPTION)
def _adopt_a_tier_twice(desk: Desk) -> None:
    desk.record(desk.approval("prod", desk.second, "yamada", adopt=True))
    desk.forward("prod", desk.second)
    desk.pin("prod", desk.second, kind="Adoption")


@_breaks(Rule.SEQUENCE)
def _leave_a_gap(desk: Desk) -> None:
    desk.counts["prod"] += 1
    _pin_on_prod(desk, desk.second)


@_breaks(Rule.SEQUENCE)
def _name_another_previous_pin(desk: Desk) -> None:
    _pin_on_prod(desk, desk.second, previous="3" * 40)


@_breaks(Rule.ROLLBACK)
def _roll_back_without_rejecting(desk: Desk) -> None:
    desk.enter_prod(desk.second)
    desk.pin("prod", desk.first, desk.hold("prod"), kind="Rollback")


@_breaks(Rule.ROLLBACK)
def _roll_back_without_holding(desk: Desk) -> None:
    desk.enter_prod(desk.second)
    desk.pin("prod", desk.first, desk.rejection("prod", desk.second, pin=2, reason="RolledBack"), kind="Rollback")


@_breaks(Rule.ROLLBACK)
def _roll_back_to_what_was_never_verified(desk: Desk) -> None:
    third = desk.develop("dev", "three")
    desk.tag(third)
    desk.pin("dev", third, {**desk.rejection("dev"), **desk.hold("dev")}, kind="Rollback")


@_breaks(Rule.ON_FAILURE)
def _reject_without_rolling_back(desk: Desk) -> None:
    _pin_on_prod(desk, desk.second)
    desk.record({**desk.rejection("prod"), **desk.hold("prod")})


@_breaks(Rule.ON_FAILURE)
def _reject_without_holding(desk: Desk) -> None:
    _pin_on_prod(desk, desk.second)
    desk.record(desk.rejection("prod"))


@_breaks(Rule.EXCLUSIVE)
def _reject_what_was_verified(desk: Desk) -> None:
    desk.record(desk.rejection("beta"))


@_breaks(Rule.RETRY)
def _lift_a_rejection_without_a_new_pin(desk: Desk) -> None:
    third = desk.develop("dev", "three")
    desk.tag(third)
    desk.pin("dev", third)
    desk.record(desk.rejection("dev"))
    desk.record({f"rejected/dev/{third.id}.yaml": None})


@_breaks(Rule.EVIDENCE)
def _verify_without_one_shopset(desk: Desk) -> None:
    _pin_on_prod(desk, desk.second)
    desk.verify("prod", shopsets=desk.verification("prod")["shopsets"][:1])


@_breaks(Rule.EVIDENCE)
def _verify_at_an_older_commit(desk: Desk) -> None:
    old = desk.hands.head("system", "refs/heads/tier-2")
    _pin_on_prod(desk, desk.second)
    desk.verify("prod", shopsets=[entry | {"commit": old} for entry in desk.verification("prod")["shopsets"]])


@_breaks(Rule.EVIDENCE)
def _excuse_a_shopset_whose_cluster_is_there(desk: Desk) -> None:
    _pin_on_prod(desk, desk.second)
    evidence = desk.verification("prod")["shopsets"][:1]
    desk.verify("prod", shopsets=evidence, absent=[{"name": "b-1", "cluster": "b", "reason": "lost"}])


@_breaks(Rule.EVIDENCE)
def _verify_an_older_pin(desk: Desk) -> None:
    _pin_on_prod(desk, desk.second)
    desk.verify("prod", pin=1)


@_breaks(Rule.EVIDENCE)
def _trust_health_from_before_the_pin(desk: Desk) -> None:
    _pin_on_prod(desk, desk.second)
    early = moment(desk.now - timedelta(hours=1))
    desk.verify(
        "prod",
        healthySince=early,
        shopsets=[
            entry | {"syncedAt": early, "healthySince": early} for entry in desk.verification("prod")["shopsets"]
        ],
    )


@_breaks(Rule.EVIDENCE)
def _verify_despite_a_failing_gate(desk: Desk) -> None:
    _pin_on_prod(desk, desk.second)
    desk.verify("prod", gates=[{"name": "alerts", "result": "Fail"}])


@_breaks(Rule.BAKE)
def _cut_the_bake_short(desk: Desk) -> None:
    third = desk.develop("dev", "three")
    desk.tag(third)
    desk.pin("dev", third)
    desk.verify("dev")
    desk.forward("beta", third)
    desk.pin("beta", third)
    desk.wait(10)
    late = moment(desk.now)
    entries = [entry | {"syncedAt": late, "healthySince": late} for entry in desk.verification("beta")["shopsets"]]
    record = desk.verification("beta", healthySince=late, shopsets=entries, bake="30s")
    desk.record({f"verified/beta/{third.id}.yaml": text_of(record)})


@_breaks(Rule.RENDERER)
def _use_an_unknown_renderer(desk: Desk) -> None:
    revision = replace(desk.second, renderer="v9")
    desk.tag(revision)
    desk.pin("dev", revision)


@_breaks(Rule.LEVELS)
def _change_a_level(desk: Desk) -> None:
    desk.record({"tiers.yaml": b"dev: {level: 0}\nbeta: {level: 3}\nprod: {level: 2}\n"})


@_breaks(Rule.RECORD)
def _write_keys_in_another_order(desk: Desk) -> None:
    desk.record(
        {"holds/prod/hold.yaml": text_of({"since": moment(desk.now), "tier": "prod", "by": "x", "reason": "y"})}
    )


@_breaks(Rule.PATHS)
def _add_a_stray_record(desk: Desk) -> None:
    desk.record({"notes/prod.yaml": b"a: b\n"})


@_breaks(Rule.LINEAR)
def _merge_into_the_ledger(desk: Desk) -> None:
    head, older = (str(desk.hands.head("system", f"refs/heads/ledger{suffix}")) for suffix in ("", "~1"))
    merge = desk.hands.commit("system", [head, older], {}, desk.now)
    assert desk.hands.push("system", {"refs/heads/ledger": merge})


@_breaks(Rule.JOURNAL)
def _move_a_branch_on_the_server(desk: Desk) -> None:
    packed = repositories.location(desk.folder, "apps") / "refs" / "heads" / "tier-2"
    packed.write_text(f"{desk.second.apps}\n")


@pytest.mark.parametrize(("rule", "history"), SPOILT, ids=[history.__name__.strip("_") for _, history in SPOILT])
def test_finds_each_broken_rule(desk: Desk, oracle: Oracle, rule: Rule, history: Callable[[Desk], None]) -> None:
    history(desk)
    found = oracle.check()
    assert rule in {violation.rule for violation in found}, found


def test_a_frozen_tier_takes_no_pin(desk: Desk, oracle: Oracle) -> None:
    _complete(desk)
    span = (desk.now - timedelta(minutes=1), desk.now + timedelta(minutes=1))
    oracle.wishes = (replace(WISH, tiers={**WISH.tiers, "prod": replace(WISH.tiers["prod"], freezes=(span,))}),)
    assert {violation.rule for violation in oracle.check()} == {Rule.FROZEN}


def test_every_rule_has_a_history_that_breaks_it() -> None:
    assert {rule for rule, _ in SPOILT} | {Rule.FROZEN} == set(Rule)


def test_a_person_may_be_excused(desk: Desk, oracle: Oracle) -> None:
    other = desk.hands.commit("apps", [], {"x": b"other"}, desk.now)
    oracle.excuse("apps", "refs/heads/tier-0", other)
    assert desk.hands.push("apps", {"refs/heads/tier-0": other}, force=True)
    assert oracle.check() == []

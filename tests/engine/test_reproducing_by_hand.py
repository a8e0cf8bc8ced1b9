"""No operation is possible only through shopset: the printed commands make the same trees and the same Applications."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from shopset.cli.scaffolding import Copy
from shopset.core.placement.requests import LoseCluster, PlacementRequest, ReturnCluster
from shopset.core.release.actions import ActionKind, AnyAction
from shopset.core.release.commands import Places, script
from shopset.core.release.observed import Repository
from shopset.core.release.requests import Adopt, Approve, Hold, Hotfix, Request, Resume, Retry, RollBack
from support.worlds import ENVIRONMENT, YAMADA, World, git

REPOSITORIES = ("system", "apps", "configuration")


def run_in_bash(text: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script, which leaves nothing below TMPDIR."""
    (folder / "tmp").mkdir(parents=True)
    environment = {**ENVIRONMENT, "TMPDIR": str(folder / "tmp")}
    done = subprocess.run(["bash"], input=text, env=environment, capture_output=True, text=True, check=False)
    assert not list((folder / "tmp").iterdir())
    return done


class ByHand:
    """Does every plan twice: by the printed commands on a copy, and by the engine; and compares."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.copy = world.folder / "copy"
        self.seen: set[ActionKind] = set()

    def do(self, actions: Sequence[AnyAction]) -> None:
        if not actions:
            return
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.world.folder / "git", self.copy / "git", symlinks=True)
        if (self.world.folder / "clusters").exists():
            shutil.copytree(self.world.folder / "clusters", self.copy / "clusters", symlinks=True)
        self.run_in_bash(script(actions, self.places()))
        outcome = self.world.workplace.engine.act(actions)
        assert (outcome.done, outcome.failures) == (tuple(actions), ())
        for name in REPOSITORIES:
            assert trees(self.copy / "git" / f"shopset-{name}.git") == trees(self.world.repository(name)), actions
        assert applications(self.copy / "clusters") == applications(self.world.folder / "clusters"), actions
        self.seen |= {action.kind for action in actions}

    def places(self) -> Places:
        urls = {kind: str(self.copy / "git" / f"shopset-{kind}.git") for kind in Repository}
        return replace(self.world.workplace.places, urls=urls, applications=str(self.copy / "clusters"))

    def run_in_bash(self, text: str) -> None:
        done = run_in_bash(text, self.copy)
        assert done.returncode == 0, f"{done.stderr}\n{text}"

    def round(self) -> None:
        self.world.workplace.reconcile()
        plan, _ = self.world.plan()
        while plan.actions:
            self.do(plan.actions)
            plan, _ = self.world.plan()
        self.world.now += self.world.step_length

    def rounds(self, number: int) -> None:
        for _ in range(number):
            self.round()

    def ask(self, request: Request) -> None:
        plan, _ = self.world.workplace.engine.respond(request, YAMADA)
        assert plan.actions, request
        self.do(plan.actions)

    def place(self) -> None:
        """Make steps of the placement until none is left."""
        while True:
            plan, *_ = self.world.workplace.placer.plan(self.world.workplace.engine.observe())
            self.do(plan.actions)
            if not plan.actions:
                if plan.wake_at is None:
                    return
                self.world.now = plan.wake_at

    def ask_placement(self, request: PlacementRequest) -> None:
        releases, observed = self.world.plan()
        plan, _ = self.world.workplace.placer.respond(request, YAMADA, releases, observed)
        assert plan.actions, request
        self.do(plan.actions)


def trees(repository: Path) -> dict[str, str]:
    lines = git("for-each-ref", "--format=%(refname) %(tree)", folder=repository).splitlines()
    return dict(line.split(" ") for line in lines)


def applications(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("*/applications/*"))}


@pytest.fixture
def world(tmp_path: Path) -> World:
    tiers = {
        "dev": ("failureGrace: 1s",),
        "beta": ("failureGrace: 1s", "bake: 2s", "onFailure: Rollback"),
        "prod": ("failureGrace: 1s", "bake: 2s", "approvals:", "  required: 1"),
    }
    return World(tmp_path, tiers)


@pytest.mark.long
def test_every_kind_of_action_can_be_done_by_hand(world: World) -> None:
    hand = ByHand(world)
    for name in ("apps", "configuration"):
        git("push", "--quiet", ".", "tier-0:tier-2", folder=world.repository(name))
    hand.ask(Adopt(tier="prod", reason="it runs there since 2021"))
    hand.rounds(12)
    world.annotate(release="2", subject="a release")
    hand.rounds(8)
    hand.ask(Approve(tier="prod", revision=revision(world, "beta"), reason="tested"))
    hand.rounds(6)
    world.annotate(degraded="beta", subject="a bad release")
    hand.rounds(10)
    hand.ask(Resume(tier="beta", reason="mended"))
    hand.ask(RollBack(tier="prod", reason="carts are slow"))
    hand.ask(Resume(tier="prod", reason="mended"))
    hand.ask(Hold(tier="dev", reason="a quiet hour"))
    hand.ask(Resume(tier="dev", reason="it is over"))
    world.annotate(degraded="*", subject="another bad release")
    hand.rounds(6)
    hand.ask(Retry(tier="dev", reason="the registry was down"))
    hand.rounds(4)
    fix = world.push({"cart/fix": "mended\n"}, branch="fix", base=pinned_apps(world, "beta"), subject="mend the cart")
    hand.ask(Hotfix(tier="beta", reason="carts fail", apps=fix))
    hand.ask(Hotfix(tier="beta", reason="carts fail", apps=fix))
    hand.rounds(6)
    world.change([*world.copies, Copy("c-9", "dev", "staging", "c")])
    hand.rounds(2)
    world.retier("b-2", "beta")
    hand.rounds(2)
    world.change([copy for copy in world.copies if copy.name != "c-9"])
    hand.rounds(2)
    shops = {"hoge": ("hoge.example.com",), "foo": ("foo.example.com", "*.foo.example.com")}
    world.place_shops(shops)
    hand.place()
    hand.ask_placement(LoseCluster(cluster="a", reason="fire"))
    hand.place()
    hand.ask_placement(ReturnCluster(cluster="a", reason="it is out"))
    hand.place()
    assert not folders(world) & {"edge"}
    copies = [replace(copy, endpoint=f"http://127.0.0.1:{8000 + number}") for number, copy in enumerate(world.copies)]
    world.change(copies)
    world.place_shops(shops)
    hand.place()
    assert folders(world) == {"edge", "groups", "shops"}
    world.change([replace(copy, endpoint=f"{copy.endpoint}0") for copy in copies])
    world.place_shops(shops)
    hand.place()
    assert (
        git("log", "-1", "--format=%s", "placement", folder=world.repository("system")) == "bring the edge up to date"
    )
    # Directory clusters look at git by themselves; what Argo CD is asked for is in tests/kubernetes.
    assert hand.seen == set(ActionKind) - {ActionKind.REFRESH, ActionKind.SYNC}


def folders(world: World) -> set[str]:
    """Return the folders of the placement."""
    return set(git("ls-tree", "--name-only", "placement", folder=world.repository("system")).split())


def revision(world: World, tier: str) -> str:
    found = world.plan()[1].tiers[tier].revision
    assert found is not None
    return found.id


def pinned_apps(world: World, tier: str) -> str:
    found = world.plan()[1].tiers[tier].revision
    assert found is not None
    return found.apps


def test_a_script_that_fails_leaves_nothing_either(tmp_path: Path) -> None:
    text = script((), Places({}, "")) + "touch clone\nfalse\n"
    assert run_in_bash(text, tmp_path).returncode == 1

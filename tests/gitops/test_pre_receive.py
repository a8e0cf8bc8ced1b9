"""The hook of shopset-system: what shopset does passes, and what breaks a rule does not, whoever pushes."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shopset.cli.scaffolding import install_hook
from shopset.core.release.requests import Hold, Resume, RollBack
from support.worlds import ENVIRONMENT, World, git


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Released up to beta; prod waits for a person."""
    world = World(tmp_path, {"dev": (), "beta": (), "prod": ("mode: Manual",)})
    world.climb("beta")
    install_hook(world.repository("system"), (sys.executable, "-m", "shopset.cli"))
    return world


def attempt(world: World, change: Callable[[Path], None], *refspecs: str, force: bool = False) -> str:
    """Push by hand; return what the server said, empty where it took it."""
    work = world.folder / "by-hand"
    shutil.rmtree(work, ignore_errors=True)
    git("clone", "--quiet", "--no-checkout", str(world.repository("system")), str(work))
    change(work)
    command = ["git", "push", "--quiet", "--atomic", *(["--force"] if force else []), "origin", *refspecs]
    done = subprocess.run(command, cwd=work, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def on(branch: str, *edits: tuple[str, str | None]) -> Callable[[Path], None]:
    def change(work: Path) -> None:
        git("switch", "--quiet", branch, folder=work)
        for path, content in edits:
            if content is None:
                (work / path).unlink()
            else:
                (work / path).parent.mkdir(parents=True, exist_ok=True)
                (work / path).write_text(content)
            git("add", "--all", "--", path, folder=work)
        git("commit", "--quiet", "--allow-empty", "-m", "by hand", folder=work)

    return change


def test_everything_that_shopset_does_passes(tmp_path: Path) -> None:
    world = World(tmp_path, {"dev": (), "beta": (), "prod": ("bake: 2s",)})
    world.climb()
    install_hook(world.repository("system"), (sys.executable, "-m", "shopset.cli"))
    world.annotate(release="2")
    world.climb()
    world.ask(RollBack(tier="prod", reason="carts fail"))
    world.ask(Resume(tier="prod", reason="mended"))
    world.ask(Hold(tier="dev", reason="a quiet hour"))
    world.ask(Resume(tier="dev", reason="it is over"))
    world.retier("b-2", "beta")
    world.step()
    assert "b-2" in world.plan()[1].tiers["beta"].overlays


def test_an_upper_tier_takes_nothing_that_the_lower_one_has_not_verified(world: World) -> None:
    def skip(work: Path) -> None:
        git("branch", "tier-2", "origin/tier-1", folder=work)

    assert "Recorded" in attempt(world, skip, "tier-2")


def test_a_tier_branch_is_never_rewritten_nor_deleted(world: World) -> None:
    def rewind(work: Path) -> None:
        git("checkout", "--quiet", "-B", "tier-0", "origin/tier-1", folder=work)

    assert "FastForward" in attempt(world, rewind, "tier-0", force=True)
    assert "NotDeleted" in attempt(world, lambda _: None, ":tier-0")
    assert "NotDeleted" in attempt(world, lambda _: None, ":ledger")


def test_the_commits_are_those_of_the_revision(world: World) -> None:
    def relink(work: Path) -> None:
        git("switch", "--quiet", "tier-0", folder=work)
        git("update-index", "--cacheinfo", f"160000,{'c' * 40},base", folder=work)
        git("commit", "--quiet", "-m", "by hand", folder=work)

    assert "SameCommits" in attempt(world, relink, "tier-0")


@pytest.mark.parametrize(
    ("edit", "rule"),
    [
        (("revision.yaml", "apps: x\n"), "WellFormed"),
        (("revision.yaml", None), "WellFormed"),
        (("malware.sh", "rm -rf /\n"), "KnownPaths"),
    ],
)
def test_a_tier_branch_holds_nothing_else(world: World, edit: tuple[str, str | None], rule: str) -> None:
    assert rule in attempt(world, on("tier-0", edit), "tier-0")


def test_what_was_recorded_stays(world: World) -> None:
    verified = next(
        path
        for path in git("ls-tree", "-r", "--name-only", "ledger", folder=world.repository("system")).split("\n")
        if path.startswith("verified/dev")
    )
    assert "AppendOnly" in attempt(world, on("ledger", (verified, None)), "ledger")
    assert "AppendOnly" in attempt(world, on("ledger", ("pins/dev/000001.yaml", None)), "ledger")
    assert "WellFormed" in attempt(world, on("ledger", ("pins/dev/000002.yaml", "x: 1\n")), "ledger")
    assert "WellFormed" in attempt(world, on("ledger", ("holds/dev/x.yaml", "what?\n")), "ledger")


def test_a_verification_of_what_was_never_pinned_is_refused(world: World) -> None:
    files = git("ls-tree", "-r", "--name-only", "ledger", folder=world.repository("system")).split("\n")
    verified = next(path for path in files if path.startswith("verified/dev"))
    content = git("show", f"ledger:{verified}", folder=world.repository("system"))
    made_up = content.replace(verified.split("/")[2].removesuffix(".yaml"), "d" * 40)
    assert "PinnedFirst" in attempt(world, on("ledger", (f"verified/dev/{'d' * 40}.yaml", made_up + "\n")), "ledger")


def attempt_a_pin(world: World) -> str:
    """Pin by hand what tier-1 runs to prod."""
    revision = git("show", "tier-1:revision.yaml", folder=world.repository("system"))
    identity = git("rev-parse", "tier-1:revision.yaml", folder=world.repository("system"))
    record = (
        f"revision: {identity}\n{revision}\nkind: Promotion\nat: '2026-11-25T04:43:12Z'\nby: x <y@z>\nreason: now\n"
    )

    def pin(work: Path) -> None:
        on("ledger", ("pins/prod/000001.yaml", record))(work)
        git("branch", "tier-2", "origin/tier-1", folder=work)

    return attempt(world, pin, "tier-2", "ledger")


def test_a_held_tier_takes_no_pin_even_by_hand(world: World) -> None:
    world.ask(Hold(tier="prod", reason="a sale"))
    assert "NotHeld" in attempt_a_pin(world)


def test_a_person_may_push_what_follows_the_rules(world: World) -> None:
    """The same as above without the hold: the order is what counts, not who pushes."""
    assert attempt_a_pin(world) == ""


def test_other_branches_are_free(world: World) -> None:
    def branch(work: Path) -> None:
        git("branch", "notes", "origin/ledger", folder=work)

    assert attempt(world, branch, "notes") == ""

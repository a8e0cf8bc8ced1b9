"""Playing the story: a developer pushes with plain git, the engine does the rest, and the demo checks what it tells."""

import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from shopset.cli import exits
from shopset.cli.demo.annotating import annotate, first_deployment
from shopset.cli.demo.fleets import layout
from shopset.cli.demo.screens import Screen
from shopset.cli.scaffolding import (
    EXAMPLE,
    REPOSITORIES,
    ScaffoldError,
    git,
    install_hook,
    make_repositories,
    write_fleet,
)
from shopset.cli.settings import Settings
from shopset.cli.wiring import Workplace, open_workplace, utc_now
from shopset.core.errors import ShopsetError
from shopset.core.release.actions import Identity
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Plan
from shopset.core.release.requests import Request, Resume, RollBack
from shopset.engine import Watching, converge, pause_until

_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_PATIENCE = 180.0
"""Seconds that one part of the story may take."""
_OPERATOR = Identity("Yamada", "yamada@example.com")
_POLL = timedelta(milliseconds=500)


class StoryError(ShopsetError):
    """The fleet did something else than the story says."""


def demo(settings: Settings, *, folder: Path | None, apps: Path | None, configuration: Path | None) -> int:
    """Play the story in a folder, and leave everything there."""
    home = (folder or Path(tempfile.mkdtemp(prefix="shopset-demo-"))).absolute()
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise ScaffoldError(f"{folder} is not empty: name a new folder")
    settings = replace(settings, fleet=home / "fleet", cache=home / "cache")
    with Screen() as screen:
        story = _set_up(settings, home, apps or EXAMPLE / "apps", configuration or EXAMPLE / "configuration", screen)
        story.play()
    _close(story, home)
    return exits.OK


def _set_up(settings: Settings, home: Path, apps: Path, configuration: Path, screen: Screen) -> "_Story":
    screen.chapter("A fleet of eight ShopSets on three clusters, and three git repositories")
    names = _configurations(configuration)
    write_fleet(home / "fleet", layout(home, names))
    (home / "git").mkdir()
    make_repositories(home / "git", apps, configuration, settings.environment)
    install_hook(home / "git" / "shopset-system.git", (sys.executable, "-m", "shopset.cli"))
    work = home / "work"
    git(
        ["clone", "--quiet", "--branch", "tier-0", str(home / "git" / "shopset-apps.git"), str(work)],
        None,
        settings.environment,
    )
    screen.say(f"everything is in {home}")
    return _Story(settings, open_workplace(settings), screen, work)


def _configurations(folder: Path) -> list[str]:
    if folder == EXAMPLE / "configuration":
        return ["staging", "production"]
    names = [path.name for path in sorted(folder.iterdir()) if any((path / name).is_file() for name in _KUSTOMIZATIONS)]
    if not names:
        raise ScaffoldError(f"{folder} has no folder with a kustomization: each is to be a configuration")
    return names


@dataclass
class _Story:
    settings: Settings
    workplace: Workplace
    screen: Screen
    work: Path

    def play(self) -> None:
        """Tell the whole story, and check it."""
        first = self._release(
            "Release 1: the platform as it is climbs tier by tier", "1", {}, ("dev", "beta", "beta-prod", "prod")
        )
        bad = self._bad_release()
        self._roll_back(first, bad)
        self._release("Release 3: the fix climbs", "3", {}, ("dev", "beta", "beta-prod", "prod"))
        self._check_same_commits()

    def _release(self, title: str, number: str, more: dict[str, str], tiers: tuple[str, ...]) -> str:
        self.screen.chapter(title)
        self._push(number, more)
        revision = ""
        for tier in tiers:
            plan = self._until(partial(self._has_verified, tier), f"{tier} verifies release {number}")
            pinned = plan.outlooks[tier].pinned
            revision = pinned.id if pinned else revision
            members = " ".join(shopset.name for shopset in self.workplace.fleet.members(tier))
            self.screen.say(f"release {number} is verified on {tier} ({members})", "green")
        return revision

    def _bad_release(self) -> str:
        self.screen.chapter("Release 2 is bad: it is fine on dev, and breaks on beta")
        before = self._pinned("prod")
        self._push("2", {"degraded": "beta", "message": "carts answer 500"})
        plan = self._until(self._has_rejected, "beta rejects release 2")
        self.screen.say(f"beta rejects release 2: {plan.outlooks['beta'].progress.detail}", "bold red")
        for tier in ("beta-prod", "prod"):
            if self._commit() in str(plan.outlooks[tier].pinned):
                raise StoryError(f"release 2 reached {tier}")
        if self._pinned("prod") != before:
            raise StoryError("prod was touched by release 2")
        self.screen.say("beta-prod and prod are untouched: they take only what beta verified")
        pinned = plan.outlooks["beta"].pinned
        return pinned.id if pinned else ""

    def _roll_back(self, first: str, bad: str) -> None:
        self.screen.chapter("Rollback: beta goes back, is held, and is resumed")
        self._ask(RollBack(tier="beta", reason="carts answer 500", to=first))
        plan = self._until(lambda plan: _runs(plan, "beta", first), "beta runs release 1 again")
        if bad == first or not self._observed.ledger.is_rejected("beta", bad):
            raise StoryError("release 2 is not rejected on beta")
        self._until(lambda _: self._settled("beta"), "beta is Synced and Healthy at release 1")
        self.screen.say(
            f"beta runs {_short(plan, 'beta')} again, and nothing enters it until somebody resumes it", "green"
        )
        self._ask(Resume(tier="beta", reason="the fix is on its way"))

    def _check_same_commits(self) -> None:
        plan, _ = self.workplace.engine.plan()
        revisions = {outlook.pinned for outlook in plan.outlooks.values()}
        if len(revisions) != 1:
            raise StoryError(f"the tiers differ in the end: {revisions}")
        self.screen.say("all four tiers run the same commit objects", "bold green")

    # -- what happens

    def _push(self, number: str, more: dict[str, str]) -> None:
        """Be a developer: change the base, commit, push to the lowest tier's branch."""
        file = first_deployment(self.work)
        file.write_text(annotate(file.read_text(encoding="utf-8"), {"release": number, **more}), encoding="utf-8")
        git(
            ["commit", "--quiet", "--all", "-m", f"release {number} of the platform"],
            self.work,
            self.settings.environment,
        )
        git(["push", "--quiet", "origin", "HEAD:tier-0"], self.work, self.settings.environment)
        self.screen.say(f"a developer pushes release {number} to shopset-apps@tier-0 ({self._commit()[:7]})")

    def _commit(self) -> str:
        return git(["rev-parse", "HEAD"], self.work, self.settings.environment).strip()

    def _ask(self, request: Request) -> None:
        plan, _ = self.workplace.engine.respond(request, _OPERATOR)
        outcome = self.workplace.engine.act(plan.actions)
        for failure in outcome.failures:
            raise StoryError(f"{failure.action.what}: {failure.error}")
        for action in outcome.done:
            self.screen.say(action.what, "yellow")

    def _until(self, reached: Callable[[Plan], bool], what: str) -> Plan:
        """Let the engine go on until something holds."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            self.workplace.reconcile()
            plan = self._round()
            if reached(plan):
                return plan
            time.sleep(pause_until(plan, utc_now(), _POLL))
        conditions = "; ".join(
            f"{each.resource} {each.message}" for each in plan.conditions if each.severity == "Error"
        )
        raise StoryError(f"after {_PATIENCE:g} s it still does not hold that {what}. {conditions}")

    def _round(self) -> Plan:
        for each in converge(self.workplace.engine, Watching(time.sleep)):
            for action in each.outcome.done:
                self.screen.say(action.what, "dim" if action.kind in ("Tag", "Apply") else "")
            for failure in each.outcome.failures:
                raise StoryError(f"{failure.action.what}: {failure.error}")
        plan, observed = self.workplace.engine.plan()
        self._observed: Observed = observed
        self.screen.show(self.workplace.fleet, plan, observed)
        return plan

    def _pinned(self, tier: str) -> str:
        plan, _ = self.workplace.engine.plan()
        pinned = plan.outlooks[tier].pinned
        return pinned.id if pinned else ""

    def _has_verified(self, tier: str, plan: Plan) -> bool:
        pinned = plan.outlooks[tier].pinned
        return (
            pinned is not None and pinned.apps == self._commit() and self._observed.ledger.is_verified(tier, pinned.id)
        )

    def _has_rejected(self, plan: Plan) -> bool:
        pinned = plan.outlooks["beta"].pinned
        return (
            pinned is not None
            and pinned.apps == self._commit()
            and self._observed.ledger.is_rejected("beta", pinned.id)
        )

    def _settled(self, tier: str) -> bool:
        head = self._observed.tiers[tier]
        found = [self._observed.applications.get(shopset.name) for shopset in self.workplace.fleet.members(tier)]
        return all(each is not None and each.commit == head.head and each.health == "Healthy" for each in found)


def _runs(plan: Plan, tier: str, revision: str) -> bool:
    pinned = plan.outlooks[tier].pinned
    return pinned is not None and pinned.id == revision


def _short(plan: Plan, tier: str) -> str:
    pinned = plan.outlooks[tier].pinned
    return pinned.short if pinned else "-"


def _close(story: _Story, home: Path) -> None:
    """Show the audit trail as git has it, and what to try next."""
    system = home / "git" / f"{REPOSITORIES[0]}.git"
    write = sys.stdout.write
    write("\nThe audit trail, by git log of the ledger:\n")
    write(git(["log", "--reverse", "--format=  %h %<(9,trunc)%an %s", "ledger"], system, story.settings.environment))
    shutil.rmtree(story.work, ignore_errors=True)
    fleet = shlex.quote(str(home / "fleet"))
    write(f"\nDone in {story.screen.seconds:.0f} s. Everything is in {home}:\n")
    write("  git/        the three repositories     fleet/  the resources     clusters/  what Kubernetes would hold\n")
    write("\nTry next:\n")
    shopctl = shlex.quote(str(Path(sys.argv[0]).absolute())) if Path(sys.argv[0]).name == "shopctl" else "shopctl"
    environment = f"SHOPSET_FLEET={fleet} SHOPSET_CACHE={shlex.quote(str(home / 'cache'))}"
    if story.settings.kustomize:
        environment += f" SHOPSET_KUSTOMIZE={shlex.quote(story.settings.kustomize)}"
    write(f"  export {environment}\n")
    for words in (
        "get shopsets",
        "release status",
        "release history",
        "release hold prod --reason 'a look around'",
        "plan --commands",
    ):
        write(f"  {shopctl} {words}\n")
    write(
        f"  git clone --branch tier-0 {shlex.quote(str(home / 'git' / 'shopset-apps.git'))}   # change, push; then: {shopctl} run\n"
    )

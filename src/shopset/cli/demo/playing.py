"""Playing the story: a developer pushes with plain git, the engine does the rest, and the demo checks what it tells."""

import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from shopset.cli import exits
from shopset.cli.demo.children import Children, ending_by_signals
from shopset.cli.demo.edges import Edge, find_haproxy
from shopset.cli.demo.fleets import layout, visits
from shopset.cli.demo.placing import OLD, ShopStory
from shopset.cli.demo.screens import Screen
from shopset.cli.demo.servers import Ports, Servers
from shopset.cli.demo.stages import Stage, StoryError
from shopset.cli.demo.visiting import Visiting
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
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Plan
from shopset.core.release.requests import Resume, RollBack

_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")


def demo(
    settings: Settings, *, folder: Path | None, apps: Path | None, configuration: Path | None, served: bool = True
) -> int:
    """Play the story in a folder, and leave everything there. Where it is not `served`, it ends when shops are placed."""
    home = (folder or Path(tempfile.mkdtemp(prefix="shopset-demo-"))).absolute()
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise ScaffoldError(f"{folder} is not empty: name a new folder")
    settings = replace(settings, fleet=home / "fleet", cache=home / "cache")
    haproxy = find_haproxy(settings.environment)
    system = home / "git" / f"{REPOSITORIES[0]}.git"
    ports = Ports()
    with Screen() as screen, ending_by_signals():
        trees = apps or EXAMPLE / "apps", configuration or EXAMPLE / "configuration"
        stage = _set_up(settings, home, *trees, screen, ports)
        children = Children(home / "logs", settings.environment)
        visiting = Visiting(
            Edge(children, ports, haproxy, str(system)),
            Servers(children, ports),
            visits(),
            lambda: git(["rev-parse", "refs/heads/placement"], system, settings.environment).strip(),
            screen.say,
        )
        try:
            _ReleaseStory(stage).play()
            shops = ShopStory(stage, visiting)
            shops.play() if served else shops.place()
        finally:
            visiting.close(home / "edge")
    _close(stage, home)
    return exits.OK


def _set_up(settings: Settings, home: Path, apps: Path, configuration: Path, screen: Screen, ports: Ports) -> Stage:
    screen.chapter("A fleet of eight ShopSets on three clusters, 300 shops, and three git repositories")
    made = layout(home, _configurations(configuration), ports.endpoint)
    write_fleet(home / "fleet", made)
    for cluster in made.topology:
        (home / "clusters" / cluster).mkdir(parents=True)
        (home / "clusters" / cluster / "VERSION").write_text(f"{OLD}\n")
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
    return Stage(settings, screen, home, work)


def _configurations(folder: Path) -> list[str]:
    if folder == EXAMPLE / "configuration":
        return ["staging", "production"]
    names = [path.name for path in sorted(folder.iterdir()) if any((path / name).is_file() for name in _KUSTOMIZATIONS)]
    if not names:
        raise ScaffoldError(f"{folder} has no folder with a kustomization: each is to be a configuration")
    return names


@dataclass
class _ReleaseStory:
    stage: Stage

    def play(self) -> None:
        """Tell the story of three releases, and check it."""
        self.stage.screen.chapter("Release 1: the platform as it is climbs tier by tier")
        first = self.stage.release("1", {})
        bad = self._bad_release()
        self._roll_back(first, bad)
        self.stage.screen.chapter("Release 3: the fix climbs")
        self.stage.release("3", {})
        self._check_same_commits()

    def _bad_release(self) -> str:
        stage = self.stage
        stage.screen.chapter("Release 2 is bad: it is fine on dev, and breaks on beta")
        before = self._pinned("prod")
        stage.push("2", {"degraded": "beta", "message": "carts answer 500"})
        plan, _ = stage.until(self._has_rejected, "beta rejects release 2")
        stage.screen.say(f"beta rejects release 2: {plan.outlooks['beta'].progress.detail}", "bold red")
        for tier in ("beta-prod", "prod"):
            if stage.commit() in str(plan.outlooks[tier].pinned):
                raise StoryError(f"release 2 reached {tier}")
        if self._pinned("prod") != before:
            raise StoryError("prod was touched by release 2")
        stage.screen.say("beta-prod and prod are untouched: they take only what beta verified")
        pinned = plan.outlooks["beta"].pinned
        return pinned.id if pinned else ""

    def _roll_back(self, first: str, bad: str) -> None:
        stage = self.stage
        stage.screen.chapter("Rollback: beta goes back, is held, and is resumed")
        stage.ask(RollBack(tier="beta", reason="carts answer 500", to=first))
        plan, observed = stage.until(lambda plan, _: _runs(plan, "beta", first), "beta runs release 1 again")
        if bad == first or not observed.ledger.is_rejected("beta", bad):
            raise StoryError("release 2 is not rejected on beta")
        stage.until(lambda _, seen: self._settled("beta", seen), "beta is Synced and Healthy at release 1")
        stage.screen.say(
            f"beta runs {_short(plan, 'beta')} again, and nothing enters it until somebody resumes it", "green"
        )
        stage.ask(Resume(tier="beta", reason="the fix is on its way"))

    def _check_same_commits(self) -> None:
        plan, _ = self.stage.workplace.engine.plan()
        revisions = {outlook.pinned for outlook in plan.outlooks.values()}
        if len(revisions) != 1:
            raise StoryError(f"the tiers differ in the end: {revisions}")
        self.stage.screen.say("all four tiers run the same commit objects", "bold green")

    def _pinned(self, tier: str) -> str:
        plan, _ = self.stage.workplace.engine.plan()
        pinned = plan.outlooks[tier].pinned
        return pinned.id if pinned else ""

    def _has_rejected(self, plan: Plan, observed: Observed) -> bool:
        pinned = plan.outlooks["beta"].pinned
        return (
            pinned is not None and pinned.apps == self.stage.commit() and observed.ledger.is_rejected("beta", pinned.id)
        )

    def _settled(self, tier: str, observed: Observed) -> bool:
        head = observed.tiers[tier]
        found = [observed.applications.get(shopset.name) for shopset in self.stage.workplace.fleet.members(tier)]
        return all(each is not None and each.commit == head.head and each.health == "Healthy" for each in found)


def _runs(plan: Plan, tier: str, revision: str) -> bool:
    pinned = plan.outlooks[tier].pinned
    return pinned is not None and pinned.id == revision


def _short(plan: Plan, tier: str) -> str:
    pinned = plan.outlooks[tier].pinned
    return pinned.short if pinned else "-"


def _close(stage: Stage, home: Path) -> None:
    """Show the audit trail as git has it, and what to try next."""
    system = home / "git" / f"{REPOSITORIES[0]}.git"
    write = sys.stdout.write
    write("\nThe audit trail, by git log of the ledger:\n")
    for branch, words in (("ledger", ""), ("placement", "\nAnd that of the shops, of the branch placement:\n")):
        write(words)
        form = "--format=  %h %<(9,trunc)%an %s"
        write(git(["log", "--reverse", form, branch], system, stage.settings.environment))
    shutil.rmtree(stage.work, ignore_errors=True)
    fleet = shlex.quote(str(home / "fleet"))
    write(f"\nDone in {stage.screen.seconds:.0f} s. Everything is in {home}:\n")
    write("  git/        the three repositories     fleet/  the resources     clusters/  what Kubernetes would hold\n")
    write("  edge/       what HAProxy was told\n")
    write("\nTry next:\n")
    shopctl = shlex.quote(str(Path(sys.argv[0]).absolute())) if Path(sys.argv[0]).name == "shopctl" else "shopctl"
    environment = f"SHOPSET_FLEET={fleet} SHOPSET_CACHE={shlex.quote(str(home / 'cache'))}"
    if stage.settings.kustomize:
        environment += f" SHOPSET_KUSTOMIZE={shlex.quote(stage.settings.kustomize)}"
    write(f"  export {environment}\n")
    for words in (
        "get shopsets",
        "release status",
        "release history",
        "shop where hoge",
        "edge where hoge.shop-pro.jp",
        "cluster list",
        "cluster drain b -m 'new disks' --dry-run",
        "simulate --lose region=tokyo",
        "release hold prod --reason 'a look around'",
        "plan --commands",
    ):
        write(f"  {shopctl} {words}\n")
    write(
        f"  git clone --branch tier-0 {shlex.quote(str(home / 'git' / 'shopset-apps.git'))}   # change, push; then: {shopctl} run\n"
    )

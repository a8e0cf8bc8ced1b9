"""A small real world: a fleet's folder, three bare repositories, directory clusters, real kustomize; time is the test's."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shopset.cli.scaffolding import EXAMPLE, Copy, Layout, make_repositories
from shopset.cli.settings import Settings
from shopset.cli.wiring import Workplace, open_workplace
from shopset.core.release.actions import AnyAction, Identity
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Plan
from shopset.core.release.requests import Request
from shopset.engine import Watching, converge

YAMADA = Identity("Yamada", "yamada@example.com")
ENVIRONMENT = {
    **os.environ,
    "GIT_AUTHOR_NAME": "developer",
    "GIT_AUTHOR_EMAIL": "developer@example.com",
    "GIT_COMMITTER_NAME": "developer",
    "GIT_COMMITTER_EMAIL": "developer@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}
TIERS: Mapping[str, Sequence[str]] = {"dev": (), "beta": ("bake: 5s",), "prod": ("bake: 5s",)}
COPIES = (
    Copy("c-1", "dev", "staging", "c"),
    Copy("b-1", "beta", "production", "b"),
    Copy("a-1", "prod", "production", "a"),
    Copy("b-2", "prod", "production", "b"),
)
START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def git(*arguments: str, folder: Path | None = None) -> str:
    """Run git as a developer."""
    command = ["git", "-c", "protocol.file.allow=always", *arguments]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class World:
    """Everything lies below `folder`. `now` is the clock of engine and clusters."""

    folder: Path
    tiers: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(TIERS))
    copies: Sequence[Copy] = COPIES
    now: datetime = START
    step_length: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        (self.folder / "git").mkdir(parents=True)
        make_repositories(self.folder / "git", EXAMPLE / "apps", EXAMPLE / "configuration", ENVIRONMENT)
        self.write_fleet()

    @property
    def settings(self) -> Settings:
        """What shopctl would be told."""
        return Settings(fleet=self.folder / "fleet", cache=self.folder / "cache", environment=ENVIRONMENT, timeout=30)

    def layout(self) -> Layout:
        """The fleet as it is now."""
        return Layout(
            parent=str(self.folder / "git"),
            clusters=str(self.folder / "clusters"),
            tiers=self.tiers,
            configurations=("staging", "production"),
            copies=self.copies,
            topology={name: {"region": name} for name in ("a", "b", "c")},
        )

    def write_fleet(self) -> None:
        """Write the fleet's folder anew."""
        shutil.rmtree(self.folder / "fleet", ignore_errors=True)
        (self.folder / "fleet").mkdir()
        for name, content in self.layout().files().items():
            (self.folder / "fleet" / name).write_text(content)
        self.workplace = open_workplace(self.settings, lambda: self.now)

    def change(self, copies: Sequence[Copy]) -> None:
        """Change the fleet's ShopSets."""
        self.copies = copies
        self.write_fleet()

    def retier(self, name: str, tier: str) -> None:
        """Move a ShopSet to another tier."""
        self.change([replace(copy, tier=tier) if copy.name == name else copy for copy in self.copies])

    def place_shops(self, shops: Mapping[str, Sequence[str]]) -> None:
        """Add a class of two replicas on different clusters, and shops of it with their hosts."""
        lead = "apiVersion: shopset.dev/v1alpha1\nkind: {}\nmetadata:\n  name: {}\nspec:\n"
        spec = "  tier: prod\n  configuration: production\n  replicas: 2\n  across: [cluster]\n"
        documents = [lead.format("ShopClass", "standard") + spec]
        for name, hosts in shops.items():
            listed = ", ".join(f"'{host}'" for host in hosts)
            documents.append(lead.format("Shop", name) + f"  class: standard\n  hosts: [{listed}]\n")
        (self.folder / "fleet" / "shops.yaml").write_text("---\n".join(documents))
        self.workplace = open_workplace(self.settings, lambda: self.now)

    def repository(self, name: str) -> Path:
        """Return a bare repository: system, apps or configuration."""
        return self.folder / "git" / f"shopset-{name}.git"

    def head(self, name: str, branch: str) -> str:
        """Return the head of a branch."""
        return git("rev-parse", branch, folder=self.repository(name))

    def push(
        self,
        files: Mapping[str, str | None],
        *,
        subject: str = "a change",
        branch: str = "tier-0",
        base: str | None = None,
        name: str = "apps",
    ) -> str:
        """Be a developer: commit files (None removes one) on top of a branch (or `base`) and push them to it."""
        work = self.folder / "work"
        git("clone", "--quiet", "--no-checkout", str(self.repository(name)), str(work))
        try:
            git("checkout", "--quiet", "--detach", base or f"origin/{branch}", folder=work)
            for path, content in files.items():
                target = work / path
                if content is None:
                    target.unlink()
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(content)
            git("add", "--all", folder=work)
            git("commit", "--quiet", "--allow-empty", "-m", subject, folder=work)
            git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}", folder=work)
            return git("rev-parse", "HEAD", folder=work)
        finally:
            shutil.rmtree(work)

    def annotate(
        self, *, subject: str = "a change", branch: str = "tier-0", base: str | None = None, **annotations: str
    ) -> str:
        """Push a release that only annotates the cart's Deployment."""
        text = (EXAMPLE / "apps" / "cart" / "deployment.yaml").read_text()
        lines = "".join(
            f'    demo.shopset.dev/{key.replace("_", "-")}: "{value}"\n' for key, value in annotations.items()
        )
        changed = text.replace("  name: cart\n", f"  name: cart\n  annotations:\n{lines}", 1)
        return self.push({"cart/deployment.yaml": changed}, subject=subject, branch=branch, base=base)

    def plan(self) -> tuple[Plan, Observed]:
        """Observe and plan."""
        return self.workplace.engine.plan()

    def ask(self, request: Request, author: Identity = YAMADA) -> tuple[AnyAction, ...]:
        """Do what a request calls for."""
        made, _ = self.workplace.engine.respond(request, author)
        outcome = self.workplace.engine.act(made.actions)
        assert not outcome.failures, outcome.failures
        return outcome.done

    def step(self, seconds: float = 1) -> Plan:
        """Let the clusters and the engine work once, and time pass."""
        self.workplace.reconcile()
        for each in converge(self.workplace.engine, Watching(lambda _: None)):
            assert not each.outcome.failures, each.outcome.failures
        self.now += timedelta(seconds=seconds)
        return self.workplace.engine.plan(look=False)[0]

    def settle(self, reached: Callable[[Plan, Observed], bool], rounds: int = 60) -> Observed:
        """Go on until something holds."""
        for _ in range(rounds):
            self.step()
            plan, observed = self.workplace.engine.plan(look=False)
            if reached(plan, observed):
                return observed
        message = f"it does not hold: {plan.outlooks} {plan.conditions}"
        raise AssertionError(message)

    def climb(self, tier: str = "prod", commit: str | None = None) -> str:
        """Go on until a tier verified the apps commit; return the revision."""
        wanted = commit or self.head("apps", "tier-0")

        def reached(plan: Plan, observed: Observed) -> bool:
            pinned = plan.outlooks[tier].pinned
            return pinned is not None and pinned.apps == wanted and observed.ledger.is_verified(tier, pinned.id)

        observed = self.settle(reached)
        revision = observed.tiers[tier].revision
        assert revision is not None
        return revision.id


def workplace_of(world: World) -> Workplace:
    """Return another process's view of the same world, with a cache of its own."""
    cache = world.folder / f"cache-{len(list(world.folder.glob('cache-*')))}"
    return open_workplace(replace(world.settings, cache=cache), lambda: world.now)

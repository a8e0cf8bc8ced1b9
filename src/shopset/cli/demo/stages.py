"""The stage of the story: the fleet in its folder, and what a developer and an operator do to it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from shopset.cli.demo.annotating import annotate, first_deployment
from shopset.cli.demo.screens import Screen
from shopset.cli.scaffolding import git
from shopset.cli.settings import Settings
from shopset.cli.wiring import Workplace, open_workplace, utc_now
from shopset.core.errors import ShopsetError
from shopset.core.release.actions import Identity
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Plan
from shopset.core.release.requests import Request
from shopset.engine import Outcome, Watching, converge, pause_until

OPERATOR = Identity("Yamada", "yamada@example.com")
PATIENCE = 180.0
"""Seconds that one part of the story may take."""
_POLL = timedelta(milliseconds=500)


class StoryError(ShopsetError):
    """The fleet did something else than the story says."""


@dataclass
class Stage:
    """Where the story plays."""

    settings: Settings
    screen: Screen
    home: Path
    work: Path
    """A developer's clone of shopset-apps."""
    workplace: Workplace = field(init=False)

    def __post_init__(self) -> None:
        self.reopen()

    def reopen(self) -> None:
        """Read the fleet's folder again."""
        self.workplace = open_workplace(self.settings)

    def push(self, number: str, more: dict[str, str]) -> None:
        """Be a developer: change the base, commit, push to the lowest tier's branch."""
        file = first_deployment(self.work)
        file.write_text(annotate(file.read_text(encoding="utf-8"), {"release": number, **more}), encoding="utf-8")
        git(
            ["commit", "--quiet", "--all", "-m", f"release {number} of the platform"],
            self.work,
            self.settings.environment,
        )
        git(["push", "--quiet", "origin", "HEAD:tier-0"], self.work, self.settings.environment)
        self.screen.say(f"a developer pushes release {number} to shopset-apps@tier-0 ({self.commit()[:7]})")

    def commit(self) -> str:
        """Return the commit that was pushed last."""
        return git(["rev-parse", "HEAD"], self.work, self.settings.environment).strip()

    def ask(self, request: Request) -> None:
        """Be an operator: do what a request calls for."""
        plan, _ = self.workplace.engine.respond(request, OPERATOR)
        outcome = self.workplace.engine.act(plan.actions)
        check(outcome)
        for action in outcome.done:
            self.screen.say(action.what, "yellow")

    def until(self, reached: Callable[[Plan, Observed], bool], what: str) -> tuple[Plan, Observed]:
        """Let the engine go on until something holds. Raises StoryError."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.workplace.reconcile()
            plan, observed = self.round()
            if reached(plan, observed):
                return plan, observed
            time.sleep(pause_until(plan, utc_now(), _POLL))
        conditions = "; ".join(
            f"{each.resource} {each.message}" for each in plan.conditions if each.severity == "Error"
        )
        raise StoryError(f"after {PATIENCE:g} s it still does not hold that {what}. {conditions}")

    def round(self) -> tuple[Plan, Observed]:
        """Let the engine do what is due of the releases. Raises StoryError."""
        for each in converge(self.workplace.engine, Watching(time.sleep)):
            for action in each.outcome.done:
                self.screen.say(action.what, "dim" if action.kind in ("Tag", "Apply") else "")
            check(each.outcome)
        plan, observed = self.workplace.engine.plan()
        self.screen.show(self.workplace.fleet, plan, observed)
        return plan, observed

    def release(self, number: str, more: dict[str, str]) -> str:
        """Push a release, and let it climb to the highest tier. Returns the revision there."""
        self.push(number, more)
        revision = ""
        for tier in self.workplace.fleet.tiers:
            plan, _ = self.until(self._has_verified(tier.name), f"{tier.name} verifies release {number}")
            pinned = plan.outlooks[tier.name].pinned
            revision = pinned.id if pinned else revision
            members = " ".join(shopset.name for shopset in self.workplace.fleet.members(tier.name))
            self.screen.say(f"release {number} is verified on {tier.name} ({members})", "green")
        return revision

    def _has_verified(self, tier: str) -> Callable[[Plan, Observed], bool]:
        def reached(plan: Plan, observed: Observed) -> bool:
            pinned = plan.outlooks[tier].pinned
            return pinned is not None and pinned.apps == self.commit() and observed.ledger.is_verified(tier, pinned.id)

        return reached


def check(outcome: Outcome) -> None:
    """Raise StoryError where something could not be done."""
    for failure in outcome.failures:
        raise StoryError(f"{failure.action.what}: {failure.error}")

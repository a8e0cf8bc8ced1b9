"""shopctl plan, apply and run."""

import signal
import sys
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shopset.cli import exits
from shopset.cli.failures import code_of
from shopset.cli.printing import Output, Printer, complain, rfc3339
from shopset.cli.releases import forecast
from shopset.cli.settings import Settings
from shopset.cli.unseen import is_blind, tell_unseen
from shopset.cli.wiring import Workplace, open_workplace, utc_now
from shopset.core.errors import ShopsetError
from shopset.core.release.actions import AnyAction, PushCommits, PushRefs
from shopset.core.release.commands import commands, script
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Condition, Phase, Plan
from shopset.engine import Outcome, Watching, converge, pause_until

if TYPE_CHECKING:
    from shopset.core.placement.plans import PlacementPlan

_SIGNS = {"Pin": "~", "Render": "~", "Verify": "+", "Reject": "-", "Rollback": "-", "Delete": "-", "Hold": "-"}


def plan(settings: Settings, *, as_commands: bool, output: Output) -> int:
    """Show what would be done now, and why."""
    workplace = open_workplace(settings)
    made, observed = workplace.engine.plan()
    placed = _plan_placement(workplace, observed)
    actions = (*made.actions, *(placed.actions if placed else ()))
    printer = Printer(colour=settings.colour)
    if as_commands:
        sys.stdout.write(script(actions, workplace.places) if actions else "")
    elif output in (Output.JSON, Output.YAML):
        printer.data(_as_data(workplace, made, placed), output)
    else:
        _show_both(printer, workplace, made, placed)
        for line in forecast(workplace.fleet, made, observed):
            printer.line(line)
    blind = tell_unseen(observed)
    return exits.SOMETHING_TO_DO if actions else blind


def _plan_placement(workplace: Workplace, observed: Observed) -> "PlacementPlan | None":
    """Plan the placement; None where the fleet places no shops, or nobody can see where they are."""
    if not workplace.fleet.shop_classes or is_blind(observed):
        return None
    return workplace.placer.plan(observed)[0]


def _show_both(printer: Printer, workplace: Workplace, made: Plan, placed: "PlacementPlan | None") -> None:
    show_plan(printer, workplace, made)
    if placed is not None:
        from shopset.cli.placing import show_placement  # noqa: PLC0415  # a fleet without shops must not pay for NumPy

        show_placement(printer, placed)
        show_actions(printer, placed.actions)
    printer.line(summary((*made.actions, *(placed.actions if placed else ()))))


def show_plan(printer: Printer, workplace: Workplace, made: Plan) -> None:
    """Write a plan: its actions by tier, and what is wrong."""
    for tier in [None, *workplace.fleet.tiers]:
        actions = [action for action in made.actions if action.tier == (tier.name if tier else None)]
        if actions:
            members = ", ".join(shopset.name for shopset in workplace.fleet.members(tier.name)) if tier else ""
            printer.line(f"tier {tier.name} ({members or 'no ShopSets'})" if tier else "fleet", "bold")
            show_actions(printer, actions)
    show_conditions(printer, made)


def show_actions(printer: Printer, actions: Iterable[AnyAction]) -> None:
    """Write actions with their reasons."""
    for action in actions:
        sign = _SIGNS.get(action.kind.value, "+")
        style = {"-": "red", "~": "yellow", "+": "green"}[sign]
        printer.line(f"  {printer.styled(sign, style)} {action.what}")
        for reason in action.why:
            printer.line(f"      {reason}", "dim")


def show_conditions(printer: Printer, made: Plan) -> None:
    """Write what a person should know; what is the normal course is left to the forecast."""
    show_conditions_of(printer, made.conditions)


def show_conditions_of(printer: Printer, conditions: Iterable[Condition]) -> None:
    """Write errors and warnings, errors first."""
    order = {"Error": 0, "Warning": 1}
    told = [each for each in conditions if each.severity in order]
    for each in sorted(told, key=lambda condition: (order[condition.severity], condition.resource, condition.message)):
        style = "red" if each.severity == "Error" else "yellow"
        printer.line(f"{printer.styled('!', style)} {each.resource} {each.reason}: {each.message}")


def summary(actions: Iterable[AnyAction]) -> str:
    """Say in one line what a plan writes."""
    counts = {"commits in shopset-system": 0, "branches fast-forwarded": 0, "tags": 0, "Applications": 0}
    for action in actions:
        if isinstance(action, PushCommits):
            counts["commits in shopset-system"] += len(action.commits)
        elif isinstance(action, PushRefs):
            tags = sum(update.ref.startswith("refs/tags/") for update in action.updates)
            counts["tags"] += tags
            counts["branches fast-forwarded"] += len(action.updates) - tags
        else:
            counts["Applications"] += 1
    told = [f"{number} {what}" for what, number in counts.items() if number]
    return f"{', '.join(told)}. By hand: shopctl plan --commands" if told else "Nothing to do."


def apply(settings: Settings, *, yes: bool) -> int:
    """Do what the plan says, and what follows from it at once."""
    workplace = open_workplace(settings)
    printer = Printer(colour=settings.colour)
    made, observed = workplace.engine.plan()
    placed = _plan_placement(workplace, observed)
    _show_both(printer, workplace, made, placed)
    if not made.actions and not (placed and placed.actions):
        return tell_unseen(observed)
    if not yes and not sys.stdin.isatty():
        complain("error: not on a terminal: give --yes to apply without being asked. Nothing was written.")
        return exits.USAGE
    if not yes and not _agreed():
        printer.line("Nothing was written.")
        return exits.OK
    return perform(workplace, printer)


def perform(workplace: Workplace, printer: Printer) -> int:
    """Plan and act until there is nothing to do now; say each thing as it is done."""
    code = exits.OK
    for each in converge(workplace.engine, _watching()):
        code = report(printer, each.outcome) or code
    return _place(workplace, printer)[0] or code


def _place(workplace: Workplace, printer: Printer) -> "tuple[int, PlacementPlan | None]":
    """Make the steps of the placement that are due. Returns the exit code, and the last plan."""
    code, last = exits.OK, None
    if workplace.fleet.shop_classes:
        from shopset.engine.placing import place  # noqa: PLC0415  # a fleet without shops must not pay for NumPy

        for each in place(workplace.placer, _watching()):
            code, last = report(printer, each.outcome) or code, each.plan
    return code, last


def _watching() -> Watching:
    return Watching(time.sleep)


def report(printer: Printer, outcome: Outcome) -> int:
    """Write what was done and what failed; return the exit code of the last failure."""
    code = exits.OK
    for action in outcome.done:
        printer.line(f"{printer.styled('done', 'green')}  {action.what}")
    for failure in outcome.failures:
        complain(f"error: {failure.action.what}: {failure.error}")
        code = code_of(failure.error)
    if outcome.lost_race is not None:
        printer.line(f"again  {outcome.lost_race.action.what}: somebody else was faster, planning anew", "dim")
    return code


def _agreed() -> bool:
    sys.stdout.write("Do it? Only 'yes' is taken for it: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip() == "yes"


def run(settings: Settings, *, interval: float, once: bool, until_idle: bool) -> int:
    """Keep the fleet: reconcile the directory clusters, plan, act, wait, and so on until it is told to stop."""
    workplace = open_workplace(settings)
    printer = Printer(colour=settings.colour)
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    while True:
        code, made, placed = _round(workplace, printer)
        idle = made is not None and not made.actions and made.wake_at is None and _settled(made) and _rests(placed)
        if once or (until_idle and idle):
            return code
        wake_at = placed.wake_at if placed else None
        pause = interval if made is None else pause_until(made, utc_now(), timedelta(seconds=interval), wake_at)
        if stopping.wait(pause):
            printer.line("stopped: the same command goes on from here")
            return exits.OK


def _round(workplace: Workplace, printer: Printer) -> "tuple[int, Plan | None, PlacementPlan | None]":
    code, made, placed = exits.OK, None, None
    try:
        workplace.reconcile()
        observed = None
        for each in converge(workplace.engine, _watching()):
            code, made, observed = report(printer, each.outcome) or code, each.plan, each.observed
        unseen = tell_unseen(observed) if observed else exits.OK
        if observed and is_blind(observed):
            return unseen, None, None
        failed, placed = _place(workplace, printer)
        code = failed or code or unseen
    except ShopsetError as error:
        # The loop outlives whatever one round meets: a repository that is away comes back.
        complain(f"error: {error}")
        return code_of(error), None, None
    return code, made, placed


def _rests(placed: "PlacementPlan | None") -> bool:
    return placed is None or not (placed.actions or placed.later or placed.wake_at)


def _settled(made: Plan) -> bool:
    return all(outlook.progress.phase not in (Phase.SYNCING, Phase.BAKING) for outlook in made.outlooks.values())


def _as_data(workplace: Workplace, made: Plan, placed: "PlacementPlan | None") -> dict[str, Any]:
    data = _release_data(workplace, made)
    if placed is not None:
        from shopset.cli.placing import placement_data  # noqa: PLC0415  # a fleet without shops must not pay for NumPy

        data["actions"] += [_action_data(workplace, each) for each in placed.actions]
        data["conditions"] += [_condition_data(each) for each in placed.conditions]
        data["placement"] = placement_data(placed)
    return data


def _action_data(workplace: Workplace, action: AnyAction) -> dict[str, Any]:
    return {
        "kind": action.kind.value,
        "tier": action.tier,
        "what": action.what,
        "why": list(action.why),
        "author": str(action.author),
        "commands": list(commands(action, workplace.places)),
    }


def _condition_data(condition: Condition) -> dict[str, Any]:
    return {
        "resource": condition.resource,
        "type": condition.type,
        "reason": condition.reason,
        "message": condition.message,
        "severity": condition.severity,
    }


def _release_data(workplace: Workplace, made: Plan) -> dict[str, Any]:
    return {
        "at": rfc3339(made.now),
        "actions": [_action_data(workplace, action) for action in made.actions],
        "tiers": [
            {
                "name": outlook.tier,
                "pinned": outlook.pinned.id if outlook.pinned else None,
                "candidate": outlook.candidate.id if outlook.candidate else None,
                "phase": outlook.progress.phase.value,
                "detail": outlook.progress.detail,
                "since": rfc3339(outlook.progress.since),
                "until": rfc3339(outlook.progress.until),
                "checks": [
                    {
                        "rule": each.rule,
                        "passed": each.passed,
                        "detail": each.detail,
                        "advice": each.advice,
                        "until": rfc3339(each.until),
                    }
                    for each in outlook.checks
                ],
            }
            for outlook in made.outlooks.values()
        ],
        "conditions": [_condition_data(each) for each in made.conditions],
        "wakeAt": rfc3339(made.wake_at),
    }

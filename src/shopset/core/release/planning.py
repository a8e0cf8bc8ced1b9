"""The plan of one round: for each tier in ascending order, what follows from the fleet and what was observed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from shopset.api import Tier
from shopset.core.fleets import Fleet
from shopset.core.release import _steps
from shopset.core.release._context import Context
from shopset.core.release._outcomes import sign_off
from shopset.core.release.actions import AnyAction
from shopset.core.release.candidates import Candidate, candidate_for
from shopset.core.release.conditions import fleet_conditions, obstacle, tier_conditions
from shopset.core.release.entry import entry_checks
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Check, Outlook, Plan
from shopset.core.release.revisions import Revision
from shopset.core.release.verification import Verdict, judge
from shopset.core.rendering import RENDERERS, Renderers


@dataclass
class _Round:
    """What the steps of one round hand on to each other."""

    outlooks: dict[str, Outlook] = field(default_factory=dict)
    candidates: dict[str, Candidate] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)


def plan(fleet: Fleet, observed: Observed, renderers: Renderers = RENDERERS) -> Plan:
    """Return what is to be done now. Pure: the same arguments give the same plan.

    `Plan.questions` names facts that the plan lacked; what depends on them waits. Answer them, add the answers to `observed`
    and plan again, until none are left.
    """
    context = Context(fleet, observed, renderers)
    found = _Round()
    for tier in fleet.tiers:
        _look(context, found, tier)
    actions = tuple(_actions(context, found))
    for tier in fleet.tiers:
        for condition in tier_conditions(context, tier, found.outlooks[tier.name]):
            context.report(condition)
    for condition in fleet_conditions(context):
        context.report(condition)
    return Plan(
        now=observed.now,
        actions=actions,
        outlooks=found.outlooks,
        conditions=tuple(context.conditions),
        questions=frozenset(context.questions),
        wake_at=min(context.wakes, default=None),
    )


def explain(
    fleet: Fleet, observed: Observed, tier: Tier, revision: Revision, renderers: Renderers = RENDERERS
) -> tuple[tuple[Check, ...], Plan]:
    """Return the rules of entry for any revision at a tier, and a plan whose questions are those of the explanation."""
    context = Context(fleet, observed, renderers)
    verdict = judge(context, tier)
    checks = entry_checks(context, tier, Candidate(revision), verdict.progress)
    return checks, Plan(observed.now, (), {}, tuple(context.conditions), frozenset(context.questions))


def _look(context: Context, found: _Round, tier: Tier) -> None:
    verdict = judge(context, tier)
    candidate = candidate_for(context, tier)
    checks: tuple[Check, ...] = ()
    if candidate is not None:
        checks = entry_checks(context, tier, candidate, verdict.progress)
        found.candidates[tier.name] = candidate
    found.verdicts[tier.name] = verdict
    revision = candidate.revision if candidate else None
    found.outlooks[tier.name] = Outlook(tier.name, context.pinned(tier), verdict.progress, revision, checks)


def _actions(context: Context, found: _Round) -> Iterator[AnyAction]:
    obstacles = {tier.name: obstacle(context, tier) for tier in context.fleet.tiers}
    if any(each is not None and each.reason == "RendererUnknown" for each in obstacles.values()):
        # This release of shopset is not the one for this fleet: it does nothing at all, rather than half of it.
        return
    workable = [tier for tier in context.fleet.tiers if obstacles[tier.name] is None]
    pinning = {tier.name for tier in workable if found.outlooks[tier.name].admitted}
    yield from _steps.record_tiers(context)
    for tier in workable:
        yield from sign_off(context, tier, found.verdicts[tier.name])
    decided = {tier.name for tier in workable if found.verdicts[tier.name].record is not None}
    yield from _steps.render(context, [tier for tier in workable if tier.name not in pinning | decided])
    for tier in workable:
        if tier.name in found.candidates and tier.name not in decided:
            yield from _enter(context, tier, found.candidates[tier.name], found.outlooks[tier.name])
    yield from chain.from_iterable(_steps.deliver(context, tier) for tier in context.fleet.tiers)
    for tier in workable:
        yield from _steps.nudge(
            context, tier, found.outlooks[tier.name].progress.phase, pinning=tier.name in pinning - decided
        )
    yield from _steps.prune(context)


def _enter(context: Context, tier: Tier, candidate: Candidate, outlook: Outlook) -> Iterator[AnyAction]:
    yield from _steps.fast_forward(context, tier, candidate, outlook.checks)
    if outlook.admitted:
        yield from _steps.tag(context, tier, candidate.revision)
        yield from _steps.pin(context, tier, candidate, outlook.checks)

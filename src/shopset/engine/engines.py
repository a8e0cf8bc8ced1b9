"""The engine: observe, plan, act, over and over. It keeps nothing that could not be found out again."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import groupby, islice, takewhile
from typing import Final

from shopset.api import Gate, Tier
from shopset.core.errors import ShopsetError
from shopset.core.fleets import Fleet
from shopset.core.placement.formats import BRANCH as PLACEMENT
from shopset.core.release.actions import (
    AnyAction,
    ApplyApplication,
    DeleteApplication,
    Identity,
    PushCommits,
    PushMerge,
    PushRefs,
    RefreshApplication,
    SyncApplication,
)
from shopset.core.release.observed import (
    Answer,
    BuildOf,
    ComponentsOf,
    Facts,
    GateOver,
    GateReading,
    ImagesAt,
    IsAncestor,
    Observed,
    ObservedApplication,
    ObservedRepository,
    Question,
    Repository,
    RunningImages,
    SameTree,
    SubjectOf,
)
from shopset.core.release.planning import explain, plan
from shopset.core.release.plans import Check, Plan
from shopset.core.release.requests import Request, respond
from shopset.core.release.revisions import Revision
from shopset.core.release.trees import manifests_of
from shopset.core.rendering import RENDERERS, Renderers
from shopset.engine.ports import Builder, Delivery, GateReader, Git, PodReader
from shopset.gitops import LostRaceError

_MOST_FACTS: Final = 100_000
"""Facts that are kept between rounds; beyond, they are found out again."""


@dataclass(frozen=True)
class Failure:
    """An action that could not be done, and why."""

    action: AnyAction
    error: ShopsetError


@dataclass(frozen=True)
class Outcome:
    """What acting on a plan came to."""

    done: tuple[AnyAction, ...] = ()
    failures: tuple[Failure, ...] = ()
    lost_race: Failure | None = None
    """Set when somebody else was faster: nothing after it was tried, and the plan is to be made anew."""


@dataclass
class Engine:
    """One fleet and the world that it is kept in. `clock` returns the present time with its zone."""

    fleet: Fleet
    git: Git
    delivery: Delivery
    builder: Builder
    clock: Callable[[], datetime]
    gates: GateReader | None = None
    pods: PodReader | None = None
    renderers: Renderers = RENDERERS
    at_once: int = 1
    """How many actions of one kind and tier are done side by side: tags of two repositories, Applications."""
    _facts: Facts = field(default_factory=Facts)

    def observe(self, *, look: bool = True) -> Observed:
        """Look at everything once; without `look` git is taken to be as it was last seen."""
        branches = {tier.name: self.fleet.branch(tier.name) for tier in self.fleet.tiers}
        seen = self.git.observe(branches, look=look)
        manifests = {name: blob for head in seen.tiers.values() for name, blob in manifests_of(head.files).items()}
        applications, troubles = self.delivery.observe(manifests)
        rendered = {name for head in seen.tiers.values() for name in head.overlays}
        gone = frozenset(rendered | applications.keys()) - self.fleet.shopsets.keys()
        return Observed(
            now=self.clock(),
            repositories=seen.repositories,
            tiers=seen.tiers,
            ledger=seen.ledger,
            applications={name: self._completed(found) for name, found in applications.items()},
            deliveries=troubles,
            serving=self._serving(seen.repositories, gone) if gone else {},
            facts=self._facts,
            looked=look,
        )

    def plan(self, *, look: bool = True) -> tuple[Plan, Observed]:
        """Observe and plan. Returns the plan without open questions, and what it was made from.

        Without `look` git is looked at only where something is to be done: whoever acts has looked.
        """
        made, observed = self._settle(lambda observed: plan(self.fleet, observed, self.renderers), look=look)
        return (made, observed) if look or not made.actions else self.plan()

    def respond(self, request: Request, author: Identity) -> tuple[Plan, Observed]:
        """Observe and plan what meets a request. Raises RequestRefusedError."""
        return self._settle(lambda observed: respond(self.fleet, observed, request, author, self.renderers))

    def explain(self, tier: Tier, revision: Revision) -> tuple[tuple[Check, ...], Observed]:
        """Observe, and evaluate the rules of entry for a revision at a tier."""
        checks: list[tuple[Check, ...]] = []

        def evaluate(observed: Observed) -> Plan:
            found, questions = explain(self.fleet, observed, tier, revision, self.renderers)
            checks.append(found)
            return questions

        _, observed = self._settle(evaluate)
        return checks[-1], observed

    def act(
        self,
        actions: Iterable[AnyAction],
        started: Callable[[AnyAction], None] = lambda _: None,
        may_act: Callable[[], bool] = lambda: True,
    ) -> Outcome:
        """Do the actions in their order. Where one fails, the rest of its tier is left for the next round.

        `may_act` is asked before each: once it says no, the rest is left. What is done side by side is begun in order.
        """
        done: list[AnyAction] = []
        failures: list[Failure] = []
        moved: dict[str, str] = {}
        with ThreadPoolExecutor(self.at_once) as pool:
            for batch in _batches(actions, self.at_once):
                left = [each for each in batch if not any(_stops(failure.action, each) for failure in failures)]
                begun = list(takewhile(lambda _: may_act(), left))
                for action in begun:
                    started(action)
                # What is alone is done by this thread, which may be interrupted at it.
                side_by_side = map if len(begun) == 1 else pool.map
                for action, result in zip(begun, side_by_side(partial(self._try, moved), begun), strict=True):
                    if isinstance(result, LostRaceError):
                        return Outcome(tuple(done), tuple(failures), Failure(action, result))
                    if isinstance(result, ShopsetError):
                        failures.append(Failure(action, result))
                    else:
                        moved |= result
                        done.append(action)
                if len(begun) < len(left):
                    break
        return Outcome(tuple(done), tuple(failures))

    def _completed(self, found: ObservedApplication) -> ObservedApplication:
        """Argo CD tells the commit that an Application is at; what the commit holds is for git to tell."""
        if found.commit is None or found.overlay is not None:
            return found
        held = self.git.contents(found.commit)
        return (
            found if held is None else replace(found, overlay=held.overlays.get(found.shopset), gitlinks=held.gitlinks)
        )

    def _serving(self, repositories: Mapping[Repository, ObservedRepository], gone: frozenset[str]) -> dict[str, int]:
        """Return which ShopSets that the fleet has no more still serve shops. Where nobody can say, all may do so."""
        head = repositories[Repository.SYSTEM].branches.get(PLACEMENT)
        if head is None:
            return {}
        try:
            reading = self.git.placement(head)
        except ShopsetError:
            return dict.fromkeys(gone, 0)
        return reading.placement.serving(gone) if reading.is_whole else dict.fromkeys(gone, 0)

    def _settle(self, make: Callable[[Observed], Plan], *, look: bool = True) -> tuple[Plan, Observed]:
        observed = self.observe(look=look)
        made = make(observed)
        while made.questions:
            observed = observed.with_answers(dict(self._answers(made.questions)))
            made = make(observed)
        kept = observed.facts.lasting()
        self._facts = kept if len(kept) <= _MOST_FACTS else Facts()
        return made, observed

    def _answers(self, questions: frozenset[Question]) -> Iterator[tuple[Question, Answer]]:
        builds = [question for question in questions if isinstance(question, BuildOf)]
        with ThreadPoolExecutor() as pool:
            yield from zip(builds, pool.map(self.builder.build, builds), strict=True)
        for question in questions:
            match question:
                case GateOver():
                    yield question, self._read_gate(question)
                case ImagesAt():
                    yield question, self._read_pods(question)
                case IsAncestor() | SameTree() | SubjectOf() | ComponentsOf():
                    yield question, self.git.answer(question)

    def _read_gate(self, question: GateOver) -> GateReading:
        gates: Mapping[str, Gate] = {gate.name: gate for gate in self.fleet.tier(question.tier).spec.promotion.gates}
        if self.gates is None:
            return GateReading("Unknown", "nothing reads gates here")
        return self.gates.read(gates[question.gate], question.tier, question.start, question.end)

    def _read_pods(self, question: ImagesAt) -> RunningImages:
        if self.pods is None:
            return RunningImages(problem="nothing looks into Pods here: shopset-controller does with --members")
        shopsets = self.fleet.shopsets
        return self.pods.read([(shopsets[name].spec.cluster, self.fleet.namespace(name)) for name in question.shopsets])

    def _try(self, moved: Mapping[str, str], action: AnyAction) -> Mapping[str, str] | ShopsetError:
        try:
            return self._do(action, moved)
        except ShopsetError as error:
            return error

    def _do(self, action: AnyAction, moved: Mapping[str, str]) -> Mapping[str, str]:
        match action:
            case PushCommits():
                return self.git.push_commits(action, moved)
            case PushRefs():
                self.git.push_refs(action)
            case PushMerge():
                self.git.push_merge(action)
            case ApplyApplication():
                self.delivery.apply(action.cluster, action.application, self.git.read_blob(action.blob))
            case RefreshApplication():
                self.delivery.refresh(action.cluster, action.application)
            case SyncApplication():
                self.delivery.sync(action.cluster, action.application)
            case DeleteApplication():
                self.delivery.delete(action.cluster, action.application)
        return {}


def _stops(failed: AnyAction, action: AnyAction) -> bool:
    """Whether an action is left for the next round where another failed: one of its tier, or one that is of all tiers."""
    if failed.tier is None:
        return not isinstance(failed, DeleteApplication)
    return failed.tier == action.tier


def _batches(actions: Iterable[AnyAction], most: int) -> Iterator[tuple[AnyAction, ...]]:
    """Yield the actions in their order: those of one kind and tier together, but for commits, each on top of another."""
    for (kind, _), group in groupby(actions, lambda action: (type(action), action.tier)):
        size = 1 if issubclass(kind, PushCommits | PushMerge) else most
        while batch := tuple(islice(group, size)):
            yield batch

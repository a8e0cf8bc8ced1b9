"""What one planning round shares: the inputs, and what it finds on the way."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import overload

from shopset.api import Tier
from shopset.core.capacity.budgets import Excess, excesses
from shopset.core.fleets import Fleet
from shopset.core.manifests import Build
from shopset.core.release.observed import (
    Answer,
    BuildOf,
    Components,
    ComponentsOf,
    GateOver,
    GateReading,
    ImagesAt,
    IsAncestor,
    Observed,
    ObservedTier,
    Question,
    RunningImages,
    SameTree,
    SubjectOf,
)
from shopset.core.release.plans import Condition
from shopset.core.release.revisions import Revision
from shopset.core.rendering import Renderers

_SECOND = timedelta(seconds=1)


@dataclass
class Context:
    """The inputs of one round, the questions and conditions that it gathers, and where each ShopSet lives."""

    fleet: Fleet
    observed: Observed
    renderers: Renderers
    questions: set[Question] = field(default_factory=set)
    conditions: list[Condition] = field(default_factory=list)
    wakes: list[datetime] = field(default_factory=list)

    @cached_property
    def now(self) -> datetime:
        """The time of the observation in whole seconds, as the ledger writes it."""
        return self.observed.now.replace(microsecond=0)

    @overload
    def ask(self, question: IsAncestor | SameTree) -> bool | None: ...
    @overload
    def ask(self, question: SubjectOf) -> str | None: ...
    @overload
    def ask(self, question: ComponentsOf) -> Components | None: ...
    @overload
    def ask(self, question: BuildOf) -> Build | None: ...
    @overload
    def ask(self, question: GateOver) -> GateReading | None: ...
    @overload
    def ask(self, question: ImagesAt) -> RunningImages | None: ...
    def ask(self, question: Question) -> Answer | None:
        """Return the answer, or note the question and return None."""
        answer = self.observed.facts.get(question)
        if answer is None:
            self.questions.add(question)
        return answer

    def wake(self, moment: datetime) -> datetime:
        """Note that time alone changes something at `moment`; return it in whole seconds, rounded up."""
        rounded = moment if moment.microsecond == 0 else moment.replace(microsecond=0) + _SECOND
        if rounded > self.now:
            self.wakes.append(rounded)
        return rounded

    def report(self, condition: Condition) -> None:
        """Note a condition."""
        self.conditions.append(condition)

    def head(self, tier: Tier) -> ObservedTier | None:
        """The head of the tier's system branch, where there is one that can be read."""
        return self.observed.tiers.get(tier.name)

    def pinned(self, tier: Tier) -> Revision | None:
        """The revision that really runs on the tier."""
        head = self.head(tier)
        return head.revision if head else None

    @cached_property
    def homes(self) -> dict[str, str]:
        """ShopSet -> the tier whose tree it is in; the fleet's tier where none has it yet."""
        homes = {name: shopset.spec.tier for name, shopset in self.fleet.shopsets.items()}
        for tier, head in self.observed.tiers.items():
            for name in head.overlays:
                wanted = homes.get(name, tier)
                if wanted != tier and name not in self._overlays(wanted):
                    homes[name] = tier
        return homes

    @cached_property
    def moves(self) -> tuple[tuple[str, str, str], ...]:
        """ShopSets that do not live where the fleet wants them: (name, where they live, where they are to), sorted."""
        shopsets = self.fleet.shopsets
        found = ((name, home) for name, home in self.homes.items() if name in shopsets)
        return tuple(
            sorted((name, home, wanted) for name, home in found if (wanted := shopsets[name].spec.tier) != home)
        )

    @cached_property
    def residents(self) -> dict[str, tuple[str, ...]]:
        """Tier -> its ShopSets, sorted: those of the fleet that live there now (a move comes later, in one push).

        A ShopSet that would be beyond a budget is not made; one that is there already stays.
        """
        found: dict[str, list[str]] = {tier.name: [] for tier in self.fleet.tiers}
        unmade = {each.shopset for each in self.excesses} - self.rendered
        for name in self.fleet.shopsets:
            if name not in unmade:
                found.setdefault(self.homes[name], []).append(name)
        return {tier: tuple(names) for tier, names in found.items()}

    @cached_property
    def rendered(self) -> Set[str]:
        """The ShopSets that some tier's tree has."""
        return self.observed.rendered

    @cached_property
    def excesses(self) -> tuple[Excess, ...]:
        """ShopSets that are beyond a budget, those that came last."""
        fleet = self.fleet
        return tuple(excesses(fleet.configurations, fleet.clusters, fleet.shopsets, self.rendered))

    def _overlays(self, tier: str) -> Mapping[str, str]:
        head = self.observed.tiers.get(tier)
        return head.overlays if head else {}

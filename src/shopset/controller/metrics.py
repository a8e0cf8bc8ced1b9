"""What Prometheus may read of the controller."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shopset.core.fleets import Fleet
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Phase, Plan

if TYPE_CHECKING:
    from shopset.core.placement.plans import PlacementPlan


class Metrics:
    """The metrics of one controller, in a registry of its own."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self.leads = Gauge("shopset_leader", "1 where this replica acts.", registry=self.registry)
        self.rounds = Counter(
            "shopset_rounds_total", "Rounds of observing and planning.", ["result"], registry=self.registry
        )
        self.duration = Histogram("shopset_round_duration_seconds", "How long a round took.", registry=self.registry)
        self.actions = Counter("shopset_actions_total", "Actions.", ["kind", "result"], registry=self.registry)
        self.admission = Counter(
            "shopset_admission_total", "Changes that the API server asked about.", ["verdict"], registry=self.registry
        )
        self.writes = Counter("shopset_status_writes_total", "Statuses written.", ["kind"], registry=self.registry)
        self.last = Gauge(
            "shopset_last_round_timestamp_seconds",
            "When the last round that was done observed.",
            registry=self.registry,
        )
        self._phase = Gauge(
            "shopset_tier_phase", "1 for the phase of a tier.", ["tier", "phase"], registry=self.registry
        )
        self._candidate = Gauge(
            "shopset_tier_candidate", "1 where a tier has a candidate that waits.", ["tier"], registry=self.registry
        )
        self._ready = Gauge(
            "shopset_shopsets_ready", "ShopSets that are Synced and Healthy.", ["tier"], registry=self.registry
        )
        self._shopsets = Gauge("shopset_shopsets", "ShopSets.", ["tier"], registry=self.registry)
        self._problems = Gauge(
            "shopset_conditions", "Conditions that a person should know.", ["severity"], registry=self.registry
        )

        self._shops = Gauge("shopset_shops", "Shops of the placement.", ["state"], registry=self.registry)
        self._moves = Counter(
            "shopset_moves_total", "Shops that got other replicas.", ["cause"], registry=self.registry
        )
        self._utilisation = Gauge(
            "shopset_worst_utilisation",
            "Load of the worst ShopSet as a share of its capacity, as it is and after the worst loss of a domain.",
            ["when"],
            registry=self.registry,
        )

    def show_placement(self, states: Mapping[str, int], made: "PlacementPlan | None", moved: Mapping[str, int]) -> None:
        """Show how the placement stands. `moved` is why shops moved -> how many."""
        for state, number in states.items():
            self._shops.labels(state).set(number)
        for why, number in moved.items():
            self._moves.labels(_cause(why)).inc(number)
        if made is not None:
            self._utilisation.labels("now").set(made.before.normal)
            self._utilisation.labels("after a loss").set(made.before.after_loss)

    def show(self, fleet: Fleet, plan: Plan, observed: Observed, took: timedelta) -> None:
        """Show what a round saw."""
        self.duration.observe(took.total_seconds())
        self.last.set(observed.now.timestamp())
        for tier, outlook in plan.outlooks.items():
            for phase in Phase:
                self._phase.labels(tier, phase.value).set(outlook.progress.phase is phase)
            self._candidate.labels(tier).set(outlook.candidate is not None)
            members = fleet.members(tier)
            found = [observed.applications.get(each.name) for each in members]
            ready = sum(each is not None and (each.sync, each.health) == ("Synced", "Healthy") for each in found)
            self._ready.labels(tier).set(ready)
            self._shopsets.labels(tier).set(len(members))
        counts: Mapping[str, int] = {
            severity: sum(each.severity == severity for each in plan.conditions)
            for severity in ("Error", "Warning", "Info")
        }
        for severity, number in counts.items():
            self._problems.labels(severity).set(number)


def _cause(why: str) -> str:
    """Return one of few words: a label must not be made of what people write."""
    for word in ("lost", "emptied", "back", "rebalance", "pins", "new"):
        if word in why:
            return word
    return "other"

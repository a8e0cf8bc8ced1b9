"""Clusters that fail: what says so, and declaring one lost where its classes let that be done."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from shopset.core.fleets import Fleet
from shopset.core.placement.failing import Signs, Verdict, Vigil, judge
from shopset.core.placement.plans import PlacementPlan
from shopset.core.placement.requests import LoseCluster, respond_placement
from shopset.core.release.actions import SHOPSET
from shopset.core.release.observed import Observed
from shopset.engine.placing import Placer


@dataclass
class Failover:
    """Keeps an eye on the clusters of a placer's fleet. What it has seen is forgotten when the process ends: then it looks anew."""

    placer: Placer
    _vigil: Vigil = field(default_factory=Vigil)

    def note_declared(self, now: datetime) -> None:
        """Take note that a cluster was declared lost."""
        self._vigil = replace(self._vigil, declared=now)

    def judge(
        self,
        observed: Observed,
        silent: Mapping[str, str] | None,
        healthy: Mapping[str, bool],
        trouble: str,
    ) -> tuple[Verdict, PlacementPlan | None]:
        """Look once more, and return what follows, with the plan that declares a cluster lost.

        `silent` is cluster -> why its API server was not heard, None where nobody asks them; `healthy` is what Prometheus
        says of those that it knows; `trouble` is what shopset itself lacks. Raises as Placer.observe.
        """
        fleet = self.placer.engine.fleet
        signs = signs_of(fleet, observed, silent, healthy)
        self._vigil = self._vigil.after(signs, observed.now)
        if not self._vigil.since:
            return Verdict(), None
        troubles = (each.trouble.message for each in observed.repositories.values() if each.trouble is not None)
        seen, _ = self.placer.observe(observed)
        verdict = judge(fleet, seen, self._vigil, signs, next(troubles, trouble))
        if not verdict.lost:
            return verdict, None
        return verdict, respond_placement(
            fleet, seen, LoseCluster(cluster=verdict.lost, reason=verdict.reason), SHOPSET
        )


def signs_of(fleet: Fleet, observed: Observed, silent: Mapping[str, str] | None, healthy: Mapping[str, bool]) -> Signs:
    """Return what the API servers, Argo CD and Prometheus say of the clusters.

    An Argo CD that is in the cluster itself says nothing that its API server does not. One that is elsewhere may go on telling
    what it saw last, so that only its complaints count.
    """
    signs: dict[str, dict[str, str]] = {name: {} for name in fleet.clusters}
    if silent is not None:
        for name in fleet.clusters:
            signs[name]["its API server"] = silent.get(name, "")
    if not fleet.platform.has_argocd_per_cluster:
        for name in fleet.clusters:
            found = [each for each in observed.applications.values() if each.cluster == name]
            if name in observed.deliveries:
                signs[name]["Argo CD"] = observed.deliveries[name].message
            elif found and all(each.sync == "Unknown" for each in found):
                signs[name]["Argo CD"] = f"it sees none of its {len(found)} Applications"
    for name, is_healthy in healthy.items():
        if name in signs:
            signs[name]["Prometheus"] = "" if is_healthy else "spec.placement.healthQuery is 0"
    return signs

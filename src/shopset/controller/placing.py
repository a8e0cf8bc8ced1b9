"""Placing shops, after the releases: which shops there are, where they go, and what is told of it.

Nothing of it is imported where a fleet has no ShopClass: NumPy takes its time.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from shopset.controller.objects import Objects
from shopset.controller.settings import LONGEST_CALL_OF_MEMBER, Settings
from shopset.controller.shops import Wanted
from shopset.core.errors import ShopsetError
from shopset.core.fleets import Fleet
from shopset.core.placement.evaluating import loads, utilisation
from shopset.core.placement.failing import Verdict, asks_for_failover
from shopset.core.placement.modelling import model
from shopset.core.placement.planning import counted
from shopset.core.placement.plans import PlacementPlan, Seen, shops_of
from shopset.core.placement.seats import Seats
from shopset.core.placement.shops import Shops
from shopset.core.placement.tables import RESOURCES, Table, wish_of
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Condition
from shopset.engine import Engine, Outcome, Watching
from shopset.engine.failing import Failover
from shopset.engine.placing import DamagedPlacementError, Placer, place
from shopset.engine.shop_reading import Sources
from shopset.gates.answers import UnknownError
from shopset.gates.health import read_health
from shopset.kube.clients import KubeError
from shopset.kube.members import Members
from shopset.kube.versions import Versions, read_version, read_versions

_BETWEEN_LOOKS: Final = timedelta(seconds=5)
_NOWHERE: Final = Path("/nonexistent")
_MOST_NAMED: Final = 3
"""Shops of other sources that are named where something is wrong with them."""


@dataclass(frozen=True)
class Placed:
    """How the placement stands after a round."""

    conditions: tuple[Condition, ...] = ()
    told: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """ShopSet -> what its status says of its shops; empty where nothing is known of them."""
    states: Mapping[str, int] = field(default_factory=dict)
    """How many shops are Placed, and how many are on no ShopSet."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Cluster -> its Kubernetes version, where it is known."""
    observed: Observed | None = None
    """What was seen last; None where nothing was looked at."""
    plan: PlacementPlan | None = None
    """The last one; None where none could be made."""
    wake_at: datetime | None = None
    acted: bool = False
    """Whether anything was done: what the ledger says of clusters is for the releases too."""
    moved: Mapping[str, int] = field(default_factory=dict)
    """Why -> how many shops moved for it in this round."""


class Placing:
    """The placement of one fleet. Without `members` nobody asks the clusters themselves."""

    def __init__(self, engine: Engine, objects: Objects, settings: Settings, members: Members | None) -> None:
        self._objects = objects
        self._members = members
        self._table: tuple[int, Table] | None = None
        self._looked_at: datetime | None = None
        self._versions: Versions | None = None
        secrets = settings.secrets or _NOWHERE
        sources = Sources(settings.shops or _NOWHERE, lambda name: secrets / name, self._resources)
        self.placer = Placer(engine, sources, lambda _: self._versions.found if self._versions else {})
        self._failover = Failover(self.placer)
        self._secrets = lambda name: secrets / name
        self._healthy: Mapping[str, bool] = {}
        self._unread: tuple[Condition, ...] = ()
        self._told: tuple[Seen, Mapping[str, Mapping[str, Any]], Mapping[str, int]] | None = None

    def round(self, observed: Observed, watching: Watching, note: Callable[[Outcome], None]) -> Placed:
        """Place what is to be placed now. Never raises for what goes wrong with it: releases go on."""
        fleet = self.placer.engine.fleet
        if not self._objects.shops.is_complete:
            # What is not listed yet would seem to be gone.
            return Placed()
        moved: Counter[str] = Counter()
        last = None
        self._look(fleet, observed)
        try:
            verdict, acted = self._judge(fleet, observed, watching, note)
            for last in place(self.placer, watching, None if acted else observed):
                note(last.outcome)
                if last.outcome.done:
                    acted = True
                    moved.update({move.why: move.shops for move in last.plan.moves})
        except DamagedPlacementError as error:
            return Placed((self._standstill("PlacementDamaged", error),))
        except ShopsetError as error:
            return Placed((self._standstill("PlacementUnknown", error),))
        if last is None:
            return Placed()
        if last.seen.head is not None:
            self._objects.shops.place(last.seen.placement)
        told, states = self._tell(fleet, last.seen, last.plan.seats)
        failed = [
            Condition(fleet.platform.reference, "Placed", "ActionFailed", f"{each.action.what}: {each.error}")
            for each in last.outcome.failures
        ]
        conditions = (*failed, *verdict.conditions, *self._unread, *self._conditions(fleet, last.plan))
        wakes = [at for at in (verdict.wake_at, last.plan.wake_at) if at is not None]
        versions = self._versions.found if self._versions else {}
        return Placed(
            conditions, told, states, versions, last.observed, last.plan, min(wakes, default=None), acted, moved
        )

    def _look(self, fleet: Fleet, observed: Observed) -> None:
        """Ask the clusters how they are, where anything depends on it; not more often than is good for them."""
        if self._members is None or not (observed.ledger.clusters or asks_for_failover(fleet)):
            self._versions = None
        elif self._looked_at is None or observed.now - self._looked_at >= _BETWEEN_LOOKS:
            self._versions = read_versions(self._members, fleet.clusters, LONGEST_CALL_OF_MEMBER)
            self._looked_at = observed.now
            self._healthy, self._unread = {}, ()
            try:
                self._healthy = self._read_health(fleet, observed.now)
            except UnknownError as error:
                message = f"spec.placement.healthQuery is not answered: {error}. Automatic failover does without"
                self._unread = (Condition(fleet.platform.reference, "HealthRead", "NotAnswered", message, "Warning"),)

    def _read_health(self, fleet: Fleet, now: datetime) -> Mapping[str, bool]:
        query, monitoring = fleet.platform.spec.placement.health_query, fleet.platform.spec.monitoring
        if query is None or monitoring is None or not asks_for_failover(fleet):
            return {}
        return read_health(query, now, monitoring, self._secrets)

    def _judge(
        self, fleet: Fleet, observed: Observed, watching: Watching, note: Callable[[Outcome], None]
    ) -> tuple[Verdict, bool]:
        """Declare a cluster lost where its classes let that be done. Returns also whether anything was done."""
        if self._versions is None or not asks_for_failover(fleet):
            return Verdict(), False
        verdict, made = self._failover.judge(observed, self._versions.silent, self._healthy, self._own_trouble())
        if made is None:
            return verdict, False
        outcome = self.placer.engine.act(made.actions, watching.started, watching.may_act)
        note(outcome)
        if outcome.done:
            self._failover.note_declared(observed.now)
        return verdict, True

    def _own_trouble(self) -> str:
        """Return why the API server of shopset's own objects is not heard; empty where it is."""
        try:
            read_version(self._objects.client, LONGEST_CALL_OF_MEMBER)
        except KubeError as error:
            return f"its own API server: {error}"
        return ""

    def _standstill(self, reason: str, error: ShopsetError) -> Condition:
        message = f"{error}. Shops stay where they are, and releases go on"
        return Condition(self.placer.engine.fleet.platform.reference, "Placed", reason, message)

    def _resources(self) -> Table:
        """Return the Shop resources, the same table as long as they are the same."""
        if self._table is None or self._table[0] != self._objects.shops.edition:
            edition, wanted, unread = self._objects.shops.wanted()
            self._table = edition, table_of(wanted, unread)
        return self._table[1]

    def _conditions(self, fleet: Fleet, made: PlacementPlan) -> Iterator[Condition]:
        """Yield what is to be told at the objects of the fleet."""
        others: defaultdict[str, list[Condition]] = defaultdict(list)
        for each in made.conditions:
            kind, _, name = each.resource.partition("/")
            if kind == "Placement":
                yield replace(each, resource=fleet.platform.reference)
            elif each.resource == fleet.platform.reference:
                # `Accepted` is about the Platform itself.
                yield replace(each, type="ShopsRead" if each.type == "Accepted" else each.type)
            elif kind != "Shop":
                yield each
            elif not self._objects.shops.has(name):
                others[each.reason].append(each)
        for reason, found in sorted(others.items()):
            more = f" (and {len(found) - _MOST_NAMED:,} more)" if len(found) > _MOST_NAMED else ""
            message = "; ".join(each.message for each in found[:_MOST_NAMED]) + more
            yield Condition(fleet.platform.reference, "ShopsRead", reason, message, found[0].severity)
        if made.later:
            message = f"{counted(shops_of(made.later), 'shop')} still to move, in waves"
            yield Condition(fleet.platform.reference, "Settled", "Moving", message, "Info")

    def _tell(
        self, fleet: Fleet, seen: Seen, seats: Seats | None
    ) -> tuple[Mapping[str, Mapping[str, Any]], Mapping[str, int]]:
        """Return what the statuses of ShopSets say, and how many shops are placed. Counted anew only where something changed."""
        known = self._told
        if known is not None and known[0].placement is seen.placement and known[0].shops is seen.shops:
            return known[1:]
        seated = None if seats is None else seats.seated
        found = model(fleet, seen.shops, seen.placement, seen.clusters, seen.unusable, seated)
        problem = found.problem
        shares = utilisation(problem, loads(problem, problem.legs).rows)[0].max(1, initial=0.0)
        serving = seen.placement.serving(fleet.shopsets)
        told = {
            name: {"shops": serving.get(name, 0), "load": f"{share:.0%}"}
            for name, share in zip(found.shopsets, shares, strict=True)
        }
        nowhere = int(problem.weight[(problem.legs < 0).all(1)].sum())
        states = {"placed": int(problem.weight.sum()) - nowhere, "nowhere": nowhere}
        self._told = (seen, told, states)
        return told, states


def table_of(wanted: list[Wanted], unread: frozenset[str]) -> Table:
    """Return Shop resources, sorted by name, as a table."""
    classes: dict[str, int] = {}
    kinds = [classes.setdefault(each.shop_class, len(classes)) for each in wanted]
    shops = Shops(
        names=[each.name for each in wanted],
        hosts=[each.hosts for each in wanted],
        class_names=tuple(classes),
        classes=np.array(kinds, np.int32),
        demand=np.array([_demand(each) for each in wanted], np.float64).reshape(-1, 2),
        pins={row: each.pins for row, each in enumerate(wanted) if each.pins},
        edge={row: wish for row, each in enumerate(wanted) if (wish := wish_of(each.limits, each.maintenance))},
    )
    created = np.array([datetime.fromisoformat(each.created).timestamp() for each in wanted], np.float64)
    return Table(RESOURCES, shops, created=created, unread=unread)


def _demand(wanted: Wanted) -> tuple[float, float]:
    stated = wanted.demand
    if stated is None:
        return np.nan, np.nan
    requests, connections = stated.requests_per_second, stated.connections
    return np.nan if requests is None else requests, np.nan if connections is None else float(connections)
